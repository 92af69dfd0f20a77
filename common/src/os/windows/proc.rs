//! Windows: processes that this one started, and the one that started this one.
//!
//! Invariant: while a process's handle is held, no other process gets its number. Called by `crate::spawn`, `process` and
//! `pool`.

use super::{BorrowedHandle, OwnedHandle, check, is_readable};
use crate::os::{Exit, time_left};
use crate::timeline;
use std::io;
use std::os::windows::io::{AsRawHandle, HandleOrNull};
use std::process::Child;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetExitCodeProcess, INFINITE, OpenProcess, PROCESS_SYNCHRONIZE, TerminateProcess,
    WaitForSingleObject,
};

/// Ends this process at once, with this code: no destructor, no `atexit`, which might wait for a lock that a busy thread holds.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: this process's own handle; it does not come back from here.
    unsafe { TerminateProcess(GetCurrentProcess(), code as u32) };
    std::process::abort();
}

/// A process that this one started.
pub(crate) struct Process {
    pid: u32,
    pub(super) handle: OwnedHandle,
    exit: OnceLock<Exit>,
}

impl Process {
    pub(super) fn new(child: Child) -> Process {
        let (pid, handle, exit) = (child.id(), child.into(), OnceLock::new());
        Process { pid, handle, exit }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it did.
    pub fn try_wait(&self) -> Option<Exit> {
        let exit = || {
            let mut code = 0;
            // SAFETY: the handle is open, and the place for the answer is there.
            let told = check(unsafe { GetExitCodeProcess(self.handle.as_raw_handle(), &mut code) });
            let exit = told.map_or(Exit::Unknown, |()| Exit::Code(code as i32)); // the codes for faults too
            timeline::ended(self.pid, exit.exitcode());
            exit
        };
        wait_ended(&self.handle, Duration::ZERO).then(|| *self.exit.get_or_init(exit))
    }

    /// There is no SIGSTOP here.
    pub fn wait_and_report(&self, _report: impl Fn(bool)) -> Exit {
        self.wait()
    }

    /// As on Unix.
    pub fn wait_event(&self, pipe: Option<BorrowedHandle>, deadline: Option<Instant>) -> Option<Exit> {
        // A pipe cannot be waited for; it is looked at, often at first.
        let (mut pause, mut left) = (Duration::from_millis(1), time_left(deadline));
        while !left.is_zero() && !pipe.is_some_and(|pipe| is_readable(&pipe)) {
            if wait_ended(&self.handle, if pipe.is_some() { pause.min(left) } else { left }) {
                break;
            }
            pause = (pause + Duration::from_micros(100)).min(Duration::from_millis(10));
            left = time_left(deadline);
        }
        self.try_wait()
    }

    /// There is no polite request on Windows.
    pub fn terminate(&self) -> io::Result<()> {
        self.kill()
    }

    /// Exit code 1. Nothing happens to a process that has ended.
    pub fn kill(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        let killed = check(unsafe { TerminateProcess(self.handle.as_raw_handle(), 1) });
        self.try_wait().map_or(killed, |_| Ok(()))
    }
}

/// Does any process of this number live?
pub(crate) fn process_lives(pid: u32) -> bool {
    // SAFETY: numbers. If there is an answer, it is a new handle, ours alone.
    let handle = unsafe { HandleOrNull::from_raw_handle(OpenProcess(PROCESS_SYNCHRONIZE, 0, pid)) };
    OwnedHandle::try_from(handle).is_ok_and(|process| !wait_ended(&process, Duration::ZERO))
}

/// The process that started this one, as seen from here.
pub(crate) struct Parent(pub(super) OwnedHandle);

impl Parent {
    /// The parent itself passed the handle.
    pub fn may_be(&self, _pid: u32) -> bool {
        true
    }

    /// Waits until the parent has ended. Returns false if `timeout` passes first.
    pub fn ends_within(&self, timeout: Duration) -> bool {
        wait_ended(&self.0, timeout)
    }
}

/// Waits until a process has ended. Returns false if `timeout` passes first.
pub(super) fn wait_ended(process: &OwnedHandle, timeout: Duration) -> bool {
    // INFINITE, the largest value, means that there is no limit.
    let millis = timeout.as_nanos().div_ceil(1_000_000).min(u128::from(INFINITE)) as u32;
    // SAFETY: the handle is open during the call.
    match unsafe { WaitForSingleObject(process.as_raw_handle(), millis) } {
        WAIT_OBJECT_0 => true,
        WAIT_TIMEOUT => false,
        _ => {
            std::thread::sleep(timeout.min(Duration::from_millis(100))); // it cannot be waited for
            false
        }
    }
}
