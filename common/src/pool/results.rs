//! What a caller holds while workers work.

use super::wire::split_item;
use crate::error::Error;
use crate::sync::{AtomicBool, Condvar, Mutex, MutexGuard};
use crate::timeline;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Where answers go.
pub(super) trait Sink: Send + Sync {
    /// Takes an answer for the item at `index` (and those behind it). True: somebody waits, and is to be woken.
    fn deliver(&self, index: usize, answer: Answer) -> bool;
    /// Wakes whoever waits. Called once for many answers: waking costs more than delivering.
    fn wake(&self);
}

pub(super) enum Answer<'a> {
    /// Results of `count` consecutive items, encoded as in `wire`.
    Values { count: u32, bytes: &'a [u8] },
    /// One item has none.
    Failed(Error),
}

/// A value that somebody may wait for.
struct Watched<T> {
    state: Mutex<T>,
    changed: Condvar,
    /// Somebody waits; to wake nobody costs as much as to wake somebody. Changed with the lock held. (Beside the value it
    /// would make a million tasks larger by 16 MB.)
    watched: AtomicBool,
}

impl<T> Watched<T> {
    fn new(value: T) -> Watched<T> {
        Watched {
            state: Mutex::new(value),
            changed: Condvar::new(),
            watched: AtomicBool::new(false),
        }
    }

    /// Changes the value. True: somebody waits for it, and `change` says that it is worth waking him.
    fn change(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut state = self.state.lock().unwrap();
        change(&mut state) && self.watched.swap(false, Relaxed)
    }

    fn wake(&self) {
        self.changed.notify_all();
    }

    /// Waits until `done`; `None`: the deadline came first.
    fn wait_until(&self, deadline: Option<Instant>, done: impl Fn(&T) -> bool) -> Option<MutexGuard<'_, T>> {
        let mut state = self.state.lock().unwrap();
        let _blocked = (!done(&state)).then(|| timeline::blocked("result"));
        while !done(&state) {
            self.watched.store(true, Relaxed);
            state = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap(),
                Some(Duration::ZERO) => return None,
                Some(rest) => self.changed.wait_timeout(state, rest).unwrap().0,
            };
        }
        Some(state)
    }
}

fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    // A time beyond the clock's end is no limit.
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

fn timed_out(what: &str, timeout: Option<Duration>) -> Error {
    Error::TimedOut {
        what: what.to_owned(),
        after: timeout.unwrap_or_default(),
    }
}

fn decode<R: DeserializeOwned>(value: &[u8]) -> Result<R, Error> {
    postcard::from_bytes(value).map_err(|error| Error::decode("the result of a task", error))
}

/// One task's answer.
pub(super) struct One(Watched<OneState>);

enum OneState {
    Waiting,
    Value(Box<[u8]>),
    Failed(Box<Error>),
}

impl One {
    pub fn new() -> Arc<One> {
        Arc::new(One(Watched::new(OneState::Waiting)))
    }
}

impl Sink for One {
    fn deliver(&self, _: usize, answer: Answer) -> bool {
        let state = match answer {
            Answer::Values { bytes, .. } => OneState::Value(split_item(bytes).map_or(&[][..], |item| item.0).into()),
            Answer::Failed(error) => OneState::Failed(Box::new(error)),
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

impl<R: DeserializeOwned> AsyncResult<R> {
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
        self.get_until(None)
    }

    /// Waits for the result, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](AsyncResult::get), and [`Error::TimedOut`]; the result can still be got later.
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, Error> {
        self.get_until(Some(timeout))
    }

    /// Is there a result, or an error? Returns at once.
    pub fn ready(&self) -> bool {
        !matches!(*self.one.0.state.lock().unwrap(), OneState::Waiting)
    }

    fn get_until(&self, timeout: Option<Duration>) -> Result<R, Error> {
        let state = self
            .one
            .0
            .wait_until(deadline(timeout), |state| !matches!(state, OneState::Waiting));
        match state.as_deref() {
            Some(OneState::Value(value)) => decode(value),
            Some(OneState::Failed(error)) => Err((**error).clone()),
            _ => Err(timed_out("the task", timeout)),
        }
    }
}

/// The answers of a `map`.
pub(super) struct Many(Watched<ManyState>);

struct ManyState {
    /// How many there are to be, and how many of them are not there yet.
    items: usize,
    missing: usize,
    /// First item, and the results from there on, as they came.
    pieces: Vec<(usize, Box<[u8]>)>,
    /// The failed item with the lowest number.
    failed: Option<(usize, Error)>,
}

impl Many {
    pub fn new(items: usize) -> Arc<Many> {
        Arc::new(Many(Watched::new(ManyState {
            items,
            missing: items,
            pieces: Vec::new(),
            failed: None,
        })))
    }
}

impl Sink for Many {
    fn deliver(&self, index: usize, answer: Answer) -> bool {
        self.0.change(|state| {
            match answer {
                Answer::Values { count, bytes } => {
                    state.missing -= count as usize;
                    state.pieces.push((index, bytes.into()));
                }
                Answer::Failed(error) => {
                    state.missing -= 1;
                    if state.failed.as_ref().is_none_or(|(first, _)| index < *first) {
                        state.failed = Some((index, error));
                    }
                }
            }
            state.missing == 0
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

impl<R: DeserializeOwned> MapResult<R> {
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
        self.get_until(None)
    }

    /// Waits for all results, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](MapResult::get), and [`Error::TimedOut`]; the results can still be got later.
    pub fn get_timeout(&self, timeout: Duration) -> Result<Vec<R>, Error> {
        self.get_until(Some(timeout))
    }

    /// Are all results there? Returns at once.
    pub fn ready(&self) -> bool {
        self.many.0.state.lock().unwrap().missing == 0
    }

    fn get_until(&self, timeout: Option<Duration>) -> Result<Vec<R>, Error> {
        let state = self.many.0.wait_until(deadline(timeout), |state| state.missing == 0);
        let Some(mut guard) = state else {
            return Err(timed_out("the map", timeout));
        };
        let state = &mut *guard;
        let failed = |index, error| Error::Item {
            index,
            source: Arc::new(error),
        };
        if let Some((index, error)) = &state.failed {
            return Err(failed(*index, error.clone()));
        }
        state.pieces.sort_unstable_by_key(|piece| piece.0);
        let mut results = Vec::with_capacity(state.items);
        for (_, piece) in &state.pieces {
            let mut rest = &piece[..];
            while let Some((item, others)) = split_item(rest) {
                let index = results.len();
                results.push(decode(item).map_err(|error| failed(index, error))?);
                rest = others;
            }
        }
        Ok(results)
    }
}

/// The answers of an `imap`, as they come.
pub(super) struct Stream(Watched<Vec<Arrived>>);

/// A result in bytes, or why there is none.
pub(super) type Encoded = Result<Box<[u8]>, Error>;

/// An item's number, and its result.
pub(super) type Arrived = (usize, Encoded);

impl Stream {
    pub fn new() -> Arc<Stream> {
        Arc::new(Stream(Watched::new(Vec::new())))
    }

    /// Waits until something has come, and takes all of it.
    pub fn take(&self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        if let Some(mut guard) = self.0.wait_until(None, |arrived| !arrived.is_empty()) {
            std::mem::swap(&mut *guard, &mut arrived);
        }
        arrived
    }
}

impl Sink for Stream {
    fn deliver(&self, index: usize, answer: Answer) -> bool {
        self.0.change(|arrived| {
            match answer {
                Answer::Failed(error) => arrived.push((index, Err(error))),
                Answer::Values { count, bytes } => {
                    let mut rest = bytes;
                    for index in index..index + count as usize {
                        let Some((item, others)) = split_item(rest) else { break };
                        arrived.push((index, Ok(item.into())));
                        rest = others;
                    }
                }
            }
            true
        })
    }

    fn wake(&self) {
        self.0.wake();
    }
}

/// Decodes what came from a [`Stream`].
pub(super) fn decode_arrived<R: DeserializeOwned>(arrived: Encoded) -> Result<R, Error> {
    decode(&arrived?)
}
