//! The heart of a pool: which item is where. Everything here happens under one lock, and nothing here waits.
//!
//! ```text
//!              submit                       feed, rebalance                     answered
//!   caller ─────────────▶ queue of jobs ───────────────────▶ sent to a worker ─────────────▶ its sink
//!                              ▲                                    │
//!                              └──────── recall, died ──────────────┘
//! ```
//!
//! **Who waits for whom.** Each worker has one thread here (`service`), which waits for that worker's results and for nothing
//! else. A caller who submits a task to an idle worker writes it into the worker's pipe himself: nobody need be woken for
//! that. If no worker is idle, the task stays in the queue; the thread whose worker has answered most sends it on.
//!
//! **How many are sent ahead.** Waking a process costs more than a small task. So up to [`DEPTH`] items lie in a worker's
//! pipe, as long as they fill at most half of it. Such a write never waits. A larger job is sent alone, when the worker has
//! nothing else to do, by the worker's own thread, while the worker reads it.
//!
//! **No item waits behind another one while a worker is idle.** A worker that finds the queue empty takes back what another
//! one has not started (`ticket`), so that sending ahead never costs more than the way.
//!
//! **No more work at a time than can run.** With 64 workers on 2 processors, waking another one for each small task costs ten
//! times what the task does. So when as many workers as there are processors are at work, idle ones sleep on, and those at
//! work take many tasks at a time. But a worker at work may sleep too: its task waits for something. So while anything is
//! held back from idle workers, a thread (`service::watch`) looks once in each [`TICK`] whether every worker at work has
//! started another item; if one has not, all idle workers get what they can. A pool with no more workers than processors
//! holds nothing back.
//!
//! **A death costs one item.** `ticket` tells which item the dead worker had started; the board holds results that had not
//! left. Everything behind returns to the front of the queue.

use super::results::Sink;
use super::ticket;
use super::wire::{self, TASK_HEADER, TaskHeader};
use crate::error::Error;
use crate::sync::Mutex;
use crate::sys::{self, CodeRef, Proc, SharedMemory};
use os_pipe::PipeWriter;
use std::collections::VecDeque;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread::Thread;
use std::time::Duration;

/// So many items may be on their way to a worker.
const DEPTH: u64 = 128;

/// So many bytes can be written into every system's pipes without waiting.
const ROOM: usize = 4096;

/// A task may be held back from an idle worker for so long.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// So many times may a job lie in the pipe of a worker that dies before it starts anything, until the job is held guilty: it
/// may be that it needs more memory than there is.
const ATTEMPTS: u8 = 3;

/// So many workers in a row may fail to become ready.
const FAILED_STARTS: u32 = 5;

/// A worker's pipe, as its pool sees it.
pub(super) type Pipe = Arc<Mutex<dyn Outlet>>;

/// What leads to a worker: a pipe of the system's. (In `model` the worker is a thread.)
pub(super) trait Outlet: Write + Send {
    /// How many bytes it takes without a reader; 0: not known.
    fn capacity(&self) -> usize;
}

impl Outlet for PipeWriter {
    fn capacity(&self) -> usize {
        sys::pipe_capacity(self)
    }
}

/// Calls of one function whose results go to one place: a task, or a chunk of a `map`.
pub(super) struct Job {
    pub items: Box<[u8]>,
    pub sink: Arc<dyn Sink>,
    pub entry: CodeRef,
    /// The first item's place in the sink.
    pub index: usize,
    pub count: u32,
}

impl Job {
    fn wire_size(&self) -> usize {
        TASK_HEADER + self.items.len()
    }

    /// Keeps the first `count` items; returns the others.
    fn split_off(&mut self, count: u32) -> Job {
        // The pool wrote these items itself: they are whole.
        let rest: Box<[u8]> = wire::skip_items(&self.items, count).unwrap_or_default().into();
        let mut items = std::mem::take(&mut self.items).into_vec();
        items.truncate(items.len() - rest.len());
        self.items = items.into();
        let others = Job {
            items: rest,
            sink: self.sink.clone(),
            entry: self.entry,
            index: self.index + count as usize,
            count: self.count - count,
        };
        self.count = count;
        others
    }
}

/// A job in a worker's hands.
struct Sent {
    /// Its first item's number at this worker.
    first: u64,
    /// What it takes in the pipe.
    bytes: usize,
    /// `None`: taken back. It still lies in the pipe.
    job: Option<Job>,
    /// So many of its items are answered.
    answered: u32,
}

impl Sent {
    fn unanswered(&self) -> Range<u64> {
        let count = self.job.as_ref().map_or(0, |job| job.count);
        self.first + u64::from(self.answered)..self.first + u64::from(count)
    }
}

/// What the pool knows of one worker.
struct Worker {
    process: Option<Arc<Proc>>,
    /// `None`: nothing is sent to it (any more).
    pipe: Option<Pipe>,
    /// In the order in which they were sent.
    sent: VecDeque<Sent>,
    /// Items sent and not answered, without those taken back.
    active: u64,
    /// Bytes that may still lie in the pipe.
    in_pipe: usize,
    /// So many bytes may lie there without anybody having to wait: half of what the pipe holds, since it holds pages, and
    /// each write may leave almost half of its last one empty.
    room: usize,
    /// The number of the next item to be sent.
    next: u64,
    /// So many items it may still be sent (`maxtasksperchild`).
    budget: u64,
    ready: bool,
    idle: bool,
    /// It was idle, and has been asked to say that it is there, for a job that its own thread is to write.
    called: bool,
    /// The first item of a large job that is being written just now: nobody takes that back.
    in_transit: bool,
    /// The item that it would have started next, a tick ago. `None`: it was not at work, or nobody looked.
    seen: Option<u64>,
}

impl Worker {
    fn new(budget: u64) -> Worker {
        Worker {
            process: None,
            pipe: None,
            sent: VecDeque::new(),
            active: 0,
            in_pipe: 0,
            room: ROOM,
            next: 0,
            budget,
            ready: false,
            idle: false,
            called: false,
            in_transit: false,
            seen: None,
        }
    }
}

/// What is to be written when the lock is free again.
pub(super) struct Letter {
    pub pipe: Pipe,
    pub bytes: Vec<u8>,
    /// A large job's items follow. Who wrote them gives them back: [`Queue::sent_large`].
    pub large: Option<Box<[u8]>>,
}

impl Letter {
    fn word(pipe: Pipe, word: TaskHeader) -> Letter {
        Letter {
            pipe,
            bytes: word.to_bytes().to_vec(),
            large: None,
        }
    }
}

/// Answers that are to be delivered when the lock is free again.
pub(super) struct Delivery {
    pub sink: Arc<dyn Sink>,
    pub index: usize,
    pub count: u32,
}

pub(super) struct Queue {
    jobs: VecDeque<Job>,
    workers: Vec<Worker>,
    memory: SharedMemory,
    idle: Vec<usize>,
    /// So many workers may be at work before idle ones are held back.
    crowd: usize,
    /// Something is held back.
    pub held: bool,
    /// The thread that looks after what is held back, if that can be.
    pub watcher: Option<Thread>,
    max_tasks: u64,
    failed_starts: u32,
    /// The items of the job that lay first in the pipe of the last worker that died before it started anything, and of how
    /// many such workers in a row.
    suspect: Option<(usize, u8)>,
    /// The workers are to end: nothing is left to do, or nothing shall be done any more.
    pub over: bool,
    /// Why no worker can be had.
    pub broken: Option<Error>,
}

impl Queue {
    pub fn new(workers: usize, crowd: usize, memory: SharedMemory, max_tasks: u64) -> Queue {
        Queue {
            jobs: VecDeque::new(),
            workers: (0..workers).map(|_| Worker::new(max_tasks)).collect(),
            memory,
            idle: Vec::with_capacity(workers),
            crowd,
            held: false,
            watcher: None,
            max_tasks,
            failed_starts: 0,
            suspect: None,
            over: false,
            broken: None,
        }
    }

    /// Takes a job in. `Err`: there is nobody to do it.
    pub fn push(&mut self, job: Job) -> Result<(), (Job, Error)> {
        match &self.broken {
            Some(error) => Err((job, error.clone())),
            None if self.over => Err((job, Error::Terminated)),
            None => {
                self.jobs.push_back(job);
                Ok(())
            }
        }
    }

    /// Gives idle workers something to do, as long as there are not too many at work.
    pub fn rebalance(&mut self, letters: &mut Vec<Letter>) {
        if self.idle.is_empty() {
            return;
        }
        if self.workers.len() <= self.crowd {
            return self.hand_out(usize::MAX, letters);
        }
        self.hand_out(self.crowd.saturating_sub(self.at_work()), letters);
        if !self.held && !self.idle.is_empty() && (!self.jobs.is_empty() || self.richest().is_some()) {
            self.held = true;
            self.wake_watcher();
        }
    }

    fn at_work(&self) -> usize {
        self.workers
            .iter()
            .filter(|hand| hand.active > 0 || hand.called)
            .count()
    }

    fn called(&self) -> usize {
        self.workers.iter().filter(|hand| hand.called).count()
    }

    /// A tick has passed: is anybody who is at work asleep?
    pub fn look_again(&mut self, letters: &mut Vec<Letter>) {
        let mut asleep = false;
        for (worker, hand) in self.workers.iter_mut().enumerate() {
            let next = (hand.active > 0).then(|| self.memory.board(worker).next.load(Acquire));
            asleep |= next.is_some() && next == hand.seen;
            hand.seen = next;
        }
        self.held = false;
        if asleep {
            self.hand_out(usize::MAX, letters);
        }
        self.rebalance(letters);
        if !self.held {
            self.workers.iter_mut().for_each(|hand| hand.seen = None);
        }
    }

    fn wake_watcher(&self) {
        self.watcher.iter().for_each(Thread::unpark);
    }

    /// Gives something to as many idle workers as `most`: from the queue, or, if that is empty, from a worker that has more
    /// than it can start.
    fn hand_out(&mut self, most: usize, letters: &mut Vec<Letter>) {
        let mut most = most.min(self.idle.len());
        if most == 0 {
            return;
        }
        let mut called = self.called().min(self.jobs.len()); // so many jobs are to go to them
        if self.jobs.len() <= called {
            most += usize::from(self.steal(most));
        }
        self.cut(most + called);
        let among = self.workers.len() - self.idle.len() + most;
        for _ in 0..most {
            let Some(&worker) = self.idle.last().filter(|_| called < self.jobs.len()) else {
                break;
            };
            let letter = self.letter_for(worker, among, false).or_else(|| {
                // A large job is written by the worker's own thread. That waits for a message: so the worker sends one.
                called += 1;
                self.workers[worker].called = true;
                let pipe = self.workers[worker].pipe.clone()?;
                Some(Letter::word(pipe, TaskHeader::CALL))
            });
            letters.extend(letter);
            self.set_idle(worker, false);
        }
    }

    fn set_idle(&mut self, worker: usize, idle: bool) {
        if self.workers[worker].idle != idle {
            self.workers[worker].idle = idle;
            if idle {
                self.idle.push(worker);
            } else {
                self.idle.retain(|&other| other != worker);
            }
        }
    }

    /// Takes jobs from the queue for a worker, as far as it may have more: its share, if they are to be divided among so many.
    fn letter_for(&mut self, worker: usize, among: usize, may_be_large: bool) -> Option<Letter> {
        let share = (self.jobs.len() / among.max(1)).max(1);
        let hand = &mut self.workers[worker];
        let pipe = hand.pipe.as_ref()?;
        let mut bytes = Vec::new();
        let mut large = None;
        for _ in 0..share {
            if hand.active >= DEPTH || hand.budget == 0 || large.is_some() {
                break;
            }
            let Some(size) = self.jobs.front().map(Job::wire_size) else {
                break;
            };
            let may_wait = hand.in_pipe + size > hand.room;
            if may_wait && !(may_be_large && hand.active == 0) {
                break;
            }
            let Some(mut job) = self.jobs.pop_front() else { break };
            if u64::from(job.count) > hand.budget {
                let others = job.split_off(hand.budget as u32);
                self.jobs.push_front(others);
            }
            let size = job.wire_size();
            let length = job.items.len() as u64;
            let header = TaskHeader {
                first: hand.next,
                entry: job.entry,
                count: job.count,
                label: job.index as u32,
                length,
            };
            bytes.extend_from_slice(&header.to_bytes());
            if may_wait {
                large = Some(std::mem::take(&mut job.items));
                hand.in_transit = true;
            } else {
                bytes.extend_from_slice(&job.items);
            }
            hand.next += u64::from(job.count);
            hand.active += u64::from(job.count);
            hand.budget -= u64::from(job.count);
            hand.in_pipe += size;
            hand.sent.push_back(Sent {
                first: header.first,
                bytes: size,
                job: Some(job),
                answered: 0,
            });
        }
        (!bytes.is_empty()).then(|| Letter {
            pipe: pipe.clone(),
            bytes,
            large,
        })
    }

    /// A large job's items were written (or could not be, because the worker died).
    pub fn sent_large(&mut self, worker: usize, items: Box<[u8]>, letters: &mut Vec<Letter>) {
        let hand = &mut self.workers[worker];
        hand.in_transit = false;
        // It was sent alone, and all of it is there yet, answered or not, unless the pool was terminated.
        if let Some(job) = hand.sent.back_mut().and_then(|sent| sent.job.as_mut()) {
            job.items = items;
        }
        // Now others can help.
        self.rebalance(letters);
    }

    /// Who has most that somebody else could do.
    fn richest(&self) -> Option<usize> {
        (0..self.workers.len())
            .filter(|&worker| !self.workers[worker].in_transit)
            .map(|worker| (self.not_started(worker), worker))
            .filter(|&(not_started, worker)| {
                // A single item that no other one is ahead of will be started at once.
                not_started >= 2 || (not_started == 1 && self.workers[worker].active > 1)
            })
            .max()
            .map(|(_, worker)| worker)
    }

    /// Takes back what the worker with most has not started, cut into a part for each of so many `helpers`, and for itself.
    /// True: it had not started anything, and is idle now too.
    fn steal(&mut self, helpers: usize) -> bool {
        let Some(worker) = self.richest() else { return false };
        let end = self.workers[worker].next;
        let first = ticket::recall(&self.memory.board(worker).next, end);
        self.take_back(worker, first);
        self.cut(helpers + 1);
        let idle = self.workers[worker].active == 0;
        self.set_idle(worker, idle);
        idle
    }

    /// Halves the longest job until there are as many as `parts`, if there are any.
    fn cut(&mut self, parts: usize) {
        while self.jobs.len() < parts {
            let longest = (0..self.jobs.len()).max_by_key(|&job| self.jobs[job].count);
            let Some(longest) = longest.filter(|&job| self.jobs[job].count > 1) else {
                return;
            };
            let job = &mut self.jobs[longest];
            let half = job.split_off(job.count.div_ceil(2));
            self.jobs.insert(longest + 1, half);
        }
    }

    fn not_started(&self, worker: usize) -> u64 {
        let next = self.memory.board(worker).next.load(Acquire);
        self.workers[worker].next.saturating_sub(next)
    }

    /// Puts a worker's items from number `first` on back to the front of the queue.
    fn take_back(&mut self, worker: usize, first: u64) {
        let hand = &mut self.workers[worker];
        for sent in hand.sent.iter_mut().rev() {
            let Some(job) = &mut sent.job else { continue };
            if sent.first + u64::from(job.count) <= first {
                break;
            }
            let started = first.saturating_sub(sent.first) as u32;
            let job = if started > sent.answered {
                Some(job.split_off(started))
            } else if started > 0 {
                // What was started is answered: nothing is left to wait for.
                let rest = job.split_off(started);
                sent.job = None;
                Some(rest)
            } else {
                sent.job.take()
            };
            if let Some(job) = job {
                hand.active -= u64::from(job.count);
                hand.budget += u64::from(job.count);
                self.jobs.push_front(job);
            }
        }
    }

    /// A worker was started; it has to get ready yet. False: too late, the pool is over.
    pub fn started(&mut self, worker: usize, process: Arc<Proc>) -> bool {
        if !self.over {
            self.workers[worker].process = Some(process);
        }
        !self.over
    }

    /// A worker is ready, perhaps too late.
    pub fn ready(&mut self, worker: usize, pipe: Pipe, letters: &mut Vec<Letter>) {
        self.failed_starts = 0;
        let hand = &mut self.workers[worker];
        hand.room = ROOM.max(pipe.lock().unwrap().capacity() / 2);
        hand.pipe = Some(pipe);
        hand.ready = true;
        if self.over {
            self.dismiss(worker, letters);
        }
    }

    /// A worker answered `count` items from number `first` on. `None`: it cannot have.
    pub fn answered(&mut self, worker: usize, first: u64, count: u32) -> Option<Delivery> {
        let hand = &mut self.workers[worker];
        while let Some(passed) = hand
            .sent
            .front()
            .filter(|sent| sent.job.is_none() && sent.first < first)
        {
            hand.in_pipe -= passed.bytes;
            hand.sent.pop_front();
        }
        let sent = hand.sent.front_mut()?;
        let unanswered = sent.unanswered();
        if unanswered.start != first || count == 0 || first + u64::from(count) > unanswered.end {
            return None;
        }
        let job = sent.job.as_ref()?;
        let delivery = Delivery {
            sink: job.sink.clone(),
            index: job.index + sent.answered as usize,
            count,
        };
        sent.answered += count;
        hand.active -= u64::from(count);
        if sent.answered == job.count {
            if self
                .suspect
                .is_some_and(|suspect| suspect.0 == job.items.as_ptr() as usize)
            {
                self.suspect = None; // another job's items may lie there next
            }
            hand.in_pipe -= sent.bytes;
            hand.sent.pop_front();
        }
        Some(delivery)
    }

    /// The number of the first item that a worker has not answered.
    pub fn first_unanswered(&self, worker: usize) -> Option<u64> {
        self.workers[worker]
            .sent
            .iter()
            .find(|sent| sent.job.is_some())
            .map(|sent| sent.unanswered().start)
    }

    /// After a worker's answers: sends it more, if it has little left.
    pub fn feed(&mut self, worker: usize, letters: &mut Vec<Letter>) {
        let hand = &mut self.workers[worker];
        hand.called = false;
        if !hand.ready || hand.active > DEPTH / 2 {
            return;
        }
        letters.extend(self.letter_for(worker, self.workers.len() - self.idle.len(), true));
        let hand = &self.workers[worker];
        match (hand.active, hand.budget) {
            // It has done its share: it ends, and another one takes its place.
            (0, 0) => self.dismiss(worker, letters),
            (0, _) => self.set_idle(worker, true),
            _ => {}
        }
        self.rebalance(letters);
    }

    /// A worker is dead. What it had not started goes back to the queue; what it was doing is returned.
    pub fn died(&mut self, worker: usize, letters: &mut Vec<Letter>) -> Vec<Delivery> {
        let next = self.memory.board(worker).next.load(Acquire);
        self.take_back(worker, next);
        let hand = std::mem::replace(&mut self.workers[worker], Worker::new(self.max_tasks));
        self.idle.retain(|&other| other != worker);
        let lost = |sent: &Sent| {
            let job = sent.job.as_ref()?;
            let count = job.count - sent.answered;
            Some(Delivery {
                sink: job.sink.clone(),
                index: job.index + sent.answered as usize,
                count,
            })
        };
        let mut lost: Vec<Delivery> = hand.sent.iter().filter_map(lost).collect();
        let returned = hand.sent.iter().any(|sent| sent.job.is_none());
        if lost.is_empty() && returned && hand.ready {
            lost.extend(self.blame_the_first());
        }
        let board = self.memory.board(worker);
        board.published.store(0, Release);
        board.next.store(0, Release);
        self.rebalance(letters);
        lost
    }

    /// The job at the front was sent to a worker that died before it started anything. Once or twice, that is chance.
    fn blame_the_first(&mut self) -> Option<Delivery> {
        let job = self.jobs.front()?;
        // A job keeps its items in the same place wherever it goes.
        let items = job.items.as_ptr() as usize;
        let deaths = self
            .suspect
            .filter(|suspect| suspect.0 == items)
            .map_or(1, |suspect| suspect.1 + 1);
        self.suspect = Some((items, deaths));
        if deaths < ATTEMPTS {
            return None;
        }
        let mut job = self.jobs.pop_front()?;
        if job.count > 1 {
            let others = job.split_off(1);
            self.jobs.push_front(others);
        }
        Some(Delivery {
            sink: job.sink,
            index: job.index,
            count: 1,
        })
    }

    /// A worker could not be started, or did not get ready. Returns what is to fail if that means the end of the pool.
    pub fn start_failed(&mut self, error: &Error) -> Vec<Delivery> {
        self.failed_starts += 1;
        if self.failed_starts < FAILED_STARTS || self.workers.iter().any(|worker| worker.ready) {
            return Vec::new();
        }
        self.broken = Some(Error::Initializer(Arc::new(error.clone())));
        self.end();
        self.drain()
    }

    /// How long to wait before the next try.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(10 << self.failed_starts.min(7))
    }

    /// Nothing more is to be done: the workers end when they have read their pipes.
    pub fn finish(&mut self, letters: &mut Vec<Letter>) {
        self.end();
        for worker in 0..self.workers.len() {
            self.dismiss(worker, letters);
        }
    }

    /// Ends everything now. Returns what is to fail.
    pub fn terminate(&mut self) -> Vec<Delivery> {
        self.end();
        for worker in 0..self.workers.len() {
            if let Some(process) = &self.workers[worker].process {
                let _ = process.kill(); // it can fail only if the process has ended
            }
            self.dismiss(worker, &mut Vec::new());
        }
        self.drain()
    }

    fn end(&mut self) {
        self.over = true;
        self.wake_watcher();
    }

    /// Sends a worker nothing more but a farewell.
    fn dismiss(&mut self, worker: usize, letters: &mut Vec<Letter>) {
        self.set_idle(worker, false);
        let hand = &mut self.workers[worker];
        hand.ready = false;
        letters.extend(hand.pipe.take().map(|pipe| Letter::word(pipe, TaskHeader::END)));
    }

    /// Everything that is not answered.
    fn drain(&mut self) -> Vec<Delivery> {
        let mut all = Vec::new();
        for worker in &mut self.workers {
            for sent in std::mem::take(&mut worker.sent) {
                if let Some(job) = sent.job {
                    let index = job.index + sent.answered as usize;
                    all.push(Delivery {
                        sink: job.sink,
                        index,
                        count: job.count - sent.answered,
                    });
                }
            }
            worker.active = 0;
        }
        all.extend(self.jobs.drain(..).map(|job| Delivery {
            sink: job.sink,
            index: job.index,
            count: job.count,
        }));
        self.jobs.shrink_to_fit();
        all
    }

    pub fn board(&self, worker: usize) -> &crate::sys::Board {
        self.memory.board(worker)
    }
}

/// What the simulation looks at.
#[cfg(test)]
impl Queue {
    pub fn pipe(&self, worker: usize) -> Option<Pipe> {
        self.workers[worker].pipe.clone()
    }

    /// The place in its sink of an item that a worker holds.
    pub fn place(&self, worker: usize, item: u64) -> Option<usize> {
        let sent = self.workers[worker]
            .sent
            .iter()
            .find(|sent| sent.unanswered().contains(&item))?;
        Some(sent.job.as_ref()?.index + (item - sent.first) as usize)
    }

    /// A worker may be idle only if no other one has items that it cannot start, and for each job in the queue one was called;
    /// or if enough others are at work, and the watcher is awake.
    pub fn assert_nobody_idles(&self) {
        if self.idle.is_empty() || (self.held && self.at_work() >= self.crowd) {
            return;
        }
        assert!(
            self.jobs.len() <= self.called(),
            "{} jobs wait, and {} workers are idle",
            self.jobs.len(),
            self.idle.len()
        );
        for (worker, hand) in self.workers.iter().enumerate().filter(|(_, hand)| !hand.in_transit) {
            let not_started = self.not_started(worker);
            assert!(
                not_started == 0 || (not_started == 1 && hand.active == 1),
                "worker {worker} holds {not_started} items that it has not started"
            );
        }
    }
}
