//! Linux, macOS, FreeBSD.

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

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

/// New shared memory, all zero, which is never unmapped; another process opens it with the handle.
pub(crate) fn create_shared_words(count: usize) -> io::Result<(&'static [AtomicU64], OwnedHandle)> {
    let size = count * size_of::<AtomicU64>();
    // More than this, and `ftruncate` would end this process by SIGXFSZ.
    if getrlimit(Resource::RLIMIT_FSIZE)?.0 < size as libc::rlim_t {
        return Err(Errno::EFBIG.into());
    }
    let file = anonymous_file()?;
    nix::unistd::ftruncate(&file, size as i64)?;
    Ok((open_shared_words(&file, count)?, file))
}

/// The memory behind a handle from [`create_shared_words`].
pub(crate) fn open_shared_words(handle: &OwnedHandle, count: usize) -> io::Result<&'static [AtomicU64]> {
    let size = count * size_of::<AtomicU64>();
    if nix::sys::stat::fstat(handle)?.st_size < size as i64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = NonZeroUsize::new(size).ok_or(io::ErrorKind::InvalidInput)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping where the kernel finds room overlaps no other memory. It has `count` words, since the file was
    // found to be that long (nothing here makes it shorter), begins at a page, is never unmapped, and is accessed only as
    // atomics, for which every bit pattern is valid.
    unsafe {
        let start = mmap(None, length, access, MapFlags::MAP_SHARED, handle.as_fd(), 0)?;
        Ok(std::slice::from_raw_parts(start.as_ptr().cast(), count))
    }
}

/// A file in memory that has no name.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn anonymous_file() -> io::Result<OwnedHandle> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    Ok(memfd_create(c"timeline", MFdFlags::MFD_CLOEXEC)?)
}

/// A file in memory whose name is removed at once.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn anonymous_file() -> io::Result<OwnedHandle> {
    use nix::fcntl::OFlag;
    use nix::sys::mman::{shm_open, shm_unlink};
    use nix::sys::stat::Mode;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // At most 31 bytes on macOS.
    let name = format!("/timeline-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = shm_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    shm_unlink(name.as_str())?;
    Ok(file)
}
