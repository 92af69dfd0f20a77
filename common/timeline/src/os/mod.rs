//! What the timeline needs of the system: a clock and memory that all processes of a run share, a call when this process
//! ends or was forked, the width of the terminal.
//!
//! Every `unsafe` block of the crate is in this folder. `unix` and `windows` offer the same functions.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::AtomicU64;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

/// The memory behind a handle from [`create_memory`], as words; it is never unmapped.
pub(crate) fn map_words(memory: &OwnedHandle, count: usize) -> io::Result<&'static [AtomicU64]> {
    let start = map_memory(memory, count * size_of::<AtomicU64>())?;
    // SAFETY: the mapping has `count` words, begins at a page, is never unmapped, and is accessed only as atomics, for which
    // every bit pattern is valid.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), count) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn memory_is_zero_at_first_and_the_same_for_all_who_have_the_handle() {
        let memory = create_memory(1024 * size_of::<AtomicU64>()).unwrap();
        let words = map_words(&memory, 1024).unwrap();
        let again = map_words(&memory, 1024).unwrap();
        assert!(words.len() == 1024 && words.iter().all(|word| word.load(Relaxed) == 0));
        words[1023].store(7, Relaxed);
        assert_eq!(again[1023].load(Relaxed), 7);
    }

    #[test]
    fn a_handle_to_less_memory_is_refused() {
        let memory = create_memory(8 * size_of::<AtomicU64>()).unwrap();
        assert!(map_words(&memory, 1 << 20).is_err());
    }

    #[test]
    fn the_clock_goes_forward() {
        let before = monotonic();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(monotonic() - before >= 2_000_000);
    }
}
