//! `Pool`, after Python's `multiprocessing.Pool`: what a program sees of it.
//!
//! From the bottom to the top: `claim`, who starts an item; `items`, arguments and values as bytes; `ring`, what pool and
//! worker say to each other; `worker`, the other side; `handles`, what a caller holds; `job`, what is in flight; `output`, what
//! is delivered; `depth`, how much is sent ahead; `replies`, what a worker says; `slot`, one worker as the pool sees it;
//! `queue`, which item goes where; `collector`, the thread that collects results; `supervisor`, a thread for each worker;
//! `imap`.

use crate::channels::encode_plain;
use crate::error::Error;
use crate::function::code_ref;
use crate::message::Message;
use crate::os::Owner;
use crate::spawn::{self, Call};
use crate::timeline;
use collector::Shared;
use handles::{ResultHandler, Results, TOGETHER};
use items::{Packed, push_item};
use job::{Args, Job};
use output::Output;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use system::bell;

mod claim;
mod collector;
mod depth;
mod handles;
mod imap;
mod items;
mod job;
mod output;
mod queue;
mod replies;
mod ring;
mod slot;
mod supervisor;
mod system;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod worker;

pub use handles::{AsyncResult, MapResult};
pub use imap::Imap;

/// A pool of worker processes that wait for tasks.
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
/// If a task panics or kills its worker, only that task fails. A worker that has died is replaced, and every other task gets
/// its result.
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
/// Nor can the open pool be used any more, because `close` has consumed it:
///
/// ```compile_fail,E0382
/// # fn square(x: u64) -> u64 { x * x }
/// let pool = common::Pool::new(4).unwrap();
/// let closed = pool.close();
/// pool.apply_async(square, 5);
/// ```
///
/// A task must be a function, or a closure that captures nothing. This one captures `names`:
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
    shared: Arc<Shared>,
    /// The supervisors and, as the last one, the collector. Empty: the pool has ended.
    threads: Vec<JoinHandle<()>>,
    processes: usize,
    /// It belongs to a [`ClosedPool`].
    closed: bool,
    /// The next task's number, and its handler.
    applied: Mutex<(usize, Arc<ResultHandler>)>,
    owner: Owner,
}

/// The configuration of a pool; made by [`Pool::builder`].
#[derive(Default)]
#[must_use = "a builder does nothing before `build`"]
pub struct PoolBuilder {
    processes: Option<usize>,
    maxtasksperchild: Option<usize>,
    initializer: Option<Call>,
}

impl PoolBuilder {
    /// Sets the number of workers; the default is that of [`Pool::per_core`].
    ///
    /// More workers than cores are worth it if tasks wait, for a disk or for the network.
    pub fn processes(mut self, processes: usize) -> PoolBuilder {
        self.processes = Some(processes);
        self
    }

    /// Sets a function that each worker calls before its first task, including workers that replace others.
    ///
    /// If it panics or ends its process, the worker is started again, after a pause that grows each time; if no worker becomes
    /// ready after several attempts, every task gets [`Error::Initializer`]. Its return value is ignored.
    ///
    /// Senders of `ipc-channel` can be part of its argument, so that every worker has one (Python's `initargs=(queue,)`).
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
    pub fn initializer<A: Message + Send, R: Message>(mut self, initializer: fn(A) -> R, arg: A) -> PoolBuilder {
        self.initializer = Some(spawn::call(initializer, arg));
        self
    }

    /// Sets after how many tasks (at least 1) a worker ends and another one takes its place. Each item of a `map` counts (in
    /// Python each chunk does).
    pub fn maxtasksperchild(mut self, tasks: usize) -> PoolBuilder {
        self.maxtasksperchild = Some(tasks);
        self
    }

    /// Starts the workers. Returns when all have been started; they become ready in the background.
    ///
    /// # Errors
    ///
    /// [`Error::NoWorkers`] for 0 processes, [`Error::NoTasks`] for 0 tasks per child; [`Error::NotInitialised`] without
    /// [`init`](crate::init); [`Error::Start`] if one cannot be started (those already started are then ended);
    /// [`Error::Encode`] for the initializer's argument.
    pub fn build(self) -> Result<Pool, Error> {
        let processes = self.processes.unwrap_or_else(cores);
        match (processes, self.maxtasksperchild) {
            (0, _) => return Err(Error::NoWorkers),
            (_, Some(0)) => return Err(Error::NoTasks),
            _ => {}
        };
        let what = || format!("a pool of {processes} processes");
        if processes > MAX_PROCESSES {
            let error = std::io::Error::other(format!("no more than {MAX_PROCESSES} are possible"));
            return Err(Error::start(&what(), error));
        }
        let max_tasks = self.maxtasksperchild.map_or(u64::MAX, |tasks| tasks as u64);
        let bells = bell().map_err(|error| Error::start(&what(), error))?;
        // While one of many workers wakes up, others run: then nothing need be sent ahead at first, which keeps tasks in order.
        let ahead = if processes > cores() { 1 } else { depth::FEW };
        let mut pool = Pool {
            shared: Arc::new(Shared::new(processes, max_tasks, ahead, bells)),
            threads: Vec::new(),
            processes,
            closed: false,
            applied: Mutex::new((0, ResultHandler::new(Results::tasks()))),
            owner: Owner::me(),
        };
        pool.start(self.initializer)?;
        Ok(pool)
    }
}

/// More processes than any system runs.
const MAX_PROCESSES: usize = 1 << 16;

/// How many cores this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

impl Pool {
    /// Makes a pool with this number of workers. See [`PoolBuilder::build`] for errors.
    pub fn new(processes: usize) -> Result<Pool, Error> {
        Pool::builder().processes(processes).build()
    }

    /// Makes a pool with one worker for each core that this process may use. These can be fewer than the machine has
    /// (`taskset`, a container's limit).
    pub fn per_core() -> Result<Pool, Error> {
        Pool::builder().build()
    }

    /// Returns a builder, for a pool with an initializer or with workers that are replaced after a number of tasks.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// How many workers it has.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// Calls `f` with `arg` in a worker, and waits for the result.
    ///
    /// # Errors
    ///
    /// As [`AsyncResult::get`].
    pub fn apply<A: Message, R: Message>(&self, f: fn(A) -> R, arg: A) -> Result<R, Error> {
        self.apply_async(f, arg).get()
    }

    /// Calls `f` with `arg` in a worker, as soon as one is free. Does not wait.
    ///
    /// Errors are reported by [`AsyncResult::get`] or, if the handle is dropped first, by [`ClosedPool::join`].
    pub fn apply_async<A: Message, R: Message>(&self, f: fn(A) -> R, arg: A) -> AsyncResult<R> {
        let (task, handler) = self.next_task();
        self.submit(f, pack_one(&arg), task, 1, &handler);
        AsyncResult {
            handler,
            task,
            read: Results::value,
        }
    }

    /// The number of a task, and where its result goes.
    fn next_task(&self) -> (usize, Arc<ResultHandler>) {
        if !self.owner.is_me() {
            return (0, ResultHandler::new(Results::tasks())); // the lock may be held forever
        }
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let next = applied.clone();
        applied.0 += 1;
        if applied.0 % TOGETHER == 0 {
            applied.1 = ResultHandler::new(Results::tasks());
        }
        next
    }

    /// Calls `f` with every item, in chunks of a size that suits their number, and waits for all results, in order.
    ///
    /// The whole input is read first, as in Python. If items come slowly, or never end, use [`imap`](Pool::imap).
    ///
    /// # Errors
    ///
    /// [`Error::Item`], with the item's index, for the first item that has no result. All other items are done nevertheless.
    pub fn map<A: Message, R: Message>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, Error> {
        self.map_async(f, items).get()
    }

    /// Like [`map`](Pool::map), in chunks of `chunksize` items (0 counts as 1).
    pub fn map_with_chunksize<A: Message, R: Message>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
        chunksize: usize,
    ) -> Result<Vec<R>, Error> {
        self.submit_many(f, items, Some(chunksize)).get()
    }

    /// Like [`map`](Pool::map), but does not wait for the results.
    pub fn map_async<A: Message, R: Message>(&self, f: fn(A) -> R, items: impl IntoIterator<Item = A>) -> MapResult<R> {
        self.submit_many(f, items, None)
    }

    /// Submits each chunk as soon as it is encoded: the workers begin with the first one meanwhile.
    fn submit_many<A: Message, R: Message>(
        &self,
        f: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
        chunksize: Option<usize>,
    ) -> MapResult<R> {
        let items: Vec<A> = items.into_iter().collect(); // their number decides the size of the chunks
        let count = items.len();
        // As Python: four chunks for each worker.
        let chunksize = chunksize.unwrap_or(count.div_ceil(4 * self.processes));
        let chunksize = chunksize.clamp(1, u32::MAX as usize);
        let handler = ResultHandler::new(Results::many(count));
        let (mut items, mut next) = (items.into_iter(), 0);
        while items.len() > 0 {
            let (first, mut chunk) = (next, Vec::new());
            let packed = items.by_ref().take(chunksize).try_for_each(|item| {
                pack(&mut chunk, &item)?;
                next += 1;
                Ok(())
            });
            if next > first {
                self.submit(f, Ok(Packed::take(&mut chunk)), first, (next - first) as u32, &handler);
            }
            // The chunk ends before an item that cannot be encoded, and the next one begins behind it.
            if let Err(error) = packed {
                self.submit(f, Err(error), next, 1, &handler);
                next += 1;
            }
        }
        AsyncResult {
            handler,
            task: 0,
            read: Results::values,
        }
    }

    /// Submits calls with `count` items, unless these could not be encoded.
    fn submit<A: Message, R: Message>(
        &self,
        f: fn(A) -> R,
        items: Result<Args, Error>,
        index: usize,
        count: u32,
        handler: &Arc<ResultHandler>,
    ) {
        let job = items.and_then(|items| {
            self.owner.is_me().then_some(()).ok_or(Error::ForkedCopy)?;
            Ok(Job {
                sequence: 0,
                function: code_ref(f)?,
                items,
                handler: handler.clone(),
                index,
                count,
                chunk: count > 1,
                deliveries: 0,
            })
        });
        match job {
            Ok(job) => self.shared.submit(job),
            Err(error) => {
                let mut refused = Output::default();
                refused
                    .completions
                    .push((handler.clone(), index, count, Err(error.into())));
                refused.flush(&self.shared.unobserved);
            }
        }
    }

    /// Closes the pool to new tasks: the [`ClosedPool`] that it returns has no `apply_async`, but a
    /// [`join`](ClosedPool::join).
    pub fn close(mut self) -> ClosedPool {
        self.closed = true;
        ClosedPool { pool: self }
    }

    /// Ends the workers now. Tasks that are not done get [`Error::Terminated`]. Returns when no worker is left.
    pub fn terminate(self) {}
}

/// A pool that takes no more tasks.
///
/// Dropping it is the same as [`join`](ClosedPool::join): accepted tasks are finished. (If it is dropped because of a panic,
/// it is terminated.)
#[derive(Debug)]
#[must_use = "dropping a closed pool waits for its tasks: call `join` to see what went wrong"]
pub struct ClosedPool {
    pool: Pool,
}

impl ClosedPool {
    /// Waits until every accepted task is done and every worker has ended.
    ///
    /// Results can still be fetched afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::UnobservedFailures`] if tasks failed whose handles had been dropped; [`Error::Initializer`] if the workers could
    /// not be made ready.
    pub fn join(mut self) -> Result<(), Error> {
        self.pool.end(true)
    }

    /// Ends the workers now; see [`Pool::terminate`].
    pub fn terminate(mut self) {
        self.pool.closed = false;
    }
}

impl Pool {
    /// Starts the workers, and the threads.
    fn start(&mut self, initializer: Option<Call>) -> Result<(), Error> {
        let initializer = Arc::new(initializer);
        for worker in 0..self.processes {
            let (shared, initializer) = (self.shared.clone(), initializer.clone());
            let start = move |shared: &Shared| supervisor::start(shared, (*initializer).as_ref());
            let first = Arc::new(start(&shared)?);
            let link = first.clone();
            let life = move || supervisor::supervise(&shared, worker, first, start);
            let started = self.start_thread(format!("common-pool-{worker}"), life);
            started.inspect_err(|_| link.end())?;
        }
        let shared = self.shared.clone();
        self.start_thread("common-pool".to_owned(), move || shared.collect())
    }

    fn start_thread(&mut self, name: String, life: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new().name(name).spawn(life);
        let thread = thread.map_err(|error| Error::start("a thread of a pool", error))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends the workers when all is done (`closed`), or now, and waits for them.
    fn end(&mut self, closed: bool) -> Result<(), Error> {
        let threads = std::mem::take(&mut self.threads);
        if !self.owner.is_me() {
            // A copy made by `fork`: neither the threads nor the workers are there, and nothing may be touched.
            std::mem::forget(threads);
            return Err(Error::ForkedCopy);
        }
        let _blocked = closed.then(|| timeline::blocked("join"));
        self.shared.end(closed);
        for thread in threads {
            thread.thread().unpark();
            let _ = self.shared.bell.ring(); // the collector ends when it sees that no worker is left
            let _ = thread.join(); // it does not panic; if it did, its message was printed
        }
        self.shared.result()
    }
}

debug! { Pool[] { processes } PoolBuilder[] { processes, maxtasksperchild } }

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            let _ = self.end(self.closed && !std::thread::panicking()); // there is no caller to tell
        }
    }
}

thread_local! {
    /// For encoding: most arguments are short, and need no memory of their own.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Packs the only item of a task.
#[inline]
fn pack_one<T: Message>(arg: &T) -> Result<Args, Error> {
    let mut bytes = BUFFER.try_with(Cell::take).unwrap_or_default(); // a thread that is ending has none any more
    let packed = pack(&mut bytes, arg).map(|()| Packed::take(&mut bytes)); // in any case, nothing is left in it
    let _ = BUFFER.try_with(|buffer| buffer.set(bytes));
    packed
}

/// Appends an item to those of a task.
#[inline]
fn pack<T: Message>(bytes: &mut Vec<u8>, arg: &T) -> Result<(), Error> {
    push_item(bytes, |bytes| encode_plain(arg, bytes))
        .map_err(|message| Error::encode("the arguments of a task", message))
}
