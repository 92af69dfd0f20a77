//! When is the lock released? When its guard goes: at the end of the block, at `drop`, at the end
//! of the statement for a guard without a name, and also when a panic unwinds through it.

use std::sync::{Mutex, TryLockError};

/// Asks without waiting whether somebody holds the lock.
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

    // Trap: a guard without a name in the head of a `match` lives to the end of the match.
    match *lock.lock().unwrap() {
        2 => say(&lock, "inside match", true),
        other => unreachable!("{other}"),
    }
    // With `let` the statement ends first, and the guard with it.
    let balance = *lock.lock().unwrap();
    match balance {
        2 => say(&lock, "inside match after let", false),
        other => unreachable!("{other}"),
    }
}
