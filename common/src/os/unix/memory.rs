//! Unix: memory that several processes see.
//!
//! Invariant: behind every byte of a mapping there is memory, as long as it is mapped; or touching it would be a signal. So
//! the file is as large as the mapping, and where the system can promise it, nobody makes it smaller. Called by `pool`.

use super::{OwnedHandle, signal};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::signal::Signal;
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// Pages that several processes see, zero at first.
pub(crate) struct SharedMemory {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: a piece of memory that belongs to no thread. Who reads and writes in it does that through a pointer, and answers
// for it there.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// New memory, and the handle by which another process opens it.
    pub fn create(length: usize) -> io::Result<(SharedMemory, OwnedHandle)> {
        let file = anonymous_file()?;
        let size = i64::try_from(length).map_err(|_| Errno::EFBIG)?;
        signal::without(Signal::SIGXFSZ, || ftruncate(&file, size)).map_err(|error| match error {
            Errno::EFBIG => {
                let sentence =
                    format!("{length} bytes of shared memory are more than a file may have (see `ulimit -f`)");
                io::Error::new(io::ErrorKind::FileTooLarge, sentence)
            }
            error => error.into(),
        })?;
        keep_size(&file)?;
        Ok((SharedMemory::open(file.try_clone()?, length)?, file))
    }

    /// The memory behind a handle that another process passed.
    pub fn open(file: OwnedHandle, length: usize) -> io::Result<SharedMemory> {
        let size = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        if u64::try_from(fstat(&file)?.st_size).is_ok_and(|there| there < length as u64) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the shared memory is smaller than it is said to be",
            ));
        }
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory. The file was just seen to be
        // as large, and is sealed where that is possible.
        let start = unsafe {
            mmap(
                None,
                size,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                file,
                0,
            )?
        };
        Ok(SharedMemory { start, length })
    }

    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr().cast()
    }

    #[allow(dead_code)] // for the engine that is to come
    pub fn len(&self) -> usize {
        self.length
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and every reference into it borrows from `self`.
        let _ = unsafe { munmap(self.start, self.length) };
    }
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

/// A file in memory whose name is taken away at once. (macOS lets nobody change its size a second time.)
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
