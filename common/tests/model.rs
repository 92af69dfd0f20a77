//! Every order in which a worker's claims and a pool's recalls can follow each other, tried by loom on the very code of
//! `pool::ticket`:
//!
//! ```console
//! $ RUSTFLAGS="--cfg model" cargo test --release -p common --test model
//! ```
#![cfg(model)]

use loom::sync::atomic::AtomicU64;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

#[path = "../src/pool/ticket.rs"]
mod ticket;

/// The items that a worker may start, of those that lie in its pipe.
fn work(next: &AtomicU64, items: &[u64]) -> Vec<u64> {
    items
        .iter()
        .copied()
        .filter(|&item| ticket::claim(next, item))
        .collect()
}

#[test]
fn each_item_is_started_or_taken_back() {
    loom::model(|| {
        let next = Arc::new(AtomicU64::new(0));
        let worker = thread::spawn({
            let next = next.clone();
            move || work(&next, &[0, 1, 2])
        });
        let first = ticket::recall(&next, 3);
        let started = worker.join().unwrap();
        assert_eq!(
            started,
            (0..first).collect::<Vec<u64>>(),
            "the others are the pool's again"
        );
    });
}

#[test]
fn two_recalls_take_nothing_twice() {
    loom::model(|| {
        let next = Arc::new(AtomicU64::new(0));
        let worker = thread::spawn({
            let next = next.clone();
            // Items 0 and 1 lie in the pipe; 2 and 3 are sent after a recall of the first two.
            move || work(&next, &[0, 1, 2, 3])
        });
        let first = ticket::recall(&next, 2);
        let second = ticket::recall(&next, 4);
        let started = worker.join().unwrap();
        let mut all: Vec<u64> = (first..2).chain(second..4).chain(started).collect();
        all.sort();
        assert_eq!(all, [0, 1, 2, 3], "each item once");
    });
}

#[test]
fn a_dead_workers_number_tells_what_it_started() {
    for death in 0..=3 {
        loom::model(move || {
            let next = Arc::new(AtomicU64::new(0));
            let worker = thread::spawn({
                let next = next.clone();
                // It dies when it has come so far.
                move || work(&next, &[0, 1, 2][..death])
            });
            let first = ticket::recall(&next, 3);
            let started = worker.join().unwrap();
            // What the pool sees afterwards: everything that was started and nothing else lies below.
            assert_eq!(started.len() as u64, first.min(death as u64));
            assert_eq!(next.load(Acquire), 3);
        });
    }
}
