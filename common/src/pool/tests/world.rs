//! A pool without processes and threads: workers and collector take one step at a time, in whatever order a test likes. Its
//! queue, its rings and its results are the real ones.

use super::{Process, Rng};
use crate::error::{Error, RemoteError};
use crate::os::{CodeRef, Exit, Page, SharedPage};
use crate::pool::claim::claim;
use crate::pool::collector::Shared;
use crate::pool::handles::{ResultHandler, Results};
use crate::pool::items::{Items, Packed, push_item};
use crate::pool::job::Job;
use crate::pool::output::Output;
use crate::pool::ring::{
    AWAKE, Damaged, INLINE, Kind, Reader, ResultHeader, TASK_WORDS, TaskHeader, Writer, fall_asleep, must_wake,
    publish_kept, words,
};
use crate::pool::slot::Slot;
use crate::pool::system::{Link, bell};
use crate::sync::AtomicU32;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item {
    Waiting,
    /// A worker has claimed it.
    Running,
    /// Its result is written; the pool may not have seen it yet.
    Done,
    Delivered,
    /// Its worker has died.
    Lost,
    Terminated,
    /// No worker can be had.
    Failed,
}

/// What has become of each item.
pub(super) struct Record {
    state: Mutex<State>,
    results: Arc<ResultHandler>,
}

#[derive(Default)]
struct State {
    items: Vec<Item>,
    /// Items that a worker was sent whose page was damaged: they may be started again, and their values may be wrong.
    tainted: Vec<bool>,
    /// The item that a worker that has ended had not finished.
    unfinished: Option<usize>,
    lost: usize,
    unanswered: usize,
}

impl Record {
    fn new() -> Record {
        Record {
            state: Mutex::default(),
            results: ResultHandler::new(Results::many(1)),
        }
    }

    /// What has become of each item by now.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        for (first, outcome) in self.results.take(false).unwrap() {
            match outcome {
                Ok(values) => {
                    let mut values = Items(&values);
                    let places = (first..).zip(values.by_ref());
                    places.for_each(|(index, value)| state.take_in(index, Ok(value)));
                    assert!(values.0.is_empty(), "whole items");
                }
                Err(mut failure) => {
                    let items = first..first + failure.count as usize;
                    items.for_each(|index| state.take_in(index, Err(failure.observe())));
                }
            }
        }
        state
    }

    pub fn items(&self) -> Vec<Item> {
        self.lock().items.clone()
    }

    fn add(&self, count: usize) -> usize {
        let mut state = self.lock();
        let items = state.items.len();
        state.items.resize(items + count, Item::Waiting);
        state.tainted.resize(items + count, false);
        state.unanswered += count;
        items
    }

    pub fn unanswered(&self) -> usize {
        self.lock().unanswered
    }

    pub fn taint(&self, indices: Vec<Range<usize>>) {
        let mut state = self.lock();
        indices
            .into_iter()
            .for_each(|indices| state.tainted[indices].fill(true));
    }

    fn start(&self, index: usize) {
        let mut state = self.lock();
        let item = state.items[index];
        assert!(
            item == Item::Waiting || state.tainted[index],
            "item {index} is done twice: {item:?}"
        );
        if matches!(item, Item::Waiting | Item::Running | Item::Done) {
            state.items[index] = Item::Running;
        }
    }

    fn done(&self, index: usize) {
        let mut state = self.lock();
        let item = state.items[index];
        assert!(item == Item::Running || state.tainted[index], "item {index}: {item:?}");
        if item == Item::Running {
            state.items[index] = Item::Done;
        }
    }
}

impl State {
    fn take_in(&mut self, index: usize, value: Result<&[u8], Error>) {
        let end = match value {
            Ok(value) => {
                assert!(
                    value == result(index, value.len()) || self.tainted[index],
                    "item {index}: a wrong value"
                );
                Item::Delivered
            }
            Err(Error::Signaled { .. } | Error::Exited { .. } | Error::ProtocolViolation { .. }) => Item::Lost,
            Err(Error::Terminated) => Item::Terminated,
            Err(Error::Initializer(_)) => Item::Failed,
            Err(_) => Item::Delivered, // the worker says so
        };
        self.settle(index, end);
    }

    fn settle(&mut self, index: usize, end: Item) {
        let item = self.items[index];
        let settled = !matches!(item, Item::Waiting | Item::Running | Item::Done);
        assert!(!settled, "item {index} is delivered twice: {item:?}, {end:?}");
        let expected = match end {
            Item::Delivered => item == Item::Done,
            Item::Lost => self.unfinished == Some(index),
            _ => true,
        };
        assert!(expected || self.tainted[index], "item {index}: {item:?}, {end:?}");
        self.items[index] = end;
        self.lost += usize::from(end == Item::Lost);
        self.unanswered -= 1;
    }
}

/// The result of an item; some of them are large.
fn result(index: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![index as u8; length.max(8)];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    bytes
}

/// Calls with `size` bytes of arguments each. These begin with the item's index.
fn job(record: &Arc<Record>, count: usize, size: usize) -> Job {
    let first = record.add(count);
    let mut items = Vec::new();
    for index in first..first + count {
        let encode = |bytes: &mut Vec<u8>| {
            bytes.extend(index.to_le_bytes());
            bytes.resize(bytes.len() + size, 7);
            Ok::<(), ()>(())
        };
        push_item(&mut items, encode).unwrap();
    }
    Job {
        sequence: 0,
        function: CodeRef::default(),
        items: Packed::take(&mut items),
        handler: record.results.clone(),
        index: first,
        count: count as u32,
        chunk: count > 1,
        deliveries: 0,
    }
}

/// A worker that has been started.
fn link() -> Arc<Link> {
    let (bell, sleeper) = bell().unwrap();
    Arc::new(Link {
        name: "PoolWorker-1".to_owned(),
        page: SharedPage::create().unwrap().0,
        bell,
        _sleeper: sleeper,
        process: Process::default(),
    })
}

enum Doing {
    Starting,
    Initializing,
    /// Waits for a task.
    Idle,
    /// Has read a task's header, and so much of the items.
    Reading(TaskHeader, Vec<u8>),
    /// The items, where the next one begins, and its number in the task.
    Working(TaskHeader, Vec<u8>, usize, u32),
    /// It was told to end, or does not understand its pool any more.
    Leaving(Exit),
}

#[derive(Clone, Copy, PartialEq)]
enum Sleep {
    Awake,
    /// Has said that it sleeps, and is to look a last time.
    Drowsy,
    Asleep,
}

/// A worker without a process. It does what `worker` does, but never waits.
pub(super) struct FakeWorker {
    pub link: Arc<Link>,
    tasks: Reader,
    results: Writer,
    doing: Doing,
    /// Words of a result for which there was no room yet, and the results that are to follow.
    unwritten: VecDeque<u64>,
    later: VecDeque<(Kind, u64, Vec<u8>)>,
    /// Values that are kept, and the item of the first one.
    values: Vec<u8>,
    first: u64,
    /// The item that it has claimed and not answered.
    pub current: Option<usize>,
    sleep: Sleep,
    /// Its flag was lost while it slept: nobody will ring.
    pub deaf: bool,
    /// Its page was damaged.
    pub damaged: bool,
    passed_over: bool,
    /// It was rung when it did not sleep.
    rung: bool,
    /// It has rung for the collector.
    rang: bool,
    /// It was killed.
    pub dead: bool,
    /// It was stopped, and whether the pool knows.
    pub paused: bool,
    known_as_paused: bool,
    claimed: u64,
    /// One of how many results is large.
    large: usize,
}

impl FakeWorker {
    fn new(link: Arc<Link>, large: usize) -> FakeWorker {
        FakeWorker {
            link,
            tasks: Reader::default(),
            results: Writer::default(),
            doing: Doing::Starting,
            unwritten: VecDeque::new(),
            later: VecDeque::new(),
            values: Vec::new(),
            first: 0,
            current: None,
            sleep: Sleep::Awake,
            deaf: false,
            damaged: false,
            passed_over: false,
            rung: false,
            rang: false,
            dead: false,
            paused: false,
            known_as_paused: false,
            claimed: 0,
            large,
        }
    }

    /// It runs code of the caller's.
    pub fn is_in_task(&self) -> bool {
        let writes = !self.unwritten.is_empty() || !self.later.is_empty();
        matches!(self.doing, Doing::Working(..)) && self.current.is_some() && !writes
    }

    /// It has not all of a task's items.
    pub fn is_reading(&self) -> bool {
        matches!(self.doing, Doing::Reading(..))
    }

    /// Something writes into its page. That wakes nobody.
    pub fn damage(&mut self, write: impl FnOnce(&Page)) {
        let link = self.link.clone();
        let flag = self.flag(&link);
        if self.sleep == Sleep::Asleep && !self.deaf && flag.load(Relaxed) == AWAKE {
            self.sleep = Sleep::Awake; // it was rung before
        }
        self.damaged = true;
        write(&link.page);
        self.deaf = self.sleep != Sleep::Awake && flag.load(Relaxed) == AWAKE;
    }

    /// What clears this wakes it up.
    fn flag<'a>(&self, link: &'a Link) -> &'a AtomicU32 {
        match self.unwritten.is_empty() {
            true => &link.page.tasks.reader_asleep,
            false => &link.page.results.writer_asleep,
        }
    }

    /// One step. False: it sleeps.
    fn step(&mut self, shared: &Shared, worker: usize, record: &Record, rng: &mut Rng) -> bool {
        let link = self.link.clone();
        let flag = self.flag(&link);
        if self.sleep == Sleep::Asleep {
            if self.deaf || flag.load(Acquire) != AWAKE {
                return false;
            }
            self.sleep = Sleep::Awake;
            let waited_for_tasks = self.unwritten.is_empty();
            if waited_for_tasks && self.results.rewind(&link.page.results).is_err() {
                self.doing = Doing::Leaving(Exit::Code(1));
            }
            return true;
        }
        match self.act(shared, worker, record, rng) {
            Ok(true) => {
                if self.sleep == Sleep::Drowsy {
                    self.rung |= flag.load(Relaxed) == AWAKE;
                    flag.store(AWAKE, Relaxed);
                    self.sleep = Sleep::Awake;
                    self.deaf = false;
                }
            }
            Ok(false) if self.sleep == Sleep::Awake => {
                fall_asleep(self.flag(&link));
                self.sleep = Sleep::Drowsy;
            }
            Ok(false) => {
                if self.passed_over {
                    self.tasks.release(&link.page.tasks);
                    self.rang = true;
                }
                // A bell that was rung while nobody slept rings on.
                self.sleep = if std::mem::take(&mut self.rung) {
                    Sleep::Awake
                } else {
                    Sleep::Asleep
                };
            }
            Err(Damaged) => self.doing = Doing::Leaving(Exit::Code(1)),
        }
        true
    }

    /// False: there is nothing that it could do.
    fn act(&mut self, shared: &Shared, worker: usize, record: &Record, rng: &mut Rng) -> Result<bool, Damaged> {
        let link = self.link.clone();
        if !self.unwritten.is_empty() || !self.later.is_empty() {
            return self.write(record);
        }
        let (page, ring) = (&link.page, &link.page.tasks);
        match &mut self.doing {
            Doing::Starting => {
                self.doing = Doing::Initializing;
                self.send(record, Kind::Started, 0, Vec::new())
            }
            Doing::Initializing => {
                self.doing = Doing::Idle;
                self.send(record, Kind::Ready, 0, Vec::new())
            }
            Doing::Idle => {
                if self.tasks.available(ring)? < TASK_WORDS {
                    return Ok(false);
                }
                let task = TaskHeader::read(&mut self.tasks, ring)?;
                self.doing = Doing::Reading(task, Vec::new());
                if task.count == 0 {
                    self.doing = Doing::Leaving(Exit::Code(0));
                }
                Ok(true)
            }
            Doing::Reading(task, items) => {
                let available = self.tasks.available(ring)?;
                if available == 0 {
                    return Ok(false);
                }
                self.tasks.pop_payload(ring, task.length, available, items);
                self.tasks.release(ring);
                if task.length > INLINE as u64 {
                    self.rang |= must_wake(&page.results.reader_asleep);
                }
                if items.len() as u64 == task.length {
                    let (task, items) = (*task, std::mem::take(items));
                    self.doing = Doing::Working(task, items, 0, 0);
                }
                Ok(true)
            }
            Doing::Working(task, items, at, number) => {
                if *number == task.count {
                    self.doing = Doing::Idle;
                    return Ok(true);
                }
                let item = task.first + u64::from(*number);
                let mut args = Items(&items[*at..]);
                let arg = args.next().ok_or(Damaged)?;
                let index = *arg.first_chunk().ok_or(Damaged)?;
                let Some(current) = self.current else {
                    if !claim(&page.next, item) {
                        self.publish_values();
                        return self.pass_over();
                    }
                    let known = shared.queue().slot(worker).index_of(item);
                    return Ok(self.begin(record, known.filter(|known| known.to_le_bytes() == index)));
                };
                *at = items.len() - args.0.len();
                *number += 1;
                let more = *number < task.count && task.chunk;
                if rng.one_in(30) {
                    let error = RemoteError::Panic("a message".to_owned(), None);
                    self.publish_values();
                    return self.send(record, Kind::Error, item, postcard::to_stdvec(&error).unwrap());
                }
                let length = if rng.one_in(self.large) {
                    rng.pick(&[40, INLINE, INLINE + 1, 12_000])
                } else {
                    0
                };
                let value = |bytes: &mut Vec<u8>| {
                    bytes.extend(result(current, length));
                    Ok::<(), ()>(())
                };
                let kept = self.values.len();
                if kept == 0 {
                    self.first = item;
                }
                push_item(&mut self.values, value).unwrap();
                if !self.results.keep(page, self.first, &self.values, kept)? {
                    let value = self.values.split_off(kept);
                    self.publish_values();
                    return self.send(record, Kind::Value, item, value);
                }
                self.done(record);
                if !more || rng.one_in(10) {
                    self.publish_values();
                }
                Ok(true)
            }
            Doing::Leaving(_) => Ok(false),
        }
    }

    /// It has claimed an item. (One that is not known to the pool is none.)
    fn begin(&mut self, record: &Record, index: Option<usize>) -> bool {
        self.claimed += 1;
        self.passed_over = false;
        match index {
            Some(index) => record.start(index),
            None => assert!(self.damaged, "an item that it was not sent"),
        }
        self.current = Some(index.unwrap_or(usize::MAX));
        true
    }

    fn pass_over(&mut self) -> Result<bool, Damaged> {
        self.passed_over = true;
        self.doing = Doing::Idle;
        Ok(true)
    }

    fn publish_values(&mut self) {
        self.values.clear();
        if self.results.push_kept() {
            self.publish();
        }
    }

    fn send(&mut self, record: &Record, kind: Kind, item: u64, payload: Vec<u8>) -> Result<bool, Damaged> {
        self.later.push_back((kind, item, payload));
        self.write(record)?;
        Ok(true)
    }

    /// Writes as much of a result as there is room for. False: none.
    fn write(&mut self, record: &Record) -> Result<bool, Damaged> {
        let link = self.link.clone();
        let ring = &link.page.results;
        if self.unwritten.is_empty() {
            let (kind, item, payload) = self.later.pop_front().expect("a result");
            let header = ResultHeader::new(kind, item, payload.len() as u64);
            self.unwritten.push_back(header.to_word());
            let eights = payload.chunks(8).map(|eight| {
                let mut word = [0; 8];
                word[..eight.len()].copy_from_slice(eight);
                u64::from_le_bytes(word)
            });
            self.unwritten.extend(eights);
        }
        let left = self.unwritten.len() as u64;
        let wanted = left.min(1 + words(INLINE));
        let room = self.results.room(ring, wanted)?;
        if room < wanted {
            self.publish();
            return Ok(false);
        }
        for word in self.unwritten.drain(..left.min(room) as usize) {
            self.results.push(ring, word);
        }
        self.publish();
        if self.unwritten.is_empty() && self.later.is_empty() && matches!(self.doing, Doing::Working(..)) {
            self.done(record);
        }
        Ok(true)
    }

    /// The item that it has claimed is answered, or kept.
    fn done(&mut self, record: &Record) {
        if let Some(index) = self.current.take().filter(|&index| index != usize::MAX) {
            record.done(index);
        }
    }

    fn publish(&mut self) {
        let ring = &self.link.page.results;
        self.results.publish(ring);
        self.rang |= must_wake(&ring.reader_asleep);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Collector {
    Awake,
    /// Has found nothing.
    Drowsy,
    Asleep,
}

pub(super) struct World {
    pub rng: Rng,
    pub shared: Shared,
    /// `None`: its process is yet to be started.
    pub workers: Vec<Option<FakeWorker>>,
    pub record: Arc<Record>,
    max_tasks: u64,
    /// One of how many results is large; of half as many, an argument.
    large: usize,
    out: Output,
    collector: Collector,
    /// Somebody has rung for the collector.
    rung: bool,
}

impl World {
    /// Its workers are yet to be started. `ahead`: how many tasks each is sent.
    pub fn new(rng: Rng, workers: usize, max_tasks: u64, large: usize, ahead: usize) -> World {
        World {
            rng,
            shared: Shared::new(workers, max_tasks, ahead, bell().unwrap()),
            workers: (0..workers).map(|_| None).collect(),
            record: Arc::new(Record::new()),
            max_tasks,
            large,
            out: Output::default(),
            collector: Collector::Awake,
            rung: false,
        }
    }

    /// Memory that was taken for what comes from workers.
    pub fn memory(&self) -> usize {
        {
            let queue = self.shared.queue();
            let slots = (0..self.workers.len()).map(|worker| queue.slot(worker));
            slots.map(Slot::capacity).sum::<usize>()
        }
    }

    pub fn start(&mut self, worker: usize) {
        let link = link();
        self.workers[worker] = Some(FakeWorker::new(link.clone(), self.large));
        if self.rng.one_in(2) {
            self.step(worker); // it may be quick
        }
        assert!(self.shared.with_queue(|queue, out| queue.started(worker, &link, out)));
    }

    fn step(&mut self, worker: usize) -> bool {
        let Some(fake) = &mut self.workers[worker] else {
            return false;
        };
        if fake.dead || fake.paused {
            return false;
        }
        let moved = fake.step(&self.shared, worker, &self.record, &mut self.rng);
        self.rung |= std::mem::take(&mut fake.rang);
        assert!(fake.claimed <= self.max_tasks);
        moved
    }

    /// What can happen at a worker without anybody's harm. False: nothing can.
    pub fn advance(&mut self, worker: usize) -> bool {
        let exit = match &self.workers[worker] {
            None => {
                self.start(worker);
                return true;
            }
            Some(fake) if fake.dead || fake.link.process.killed.load(Relaxed) => Exit::Signal(9),
            Some(FakeWorker {
                doing: Doing::Leaving(exit),
                ..
            }) => *exit,
            Some(fake) if fake.paused != fake.known_as_paused => {
                self.notice_pause(worker);
                return true;
            }
            Some(_) => return self.step(worker),
        };
        self.notice_end(worker, exit);
        true
    }

    fn notice_pause(&mut self, worker: usize) {
        if let Some(fake) = &mut self.workers[worker] {
            fake.known_as_paused = fake.paused;
            let paused = fake.paused;
            self.shared.with_queue(|queue, _| queue.stopped(worker, paused));
        }
    }

    /// The pool hears of a worker's end.
    fn notice_end(&mut self, worker: usize, exit: Exit) {
        let fake = self.workers[worker].take().expect("it was started");
        let before = self.record.lock().lost;
        // A large one may be too much for any worker.
        let last_try = self.shared.queue().slot(worker).last_try();
        self.record.lock().unfinished = fake.current.or(last_try);
        publish_kept(&fake.link.page);
        self.shared.with_queue(|queue, out| queue.exited(worker, exit, out));
        assert!(self.shared.queue().failed.is_none(), "the pool gave up");
        let mut state = self.record.lock();
        let lost = state.lost - before;
        assert!(lost <= 1, "an end costs {lost} items");
        if let Some(index) = fake.current.filter(|&index| index != usize::MAX) {
            let lost = state.items[index] == Item::Lost;
            assert!(lost || state.tainted[index], "item {index} was not finished");
        }
        state.unfinished = None;
    }

    /// The collector has looked for something to do, and will do so again.
    pub fn wake_collector(&mut self) {
        self.rung = true;
        self.collect(); // it wakes up
        self.collect();
    }

    /// Somebody rings for the collector, who looks until there is nothing more.
    pub fn ring(&mut self) {
        self.rung = true;
        while self.collect() {}
    }

    /// The collector takes a step. False: it sleeps.
    pub fn collect(&mut self) -> bool {
        let (shared, out) = (&self.shared, &mut self.out);
        self.collector = match self.collector {
            Collector::Awake if shared.collector_round(out) => Collector::Awake,
            Collector::Awake => Collector::Drowsy,
            Collector::Drowsy if shared.collector_sleeps(out) => Collector::Asleep,
            Collector::Asleep if !std::mem::take(&mut self.rung) => return false,
            Collector::Drowsy | Collector::Asleep => Collector::Awake,
        };
        true
    }

    fn job(&mut self) -> Job {
        let count = if self.rng.one_in(2) { 1 } else { 1 + self.rng.below(12) };
        // Now and then items of which few or none can be sent ahead.
        let size = if self.rng.one_in(self.large / 2) {
            self.rng.pick(&[40, 400, INLINE])
        } else {
            3
        };
        job(&self.record, count, size)
    }

    /// Submits calls with `size` bytes of arguments each.
    pub fn submit_large(&mut self, count: usize, size: usize) {
        self.shared.submit(job(&self.record, count, size));
    }

    /// Submits short calls.
    pub fn submit_items(&mut self, count: usize) {
        self.shared.submit(job(&self.record, count, 3));
    }

    pub fn submit(&mut self) {
        let jobs = if self.rng.one_in(4) { 1 + self.rng.below(3) } else { 1 };
        for _ in 0..jobs {
            let job = self.job();
            self.shared.submit(job);
        }
        if self.rng.one_in(4) {
            self.submit_tasks(); // which travel together, unless the collector sleeps
        }
    }

    fn submit_tasks(&mut self) {
        for _ in 0..self.rng.below(12) {
            self.submit_items(1);
        }
    }

    /// Goes on until every item is answered. False: everybody sleeps, and items are left.
    pub fn answer_all(&mut self, check: impl Fn(&World)) -> bool {
        self.workers.iter_mut().flatten().for_each(|fake| fake.paused = false);
        for _ in 0..100_000 {
            if self.shared.items_pending() == 0 {
                return true;
            }
            let mut moved = false;
            for worker in 0..self.workers.len() {
                moved |= self.advance(worker);
                check(self);
            }
            moved |= self.collect();
            check(self);
            if !moved {
                return false;
            }
        }
        panic!("there is no end");
    }

    /// The workers end: nothing is left to be done.
    pub fn finish(&mut self) {
        self.shared.end(true);
        assert!(self.shared.queue().shutting_down);
        for worker in 0..self.workers.len() {
            while self.workers[worker].is_some() {
                assert!(self.advance(worker) || self.collect(), "a worker does not end");
            }
        }
        assert!(self.shared.result().is_ok());
    }
}
