//! What can go wrong, as sentences.

use crate::function::Fault;
use crate::sys::Exit;
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
#[derive(Clone)]
#[non_exhaustive]
pub enum Error {
    /// A process was to be started in a program that did not call [`init`](crate::init).
    NotInitialised,
    /// The function does not lie in the file that contains `common`: it comes from another dynamic library, or was made at
    /// run time. Another process could not find it.
    ForeignFunction,
    /// A pool of no processes was asked for.
    NoWorkers,
    /// The system refused: too many processes or open files, no memory, the program's file is gone.
    Start {
        /// What was to be started.
        name: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A process ended before it reached [`init`](crate::init).
    NeverReady {
        /// Its name.
        name: String,
        /// Its exit code.
        code: i32,
    },
    /// Arguments or a result could not be turned into bytes.
    Encode {
        /// What it was: "the arguments of Process-1".
        what: String,
        /// What serde said.
        message: String,
    },
    /// Bytes could not be turned into arguments or a result.
    Decode {
        /// What it was: "the result of Process-1".
        what: String,
        /// What serde said.
        message: String,
    },
    /// The target panicked.
    Panicked {
        /// The panic's message.
        message: String,
        /// File and line, if known.
        location: Option<String>,
    },
    /// The process called `exit` instead of returning from its target. On Windows it may also have been killed, or have
    /// crashed: each end has an exit code there.
    Exited {
        /// Its name.
        name: String,
        /// The exit code.
        code: i32,
    },
    /// A signal ended the process (never on Windows, which has none).
    Signaled {
        /// Its name.
        name: String,
        /// The signal's number.
        signal: i32,
    },
    /// The process ended, but nobody can say how: its exit status went to somebody else.
    Vanished {
        /// Its name.
        name: String,
    },
    /// Something that is no result came through a worker's pipe; the worker was ended.
    Garbled {
        /// Its name.
        name: String,
    },
    /// Not ready within the time that was given. Later it may be.
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The pool was terminated before this task was done.
    Terminated,
    /// A worker's initializer failed, several times in a row, so that the pool gave up.
    Initializer(Arc<Error>),
    /// One item of a `map` failed.
    Item {
        /// Which, counted from 0.
        index: usize,
        /// How.
        source: Arc<Error>,
    },
    /// Tasks failed whose results nobody was waiting for any more.
    Uncollected {
        /// How many.
        count: usize,
        /// The first of them.
        first: Arc<Error>,
    },
}

impl Error {
    /// True for [`Error::TimedOut`]: wait again, or give up.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::TimedOut { .. })
    }

    pub(crate) fn start(name: &str, source: impl Into<io::Error>) -> Error {
        Error::Start {
            name: name.to_owned(),
            source: Arc::new(source.into()),
        }
    }

    /// What a process that gave no result is reported as.
    pub(crate) fn ended(name: &str, exit: Exit) -> Error {
        let name = name.to_owned();
        match exit {
            Exit::Code(code) => Error::Exited { name, code },
            Exit::Signal(signal) => Error::Signaled { name, signal },
            Exit::Unknown => Error::Vanished { name },
        }
    }

    /// The same, of one that did not reach `init`. A signal comes from outside, and says all.
    pub(crate) fn never_ready(name: &str, exit: Exit) -> Error {
        match exit {
            Exit::Code(code) => Error::NeverReady {
                name: name.to_owned(),
                code,
            },
            exit => Error::ended(name, exit),
        }
    }

    pub(crate) fn fault(fault: Fault, name: &str) -> Error {
        match fault {
            Fault::Panic(message, location) => Error::Panicked { message, location },
            Fault::Arguments(message) => Error::Decode {
                what: format!("the arguments of {name}"),
                message,
            },
            Fault::Result(message) => Error::Encode {
                what: format!("the result of {name}"),
                message,
            },
        }
    }

    pub(crate) fn encode(what: impl Into<String>, error: postcard::Error) -> Error {
        Error::Encode {
            what: what.into(),
            message: error.to_string(),
        }
    }

    pub(crate) fn decode(what: impl Into<String>, error: postcard::Error) -> Error {
        Error::Decode {
            what: what.into(),
            message: error.to_string(),
        }
    }
}

/// "3"; the codes of Windows for faults are known as "0xc0000409".
fn code_name(code: i32) -> String {
    if cfg!(windows) && code < 0 {
        format!("{code:#x}")
    } else {
        code.to_string()
    }
}

/// "signal 9 (SIGKILL)".
fn signal_name(signal: i32) -> String {
    #[cfg(unix)]
    if let Ok(known) = nix::sys::signal::Signal::try_from(signal) {
        return format!("signal {signal} ({})", known.as_str());
    }
    format!("signal {signal}")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::NotInitialised => f.write_str(
                "cannot start a process before common::init() was called: write `common::init();` as the first line of \
                 main (in a test file: `common::init_in_tests!();` outside of all functions)",
            ),
            Error::ForeignFunction => f.write_str(
                "the target cannot be called in another process: its code is not part of the file that contains `common` \
                 (does it come from another dynamic library, or was it made at run time?)",
            ),
            Error::NoWorkers => f.write_str("a pool needs at least one process, but 0 were asked for"),
            Error::Start { name, source } => write!(f, "{name} could not be started: {source}"),
            Error::NeverReady { name, code } => write!(
                f,
                "{name} exited with code {} before it reached common::init(): is that the first line of main?",
                code_name(*code)
            ),
            Error::Encode { what, message } => write!(f, "{what} could not be turned into bytes: {message}"),
            Error::Decode { what, message } => write!(f, "{what} could not be read back from bytes: {message}"),
            Error::Panicked {
                message,
                location: Some(place),
            } => write!(f, "the target panicked at {place}: {message}"),
            Error::Panicked {
                message,
                location: None,
            } => write!(f, "the target panicked: {message}"),
            Error::Exited { name, code } => {
                write!(
                    f,
                    "{name} exited with code {} before its target returned",
                    code_name(*code)
                )
            }
            Error::Signaled { name, signal } => write!(f, "{name} was killed by {}", signal_name(*signal)),
            Error::Vanished { name } => write!(
                f,
                "{name} ended, but its exit status is lost: does this program ignore SIGCHLD, or wait for any child?"
            ),
            Error::Garbled { name } => write!(
                f,
                "{name} was ended because something else than results came from it: does the task write to descriptors \
                 that it did not open?"
            ),
            Error::TimedOut { what, after } => {
                write!(f, "{what} is not ready after {after:?}; it can be waited for again")
            }
            Error::Terminated => f.write_str("the pool was terminated before this task was done"),
            Error::Initializer(source) => {
                write!(
                    f,
                    "the pool gave up: its workers could not be made ready, the last because {source}"
                )
            }
            Error::Item { index, source } => write!(f, "item {index}: {source}"),
            Error::Uncollected { count: 1, first } => write!(f, "a task failed whose result was thrown away: {first}"),
            Error::Uncollected { count, first } => {
                write!(
                    f,
                    "{count} tasks failed whose results were thrown away, the first because {first}"
                )
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Start { source, .. } => Some(&**source),
            Error::Initializer(source) | Error::Item { source, .. } | Error::Uncollected { first: source, .. } => {
                Some(&**source)
            }
            _ => None,
        }
    }
}
