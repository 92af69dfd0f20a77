//! What a caller holds while workers work, and where their results go.

use super::items::{Items, Packed};
use crate::error::Error;
use crate::message::{Message, decode};
use crate::os::generation;
use crate::sync::{AtomicU32, Condvar, Mutex, MutexGuard};
use crate::timeline;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The outcome of some consecutive items: their values, packed, or why they have none.
pub(super) type Outcome = Result<Packed, Box<Failure>>;

/// Failures whose handles were dropped before anybody asked for the result: of how many items, and the first error. `join`
/// reports them.
pub(super) type Unobserved = Arc<std::sync::Mutex<Option<(usize, Error)>>>;

/// Why items have no value. A failure that is dropped before anybody has looked at it is counted as unobserved.
pub(super) struct Failure {
    pub error: Error,
    /// Of how many items.
    pub count: u32,
    /// `None`: somebody has looked at it.
    pub unobserved: Option<Unobserved>,
}

impl Failure {
    pub fn observe(&mut self) -> Error {
        self.unobserved = None;
        self.error.clone()
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        if let Some(unobserved) = self.unobserved.take() {
            let mut noted = unobserved.lock().unwrap_or_else(PoisonError::into_inner);
            let (count, _) = noted.get_or_insert_with(|| (0, self.error.clone()));
            *count += self.count as usize;
        }
    }
}

/// Where the results of jobs are collected, and where threads may wait for them.
pub(super) struct ResultHandler {
    results: Mutex<Results>,
    changed: Condvar,
    /// The fork generation of the process that made this and, in the lowest bit, whether a thread waits: waking nobody costs
    /// as much as waking a thread. (Two fields would make a million tasks larger by 16 MB.) Changed with the lock held.
    watched: AtomicU32,
}

const WATCHED: u32 = 1;

impl ResultHandler {
    pub fn new(results: Results) -> Arc<ResultHandler> {
        Arc::new(ResultHandler {
            results: Mutex::new(results),
            changed: Condvar::new(),
            watched: AtomicU32::new(generation() << 1),
        })
    }

    /// An error in a copy made by `fork`: there, nothing will be delivered, and the lock may be held forever.
    ///
    /// Decoding a value may panic in the caller's code while the lock is held. The results are intact then, so the poison is
    /// ignored.
    fn lock(&self) -> Result<MutexGuard<'_, Results>, Error> {
        if self.watched.load(Relaxed) >> 1 != generation() {
            return Err(Error::ForkedCopy);
        }
        Ok(self.results.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the outcome of `count` items, the first of which is at `index`. Returns true if a thread waits, its results are
    /// now ready, and it has to be woken.
    pub fn deliver(&self, index: usize, count: u32, outcome: Outcome) -> bool {
        let Ok(mut results) = self.lock() else { return false };
        results.add(index, count, outcome);
        let wake = self.watched.load(Relaxed) & WATCHED != 0 && results.ready();
        if wake {
            self.watched.fetch_and(!WATCHED, Relaxed);
        }
        wake
    }

    /// Wakes the threads that wait. Called once for many results: waking costs more than delivering.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// For an `imap`: takes all results that have arrived; with `wait`, blocks until there is at least one.
    pub fn take(&self, wait: bool) -> Result<Vec<Arrived>, Error> {
        let mut results = if wait { self.wait(Duration::MAX)? } else { self.lock()? };
        let Results::Many(many) = &mut *results else {
            unreachable!("it is an imap");
        };
        many.done = 0;
        Ok(std::mem::take(&mut many.arrived))
    }

    /// Waits until the results are ready, at most for `limit`. (The longest duration is none: beyond the clock's end.)
    fn wait(&self, limit: Duration) -> Result<MutexGuard<'_, Results>, Error> {
        let results = self.lock()?;
        if results.ready() {
            return Ok(results);
        }
        let _blocked = timeline::blocked("result");
        let not_ready = |results: &mut Results| {
            self.watched.fetch_or(WATCHED, Relaxed);
            !results.ready()
        };
        let waited = self.changed.wait_timeout_while(results, limit, not_ready);
        let (results, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Error::TimedOut {
                what: "the result".to_owned(),
                after: limit,
            });
        }
        Ok(results)
    }
}

pub(super) enum Results {
    /// Of one task, when it is done.
    One(Option<Outcome>),
    Many(Box<Many>),
}

/// The results of a `map`, or of an `imap`.
#[derive(Default)]
pub(super) struct Many {
    /// How many a waiting thread waits for: all of a map, one of an imap.
    expected: usize,
    done: usize,
    /// As they came.
    arrived: Vec<Arrived>,
}

/// The first item's index, and the outcome of the items from there on.
pub(super) type Arrived = (usize, Outcome);

impl Results {
    /// For many items; a waiting thread waits for `expected` of them.
    pub fn many(expected: usize) -> Results {
        Results::Many(Box::new(Many {
            expected,
            ..Many::default()
        }))
    }

    fn add(&mut self, index: usize, count: u32, outcome: Outcome) {
        match self {
            Results::One(one) => *one = Some(outcome),
            Results::Many(many) => {
                many.done += count as usize;
                many.arrived.push((index, outcome));
            }
        }
    }

    /// Are the results that a waiting thread waits for there?
    fn ready(&self) -> bool {
        match self {
            Results::One(one) => one.is_some(),
            Results::Many(many) => many.done >= many.expected,
        }
    }

    /// What `get` returns for a task.
    pub fn value<R: Message>(&mut self) -> Result<R, Error> {
        match self {
            Results::One(Some(outcome)) => decode_first(outcome),
            _ => unreachable!("it was waited for"),
        }
    }

    /// What `get` returns for a map.
    pub fn values<R: Message>(&mut self) -> Result<Vec<R>, Error> {
        let Results::Many(many) = self else {
            unreachable!("it is a map");
        };
        let failed = |index, error| Error::Item {
            index,
            source: Arc::new(error),
        };
        many.arrived.sort_unstable_by_key(|arrived| arrived.0);
        // The first failure is reported, and stands for all.
        let failures = many.arrived.iter_mut().filter_map(|arrived| arrived.1.as_mut().err());
        failures.for_each(|failure| failure.unobserved = None);
        let mut results = Vec::with_capacity(many.done);
        for (first, outcome) in &many.arrived {
            let values = outcome.as_deref();
            for item in Items(values.map_err(|failure| failed(*first, failure.error.clone()))?) {
                let index = results.len();
                results.push(decode_item(item).map_err(|error| failed(index, error))?);
            }
        }
        Ok(results)
    }
}

/// Decodes the first of some packed values.
pub(super) fn decode_first<R: Message>(outcome: &mut Outcome) -> Result<R, Error> {
    let packed = outcome.as_mut().map_err(|failure| failure.observe())?;
    decode_item(Items(packed).next().unwrap_or_default())
}

#[inline]
fn decode_item<R: Message>(value: &[u8]) -> Result<R, Error> {
    decode(value).map_err(|message| Error::decode("the result of a task", message))
}

/// The result of [`Pool::apply_async`](super::Pool::apply_async), once it is there; or the results of
/// [`Pool::map_async`](super::Pool::map_async), in the order of the items, once all are there.
///
/// Source: [`multiprocessing.pool.AsyncResult`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.AsyncResult).
#[must_use = "the tasks run anyway, but their results or errors are seen only by `get`"]
pub struct AsyncResult<R> {
    pub(super) handler: Arc<ResultHandler>,
    pub(super) read: fn(&mut Results) -> Result<R, Error>,
}

/// What [`Pool::map_async`](super::Pool::map_async) returns.
pub type MapResult<R> = AsyncResult<Vec<R>>;

debug! { AsyncResult[R] {} }

impl<R> AsyncResult<R> {
    /// Waits for the result. It may be called again, and returns the same again.
    ///
    /// # Errors
    ///
    /// [`Error::Panicked`], [`Error::Exited`], [`Error::Signaled`] and others that say why there is no result; for a map,
    /// [`Error::Item`] for the first item that has none (the other items are done nevertheless). [`Error::Terminated`] if the
    /// pool was terminated, or dropped, first.
    pub fn get(&self) -> Result<R, Error> {
        (self.read)(&mut *self.handler.wait(Duration::MAX)?)
    }

    /// Waits for the result, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](AsyncResult::get), and [`Error::TimedOut`]; the result can still be got later.
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, Error> {
        (self.read)(&mut *self.handler.wait(timeout)?)
    }

    /// Returns `true` if there is a result or an error. Does not wait.
    pub fn ready(&self) -> bool {
        self.handler.lock().is_ok_and(|results| results.ready())
    }
}
