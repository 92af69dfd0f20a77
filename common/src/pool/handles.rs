//! What a caller holds while workers work, and where their results go.

use super::items::{Items, Packed};
use crate::error::Error;
use crate::message::{Message, decode};
use crate::os::generation;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::timeline;
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
    /// For each task one, so that nobody is woken for another one's result.
    changed: [Condvar; TOGETHER],
    /// The fork generation of the process that made this.
    generation: u32,
}

impl ResultHandler {
    pub fn new(results: Results) -> Arc<ResultHandler> {
        Arc::new(ResultHandler {
            results: Mutex::new(results),
            changed: std::array::from_fn(|_| Condvar::new()),
            generation: generation(),
        })
    }

    /// An error in a copy made by `fork`: there, nothing will be delivered, and the lock may be held forever.
    ///
    /// Decoding a map's values may panic in the caller's code while the lock is held. The results are intact then, so the poison
    /// is ignored.
    fn lock(&self) -> Result<MutexGuard<'_, Results>, Error> {
        if self.generation != generation() {
            return Err(Error::ForkedCopy);
        }
        Ok(self.results.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the outcome of `count` items, the first of which is at `index`. If a thread waits whose results are ready now,
    /// returns what it waits for.
    pub fn deliver(&self, index: usize, count: u32, outcome: Outcome) -> Option<usize> {
        self.lock().ok()?.add(index, count, outcome)
    }

    /// Nobody will ask for this task's result any more.
    fn abandon(&self, task: usize) {
        let Ok(mut results) = self.lock() else { return };
        let abandoned = results
            .place(task)
            .map(|place| std::mem::replace(place, Place::Abandoned));
        drop(results);
        drop(abandoned); // which may be large
    }

    /// Wakes the threads that wait for this task. Called later than `deliver`, since it costs more.
    pub fn wake(&self, task: usize) {
        self.changed[task % TOGETHER].notify_all();
    }

    /// For an `imap`: takes all results that have arrived; with `wait`, blocks until there is at least one.
    pub fn take(&self, wait: bool) -> Result<Vec<Arrived>, Error> {
        let mut results = match wait {
            true => self.wait(0, Duration::MAX)?,
            false => self.lock()?,
        };
        let Results::Many(many) = &mut *results else {
            unreachable!("it is an imap");
        };
        many.done = 0;
        Ok(std::mem::take(&mut many.arrived))
    }

    /// Waits until the results are ready, at most for `limit`. (The longest duration is none: beyond the clock's end.) `task`:
    /// which one, of several.
    fn wait(&self, task: usize, limit: Duration) -> Result<MutexGuard<'_, Results>, Error> {
        let mut results = self.lock()?;
        if results.ready_or_watched(task) {
            return Ok(results);
        }
        let _blocked = timeline::blocked("result");
        let not_ready = |results: &mut Results| !results.ready_or_watched(task);
        let waited = self.changed[task % TOGETHER].wait_timeout_while(results, limit, not_ready);
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
    /// Of some tasks, each of which is waited for by itself.
    Tasks(Box<[Place; TOGETHER]>),
    Many(Box<Many>),
}

/// How many tasks share a handler: one of its own would cost each as much as everything else that its caller does. (A handle that
/// is kept alone keeps the places of the others, but not their results.)
pub(super) const TOGETHER: usize = if cfg!(model) { 2 } else { 32 };

/// The place of a task's result.
pub(super) enum Place {
    Empty,
    /// A thread waits for it.
    Watched,
    Filled(Outcome),
    /// The handle was dropped.
    Abandoned,
}

/// The results of a `map`, or of an `imap`.
#[derive(Default)]
pub(super) struct Many {
    /// How many a waiting thread waits for: all of a map, one of an imap.
    expected: usize,
    done: usize,
    /// A thread waits.
    watched: bool,
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

    /// For tasks; which one goes where, the lowest bits of its number say.
    pub fn tasks() -> Results {
        Results::Tasks(Box::new([const { Place::Empty }; TOGETHER]))
    }

    /// See `deliver`.
    fn add(&mut self, index: usize, count: u32, outcome: Outcome) -> Option<usize> {
        match self {
            Results::Tasks(places) => match &mut places[index % TOGETHER] {
                Place::Abandoned => None,
                place => {
                    let before = std::mem::replace(place, Place::Filled(outcome));
                    matches!(before, Place::Watched).then_some(index)
                }
            },
            Results::Many(many) => {
                many.done += count as usize;
                many.arrived.push((index, outcome));
                (many.done >= many.expected && std::mem::take(&mut many.watched)).then_some(0)
            }
        }
    }

    fn place(&mut self, task: usize) -> Option<&mut Place> {
        match self {
            Results::Tasks(places) => Some(&mut places[task % TOGETHER]),
            Results::Many(_) => None,
        }
    }

    /// Are the results that a waiting thread waits for there? If not, they are watched from now on.
    fn ready_or_watched(&mut self, task: usize) -> bool {
        match self {
            Results::Tasks(places) => match &mut places[task % TOGETHER] {
                Place::Filled(_) => return true,
                place => *place = Place::Watched,
            },
            Results::Many(many) if many.done >= many.expected => return true,
            Results::Many(many) => many.watched = true,
        }
        false
    }

    /// What `get` returns for a task. Decoding is the caller's code: other tasks' results need not wait for it.
    pub fn value<R: Message>(mut results: MutexGuard<Results>, task: usize) -> Result<R, Error> {
        let Some(Place::Filled(outcome)) = results.place(task) else {
            unreachable!("it was waited for");
        };
        let value = match outcome {
            Ok(value) => value.clone(),
            Err(failure) => return Err(failure.observe()),
        };
        drop(results);
        decode_first(&value)
    }

    /// What `get` returns for a map.
    pub fn values<R: Message>(mut results: MutexGuard<Results>, _: usize) -> Result<Vec<R>, Error> {
        let Results::Many(many) = &mut *results else {
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
pub(super) fn decode_first<R: Message>(packed: &[u8]) -> Result<R, Error> {
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
    pub(super) task: usize,
    pub(super) read: fn(MutexGuard<Results>, usize) -> Result<R, Error>,
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
        self.get_timeout(Duration::MAX)
    }

    /// Waits for the result, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](AsyncResult::get), and [`Error::TimedOut`]; the result can still be got later.
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, Error> {
        (self.read)(self.handler.wait(self.task, timeout)?, self.task)
    }

    /// Returns `true` if there is a result or an error. Does not wait.
    pub fn ready(&self) -> bool {
        self.handler
            .lock()
            .is_ok_and(|mut results| results.ready_or_watched(self.task))
    }
}

impl<R> Drop for AsyncResult<R> {
    fn drop(&mut self) {
        self.handler.abandon(self.task);
    }
}
