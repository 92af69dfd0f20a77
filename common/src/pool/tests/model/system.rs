//! What a pool takes from the system: bells, and processes that run in their supervisors' threads.

use super::Life;
use super::sync::{Condvar, Mutex, step};
use crate::os::{self, BorrowedHandle, Exit, OwnedHandle};
use std::io;
use std::sync::Arc;

struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

#[derive(Clone)]
pub(crate) struct Ringer(Arc<Bell>);

#[derive(Clone)]
pub(crate) struct Sleeper(Arc<Bell>);

pub(crate) fn bell() -> io::Result<(Ringer, Sleeper)> {
    let bell = Arc::new(Bell {
        rung: Mutex::new(false),
        changed: Condvar::new(),
    });
    Ok((Ringer(bell.clone()), Sleeper(bell)))
}

impl Ringer {
    pub fn ring(&self) -> io::Result<()> {
        step();
        *self.0.rung.lock().unwrap() = true;
        self.0.changed.notify_one();
        Ok(())
    }

    pub fn open(_: OwnedHandle) -> io::Result<Ringer> {
        unreachable!("nothing is passed on")
    }

    pub fn handle(&self) -> BorrowedHandle<'_> {
        unreachable!("nothing is passed on")
    }
}

impl Sleeper {
    pub fn wait(&self) -> io::Result<()> {
        step();
        let mut rung = self.0.rung.lock().unwrap();
        while !std::mem::take(&mut *rung) {
            rung = self.0.changed.wait(rung).unwrap();
        }
        Ok(())
    }

    pub fn open(_: OwnedHandle) -> io::Result<Sleeper> {
        unreachable!("nothing is passed on")
    }

    pub fn handle(&self) -> BorrowedHandle<'_> {
        unreachable!("nothing is passed on")
    }
}

/// A worker's process. It runs while it is waited for.
pub(crate) struct Process(pub(super) Life);

impl Process {
    pub fn pid(&self) -> u32 {
        0
    }

    pub fn kill(&self) -> io::Result<()> {
        self.0.kill();
        Ok(())
    }

    /// Only for one that was killed before it ran.
    pub fn wait(&self) {}

    pub fn wait_and_report(&self, _: impl Fn(bool)) -> Exit {
        self.0.run()
    }
}

impl From<os::Process> for Process {
    fn from(_: os::Process) -> Process {
        unreachable!("no process is started")
    }
}
