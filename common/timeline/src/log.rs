//! Where the processes of a run write what they do: memory that all of them share.
//!
//! The log is an array of slots of 64 bytes; a writer takes the next one with an atomic addition. Nothing is sent and nobody
//! is woken, so a span costs about 0.4 us, and what a process wrote is still there after it was killed. (A file to which all
//! processes append would be simpler, but was measured at 2 to 9 us for each of a span's two records, more with more
//! processes: many times what a short task costs, so that a picture would show mostly itself.)
//!
//! A slot is written once, its first word last: a reader sees all of it or nothing. Only the end of a span, and how many
//! items of a chunk were begun, are filled in later, each by one store.
//!
//! ```text
//!   word 0     kind, length of the text, number of the lane, pid; 0: not written (yet)
//!   word 1     when it was, or began
//!   word 2     when it ended, 0 as long as it has not; or a number that depends on the kind
//!   words 3-7  text; of a task, word 7 is the number of items that were begun
//! ```
//!
//! In the first slot there are only the numbers of slots taken: word 0 for lanes, word 1 for what happens in them.

use shared_memory::{OwnedHandle, SharedMemory};
use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What a record is about. Those before `Submit` are about a lane; they have slots of their own, so that a run with too many
/// tasks still has all its lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A process was started. Text: its name; number: its parent's pid.
    Process = 1,
    /// A process was made by `fork` and reports itself. The same fields.
    Fork,
    /// A thread has a lane from now on. Text: its name.
    Thread,
    /// The process is a worker of its parent's pool `lane`.
    Member,
    /// The process will be ended on purpose.
    PlannedEnd,
    /// The process is about to exit.
    Exit,
    /// Its parent noticed its end. Number: its exit code, or [`UNKNOWN`].
    Ended,
    /// Tasks were submitted to the pool `lane`. Number: how many.
    Submit,
    /// A span. Text: its label.
    Span,
    /// A span in which a thread is blocked. Text: what it waits for.
    Blocked,
    /// A task, or a chunk of tasks. Text: the number of the (first) task.
    Task,
}

const KINDS: [Kind; 11] = {
    use Kind::*;
    [
        Process, Fork, Thread, Member, PlannedEnd, Exit, Ended, Submit, Span, Blocked, Task,
    ]
};

/// An exit code that is not known: larger than any `u32`.
pub(crate) const UNKNOWN: u64 = 1 << 32;

/// A slot's number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(usize);

/// Words in a slot.
const SIZE: usize = 8;
/// Slots in the log: 64 MiB, which take memory only as they are used.
const SLOTS: usize = 1 << 20;
/// Slots for records about lanes.
const LANES: Range<usize> = 1..SLOTS / 16;
/// Slots for all others.
const EVENTS: Range<usize> = LANES.end..SLOTS;
/// Bytes of text in a slot.
const TEXT: usize = 40;

pub(crate) struct Log {
    words: SharedMemory,
    handle: OwnedHandle,
}

impl Log {
    pub fn create() -> io::Result<Log> {
        let (words, handle) = SharedMemory::create(SLOTS * SIZE)?;
        Ok(Log { words, handle })
    }

    /// The log of the process that passed this handle.
    pub fn open(handle: OwnedHandle) -> io::Result<Log> {
        let words = SharedMemory::open(&handle, SLOTS * SIZE)?;
        Ok(Log { words, handle })
    }

    pub fn handle(&self) -> &OwnedHandle {
        &self.handle
    }

    /// `None`: the log is full. `who`: a pid and the number of a lane or pool.
    pub fn write(&self, kind: Kind, who: (u32, u16), time: u64, number: u64, text: &str) -> Option<Slot> {
        let (taken, slots) = match kind < Kind::Submit {
            true => (&self.words[0], LANES),
            false => (&self.words[1], EVENTS),
        };
        let slot = Slot(slots.start + taken.fetch_add(1, Relaxed) as usize);
        if slot.0 >= slots.end {
            return None;
        }
        let words = self.slot(slot);
        words[1].store(time, Relaxed);
        words[2].store(number, Relaxed);
        let text = shortened(text);
        for (word, bytes) in words[3..].iter().zip(text.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Relaxed);
        }
        let head = kind as u64 | (text.len() as u64) << 8 | u64::from(who.1) << 16 | u64::from(who.0) << 32;
        words[0].store(head, Release);
        Some(slot)
    }

    /// Fills in the end of a span, unless it belongs to the process that the process `pid` was forked from.
    pub fn end(&self, slot: Slot, pid: u32, time: u64) {
        if self.slot(slot)[0].load(Relaxed) >> 32 == u64::from(pid) {
            self.slot(slot)[2].store(time, Relaxed);
        }
    }

    /// Fills in how many items of a chunk were begun.
    pub fn begun(&self, slot: Slot, items: u64) {
        self.slot(slot)[7].store(items, Relaxed);
    }

    fn slot(&self, slot: Slot) -> &[AtomicU64] {
        &self.words[slot.0 * SIZE..][..SIZE]
    }

    /// Everything that is written by now, and the number of records for which there was no slot.
    pub fn read(&self) -> (Vec<Record>, u64) {
        let mut records = Vec::new();
        let mut lost = 0;
        for (taken, slots) in self.words.iter().zip([LANES, EVENTS]) {
            let (taken, room) = (taken.load(Acquire), slots.len() as u64);
            lost += taken.saturating_sub(room);
            let used = slots.take(taken.min(room) as usize);
            records.extend(used.filter_map(|slot| Record::read(self.slot(Slot(slot)))));
        }
        (records, lost)
    }
}

/// As much of the text as there is room for; a longer one ends in "..".
fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT {
        return text.into();
    }
    let end = (0..=TEXT - 2).rev().find(|&at| text.is_char_boundary(at));
    format!("{}..", &text[..end.unwrap_or(0)]).into()
}

/// A slot as it is read back.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub kind: Kind,
    pub pid: u32,
    /// Of a pool, where the kind says so.
    pub lane: u16,
    pub time: u64,
    /// Word 2: an end, or a number.
    pub number: u64,
    pub text: String,
    /// Items of a chunk.
    pub begun: u64,
}

impl Record {
    /// Is word 2 the time of an end, once there is one?
    pub fn has_end(&self) -> bool {
        matches!(self.kind, Kind::Thread | Kind::Span | Kind::Blocked | Kind::Task)
    }

    fn read(words: &[AtomicU64]) -> Option<Record> {
        let head = words[0].load(Acquire);
        let kind = *KINDS.get((head as u8 as usize).checked_sub(1)?)?;
        let words: Vec<u64> = words.iter().map(|word| word.load(Relaxed)).collect();
        let bytes: Vec<u8> = words[3..].iter().flat_map(|word| word.to_le_bytes()).collect();
        let text = bytes.get(..(head >> 8) as u8 as usize)?;
        Some(Record {
            kind,
            pid: (head >> 32) as u32,
            lane: (head >> 16) as u16,
            time: words[1],
            number: words[2],
            text: String::from_utf8_lossy(text).into_owned(),
            begun: words[7],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let log = Log::create().unwrap();
        let slots = KINDS.map(|kind| log.write(kind, (7, 3), 10, 20, "a b").unwrap());
        log.end(slots[8], 7, 99);
        log.end(slots[9], 8, 99); // not its own
        log.begun(slots[10], 5);
        let (records, lost) = log.read();
        assert_eq!(lost, 0);
        assert_eq!(records.iter().map(|record| record.kind).collect::<Vec<_>>(), KINDS);
        assert_eq!((records[8].number, records[9].number), (99, 20));
        assert_eq!((records[9].begun, records[10].begun), (0, 5));
        assert!(records.iter().all(|record| record.text == "a b" && record.time == 10));
        assert!(records.iter().all(|record| (record.pid, record.lane) == (7, 3)));
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let read = |text: &str| {
            let log = Log::create().unwrap();
            log.write(Kind::Span, (1, 0), 1, 0, text).unwrap();
            log.read().0.remove(0).text
        };
        assert_eq!(read(&"x".repeat(40)), "x".repeat(40));
        assert_eq!(read(&"x".repeat(41)), "x".repeat(38) + "..");
        assert_eq!(read(&"进".repeat(20)), "进".repeat(12) + "..");
    }

    #[test]
    fn a_full_log_counts_what_is_lost_and_still_has_room_for_lanes() {
        let log = Log::create().unwrap();
        let write = |kind| log.write(kind, (1, 0), 1, 0, "").is_some();
        log.words[1].store(EVENTS.len() as u64 - 10, Relaxed);
        assert!((0..10).all(|_| write(Kind::Span)));
        assert!((0..5).all(|_| !write(Kind::Task)));
        assert_eq!(log.read().1, 5);
        assert!(write(Kind::Ended));
        log.words[0].store(LANES.len() as u64, Relaxed);
        assert!(!write(Kind::Ended));
        assert_eq!(log.read().1, 6);
    }

    #[test]
    fn threads_never_share_a_slot() {
        let log = Log::create().unwrap();
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    for n in 0..1000 {
                        let _ = log.write(Kind::Span, (1, lane), 1, n, "");
                    }
                });
            }
        });
        let (records, _) = log.read();
        for lane in 0..4 {
            let numbers = records.iter().filter(|record| record.lane == lane).map(|it| it.number);
            assert_eq!(numbers.collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
        }
    }
}
