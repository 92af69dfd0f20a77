//! A worker: takes items, calls the target, sends results.
//!
//! It lives in a process of its own, and may die at any moment. So everything that the pool must know afterwards stands
//! outside of it: which item it started (`ticket`), and the results that have not left yet. The result of a task leaves at
//! once. The results of a chunk leave together, and lie in shared memory until then: the pool finds them there when the
//! worker dies. No result is lost, and no item is done twice.

use super::ticket::claim;
use super::wire::{KEPT, Kind, ResultHeader, TASK_HEADER, TaskHeader, push_item, split_item};
use crate::child::{self, Ends, Greeting};
use crate::function::{self, Fault};
use crate::sys::{self, Board, CodeRef, OwnedHandle, SharedMemory};
use crate::timeline;
use serde::{Deserialize, Serialize};
use std::io::{self, BufReader, Read, Write};
use std::sync::atomic::Ordering;

/// What a worker is told first; items follow.
#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    pub greeting: Greeting,
    /// Which board is its own, of how many.
    pub board: usize,
    pub boards: usize,
    pub initializer: Option<(CodeRef, Vec<u8>)>,
}

/// Works until the pool says that it is over. Returns the exit code, or `None` if it could not understand the pool.
pub(crate) fn run_child(handles: Vec<OwnedHandle>) -> Option<i32> {
    let Ends {
        mut from_parent,
        to_parent,
        lifeline,
        extra,
    } = Ends::new(handles)?;
    sys::ANSWERS.set(&to_parent);
    child::end_with_parent(lifeline.try_clone().ok()?).ok()?;
    let Ok(orders) = child::read_block(&mut from_parent) else {
        return Some(0); // a pool that has ended already
    };
    let orders: Orders = postcard::from_bytes(&orders).ok()?;
    orders.greeting.accept(lifeline)?;
    let memory = SharedMemory::open(extra?, orders.boards).ok()?;
    let mut worker = Worker::new(memory.board(orders.board), to_parent);
    if let Some((entry, args)) = orders.initializer {
        let _span = timeline::span("initializer");
        // SAFETY: it came through the pipe that this process's parent passed to it, which runs the same program.
        if let Err(fault) = unsafe { function::run(entry, &args, &mut Vec::new()) } {
            let _ = worker.send_fault(Kind::NotReady, 0, &fault);
            return Some(1);
        }
    }
    // An error is a pool that ended: then this worker ends too.
    let _ = worker.live(from_parent);
    Some(0)
}

pub(super) struct Worker<'a, W> {
    board: &'a Board,
    results: W,
    /// An encoded result, before it goes where it belongs.
    scratch: Vec<u8>,
}

impl<'a, W: Write> Worker<'a, W> {
    pub fn new(board: &'a Board, results: W) -> Worker<'a, W> {
        Worker {
            board,
            results,
            scratch: Vec::new(),
        }
    }

    pub fn live(&mut self, tasks: impl Read) -> io::Result<()> {
        self.send(Kind::Ready, 0, 0, &[])?;
        self.work(&mut BufReader::with_capacity(1 << 16, tasks))
    }

    pub fn work(&mut self, tasks: &mut impl Read) -> io::Result<()> {
        let mut items = Vec::new();
        loop {
            let mut header = [0; TASK_HEADER];
            tasks.read_exact(&mut header)?;
            let task = TaskHeader::from_bytes(&header);
            items.clear();
            tasks.take(task.length).read_to_end(&mut items)?;
            match task.count {
                0 if task.label == TaskHeader::END.label => return Ok(()),
                0 => self.send(Kind::Here, 0, 0, &[])?,
                1 => self.do_one(task, &items)?,
                _ => self.do_chunk(task, &items)?,
            }
            if items.capacity() > KEPT {
                items = Vec::new(); // the memory of a huge task is not kept
            }
        }
    }

    /// A task: its result leaves at once.
    fn do_one(&mut self, task: TaskHeader, items: &[u8]) -> io::Result<()> {
        if let Some((args, _)) = split_item(items).filter(|_| claim(&self.board.next, task.first)) {
            let span = timeline::task(task.label);
            let outcome = self.call(task.entry, args);
            drop(span);
            match outcome {
                Ok(()) => self.send_scratch(task.first)?,
                Err(fault) => self.send_fault(Kind::Fault, task.first, &fault)?,
            }
        }
        Ok(())
    }

    /// A chunk: results leave together, when the board is full or the chunk is done.
    fn do_chunk(&mut self, task: TaskHeader, mut items: &[u8]) -> io::Result<()> {
        let mut span = None;
        for item in task.first..task.first + u64::from(task.count) {
            let Some((args, rest)) = split_item(items) else { break };
            items = rest;
            if !claim(&self.board.next, item) {
                break; // it and all behind it were taken back
            }
            span.get_or_insert_with(|| timeline::task(task.label))
                .begun(item - task.first + 1);
            match self.call(task.entry, args) {
                Ok(()) => {
                    if !self.publish(item) {
                        self.send_published()?;
                        if !self.publish(item) {
                            self.send_scratch(item)?;
                        }
                    }
                }
                Err(fault) => {
                    self.send_published()?;
                    self.send_fault(Kind::Fault, item, &fault)?;
                }
            }
        }
        self.send_published()
    }

    /// Calls the target; its encoded result is in `scratch` then, as an item.
    fn call(&mut self, entry: CodeRef, args: &[u8]) -> Result<(), Box<Fault>> {
        if self.scratch.capacity() > KEPT {
            self.scratch = Vec::new();
        }
        self.scratch.clear();
        push_item(&mut self.scratch, |bytes| {
            // SAFETY: as for the initializer.
            unsafe { function::run(entry, args, bytes) }
        })
    }

    /// Adds the result in `scratch` to those on the board. False: it does not fit.
    fn publish(&mut self, item: u64) -> bool {
        let published = self.board.published.load(Ordering::Relaxed);
        let (count, used) = (published >> 32, published as u32);
        if !self.board.append(used as usize, &self.scratch) {
            return false;
        }
        if count == 0 {
            self.board.first.store(item, Ordering::Relaxed);
        }
        let used = u64::from(used) + self.scratch.len() as u64;
        self.board.published.store((count + 1) << 32 | used, Ordering::Release);
        true
    }

    /// Sends the results on the board. They stay there until they are sent: a pool that sees some twice, because the worker
    /// died in between, knows them by their numbers.
    fn send_published(&mut self) -> io::Result<()> {
        let count = self.board.published.load(Ordering::Relaxed) >> 32;
        if count > 0 {
            let first = self.board.first.load(Ordering::Relaxed);
            self.send(Kind::Values, first, count as u32, self.board.results())?;
            self.board.published.store(0, Ordering::Release);
        }
        Ok(())
    }

    fn send_scratch(&mut self, item: u64) -> io::Result<()> {
        let scratch = std::mem::take(&mut self.scratch);
        self.send(Kind::Values, item, 1, &scratch)?;
        self.scratch = scratch;
        Ok(())
    }

    fn send_fault(&mut self, kind: Kind, item: u64, fault: &Fault) -> io::Result<()> {
        self.send(kind, item, 1, &postcard::to_stdvec(fault).unwrap_or_default())
    }

    /// In one write, if it is small: each write may wake somebody up.
    fn send(&mut self, kind: Kind, first: u64, count: u32, payload: &[u8]) -> io::Result<()> {
        let header = ResultHeader {
            kind,
            count,
            first,
            length: payload.len() as u64,
        }
        .to_bytes();
        let mut message = [0; 512];
        let length = header.len() + payload.len();
        if length <= message.len() {
            message[..header.len()].copy_from_slice(&header);
            message[header.len()..length].copy_from_slice(payload);
            return self.results.write_all(&message[..length]);
        }
        // A pipe takes both parts in one call.
        let mut parts = [io::IoSlice::new(&header), io::IoSlice::new(payload)];
        let mut parts = &mut parts[..];
        while !parts.is_empty() {
            match self.results.write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => io::IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
