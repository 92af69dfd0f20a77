//! Windows: processes that this one started, and the one that started this one.
//!
//! Invariant: while a process's handle is held, no other process gets its number. Called by `crate::spawn`, `process` and
//! `pool`.

use super::{BorrowedHandle, OwnedHandle, check, is_readable};
use crate::os::{Change, Event, Exit, time_left};
use crate::timeline;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::process::Child;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetExitCodeProcess, INFINITE, OpenProcess, PROCESS_SYNCHRONIZE, TerminateProcess,
    WaitForSingleObject,
};

/// Ends this process at once: no destructor, no `atexit`, which might wait for a lock that a busy thread holds.
pub(crate) fn kill_self() -> ! {
    // SAFETY: this process's own handle; it does not come back from here.
    unsafe { TerminateProcess(GetCurrentProcess(), KILLED) };
    std::process::abort();
}

/// Exit code of a killed process.
const KILLED: u32 = 1;

/// A process that this one started.
pub(crate) struct Process {
    pid: u32,
    pub(super) handle: OwnedHandle,
    exit: OnceLock<Exit>,
}

impl Process {
    pub(super) fn new(child: Child) -> Process {
        let (pid, exit) = (child.id(), OnceLock::new());
        let handle = child.into();
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
    pub fn wait_for_change(&self) -> Change {
        Change::Ended(self.wait())
    }

    /// Waits until the process has ended, `pipe` can be read, or the deadline is there: in this order, if it is more than one.
    pub fn wait_event(&self, pipe: Option<BorrowedHandle>, deadline: Option<Instant>) -> Event {
        // A pipe cannot be waited for; it is looked at, often at first.
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(exit) = self.try_wait() {
                return Event::Ended(exit);
            }
            if pipe.is_some_and(|pipe| is_readable(&pipe)) {
                return Event::Readable;
            }
            let left = time_left(deadline);
            if left.is_zero() {
                return Event::TimedOut;
            }
            wait_ended(&self.handle, if pipe.is_some() { pause.min(left) } else { left });
            pause = (pause + Duration::from_micros(100)).min(Duration::from_millis(10));
        }
    }

    /// There is no polite request on Windows.
    pub fn terminate(&self) -> io::Result<()> {
        self.kill()
    }

    /// Exit code 1. Nothing happens to a process that has ended.
    pub fn kill(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        match check(unsafe { TerminateProcess(self.handle.as_raw_handle(), KILLED) }) {
            Err(error) if !wait_ended(&self.handle, Duration::from_secs(1)) => Err(error),
            _ => Ok(()), // one that is just ending refuses
        }
    }
}

/// Does any process of this number live?
pub(crate) fn process_lives(pid: u32) -> bool {
    // SAFETY: numbers.
    let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, pid) };
    if handle.is_null() {
        return false;
    }
    // SAFETY: a new handle, ours alone.
    !wait_ended(&unsafe { OwnedHandle::from_raw_handle(handle) }, Duration::ZERO)
}

/// The process that started this one, as seen from here.
pub(crate) struct Parent(pub(super) OwnedHandle);

impl Parent {
    /// The parent itself passed the handle.
    pub fn may_be(&self, _pid: u32) -> bool {
        true
    }

    /// Waits until the parent has ended. False: `timeout` is over.
    pub fn ends_within(&self, timeout: Duration) -> bool {
        wait_ended(&self.0, timeout)
    }
}

/// Waits until a process has ended. False: `timeout` is over.
pub(super) fn wait_ended(process: &OwnedHandle, timeout: Duration) -> bool {
    // The longest time stands forever.
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
