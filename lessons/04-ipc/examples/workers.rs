//! Shows how to give every worker of a pool an end of a queue, so that tasks can report while they run. A task consists of
//! bytes and cannot contain such an end; the pool's initializer gives each worker its own, once. Python:
//! `Pool(2, prepare, initargs=(queue,))`.
//!
//! `cargo run -p ipc --example workers`. See also: duplex.rs.

use common::Pool;
use ipc_channel::ipc::{self, IpcSender};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::sync::OnceLock;
use std::{process, thread, time::Duration};

/// What travels through the queue. serde's derive writes the code that turns it into bytes and back.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    task: usize,
    percent: u32,
    worker: u32,
}

/// Each worker's end of the queue. It is empty in the parent: every process has its own globals.
static QUEUE: OnceLock<IpcSender<Progress>> = OnceLock::new();

/// Runs once in each worker, before its first task; also in a worker that takes the place of another.
fn prepare(queue: IpcSender<Progress>) {
    QUEUE.set(queue).expect("a worker is prepared once");
}

fn long_time_task(task: usize) {
    let queue = QUEUE.get().expect("this worker is prepared");
    let worker = process::id();
    for percent in [50, 100] {
        thread::sleep(Duration::from_millis(50));
        let progress = Progress { task, percent, worker };
        queue.send(progress).expect("the parent listens");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    common::init();
    let (sender, receiver) = ipc::channel()?;
    let pool = Pool::builder().processes(2).initializer(prepare, sender).build()?;
    let tasks = pool.map_async(long_time_task, 0..4);

    let mut reported = [0; 4];
    for _ in 0..8 {
        let Progress { task, percent, worker } = receiver.recv()?; // while the tasks run
        println!("Task {task} ({worker}): {percent} %");
        reported[task] += 1;
        assert_eq!(percent, 50 * reported[task]);
        assert_ne!(worker, process::id());
    }
    tasks.get()?;
    pool.close().join()?;
    println!("All subprocesses done.");
    Ok(())
}
