//! What can go wrong, as sentences. Each says what was tried, what went wrong and, where that is known, what to do.
//!
//! Invariant: one error for each cause, and `Display` prints the whole sentence: `source()` has nothing to add. (A field that
//! is called `source` is there to be matched; `r#` keeps `thiserror` from using it for `source()`.)

use crate::os::Exit;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a process could not be started, or gave no result.
///
/// Every error is a sentence that says what was tried, what went wrong and, where that is known, what to do. `Debug` prints
/// the same sentence, so that it is also what a `main` that returns `Result<(), common::Error>` shows.
///
/// ```
/// let error = common::Pool::new(0).err().unwrap();
/// assert_eq!(error.to_string(), "a pool needs at least one process, but 0 were asked for");
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A process could not be started, because the program has not called [`init`](crate::init).
    #[error(
        "cannot start a process before common::init() was called: write `common::init();` as the first line of main (in a \
         test file: `common::init_in_tests!();` outside of all functions)"
    )]
    NotInitialised,
    /// The function does not lie in the file that contains `common`: it comes from another dynamic library, or was made at
    /// run time. Another process could not find it.
    #[error(
        "the target cannot be called in another process: its code is not part of the file that contains `common` (does it \
         come from another dynamic library, or was it made at run time?)"
    )]
    ForeignFunction,
    /// A handle was used in a copy of its process that `fork()` made. The copy cannot use the pools and processes of the
    /// process that it was copied from; it can make its own.
    #[error("this process is a copy, made by fork(), of the one whose pool or process this is: make a new one here")]
    ForkedCopy,
    /// A pool with 0 processes was asked for.
    #[error("a pool needs at least one process, but 0 were asked for")]
    NoWorkers,
    /// `maxtasksperchild` was 0: workers cannot be replaced before their first task.
    #[error("a worker needs at least one task before it is replaced, but maxtasksperchild is 0")]
    NoTasks,
    /// A process (or a pool) could not be started: too many processes or open files, no memory, the program's file is gone.
    #[error("{name} could not be started: {}", .r#source)]
    #[non_exhaustive]
    Start {
        /// What was to be started.
        name: String,
        /// What the system said.
        r#source: Arc<io::Error>,
    },
    /// The system refused another request.
    #[error("{what}: {}", .r#source)]
    #[non_exhaustive]
    System {
        /// What was tried: "SIGTERM to Process-1".
        what: String,
        /// What the system said.
        r#source: Arc<io::Error>,
    },
    /// A process ended before it reached [`init`](crate::init).
    #[error("{name} exited with code {} before it reached common::init(): is that the first line of main?", code_name(.code))]
    #[non_exhaustive]
    NeverReady {
        /// Its name.
        name: String,
        /// Its exit code.
        code: i32,
    },
    /// Arguments or a result could not be turned into bytes.
    #[error("{what} could not be turned into bytes: {message}")]
    #[non_exhaustive]
    Encode {
        /// What it was: "the arguments of Process-1".
        what: String,
        /// What serde said.
        message: String,
    },
    /// Bytes could not be turned into arguments or a result.
    #[error("{what} could not be read back from bytes: {message}")]
    #[non_exhaustive]
    Decode {
        /// What it was: "the result of Process-1".
        what: String,
        /// What serde said.
        message: String,
    },
    /// The target panicked.
    #[error("the target panicked{}: {message}", .location.iter().map(|place| format!(" at {place}")).collect::<String>())]
    #[non_exhaustive]
    Panicked {
        /// The panic's message.
        message: String,
        /// File and line, if known.
        location: Option<String>,
    },
    /// The process called `exit` instead of returning from its target. On Windows it may also have been killed, or have
    /// crashed: there, every end of a process has an exit code.
    #[error("{name} exited with code {} before its target returned", code_name(.code))]
    #[non_exhaustive]
    Exited {
        /// Its name.
        name: String,
        /// The exit code.
        code: i32,
    },
    /// A signal ended the process (never on Windows, which has none).
    #[error("{name} was killed by {}", signal_name(.signal))]
    #[non_exhaustive]
    Signaled {
        /// Its name.
        name: String,
        /// The signal's number.
        signal: i32,
    },
    /// The process ended, but it is not known how, because its exit status was lost.
    #[error("{name} ended, but its exit status is lost: does this program ignore SIGCHLD, or wait for any child?")]
    #[non_exhaustive]
    StatusLost {
        /// Its name.
        name: String,
    },
    /// The data that came from a process is malformed: something else wrote into its pipe or its memory. If it is a worker, it
    /// is killed.
    #[error(
        "{name} sent something other than results: does its target write to descriptors that it did not open, or to memory \
         that is not its own?"
    )]
    #[non_exhaustive]
    ProtocolViolation {
        /// Its name.
        name: String,
    },
    /// Not ready within the given time. It may be ready later.
    #[error("{what} is not ready after {after:?}; it can be waited for again")]
    #[non_exhaustive]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The pool was terminated before this task was done.
    #[error("the pool was terminated before this task was done")]
    Terminated,
    /// A worker's initializer failed, several times in a row, so that the pool gave up.
    #[error("the pool gave up: its workers could not be made ready, the last because {0}")]
    Initializer(Arc<Error>),
    /// One item of a `map` failed.
    #[error("item {index}: {}", .r#source)]
    #[non_exhaustive]
    Item {
        /// The item's index, counted from 0.
        index: usize,
        /// Why it failed.
        r#source: Arc<Error>,
    },
    /// Tasks failed, and the handles of their results had been dropped.
    #[error("tasks that failed, and whose results were thrown away: {count}; the first failed because {first}")]
    #[non_exhaustive]
    UnobservedFailures {
        /// How many.
        count: usize,
        /// The first of them.
        first: Arc<Error>,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// True for [`Error::TimedOut`]: wait again, or give up.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::TimedOut { .. })
    }

    pub(crate) fn start(name: &str, error: io::Error) -> Error {
        let (name, source) = (name.to_owned(), Arc::new(error));
        Error::Start { name, source }
    }

    pub(crate) fn system(what: String, error: io::Error) -> Error {
        let source = Arc::new(error);
        Error::System { what, source }
    }

    /// The error for a process that gave no result. If it had not begun with what it was to do, its exit code came before that;
    /// a signal comes from outside, and is explanation enough.
    pub(crate) fn ended(name: &str, exit: Exit, begun: bool) -> Error {
        let name = name.to_owned();
        match exit {
            Exit::Code(code) if begun => Error::Exited { name, code },
            Exit::Code(FAILED_TO_BEGIN) => {
                let sentence = format!("it exited with code {FAILED_TO_BEGIN}, and said why on its standard error");
                Error::start(&name, io::Error::other(sentence))
            }
            Exit::Code(code) => Error::NeverReady { name, code },
            Exit::Signal(signal) => Error::Signaled { name, signal },
            Exit::Unknown => Error::StatusLost { name },
        }
    }

    pub(crate) fn encode(what: impl Into<String>, message: impl Into<String>) -> Error {
        let (what, message) = (what.into(), message.into());
        Error::Encode { what, message }
    }

    pub(crate) fn decode(what: impl Into<String>, message: impl Into<String>) -> Error {
        let (what, message) = (what.into(), message.into());
        Error::Decode { what, message }
    }

    pub(crate) fn remote(error: RemoteError, name: &str) -> Error {
        match error {
            RemoteError::Panic(message, location) => Error::Panicked { message, location },
            RemoteError::Arguments(message) => Error::decode(format!("the arguments of {name}"), message),
            RemoteError::Result(message) => Error::encode(format!("the result of {name}"), message),
            RemoteError::Setup(message) => Error::start(name, io::Error::other(message)),
        }
    }
}

/// Exit code of a child that reached `init` and could not begin.
pub(crate) const FAILED_TO_BEGIN: i32 = 70;

/// Why a call gave no result, as reported by its own process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RemoteError {
    /// The function panicked: message, and file with line.
    Panic(String, Option<String>),
    /// The arguments did not decode.
    Arguments(String),
    /// The result did not encode.
    Result(String),
    /// The process could not be made ready for the call.
    Setup(String),
}

/// "3"; the codes of Windows for faults are known as "0xc0000409".
fn code_name(code: &i32) -> String {
    if cfg!(windows) && *code < 0 {
        format!("{code:#x}")
    } else {
        code.to_string()
    }
}

/// "signal 9 (SIGKILL)".
fn signal_name(signal: &i32) -> String {
    #[cfg(unix)]
    if let Ok(known) = nix::sys::signal::Signal::try_from(*signal) {
        return format!("signal {signal} ({})", known.as_str());
    }
    format!("signal {signal}")
}
