//! `imap`: items go out as they are taken from the input, results come back in step.
//!
//! All of this happens in the caller's own thread, in `next`: a result that is ready is yielded before more input is read, and
//! an item is submitted as soon as it has been read. Input that can be read quickly is read further ahead, so that the workers
//! do not run out of items while the caller handles results.

use super::handles::{Outcome, ResultHandler, Results, decode_first};
use super::{Pool, pack_one};
use crate::error::Error;
use crate::message::Message;
use crate::sync::Instant;
use std::any::Any;
use std::collections::BTreeMap;
use std::iter::FusedIterator;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

impl Pool {
    /// Calls `f` with every item, one at a time, and yields the results in the order of the items, each as soon as it and all
    /// earlier ones are ready.
    ///
    /// The input is read while results are taken, at most about a thousand items ahead, so it may be endless. An item that
    /// fails yields an error in its place; the others follow.
    ///
    /// ```
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> Result<(), common::Error> {
    /// # common::init();
    /// let pool = common::Pool::new(2)?;
    /// let squares: Result<Vec<u64>, _> = pool.imap(square, 0..).take(5).collect(); // 0.. never ends
    /// assert_eq!(squares?, [0, 1, 4, 9, 16]);
    /// # pool.terminate();
    /// # Ok(())
    /// # }
    /// ```
    pub fn imap<A: Message, R: Message, I: IntoIterator<Item = A>>(
        &self,
        f: fn(A) -> R,
        items: I,
    ) -> Imap<'_, A, R, I::IntoIter> {
        Imap::new(self, f, items.into_iter(), true)
    }

    /// Like [`imap`](Pool::imap), but yields each result as soon as it is ready.
    pub fn imap_unordered<A: Message, R: Message, I: IntoIterator<Item = A>>(
        &self,
        f: fn(A) -> R,
        items: I,
    ) -> Imap<'_, A, R, I::IntoIter> {
        Imap::new(self, f, items.into_iter(), false)
    }
}

/// Maximum number of items that are taken and not yielded, and of bytes in them and their results, as far as these are known.
const AHEAD: usize = 1024;
const AHEAD_BYTES: usize = 1 << 20;

/// If reading an item takes less than this, more input is read even before results that are ready are yielded.
const QUICK: Duration = Duration::from_micros(20);

/// How many items of quick input are taken at a time.
const BATCH: usize = 32;

/// The iterator of [`Pool::imap`] and [`Pool::imap_unordered`].
#[must_use = "tasks are sent as results are taken"]
pub struct Imap<'pool, A, R, I> {
    pool: &'pool Pool,
    f: fn(A) -> R,
    /// `None`: exhausted.
    input: Option<I>,
    /// The input panicked; this iterator panics too, once everything before that has been yielded.
    panic: Option<Box<dyn Any + Send>>,
    handler: Arc<ResultHandler>,
    /// Results that have arrived, by the index of their item.
    arrived: BTreeMap<usize, Outcome>,
    /// Whether a result waits for those before it.
    ordered: bool,
    /// Items taken, and items yielded.
    taken: usize,
    yielded: usize,
    /// Bytes of what was sent and of what came back.
    bytes: usize,
    quick: bool,
}

debug! { Imap['pool, A, R, I] { taken, yielded } }

/// Bytes of a packed item, if it could be packed, or of its value, if it has one.
fn size<E>(packed: &Result<impl Deref<Target = [u8]>, E>) -> usize {
    packed.as_ref().map_or(0, |bytes| bytes.len())
}

impl<'pool, A: Message, R: Message, I: Iterator<Item = A>> Imap<'pool, A, R, I> {
    fn new(pool: &'pool Pool, f: fn(A) -> R, input: I, ordered: bool) -> Imap<'pool, A, R, I> {
        Imap {
            pool,
            f,
            input: Some(input),
            panic: None,
            handler: ResultHandler::new(Results::many(1)),
            arrived: BTreeMap::new(),
            ordered,
            taken: 0,
            yielded: 0,
            bytes: 0,
            quick: false,
        }
    }

    /// How many items may be taken and not yielded: more as results come back, fewer if they or their results are large.
    fn limit(&self) -> usize {
        let returned = self.yielded + self.arrived.len();
        let each = self.bytes / returned.max(1); // an item and its result; at first, more items were sent than came back
        let least = 2 * self.pool.processes();
        (AHEAD_BYTES / each.max(1)).min(AHEAD).min(least + returned).max(least)
    }

    fn ahead(&self) -> usize {
        self.taken - self.yielded
    }

    fn may_feed(&self) -> bool {
        self.input.is_some() && self.ahead() < self.limit()
    }

    /// Is there a result that may be yielded?
    fn has_next(&self) -> bool {
        let first = self.arrived.first_key_value();
        first.is_some_and(|(&index, _)| index == self.yielded || !self.ordered)
    }

    /// Takes in what has come.
    fn receive(&mut self, wait: bool) -> Result<(), Error> {
        let arrived = self.handler.take(wait)?;
        self.bytes += arrived.iter().map(|(_, outcome)| size(outcome)).sum::<usize>();
        self.arrived.extend(arrived);
        Ok(())
    }

    /// Reads items from the input, and submits each at once: one item, or several if they can be read quickly. The
    /// caller has seen that it may.
    fn feed(&mut self) {
        let start = Instant::now();
        let most = if self.quick { BATCH } else { 1 };
        let count = most.min(self.limit() - self.ahead());
        for _ in 0..count {
            let Some(input) = &mut self.input else { return };
            match catch_unwind(AssertUnwindSafe(|| input.next())) {
                Ok(Some(item)) => {
                    let packed = pack_one(&item);
                    self.bytes += size(&packed);
                    self.pool.submit(self.f, packed, self.taken, 1, &self.handler);
                    self.taken += 1;
                }
                end => (self.input, self.panic) = (None, end.err()),
            }
        }
        self.quick = start.elapsed() < QUICK * count as u32;
    }
}

impl<A: Message, R: Message, I: Iterator<Item = A>> Iterator for Imap<'_, A, R, I> {
    type Item = Result<R, Error>;

    fn next(&mut self) -> Option<Result<R, Error>> {
        while self.input.is_some() || self.ahead() > 0 {
            if !self.has_next() {
                if let Err(error) = self.receive(!self.may_feed()) {
                    (self.input, self.taken) = (None, self.yielded); // this is a forked copy: nothing more comes
                    return Some(Err(error));
                }
            }
            if self.may_feed() && (!self.has_next() || (self.quick && self.ahead() < self.limit() / 2)) {
                self.feed();
            } else if self.has_next() {
                self.yielded += 1;
                let (_, outcome) = self.arrived.pop_first()?;
                let value = outcome.map_err(|mut failure| failure.observe());
                return Some(value.and_then(|value| decode_first(&value)));
            }
        }
        self.panic.take().map(|panic| resume_unwind(panic))
    }
}

impl<A: Message, R: Message, I: Iterator<Item = A>> FusedIterator for Imap<'_, A, R, I> {}
