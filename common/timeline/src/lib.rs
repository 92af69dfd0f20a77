//! Who ran when: records what the processes and threads of a run do, and draws it as lanes.
//!
//! Concurrency is invisible. So let a program draw it, after its own output:
//!
//! ```console
//! $ TIMELINE=1 cargo run --bin 03-pool
//! ```
//!
//! or, in any shell: `cargo run --config "env.TIMELINE='1'" --bin 03-pool`. Here a pool of two had six tasks, and two of them
//! ended their worker:
//!
//! ```text
//! timeline, 157 ms       |0 ms                 |100 ms
//! MainProcess     11993  .result......result.....result.....
//!   queue                644444444444222222222221
//!   PoolWorker-1  11995  [0========][1========][2==========X SIGKILL in task 2
//!   PoolWorker-2  11997  [3========][5=========][4=========! exit code 3 in task 4
//!   PoolWorker-3  12001                                    -
//!   PoolWorker-4  12000                                    -
//! - alive   [==] task or span   . waits   X killed   ! failed
//! 1-9 tasks in the queue
//! ```
//!
//! | `TIMELINE` | |
//! |---|---|
//! | not set, empty, `0` | nothing is recorded, and a call of this crate costs a few nanoseconds |
//! | `1` | lanes of text on standard error, as wide as the variable `COLUMNS` says, or the terminal, or else 80 columns |
//! | `run.svg`, or any other name that ends in `.svg` | a picture in this file, for a browser or a README |
//!
//! # In a program
//!
//! Each process has a lane, and so has the queue of each pool: `common`'s `Process` and `Pool` report by themselves which
//! process was started, waited, did which task, and was killed. Everything else the program has to report: a thread gets a
//! lane as soon as it says what it does, with [`span`], or what it waits for, with [`blocked`].
//!
//! ```
//! std::thread::scope(|scope| {
//!     for n in 0..3 {
//!         scope.spawn(move || {
//!             let _span = timeline::span(format_args!("task {n}")); // until the end of this block
//!             // ...
//!         });
//!     }
//! });
//! ```
//!
//! The picture is drawn when the program exits: at the end of `main`, by `exit`, or after a panic in `main`. A program that is
//! killed draws nothing. (On Windows, `exit` bypasses C's library. There the picture is drawn when the system itself reports
//! the end, which Wine does not do.) If something cannot be recorded or written, there is a warning on standard error.
//!
//! # In a library that starts processes
//!
//! This crate itself starts no processes and has no pools. A library that does reports them:
//!
//! | when | call |
//! |---|---|
//! | the program begins | [`begin`]; or, in a process that the library started, [`take_over`], with what its parent got from [`pass_on`] |
//! | a process is started | [`clock`] before, and [`started`] after it |
//! | it is about to be ended on purpose, and has ended | [`planned_end`], [`ended`] |
//! | a pool is made, gets a worker, gets tasks | [`new_pool`], [`member`], [`submitted`] |
//! | a worker does a task, or a chunk of tasks | [`task`], [`Span::begun`] |
//!
//! # How it works
//!
//! Every process writes into one log in shared memory (`log`; `recorder` has the calls above). When the first process exits,
//! it builds a tree of lanes from what is written there (`tree`, `run`), and draws it (`text`, `svg`).

mod log;
mod os;
mod output;
mod recorder;
mod run;
#[cfg(test)]
mod samples;
mod svg;
mod text;
mod tree;
mod units;

pub use recorder::{
    Span, begin, blocked, clock, ended, member, new_pool, pass_on, planned_end, span, started, submitted, take_over,
    task,
};
