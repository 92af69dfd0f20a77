//! Unix: what happens when this program calls `fork`.
//!
//! A copy has all of its parent's descriptors and handles, but must not use its parent's processes: it must not end or disturb
//! what the handles stand for. Invariants: no fork happens while a [`ForkGuard`] lives; in a copy, [`generation`] is
//! different. Called by `crate::spawn`, `process` and `pool`.

use nix::libc;
use nix::sys::mman;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// A number that is different in each copy of this process: its pid, kept in [`note`] to save a system call.
pub(crate) fn generation() -> u32 {
    match note().load(Ordering::Relaxed) {
        0 => {
            note().store(std::process::id(), Ordering::Relaxed);
            std::process::id()
        }
        pid => pid,
    }
}

/// 0 in a new copy of this process. Linux clears it in every copy, also in one that is made without a call of `fork` (by
/// `_Fork`, `clone`); elsewhere, and before Linux 4.14, [`after_fork_in_child`] does.
fn note() -> &'static AtomicU32 {
    static NOTE: OnceLock<&AtomicU32> = OnceLock::new();
    static ORDINARY: AtomicU32 = AtomicU32::new(0);
    NOTE.get_or_init(|| own_page().unwrap_or(&ORDINARY))
}

fn own_page() -> Option<&'static AtomicU32> {
    let length = size_of::<AtomicU32>().try_into().ok()?;
    let access = mman::ProtFlags::PROT_READ | mman::ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses touches no other memory. It is never unmapped, holds zeros,
    // which are a number, and is used as that number only.
    unsafe {
        let page = mman::mmap_anonymous(None, length, access, mman::MapFlags::MAP_PRIVATE).ok()?;
        #[cfg(target_os = "linux")]
        let _ = mman::madvise(page, length.get(), mman::MmapAdvise::MADV_WIPEONFORK); // older kernels cannot
        Some(page.cast().as_ref())
    }
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

/// From now on, forks are noticed. Called once.
pub(super) fn register_atfork() {
    generation(); // noted before there is a copy
    // SAFETY: these functions are there as long as the program is, do not unwind, and call nothing that is forbidden in the
    // child of a program with threads.
    unsafe {
        libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child));
    }
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
    note().store(0, Ordering::Relaxed);
    GUARDS.store(0, Ordering::Release);
}
