//! The memory that a pool shares with one worker.
//!
//! Both sides may write anywhere in it at any time, a worker that has gone wrong included. So every word of it is an atomic:
//! whatever the other side does, reading a word gives a number, never undefined behaviour. What the numbers mean, and which of
//! them are trusted, is up to `pool::ring`.

use super::OwnedHandle;
use crate::sync::{AtomicU32, AtomicU64};
use crossbeam_utils::CachePadded;
use shared_memory::SharedMemory;
use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64 as Word, Ordering::Relaxed};

/// A worker's page. Each counter is on cache lines of its own, so that processors that write to neighbouring ones do not
/// disturb each other.
#[repr(C)]
pub(crate) struct Page {
    /// The number of the next item that the worker may start: see `pool::claim`.
    pub next: CachePadded<AtomicU64>,
    /// How many nanoseconds the worker has worked since it last rang or had nothing to do; 0: nothing new. It writes this when
    /// it runs out of tasks, and when it rings.
    pub took: CachePadded<AtomicU64>,
    /// The tail of `results`, if the worker has written values behind it that it has not published yet.
    pub kept: CachePadded<AtomicU64>,
    /// From the pool to the worker.
    pub tasks: Ring,
    /// From the worker to the pool.
    pub results: Ring,
}

/// A ring buffer of words with one writer and one reader.
#[repr(C)]
pub(crate) struct Ring {
    /// How many words were read, ever.
    pub head: CachePadded<AtomicU64>,
    /// How many words were written, ever.
    pub tail: CachePadded<AtomicU64>,
    /// Which word is the first one of `words`: where the writer began at the front again.
    pub start: CachePadded<Word>,
    /// Does the reader sleep, or is it about to, until there is something to read?
    pub reader_asleep: CachePadded<AtomicU32>,
    /// Does the writer sleep, or is it about to, until there is room?
    pub writer_asleep: CachePadded<AtomicU32>,
    words: [Word; CAPACITY as usize],
}

/// Words that fit into a ring. (In tests few, so that it is often full.)
pub(crate) const CAPACITY: u64 = match (cfg!(test), cfg!(model)) {
    (true, true) => 64,
    (true, false) => 1024,
    _ => 32 * 1024,
};

const BYTES: usize = size_of::<u64>();

impl Ring {
    #[inline]
    fn word(&self, position: u64) -> &Word {
        &self.words[(position.wrapping_sub(self.start.load(Relaxed)) % CAPACITY) as usize]
    }

    #[inline]
    pub fn read(&self, position: u64) -> u64 {
        self.word(position).load(Relaxed)
    }

    #[inline]
    pub fn write(&self, position: u64, word: u64) {
        self.word(position).store(word, Relaxed);
    }

    /// Writes bytes, eight to a word; what is left of the last word is zero.
    #[inline]
    pub fn write_bytes(&self, mut position: u64, bytes: &[u8]) {
        let mut eights = bytes.chunks_exact(BYTES);
        for eight in &mut eights {
            let word = eight.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
            self.write(position, word);
            position += 1;
        }
        let rest = eights.remainder().iter().rev();
        if rest.len() > 0 {
            self.write(position, rest.fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
    }

    /// Appends `count` bytes to `bytes`.
    #[inline]
    pub fn read_bytes(&self, position: u64, count: usize, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        if count <= BYTES {
            bytes.extend_from_slice(&self.read(position).to_le_bytes()); // nearly always
        } else {
            bytes.resize(start + count.next_multiple_of(BYTES), 0);
            for (eight, position) in bytes[start..].chunks_exact_mut(BYTES).zip(position..) {
                eight.copy_from_slice(&self.read(position).to_le_bytes());
            }
        }
        bytes.truncate(start + count);
    }
}

/// A [`Page`] in shared memory, zero at first.
pub(crate) struct SharedPage(SharedMemory);

const WORDS: usize = size_of::<Page>() / BYTES;

impl SharedPage {
    /// A fresh page, and the handle by which another process opens it.
    pub fn create() -> io::Result<(SharedPage, OwnedHandle)> {
        let (memory, handle) = SharedMemory::create(WORDS)?;
        Ok((SharedPage(memory), handle))
    }

    /// In the worker: the page behind a handle that the pool passed.
    pub fn open(handle: &OwnedHandle) -> io::Result<SharedPage> {
        Ok(SharedPage(SharedMemory::open(handle, WORDS)?))
    }
}

impl Deref for SharedPage {
    type Target = Page;

    fn deref(&self) -> &Page {
        // SAFETY: the memory is as long as a `Page`, begins at a page of the system's, which is aligned better than `Page`, and
        // lives as long as `self`. `Page` consists of atomics alone, too.
        unsafe { &*self.0.as_ptr().cast() }
    }
}
