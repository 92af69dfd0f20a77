//! Linux, macOS, FreeBSD: `posix_spawn`, `waitid`, `kill`, `mmap`.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::time::Duration;

mod code;
mod fork;
mod memory;
mod proc;
mod signal;
mod spawn;

pub(super) use code::code_around;
pub(crate) use fork::{ANSWERS, LIFELINE, close_after_fork, closes_itself, fork_guard, generation};
pub(crate) use memory::SharedMemory;
pub(crate) use os_pipe::pipe;
pub(crate) use proc::{Parent, Process, exit_now, exit_without, kill_self, process_lives, this_thread};
pub(crate) use signal::{mask_signals, write_all};
pub(crate) use spawn::{fill_standard_streams, inherited, is_child, show_name, spawn};
pub(crate) use std::os::fd::{AsFd as AsHandle, BorrowedFd as BorrowedHandle, OwnedFd as OwnedHandle};

/// The same method has another name on Windows.
pub(crate) fn borrow(handle: &impl AsHandle) -> BorrowedHandle<'_> {
    handle.as_fd()
}

/// What tells another process of this one's end, and what this one has to keep for that: a pipe through which nothing is
/// ever sent. Its reading end sees the end when the last writing end is closed: see [`LIFELINE`].
pub(crate) fn lifeline() -> io::Result<(OwnedHandle, Option<OwnedHandle>)> {
    let (reader, writer) = pipe()?;
    Ok((reader.into(), Some(writer.into())))
}

/// Milliseconds, rounded up, so that a wait is never shorter than asked for, and at most 24 days.
fn poll_timeout(timeout: Duration) -> PollTimeout {
    let millis = timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32;
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

/// Waits until `read` on `handle` would not block. False: `timeout` is over, or a signal came.
pub(crate) fn wait_readable(handle: &impl AsHandle, timeout: Duration) -> io::Result<bool> {
    match poll(
        &mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)],
        poll_timeout(timeout),
    ) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
