//! Unix: what happens when this program calls `fork`.
//!
//! A copy has all of its parent's descriptors and handles, but must not use its parent's processes: it must not end or disturb
//! what the handles stand for. Invariants: no fork happens while a [`ForkGuard`] lives; in a copy, [`generation`] is
//! different. Called by `crate::spawn`, `process` and `pool`.

use nix::libc;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// How many forks lie between the program that was started and this process.
static GENERATION: AtomicU32 = AtomicU32::new(0);

pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Guards that live, and (in units of [`FORK`]) forks that are going on.
static GUARDS: AtomicUsize = AtomicUsize::new(0);
const FORK: usize = 1 << 16;

/// No fork happens while this lives: a fork waits. So a thread must not ask for a second one.
pub(crate) struct ForkGuard(());

pub(crate) fn fork_guard() -> ForkGuard {
    while GUARDS.fetch_add(1, Ordering::Acquire) >= FORK {
        GUARDS.fetch_sub(1, Ordering::Release);
        std::thread::yield_now();
    }
    ForkGuard(())
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        GUARDS.fetch_sub(1, Ordering::Release);
    }
}

/// From now on, forks are noticed.
pub(super) fn register_atfork() {
    static ONCE: Once = Once::new();
    // SAFETY: these functions are there as long as the program is, do not unwind, and call nothing that is forbidden in the
    // child of a program with threads.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child));
    });
}

extern "C" fn before_fork() {
    GUARDS.fetch_add(FORK, Ordering::Acquire);
    while GUARDS.load(Ordering::Acquire) % FORK > 0 {
        std::thread::yield_now();
    }
}

extern "C" fn after_fork_in_parent() {
    // If all of this was registered in the middle of a fork, musl calls this function without the one before.
    let _ = GUARDS.fetch_update(Ordering::Release, Ordering::Relaxed, |guards| guards.checked_sub(FORK));
}

extern "C" fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    GUARDS.store(0, Ordering::Release);
}
