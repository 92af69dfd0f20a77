//! The pool in every order of events, tried by loom:
//!
//! ```console
//! $ RUSTFLAGS="--cfg model" cargo test --release -p common --lib model
//! ```
//!
//! What runs here is the pool itself: its handle, its queue, its collector, its supervisors, its rings, and the workers. Only what
//! they stand on is another: a worker is a thread, a bell is a lock, and locks and numbers are loom's (`crate::sync`), which runs
//! a scenario again and again, each time with other threads taking turns at other places and other values that a load may
//! see, and finds a thread that waits without end.
//!
//! A thread that could go on is interrupted once or twice in a run: the orders would be too many otherwise.
//! `LOOM_MAX_PREEMPTIONS=3` tries more, `-- --include-ignored` what takes minutes.

use super::super::collector::Shared;
use super::super::depth::FEW;
use super::super::handles::{ResultHandler, Results};
use super::super::ring::Kind;
use super::super::supervisor::supervise;
use super::super::system::Link;
use super::super::worker::Worker;
use super::super::{AsyncResult, Pool, claim};
use crate::error::Error;
use crate::os::{CAPACITY, Exit, Owner, SharedPage};
use loom::thread;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use sync::{AtomicU64, Death, STEPS};
use system::{Process, Ringer, Sleeper, bell};

pub(crate) mod sync;
pub(crate) mod system;

/// What is remembered of an execution beside the pool. (loom runs all threads of a model on one thread of the system's.)
#[derive(Default)]
struct Record {
    /// How often each item was begun.
    begun: [usize; 4],
    /// A worker has died, and the item that it had begun last.
    died: bool,
    last: Option<usize>,
    /// How many items were lost.
    lost: usize,
    /// Steps are not counted yet, since orders are not tried yet.
    warming_up: bool,
    /// A worker was killed.
    killed: bool,
}

thread_local! {
    static RECORD: RefCell<Record> = RefCell::default();
}

loom::thread_local! {
    /// The item that this thread's worker has begun last.
    static LAST: Cell<Option<usize>> = Cell::new(None);
}

fn record<T>(look: impl FnOnce(&mut Record) -> T) -> T {
    RECORD.with_borrow_mut(look)
}

/// What the workers do.
fn work(item: usize) -> usize {
    record(|record| record.begun[item] += 1);
    LAST.with(|last| last.set(Some(item)));
    item + 100
}

/// A task whose argument and result are larger than a ring.
fn work_much((item, much): (usize, Vec<u8>)) -> (usize, Vec<u8>) {
    (work(item), much)
}

/// A worker's life.
struct Life {
    page: SharedPage,
    sleeper: Sleeper,
    bell: Ringer,
    pool_bell: Ringer,
    /// After how many steps it dies.
    steps: usize,
    begun: AtomicBool,
}

impl Life {
    fn run(&self) -> Exit {
        self.begun.store(true, Relaxed);
        STEPS.with(|steps| steps.set(Some(self.steps)));
        LAST.with(Cell::take);
        let mut worker = Worker::new(&self.page, &self.sleeper, &self.pool_bell);
        let life = || worker.send(Kind::Started, 0, &[]).and_then(|()| worker.work());
        let outcome = catch_unwind(AssertUnwindSafe(life));
        STEPS.with(Cell::take);
        match outcome {
            Ok(outcome) => {
                outcome.expect("a worker does not understand its pool");
                Exit::Code(0)
            }
            Err(payload) if payload.is::<Death>() => {
                record(|record| (record.died, record.last) = (true, LAST.with(Cell::get)));
                Exit::Signal(9)
            }
            Err(payload) => resume_unwind(payload),
        }
    }

    fn kill(&self) {
        if self.begun.load(Relaxed) {
            record(|record| record.killed = true);
            let _ = self.bell.ring();
        }
    }
}

/// A pool, and the threads that are its own.
struct Model {
    pool: Pool,
    shared: Arc<Shared>,
    supervisors: Vec<thread::JoinHandle<()>>,
    collector: thread::JoinHandle<()>,
}

fn spawn(life: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::Builder::new().stack_size(1 << 15).spawn(life).unwrap() // in words
}

impl Model {
    /// The first worker's first life ends after `steps` steps.
    fn new(workers: usize, max_tasks: u64, steps: usize) -> Model {
        let shared = Arc::new(Shared::new(workers, max_tasks, FEW, bell().unwrap()));
        let supervisor = |worker: usize| {
            let shared = shared.clone();
            spawn(move || {
                let first = start(&shared, if worker == 0 { steps } else { usize::MAX });
                supervise(&shared, worker, Arc::new(first), |shared| Ok(start(shared, usize::MAX)));
            })
        };
        let supervisors = (0..workers).map(supervisor).collect();
        let own = shared.clone();
        let pool = Pool {
            shared: shared.clone(),
            threads: Vec::new(),
            processes: workers,
            closed: false,
            applied: Mutex::new((0, ResultHandler::new(Results::tasks()))),
            owner: Owner::me(),
        };
        Model {
            pool,
            shared,
            supervisors,
            collector: spawn(move || own.collect()),
        }
    }

    /// One whose workers are ready. The orders in which they get so far are not tried.
    fn ready(workers: usize, max_tasks: u64, steps: usize) -> Model {
        loom::stop_exploring();
        record(|record| record.warming_up = true);
        let model = Model::new(workers, max_tasks, steps);
        while !(0..workers).all(|worker| model.shared.queue().slot(worker).ready) {
            thread::yield_now();
        }
        loom::explore();
        record(|record| record.warming_up = false);
        model
    }

    /// What `close` and `join` do, or dropping it does: it is ended, and its threads are joined. (The pool knows of others.)
    fn join(self, closed: bool) -> Arc<Shared> {
        self.shared.end(closed);
        self.supervisors
            .into_iter()
            .for_each(|supervisor| supervisor.join().unwrap());
        self.shared.bell.ring().unwrap();
        self.collector.join().unwrap();
        assert_eq!(self.shared.items_pending(), 0);
        self.shared
    }

    fn finish(self) {
        self.join(true).result().unwrap();
        assert!(
            !record(|record| record.killed),
            "a worker was killed that did nothing wrong"
        );
    }

    /// In one order only: another scenario tries them.
    fn end(self) {
        loom::stop_exploring();
        self.finish();
    }
}

fn start(shared: &Shared, steps: usize) -> Link {
    let (page, memory) = SharedPage::create().unwrap();
    // All of its numbers are used before another thread knows of them: loom takes the first use of one for its creation.
    page.next.load(Relaxed);
    page.took.load(Relaxed);
    page.kept.load(Relaxed);
    for ring in [&page.tasks, &page.results] {
        for number in [&ring.head, &ring.tail] {
            number.load(Relaxed);
        }
        for flag in [&ring.reader_asleep, &ring.writer_asleep] {
            flag.load(Relaxed);
        }
    }
    let (bell, sleeper) = bell().unwrap();
    let life = Life {
        page: SharedPage::open(&memory).unwrap(),
        sleeper: sleeper.clone(),
        bell: bell.clone(),
        pool_bell: shared.bell.clone(),
        steps,
        begun: AtomicBool::new(false),
    };
    Link {
        name: "PoolWorker".to_owned(),
        page,
        bell,
        _sleeper: sleeper,
        process: Process(life),
    }
}

/// Tries all orders in which a thread that could go on is interrupted at most `preemptions` times.
fn explore(preemptions: usize, scenario: impl Fn() + Send + Sync + 'static) {
    let (begun, executions) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.max(Some(preemptions));
    builder.max_branches = 100_000;
    let count = executions.clone();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        sync::forget_numbers();
        RECORD.take();
        scenario();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!(
        "{name}: {} executions in {:.1?}",
        executions.load(Relaxed),
        begun.elapsed()
    );
}

/// [`explore`] with a worker that dies after 0, 1, 2 ... steps, until its work is done before.
fn explore_deaths(preemptions: usize, scenario: impl Fn(usize) + Copy + Send + Sync + 'static) {
    let died = Arc::new(AtomicBool::new(true));
    for steps in 0.. {
        if !died.swap(false, Relaxed) {
            assert!(steps > 5, "it did not even begin");
            return;
        }
        let died = died.clone();
        explore(preemptions, move || {
            scenario(steps);
            died.fetch_or(record(|record| record.died), Relaxed);
        });
    }
}

/// An item was done once and has its result; or it is the one that the worker's death cost.
fn assert_done_or_lost(item: usize, result: Result<usize, Error>) {
    record(|record| match result {
        Ok(value) => assert_eq!((value, record.begun[item]), (item + 100, 1)),
        Err(Error::Signaled { .. }) => {
            record.lost += 1;
            assert!(record.died && record.lost == 1, "a death costs more than one item");
            let begun = record.begun[item];
            assert!(
                begun == 0 || begun == 1 && record.last == Some(item),
                "item {item} was answered"
            );
        }
        Err(other) => panic!("item {item}: {other}"),
    });
}

/// The same for the results of a `map`.
fn assert_all_done_or_lost(items: usize, results: Result<Vec<usize>, Error>) {
    let lost = match results {
        Ok(values) => {
            assert!(values.into_iter().eq(100..100 + items));
            None
        }
        Err(Error::Item { index, source }) => {
            assert_done_or_lost(index, Err(Arc::into_inner(source).unwrap()));
            Some(index)
        }
        Err(other) => panic!("{other}"),
    };
    let begun = record(|record| record.begun);
    assert!(
        (0..items).all(|item| Some(item) == lost || begun[item] == 1),
        "{begun:?}"
    );
}

const IMMORTAL: usize = usize::MAX;

/// Two tasks for one worker.
fn two_tasks(model: Model) {
    let results = [0, 1].map(|item| model.pool.apply_async(work, item));
    for (item, result) in results.iter().enumerate() {
        assert_done_or_lost(item, result.get());
    }
    model.end();
}

/// A task whose argument and result do not fit into a ring, and another one.
fn a_large_task(model: Model) {
    let much = vec![7; 8 * CAPACITY as usize + 1];
    let large = model.pool.apply_async(work_much, (0, much.clone()));
    let small = model.pool.apply_async(work, 1);
    let value = large.get().map(|(value, same)| {
        assert!(same == much);
        value
    });
    assert_done_or_lost(0, value);
    assert_done_or_lost(1, small.get());
    model.end();
}

/// One chunk, as many workers as there are.
fn one_chunk(model: Model) {
    assert_all_done_or_lost(3, model.pool.map_with_chunksize(work, 0..3, 3));
    model.end();
}

#[test]
fn a_pool_starts_works_and_ends() {
    explore(2, || {
        let model = Model::new(1, u64::MAX, IMMORTAL);
        let result = model.pool.apply_async(work, 0);
        model.finish();
        assert!(result.ready());
        assert_done_or_lost(0, result.get());
    });
}

#[test]
fn what_is_submitted_is_done() {
    explore(2, || two_tasks(Model::ready(1, u64::MAX, IMMORTAL)));
}

#[test]
fn two_threads_submit() {
    explore(2, || {
        let model = Model::ready(1, u64::MAX, IMMORTAL);
        let pool = Arc::new(model.pool);
        let other = pool.clone();
        let thread = spawn(move || assert_done_or_lost(1, other.apply(work, 1)));
        assert_done_or_lost(0, pool.apply(work, 0));
        thread.join().unwrap();
        let pool = Arc::into_inner(pool).unwrap();
        Model { pool, ..model }.end();
    });
}

#[test]
fn two_workers_share_a_chunk() {
    explore(1, || one_chunk(Model::ready(2, u64::MAX, IMMORTAL)));
}

#[test]
fn rings_that_are_full_get_empty() {
    explore(2, || a_large_task(Model::ready(1, u64::MAX, IMMORTAL)));
}

#[test]
fn a_stream_ends() {
    explore(2, || {
        let model = Model::ready(1, u64::MAX, IMMORTAL);
        for (item, result) in model.pool.imap(work, 0..3).enumerate() {
            assert_done_or_lost(item, result);
        }
        model.end();
    });
}

#[test]
fn workers_are_replaced_after_their_last_task() {
    explore(2, || {
        let model = Model::ready(1, 1, IMMORTAL);
        assert_all_done_or_lost(2, model.pool.map(work, 0..2));
        model.end();
    });
}

#[test]
fn a_death_while_it_starts_costs_nothing_or_one_task() {
    explore_deaths(1, |steps| two_tasks(Model::new(1, u64::MAX, steps)));
}

#[test]
fn a_death_costs_the_task_that_was_being_done() {
    explore_deaths(1, |steps| two_tasks(Model::ready(1, u64::MAX, steps)));
}

#[test]
fn a_death_costs_one_item_of_a_chunk() {
    explore_deaths(2, |steps| one_chunk(Model::ready(1, u64::MAX, steps)));
}

#[test]
#[ignore = "takes minutes"]
fn a_death_among_two_costs_one_item() {
    explore_deaths(1, |steps| one_chunk(Model::ready(2, u64::MAX, steps)));
}

#[test]
fn a_death_amid_a_large_task_costs_that_one() {
    explore_deaths(1, |steps| a_large_task(Model::ready(1, u64::MAX, steps)));
}

#[test]
fn a_pool_that_is_terminated_leaves_nobody_waiting() {
    explore(2, || {
        let model = Model::ready(1, u64::MAX, IMMORTAL);
        let [first, second] = [0, 1].map(|item| model.pool.apply_async(work, item));
        let assert_known = |item, result: AsyncResult<usize>| match result.get() {
            Err(Error::Terminated) => assert!(record(|record| record.begun[item]) <= 1),
            known => assert_done_or_lost(item, known),
        };
        let thread = spawn(move || assert_known(0, first));
        model.join(false);
        assert!(second.ready());
        assert_known(1, second);
        thread.join().unwrap();
    });
}

/// The items that a worker may start, of those that it was sent.
fn claim_each(next: &AtomicU64, items: Range<u64>) -> Vec<u64> {
    items.filter(|&item| claim::claim(next, item)).collect()
}

#[test]
fn each_item_is_claimed_or_recalled() {
    explore(u8::MAX.into(), || {
        let next = Arc::new(AtomicU64::new(0));
        let own = next.clone();
        // Items 2 and 3 are sent after a recall of the first two.
        let worker = thread::spawn(move || claim_each(&own, 0..4));
        let (first, second) = (claim::recall(&next, 2), claim::recall(&next, 4));
        let claimed = worker.join().unwrap();
        let mut all: Vec<u64> = (first..2).chain(second..4).chain(claimed).collect();
        all.sort();
        assert_eq!(all, [0, 1, 2, 3]);
    });
}
