//! `Process` and `Pool` for Rust, after Python's `multiprocessing`: a function runs in another process, and its result comes
//! back.
//!
//! ```
//! use common::{Pool, Process};
//!
//! fn greet(name: String) -> String {
//!     format!("Hello, {name}! I am process {}.", std::process::id())
//! }
//!
//! fn main() -> Result<(), common::Error> {
//!     common::init(); // the twin of `if __name__ == '__main__':`
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
//! # The story
//!
//! **A process is started.** [`Process::new`] takes a function and its arguments, as Python's `target=` and `args=`.
//! [`start`](Process::start) executes this same program once more. There, [`init`] sees that it is a child, calls the function,
//! sends the result home, and exits: the rest of `main` is the parent's alone. Python calls this start method *spawn*. It
//! works on Linux, macOS and Windows alike, and in programs with threads, where `fork` alone does not.
//!
//! **Its end is told in full.** [`join`](Child::join) gives what the function returned, or says what happened instead:
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
//! **Many small tasks want workers that stay.** A [`Pool`] starts its processes once. [`apply_async`](Pool::apply_async)
//! hands out one task and gives a handle; [`map`](Pool::map) hands out many; [`imap`](Pool::imap) hands out as many as you
//! take results, even of an endless input.
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
//! **Something goes wrong.** A task that panics, calls `exit`, or is killed is an error of that task alone. Its worker is
//! replaced, and all others get their results:
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
//! **The parent goes.** Workers and daemons end with it, however it ends; other processes are waited for.
//!
//! # What the compiler holds
//!
//! A process that was not started has no `join`. An open pool has no `join`; a closed one has no `apply_async`. A closure
//! that captures variables does not compile as a target. See [`Process`] and [`Pool`] for the messages.
//!
//! # Tests
//!
//! In a test file, write [`init_in_tests!`] once, outside of all functions; then `Process` and `Pool` work in every `#[test]`.
//!
//! # Where systems differ
//!
//! The same program runs everywhere, and what is not in this table is the same everywhere. A number is that of the tests
//! that look at it (`cargo test -p common b08`). FreeBSD is as macOS unless said otherwise.
//!
//! | | Linux | macOS | Windows |
//! |---|---|---|---|
//! | a process is started by | `posix_spawn` of `/proc/self/exe` | `posix_spawn` of the program's path | `CreateProcess` of the program's path |
//! | what it inherits (b13) | the standard streams, and what is passed to it | the same | the same; what is passed is copied into it (`DuplicateHandle`) |
//! | its name in `ps` and the like (b04) | command line, and (15 bytes) the name of the process | command line | not shown |
//! | one that ended and was not waited for (b05) | a zombie, until its [`Child`] is asked or dropped | the same | there are no zombies: only the handle is left |
//! | [`join_timeout`](Child::join_timeout) notices a result (b07) | at once | at once, the process's end within 1 ms | within 10 ms: a pipe cannot be waited for with a time limit |
//! | [`terminate`](Child::terminate) (b08) | SIGTERM: exit code −15 | the same | as `kill`: there is no polite request |
//! | [`kill`](Child::kill) (b08) | SIGKILL: exit code −9, [`Error::Signaled`] | the same | exit code 1, [`Error::Exited`]: there are no signals, and [`exitcode`](Child::exitcode) is that of `exit(1)` |
//! | `exit(n)` (b09) | the lowest 8 bits of n | the same | all 32 bits of n |
//! | `abort`, an access violation, a stack overflow (b40) | SIGABRT, SIGSEGV: −6, −11 | the same | exit codes 0xc0000409, 0xc0000005, 0xc00000fd (negative as `i32`) |
//! | the parent ends, even killed (b12, b14, b44) | daemons and workers end within milliseconds: they watch a pipe | the same | the same: they wait for the parent's process |
//! | standard input, seen from C in a child (b15) | the same as from Rust | the same | at its end: only Rust's `stdin` is put back |
//! | the program's file is moved or deleted while it runs (b18) | no matter | [`Error::Start`] with its path (FreeBSD finds a moved one) | the same; a program that runs cannot be deleted |
//! | it is replaced, by a rebuild (b18) | no matter, the old one goes on | the new process sees it, says so on stderr, and exits with code 70 | the same |
//! | cores that count for [`Pool::per_core`] (b26) | those that affinity and the control group leave | all | all of the processor group |
//! | a limit of open descriptors (b32, b45) | `ulimit -n`: what needs more is [`Error::Start`]; a queued task needs none | the same | there is none |
//! | Ctrl-C in the terminal (b43) | reaches a [`Process`]; workers of a [`Pool`] take no notice, programs that a task starts do | the same | the same |
//! | a worker is stopped (b48) | by SIGSTOP: delays its own tasks only | the same | there is no such signal |
//! | in a test, a child is told the program's arguments (b49) | yes (musl: no, Rust learns them in `main`) | yes (FreeBSD: as musl) | yes |
//! | the [`timeline`] of a program that leaves by `exit` (b50) | is drawn | the same | is drawn when the system tells of the end, which Wine does not |
//! | arguments of the program together | about 2 MB (128 KiB each) | 1 MiB, with the environment | 32,767 characters |
//! | stack of the target | 8 MiB (`ulimit -s`) | 8 MiB | 1 MiB (the linker's choice) |
//! | shared memory of a pool | `memfd_create` | `shm_open`, its name taken away at once (FreeBSD: `memfd_create`) | `CreateFileMapping` without a name |
//! | ends of `ipc-channel` among the arguments | sockets in the temporary directory, for a moment | Mach ports (FreeBSD: as Linux) | named pipes |
//! | `fork()` (lesson 01) | yes: the copy has no part in processes and pools, and holds up nobody's end | the same | no |
//! | all else that b01 to b50 look at | the same | the same | the same |
//!
//! On Windows, and on the other systems too, a task runs on the main thread of its process: what needs more stack starts a thread with more.
//!
//! # How it works
//!
//! Read the files in this order; each begins with what it is about.
//!
//! * `function`: what can run elsewhere, and how a function is named there
//! * `child`: how a program is started again, and what it does first
//! * `process`: [`Process`] and [`Child`]
//! * `channels`: ends of `ipc-channel` among the arguments
//! * `pool`: [`Pool`]; below it `queue` (who does what), `ticket` (who started what), `worker` (the other side)
//! * [`timeline`]: who ran when, as a picture
//! * `sys`: the systems, and everything `unsafe`; `sync`: locks, which loom takes the place of where it checks the pool

#[doc(hidden)]
pub use child::init_before_main;
pub use child::{ProcessInfo, current_process, init, parent_process};
pub use error::Error;
pub use function::Message;
pub use pool::{AsyncResult, ClosedPool, Imap, MapResult, Pool, PoolBuilder};
pub use process::{Child, Process};

mod channels;
mod child;
mod error;
mod function;
mod pool;
mod process;
mod sync;
mod sys;
pub mod timeline;
