//! A thread for each worker: starts it, waits for its end, replaces it.
//!
//! A worker has ended when its process has ended, and only then: the system reports that at once, no matter which other
//! process holds the worker's pipes. A worker that was told to end may take as long as it needs; one that was killed ends at
//! once.

use super::collector::Shared;
use super::ring::publish_kept;
use super::system::{Link, bell};
use crate::error::Error;
use crate::os::{OwnedHandle, SharedPage, borrow};
use crate::spawn::{self, Call};
use crate::sync::park_timeout;
use crate::timeline;
use std::sync::Arc;

/// The life of a supervisor, which begins with the worker's `first` process.
pub(super) fn supervise(
    shared: &Shared,
    worker: usize,
    first: Arc<Link>,
    start: impl Fn(&Shared) -> Result<Link, Error>,
) {
    let mut started = Ok(first);
    loop {
        let pause = match started {
            Ok(link) => {
                if !shared.with_queue(|queue, out| queue.started(worker, &link, out)) {
                    return link.end();
                }
                let report = |stopped| shared.with_queue(|queue, _| queue.stopped(worker, stopped));
                let exit = link.process.wait_and_report(report);
                publish_kept(&link.page);
                shared.with_queue(|queue, out| queue.exited(worker, exit, out))
            }
            Err(error) => shared.with_queue(|queue, out| queue.start_failed(worker, error, false, out)),
        };
        pause.into_iter().for_each(park_timeout); // unless the pool ends
        if shared.queue().shutting_down {
            return;
        }
        started = start(shared).map(Arc::new);
    }
}

impl Link {
    /// Ends a worker that the pool will not use.
    pub fn end(&self) {
        timeline::planned_end(self.process.pid());
        let _ = self.process.kill(); // it can fail only if the process has ended
        self.process.wait();
    }
}

/// Starts a worker.
#[allow(clippy::useless_conversion)] // in tests, a worker's process is another type
pub(super) fn start(shared: &Shared, initializer: Option<&Call>) -> Result<Link, Error> {
    let _turn = shared.starting.lock();
    let name = &spawn::next_name("PoolWorker");
    let no_memory = |error| Error::start(name, error);
    let (page, memory) = SharedPage::create().map_err(no_memory)?;
    let (bell, sleeper) = bell().map_err(no_memory)?;
    let stdin = std::fs::File::open(NULL_DEVICE).map_err(no_memory)?;
    let pass = [borrow(&memory), sleeper.handle(), shared.bell.handle()];
    let stdio = [Some(OwnedHandle::from(stdin)), None, None];
    let (process, _) = spawn::start("worker", name, &pass, &stdio, true, initializer)?;
    timeline::member(process.pid(), shared.number);
    Ok(Link {
        name: name.to_owned(),
        page,
        bell,
        _sleeper: sleeper,
        process: process.into(),
    })
}

/// A worker does not read from the terminal: it would compete with its parent for the input.
const NULL_DEVICE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };
