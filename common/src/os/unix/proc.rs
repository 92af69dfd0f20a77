//! Unix: processes that this one started, and the one that started this one.
//!
//! Invariant: a child's pid cannot be reused before its end has been noticed here, under the lock; so a signal never reaches
//! an unrelated process. An end is learnt from the system, never from a pipe that another process may hold open. Called by
//! `crate::spawn`, `process` and `pool`.

use super::{AsHandle, BorrowedHandle, OwnedHandle, wait_readable};
use crate::os::{Exit, time_left};
use crate::timeline;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::FromRawFd;
use std::sync::Mutex;
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

/// Ends this process at once, with this code: no destructor, no `atexit`, which might wait for a lock that a busy thread holds.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: it does not return.
    unsafe { libc::_exit(code) }
}

/// A process that this one started.
pub(crate) struct Process {
    pid: Pid,
    exit: Mutex<Option<Exit>>,
}

impl Process {
    pub(super) fn new(pid: Pid) -> Process {
        let exit = Mutex::new(None);
        Process { pid, exit }
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// How it ended, if it did. Takes it out of the process table.
    pub fn try_wait(&self) -> Option<Exit> {
        let mut exit = self.exit.lock().unwrap();
        if exit.is_none() {
            let mut status = 0;
            // SAFETY: the place for the answer is there. (nix's `waitpid` does not know real-time signals.)
            let pid = Errno::result(unsafe { libc::waitpid(self.pid.as_raw(), &mut status, libc::WNOHANG) });
            *exit = match pid {
                Ok(1..) if libc::WIFEXITED(status) => Some(Exit::Code(libc::WEXITSTATUS(status))),
                Ok(1..) if libc::WIFSIGNALED(status) => Some(Exit::Signal(libc::WTERMSIG(status))),
                Ok(_) | Err(Errno::EINTR) => None,
                Err(_) => Some(Exit::Unknown),
            };
            exit.inspect(|exit| timeline::ended(self.pid(), exit.exitcode()));
        }
        *exit
    }

    /// Like [`wait`](Process::wait). Meanwhile it calls `report` whenever the process was stopped (by SIGSTOP and the like:
    /// true) or continued (false). (Not on macOS, where waiting for that does not end with the process.) No descriptor is
    /// needed for this.
    pub fn wait_and_report(&self, report: impl Fn(bool)) -> Exit {
        while !cfg!(target_vendor = "apple") && self.try_wait().is_none() {
            match child_state(self.pid, libc::WSTOPPED | libc::WCONTINUED) {
                Ok(state) => report(state == libc::CLD_STOPPED),
                Err(Errno::EINTR) => {}
                Err(_) => break, // it has ended
            }
        }
        self.wait()
    }

    /// Waits until the process has ended, `pipe` can be read, or the deadline has passed; it may return earlier. Returns how
    /// the process ended, if it did.
    pub fn wait_event(&self, pipe: Option<BorrowedHandle>, deadline: Option<Instant>) -> Option<Exit> {
        self.try_wait().or_else(|| {
            let (watch, left) = (self.watch(), time_left(deadline));
            // If the system cannot report the end, it is polled.
            let left = watch.as_ref().map_or(left.min(Duration::from_millis(1)), |_| left);
            let ends = [pipe, watch.as_ref().ok().map(AsHandle::as_fd)];
            if wait_readable(ends.into_iter().flatten(), left) {
                yield_now(); // on macOS, an end is reported a moment before it can be waited for
            }
            self.try_wait()
        })
    }

    /// A descriptor that becomes readable when the process ends.
    fn watch(&self) -> io::Result<OwnedHandle> {
        let exit = self.exit.lock().unwrap(); // as long as its end was not noticed, its number is its own
        if exit.is_some() {
            return Err(Errno::ESRCH.into());
        }
        watch_end(self.pid)
    }

    /// SIGTERM: please end.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// SIGKILL: end.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Nothing happens to a process that has ended.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let exit = self.exit.lock().unwrap();
        if exit.is_none() {
            kill(self.pid, signal)?;
        }
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn watch_end(pid: Pid) -> io::Result<OwnedHandle> {
    // SAFETY: numbers.
    let number = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: a new descriptor, ours alone. It closes itself on exec.
    Ok(unsafe { OwnedHandle::from_raw_fd(number as i32) })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn watch_end(pid: Pid) -> io::Result<OwnedHandle> {
    use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
    let (queue, ident) = (Kqueue::new()?, pid.as_raw() as usize);
    let (filter, add, exit) = (EventFilter::EVFILT_PROC, EvFlags::EV_ADD, FilterFlag::NOTE_EXIT);
    queue.kevent(&[KEvent::new(ident, filter, add, exit, 0, 0)], &mut [], None)?;
    Ok(queue.into())
}

/// `waitid`: what happened to a child (CLD_EXITED and so on), or 0.
fn child_state(pid: Pid, options: i32) -> nix::Result<i32> {
    // SAFETY: numbers, which may all be 0.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the place for the answer is there.
    Errno::result(unsafe { libc::waitid(libc::P_PID, pid.as_raw() as libc::id_t, &mut info, options) })?;
    Ok(if info.si_signo == 0 { 0 } else { info.si_code })
}

/// Is there a living process with this pid? A child of this process that has ended does not count.
pub(crate) fn process_lives(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().filter(|&pid| pid > 0).map(Pid::from_raw) else {
        return false;
    };
    match child_state(pid, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
        Ok(state) => state == 0,
        Err(_) => kill(pid, None) != Err(Errno::ESRCH),
    }
}

/// Returns a function that ends this process if its first thread, which calls this, has ended by then. (musl does not report
/// that.)
pub(crate) fn exit_without_this_thread() -> impl Fn() + Send {
    // SAFETY: a question.
    let thread = unsafe { libc::pthread_self() as usize };
    move || {
        // SAFETY: the first thread's number stays its own as long as there is the process. No signal is sent. (nix's
        // `pthread_kill` takes every answer for success.)
        if unsafe { libc::pthread_kill(thread as libc::pthread_t, 0) } != 0 {
            exit_now(0)
        }
    }
}

/// The process that started this one, as seen from here.
pub(crate) struct Parent {
    pid: Pid,
    /// Becomes readable when it ends. (The program may close it, or put something else in its place.)
    watch: Option<OwnedHandle>,
}

impl Parent {
    pub(super) fn new(pid: Pid) -> Parent {
        let watch = watch_end(pid).ok().filter(|_| getppid() == pid); // else it is a stranger by now
        Parent { pid, watch }
    }

    /// Can it be the process of this number?
    pub fn may_be(&self, pid: u32) -> bool {
        self.pid.as_raw() as u32 == pid
    }

    /// Waits until the parent has ended. Returns false if `timeout` passes first.
    pub fn ends_within(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        // Afterwards, it has another parent. (0 stands for a parent in another pid namespace.)
        while [self.pid, Pid::from_raw(0)].contains(&getppid()) {
            let left = time_left(deadline);
            if left.is_zero() {
                return false;
            }
            let watch = self.watch.as_ref().map(AsHandle::as_fd);
            if watch.is_none() || wait_readable(watch, left) {
                sleep(left.min(Duration::from_millis(10))); // it ends just now, or there is no watch
            }
        }
        true
    }
}
