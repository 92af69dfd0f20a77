//! Everything that the type system cannot vouch for, and everything that differs from system to system.
//!
//! This folder holds nearly every `unsafe` block of the crate. (The others call a function by its address, in `function`,
//! `spawn` and `pool::worker`, or run constructors, in `init`; shared memory is made by the crate `shared_memory`.)
//! [`unix`](self) and `windows` offer the same functions; the rest of the crate does not know where it runs.
//!
//! * `spawn`, [`Process`]: run this program again, wait for it, and kill it, but never an unrelated process that has been
//!   given its pid.
//! * `inherited`: in the new process, what its parent passed to it.
//! * [`SharedPage`]: memory that a pool and one of its workers see at the same time.
//! * [`CodeRef`]: a function's address as a number that means the same in another run of the same program.

use std::io::{self, ErrorKind::NotFound};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod bell;
mod code;
mod page;
pub(crate) use bell::{Ringer, Sleeper, bell};
pub(crate) use code::{CodeRef, fingerprint};
pub(crate) use page::{CAPACITY, Page, Ring, SharedPage};
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

/// What is known of a process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It returned from `main` or called `exit`.
    Code(i32),
    /// A signal ended it (Unix only).
    #[cfg_attr(windows, allow(dead_code))]
    Signal(i32),
    /// Its exit status is lost: another thread waited for any child, or SIGCHLD is ignored, so that the kernel keeps none.
    Unknown,
}

/// The process that made a handle. A copy of it, made by `fork` or the like, is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u32);

impl Owner {
    pub fn me() -> Owner {
        Owner(generation())
    }

    /// Takes no system call.
    pub fn is_me(self) -> bool {
        self == Owner::me()
    }
}

/// Without a deadline, the time left is unlimited.
pub(crate) fn time_left(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
}

impl Exit {
    /// As in Python: below 0, it was a signal. `None`: not known.
    pub fn exitcode(self) -> Option<i32> {
        match self {
            Exit::Code(code) => Some(code),
            Exit::Signal(signal) => Some(-signal),
            Exit::Unknown => None,
        }
    }

    /// Was it ended by a signal that processes send, not one that follows from what it did?
    pub fn comes_from_outside(self) -> bool {
        matches!(self, Exit::Signal(signal) if !FAULTS.contains(&signal))
    }
}

impl Process {
    /// Waits for its end. Other threads can kill it meanwhile.
    pub fn wait(&self) -> Exit {
        loop {
            if let Some(exit) = self.wait_event(None, None) {
                return exit;
            }
        }
    }
}

/// The code of the file that contains `common`.
#[derive(Default)]
struct Code {
    pub segment: Range<usize>,
    /// Where that file lies. Empty: it is the program, and the system knows it without a name (Linux).
    pub file: PathBuf,
}

/// The environment variable that tells a new process what it is. `inherited` takes it away again, where that is possible, so
/// that it does not reach other programs.
const BOOTSTRAP: &str = "COMMON_BOOTSTRAP";

/// May this process be one made by `spawn`?
pub(crate) fn is_child() -> bool {
    std::env::var_os(BOOTSTRAP).is_some()
}

/// In a new process: what its parent passed to it.
pub(crate) struct Inherited {
    pub role: String,
    pub parent: Parent,
    /// In the order of what was given to `spawn`.
    pub handles: Vec<OwnedHandle>,
}

/// The system's message for a missing file says neither which file is missing nor why.
fn missing(error: io::Error, program: impl AsRef<Path>) -> io::Error {
    if error.kind() != NotFound {
        return error;
    }
    let path = program.as_ref().display();
    let sentence = format!("{path} is not there any more: was the program moved? Was `chroot` called? Start it again");
    io::Error::new(NotFound, sentence)
}
