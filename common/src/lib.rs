//! Python's `multiprocessing` for Rust: [`Process`] and [`Pool`] run a function in another process and bring its result back.
//!
//! ```
//! use common::{Pool, Process};
//!
//! fn greet(name: String) -> String {
//!     format!("Hello, {name}! I am process {}.", std::process::id())
//! }
//!
//! fn main() -> Result<(), common::Error> {
//!     common::init(); // the counterpart of `if __name__ == '__main__':`
//!     let p = Process::new(greet, "Bob".to_string()).start()?;
//!     println!("{}", p.join()?);
//!
//!     let pool = Pool::per_core()?;
//!     let greetings = pool.map(greet, ["Ann".to_string(), "Bob".to_string()])?;
//!     println!("{greetings:?}");
//!     pool.close().join()
//! }
//! ```
//!
//! The crate is not on crates.io. Copy its folder, and depend on the copy with `common = { path = "../common" }`.
//!
//! # A tour
//!
//! **Start a process.** [`Process::new`] takes a function and its argument, like Python's `target=` and `args=`; several
//! arguments are a tuple. [`start`](Process::start) runs the current program once more. In the new process, [`init`] calls the
//! function, sends the result to the parent and exits, so that the rest of `main` runs in the parent only. Python calls this
//! start method *spawn*. Unlike `fork`, it works on Linux, macOS and Windows, and in programs that have threads.
//!
//! **Learn how it ended.** [`join`](Child::join) returns what the function returned, or an error that says what happened
//! instead: a panic with its message and location, an exit code, or a signal.
//!
//! ```
//! # use common::Process;
//! fn divide((a, b): (i32, i32)) -> i32 {
//!     a / b
//! }
//!
//! fn main() -> Result<(), common::Error> {
//!     common::init();
//!     let p = Process::new(divide, (1, 0)).start()?;
//!     let error = p.join().unwrap_err();
//!     assert!(error.to_string().ends_with("attempt to divide by zero"), "{error}");
//!     assert_eq!(p.exitcode(), Some(101));
//!     Ok(())
//! }
//! ```
//!
//! **Use a pool for many small tasks.** A [`Pool`] starts its processes once. [`apply_async`](Pool::apply_async) submits one
//! task and returns a handle to its result; [`map`](Pool::map) submits many and waits for all of them; [`imap`](Pool::imap)
//! yields results while it reads its input, which may be endless.
//!
//! ```
//! # use common::Pool;
//! fn collatz(mut n: u64) -> u32 {
//!     let mut steps = 0;
//!     while n != 1 {
//!         n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
//!         steps += 1;
//!     }
//!     steps
//! }
//!
//! fn main() -> Result<(), common::Error> {
//!     common::init();
//!     let pool = Pool::new(2)?;
//!     let longest = pool.map(collatz, 1..1000)?.into_iter().max();
//!     assert_eq!(longest, Some(178));
//!     pool.close().join()
//! }
//! ```
//!
//! **Let tasks fail.** If a task panics, calls `exit` or is killed, only that task fails. A worker that has died is replaced, and
//! every other task gets its result.
//!
//! ```
//! # use common::Pool;
//! fn picky(n: u32) -> u32 {
//!     if n == 3 { std::process::exit(7) } else { n }
//! }
//!
//! fn main() -> Result<(), common::Error> {
//!     common::init();
//!     let pool = Pool::new(2)?;
//!     let outcomes: Vec<Result<u32, _>> = pool.imap(picky, 0..6).collect();
//!     assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
//!     assert!(matches!(outcomes[3], Err(common::Error::Exited { code: 7, .. })));
//!     pool.close().join()
//! }
//! ```
//!
//! **Let the compiler check the rules.** A process that was not started has no `join`. An open pool has no `join`, and a
//! closed one has no `apply_async`. A closure that captures variables is not a target. [`Process`] and [`Pool`] show the
//! compiler's messages.
//!
//! **Test it.** Write [`init_in_tests!`] once in a test file, outside any function; then `Process` and `Pool` work in every
//! `#[test]`.
//!
//! **See it.** With `TIMELINE=1` in the environment, a program draws its processes and tasks when it ends: see [`timeline`].
//!
//! # From Python
//!
//! | `multiprocessing` | here |
//! |---|---|
//! | `if __name__ == '__main__':`, `freeze_support` | [`init`], as the first line of `main` |
//! | `Process(target=f, args=(a, b))` | [`Process::new(f, (a, b))`](Process::new), with `fn f((a, b): (A, B))` or <code>&#124;(a, b)&#124; f(a, b)</code> |
//! | `Process(name=…, daemon=…)` | [`name`](Process::name), [`daemon`](Process::daemon) |
//! | `start`, `join`, `join(timeout)`, `is_alive`, `pid`, `exitcode`, `terminate`, `kill` | the same, on the [`Child`] that [`start`](Process::start) returns; [`join_timeout`](Child::join_timeout) |
//! | `close`, a subclass with `run`, `sentinel`, `authkey` | none. Instead of `close`, drop the `Child`; instead of a subclass, write a function; instead of `sentinel`, call `join` in a thread; `authkey` is not needed |
//! | `current_process`, `parent_process` | [`current_process`], [`parent_process`] |
//! | `active_children` | none: keep the [`Child`]ren in a `Vec` |
//! | `cpu_count` | [`std::thread::available_parallelism`]; [`Pool::per_core`] uses it |
//! | `set_start_method`, `get_context`, `set_executable` | none: the start method is always *spawn*, and the program is always this one |
//! | `Pool(n)`, `Pool()` | [`Pool::new`], [`Pool::per_core`] |
//! | `Pool(initializer=…, initargs=…, maxtasksperchild=…)` | [`Pool::builder`]; `maxtasksperchild` counts items, where Python counts chunks |
//! | `apply`, `apply_async`, `map`, `map_async`, `imap`, `imap_unordered` | the same; [`map_with_chunksize`](Pool::map_with_chunksize) for `chunksize=` |
//! | `starmap`, `starmap_async` | `map`, `map_async` over tuples |
//! | `callback=`, `error_callback=` | `for result in pool.imap_unordered(…)` |
//! | `AsyncResult.get`, `get(timeout)`, `ready` | [`get`](AsyncResult::get), [`get_timeout`](AsyncResult::get_timeout), [`ready`](AsyncResult::ready) |
//! | `AsyncResult.wait`, `successful` | none: `get` again later; `get().is_ok()` |
//! | `close`, `join`, `terminate` | [`close`](Pool::close), then [`join`](ClosedPool::join); [`terminate`](Pool::terminate) |
//! | `with Pool() as pool:` | a block: a pool that is dropped is terminated |
//! | `ProcessPoolExecutor`: `submit`, `map`, `as_completed` | `apply_async`, `imap`, `imap_unordered` |
//! | `dummy.Pool`, `ThreadPool` | the crate rayon |
//! | `Queue`, `SimpleQueue`, `Pipe` | `ipc_channel::ipc::channel`, whose ends go into the argument of a `Process` or of a pool's initializer (lesson 04) |
//! | `JoinableQueue` | none: return a result for each item |
//! | `Pipe` of bytes, `connection.Connection` | `os_pipe`, as [`stdin`](Process::stdin) and [`stdout`](Process::stdout) of a process (lesson 04) |
//! | `connection.wait` | `ipc_channel::ipc::IpcReceiverSet` |
//! | `connection.Listener`, `Client` | `std::net`, `std::os::unix::net` |
//! | `Value`, `Array`, `sharedctypes` | none: return values, and add them up in the parent |
//! | `shared_memory` | `ipc_channel::ipc::IpcSharedMemory` (lesson 04) |
//! | `Lock`, `RLock`, `Semaphore`, `Event`, `Condition`, `Barrier` between processes | none: send a message, or lock a file (`File::lock`, from Rust 1.89 on); between threads `std::sync` (lesson 06) |
//! | `Manager`, proxies | none: let one process own the value and answer messages |
//! | `TimeoutError`, `ProcessError` | [`Error::is_timeout`], [`Error`] |
//! | `get_logger`, `log_to_stderr` | none: `TIMELINE=1` shows what happens |
//!
//! # When not to use it
//!
//! * **Tasks that cannot bring the program down, and data that may be shared**: threads, or rayon for loops. They are cheaper,
//!   and nothing has to be copied.
//! * **Another program**: [`std::process::Command`].
//! * **Thousands of connections that mostly wait**: `async`, for instance with tokio.
//! * **More than one machine**: a job queue, or MPI.
//! * **Code that you do not trust**: a sandbox. A process that this crate starts may do whatever its user may do.
//!
//! # What can travel
//!
//! Arguments and results are copied as bytes, so they must be [`Message`]s: types that own their data and implement serde's two
//! traits. [`Message`] says which of serde's attributes cannot be used (`skip_serializing_if`, `flatten`, `untagged` and the
//! like). A function travels as its address, so a closure must not capture anything, and the function
//! must belong to the program itself, not to another dynamic library.
//!
//! The ends of `ipc-channel`'s channels and its shared memory, up to 62 in all, can be part of a [`Process`]'s argument, and of
//! the argument of a pool's initializer, which runs in every worker. Anywhere else they lead to [`Error::Encode`].
//!
//! # Compared with procspawn
//!
//! [procspawn](https://docs.rs/procspawn) runs functions in processes in the same way, with the same start method and the same
//! kind of target. It is on crates.io, has been in use for years, can encode as JSON what postcard cannot, and can pass
//! environment variables. The pool of this crate does what procspawn's does not: if a worker dies, its task gets an error that
//! names the signal or exit code; a panic does not cost a process; results can be collected in any order; queued tasks need no
//! file descriptors; several tasks are in flight to each worker; and there are `map` and `imap`.
//!
//! The overhead per task is about a hundredth of that of procspawn or of Python's `Pool.apply_async`, and one to three times
//! that of a thread pool (rayon's `spawn`, with the result sent through a channel). `cargo bench -p common` measures them side
//! by side.
//!
//! # What to watch out for
//!
//! * A [`Child`] that is dropped is waited for, unless it is a daemon: if `main` returns early with an error, the program ends
//!   only once its children have ended. `std::process::exit` does not wait for them.
//! * When a target returns, its process ends, and so do the threads that it has started. Python waits for such threads; here
//!   the target has to, with `join` or a scope.
//! * A task may start processes. [`Pool::terminate`] ends the workers, not what they have started.
//! * A pool in a `static` is not dropped: tasks that it has accepted are lost when `main` returns. Close and join it.
//! * What a task prints without a newline is lost when its worker is ended by dropping the pool.
//! * A signal to the whole process group (`kill -TERM -PGID`) also reaches the workers, and ends the tasks that they run.
//!   Workers that are stopped by SIGSTOP outlive their parent until they are continued.
//! * In a program with `#[tokio::main]`, write an ordinary `main` that calls [`init`] before it builds the runtime: otherwise
//!   targets run inside a runtime.
//! * A task runs on the main thread of its process. If it needs more stack, let it start a thread with a larger one.
//! * A result is decoded on the thread that calls [`get`](AsyncResult::get) or [`join`](Child::join). Its stack may be smaller
//!   than the task's: 2 MiB, if Rust started it. A deeply nested result, such as a linked list of 20,000 nodes, can overflow
//!   that, which aborts the program. Call them on the main thread or on one with a larger stack, or return a `Vec`.
//!
//! # Where systems differ
//!
//! The same program runs everywhere. Whatever is not in this table is the same on all systems, and FreeBSD behaves like macOS
//! unless the table says otherwise. Labels such as b08 name the tests (`cargo test -p common b08`).
//!
//! | | Linux | macOS | Windows |
//! |---|---|---|---|
//! | how a process is started | `posix_spawn` of `/proc/self/exe` | `posix_spawn` of the program's path | `CreateProcess` of the program's path |
//! | what it inherits (b13) | the standard streams, and what is passed to it (programs that are linked statically: also descriptors without close-on-exec) | the standard streams, and what is passed to it | the same; what is passed is copied into it (`DuplicateHandle`) |
//! | its name in `ps` and similar tools (b04) | the first 15 bytes of it (`ps -e`, `top`) | not shown (FreeBSD: as its title) | not shown |
//! | an ended child that nobody has waited for (b05) | is a zombie until its [`Child`] is queried or dropped | the same | is gone; only the handle is left |
//! | [`join_timeout`](Child::join_timeout) notices a result, or an end (b07) | at once (before Linux 5.3: within 1 ms) | at once | an end at once, a result within 10 ms: Windows cannot wait for a pipe with a time limit |
//! | [`terminate`](Child::terminate) (b08) | SIGTERM: exit code −15 | the same | the same as `kill`: there is no polite request |
//! | [`kill`](Child::kill) (b08) | SIGKILL: exit code −9, [`Error::Signaled`] | the same | exit code 1, [`Error::Exited`]: there are no signals, and [`exitcode`](Child::exitcode) is that of `exit(1)` |
//! | `exit(n)` (b09) | the lowest 8 bits of n | the same | all 32 bits of n |
//! | `abort`, access violation, stack overflow (b40) | SIGABRT, SIGSEGV: −6, −11 | the same | exit codes 0xc0000409, 0xc0000005, 0xc00000fd (negative as `i32`) |
//! | when the parent ends, even if it is killed (b12, b14, b44) | daemons and workers end within milliseconds: the system notifies them. Stopped ones end when they are continued | the same | the same |
//! | standard input, read from C in a child (b15) | the same as from Rust | the same | is at end of file: only Rust's `stdin` is restored |
//! | the program's file is moved or deleted while it runs (b18) | does not matter | [`Error::Start`] with its path (FreeBSD finds a moved file) | the same; a running program cannot be deleted |
//! | the file is replaced, by a rebuild (b18) | does not matter: the old program goes on (with `common` in a dynamic library: as on macOS) | the new process notices, says so on stderr, and exits with code 70 | the same |
//! | cores that [`Pool::per_core`] counts (b26) | those that the CPU affinity and the control group allow | all | all of the processor group |
//! | a limit of open descriptors (b32, b45) | `ulimit -n`: what needs more fails with [`Error::Start`]; a queued task needs none | the same | there is none |
//! | Ctrl-C in the terminal (b43) | reaches a [`Process`]; workers of a [`Pool`] ignore it, programs that a task starts do not | the same | the same |
//! | a target or task that ends only the thread it runs in (h12) | a worker or daemon is ended within two seconds (with musl, the caller waits forever); any other [`Process`] ends with its last thread. The error reports that | the same | its caller goes on waiting |
//! | stopping a worker (b48) | by SIGSTOP: delays its own tasks only | the same | there is no such signal |
//! | a child in a test sees the program's arguments (b49) | yes (not with musl, where Rust gets them only in `main`) | yes (FreeBSD: as with musl) | yes |
//! | the [`timeline`] of a program that leaves by `exit` (b50) | is drawn | the same | is drawn when the system reports the end, which Wine does not do |
//! | size of all arguments of the program | about 2 MB (128 KiB each) | 1 MiB, with the environment | 32,767 characters |
//! | stack of the target | 8 MiB (`ulimit -s`) | 8 MiB | 1 MiB (the linker decides) |
//! | a pool's shared memory | `memfd_create`, sealed against shrinking | `shm_open`, its name removed at once (FreeBSD: `memfd_create`) | `CreateFileMapping` without a name |
//! | ends of `ipc-channel` in an argument | sockets in the temporary directory, for a moment | Mach ports (FreeBSD: as Linux) | named pipes |
//! | an end of an `ipc-channel` that has arrived, or that was refused | is closed when it is dropped | the same | is closed only when its process ends, because `ipc-channel` keeps a handle to it; a receiver that waits for its senders to be closed waits until then |
//! | `fork()` (lesson 01) | allowed: the copy cannot use the parent's processes and pools, but can make its own | the same | does not exist |
//!
//! # Reading the source
//!
//! Read the files in this order. Each begins by saying what it is for and what it guarantees.
//!
//! 1. `process`: [`Process`] and [`Child`], as you use them. `init`: what a new process does first.
//! 2. `spawn`: how the program is run again, and what parent and child say to each other. Below it, `function` and `message`:
//!    how a function and its argument become bytes; `channels`: how ends of `ipc-channel` travel.
//! 3. `pool::claim`: which side has a task, decided by one number in shared memory.
//! 4. `pool::ring`: how tasks and results go through shared memory. `pool::worker`: the worker's side.
//! 5. `pool::job`, `pool::items`: tasks, and their arguments as bytes. `pool::replies`: what a worker says, read and checked.
//!    `pool::slot`: a worker as the pool sees it. `pool::depth`, `pool::queue`: how many tasks go where. `pool::output`,
//!    `pool::collector`: the thread that collects results, and what it delivers.
//! 6. `pool::supervisor`: a thread for each worker, which starts it, waits for its end and replaces it.
//! 7. `pool` itself: [`Pool`], and what a caller holds: [`AsyncResult`], [`MapResult`], [`Imap`].
//! 8. `os`: what differs between systems, and nearly all `unsafe` code (the rest calls a function by its address: `function`,
//!    `spawn`, `pool::worker`). `sync`: locks and atomics, which the model checker loom replaces when it tests the pool.

// When loom checks the model, much of what the tests and the system offer is unused.
#![cfg_attr(all(test, model), allow(dead_code, unused_imports))]

#[doc(inline)]
pub use ::timeline;
pub use error::Error;
pub use init::init;
#[doc(hidden)]
pub use init::{Constructor, Texts, init_before_main};
pub use message::Message;
pub use pool::{AsyncResult, ClosedPool, Imap, MapResult, Pool, PoolBuilder};
pub use process::{Child, Process};
pub use spawn::{ProcessInfo, current_process, parent_process};

/// `Debug` that shows some of the fields, whether or not the type's parameters are `Debug`.
macro_rules! debug {
    ($($type:ident [$($parameter:tt),*] { $($field:ident),* })*) => {$(
        impl<$($parameter),*> std::fmt::Debug for $type<$($parameter),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.debug_struct(stringify!($type))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    )*};
}

mod channels;
mod error;
mod function;
mod init;
mod message;
mod os;
mod pool;
mod process;
mod spawn;
mod sync;
