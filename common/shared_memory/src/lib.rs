//! Memory that several processes see at the same time. A pool and its workers talk through it, and the timeline is written to it.
//!
//! Another process may write anywhere in it at any time. So it consists of words that are atomic numbers: whatever the others
//! do, reading one gives a number, never undefined behaviour.
//!
//! After Python's [`multiprocessing.shared_memory`](https://docs.python.org/3/library/multiprocessing.shared_memory.html), but
//! without names: a process that is to see the memory is given a handle.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix::{create, map, unmap};
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows::{create, map, unmap};

#[cfg(unix)]
pub use std::os::fd::OwnedFd as OwnedHandle;
#[cfg(windows)]
pub use std::os::windows::io::OwnedHandle;

/// Words that several processes see.
///
/// ```
/// use shared_memory::SharedMemory;
/// use std::sync::atomic::Ordering::Relaxed;
///
/// # fn main() -> std::io::Result<()> {
/// let (memory, handle) = SharedMemory::create(1024)?;
/// assert_eq!(memory[1023].load(Relaxed), 0);
/// // Here, or in a process that has inherited the handle:
/// let same = SharedMemory::open(&handle, 1024)?;
/// same[1023].store(7, Relaxed);
/// assert_eq!(memory[1023].load(Relaxed), 7);
/// # Ok(())
/// # }
/// ```
pub struct SharedMemory(NonNull<[AtomicU64]>);

// SAFETY: the memory belongs to no thread, and consists of atomics.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// New memory of that many words, all 0, and the handle by which another process opens it. It exists as long as any
    /// process has it open or holds a handle to it.
    ///
    /// # Errors
    ///
    /// The system has no memory or no handle to give; on Linux also if files may not be that large (`ulimit -f`).
    pub fn create(words: usize) -> io::Result<(SharedMemory, OwnedHandle)> {
        let handle = create(words * size_of::<AtomicU64>())?;
        Ok((SharedMemory::open(&handle, words)?, handle))
    }

    /// The memory behind a handle.
    ///
    /// # Errors
    ///
    /// The memory has fewer words than that, or the system cannot map it.
    pub fn open(handle: &OwnedHandle, words: usize) -> io::Result<SharedMemory> {
        let start = map(handle, words * size_of::<AtomicU64>())?;
        Ok(SharedMemory(NonNull::slice_from_raw_parts(start.cast(), words)))
    }
}

impl Deref for SharedMemory {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has that many words, begins at a page of the system's, and lives as long as `self`. It consists of
        // atomics alone, for which every bit pattern is valid, and which may change at any time.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: `map` returned it for this length, and every reference into it borrows from `self`.
        unsafe { unmap(self.0.cast(), self.0.len() * size_of::<AtomicU64>()) };
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "SharedMemory({} words)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn memory_is_zero_at_first_and_the_same_for_all_who_have_the_handle() {
        let (words, handle) = SharedMemory::create(1024).unwrap();
        let again = SharedMemory::open(&handle, 1024).unwrap();
        assert!(words.len() == 1024 && words.iter().all(|word| word.load(Relaxed) == 0));
        words[1023].store(7, Relaxed);
        drop(words);
        assert_eq!(again[1023].load(Relaxed), 7);
    }

    #[test]
    fn a_handle_to_less_memory_is_refused() {
        let (_, handle) = SharedMemory::create(8).unwrap();
        assert!(SharedMemory::open(&handle, 1 << 20).is_err());
    }
}
