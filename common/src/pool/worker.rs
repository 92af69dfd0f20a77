//! A worker: takes tasks, calls the target, publishes results.
//!
//! It lives in a process of its own, and may die at any moment. So everything that the pool must know afterwards lies outside
//! of it, in the page that both see: which item it started (`claim`), and every result, from the moment it is there (`ring`).

use super::claim::claim;
use super::items::{Items, push_item};
use super::ring::{Damaged, INLINE, Kind, Reader, ResultHeader, TASK_WORDS, TaskHeader, Writer};
use super::ring::{must_wake, wait, words};
use super::system::{Ringer, Sleeper};
use crate::error::RemoteError;
use crate::function;
use crate::os::{self, Owner, Page, SharedPage};
use crate::spawn::Start;
use crate::sync::Instant;
use crate::timeline;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::Ordering::Relaxed;

/// Of the memory that larger tasks and results needed, more than this is given back at once.
const MAX_RETAINED: usize = 1 << 20;

/// Works until the pool says that there is nothing more to do. Returns the exit code.
pub(crate) fn run_child(mut start: Start) -> Result<i32, String> {
    let passed = std::mem::take(&mut start.extra);
    let [page, bell, pool_bell] = passed.try_into().map_err(|_| "its memory was not passed to it")?;
    let open = || Ok((SharedPage::open(&page)?, Sleeper::open(bell)?, Ringer::open(pool_bell)?));
    let opened = open().map_err(|error: io::Error| format!("its memory cannot be used: {error}"))?;
    // It is never closed: if a task has closed one of these descriptors, its number may be another file's.
    let (page, bell, pool_bell) = &*Box::leak(Box::new(opened));
    let owner = Owner::me();
    function::note_panics(move |panic| {
        if owner.is_me() {
            let mut worker = Worker::new(page, bell, pool_bell);
            worker.results = Writer::resume(worker.page);
            let _ = worker.send_error(Kind::Fatal, 0, &panic);
        }
    });
    let mut worker = Worker::new(page, bell, pool_bell);
    let _ = worker.send(Kind::Started, 0, &[]);
    let outcome = start.run("initializer"); // what is said from here on goes through the page
    worker.leave_copy();
    if let Some(error) = outcome.err().filter(|error| !matches!(error, RemoteError::Result(_))) {
        let _ = worker.send_error(Kind::Fatal, 0, &error);
        return Ok(1);
    }
    match worker.work() {
        Ok(()) => Ok(0),
        // The pool's process has ended.
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe) => Ok(0),
        Err(error) => {
            let why = "did a task close or replace descriptors of others?";
            let _ = writeln!(io::stderr(), "a worker of a pool ends, because {error}: {why}");
            Ok(1)
        }
    }
}

pub(super) struct Worker<'a> {
    page: &'a Page,
    bell: &'a Sleeper,
    pool_bell: &'a Ringer,
    tasks: Reader,
    results: Writer,
    /// Values of the current chunk that are kept (see `ring`), and perhaps one more.
    values: Vec<u8>,
    /// Nothing was claimed since something was passed over. Then the pool is rung before each sleep: see `ring`.
    passed_over: bool,
    owner: Owner,
    /// How many items of the current job it has not claimed.
    left: u64,
    /// When it last rang (and wrote `took`), or had nothing to do.
    told_at: Instant,
}

impl<'a> Worker<'a> {
    pub fn new(page: &'a Page, bell: &'a Sleeper, pool_bell: &'a Ringer) -> Worker<'a> {
        Worker {
            page,
            bell,
            pool_bell,
            tasks: Reader::default(),
            results: Writer::default(),
            values: Vec::new(),
            passed_over: false,
            owner: Owner::me(),
            left: 0,
            told_at: Instant::now(),
        }
    }

    /// If the target has forked and returned in the copy as well: the copy is not a worker, so it exits.
    fn leave_copy(&self) {
        if !self.owner.is_me() {
            os::exit_now(0);
        }
    }

    pub fn work(&mut self) -> io::Result<()> {
        self.send(Kind::Ready, 0, &[])?;
        let mut items = Vec::new();
        loop {
            self.wait_for_words(TASK_WORDS)?;
            let task = TaskHeader::read(&mut self.tasks, &self.page.tasks)?;
            if task.count == 0 {
                return Ok(());
            }
            while (items.len() as u64) < task.length {
                self.wait_for_words(1)?;
                let ring = &self.page.tasks;
                let available = self.tasks.available(ring)?;
                self.tasks.pop_payload(ring, task.length, available, &mut items);
                self.tasks.release(ring);
                if task.length > INLINE as u64 {
                    self.wake()?;
                }
            }
            self.run_items(task, &items)?;
            items.clear();
            for bytes in [&mut items, &mut self.values] {
                if bytes.capacity() > MAX_RETAINED {
                    *bytes = Vec::new();
                }
            }
        }
    }

    /// Sleeps until there are `count` words to read.
    fn wait_for_words(&mut self, count: u64) -> io::Result<()> {
        let ring = &self.page.tasks;
        let ready = || Ok(self.tasks.available(ring)? >= count);
        if ready()? {
            return Ok(());
        }
        let sleep = || {
            if self.passed_over {
                self.tasks.release(ring); // should this be damaged
                self.pool_bell.ring()?; // was it right to pass over that?
            }
            self.bell.wait()
        };
        wait(&ring.reader_asleep, ready, sleep)?;
        self.results.rewind(&self.page.results)?;
        self.told_at = Instant::now();
        Ok(())
    }

    /// Rings, if the pool waits for this: something to read, or room.
    fn wake(&mut self) -> io::Result<()> {
        if must_wake(&self.page.results.reader_asleep) {
            self.tell_time(); // beside a bell, that costs little
            self.told_at = Instant::now();
            self.pool_bell.ring()?;
        }
        Ok(())
    }

    fn run_items(&mut self, task: TaskHeader, items: &[u8]) -> io::Result<()> {
        let (mut args, mut first) = (Items(items), task.first);
        let mut span = None;
        for number in 1..=u64::from(task.count) {
            let item = task.first + number - 1;
            let arg = args.next().ok_or(Damaged)?;
            self.passed_over = !claim(&self.page.next, item);
            if self.passed_over {
                break; // it was taken back, and so was everything after it
            }
            self.left = u64::from(task.count) - number;
            let (task_number, begun) = match task.chunk {
                true => (task.label, number),
                false => (task.label.wrapping_add(number as u32 - 1), 1),
            };
            span.get_or_insert_with(|| timeline::task(task_number)).begun(begun);
            // SAFETY: it came from this process's parent, which runs the same program; the header's check is right.
            let call = |value: &mut Vec<u8>| unsafe { function::run(task.function, arg, value) };
            let start = self.values.len();
            if start == 0 {
                first = item; // of those that are kept
            }
            let outcome = push_item(&mut self.values, call);
            if self.left == 0 || !task.chunk {
                span = None;
            }
            self.leave_copy();
            match outcome {
                Ok(()) if self.results.keep(self.page, first, &self.values, start)? => {}
                Ok(()) => {
                    let values = std::mem::take(&mut self.values);
                    self.send(Kind::Value, item, &values[start..])?;
                    self.values = values; // its memory is used again
                    self.values.clear();
                }
                Err(error) => self.send_error(Kind::Error, item, &error)?,
            }
            if !task.chunk {
                self.publish_values()?;
            }
        }
        self.publish_values()
    }

    /// Publishes the values that are kept.
    fn publish_values(&mut self) -> io::Result<()> {
        self.values.clear();
        if self.results.push_kept() {
            self.publish()?;
        }
        Ok(())
    }

    pub fn send_error(&mut self, kind: Kind, item: u64, error: &RemoteError) -> io::Result<()> {
        self.send(kind, item, &postcard::to_stdvec(error).unwrap_or_default())
    }

    /// Publishes what is kept, and then a result; of a large one each piece, as there is room.
    pub fn send(&mut self, kind: Kind, item: u64, mut payload: &[u8]) -> io::Result<()> {
        self.publish_values()?;
        let ring = &self.page.results;
        let header = ResultHeader::new(kind, item, payload.len() as u64);
        self.wait_for_room(1 + words(payload.len().min(INLINE)))?;
        self.results.push(ring, header.to_word());
        loop {
            let pushed = self.results.push_piece(ring, payload, 0)?;
            self.publish()?;
            payload = &payload[pushed..];
            if payload.is_empty() {
                return Ok(());
            }
            self.wait_for_room(words(payload.len().min(INLINE)))?;
        }
    }

    /// Lets the pool see what was written.
    fn publish(&mut self) -> io::Result<()> {
        if self.left == 0 && matches!(self.tasks.available(&self.page.tasks), Ok(0)) {
            self.tell_time();
        }
        self.results.publish(&self.page.results);
        self.wake()
    }

    fn tell_time(&self) {
        let took = self.told_at.elapsed().as_nanos() as u64;
        self.page.took.store(took, Relaxed);
    }

    /// Sleeps until there is room for `count` words. (All that was written is published: the pool can read on.)
    fn wait_for_room(&mut self, count: u64) -> io::Result<()> {
        let ring = &self.page.results;
        let ready = || Ok(self.results.room(ring, count)? >= count);
        wait(&ring.writer_asleep, ready, || self.bell.wait())
    }
}
