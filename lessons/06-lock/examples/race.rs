//! Shows a race: without a lock, updates are lost. Counting means reading and then writing; what another thread writes in
//! between is overwritten. The number of lost updates differs from run to run, but some are lost every time.
//!
//! `cargo run -p lock --example race`. See also: the lesson, where a lock prevents this.
//!
//! The tutorial's `balance` would not show it: +n and -n cancel out, and since 3.10 Python does not switch threads inside
//! `change_it`. A counter shows every update that is lost.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{thread, time::Duration};

const ROUNDS: u64 = 10_000;

/// `counter = counter + 1` without a lock: a load, and later a store. A single `fetch_add(1)` would be right.
fn run_thread(counter: &AtomicU64, both: &Barrier) {
    // Long enough for the other thread to get to run.
    let pause = || thread::sleep(Duration::from_micros(1));
    for round in 0..ROUNDS {
        let read = counter.load(Relaxed);
        match round {
            0 => drop(both.wait()),           // both threads have read 0, and both will write 1
            _ if round % 100 == 0 => pause(), // the window: whatever the other thread writes now is lost
            _ => {}
        }
        counter.store(read + 1, Relaxed);
        if round % 70 == 0 {
            pause(); // here the other thread does no harm
        }
    }
}

fn count() -> u64 {
    let (counter, both) = (AtomicU64::new(0), Barrier::new(2));
    crossbeam::scope(|s| {
        s.spawn(|_| run_thread(&counter, &both));
        s.spawn(|_| run_thread(&counter, &both));
    })
    .unwrap(); // Err only if a thread panicked
    counter.into_inner()
}

fn main() {
    let expected = 2 * ROUNDS;
    println!("expected: {expected}");
    let counts = [(); 5].map(|()| count());
    for counted in counts {
        println!("counted: {counted}, lost updates: {}", expected - counted);
    }
    assert!(counts.iter().all(|&counted| counted < expected));
    assert!(counts.iter().any(|&counted| counted != counts[0]));
}
