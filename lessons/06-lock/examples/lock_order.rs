//! Shows how to prevent the deadlock: every thread takes the locks in the same order, here by account number, whatever it
//! wants to do with them.
//!
//! `cargo run -p lock --example lock_order`. See also: `deadlock`.

use std::sync::Mutex;

const ROUNDS: u32 = 100_000;

/// Moves 1 from one account to another. It needs both locks, and another thread may want the same two the other way round.
fn transfer(accounts: &[Mutex<i64>], from: usize, to: usize) {
    // The smaller number first. No thread that holds the larger one waits for the smaller one, so there is no cycle.
    let mut low = accounts[from.min(to)].lock().unwrap();
    let mut high = accounts[from.max(to)].lock().unwrap();
    let (from, to) = if from < to {
        (&mut low, &mut high)
    } else {
        (&mut high, &mut low)
    };
    **from -= 1;
    **to += 1;
}

fn main() {
    let accounts = [Mutex::new(100), Mutex::new(100)];
    crossbeam::scope(|s| {
        s.spawn(|_| (0..ROUNDS).for_each(|_| transfer(&accounts, 0, 1)));
        s.spawn(|_| (0..ROUNDS).for_each(|_| transfer(&accounts, 1, 0)));
    })
    .unwrap(); // Err only if a thread panicked

    let [left, right] = accounts.map(|account| account.into_inner().unwrap());
    println!("{ROUNDS} transfers each way, no deadlock: left = {left}, right = {right}");
    assert_eq!((left, right), (100, 100));
}
