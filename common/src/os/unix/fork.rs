//! Unix: what happens when this program calls `fork`.
//!
//! A copy has all of its parent's descriptors and handles, but no part in its processes: it must neither hold a pipe open by
//! whose end somebody learns of a death, nor end or disturb what its handles stand for. Invariants: no fork happens while a
//! [`ForkGuard`] lives; in a copy, the pipes of [`close_after_fork`] lead nowhere, and [`generation`] is another. Called by
//! `crate::spawn`, `process` and `pool`.

use super::AsHandle;
use nix::libc;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

/// How many forks lie between the program that was started and this process.
static GENERATION: AtomicU32 = AtomicU32::new(0);

pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Pipe ends whose closing tells somebody else of this process's end. What it forks must not hold them open.
static ENDS: [AtomicI32; 2] = [const { AtomicI32::new(NONE) }; 2];
const NONE: RawFd = -1;
/// A child's answers, and the lifeline of this process's own children.
pub(crate) const ANSWERS: usize = 0;
pub(crate) const LIFELINE: usize = 1;

/// From now on, what this process forks lets go of `pipe`.
pub(crate) fn close_after_fork(which: usize, pipe: &impl AsHandle) {
    register_atfork();
    ENDS[which].store(pipe.as_fd().as_raw_fd(), Ordering::Relaxed);
}

/// `pipe` is about to be closed here. (There may be another one by now.)
pub(crate) fn closes_itself(which: usize, pipe: &impl AsHandle) {
    let number = pipe.as_fd().as_raw_fd();
    let _ = ENDS[which].compare_exchange(number, NONE, Ordering::Relaxed, Ordering::Relaxed);
}

/// Guards that live, and (in units of [`FORK`]) forks that are going on.
static GUARDS: AtomicUsize = AtomicUsize::new(0);
const FORK: usize = 1 << 16;

/// No fork happens while this lives: a fork waits. So a thread must not ask for a second one.
pub(crate) struct ForkGuard(());

pub(crate) fn fork_guard() -> ForkGuard {
    register_atfork();
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

fn register_atfork() {
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
    GUARDS.fetch_sub(FORK, Ordering::Release);
}

extern "C" fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    GUARDS.store(0, Ordering::Release);
    for end in &ENDS {
        let number = end.swap(NONE, Ordering::Relaxed);
        if number != NONE {
            // The number stays in use, since whoever has it may write to it or close it; but it leads nowhere. There is no
            // other thread here that could get it meanwhile.
            // SAFETY: it is that of an open pipe, whose owner in this process owns what takes the pipe's place.
            unsafe {
                libc::close(number);
                let nowhere = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
                if nowhere != number {
                    libc::dup2(if nowhere < 0 { libc::STDERR_FILENO } else { nowhere }, number);
                    libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
                    libc::close(nowhere);
                }
            }
        }
    }
}
