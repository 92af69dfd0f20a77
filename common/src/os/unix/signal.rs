//! Unix: signals. A library must not let one kill its caller, nor change what its caller decided.
//!
//! Invariant: every signal that a system call of this crate raises (SIGPIPE, SIGXFSZ) is taken away again before its thread
//! can notice it, whatever the program does with such signals. Called by everything that writes to a pipe or makes shared
//! memory, by `spawn`, and by `channels`, whose crate does not go on after an interrupted system call.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use std::io;
use std::os::fd::AsFd;

/// While it lives, its thread gets none of some signals.
pub(crate) struct Masked {
    old: SigSet,
    /// Signals that its own system calls may raise. Those that waited already are not ours to take.
    own: Vec<Signal>,
}

fn mask(signals: SigSet) -> Masked {
    let waiting = pending();
    let own = [Signal::SIGPIPE, Signal::SIGXFSZ].into_iter();
    let own = own.filter(|&signal| signals.contains(signal) && !waiting.contains(signal));
    let old = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    Masked {
        old: old.unwrap_or_else(|_| SigSet::empty()),
        own: own.collect(),
    }
}

/// No signal at all: no system call is interrupted.
pub(crate) fn mask_signals() -> Masked {
    mask(SigSet::all())
}

impl Drop for Masked {
    fn drop(&mut self) {
        for &signal in &self.own {
            if pending().contains(signal) {
                let _ = SigSet::from(signal).wait();
            }
        }
        let _ = self.old.thread_set_mask();
    }
}

fn pending() -> SigSet {
    let mut signals = std::mem::MaybeUninit::uninit();
    // SAFETY: the place for the answer is there; if there is an answer, it is a set.
    unsafe {
        if libc::sigpending(signals.as_mut_ptr()) == 0 {
            SigSet::from_sigset_t_unchecked(signals.assume_init())
        } else {
            SigSet::empty()
        }
    }
}

/// Calls `function`, which may raise `signal` for this thread.
pub(super) fn without<T>(signal: Signal, function: impl FnOnce() -> T) -> T {
    let _masked = mask(signal.into());
    function()
}

/// Writes all of `bytes`. If nobody reads any more, that is an error, and no signal.
pub(crate) fn write_all(handle: &impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    without(Signal::SIGPIPE, || {
        while !bytes.is_empty() {
            match nix::unistd::write(handle, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => wait_writable(handle)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
}

/// Somebody made this pipe non-blocking.
fn wait_writable(handle: &impl AsFd) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    match poll(
        &mut [PollFd::new(handle.as_fd(), PollFlags::POLLOUT)],
        PollTimeout::NONE,
    ) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// In a process that was started with SIGINT blocked: lets it come, and does nothing then. Programs that this process starts
/// have the default again, as after any `exec`; if SIGINT is ignored already, that is somebody's will, and stays so in them.
pub(super) fn withstand_interrupts() {
    if !SigSet::thread_get_mask().is_ok_and(|mask| mask.contains(Signal::SIGINT)) {
        return;
    }
    extern "C" fn nothing(_: std::ffi::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: a handler that does nothing does nothing unsafe.
    let old = unsafe { sigaction(Signal::SIGINT, &action) };
    if let Some(old) = old.ok().filter(|old| matches!(old.handler(), SigHandler::SigIgn)) {
        // SAFETY: what was there before, which calls no code.
        let _ = unsafe { sigaction(Signal::SIGINT, &old) };
    }
    let _ = SigSet::from(Signal::SIGINT).thread_unblock();
}
