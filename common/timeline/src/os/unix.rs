//! Linux, macOS, FreeBSD.

use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::fstat;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::ftruncate;
use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

pub(crate) use std::os::fd::OwnedFd as OwnedHandle;

/// Nanoseconds on a clock that all processes of this machine share.
pub(crate) fn monotonic() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC);
    time.map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Calls `function` when this process exits: at the end of `main`, or by `exit`.
pub(crate) fn at_exit(function: extern "C" fn()) {
    // SAFETY: `function` has the type that `atexit` asks for, is never unloaded (it belongs to the program), and does not unwind.
    unsafe { libc::atexit(function) };
}

/// Calls `function` in each child that this process makes by `fork`. There it must not wait for any other thread.
pub(crate) fn after_fork(function: extern "C" fn()) {
    // SAFETY: as above.
    unsafe { libc::pthread_atfork(None, None, Some(function)) };
}

/// From now on a write that the system refuses is an error, not the end of this process by SIGPIPE or SIGXFSZ.
pub(crate) fn writes_fail_without_signal() {
    for refusal in [Signal::SIGPIPE, Signal::SIGXFSZ] {
        // SAFETY: no handler is installed that could do anything unsafe: the signal is ignored.
        let _ = unsafe { signal(refusal, SigHandler::SigIgn) };
    }
}

/// Columns of the terminal that standard error goes to; `None`: it goes elsewhere.
pub(crate) fn terminal_width() -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes a `winsize`, and `size` is one.
    let outcome = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &mut size) };
    (outcome == 0 && size.ws_col > 0).then_some(size.ws_col.into())
}

/// `"SIGKILL"` for -9, `"exit code 3"` for 3.
pub(crate) fn describe_exit(exitcode: i32) -> String {
    match exitcode {
        0.. => format!("exit code {exitcode}"),
        _ => match Signal::try_from(exitcode.saturating_neg()) {
            Ok(signal) => signal.as_str().to_owned(),
            Err(_) => format!("signal {}", exitcode.saturating_neg()),
        },
    }
}

/// New memory that several processes see, zero at first: the handle by which this process and others map it.
///
/// Behind every byte of a mapping there is memory, as long as it is mapped; or touching it would be a signal. So the file is as
/// large as the mapping, and where the system can promise it, no process makes it smaller.
pub fn create_memory(length: usize) -> io::Result<OwnedHandle> {
    // On Linux, a larger file would be a signal, SIGXFSZ.
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
pub fn map_memory(file: &OwnedHandle, length: usize) -> io::Result<NonNull<c_void>> {
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
/// It is what [`map_memory`] returned for this length, and there is no reference into it any more.
pub unsafe fn unmap_memory(start: NonNull<c_void>, length: usize) {
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
