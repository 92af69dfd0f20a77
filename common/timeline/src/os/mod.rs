//! What the timeline needs of the system: a clock and memory that all processes of a run share, a call when this process
//! ends or was forked, the width of the terminal.
//!
//! Every `unsafe` block of the crate is in this folder. `unix` and `windows` offer the same safe functions.

#![allow(unsafe_code)]

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn memory_is_zero_at_first_and_the_same_for_all_who_have_the_handle() {
        let (words, handle) = create_shared_words(1024).unwrap();
        let again = open_shared_words(&handle, 1024).unwrap();
        assert!(words.len() == 1024 && words.iter().all(|word| word.load(Relaxed) == 0));
        words[1023].store(7, Relaxed);
        assert_eq!(again[1023].load(Relaxed), 7);
    }

    #[test]
    fn a_handle_to_less_memory_is_refused() {
        let (_, handle) = create_shared_words(8).unwrap();
        assert!(open_shared_words(&handle, 1 << 20).is_err());
    }

    #[test]
    fn the_clock_goes_forward() {
        let before = monotonic();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(monotonic() - before >= 2_000_000);
    }
}
