//! Linux, macOS, FreeBSD: `posix_spawn`, `waitid`, `kill`, `mmap`.

use nix::libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use std::io;
use std::time::Duration;

mod code;
mod fork;
mod proc;
mod signal;
mod spawn;

pub(super) use code::code_around;
pub(crate) use fork::{fork_guard, generation};
pub(crate) use os_pipe::pipe;
pub(crate) use proc::{Parent, Process, exit_now, exit_without_this_thread, process_lives};
pub(crate) use signal::{mask_signals, mask_sigpipe};
pub(crate) use spawn::{fill_standard_streams, inherited, show_name, spawn};
pub(crate) use std::os::fd::{AsFd as AsHandle, BorrowedFd as BorrowedHandle, OwnedFd as OwnedHandle};

/// The same method has another name on Windows.
pub(crate) fn borrow(handle: &impl AsHandle) -> BorrowedHandle<'_> {
    handle.as_fd()
}

/// Signals that a process causes itself, by a fault.
pub(super) const FAULTS: [i32; 7] = [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP];

/// Which file is open behind a descriptor.
pub(super) fn file_id(handle: &impl AsHandle) -> io::Result<(u64, u64)> {
    let file = fstat(handle)?;
    Ok((file.st_dev as u64, file.st_ino as u64))
}

/// Waits until `read` on one of these would not block. Returns false if that is not so, after `timeout`, 24 days, or a signal.
fn wait_readable<'a>(ends: impl IntoIterator<Item = BorrowedHandle<'a>>, timeout: Duration) -> bool {
    let ends = ends.into_iter().map(|end| PollFd::new(end, PollFlags::POLLIN));
    let millis = timeout.as_nanos().div_ceil(1_000_000); // rounded up, so that a wait is never shorter than asked for
    let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
    poll(&mut ends.collect::<Vec<_>>(), timeout).is_ok_and(|ready| ready > 0)
}

/// Would `read` on a pipe's end not block?
pub(crate) fn is_readable(pipe: &impl AsHandle) -> bool {
    wait_readable([pipe.as_fd()], Duration::ZERO)
}
