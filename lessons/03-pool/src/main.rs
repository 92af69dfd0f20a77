//! Lesson 03: a pool of worker processes. A pool of four never runs more than four tasks at once:
//! the fifth starts as soon as one of the workers is free.
//! Python: `Pool(4)`, `apply_async`, `close`, `join`. `cargo run --bin 03-pool` prints
//!
//!     Run task 0 (<pid>)...           ... and tasks 1, 2 and 3; up to three seconds later:
//!     Task 2 runs 0.51 seconds.
//!     Run task 4 (<pid>)...           with the same pid as task 2
//!
//! See also: the examples `map` (what a pool gains), `progress`, `crash` (a worker is killed) and `pool_by_hand`.

use common::Pool;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};
use std::{process, thread};

// A worker runs this with the argument that the parent has sent; the result travels back.
fn long_time_task(name: u32) -> (SystemTime, SystemTime) {
    println!("Run task {name} ({})...", process::id());
    // `SystemTime`, because an `Instant` cannot be sent to another process.
    let start = SystemTime::now();
    thread::sleep(Duration::from_secs_f64(random() * 3.0));
    let end = SystemTime::now();
    let seconds = end.duration_since(start).unwrap_or_default().as_secs_f64();
    println!("Task {name} runs {seconds:.2} seconds.");
    (start, end)
}

// From 0 to 1. The standard library has no `random()`, but its hash maps start from random keys.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

fn main() -> Result<(), common::Error> {
    common::init(); // a worker gets no further than this line
    println!("Parent process {}.", process::id());
    let pool = Pool::new(4)?; // or `Pool::per_core()`: as many workers as cores
    let workers = pool.processes();
    let results: Vec<_> = (0..5).map(|i| pool.apply_async(long_time_task, i)).collect();
    println!("Waiting for all subprocesses done...");
    let pool = pool.close(); // from here on there is no `apply_async` ...
    pool.join()?; // ... and only now is there a `join`
    println!("All subprocesses done.");

    let runs: Result<Vec<_>, _> = results.iter().map(|result| result.get()).collect();
    let runs = runs?;
    // Whenever a task started, no more tasks were running than there are workers.
    for (now, _) in &runs {
        let running = runs.iter().filter(|(start, end)| start <= now && now < end);
        assert!(running.count() <= workers);
    }
    Ok(())
}
