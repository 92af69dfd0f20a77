//! Windows: `CreateProcess` (by way of std), `DuplicateHandle`, `TerminateProcess`, `MapViewOfFile`.

use std::io;

mod code;
mod pipe;
mod proc;
mod spawn;

pub(super) use code::code_around;
pub(crate) use pipe::{is_readable, pipe};
pub(crate) use proc::{Parent, Process, exit_now, process_lives};
pub(crate) use spawn::{fill_standard_streams, inherited, show_name, spawn};
pub(crate) use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};

/// The same method has another name on Unix.
pub(crate) fn borrow(handle: &impl AsHandle) -> BorrowedHandle<'_> {
    handle.as_handle()
}

// There is no `fork` here, no handle that a task closes by a guess at its number, no signals, and no thread that ends without
// its process noticing.
pub(super) const FAULTS: [i32; 0] = [];
pub(super) fn file_id(_handle: &impl AsHandle) -> io::Result<(u64, u64)> {
    Ok((0, 0))
}
pub(crate) struct Nothing(());
impl Drop for Nothing {
    fn drop(&mut self) {}
}
pub(crate) fn fork_guard() -> Nothing {
    Nothing(())
}
pub(crate) use fork_guard as mask_signals;
pub(crate) use fork_guard as mask_sigpipe;
pub(crate) fn generation() -> u32 {
    0
}
pub(crate) fn exit_without_this_thread() -> impl Fn() + Send {
    || {}
}

/// Turns the return value of a Windows function into a result: 0 means failure.
pub(super) fn check(outcome: i32) -> io::Result<()> {
    (outcome != 0).then_some(()).ok_or_else(io::Error::last_os_error)
}
