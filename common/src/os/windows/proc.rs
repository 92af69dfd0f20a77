//! Windows: processes that this one started, and the one that started this one.
//!
//! Invariant: while a process's handle is held, nobody else gets its number. Called by `crate::spawn`, `process` and `pool`.

use super::{BorrowedHandle, OwnedHandle, check, pipe};
use crate::os::{Change, Event, Exit, time_left};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::process::Child;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{DuplicateHandle, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, INFINITE, OpenProcess, PROCESS_SYNCHRONIZE, TerminateProcess, WaitForSingleObject,
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
    child: Mutex<Child>,
    /// The same process, for waiting without the lock.
    pub(super) handle: OwnedHandle,
    on_exit: fn(u32, Exit),
}

impl Process {
    pub(super) fn new(child: Child, on_exit: fn(u32, Exit)) -> io::Result<Process> {
        Ok(Process {
            handle: super::borrow(&child).try_clone_to_owned()?,
            child: Mutex::new(child),
            on_exit,
        })
    }

    /// Nobody is stopped here.
    pub fn wait_for_change(&self) -> Change {
        Change::Ended(self.wait())
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// How it ended, if it did.
    pub fn try_wait(&self) -> Option<Exit> {
        let mut child = self.child.lock().unwrap();
        match child.try_wait() {
            Ok(status) => Some(Exit::Code(status?.code()?)), // the system's codes for faults are exit codes too
            Err(_) => Some(Exit::Unknown),
        }
        .inspect(|&exit| (self.on_exit)(child.id(), exit))
    }

    /// Waits for its end. Other threads can kill it meanwhile: the lock is not held.
    pub fn wait(&self) -> Exit {
        loop {
            if let Some(exit) = self.wait_timeout(Duration::MAX) {
                return exit;
            }
        }
    }

    /// Waits for its end, at most for `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Exit> {
        wait_ended(&self.handle, timeout);
        self.try_wait()
    }

    /// Waits until the process has ended, `pipe` can be read, or the deadline is there: in this order, if it is more than one.
    pub fn wait_event(&self, pipe: Option<BorrowedHandle>, deadline: Option<Instant>) -> Event {
        // A pipe cannot be waited for; it is looked at, often at first.
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(exit) = self.try_wait() {
                return Event::Ended(exit);
            }
            if pipe.is_some_and(|pipe| pipe::is_readable(pipe).unwrap_or(false)) {
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
        let outcome = self.child.lock().unwrap().kill();
        match outcome {
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

/// What tells another process of this one's end: a handle of this process that is good for waiting only. Nothing has to be
/// kept for that. (A pipe would not do: the system lets whoever looks at it wait for whoever is reading from it.)
pub(crate) fn lifeline() -> io::Result<(OwnedHandle, Option<OwnedHandle>)> {
    let mut handle = null_mut();
    // SAFETY: a handle that is always there, and a place for the new one.
    check(unsafe {
        let me = GetCurrentProcess();
        DuplicateHandle(me, me, me, &mut handle, PROCESS_SYNCHRONIZE, 0, 0)
    })?;
    // SAFETY: a new handle, ours alone.
    Ok((unsafe { OwnedHandle::from_raw_handle(handle) }, None))
}

/// The process that started this one, as seen from here: by a [`lifeline`].
pub(crate) struct Parent(OwnedHandle);

impl Parent {
    pub fn new(_pid: u32, lifeline: OwnedHandle) -> Option<Parent> {
        Some(Parent(lifeline))
    }

    /// Waits until the parent has ended. False: `timeout` is over.
    pub fn ends_within(&self, timeout: Duration) -> bool {
        wait_ended(&self.0, timeout)
    }
}

/// Waits until a process has ended. False: `timeout` is over.
fn wait_ended(process: &OwnedHandle, timeout: Duration) -> bool {
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
