//! Without a lock, updates are lost. Reading and writing are two steps; what another thread writes
//! between them is overwritten. Counted here, and in every run. See also: the lesson, with a lock.
//!
//! The tutorial's `balance` would not show it: +n and -n cancel out, and since 3.10 Python does not
//! switch threads inside `change_it`. A counter forgets nothing.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

const ROUNDS: u64 = 10_000;

/// `counter = counter + 1` without a lock: a load, and later a store. One `fetch_add(1)` would be
/// right. (A plain `static mut` counter: the compiler refuses it without `unsafe`, and is right.)
fn run_thread(counter: &AtomicU64, both: &Barrier) {
    for round in 0..ROUNDS {
        let read = counter.load(Relaxed);
        if round == 0 {
            both.wait(); // both have read 0, and both will write 1
        } else if round % 16 == 0 {
            thread::yield_now(); // let the other thread run, here of all places
        }
        counter.store(read + 1, Relaxed);
    }
}

fn main() {
    let (counter, both) = (AtomicU64::new(0), Barrier::new(2));
    crossbeam::scope(|s| {
        s.spawn(|_| run_thread(&counter, &both));
        s.spawn(|_| run_thread(&counter, &both));
    })
    .unwrap(); // Err only if a thread panicked

    let (expected, counted) = (2 * ROUNDS, counter.into_inner());
    println!("expected: {expected}");
    println!("counted: {counted}");
    println!("lost updates: {}", expected - counted);
    assert!(counted < expected);
}
