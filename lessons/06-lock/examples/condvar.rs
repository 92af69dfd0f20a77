//! Shows how to wait without polling: a thread that waits on a condition variable sleeps until another thread notifies it
//! that something has changed. Python: `with condition: condition.wait_for(lambda: balance >= 100)`,
//! `condition.notify_all()`.
//!
//! `cargo run -p lock --example condvar`. See also: the lesson.

use std::sync::{Condvar, Mutex};
use std::{thread, time::Duration};

/// A Python `Condition` contains its lock; here the lock and the condition variable are two fields.
#[derive(Default)]
struct Account {
    balance: Mutex<i64>,
    changed: Condvar,
}

fn pay_in(account: &Account) {
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(10));
        *account.balance.lock().unwrap() += 10;
        account.changed.notify_all();
    }
}

/// Asks again and again, which keeps a core busy. Returns how often it looked.
fn poll(account: &Account) -> u32 {
    let mut looks = 1;
    while *account.balance.lock().unwrap() < 100 {
        looks += 1;
    }
    looks
}

/// Sleeps between two looks. While it sleeps it does not hold the lock; otherwise nobody could pay in.
fn wait(account: &Account) -> u32 {
    let mut looks = 0;
    let balance = account.balance.lock().unwrap();
    let balance = account.changed.wait_while(balance, |balance| {
        looks += 1;
        *balance < 100 // looked at under the lock: does it have to go on waiting?
    });
    assert_eq!(*balance.unwrap(), 100); // here it holds the lock again
    looks
}

fn main() {
    let looks = [poll, wait].map(|until_100| {
        let account = Account::default();
        crossbeam::scope(|s| {
            s.spawn(|_| pay_in(&account));
            until_100(&account)
        })
        .unwrap() // Err only if a thread panicked
    });
    println!("asked again and again: looked {} times", looks[0]);
    println!("waited to be told: looked {} times", looks[1]);
    assert!(looks[1] < 50 && looks[1] < looks[0]);
}
