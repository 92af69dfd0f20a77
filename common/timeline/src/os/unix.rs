//! Linux, macOS, FreeBSD.

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::time::{ClockId, clock_gettime};

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
