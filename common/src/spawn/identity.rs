//! Who this process is: its name, its parent, and the handshake by which a child learns both.
//!
//! Invariant: a process that has accepted a handshake runs the same program as the parent that wrote it. Called by `spawn`.

use crate::error::Error;
use crate::os::{self, Parent};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Which program file this is; not set before `init` has run.
static PROGRAM: OnceLock<u64> = OnceLock::new();

/// From now on, this program can be started again as a child. Returns false if it could be already.
pub(crate) fn initialise() -> bool {
    PROGRAM.set(os::fingerprint()).is_ok() // looked at now: later, another file may lie in the program's place
}

/// What this process knows of itself. Set in children only.
static IDENTITY: OnceLock<(Handshake, Parent)> = OnceLock::new();

/// Name and process id of a process; see [`current_process`] and [`parent_process`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    name: String,
    pid: u32,
}

impl ProcessInfo {
    /// Its name: as given with [`Process::name`](crate::Process::name), or `MainProcess` for the program that you started.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, as `ps` shows it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns `true` if the process is alive. For this process, its parent and its children, the answer is reliable. Of other
    /// processes only the id is known: if a new process has been given the same id, the answer is `true` as well.
    ///
    /// ```
    /// assert!(common::current_process().is_alive());
    /// ```
    pub fn is_alive(&self) -> bool {
        match IDENTITY.get() {
            Some((me, parent)) if me.parent == *self => !parent.ends_within(Duration::ZERO),
            _ => self.pid == std::process::id() || os::process_lives(self.pid),
        }
    }
}

/// This process: its name and process id.
///
/// ```
/// let me = common::current_process();
/// assert_eq!(me.name(), "MainProcess");
/// assert_eq!(me.pid(), std::process::id());
/// ```
///
/// Source: [`multiprocessing.current_process`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.current_process).
pub fn current_process() -> ProcessInfo {
    let name = IDENTITY.get().map_or("MainProcess", |(me, _)| &me.name).to_owned();
    let pid = std::process::id();
    ProcessInfo { name, pid }
}

/// The process that started this one with `common`; `None` in the program that you started yourself.
///
/// ```
/// assert_eq!(common::parent_process(), None);
/// ```
///
/// Source: [`multiprocessing.parent_process`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.parent_process).
pub fn parent_process() -> Option<ProcessInfo> {
    IDENTITY.get().map(|(me, _)| me.parent.clone())
}

/// In a child: waits until its parent has ended. Returns false if `timeout` passes first.
pub(super) fn parent_ends_within(timeout: Duration) -> bool {
    IDENTITY.get().is_some_and(|(_, parent)| parent.ends_within(timeout))
}

/// `Process-1`, `Process-2`; below `Process-1` they are called `Process-1:1`, as in Python.
pub(crate) fn next_name(kind: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    match IDENTITY.get() {
        Some((me, _)) => format!("{}:{number}", me.name),
        None => format!("{kind}-{number}"),
    }
}

/// The first thing that a child reads.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Handshake {
    name: String,
    parent: ProcessInfo,
    program: u64,
}

impl Handshake {
    pub fn to(name: &str) -> Result<Handshake, Error> {
        let program = *PROGRAM.get().ok_or(Error::NotInitialised)?;
        let (name, parent) = (name.to_owned(), current_process());
        Ok(Handshake { name, parent, program })
    }

    /// In the child: checks that its parent wrote this, and that the parent runs the same program; takes on the name.
    pub fn accept(&self, parent: Parent) -> Result<(), &'static str> {
        if PROGRAM.get() != Some(&self.program) {
            return Err("the program's file was replaced while it ran; start the program again");
        }
        if !parent.may_be(self.parent.pid) {
            return Err("what it was told does not come from its parent");
        }
        os::show_name(&self.name);
        let identity = (self.clone(), parent);
        IDENTITY.set(identity).map_err(|_| "it has a name already")
    }
}
