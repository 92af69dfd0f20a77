//! What a pool and one worker say to each other, and how: two rings in a page of memory that both see.
//!
//! # The protocol
//!
//! *Tasks* go through one ring, *results* through the other. A ring has one writer and one reader; each moves one position and
//! only reads the other's. The writer moves `tail`, beyond which nothing is valid; the reader moves `head`, before which there
//! is room again.
//!
//! **A job**, some short tasks or a chunk, is a header of [`TASK_WORDS`] words and its items; if these are too long ([`INLINE`]),
//! they follow in pieces, as there is room, and until all of them have been sent, nothing is taken back. The worker claims each
//! item (see `claim`) before it calls the function. A header with no items is the last one: the worker is to end.
//!
//! **A result** is one word, which names kind, item and length, and what belongs to that: a task's value, the values of some
//! consecutive items of a chunk, or why an item has none. A larger value follows in pieces, as there is room. Before the next
//! item is claimed, a value is published, or kept where the pool finds it if the worker dies. So a worker that dies has started
//! at most one item that it has not answered.
//!
//! **A chunk's values are kept** in the ring itself, behind its tail, because publishing each of them would cost more than a
//! short call. `Page::kept` says that there is a result; it grows with each value, and is whole at any moment: first the bytes
//! are written, then the head, which says how many there are. After a death it is published for the worker ([`publish_kept`]).
//!
//! **Nobody spins, nobody misses a wake-up.** A side that finds nothing to read yields once and looks again; then it sets a
//! flag that it is asleep, looks a last time, and waits for its bell ([`wait`]). The side that has published something looks
//! whether the other side is asleep, and rings ([`must_wake`]). Between its two steps each side has a sequentially consistent
//! fence, and one of two fences comes first: either the sleeper's last look sees what was published, or the publisher sees the
//! sleeper. The same holds for a writer that waits for room. A bell that rings too often costs a look, no more.
//!
//! | who sleeps | until | who rings |
//! |---|---|---|
//! | worker | there is a task, a piece of one, or room for results | the pool, whichever thread published or made room |
//! | collector | any worker has a result, waits for a piece, or has made room for one | that worker |
//!
//! A worker that has skipped an item rings each time it goes to sleep, until it claims an item again: if it skipped the item
//! because `next` was damaged, the pool sees that it sleeps although it owes results.
//!
//! **What is believed.** A worker that has gone wrong may have written anything anywhere in its page. The pool copies a word
//! and checks the copy: a position within what can be there, a known kind, the very item that is due. Anything else is
//! [`Damaged`]: that worker is killed and replaced, and its unanswered first item fails. No other worker sees this page.
//!
//! **A death** at any point leaves: results before `tail`, and values that were kept, which count; at most one item that was
//! claimed and has neither, which fails; and items that were not claimed, which go back to the queue. A replacement gets a fresh
//! page.

use crate::os::{CAPACITY, CodeRef, Page, Ring};
use crate::sync::{AtomicU32, fence};
use std::io;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

/// The other side violated the protocol.
#[derive(Debug)]
pub(super) struct Damaged;

impl From<Damaged> for io::Error {
    fn from(_: Damaged) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, "its memory is damaged")
    }
}

/// Maximum length, in bytes, of payloads that travel right behind their header.
pub(super) const INLINE: usize = 3 * CAPACITY as usize; // three eighths of a ring

/// Maximum length, in bytes, of values that are published together.
const MAX_KEPT: usize = CAPACITY as usize / 4;

pub(super) const TASK_WORDS: u64 = 5;

const WORD: u64 = size_of::<u64>() as u64;

/// How many words `bytes` bytes take.
pub(super) fn words(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(WORD)
}

/// One side's position in a ring that it writes to.
#[derive(Default)]
pub(super) struct Writer {
    tail: u64,
    /// Where the reader was when this was last looked at.
    head: u64,
    /// How many words behind the tail are kept.
    kept: u64,
}

impl Writer {
    /// In a worker that aborts: a writer of results that continues where another one stopped.
    pub fn resume(page: &Page) -> Writer {
        publish_kept(page);
        let (tail, head) = (page.results.tail.load(Relaxed), page.results.head.load(Acquire));
        Writer { tail, head, kept: 0 }
    }

    /// Keeps the values of some items behind the tail; all but the last one, which begins at `start`, are there already. Returns
    /// false if there is no room for that one.
    #[inline]
    pub fn keep(&mut self, page: &Page, first: u64, values: &[u8], start: usize) -> Result<bool, Damaged> {
        let (ring, needed) = (&page.results, 1 + words(values.len()));
        if values.len() > MAX_KEPT || self.room(ring, needed)? < needed {
            return Ok(false);
        }
        let whole = start as u64 / WORD; // words that stay as they are
        ring.write_bytes(self.tail + 1 + whole, &values[(whole * WORD) as usize..]);
        fence(Release);
        let header = ResultHeader::new(Kind::Value, first, values.len() as u64);
        ring.write(self.tail, header.to_word());
        page.kept.store(self.tail, Release);
        self.kept = needed;
        Ok(true)
    }

    /// Pushes the values that are kept. Returns false if there are none.
    pub fn push_kept(&mut self) -> bool {
        let kept = std::mem::take(&mut self.kept);
        self.tail += kept;
        kept > 0
    }

    /// How many words there is room for. Looks at the reader's position only if there seems to be less than `wanted`.
    #[inline]
    pub fn room(&mut self, ring: &Ring, wanted: u64) -> Result<u64, Damaged> {
        if CAPACITY - (self.tail - self.head) < wanted {
            self.advance(ring)?;
        }
        Ok(CAPACITY - (self.tail - self.head))
    }

    fn advance(&mut self, ring: &Ring) -> Result<(), Damaged> {
        let head = ring.head.load(Acquire);
        if head < self.head || head > self.tail {
            return Err(Damaged);
        }
        self.head = head;
        Ok(())
    }

    /// Has the reader read everything?
    pub fn all_read(&mut self, ring: &Ring) -> Result<bool, Damaged> {
        self.advance(ring)?;
        Ok(self.head == self.tail)
    }

    /// If everything was read, begins at the front of the ring again. The less of it is used, the less of it must the system
    /// provide, and the more of it is in the processors' caches.
    pub fn rewind(&mut self, ring: &Ring) -> Result<(), Damaged> {
        if self.all_read(ring)? {
            ring.start.store(self.tail, Relaxed); // the reader sees it with the next `tail`
        }
        Ok(())
    }

    /// The caller has seen that there is room.
    #[inline]
    pub fn push(&mut self, ring: &Ring, word: u64) {
        ring.write(self.tail, word);
        self.tail += 1;
    }

    /// Pushes as many of the bytes as there is room for beside `spare` words. Not in small pieces: each may wake the reader.
    /// Returns how many bytes were pushed.
    #[inline]
    pub fn push_piece(&mut self, ring: &Ring, bytes: &[u8], spare: u64) -> Result<usize, Damaged> {
        let room = self.room(ring, words(bytes.len()) + spare)?.saturating_sub(spare);
        if room < words(bytes.len().min(INLINE)) {
            return Ok(0);
        }
        let piece = &bytes[..bytes.len().min((room * WORD) as usize)];
        ring.write_bytes(self.tail, piece);
        self.tail += words(piece.len());
        Ok(piece.len())
    }

    /// Lets the reader see what was pushed.
    #[inline]
    pub fn publish(&self, ring: &Ring) {
        ring.tail.store(self.tail, Release);
    }

    /// Is everything that was pushed published, and still there to be seen?
    pub fn is_published(&self, ring: &Ring) -> bool {
        ring.tail.load(Relaxed) == self.tail
    }
}

/// One side's position in a ring that it reads from.
#[derive(Default)]
pub(super) struct Reader {
    head: u64,
}

impl Reader {
    /// How many words there are to read.
    #[inline]
    pub fn available(&self, ring: &Ring) -> Result<u64, Damaged> {
        let available = ring.tail.load(Acquire).wrapping_sub(self.head);
        (available <= CAPACITY).then_some(available).ok_or(Damaged)
    }

    /// The next word. The caller has seen that it is there.
    #[inline]
    pub fn pop(&mut self, ring: &Ring) -> u64 {
        self.head += 1;
        ring.read(self.head - 1)
    }

    /// Reads on in what has `length` bytes, the first of which are in `bytes` already, as far as it is among the `available` words.
    /// Returns how many of these it takes.
    #[inline]
    pub fn pop_payload(&mut self, ring: &Ring, length: u64, available: u64, bytes: &mut Vec<u8>) -> u64 {
        let count = (length - bytes.len() as u64).min(available * WORD) as usize;
        ring.read_bytes(self.head, count, bytes);
        self.head += words(count);
        words(count)
    }

    /// Lets the writer use the room again.
    #[inline]
    pub fn release(&self, ring: &Ring) {
        ring.head.store(self.head, Release);
    }
}

/// Publishes the values that a worker had kept when it died. (A result that is not due or not whole is damage, and found as such.)
pub(super) fn publish_kept(page: &Page) {
    let tail = page.results.tail.load(Acquire);
    let kept = ResultHeader::from_word(page.results.read(tail));
    if let Some(header) = kept.ok().filter(|_| page.kept.load(Acquire) == tail) {
        let end = tail.wrapping_add(1 + words(header.length as usize));
        page.results.tail.store(end, Release);
    }
}

/// What a flag says of its side. Anything else is damage, or a new page: then it is better to ring once too often.
pub(super) const ASLEEP: u32 = 0x51ee_9000;
pub(super) const AWAKE: u32 = 0xa11a_ee01;

/// After something was published: does the other side sleep, so that it must be rung?
pub(super) fn must_wake(asleep: &AtomicU32) -> bool {
    fence(SeqCst);
    asleep.load(Relaxed) != AWAKE && asleep.swap(AWAKE, Relaxed) != AWAKE
}

/// Says that this side sleeps from now on; then the caller looks a last time.
pub(super) fn fall_asleep(asleep: &AtomicU32) {
    asleep.swap(ASLEEP, AcqRel);
    fence(SeqCst);
}

/// Waits until `ready`. `sleep` waits for the bell.
pub(super) fn wait(
    asleep: &AtomicU32,
    mut ready: impl FnMut() -> Result<bool, Damaged>,
    mut sleep: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    loop {
        if ready()? {
            return Ok(());
        }
        crate::sync::yield_now();
        if ready()? {
            return Ok(());
        }
        fall_asleep(asleep);
        if !ready()? {
            sleep()?;
        }
        asleep.store(AWAKE, Relaxed);
    }
}

/// The head of a job: calls of one function, with consecutive items.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct TaskHeader {
    /// The first item's number. A worker's items are numbered from 0 on.
    pub first: u64,
    pub function: CodeRef,
    /// 0: there is nothing more to do.
    pub count: u32,
    /// What the caller calls the first item, for the timeline.
    pub label: u32,
    /// Values may be kept. Otherwise each is published at once.
    pub chunk: bool,
    /// Bytes of all items.
    pub length: u64,
}

impl TaskHeader {
    pub fn write(self, writer: &mut Writer, ring: &Ring) {
        self.to_words().into_iter().for_each(|word| writer.push(ring, word));
    }

    pub fn read(reader: &mut Reader, ring: &Ring) -> Result<TaskHeader, Damaged> {
        let words = [(); TASK_WORDS as usize].map(|()| reader.pop(ring));
        let header = TaskHeader {
            first: words[0],
            function: CodeRef(words[1]),
            count: words[2] as u32,
            label: (words[2] >> 32) as u32,
            chunk: words[3] & 1 == 1,
            length: words[3] >> 1,
        };
        (header.to_words().last() == words.last())
            .then_some(header)
            .ok_or(Damaged)
    }

    /// The last one is a checksum: not against malice, but against chance.
    fn to_words(self) -> [u64; TASK_WORDS as usize] {
        let numbers = u64::from(self.count) | u64::from(self.label) << 32;
        let [a, b, c, d] = [
            self.first,
            self.function.0,
            numbers,
            self.length << 1 | u64::from(self.chunk),
        ];
        let check = [a, b, c, d].into_iter().fold(0x9e37_79b9_7f4a_7c15, |mix: u64, word| {
            (mix ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31)
        });
        [a, b, c, d, check]
    }
}

/// The kinds of messages that a worker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has reached `init`.
    Started = 1,
    /// It is ready for tasks.
    Ready = 2,
    /// Why it ends: its initializer failed, or the program aborts; a [`RemoteError`](crate::error::RemoteError) follows.
    Fatal = 3,
    /// Values of this item and those after it, as in `items`.
    Value = 4,
    /// An item has no value; a `RemoteError` follows.
    Error = 5,
}

/// The head of a result, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResultHeader {
    pub kind: Kind,
    /// The lowest bits of the item's number, which are enough to know the one that is due.
    pub item: u32,
    /// Bytes of what follows, in pieces if they are more than [`INLINE`].
    pub length: u64,
}

const ITEM_BITS: u32 = 20;
const LENGTH_BITS: u32 = 40;

impl ResultHeader {
    #[inline]
    pub fn new(kind: Kind, item: u64, length: u64) -> ResultHeader {
        let item = item as u32 & ((1 << ITEM_BITS) - 1);
        ResultHeader { kind, item, length }
    }

    #[inline]
    pub fn is_of(self, item: u64) -> bool {
        self.item == ResultHeader::new(self.kind, item, self.length).item
    }

    #[inline]
    pub fn to_word(self) -> u64 {
        (self.kind as u64) << 60 | u64::from(self.item) << LENGTH_BITS | self.length
    }

    #[inline]
    pub fn from_word(word: u64) -> Result<ResultHeader, Damaged> {
        use Kind::*;
        let kind = [Started, Ready, Fatal, Value, Error]
            .into_iter()
            .find(|&kind| kind as u64 == word >> 60)
            .ok_or(Damaged)?;
        let length = word & ((1 << LENGTH_BITS) - 1);
        Ok(ResultHeader::new(kind, word >> LENGTH_BITS, length))
    }
}
