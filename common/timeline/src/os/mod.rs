//! What the timeline needs of the system: a clock that all processes of a run share, a callback when this process ends or has
//! been forked, the width of the terminal.
//!
//! Every `unsafe` block of the crate is in this folder. `unix` and `windows` offer the same functions.

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

    #[test]
    fn the_clock_goes_forward() {
        let before = monotonic();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(monotonic() - before >= 2_000_000);
    }
}
