//! A thread for each worker: starts it, waits for its end, replaces it.
//!
//! A worker has ended when its process has ended, and only then: the system reports that at once, no matter which other
//! process holds the worker's pipes. A worker that was told to end may take as long as it needs; one that was killed ends at
//! once.

use super::collector::Shared;
use super::system::Link;
use super::system::bell;
use crate::error::Error;
use crate::os::{Change, OwnedHandle, SharedPage, borrow};
use crate::spawn::{self, Call};
use crate::timeline;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// The life of a supervisor. `first` is told whether the first start succeeded.
pub(super) fn supervise(
    shared: &Shared,
    worker: usize,
    first: Sender<Result<(), Error>>,
    start: impl Fn(&Shared, &str) -> Result<Link, Error>,
) {
    let mut first = Some(first);
    while !shared.is_shutting_down() {
        match start(shared, &spawn::next_name("PoolWorker")) {
            Ok(link) => {
                if let Some(first) = first.take() {
                    let _ = first.send(Ok(()));
                }
                let link = Arc::new(link);
                if !shared.with_queue(|queue, out| queue.started(worker, &link, out)) {
                    timeline::planned_end(link.process.pid());
                    let _ = link.process.kill(); // it can fail only if the process has ended
                    link.process.wait();
                    return;
                }
                let exit = loop {
                    match link.process.wait_for_change() {
                        Change::Stopped(stopped) => shared.with_queue(|queue, _| queue.stopped(worker, stopped)),
                        Change::Ended(exit) => break exit,
                    }
                };
                if let Some((error, own_fault)) = shared.with_queue(|queue, out| queue.exited(worker, exit, out)) {
                    shared.start_failed(worker, error, own_fault);
                }
            }
            Err(error) => match first.take() {
                Some(first) => {
                    let _ = first.send(Err(error));
                    return;
                }
                None => shared.start_failed(worker, error, false),
            },
        }
    }
}

/// Starts a worker.
#[allow(clippy::useless_conversion)] // in tests, a worker's process is another type
pub(super) fn start(shared: &Shared, name: &str, initializer: Option<&Call>) -> Result<Link, Error> {
    let no_memory = |error| Error::start(name, error);
    let (page, memory) = SharedPage::create().map_err(no_memory)?;
    let (bell, sleeper) = bell().map_err(no_memory)?;
    let stdin = std::fs::File::open(NULL_DEVICE).map_err(no_memory)?;
    let pass = [borrow(&memory), sleeper.handle(), shared.bell.handle()];
    let stdio = [Some(OwnedHandle::from(stdin)), None, None];
    let started = spawn::start("worker", name, &pass, &stdio, true, initializer)?;
    timeline::member(started.process.pid(), shared.number);
    Ok(Link {
        name: name.to_owned(),
        page,
        bell,
        _sleeper: sleeper,
        process: started.process.into(),
    })
}

/// A worker does not read from the terminal: it would compete with its parent for the input.
const NULL_DEVICE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };
