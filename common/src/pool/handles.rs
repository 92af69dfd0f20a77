//! What a caller holds while workers work, and where their results go.

use super::items::{Packed, split_item};
use crate::error::Error;
use crate::message::{Message, decode};
use crate::os::generation;
use crate::sync::{AtomicU32, Condvar, Mutex, MutexGuard};
use crate::timeline;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Where the results of a job go.
pub(super) trait ResultHandler: Send + Sync {
    /// Takes what came of the item at `index` (and of those behind it). True: somebody waits, and is to be woken.
    fn deliver(&self, index: usize, outcome: Outcome, bytes: &[u8]) -> bool;
    /// Wakes the threads that wait. Called once for many results: waking costs more than delivering.
    fn wake(&self);
}

/// What came of some items.
pub(super) enum Outcome {
    /// The values of as many consecutive items, packed, and where they lie in the bytes that are delivered.
    Values(u32, Range<usize>),
    /// The packed value of one item, a large one: too much to be copied.
    Large(Vec<u8>),
    /// One item has none.
    Failed(Failure),
}

/// Failures whose handles were dropped before anybody asked: `join` tells of them.
#[derive(Default)]
pub(super) struct Unobserved(std::sync::Mutex<Option<(usize, Error)>>);

impl Unobserved {
    pub fn result(&self) -> Result<(), Error> {
        match self.lock().take() {
            None => Ok(()),
            Some((count, first)) => Err(Error::UnobservedFailures {
                count,
                first: Arc::new(first),
            }),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(usize, Error)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why items have no value. One that nobody looks at before it is dropped is noted as unobserved.
pub(super) struct Failure {
    error: Error,
    count: usize,
    unobserved: Option<Arc<Unobserved>>,
}

impl Failure {
    pub fn new(error: Error, unobserved: &Arc<Unobserved>) -> Failure {
        // A pool that is terminated fails what is left, and everybody knows.
        let known = matches!(error, Error::Terminated);
        Failure {
            error,
            count: 1,
            unobserved: (!known).then(|| unobserved.clone()),
        }
    }

    pub fn observe(&mut self) -> Error {
        self.unobserved = None;
        self.error.clone()
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        if let Some(unobserved) = self.unobserved.take() {
            let mut noted = unobserved.lock();
            let (count, _) = noted.get_or_insert_with(|| (0, self.error.clone()));
            *count += self.count;
        }
    }
}

/// Results that gather, and that somebody may wait for.
pub(super) trait Results: Send {
    fn add(&mut self, index: usize, outcome: Outcome, bytes: &[u8]);
    /// Is there what a waiting thread waits for?
    fn ready(&self) -> bool;
}

pub(super) struct Watched<T> {
    results: Mutex<T>,
    changed: Condvar,
    /// In which process of those that forked this was made; and, as the lowest bit, whether somebody waits: to wake nobody
    /// costs as much as to wake somebody. (Two fields would make a million tasks larger by 16 MB.) Changed with the lock held.
    watched: AtomicU32,
}

const WATCHED: u32 = 1;

impl<T: Results> Watched<T> {
    pub fn new(results: T) -> Arc<Watched<T>> {
        Arc::new(Watched {
            results: Mutex::new(results),
            changed: Condvar::new(),
            watched: AtomicU32::new(generation() << 1),
        })
    }

    /// Decoding a value may panic in code of the caller's, with the lock held: nothing is half done then.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the results. True: somebody waits, and there is now what they wait for.
    fn change(&self, change: impl FnOnce(&mut T)) -> bool {
        let mut results = self.lock();
        change(&mut results);
        let wake = self.watched.load(Relaxed) & WATCHED != 0 && results.ready();
        if wake {
            self.watched.fetch_and(!WATCHED, Relaxed);
        }
        wake
    }

    /// Not in a copy made by `fork`: there, nobody will deliver, and the lock may be held forever.
    fn ours(&self) -> Option<MutexGuard<'_, T>> {
        (self.watched.load(Relaxed) >> 1 == generation()).then(|| self.lock())
    }

    fn ready(&self) -> bool {
        self.ours().is_some_and(|results| results.ready())
    }

    /// Waits until the results are ready, at most for `timeout`. `what` is waited for.
    fn wait(&self, what: &str, timeout: Option<Duration>) -> Result<MutexGuard<'_, T>, Error> {
        let results = self.ours().ok_or(Error::ForkedCopy)?;
        if results.ready() {
            return Ok(results);
        }
        let _blocked = timeline::blocked("result");
        let not_ready = |results: &mut T| {
            self.watched.fetch_or(WATCHED, Relaxed);
            !results.ready()
        };
        let limit = timeout.unwrap_or(Duration::MAX); // beyond the clock's end: no limit
        let waited = self.changed.wait_timeout_while(results, limit, not_ready);
        let (results, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            let (what, after) = (what.to_owned(), limit);
            return Err(Error::TimedOut { what, after });
        }
        Ok(results)
    }
}

impl<T: Results> ResultHandler for Watched<T> {
    fn deliver(&self, index: usize, outcome: Outcome, bytes: &[u8]) -> bool {
        self.change(|results| results.add(index, outcome, bytes))
    }

    fn wake(&self) {
        self.changed.notify_all();
    }
}

#[inline]
fn decode_item<R: Message>(value: &[u8]) -> Result<R, Error> {
    decode(value).map_err(|message| Error::decode("the result of a task", message))
}

/// One task's result.
pub(super) enum One {
    Waiting,
    Value(Packed),
    Failed(Box<Failure>),
}

impl Results for One {
    fn add(&mut self, _: usize, outcome: Outcome, bytes: &[u8]) {
        *self = match outcome {
            Outcome::Values(_, range) => One::Value(bytes[range].into()),
            Outcome::Large(item) => One::Value(item.into()),
            Outcome::Failed(failure) => One::Failed(Box::new(failure)),
        }
    }

    fn ready(&self) -> bool {
        !matches!(self, One::Waiting)
    }
}

/// The result of [`Pool::apply_async`](super::Pool::apply_async), once it is there.
///
/// Source: [`multiprocessing.pool.AsyncResult`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.AsyncResult).
#[must_use = "the task runs anyway, but its result or error is seen only by `get`"]
pub struct AsyncResult<R> {
    one: Arc<Watched<One>>,
    result: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("AsyncResult").finish_non_exhaustive()
    }
}

impl<R: Message> AsyncResult<R> {
    pub(super) fn new(one: Arc<Watched<One>>) -> AsyncResult<R> {
        AsyncResult {
            one,
            result: PhantomData,
        }
    }

    /// Waits for the result. May be called again, and says the same again.
    ///
    /// # Errors
    ///
    /// [`Error::Panicked`], [`Error::Exited`], [`Error::Signaled`] and others that tell why there is none;
    /// [`Error::Terminated`] if the pool was terminated, or dropped, first.
    pub fn get(&self) -> Result<R, Error> {
        self.wait(None)
    }

    /// Waits for the result, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](AsyncResult::get), and [`Error::TimedOut`]; the result can still be got later.
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, Error> {
        self.wait(Some(timeout))
    }

    /// Is there a result, or an error? Returns at once.
    pub fn ready(&self) -> bool {
        self.one.ready()
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<R, Error> {
        match &mut *self.one.wait("the task", timeout)? {
            One::Value(value) => decode_item(split_item(value).unwrap_or_default().0),
            One::Failed(failure) => Err(failure.observe()),
            One::Waiting => unreachable!("it was waited for"),
        }
    }
}

/// The results of a `map`.
#[derive(Default)]
pub(super) struct Many {
    /// How many there are to be; `None`: the input has not ended.
    expected: Option<usize>,
    done: usize,
    /// The first item's place, and the packed values from there on, as they came.
    pieces: Vec<(usize, Box<[u8]>)>,
    /// The failed item with the lowest number; it counts for all.
    failed: Option<(usize, Failure)>,
}

impl Results for Many {
    fn add(&mut self, index: usize, outcome: Outcome, bytes: &[u8]) {
        match outcome {
            Outcome::Values(count, range) => {
                self.done += count as usize;
                self.pieces.push((index, bytes[range].into()));
            }
            Outcome::Large(item) => {
                self.done += 1;
                self.pieces.push((index, item.into()));
            }
            Outcome::Failed(failure) => {
                self.done += 1;
                let (mut lowest, mut other) = ((index, failure), self.failed.take());
                if let Some(other) = &mut other {
                    if other.0 < lowest.0 {
                        std::mem::swap(other, &mut lowest);
                    }
                    lowest.1.count += other.1.count;
                    other.1.observe();
                }
                self.failed = Some(lowest);
            }
        }
    }

    fn ready(&self) -> bool {
        self.expected == Some(self.done)
    }
}

impl Watched<Many> {
    /// The input has ended.
    pub fn expect(&self, items: usize) {
        if self.change(|many| many.expected = Some(items)) {
            self.wake();
        }
    }
}

/// The results of [`Pool::map_async`](super::Pool::map_async), once they are there.
#[must_use = "the tasks run anyway, but their results or errors are seen only by `get`"]
pub struct MapResult<R> {
    many: Arc<Watched<Many>>,
    result: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for MapResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("MapResult").finish_non_exhaustive()
    }
}

impl<R: Message> MapResult<R> {
    pub(super) fn new(many: Arc<Watched<Many>>) -> MapResult<R> {
        MapResult {
            many,
            result: PhantomData,
        }
    }

    /// Waits for all results, in the order of the items.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] for the first item, in order, that has none. The other items are done all the same.
    pub fn get(&self) -> Result<Vec<R>, Error> {
        self.wait(None)
    }

    /// Waits for all results, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](MapResult::get), and [`Error::TimedOut`]; the results can still be got later.
    pub fn get_timeout(&self, timeout: Duration) -> Result<Vec<R>, Error> {
        self.wait(Some(timeout))
    }

    /// Are all results there? Returns at once.
    pub fn ready(&self) -> bool {
        self.many.ready()
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<Vec<R>, Error> {
        let mut guard = self.many.wait("the map", timeout)?;
        let many = &mut *guard;
        let failed = |index, error| Error::Item {
            index,
            source: Arc::new(error),
        };
        if let Some((index, failure)) = &mut many.failed {
            return Err(failed(*index, failure.observe()));
        }
        many.pieces.sort_unstable_by_key(|piece| piece.0);
        let mut results = Vec::with_capacity(many.done);
        for (_, piece) in &many.pieces {
            let mut rest = &piece[..];
            while let Some((item, others)) = split_item(rest) {
                let index = results.len();
                results.push(decode_item(item).map_err(|error| failed(index, error))?);
                rest = others;
            }
        }
        Ok(results)
    }
}

/// The results of an `imap`, as they come: an item's place, and its packed value, or why there is none.
#[derive(Default)]
pub(super) struct Stream(Vec<Arrived>);

pub(super) type Arrived = (usize, Result<Packed, Failure>);

impl Results for Stream {
    fn add(&mut self, index: usize, outcome: Outcome, bytes: &[u8]) {
        match outcome {
            Outcome::Values(_, range) => {
                let mut bytes = &bytes[range];
                for index in index.. {
                    let Some((_, rest)) = split_item(bytes) else { break };
                    self.0.push((index, Ok(bytes[..bytes.len() - rest.len()].into())));
                    bytes = rest;
                }
            }
            Outcome::Large(item) => self.0.push((index, Ok(item.into()))),
            Outcome::Failed(failure) => self.0.push((index, Err(failure))),
        }
    }

    fn ready(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Watched<Stream> {
    /// Takes all that has come. If `wait`, there is something.
    pub fn take(&self, wait: bool) -> Result<Vec<Arrived>, Error> {
        let mut stream = if wait {
            self.wait("imap", None)?
        } else {
            self.ours().ok_or(Error::ForkedCopy)?
        };
        Ok(std::mem::take(&mut stream.0))
    }
}

impl Stream {
    pub fn decode<R: Message>(value: Result<Packed, Failure>) -> Result<R, Error> {
        match value {
            Ok(packed) => decode_item(split_item(&packed).unwrap_or_default().0),
            Err(mut failure) => Err(failure.observe()),
        }
    }
}
