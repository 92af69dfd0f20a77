//! Linux, macOS, FreeBSD: a file in memory.

use super::OwnedHandle;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// New memory, zero at first: the handle by which this process and others map it.
///
/// Every byte of a mapping must be backed by memory as long as it is mapped; otherwise touching it would raise a signal. So
/// the file is as large as the mapping, and where the system can promise it, no process makes it smaller.
pub(crate) fn create(length: usize) -> io::Result<OwnedHandle> {
    // On Linux, making a larger file would raise a signal, SIGXFSZ.
    let limited = cfg!(any(target_os = "linux", target_os = "android"));
    if limited && getrlimit(Resource::RLIMIT_FSIZE)?.0 < length as libc::rlim_t {
        let sentence = format!("{length} bytes of shared memory are more than a file may have (see `ulimit -f`)");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, sentence));
    }
    let file = anonymous_file()?;
    ftruncate(&file, length as i64)?;
    keep_size(&file)?;
    Ok(file)
}

/// Maps that memory.
pub(crate) fn map(file: &OwnedHandle, length: usize) -> io::Result<NonNull<c_void>> {
    if u64::try_from(fstat(file)?.st_size).is_ok_and(|size| size < length as u64) {
        let sentence = "the shared memory is smaller than it is said to be";
        return Err(io::Error::new(io::ErrorKind::InvalidData, sentence));
    }
    let length = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses touches no other memory. The file was just seen to be as
    // large, and is sealed where that is possible.
    Ok(unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, file, 0)? })
}

/// # Safety
///
/// It is what [`map`] returned for this length, and there is no reference into it any more.
pub(crate) unsafe fn unmap(start: NonNull<c_void>, length: usize) {
    // SAFETY: as the caller promises.
    let _ = unsafe { munmap(start, length) };
}

/// A file without a name, in memory.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn anonymous_file() -> io::Result<OwnedHandle> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    Ok(memfd_create(
        c"common",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?)
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn keep_size(file: &OwnedHandle) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    fcntl(
        file,
        FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL),
    )?;
    Ok(())
}

/// A file in memory whose name is taken away at once. (On macOS its size cannot be changed a second time.)
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn anonymous_file() -> io::Result<OwnedHandle> {
    use nix::fcntl::OFlag;
    use nix::sys::mman::{shm_open, shm_unlink};
    use nix::sys::stat::Mode;
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("/common-{}-{number}", std::process::id()); // at most 31 bytes on macOS
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = shm_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    shm_unlink(name.as_str())?;
    Ok(file)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn keep_size(_file: &OwnedHandle) -> io::Result<()> {
    Ok(())
}
