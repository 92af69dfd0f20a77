//! Shows when a lock is released: when its guard is dropped. That is at the end of the block, at `drop`, or, for a guard
//! without a name, at the end of the statement.
//!
//! `cargo run -p lock --example guard`. See also: the lesson.

use std::sync::{Mutex, TryLockError};

/// Finds out, without waiting, whether somebody holds the lock.
fn held(lock: &Mutex<i64>) -> bool {
    matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
}

fn say(lock: &Mutex<i64>, when: &str, expected: bool) {
    let held = held(lock);
    println!("{when}: {}", if held { "held" } else { "free" });
    assert_eq!(held, expected);
}

fn main() {
    let lock = Mutex::new(0);
    say(&lock, "at the start", false);
    {
        let mut balance = lock.lock().unwrap();
        *balance += 1; // the last *use* of the guard, not its end
        say(&lock, "after the last use", true);
    }
    say(&lock, "after the block", false);

    let balance = lock.lock().unwrap();
    drop(balance);
    say(&lock, "after drop", false);

    *lock.lock().unwrap() += 1;
    say(&lock, "after a statement", false);

    // A trap: a guard without a name in the head of a `match` lives until the end of the match.
    match *lock.lock().unwrap() {
        2 => say(&lock, "inside match", true),
        other => unreachable!("{other}"),
    }
    // With `let`, the statement ends before the match begins, and so does the guard.
    let balance = *lock.lock().unwrap();
    match balance {
        2 => say(&lock, "inside match after let", false),
        other => unreachable!("{other}"),
    }
}
