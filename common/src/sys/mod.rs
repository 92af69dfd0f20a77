//! Everything that the type system cannot vouch for, and everything that differs from system to system.
//!
//! This folder holds every `unsafe` block of the crate. [`unix`](self) and `windows` offer the same functions; the rest of
//! the crate does not know where it runs.
//!
//! * `spawn`, [`Proc`]: run this program again, wait for it, kill it, never a stranger that got its number.
//! * `inherited`: in the new process, what its parent passed to it.
//! * [`SharedMemory`]: a few pages that parent and workers see at the same time.
//! * [`CodeRef`]: a function's address as a number that means the same in another run of the same program.

use crate::sync;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

mod code;
pub(crate) use code::CodeRef;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

/// What is known of a process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It returned from `main` or called `exit`.
    Code(i32),
    /// A signal ended it (Unix only).
    #[cfg_attr(windows, expect(dead_code))]
    Signal(i32),
    /// Somebody else took its exit status, or SIGCHLD is ignored, so that the kernel keeps none.
    Unknown,
}

/// How a process is started; see `spawn`.
pub(crate) struct Launch<'a> {
    /// What the new process is to be: read back by `inherited`.
    pub role: &'a str,
    /// Its name, shown by `ps` where the system allows it.
    #[cfg_attr(windows, expect(dead_code))]
    pub name: &'a str,
    /// Pipe ends (and the like) for it, in an order that both sides know. The caller keeps its own copies.
    pub pass: &'a [BorrowedHandle<'a>],
    /// Its standard input, output and error, where they are not to be its parent's.
    pub stdio: &'a [Option<OwnedHandle>; 3],
    /// Ctrl-C is not for it: its parent decides.
    pub shielded: bool,
}

/// The system's words for a file that is not there do not say which, nor why.
fn say_if_moved(error: std::io::Error, program: &std::path::Path) -> std::io::Error {
    if error.kind() != std::io::ErrorKind::NotFound {
        return error;
    }
    let sentence = format!(
        "{} is not there any more: was the program moved? Start it anew",
        program.display()
    );
    std::io::Error::new(error.kind(), sentence)
}

/// A worker's part of the shared memory. The parent and that one worker look at it at the same time, so everything in it
/// is an atomic or is published by one.
#[repr(C, align(64))]
pub(crate) struct Board {
    /// The number of the next item that the worker may start. See `pool::ticket`.
    pub next: sync::AtomicU64,
    /// The first item whose result lies in `results`.
    pub first: sync::AtomicU64,
    /// How many results lie there (upper half) and in how many bytes (lower half).
    pub published: sync::AtomicU64,
    results: [std::cell::UnsafeCell<u8>; BOARD_BYTES],
}

/// Room for results that are on their way: see `pool::worker`.
pub(crate) const BOARD_BYTES: usize = 16 * 1024 - 64;

// SAFETY: `results` is written by the worker only, and only above the published length; others read only below it.
unsafe impl Sync for Board {}

impl Board {
    /// loom's numbers are made of more than zero bytes.
    #[cfg(all(test, model))]
    fn prepare(board: *mut Board) {
        // SAFETY: `board` lies in memory that is new, and that nobody else has yet.
        unsafe {
            (&raw mut (*board).next).write(sync::AtomicU64::new(0));
            (&raw mut (*board).first).write(sync::AtomicU64::new(0));
            (&raw mut (*board).published).write(sync::AtomicU64::new(0));
        }
    }

    /// Puts `bytes` behind the `used` bytes that are published. The caller publishes them afterwards.
    /// Only the board's worker calls this. False: they do not fit.
    pub fn append(&self, used: usize, bytes: &[u8]) -> bool {
        let Some(room) = self.results.get(used..).and_then(|rest| rest.get(..bytes.len())) else {
            return false;
        };
        // SAFETY: `room` has bytes.len() bytes inside the board; nobody reads them before they are published.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_ptr() as *mut u8, bytes.len()) };
        true
    }

    /// The published results. The parent calls this only when the worker is dead; the worker itself at any time.
    pub fn results(&self) -> &[u8] {
        let used = (self.published.load(Ordering::Acquire) as u32 as usize).min(BOARD_BYTES);
        // SAFETY: the bytes lie inside the board, and below the published length nobody writes.
        unsafe { std::slice::from_raw_parts(self.results.as_ptr() as *const u8, used) }
    }
}

/// Memory that all processes of a run share, as numbers: zero at first.
pub(crate) struct Words {
    mapping: Mapping,
    count: usize,
}

impl Words {
    pub fn create(count: usize) -> std::io::Result<(Words, OwnedHandle)> {
        let (mapping, handle) = Mapping::create(count * size_of::<AtomicU64>())?;
        Ok((Words { mapping, count }, handle))
    }

    /// The memory behind a handle that the parent passed.
    pub fn open(handle: OwnedHandle, count: usize) -> std::io::Result<Words> {
        let mapping = Mapping::open(handle, count * size_of::<AtomicU64>())?;
        Ok(Words { mapping, count })
    }
}

impl std::ops::Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has room for `count` numbers, begins at a page, and lives as long as `self`. Whatever others
        // write there are numbers, and are read as atomics only.
        unsafe { std::slice::from_raw_parts(self.mapping.start().cast(), self.count) }
    }
}

/// Memory that this process and its workers share: one [`Board`] for each worker.
pub(crate) struct SharedMemory {
    mapping: Mapping,
    boards: usize,
    _marker: PhantomData<Board>,
}

impl SharedMemory {
    /// Fresh memory, all zero, for `boards` workers.
    pub fn new(boards: usize) -> std::io::Result<(SharedMemory, OwnedHandle)> {
        let (mapping, handle) = Mapping::create(boards * size_of::<Board>())?;
        #[cfg(all(test, model))]
        (0..boards).for_each(|board| Board::prepare(mapping.start().cast::<Board>().wrapping_add(board).cast_mut()));
        Ok((
            SharedMemory {
                mapping,
                boards,
                _marker: PhantomData,
            },
            handle,
        ))
    }

    /// In the worker: the memory behind a handle that the parent passed.
    pub fn open(handle: OwnedHandle, boards: usize) -> std::io::Result<SharedMemory> {
        let mapping = Mapping::open(handle, boards * size_of::<Board>())?;
        Ok(SharedMemory {
            mapping,
            boards,
            _marker: PhantomData,
        })
    }

    pub fn board(&self, index: usize) -> &Board {
        assert!(index < self.boards);
        // SAFETY: the mapping has room for `boards` boards, begins at a page, and lives as long as `self`. Zero bytes are a
        // valid `Board`, and so is whatever the other side writes: every field is an integer.
        unsafe { &*self.mapping.start().cast::<Board>().add(index) }
    }
}
