//! Lesson 06: two threads change one balance, 100,000 times each, under a lock, and at the end it is always 0.
//!
//! In Python the lock is separate from `balance`, and nothing stops code that forgets `acquire`. In Rust the balance is
//! *inside* the lock. As long as threads share it, the only way to reach it is `lock()`, which returns a guard; when the
//! guard goes out of scope, the lock is released. Python: `lock.acquire()`, `lock.release()`.
//!
//!     $ cargo run --bin 06-lock
//!     acquire and release: balance = 0
//!     guard: balance = 0
//!
//! See also: examples `race` (no lock), `deadlock` and its cure `lock_order`, `guard`, `condvar`.

use std::sync::Mutex;

/// Pays in, then pays out. A thread that has the balance to itself leaves it as it was.
fn change_it(balance: &mut i64, n: i64) {
    *balance += n;
    *balance -= n;
}

/// As in the tutorial: acquire, change, release.
fn run_thread(lock: &Mutex<i64>, n: i64) {
    for _ in 0..100_000 {
        // lock.acquire(). `lock()` returns Err if another thread has panicked while it held the lock.
        let mut balance = lock.lock().unwrap();
        change_it(&mut balance, n);
        // lock.release(). From here on there is no `balance`; using it would not compile.
        drop(balance);
    }
}

/// The usual way in Rust, and Python's `with lock:`. No release can be forgotten, not even in a panic.
fn run_thread_with_guard(lock: &Mutex<i64>, n: i64) {
    for _ in 0..100_000 {
        change_it(&mut lock.lock().unwrap(), n); // the guard lives until the end of this statement
    }
}

/// Lets two threads change one balance. When both have ended, it is no longer shared, and `into_inner` takes it out of the
/// lock.
fn in_two_threads(run: fn(&Mutex<i64>, i64)) -> i64 {
    let balance = Mutex::new(0); // the balance and its lock are one value
    crossbeam::scope(|s| {
        s.spawn(|_| run(&balance, 5));
        s.spawn(|_| run(&balance, 8));
    })
    .unwrap(); // Err only if a thread panicked; here both have ended
    balance.into_inner().unwrap()
}

fn main() {
    let balance = in_two_threads(run_thread);
    println!("acquire and release: balance = {balance}");
    assert_eq!(balance, 0);

    let balance = in_two_threads(run_thread_with_guard);
    println!("guard: balance = {balance}");
    assert_eq!(balance, 0);
}
