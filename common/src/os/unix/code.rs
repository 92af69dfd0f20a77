//! Unix: where this program's code lies in memory, and from which file it came. Called by `os::code`.

use crate::os::Code;
use std::ffi::{CStr, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;

/// The executable segment, of the loaded file around it, that `address` lies in.
#[cfg(not(target_vendor = "apple"))]
pub(in crate::os) fn code_around(address: usize) -> Option<Code> {
    use nix::libc::{PT_LOAD, dl_iterate_phdr, dl_phdr_info, size_t};
    const PF_X: u32 = 1; // not in libc everywhere
    struct Search(usize, Option<Code>);
    unsafe extern "C" fn look(file: *mut dl_phdr_info, _: size_t, search: *mut c_void) -> std::ffi::c_int {
        // SAFETY: `dl_iterate_phdr` passes a description that is valid during this call, and what it was given.
        let (file, search) = unsafe { (&*file, &mut *search.cast::<Search>()) };
        for number in 0..usize::from(file.dlpi_phnum) {
            // SAFETY: `dlpi_phdr` points to `dlpi_phnum` headers.
            let header = unsafe { &*file.dlpi_phdr.add(number) };
            let start = (file.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
            let segment = start..start.wrapping_add(header.p_memsz as usize);
            if header.p_type == PT_LOAD && header.p_flags & PF_X != 0 && segment.contains(&search.0) {
                let named = !file.dlpi_name.is_null();
                // SAFETY: it is a text then.
                let name = named.then(|| unsafe { CStr::from_ptr(file.dlpi_name) });
                let file = OsStr::from_bytes(name.unwrap_or_default().to_bytes()).into();
                search.1 = Some(Code { segment, file });
            }
        }
        0
    }
    let mut search = Search(address, None);
    // SAFETY: `look` is called before this returns, with the address of `search`.
    unsafe { dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.1
}

/// The text segment, of the loaded file around it, that `address` lies in.
#[cfg(target_vendor = "apple")]
pub(in crate::os) fn code_around(address: usize) -> Option<Code> {
    use nix::libc::{Dl_info, dladdr};
    unsafe extern "C" {
        fn getsegmentdata(header: *const c_void, name: *const std::ffi::c_char, size: *mut u64) -> *const u8;
    }
    // SAFETY: pointers and numbers, which may all be 0.
    let mut file: Dl_info = unsafe { std::mem::zeroed() };
    let mut size = 0;
    // SAFETY: the place for the answer is there. If there is an answer, it names the header and the path of a loaded file.
    let (start, name) = unsafe {
        if dladdr(address as *const c_void, &mut file) == 0 || file.dli_fname.is_null() {
            return None;
        }
        let start = getsegmentdata(file.dli_fbase, c"__TEXT".as_ptr(), &mut size) as usize;
        (start, CStr::from_ptr(file.dli_fname))
    };
    let (segment, file) = (start..start + size as usize, OsStr::from_bytes(name.to_bytes()).into());
    segment.contains(&address).then_some(Code { segment, file })
}
