//! The pool in every order of events, tried by loom:
//!
//! ```console
//! $ RUSTFLAGS="--cfg model" cargo test --release -p common --lib model
//! ```
//!
//! What runs here is the pool itself: its handle, its queue, its threads, its results, and the worker's side. Only the ends are
//! others: a worker is a thread, a pipe is a buffer, and locks, numbers and boards are loom's (`crate::sync`), which runs a
//! scenario again and again, each time with other threads taking turns at other places, and finds whoever waits for ever.
//!
//! Most scenarios interrupt a thread that could go on at most two or three times in a run: their numbers of orders would be
//! astronomical otherwise. `INTERRUPTIONS=4` tries more.

use super::queue::{Outlet, Queue};
use super::results::AsyncResult;
use super::service::{Shared, serve};
use super::ticket;
use super::wire::{Kind, ResultHeader};
use super::worker::Worker;
use super::{Core, Pool};
use crate::child::Family;
use crate::error::Error;
use crate::sync::checked::{Death, STEPS, step};
use crate::sync::{AtomicU64, Condvar, Mutex};
use crate::sys::{Board, Exit, OwnedHandle, Proc, SharedMemory};
use loom::thread;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// What goes from one thread to another.
struct Channel<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    things: VecDeque<T>,
    /// One of the ends is gone.
    closed: bool,
    /// Somebody is to be woken. (To wake nobody would be one more place where threads can take turns.)
    watched: bool,
}

impl<T> Channel<T> {
    fn new() -> Arc<Channel<T>> {
        let state = State {
            things: VecDeque::new(),
            closed: false,
            watched: false,
        };
        Arc::new(Channel {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        if std::mem::take(&mut state.watched) {
            self.changed.notify_one();
        }
    }

    /// False: nobody will take it.
    fn put(&self, things: impl IntoIterator<Item = T>) -> bool {
        let mut taken = false;
        self.change(|state| {
            taken = !state.closed;
            state.things.extend(things.into_iter().filter(|_| taken));
        });
        taken
    }

    /// Waits for something, and takes so many at most. Nothing: the end.
    fn take(&self, most: usize) -> Vec<T> {
        let mut state = self.state.lock().unwrap();
        while state.things.is_empty() && !state.closed {
            state.watched = true;
            state = self.changed.wait(state).unwrap();
        }
        let most = most.min(state.things.len());
        state.things.drain(..most).collect()
    }

    fn close(&self) {
        self.change(|state| state.closed = true);
    }
}

/// The two ends of a pipe. It takes what is written at once, however much that is.
struct PipeWriter(Arc<Channel<u8>>);
struct PipeReader(Arc<Channel<u8>>);

fn pipe() -> (PipeWriter, PipeReader) {
    let channel = Channel::new();
    (PipeWriter(channel.clone()), PipeReader(channel))
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        step();
        let taken = self.0.put(bytes.iter().copied());
        taken.then_some(bytes.len()).ok_or(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outlet for PipeWriter {
    fn capacity(&self) -> usize {
        0
    }
}

impl Read for PipeReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        step();
        let taken = self.0.take(bytes.len());
        bytes[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// What is remembered of a run beside the pool. (All threads of a model take turns on one thread of the system's.)
#[derive(Default)]
struct Record {
    /// How often each item was begun.
    begun: [usize; 8],
    /// A worker died when it had come so far.
    died: bool,
    /// The items that dead workers had begun, and whose results had neither left nor been published.
    lost: Vec<usize>,
}

thread_local! {
    static RECORD: RefCell<Record> = RefCell::default();
}

loom::thread_local! {
    /// The items that a worker has begun in this life.
    static BEGUN: RefCell<Vec<usize>> = RefCell::default();
}

fn record<T>(look: impl FnOnce(&mut Record) -> T) -> T {
    RECORD.with_borrow_mut(look)
}

/// What the workers do.
fn work(item: usize) -> usize {
    record(|record| record.begun[item] += 1);
    BEGUN.with(|begun| begun.borrow_mut().push(item));
    item + 100
}

/// A task whose arguments are too large to be sent ahead.
fn work_much((item, _): (usize, Vec<u8>)) -> usize {
    work(item)
}

/// A worker's life, and what is to be known of it when it is over.
struct Life {
    /// It dies when it has made so many steps more.
    steps: usize,
    /// It has said that it can begin.
    ready: bool,
    begun: Vec<usize>,
    /// So many of these have answers that have left; the last one's number, plus 1.
    answered: usize,
    end: u64,
}

impl Life {
    fn new(steps: usize) -> Life {
        Life {
            steps,
            ready: false,
            begun: Vec::new(),
            answered: 0,
            end: 0,
        }
    }

    /// Works until the pool says that it is over, or `tasks` end. `None`: until its death.
    fn go_on(&mut self, board: &Board, tasks: &mut impl Read, results: &mut impl Write) -> Option<io::Result<()>> {
        let ready = std::mem::replace(&mut self.ready, true);
        STEPS.with(|steps| steps.set(self.steps));
        let mut results = Results(self, results);
        let mut worker = Worker::new(board, &mut results);
        let work = || if ready { worker.work(tasks) } else { worker.live(tasks) };
        let outcome = catch_unwind(AssertUnwindSafe(work));
        self.steps = STEPS.with(|steps| steps.replace(usize::MAX));
        self.begun.extend(BEGUN.with(RefCell::take));
        match outcome {
            Ok(outcome) => return Some(outcome),
            Err(payload) if payload.is::<Death>() => {}
            Err(payload) => resume_unwind(payload),
        }
        let published = board.published.load(Ordering::Acquire) >> 32;
        if published > 0 && board.first.load(Ordering::Acquire) >= self.end {
            self.answered += published as usize;
        }
        assert!(
            self.begun.len() <= self.answered + 1,
            "a death costs more than one item"
        );
        let lost = self.begun[self.answered..].iter().filter(|&&item| item != WARM_UP);
        record(|record| {
            record.died = true;
            record.lost.extend(lost);
        });
        None
    }
}

/// A worker's results on their way.
struct Results<'a, W>(&'a mut Life, W);

impl<W: Write> Write for Results<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.1.write(bytes)?;
        if let Some(header) = bytes.first_chunk().and_then(ResultHeader::from_bytes) {
            if matches!(header.kind, Kind::Values | Kind::Fault) {
                self.0.answered += header.count as usize;
                self.0.end = header.first + u64::from(header.count);
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A worker that lives in its pool's thread: whenever that listens to it, it does what it has been sent. So two of them,
/// which share items, are but two threads.
struct Guest {
    memory: SharedMemory,
    worker: usize,
    life: Life,
    tasks: PipeReader,
    over: bool,
}

impl Read for Guest {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut results = Vec::new();
        while results.is_empty() && !self.over {
            let mut tasks = Vec::new();
            if self.life.ready {
                tasks = self.tasks.0.take(usize::MAX);
                self.over = tasks.is_empty();
            }
            let board = self.memory.board(self.worker);
            let outcome = self.life.go_on(board, &mut &tasks[..], &mut results);
            self.over |= matches!(outcome, None | Some(Ok(())));
        }
        bytes[..results.len()].copy_from_slice(&results);
        Ok(results.len())
    }
}

/// What a pool's threads are here, to be joined when the pool's handle has been.
struct Threads(Vec<thread::JoinHandle<()>>);

impl Threads {
    fn spawn(&mut self, life: impl FnOnce() + Send + 'static) {
        let thread = thread::Builder::new().stack_size(1 << 15); // words
        self.0.push(thread.spawn(life).unwrap());
    }

    fn join(self) {
        for thread in self.0 {
            thread.join().unwrap();
        }
    }
}

/// Immortal.
fn for_ever(_: usize) -> usize {
    usize::MAX
}

/// The first one dies after so many steps.
fn once(steps: usize) -> impl Fn(usize) -> usize + Clone + Send + 'static {
    move |life| if life == 0 { steps } else { usize::MAX }
}

/// A pool of workers that are threads. The life number `n` of the first one ends after `steps(n)` steps.
fn pool(workers: usize, max_tasks: u64, steps: impl Fn(usize) -> usize + Clone + Send + 'static) -> (Pool, Threads) {
    let (shared, memory) = shared(workers, max_tasks);
    let mut threads = Threads(Vec::new());
    for worker in 0..workers {
        let births = Channel::new();
        let (own, coming) = (shared.clone(), births.clone());
        threads.spawn(move || {
            let start = |_: usize| {
                let ((to_child, tasks), (results, from_child)) = (pipe(), pipe());
                coming.put([(tasks, results)]);
                (to_child, from_child)
            };
            serve_with(&own, worker, start);
            coming.close();
        });
        let memory = open(&memory, workers);
        let steps = steps.clone();
        threads.spawn(move || {
            for life in 0.. {
                let Some((mut tasks, mut results)) = births.take(1).pop() else {
                    return;
                };
                let steps = if worker == 0 { steps(life) } else { usize::MAX };
                Life::new(steps).go_on(memory.board(worker), &mut tasks, &mut results);
            }
        });
    }
    (handle(shared, workers), threads)
}

/// The same with guests, who are at work already. The orders in which they get so far are not tried.
fn guests(workers: usize, max_tasks: u64, steps: impl Fn(usize) -> usize + Clone + Send + 'static) -> (Pool, Threads) {
    loom::stop_exploring();
    let (shared, memory) = shared(workers, max_tasks);
    let mut threads = Threads(Vec::new());
    for worker in 0..workers {
        let (shared, memory, steps) = (shared.clone(), memory.try_clone().unwrap(), steps.clone());
        threads.spawn(move || {
            let start = |life: usize| {
                let (to_child, tasks) = pipe();
                let guest = Guest {
                    memory: open(&memory, workers),
                    worker,
                    life: Life::new(if worker == 0 { steps(life) } else { usize::MAX }),
                    tasks,
                    over: false,
                };
                (to_child, guest)
            };
            serve_with(&shared, worker, start);
        });
    }
    let pool = handle(shared, workers);
    warm_up(&pool);
    (pool, threads)
}

fn warm_up(pool: &Pool) {
    let _ = pool.map_with_chunksize(work, [WARM_UP; 2], 1);
    if !record(|record| record.died) {
        loom::explore(); // else this is the scenario of another test
    }
}

fn shared(workers: usize, max_tasks: u64) -> (Arc<Shared>, OwnedHandle) {
    let (memory, handle) = SharedMemory::new(workers).unwrap();
    let queue = Queue::new(workers, workers, memory, max_tasks);
    let copy = handle.try_clone().unwrap();
    (Arc::new(Shared::new(queue, handle, workers, None)), copy)
}

fn open(memory: &OwnedHandle, workers: usize) -> SharedMemory {
    SharedMemory::open(memory.try_clone().unwrap(), workers).unwrap()
}

/// The life of a pool's thread, with another start.
fn serve_with<From: Read>(shared: &Shared, worker: usize, start: impl Fn(usize) -> (PipeWriter, From)) {
    let life = Cell::new(0);
    serve(shared, worker, mpsc::channel().0, |shared, worker, _| {
        let process = Arc::new(Proc::past(Exit::Signal(9)));
        if !shared.lock().started(worker, process.clone()) {
            return Ok(None);
        }
        let (to_child, from_child) = start(life.replace(life.get() + 1));
        Ok(Some((process, to_child, from_child)))
    });
}

fn handle(shared: Arc<Shared>, workers: usize) -> Pool {
    let core = Core {
        shared,
        threads: Vec::new(),
        processes: workers,
        applied: AtomicUsize::new(0),
        _family: Family::get().unwrap(),
    };
    Pool { core: Some(core) }
}

/// An item that nobody asks about.
const WARM_UP: usize = 7;

/// Tries all orders in which a thread that could go on is interrupted at most `interruptions` times; says how many.
fn check(interruptions: usize, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    let _family = Family::get().unwrap();
    let orders = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    let more = std::env::var("INTERRUPTIONS").ok().and_then(|more| more.parse().ok());
    builder.preemption_bound = Some(more.unwrap_or(interruptions));
    builder.max_branches = 100_000;
    let begun = Instant::now();
    builder.check({
        let orders = orders.clone();
        move || {
            orders.fetch_add(1, Ordering::Relaxed);
            RECORD.take();
            scenario();
        }
    });
    let orders = orders.load(Ordering::Relaxed);
    println!(
        "{}: {orders} orders in {:.1?}",
        std::thread::current().name().unwrap_or_default(),
        begun.elapsed()
    );
    orders
}

/// [`check`] with a worker that dies after 0, 1, 2 ... steps, until its work is done before.
fn check_deaths(interruptions: usize, scenario: impl Fn(usize) + Clone + Send + Sync + 'static) {
    for steps in 0.. {
        let died = Arc::new(AtomicBool::new(false));
        check(interruptions, {
            let (scenario, died) = (scenario.clone(), died.clone());
            move || {
                scenario(steps);
                died.fetch_or(record(|record| record.died), Ordering::Relaxed);
            }
        });
        if !died.load(Ordering::Relaxed) {
            assert!(steps > 5, "it did not even begin");
            return;
        }
    }
}

/// An item was done once and has its result; or it was begun once, and lost with its worker.
fn assert_done_or_lost(item: usize, result: Result<usize, Error>) {
    let (begun, lost) = record(|record| (record.begun[item], record.lost.contains(&item)));
    assert_eq!(begun, 1, "item {item}");
    match result {
        Ok(value) => assert!(value == item + 100 && !lost, "item {item}"),
        Err(Error::Signaled { .. }) => assert!(lost, "item {item}"),
        Err(other) => panic!("item {item}: {other}"),
    }
}

/// The same for the results of a `map`.
fn assert_all_done_or_lost(items: usize, results: Result<Vec<usize>, Error>) {
    let (begun, lost) = record(|record| (record.begun, record.lost.first().copied()));
    assert!(begun[..items].iter().all(|&begun| begun == 1), "{begun:?}");
    match results {
        Ok(values) => assert!(values.into_iter().eq(100..100 + items) && lost.is_none()),
        Err(Error::Item { index, .. }) => assert_eq!(Some(index), lost),
        Err(other) => panic!("{other}"),
    }
}

/// Two tasks for one worker.
fn ask_for_two(steps: impl Fn(usize) -> usize + Clone + Send + 'static) {
    let (pool, threads) = pool(1, u64::MAX, steps);
    let results = [0, 1].map(|item| pool.apply_async(work, item));
    for (item, result) in results.iter().enumerate() {
        assert_done_or_lost(item, result.get());
    }
    pool.close().join().unwrap();
    threads.join();
}

/// One chunk for two workers.
fn share_a_chunk(steps: impl Fn(usize) -> usize + Clone + Send + 'static) {
    let (pool, threads) = guests(2, u64::MAX, steps);
    assert_all_done_or_lost(3, pool.map_with_chunksize(work, 0..3, 3));
    pool.close().join().unwrap();
    threads.join();
}

#[test]
fn what_is_asked_for_comes() {
    check(3, || ask_for_two(for_ever));
}

#[test]
fn two_threads_ask() {
    check(2, || {
        let (pool, mut threads) = pool(1, u64::MAX, for_ever);
        let pool = Arc::new(pool);
        let (other, done) = (pool.clone(), Channel::new());
        let tell = done.clone();
        threads.spawn(move || {
            assert_done_or_lost(1, other.apply(work, 1));
            drop(other);
            tell.put([()]);
        });
        assert_done_or_lost(0, pool.apply(work, 0));
        done.take(1);
        Arc::into_inner(pool).unwrap().close().join().unwrap();
        threads.join();
    });
}

#[test]
fn two_workers_share_a_chunk() {
    check(3, || share_a_chunk(for_ever));
}

#[test]
fn large_tasks_are_written_by_their_workers_threads() {
    check(2, || {
        let (pool, threads) = guests(2, u64::MAX, for_ever);
        // One worker has two of them; the other one would take one back.
        let items = (0..3).map(|item| (item, vec![0; 5000]));
        assert_all_done_or_lost(3, pool.submit_many(work_much, items, Some(3)).get());
        pool.close().join().unwrap();
        threads.join();
    });
}

#[test]
fn a_stream_ends() {
    check(3, || {
        let (pool, threads) = pool(1, u64::MAX, for_ever);
        for (item, result) in pool.imap(work, 0..3).enumerate() {
            assert_done_or_lost(item, result);
        }
        pool.close().join().unwrap();
        threads.join();
    });
}

#[test]
fn a_death_costs_the_task_that_was_being_done() {
    check_deaths(2, |steps| ask_for_two(once(steps)));
}

#[test]
fn a_death_costs_one_item_of_a_chunk() {
    check_deaths(2, |steps| {
        let (pool, threads) = pool(1, u64::MAX, once(steps));
        let results = pool.submit_many(work, 0..3, Some(3));
        pool.close().join().unwrap();
        assert_all_done_or_lost(3, results.get());
        threads.join();
    });
}

#[test]
fn a_death_among_two_costs_one_item() {
    check_deaths(2, |steps| share_a_chunk(once(steps)));
}

#[test]
fn a_closed_pool_ends() {
    for tasks in 0..3 {
        check(3, move || {
            let (pool, threads) = pool(1, u64::MAX, for_ever);
            let results: Vec<_> = (0..tasks).map(|item| pool.apply_async(work, item)).collect();
            pool.close().join().unwrap();
            for (item, result) in results.iter().enumerate() {
                assert!(result.ready());
                assert_done_or_lost(item, result.get());
            }
            threads.join();
        });
    }
}

#[test]
fn a_closed_pool_of_two_ends() {
    check(3, || {
        let (pool, threads) = guests(2, u64::MAX, for_ever);
        let result = pool.apply_async(work, 0);
        pool.close().join().unwrap();
        assert_done_or_lost(0, result.get());
        threads.join();
    });
}

#[test]
fn workers_are_replaced_after_their_last_task() {
    check(2, || {
        let (pool, threads) = pool(1, 1, for_ever);
        let results = pool.map_async(work, 0..2);
        pool.close().join().unwrap();
        assert_all_done_or_lost(2, results.get());
        threads.join();
    });
}

#[test]
fn a_dropped_pool_leaves_nobody_waiting() {
    check_deaths(2, |steps| {
        loom::stop_exploring();
        let (pool, mut threads) = pool(1, u64::MAX, once(steps));
        warm_up(&pool);
        let results = [0, 1].map(|item| (item, pool.apply_async(work, item)));
        let assert_known = |(item, result): (usize, AsyncResult<usize>)| match result.get() {
            Err(Error::Terminated) => assert!(record(|record| record.begun[item]) <= 1),
            known => assert_done_or_lost(item, known),
        };
        let [first, second] = results;
        threads.spawn(move || assert_known(first));
        drop(pool);
        threads.join();
        assert!(second.1.ready());
        assert_known(second);
    });
}

#[test]
fn workers_that_never_get_ready_are_the_end() {
    check(2, || {
        let (pool, threads) = pool(1, u64::MAX, |_| 0);
        let results = [0, 1].map(|item| pool.apply_async(work, item));
        for result in results {
            assert!(matches!(result.get(), Err(Error::Initializer(_))));
        }
        assert!(matches!(pool.close().join(), Err(Error::Initializer(_))));
        threads.join();
    });
}

/// The items that a worker may start, of those that lie in its pipe.
fn claim_each(next: &AtomicU64, items: &[u64]) -> Vec<u64> {
    items
        .iter()
        .copied()
        .filter(|&item| ticket::claim(next, item))
        .collect()
}

#[test]
fn each_item_is_started_or_taken_back() {
    loom::model(|| {
        let next = Arc::new(AtomicU64::new(0));
        let worker = thread::spawn({
            let next = next.clone();
            move || claim_each(&next, &[0, 1, 2])
        });
        let first = ticket::recall(&next, 3);
        let started = worker.join().unwrap();
        assert_eq!(
            started,
            (0..first).collect::<Vec<u64>>(),
            "the others are the pool's again"
        );
    });
}

#[test]
fn two_recalls_take_nothing_twice() {
    loom::model(|| {
        let next = Arc::new(AtomicU64::new(0));
        let worker = thread::spawn({
            let next = next.clone();
            // Items 0 and 1 lie in the pipe; 2 and 3 are sent after a recall of the first two.
            move || claim_each(&next, &[0, 1, 2, 3])
        });
        let first = ticket::recall(&next, 2);
        let second = ticket::recall(&next, 4);
        let started = worker.join().unwrap();
        let mut all: Vec<u64> = (first..2).chain(second..4).chain(started).collect();
        all.sort();
        assert_eq!(all, [0, 1, 2, 3], "each item once");
    });
}

#[test]
fn a_dead_workers_number_tells_what_it_started() {
    for death in 0..=3 {
        loom::model(move || {
            let next = Arc::new(AtomicU64::new(0));
            let worker = thread::spawn({
                let next = next.clone();
                // It dies when it has come so far.
                move || claim_each(&next, &[0, 1, 2][..death])
            });
            let first = ticket::recall(&next, 3);
            let started = worker.join().unwrap();
            // What the pool sees afterwards: everything that was started and nothing else lies below.
            assert_eq!(started.len() as u64, first.min(death as u64));
            assert_eq!(next.load(Ordering::Acquire), 3);
        });
    }
}
