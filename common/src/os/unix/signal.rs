//! Unix: signals. A library must not let one kill its caller, nor change what its caller decided.
//!
//! Invariant: every signal that a system call of this crate raises (SIGPIPE, SIGXFSZ) is taken away again before its thread
//! can notice it, whatever the program does with such signals. Called by `spawn`, which writes to pipes, and by `channels`,
//! whose crate makes files, and does not go on after an interrupted system call.

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};

/// While this lives, some signals are blocked in its thread.
pub(crate) struct Masked {
    old: SigSet,
    /// Signals that its own system calls may raise. Those that were pending before are not ours to take.
    own: Vec<Signal>,
}

fn mask(signals: SigSet) -> Masked {
    let before = pending();
    let own = [Signal::SIGPIPE, Signal::SIGXFSZ].into_iter();
    let own = own.filter(|&signal| signals.contains(signal) && !before.contains(signal));
    let old = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let (old, own) = (old.unwrap_or_else(|_| SigSet::empty()), own.collect());
    Masked { old, own }
}

/// Blocks all signals, so that no system call is interrupted.
pub(crate) fn mask_signals() -> Masked {
    mask(SigSet::all())
}

/// Writing to a pipe without a reader becomes an error, without a signal.
pub(crate) fn mask_sigpipe() -> Masked {
    mask(Signal::SIGPIPE.into())
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
    let mut signals = SigSet::empty().as_ref().to_owned();
    // SAFETY: the place for the answer holds a set already; if there is an answer, it is a set too.
    unsafe {
        libc::sigpending(&mut signals);
        SigSet::from_sigset_t_unchecked(signals)
    }
}

/// In a process that was started with SIGINT blocked: unblocks it, with a handler that does nothing. Programs that this
/// process starts have the default again, as after any `exec`; if SIGINT is ignored already, that was decided elsewhere, and
/// holds in them.
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
