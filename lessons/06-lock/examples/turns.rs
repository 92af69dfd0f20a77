//! Shows that a lock is taken in turns: while one thread holds it, the other one waits, however many cores there are.
//! `TIMELINE=1 cargo run -p lock --example turns` draws it. See also: the lesson.

use common::timeline;
use std::sync::Mutex;
use std::{thread, time::Duration};

const ROUNDS: u32 = 3;

fn run_thread(balance: &Mutex<u32>) {
    for _ in 0..ROUNDS {
        let alone = timeline::span("alone");
        thread::sleep(Duration::from_millis(20)); // work that needs no lock: nobody waits
        drop(alone);

        let blocked = timeline::blocked("lock");
        let mut balance = balance.lock().unwrap();
        drop(blocked);

        let _span = timeline::span("lock");
        *balance += 1;
        thread::sleep(Duration::from_millis(40)); // long work under a lock: avoid this
    } // the guard is dropped, and the thread that waits goes on
}

fn main() {
    common::init();
    let balance = Mutex::new(0);
    crossbeam::scope(|s| {
        for name in ["5", "8"] {
            let thread = s.builder().name(format!("thread {name}"));
            thread.spawn(|_| run_thread(&balance)).expect("a thread can be started");
        }
    })
    .unwrap(); // Err only if a thread panicked
    let balance = balance.into_inner().unwrap();
    println!("2 threads, {ROUNDS} rounds each: balance = {balance}");
    assert_eq!(balance, 2 * ROUNDS);
}
