//! `Pool`, after Python's `multiprocessing.Pool`.
//!
//! From top to bottom: this file is what a program sees; [`results`] what it holds while it waits; [`queue`] decides which
//! item goes where; [`service`] is the thread that serves one worker; [`wire`] is what they say to each other, and
//! [`ticket`] what they need not say; [`worker`] is the other side, in a process of its own.

use crate::child::Family;
use crate::error::Error;
use crate::function::{Message, code_ref, encode_into};
use crate::sys::{CodeRef, SharedMemory};
use crate::{channels, child, timeline};
use queue::{Job, Queue};
use results::{Arrived, Encoded, Many, One, Sink, Stream, decode_arrived};
use serde::Serialize;
use service::{Shared, serve, start, watch};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

#[cfg(test)]
mod garbage;
#[cfg(all(test, model, unix))]
mod model;
mod queue;
mod results;
mod service;
#[cfg(test)]
mod simulation;
mod ticket;
mod wire;
pub(crate) mod worker;

pub use results::{AsyncResult, MapResult};

/// So many tasks of an `imap` are on their way at most, in about so many bytes: not more, or an endless input would fill the
/// memory.
const AHEAD: usize = 1024;
const AHEAD_BYTES: usize = 1 << 20;

/// Worker processes that wait for tasks.
///
/// ```
/// use common::Pool;
///
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// fn main() -> Result<(), common::Error> {
///     common::init();
///     let pool = Pool::new(4)?;
///     assert_eq!(pool.apply(square, 5)?, 25); // one task, waited for
///     let result = pool.apply_async(square, 6); // one task, not waited for
///     assert_eq!(pool.map(square, 0..4)?, [0, 1, 4, 9]); // many
///     assert_eq!(result.get()?, 36);
///     pool.close().join() // no more tasks; wait for the workers' end
/// }
/// ```
///
/// A task that panics, or that kills its worker, is an error of that task. The worker is replaced; every other task gets its
/// result.
///
/// What Python reports when the program runs, the compiler reports here. An open pool cannot be joined:
///
/// ```compile_fail,E0599
/// let pool = common::Pool::new(4).unwrap();
/// pool.join();
/// ```
///
/// A closed one takes no tasks:
///
/// ```compile_fail,E0599
/// # fn square(x: u64) -> u64 { x * x }
/// let pool = common::Pool::new(4).unwrap().close();
/// pool.apply_async(square, 5);
/// ```
///
/// Nor does one that was closed under another name:
///
/// ```compile_fail,E0382
/// # fn square(x: u64) -> u64 { x * x }
/// let pool = common::Pool::new(4).unwrap();
/// let closed = pool.close();
/// pool.apply_async(square, 5);
/// ```
///
/// A task must be able to travel: a function, not a closure that captures:
///
/// ```compile_fail,E0308
/// # let pool = common::Pool::new(4).unwrap();
/// let names = vec!["Bob".to_string()];
/// pool.apply(move |i: usize| names[i].clone(), 0);
/// ```
///
/// A pool that is dropped without `close` is terminated, like Python's at the end of a `with` block.
///
/// Source: [`multiprocessing.pool.Pool`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.pool.Pool).
#[must_use = "dropping the pool terminates it"]
pub struct Pool {
    /// `None` only between `close` and the end of the handle.
    core: Option<Core>,
}

/// What an open and a closed pool have in common.
struct Core {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    processes: usize,
    /// So many calls of `apply_async` there were.
    applied: AtomicUsize,
    _family: Arc<Family>,
}

impl Core {
    fn start_thread(&mut self, name: &str, life: impl FnOnce(&Shared) + Send + 'static) -> Result<(), Error> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("common-pool-{name}"))
            .stack_size(256 * 1024)
            .spawn(move || life(&shared))
            .map_err(|error| Error::start("a thread of a pool", error))?;
        self.threads.push(thread);
        Ok(())
    }

    fn end(&mut self) {
        self.shared.terminate();
        self.join_threads();
    }

    fn join_threads(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // it does not panic; if it did, its message was printed
        }
    }
}

/// Encodes the initializer's arguments.
type EncodeInitializer = Box<dyn FnOnce() -> Result<(CodeRef, Vec<u8>), Error>>;

/// How a pool is to be; made by [`Pool::builder`].
#[must_use = "a builder does nothing before `build`"]
pub struct PoolBuilder {
    processes: Option<usize>,
    max_tasks: Option<usize>,
    initializer: Option<EncodeInitializer>,
}

impl PoolBuilder {
    /// How many workers; the default is as in [`Pool::per_core`].
    ///
    /// More workers than cores are worth it if tasks wait, for a disk or for the network. An idle worker is woken at once
    /// while fewer workers than cores are at work, and else after about 2 ms, as soon as it is seen that one of those at work
    /// is waiting: so small tasks cost the same however many workers there are.
    pub fn processes(mut self, processes: usize) -> PoolBuilder {
        self.processes = Some(processes);
        self
    }

    /// A function that each worker calls before its first task, also a worker that replaces another one.
    ///
    /// If it panics or ends its process, the worker is started anew; after a few times without success, every task gets
    /// [`Error::Initializer`]. Ends of `ipc-channel` cannot be among its arguments: it is called more than once.
    ///
    /// ```
    /// use std::sync::OnceLock;
    ///
    /// static GREETING: OnceLock<String> = OnceLock::new();
    ///
    /// fn prepare(greeting: String) {
    ///     GREETING.set(greeting).unwrap();
    /// }
    ///
    /// fn greet(name: String) -> String {
    ///     format!("{}, {name}!", GREETING.get().unwrap())
    /// }
    ///
    /// fn main() -> Result<(), common::Error> {
    ///     common::init();
    ///     let pool = common::Pool::builder().processes(2).initializer(prepare, "Hello".to_string()).build()?;
    ///     assert_eq!(pool.apply(greet, "Bob".to_string())?, "Hello, Bob!");
    ///     pool.close().join()
    /// }
    /// ```
    pub fn initializer<A: Message, R: Message>(mut self, initializer: fn(A) -> R, arg: A) -> PoolBuilder {
        self.initializer = Some(Box::new(move || {
            Ok((
                code_ref(initializer)?,
                channels::encode_plain(&arg, "the initializer's arguments")?,
            ))
        }));
        self
    }

    /// A worker ends after so many tasks (items of a `map` count one each), and another one takes its place. At least 1.
    pub fn maxtasksperchild(mut self, tasks: usize) -> PoolBuilder {
        self.max_tasks = Some(tasks.max(1));
        self
    }

    /// Starts the workers, side by side.
    ///
    /// # Errors
    ///
    /// [`Error::NoWorkers`] for 0 processes; [`Error::NotInitialised`] without [`init`](crate::init); [`Error::Start`] if one
    /// cannot be started (then those that were are ended); [`Error::Encode`] for the initializer's arguments.
    pub fn build(self) -> Result<Pool, Error> {
        let cores = cores(); // asked once: the system looks into several files for it
        let processes = self.processes.unwrap_or(cores);
        if processes == 0 {
            return Err(Error::NoWorkers);
        }
        child::check_initialised()?;
        let initializer = self.initializer.map(|encode| encode()).transpose()?;
        let no_memory = |error| Error::start("a pool", error);
        let family = Family::get().map_err(no_memory)?;
        let (memory, handle) = SharedMemory::new(processes).map_err(no_memory)?;
        let max_tasks = self.max_tasks.map_or(u64::MAX, |tasks| tasks as u64);
        // So many workers may be at work before idle ones are held back: see `queue`.
        let crowd = cores.max(2);
        let shared = Arc::new(Shared::new(
            Queue::new(processes, crowd, memory, max_tasks),
            handle,
            processes,
            initializer,
        ));
        let mut core = Core {
            shared,
            threads: Vec::new(),
            processes,
            applied: AtomicUsize::new(0),
            _family: family,
        };
        let started = start_threads(&mut core, processes > crowd);
        if started.is_err() {
            core.end();
        }
        started.map(|()| Pool { core: Some(core) })
    }
}

/// Starts a thread for each worker, and one that watches if workers may be held back; waits until each has started its worker.
fn start_threads(core: &mut Core, watched: bool) -> Result<(), Error> {
    let (first, outcomes) = mpsc::channel();
    for worker in 0..core.processes {
        let first = first.clone();
        core.start_thread(&worker.to_string(), move |shared| serve(shared, worker, first, start))?;
    }
    if watched {
        core.start_thread("watch", watch)?;
    }
    drop(first);
    outcomes.into_iter().take(core.processes).collect()
}

/// How many cores this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

impl Pool {
    /// A pool of so many workers. See [`PoolBuilder::build`] for errors.
    pub fn new(processes: usize) -> Result<Pool, Error> {
        Pool::builder().processes(processes).build()
    }

    /// A pool of as many workers as this process may use cores, which can be fewer than the machine has (`taskset`, a
    /// container's limit).
    pub fn per_core() -> Result<Pool, Error> {
        Pool::builder().build()
    }

    /// For an initializer, and for workers that are replaced after some tasks.
    pub fn builder() -> PoolBuilder {
        PoolBuilder {
            processes: None,
            max_tasks: None,
            initializer: None,
        }
    }

    /// How many workers it has.
    pub fn processes(&self) -> usize {
        self.core().processes
    }

    fn core(&self) -> &Core {
        self.core.as_ref().expect("`close` and `terminate` consume the pool")
    }

    /// Calls `f` with `args` in a worker, and waits for the result.
    ///
    /// # Errors
    ///
    /// As [`AsyncResult::get`].
    pub fn apply<A: Message, R: Message>(&self, f: fn(A) -> R, arg: A) -> Result<R, Error> {
        self.apply_async(f, arg).get()
    }

    /// Calls `f` with `args` in a worker, as soon as one is free. Does not wait.
    ///
    /// Errors are told by [`AsyncResult::get`]; if that handle is dropped before, by [`ClosedPool::join`].
    pub fn apply_async<A: Message, R: Message>(&self, f: fn(A) -> R, arg: A) -> AsyncResult<R> {
        let one = One::new();
        match code_ref(f).and_then(|entry| Ok((entry, encode_item(&arg)?))) {
            Ok((entry, items)) => {
                // One result has one place; the number is for the timeline.
                let number = self.core().applied.fetch_add(1, Relaxed);
                self.core().shared.submit([job(entry, items, 1, number, one.clone())]);
            }
            Err(error) => {
                one.deliver(0, results::Answer::Failed(error));
            }
        }
        AsyncResult::new(one)
    }

    /// Calls `f` with every item, in chunks of a size that suits their number, and waits for all results, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Item`], with the item's place, for the first item in order that has no result. All others are done all the same.
    pub fn map<A: Message, R: Message>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, Error> {
        self.map_async(f, items).get()
    }

    /// As [`map`](Pool::map), in chunks of `chunksize` items (0 counts as 1).
    pub fn map_with_chunksize<A: Message, R: Message>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
        chunksize: usize,
    ) -> Result<Vec<R>, Error> {
        self.submit_many(f, items, Some(chunksize)).get()
    }

    /// As [`map`](Pool::map), without waiting.
    pub fn map_async<A: Message, R: Message>(&self, f: fn(A) -> R, items: impl IntoIterator<Item = A>) -> MapResult<R> {
        self.submit_many(f, items, None)
    }

    fn submit_many<A: Message, R: Message>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
        chunksize: Option<usize>,
    ) -> MapResult<R> {
        // The chunks' size depends on the number of items, which an iterator need not know.
        let items = items.into_iter();
        match items.size_hint() {
            (count, Some(most)) if count == most => self.submit_chunks(f, items, count, chunksize),
            _ => {
                let items: Vec<A> = items.collect();
                let count = items.len();
                self.submit_chunks(f, items.into_iter(), count, chunksize)
            }
        }
    }

    /// Submits each chunk as soon as it is encoded: the workers begin with the first one meanwhile.
    fn submit_chunks<A: Message, R: Message>(
        &self,
        f: fn(A) -> R,
        items: impl Iterator<Item = A>,
        count: usize,
        chunksize: Option<usize>,
    ) -> MapResult<R> {
        let many = Many::new(count);
        let entry = match code_ref(f) {
            Ok(entry) => entry,
            Err(error) => {
                for index in 0..count {
                    many.deliver(index, results::Answer::Failed(error.clone()));
                }
                return MapResult::new(many);
            }
        };
        // As Python: four chunks for each worker.
        let chunksize = chunksize
            .unwrap_or(count.div_ceil(4 * self.processes()))
            .clamp(1, u32::MAX as usize);
        let mut chunk = Vec::new();
        let mut first = 0;
        let submit = |chunk: &mut Vec<u8>, first: usize, end: usize| {
            if end > first {
                let items = std::mem::take(chunk).into_boxed_slice();
                self.core()
                    .shared
                    .submit([job(entry, items, (end - first) as u32, first, many.clone())]);
            }
        };
        // `take`: an iterator that lies about its length must not yield more than `many` expects.
        for (index, args) in items.take(count).enumerate() {
            if let Err(error) = push_args(&mut chunk, &args) {
                // The chunk ends before this item, and the next one begins behind it.
                submit(&mut chunk, first, index);
                many.deliver(index, results::Answer::Failed(error));
                first = index + 1;
            } else if index + 1 - first == chunksize {
                submit(&mut chunk, first, index + 1);
                first = index + 1;
            }
        }
        submit(&mut chunk, first, count);
        MapResult::new(many)
    }

    /// Calls `f` with every item, one at a time, and yields the results in the order of the items, each as soon as it and those before it are there.
    ///
    /// The input is read as results are taken, about a thousand items ahead: it may be endless. An item without a result
    /// is an error in its place; the others follow.
    ///
    /// ```
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> Result<(), common::Error> {
    /// # common::init();
    /// let pool = common::Pool::new(2)?;
    /// let squares: Result<Vec<u64>, _> = pool.imap(square, 0..).take(5).collect(); // 0.. never ends
    /// assert_eq!(squares?, [0, 1, 4, 9, 16]);
    /// # pool.terminate();
    /// # Ok(())
    /// # }
    /// ```
    pub fn imap<A, R, I>(&self, f: fn(A) -> R, items: I) -> Imap<'_, A, R, I::IntoIter>
    where
        A: Message,
        R: Message,
        I: IntoIterator<Item = A>,
    {
        Imap::new(self, f, items.into_iter(), true)
    }

    /// As [`imap`](Pool::imap), but yields results as they come.
    pub fn imap_unordered<A, R, I>(&self, f: fn(A) -> R, items: I) -> Imap<'_, A, R, I::IntoIter>
    where
        A: Message,
        R: Message,
        I: IntoIterator<Item = A>,
    {
        Imap::new(self, f, items.into_iter(), false)
    }

    /// From here on there are no new tasks: what comes back has no `apply_async`, but a [`join`](ClosedPool::join).
    pub fn close(mut self) -> ClosedPool {
        ClosedPool { core: self.core.take() }
    }

    /// Ends the workers now. Tasks that are not done get [`Error::Terminated`]. Returns when no worker is left.
    pub fn terminate(self) {}
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(core) = &mut self.core {
            core.end();
        }
    }
}

/// A pool that takes no more tasks.
///
/// Dropping it is the same as [`join`](ClosedPool::join): accepted tasks are finished. (While a panic unwinds, it is
/// terminated.)
#[must_use = "dropping a closed pool waits for its tasks: call `join` to see what went wrong"]
pub struct ClosedPool {
    core: Option<Core>,
}

impl ClosedPool {
    /// Waits until every accepted task is done and every worker has ended.
    ///
    /// Results can still be got afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Uncollected`] if tasks failed whose handles had been dropped; [`Error::Initializer`] if the workers could
    /// not be made ready.
    pub fn join(mut self) -> Result<(), Error> {
        self.core.take().map_or(Ok(()), ClosedPool::finish)
    }

    fn finish(mut core: Core) -> Result<(), Error> {
        let _blocked = timeline::blocked("join");
        let outcome = core.shared.finish();
        core.join_threads();
        outcome
    }

    /// Ends the workers now; see [`Pool::terminate`].
    pub fn terminate(mut self) {
        if let Some(mut core) = self.core.take() {
            core.end();
        }
    }
}

impl Drop for ClosedPool {
    fn drop(&mut self) {
        match self.core.take() {
            Some(mut core) if std::thread::panicking() => core.end(),
            Some(core) => drop(ClosedPool::finish(core)),
            None => {}
        }
    }
}

/// The iterator of [`Pool::imap`] and [`Pool::imap_unordered`].
#[must_use = "tasks are sent as results are taken"]
pub struct Imap<'pool, A, R, I> {
    pool: &'pool Pool,
    f: fn(A) -> R,
    /// `None`: exhausted.
    input: Option<I>,
    stream: Arc<Stream>,
    /// Results that have come, last first.
    arrived: Vec<Arrived>,
    /// Results that wait for one before them; `None`: the order does not matter.
    early: Option<BTreeMap<usize, Encoded>>,
    /// Items sent and not come back.
    on_the_way: usize,
    /// The next item's place.
    sent: usize,
    sent_bytes: usize,
    /// The place of the next item to be yielded, if in order.
    yielded: usize,
}

impl<'pool, A, R, I> Imap<'pool, A, R, I> {
    fn new(pool: &'pool Pool, f: fn(A) -> R, input: I, ordered: bool) -> Imap<'pool, A, R, I> {
        Imap {
            pool,
            f,
            input: Some(input),
            stream: Stream::new(),
            arrived: Vec::new(),
            early: ordered.then(BTreeMap::new),
            on_the_way: 0,
            sent: 0,
            sent_bytes: 0,
            yielded: 0,
        }
    }

    /// How many items may be on their way: fewer if they are large.
    fn limit(&self) -> usize {
        let average = self.sent_bytes.checked_div(self.sent).unwrap_or(0).max(1);
        (AHEAD_BYTES / average).clamp(2 * self.pool.processes(), AHEAD)
    }

    /// An item that has come back, if there is one that can be yielded.
    fn next_arrived(&mut self) -> Option<Encoded> {
        let Some(early) = &mut self.early else {
            return self.arrived.pop().map(|(_, result)| result);
        };
        early.extend(self.arrived.drain(..));
        let next = early.remove(&self.yielded)?;
        self.yielded += 1;
        Some(next)
    }
}

impl<A, R, I> Imap<'_, A, R, I>
where
    A: Message,
    R: Message,
    I: Iterator<Item = A>,
{
    /// Sends items when few are on their way: many at once, which costs less.
    fn feed(&mut self) {
        // Items that wait for one before them count too, or a slow item would let the others pile up.
        let held = |imap: &Self| imap.on_the_way + imap.early.as_ref().map_or(0, BTreeMap::len);
        if held(self) > self.limit() / 2 {
            return;
        }
        let mut jobs = Vec::new();
        while held(self) < self.limit() {
            let Some(item) = self.input.as_mut().and_then(Iterator::next) else {
                self.input = None;
                break;
            };
            match code_ref(self.f).and_then(|entry| Ok((entry, encode_item(&item)?))) {
                Ok((entry, items)) => {
                    self.sent_bytes += items.len();
                    jobs.push(job(entry, items, 1, self.sent, self.stream.clone()));
                }
                Err(error) => {
                    self.stream.deliver(self.sent, results::Answer::Failed(error));
                }
            }
            self.sent += 1;
            self.on_the_way += 1;
        }
        self.pool.core().shared.submit(jobs);
    }
}

impl<A, R, I> Iterator for Imap<'_, A, R, I>
where
    A: Message,
    R: Message,
    I: Iterator<Item = A>,
{
    type Item = Result<R, Error>;

    fn next(&mut self) -> Option<Result<R, Error>> {
        loop {
            if self.input.is_some() {
                self.feed();
            }
            if let Some(arrived) = self.next_arrived() {
                return Some(decode_arrived(arrived));
            }
            if self.on_the_way == 0 {
                return None;
            }
            self.arrived = self.stream.take();
            self.on_the_way -= self.arrived.len();
            self.arrived.reverse();
        }
    }
}

fn push_args<Args: Serialize>(bytes: &mut Vec<u8>, args: &Args) -> Result<(), Error> {
    wire::push_item(bytes, |bytes| encode_into(args, bytes)).map_err(|error| Error::encode("a task's arguments", error))
}

fn encode_item<Args: Serialize>(args: &Args) -> Result<Box<[u8]>, Error> {
    let mut bytes = Vec::with_capacity(24); // what the allocator gives at least
    push_args(&mut bytes, args)?;
    Ok(bytes.into_boxed_slice())
}

fn job(entry: CodeRef, items: Box<[u8]>, count: u32, index: usize, sink: Arc<dyn Sink>) -> Job {
    Job {
        items,
        sink,
        entry,
        index,
        count,
    }
}
