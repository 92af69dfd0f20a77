//! Where a run's processes write down what they do: one file in memory that all of them see.
//!
//! It is an array of slots of 64 bytes. Each process takes a page full of them at a time, so that two processes hardly ever
//! touch the same page, and fills one after the other. Nothing is sent, nobody is woken, and what a process wrote is there
//! when it is killed. A slot is written once, its first word last: a reader sees all of it or nothing. Only the end of a
//! span, and how far a chunk has come, are filled in later, each by one store.
//!
//! ```text
//!   word 0   kind, length of the text, number of the lane, pid; 0: nothing is here (yet)
//!   word 1   when it was, or began
//!   word 2   when it ended, 0 as long as it has not; or a number that depends on the kind
//!   word 3   five words of text; of a task: its number, and how many items of its chunk were begun
//! ```
//!
//! Of the first page there is only word 0, the number of slots that have been given away, and word 1, how many could not be.

use crate::sys::{OwnedHandle, Words};
use std::fmt::{self, Display, Write};
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What a slot tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A process was started. Text: its name; number: its parent's pid.
    Process = 1,
    /// A process was made by `fork`, and tells of itself. The same fields.
    Fork,
    /// A thread has a lane from now on. Text: its name.
    Thread,
    /// Something ran. Text: what.
    Span,
    /// Somebody waited. Text: for what.
    Wait,
    /// A pool's task ran.
    Task,
    /// Tasks were given to a pool, `lane`. Number: how many.
    Submit,
    /// The process is a worker of its parent's pool `lane`.
    Member,
    /// The process is about to leave by itself.
    Left,
    /// Its parent saw its end. Number: see [`Log::ended`](super::ended).
    Ended,
}

const KINDS: [Kind; 10] = {
    use Kind::*;
    [Process, Fork, Thread, Span, Wait, Task, Submit, Member, Left, Ended]
};

/// A slot's place.
#[derive(Clone, Copy)]
pub(super) struct Slot(usize);

/// Words in a slot.
const SIZE: usize = 8;
/// Slots in a page.
const PAGE: usize = 64;
/// Slots in the file: 64 MiB, which take memory only as they are used.
const SLOTS: usize = 1 << 20;
/// So many of them are for beginnings and ends of processes, however much those have to tell.
const RESERVED: usize = SLOTS / 16;

pub(super) struct Log {
    words: Words,
    handle: OwnedHandle,
    /// The next free slot in this process's page; a multiple of [`PAGE`]: there is none.
    next: AtomicUsize,
}

impl Log {
    pub fn create() -> io::Result<Log> {
        let (words, handle) = Words::create(SLOTS * SIZE)?;
        words[0].store(PAGE as u64, Relaxed);
        Ok(Log::new(words, handle))
    }

    /// The log of the process that passed this handle.
    pub fn open(handle: OwnedHandle) -> io::Result<Log> {
        Ok(Log::new(Words::open(handle.try_clone()?, SLOTS * SIZE)?, handle))
    }

    fn new(words: Words, handle: OwnedHandle) -> Log {
        Log {
            words,
            handle,
            next: AtomicUsize::new(0),
        }
    }

    pub fn handle(&self) -> &OwnedHandle {
        &self.handle
    }

    /// The page is the parent's.
    pub fn forked(&self) {
        self.next.store(0, Relaxed);
    }

    /// `None`: the log is full.
    pub fn write(&self, kind: Kind, who: (u32, u16), time: u64, number: u64, payload: Payload) -> Option<Slot> {
        let much = matches!(kind, Kind::Span | Kind::Wait | Kind::Task | Kind::Submit);
        let slot = self.take_slot(if much { SLOTS - RESERVED } else { SLOTS })?;
        let words = self.slot(slot);
        words[1].store(time, Relaxed);
        words[2].store(number, Relaxed);
        for (word, value) in words[3..].iter().zip(payload.words) {
            word.store(value, Relaxed);
        }
        let head = kind as u64 | (payload.length as u64) << 8 | u64::from(who.1) << 16 | u64::from(who.0) << 32;
        words[0].store(head, Release);
        Some(slot)
    }

    /// Fills in the end of a span, if it is a span of the process `pid` and not of one that forked it.
    pub fn end(&self, slot: Slot, pid: u32, time: u64) {
        if self.slot(slot)[0].load(Relaxed) >> 32 == u64::from(pid) {
            self.slot(slot)[2].store(time, Relaxed);
        }
    }

    /// So many items of a chunk were begun.
    pub fn begun(&self, slot: Slot, items: u64) {
        self.slot(slot)[4].store(items, Relaxed);
    }

    fn slot(&self, slot: Slot) -> &[std::sync::atomic::AtomicU64] {
        &self.words[slot.0 * SIZE..][..SIZE]
    }

    /// A free slot before number `limit`.
    fn take_slot(&self, limit: usize) -> Option<Slot> {
        let mut next = self.next.load(Relaxed);
        loop {
            let slot = if next % PAGE > 0 {
                next
            } else {
                let page = self.words[0].fetch_add(PAGE as u64, Relaxed) as usize;
                if page + PAGE > limit {
                    self.words[0].fetch_sub(PAGE as u64, Relaxed);
                    self.words[1].fetch_add(1, Relaxed);
                    return None;
                }
                page
            };
            match self.next.compare_exchange(next, slot + 1, Relaxed, Relaxed) {
                Ok(_) => return Some(Slot(slot)),
                Err(other) => next = other, // another thread was faster
            }
        }
    }

    /// Everything that is written by now, and how much found no room.
    pub fn read(&self) -> (Vec<Record>, u64) {
        let used = (self.words[0].load(Acquire) as usize).min(SLOTS);
        let slots = (PAGE..used).map(Slot);
        (
            slots.filter_map(|slot| Record::read(self.slot(slot))).collect(),
            self.words[1].load(Relaxed),
        )
    }
}

/// What a slot has room for beside its fixed fields.
#[derive(Default)]
pub(super) struct Payload {
    words: [u64; SIZE - 3],
    length: usize,
}

impl Payload {
    pub fn text(text: impl Display) -> Payload {
        let mut room = Text {
            bytes: [0; 8 * (SIZE - 3)],
            length: 0,
        };
        let _ = write!(room, "{text}"); // an error of somebody's `Display`: what was written before stays
        let mut payload = Payload::default();
        for (word, bytes) in payload.words.iter_mut().zip(room.bytes.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
        payload.length = room.length;
        payload
    }

    pub fn task(number: u64) -> Payload {
        Payload {
            words: [number, 0, 0, 0, 0],
            length: 0,
        }
    }
}

/// A text as far as there is room; longer ones end in "..".
struct Text {
    bytes: [u8; 8 * (SIZE - 3)],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        if text.len() <= room.len() {
            room[..text.len()].copy_from_slice(text.as_bytes());
            self.length += text.len();
            return Ok(());
        }
        let mut end = room.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        room[..end].copy_from_slice(&text.as_bytes()[..end]);
        self.length += end;
        // The marks take the place of whole letters.
        let written = std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default();
        let keep = written.char_indices().rev().map(|(at, _)| at);
        let keep = keep.into_iter().find(|at| at + 2 <= self.bytes.len()).unwrap_or(0);
        self.bytes[keep..][..2].copy_from_slice(b"..");
        self.length = keep + 2;
        Err(fmt::Error) // full: nothing more is wanted
    }
}

/// A slot as it is read back.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub kind: Kind,
    pub pid: u32,
    pub lane: u16,
    pub time: u64,
    /// Word 2: an end, or a number.
    pub number: u64,
    pub text: String,
    /// A task's number, and how many items were begun.
    pub task: (u64, u64),
}

impl Record {
    fn read(words: &[std::sync::atomic::AtomicU64]) -> Option<Record> {
        let head = words[0].load(Acquire);
        let kind = *KINDS.get((head as u8 as usize).checked_sub(1)?)?;
        let rest: Vec<u64> = words[1..].iter().map(|word| word.load(Relaxed)).collect();
        let bytes: Vec<u8> = rest[2..].iter().flat_map(|word| word.to_le_bytes()).collect();
        let text = bytes.get(..(head >> 8) as u8 as usize)?;
        Some(Record {
            kind,
            pid: (head >> 32) as u32,
            lane: (head >> 16) as u16,
            time: rest[0],
            number: rest[1],
            text: String::from_utf8_lossy(text).into_owned(),
            task: (rest[2], rest[3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let log = Log::create().unwrap();
        let kinds = KINDS.map(|kind| log.write(kind, (7, 3), 10, 20, Payload::text("a b")).unwrap());
        log.end(kinds[3], 7, 99);
        log.end(kinds[4], 8, 99); // not its own
        let (records, lost) = log.read();
        assert_eq!(lost, 0);
        assert_eq!(records.iter().map(|record| record.kind).collect::<Vec<_>>(), KINDS);
        assert_eq!((records[3].number, records[4].number), (99, 20));
        assert!(records.iter().all(|record| record.text == "a b" && record.time == 10));
        assert!(records.iter().all(|record| (record.pid, record.lane) == (7, 3)));
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let read = |text: &str| {
            let log = Log::create().unwrap();
            log.write(Kind::Span, (1, 0), 1, 0, Payload::text(text)).unwrap();
            log.read().0.remove(0).text
        };
        assert_eq!(read(&"x".repeat(40)), "x".repeat(40));
        assert_eq!(read(&"x".repeat(41)), "x".repeat(38) + "..");
        assert_eq!(read(&"进".repeat(20)), "进".repeat(12) + "..");
    }

    #[test]
    fn a_full_log_counts_what_is_lost() {
        let log = Log::create().unwrap();
        let write = |kind| log.write(kind, (1, 0), 1, 0, Payload::default()).is_some();
        log.words[0].store((SLOTS - RESERVED - PAGE) as u64, Relaxed);
        assert!((0..PAGE).all(|_| write(Kind::Span)));
        assert!((0..5).all(|_| !write(Kind::Span)));
        assert_eq!(log.read().1, 5);
        assert!(write(Kind::Ended));
        log.words[0].store(SLOTS as u64, Relaxed);
        log.forked();
        assert!(!write(Kind::Ended));
    }

    #[test]
    fn threads_never_share_a_slot() {
        let log = Log::create().unwrap();
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    for n in 0..1000 {
                        let _ = log.write(Kind::Span, (1, lane), 1, n, Payload::default());
                    }
                });
            }
        });
        let (records, _) = log.read();
        for lane in 0..4 {
            let numbers: Vec<_> = records
                .iter()
                .filter(|record| record.lane == lane)
                .map(|r| r.number)
                .collect();
            assert_eq!(numbers.len(), 1000);
        }
    }
}
