//! What a caller holds while workers work, and where their results go.

use super::items::{Packed, split_item};
use crate::error::Error;
use crate::message::{Message, decode};
use crate::os::generation;
use crate::sync::{AtomicU32, Condvar, Mutex, MutexGuard};
use crate::timeline;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Where the results of a job go.
pub(super) trait ResultHandler: Send + Sync {
    /// Takes what came of the item at `index` (and of those behind it). True: somebody waits, and is to be woken.
    fn deliver(&self, index: usize, outcome: Outcome) -> bool;
    /// Wakes the threads that wait. Called once for many results: waking costs more than delivering.
    fn wake(&self);
}

/// What came of some items.
pub(super) enum Outcome<'a> {
    /// The packed values of `count` consecutive items.
    Values(u32, &'a [u8]),
    /// The packed value of one item, a large one: too much to be copied.
    Large(Vec<u8>),
    /// One item has none.
    Failed(Failure),
}

impl Outcome<'_> {
    /// How many items.
    pub fn count(&self) -> usize {
        if let Outcome::Values(count, _) = self {
            *count as usize
        } else {
            1
        }
    }
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

/// A value that somebody may wait for.
struct Watched<T> {
    state: Mutex<T>,
    changed: Condvar,
    /// In which process of those that forked this was made; and, as the lowest bit, whether somebody waits: to wake nobody
    /// costs as much as to wake somebody. (Two fields would make a million tasks larger by 16 MB.) Changed with the lock held.
    watched: AtomicU32,
}

const WATCHED: u32 = 1;

impl<T> Watched<T> {
    fn new(value: T) -> Watched<T> {
        Watched {
            state: Mutex::new(value),
            changed: Condvar::new(),
            watched: AtomicU32::new(generation() << 1),
        }
    }

    /// Decoding a value may panic in code of the caller's, with the lock held: nothing is half done then.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value. True: somebody waits for it, and `change` says that it is worth waking them.
    fn change(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut state = self.lock();
        change(&mut state) && self.watched.load(Relaxed) & WATCHED != 0 && {
            self.watched.fetch_and(!WATCHED, Relaxed);
            true
        }
    }

    fn wake(&self) {
        self.changed.notify_all();
    }

    fn is(&self, done: impl Fn(&T) -> bool) -> bool {
        self.is_ours() && done(&self.lock())
    }

    /// Not in a copy made by `fork`: there, nobody will deliver, and the lock may be held forever.
    fn is_ours(&self) -> bool {
        self.watched.load(Relaxed) >> 1 == generation()
    }

    /// Waits until `done`, at most for `timeout`. `what` is waited for.
    fn wait(
        &self,
        what: &str,
        timeout: Option<Duration>,
        done: impl Fn(&T) -> bool,
    ) -> Result<MutexGuard<'_, T>, Error> {
        if !self.is_ours() {
            return Err(Error::ForkedCopy);
        }
        // A time beyond the clock's end is no limit.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        let _blocked = (!done(&state)).then(|| timeline::blocked("result"));
        while !done(&state) {
            self.watched.fetch_or(WATCHED, Relaxed);
            state = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    return Err(Error::TimedOut {
                        what: what.to_owned(),
                        after: timeout.unwrap_or_default(),
                    });
                }
                Some(rest) => {
                    self.changed
                        .wait_timeout(state, rest)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        Ok(state)
    }
}

fn decode_item<R: Message>(value: &[u8]) -> Result<R, Error> {
    decode(value).map_err(|message| Error::decode("the result of a task", message))
}

/// One task's result.
pub(super) struct One(Watched<OneState>);

enum OneState {
    Waiting,
    Value(Packed),
    Large(Vec<u8>),
    Failed(Box<Failure>),
}

impl One {
    pub fn new() -> Arc<One> {
        Arc::new(One(Watched::new(OneState::Waiting)))
    }
}

impl ResultHandler for One {
    fn deliver(&self, _: usize, outcome: Outcome) -> bool {
        let state = match outcome {
            Outcome::Values(_, bytes) => OneState::Value(split_item(bytes).unwrap_or_default().0.into()),
            Outcome::Large(item) => OneState::Large(item),
            Outcome::Failed(failure) => OneState::Failed(Box::new(failure)),
        };
        self.0.change(|old| {
            *old = state;
            true
        })
    }

    fn wake(&self) {
        self.0.wake();
    }
}

/// The result of [`Pool::apply_async`](super::Pool::apply_async), once it is there.
///
/// Source: [`multiprocessing.pool.AsyncResult`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.AsyncResult).
#[must_use = "the task runs anyway, but its result or error is seen only by `get`"]
pub struct AsyncResult<R> {
    one: Arc<One>,
    result: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("AsyncResult").finish_non_exhaustive()
    }
}

impl<R: Message> AsyncResult<R> {
    pub(super) fn new(one: Arc<One>) -> AsyncResult<R> {
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
        self.one.0.is(|state| !matches!(state, OneState::Waiting))
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<R, Error> {
        let one = &self.one.0;
        match &mut *one.wait("the task", timeout, |state| !matches!(state, OneState::Waiting))? {
            OneState::Value(value) => decode_item(value),
            OneState::Large(item) => decode_item(split_item(item).unwrap_or_default().0),
            OneState::Failed(failure) => Err(failure.observe()),
            OneState::Waiting => unreachable!("it was waited for"),
        }
    }
}

/// The results of a `map`.
pub(super) struct Many(Watched<ManyState>);

#[derive(Default)]
struct ManyState {
    /// How many there are to be; `None`: the input has not ended.
    expected: Option<usize>,
    done: usize,
    /// The first item's place, and the packed values from there on, as they came.
    pieces: Vec<(usize, Box<[u8]>)>,
    /// The failed item with the lowest number; it counts for all.
    failed: Option<(usize, Failure)>,
}

impl ManyState {
    fn complete(&self) -> bool {
        self.expected == Some(self.done)
    }
}

impl Many {
    pub fn new() -> Arc<Many> {
        Arc::new(Many(Watched::new(ManyState::default())))
    }

    /// The input has ended.
    pub fn expect(&self, items: usize) {
        let wake = self.0.change(|state| {
            state.expected = Some(items);
            state.complete()
        });
        if wake {
            self.wake();
        }
    }
}

impl ResultHandler for Many {
    fn deliver(&self, index: usize, outcome: Outcome) -> bool {
        self.0.change(|state| {
            match outcome {
                Outcome::Values(count, bytes) => {
                    state.done += count as usize;
                    state.pieces.push((index, bytes.into()));
                }
                Outcome::Large(bytes) => {
                    state.done += 1;
                    state.pieces.push((index, bytes.into()));
                }
                Outcome::Failed(mut failure) => {
                    state.done += 1;
                    match &mut state.failed {
                        None => state.failed = Some((index, failure)),
                        Some((first, known)) => {
                            if index < *first {
                                std::mem::swap(known, &mut failure);
                                *first = index;
                            }
                            known.count += failure.count;
                            failure.observe();
                        }
                    }
                }
            }
            state.complete()
        })
    }

    fn wake(&self) {
        self.0.wake();
    }
}

/// The results of [`Pool::map_async`](super::Pool::map_async), once they are there.
#[must_use = "the tasks run anyway, but their results or errors are seen only by `get`"]
pub struct MapResult<R> {
    many: Arc<Many>,
    result: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for MapResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("MapResult").finish_non_exhaustive()
    }
}

impl<R: Message> MapResult<R> {
    pub(super) fn new(many: Arc<Many>) -> MapResult<R> {
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
        self.many.0.is(ManyState::complete)
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<Vec<R>, Error> {
        let mut guard = self.many.0.wait("the map", timeout, ManyState::complete)?;
        let state = &mut *guard;
        let failed = |index, error| Error::Item {
            index,
            source: Arc::new(error),
        };
        if let Some((index, failure)) = &mut state.failed {
            return Err(failed(*index, failure.observe()));
        }
        state.pieces.sort_unstable_by_key(|piece| piece.0);
        let mut results = Vec::with_capacity(state.done);
        for (_, piece) in &state.pieces {
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

/// The results of an `imap`, as they come.
pub(super) struct Stream(Watched<Vec<Arrived>>);

/// An item's place, and its packed value, or why there is none.
pub(super) type Arrived = (usize, Result<Packed, Failure>);

impl Stream {
    pub fn new() -> Arc<Stream> {
        Arc::new(Stream(Watched::new(Vec::new())))
    }

    /// Takes all that has come. If `wait`, there is something.
    pub fn take(&self, wait: bool) -> Result<Vec<Arrived>, Error> {
        let mut arrived = self.0.wait("imap", None, |arrived| !wait || !arrived.is_empty())?;
        Ok(std::mem::take(&mut *arrived))
    }

    pub fn decode<R: Message>(value: Result<Packed, Failure>) -> Result<R, Error> {
        match value {
            Ok(packed) => decode_item(split_item(&packed).unwrap_or_default().0),
            Err(mut failure) => Err(failure.observe()),
        }
    }
}

impl ResultHandler for Stream {
    fn deliver(&self, index: usize, outcome: Outcome) -> bool {
        self.0.change(|arrived| {
            match outcome {
                Outcome::Values(_, mut bytes) => {
                    for index in index.. {
                        let Some((_, rest)) = split_item(bytes) else { break };
                        arrived.push((index, Ok(bytes[..bytes.len() - rest.len()].into())));
                        bytes = rest;
                    }
                }
                Outcome::Large(bytes) => arrived.push((index, Ok(bytes.into()))),
                Outcome::Failed(failure) => arrived.push((index, Err(failure))),
            }
            true
        })
    }

    fn wake(&self) {
        self.0.wake();
    }
}
