//! Exercise 3: here the lock that you write is tested.
//!
//! A faulty lock lets two threads in only if a thread is interrupted at exactly the wrong place, perhaps once in a million
//! times. That is too rare for a test. Here every step is such a place: before a thread reads or writes, it pauses now and
//! then and lets the other one run.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::{thread, time::Duration};

/// An [`AtomicBool`] with all of its methods. Before each of them the thread may pause.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    pub const fn new(value: bool) -> Flag {
        Flag(AtomicBool::new(value))
    }
}

/// Each call of a method comes through here.
impl Deref for Flag {
    type Target = AtomicBool;

    fn deref(&self) -> &AtomicBool {
        FLAG_STEPS.fetch_add(1, Relaxed);
        pause_now_and_then();
        &self.0
    }
}

static FLAG_STEPS: AtomicU64 = AtomicU64::new(0);

/// Lets two threads count under the lock that `acquire` takes. The lock must be held as long as the value that `acquire`
/// returns is alive. Prints how far they counted, and how far they should have counted: a little more than 2000, and
/// different each time.
pub fn count_under<G>(acquire: impl Fn() -> G + Sync) {
    let counter = AtomicU64::new(0);
    let rounds = 1000 + random() % 100;
    let both = Barrier::new(2);
    let run_thread = || {
        both.wait(); // neither thread is done before the other one has started
        for _ in 0..rounds {
            let _guard = acquire();
            let read = counter.load(Relaxed); // as in the example `race`: right only under a lock
            pause_now_and_then();
            counter.store(read + 1, Relaxed);
        }
    };
    thread::scope(|s| {
        s.spawn(run_thread);
        s.spawn(run_thread);
    });
    assert!(FLAG_STEPS.load(Relaxed) > 0, "this lock does not use a `lock::Flag`");
    println!("own lock: counter = {} of {}", counter.into_inner(), 2 * rounds);
}

/// Pauses one time in eight.
fn pause_now_and_then() {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(random());
    }
    // A linear congruential generator, whose highest bits are the most random ones.
    let state = STATE.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    STATE.set(state);
    if state >> 61 == 0 {
        thread::sleep(Duration::from_micros(1));
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}
