//! Shows what a pool is, by hand: forked workers, a pipe to each and a pipe from each, and `poll`, which tells which worker
//! has answered. A task goes to any worker that is free. A worker that dies costs the task that it was running, and another
//! worker takes its place.
//!
//! `cargo run -p pool --example pool_by_hand`. `common` does this in common/src/pool: `supervisor.rs` (starting workers,
//! replacing them), `queue.rs` (which task goes where), `worker.rs` (the worker's side). What is left out here: calling any
//! function with any type, handles with which a caller waits for a result, a new program instead of `fork` (so that the
//! parent may have threads), and everything that makes it fast.
#![cfg_attr(unix, allow(unsafe_code))]

#[cfg(unix)]
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{signal, wait::waitpid},
    unistd::{ForkResult, Pid, fork, pipe},
};
#[cfg(unix)]
use std::{error::Error, fs::File, io::Read, io::Write, os::fd::AsFd, process};

#[cfg(unix)]
struct Worker {
    pid: Pid,
    tasks: File,
    results: File,
    running: Option<u32>,
}

#[cfg(unix)]
fn long_time_task(name: u32) -> u32 {
    if name == 3 {
        let _ = signal::raise(signal::SIGKILL); // as when memory runs out
    }
    process::id()
}

/// The worker's side: a task in, a result out, until the parent closes the pipe.
#[cfg(unix)]
fn work(mut tasks: File, mut results: File) -> ! {
    let mut name = [0; 4];
    while tasks.read_exact(&mut name).is_ok() {
        let result = long_time_task(u32::from_ne_bytes(name));
        results.write_all(&result.to_ne_bytes()).expect("the parent reads it");
    }
    process::exit(0)
}

#[cfg(unix)]
fn start(others: &mut Vec<Worker>) -> nix::Result<Worker> {
    let (their_tasks, tasks) = pipe()?;
    let (results, their_results) = pipe()?;
    // SAFETY: this program has one thread, so no other one can be holding a lock.
    match unsafe { fork() }? {
        ForkResult::Child => {
            // The child has copies of the parent's ends: while it holds them, nobody sees end of file.
            drop((tasks, results));
            others.clear();
            work(their_tasks.into(), their_results.into())
        }
        ForkResult::Parent { child } => Ok(Worker {
            pid: child,
            tasks: tasks.into(),
            results: results.into(),
            running: None,
        }),
    }
}

/// Sleeps until there is something to read from a worker: a result, or end of file. Returns that worker's index.
#[cfg(unix)]
fn wait_for_any(workers: &[Worker]) -> nix::Result<usize> {
    let mut ends = Vec::new();
    for worker in workers {
        ends.push(PollFd::new(worker.results.as_fd(), PollFlags::POLLIN));
    }
    poll(&mut ends, PollTimeout::NONE)?;
    let ready = ends.iter().position(|end| end.any() == Some(true));
    Ok(ready.expect("`poll` returns when one is ready"))
}

#[cfg(unix)]
fn main() -> Result<(), Box<dyn Error>> {
    let mut workers = Vec::new();
    for _ in 0..2 {
        let worker = start(&mut workers)?;
        workers.push(worker);
    }
    let (mut names, mut lost) = (0..8, Vec::new());
    loop {
        for worker in workers.iter_mut().filter(|worker| worker.running.is_none()) {
            worker.running = names.next();
            if let Some(name) = worker.running {
                worker.tasks.write_all(&name.to_ne_bytes())?;
            }
        }
        if workers.iter().all(|worker| worker.running.is_none()) {
            break; // every task is done or lost
        }
        let i = wait_for_any(&workers)?;
        let name = workers[i].running.take().ok_or("an idle worker has ended")?;
        let mut result = [0; 4];
        if workers[i].results.read_exact(&mut result).is_ok() {
            println!("Task {name} was run by {}.", u32::from_ne_bytes(result));
        } else {
            println!("Task {name} is lost: {:?}.", waitpid(workers[i].pid, None)?);
            lost.push(name);
            workers[i] = start(&mut workers)?;
        }
    }
    assert_eq!(lost, [3]);
    for Worker { pid, tasks, .. } in workers {
        drop(tasks); // the worker reads end of file and exits
        waitpid(pid, None)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("This pool needs fork(), which Windows does not have. The lesson's pool works without it.");
}
