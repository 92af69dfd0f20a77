//! Lesson 03: a pool of worker processes. Shows that a pool of four never runs more than four tasks
//! at once: the fifth starts when the first worker is free.
//! Python: `Pool(4)`, `apply_async`, `close`, `join`. `cargo run --bin 03-pool` prints
//!
//!     Run task 0 (<pid>)...           ... and tasks 1, 2, 3; then, up to three seconds later,
//!     Task 2 runs 0.51 seconds.
//!     Run task 4 (<pid>)...           the same pid as task 2
//!
//! See also: examples/map.rs (what it gains), examples/crash.rs (a worker is killed).

use common::Pool;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};
use std::{process, thread};

// A worker runs this, with the arguments that the parent sent; the result travels back.
fn long_time_task(name: u32) -> (SystemTime, SystemTime) {
    println!("Run task {name} ({})...", process::id());
    // `SystemTime`, since an `Instant` of one process says nothing to another.
    let start = SystemTime::now();
    thread::sleep(Duration::from_secs_f64(random() * 3.0));
    let end = SystemTime::now();
    let seconds = end.duration_since(start).unwrap_or_default().as_secs_f64();
    println!("Task {name} runs {seconds:.2} seconds.");
    (start, end)
}

// From 0 to 1. The standard library has no `random()`, but its hash maps begin with random keys.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

fn main() -> Result<(), common::Error> {
    common::init(); // workers go no further than this
    println!("Parent process {}.", process::id());
    let pool = Pool::new(4)?; // `Pool::per_core()`: as many workers as cores
    let workers = pool.processes();
    let results: Vec<_> = (0..5).map(|i| pool.apply_async(long_time_task, i)).collect();
    println!("Waiting for all subprocesses done...");
    let pool = pool.close(); // from here on there is no `apply_async` ...
    pool.join()?; // ... and only from here on there is a `join`
    println!("All subprocesses done.");

    let runs: Result<Vec<_>, _> = results.iter().map(|result| result.get()).collect();
    let runs = runs?;
    for (now, _) in &runs {
        let running = runs.iter().filter(|(start, end)| start <= now && now < end);
        assert!(running.count() <= workers);
    }
    Ok(())
}
