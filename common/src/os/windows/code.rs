//! Windows: where this program's code lies in memory, and from which file it came. Called by `os::code`.

use crate::os::Code;
use std::ffi::c_void;

/// The executable pages, of the loaded file around it, that `address` lies in.
pub(in crate::os) fn code_around(address: usize) -> Option<Code> {
    use windows_sys::Win32::System::Memory::{MEMORY_BASIC_INFORMATION, VirtualQuery};
    let query = |address: usize| {
        let mut pages = MEMORY_BASIC_INFORMATION::default();
        // SAFETY: the place for the answer is there, and as large as said. The address is not followed.
        let length = unsafe { VirtualQuery(address as *const c_void, &mut pages, size_of_val(&pages)) };
        (length > 0).then_some(pages)
    };
    let around = query(address)?;
    // The answer for an address begins at that address's page, so the pages before it are looked for from the file's start.
    let mut start = around.AllocationBase as usize;
    loop {
        let pages = query(start)?;
        let end = start + pages.RegionSize;
        if (start..end).contains(&address) {
            return Some(Code {
                segment: start..end,
                file: std::env::current_exe().unwrap_or_default(), // a library in use cannot be replaced
            });
        }
        start = end;
    }
}
