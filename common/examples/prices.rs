//! What do a thread, a process, a task, a lock, a message cost on this machine?
//!
//! ```console
//! $ cargo run --release -p common --example prices
//! ```
//!
//! Each price is the median of many measurements; the lower and the upper quartile are printed beside it, and half of all
//! measurements lie between them. Compare lines with each other rather than with another machine's.

use common::{Pool, Process};
use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

fn nothing() {}

fn successor(n: u64) -> u64 {
    n + 1
}

/// Sends each byte back, until there are no more.
fn echo(_: ()) {
    let (mut stdin, mut stdout) = (std::io::stdin(), std::io::stdout());
    let mut byte = [0];
    while stdin.read_exact(&mut byte).is_ok() {
        let answer = stdout.write_all(&byte).and_then(|()| stdout.flush());
        answer.expect("the parent reads on until it closes its end");
    }
}

/// Does `deal` again and again for a quarter of a second, at least five times, and prints what one of its `pieces` cost.
fn price(what: &str, pieces: u32, mut deal: impl FnMut() -> Result<(), common::Error>) -> Result<(), common::Error> {
    deal()?; // what happens only the first time is not part of the price
    let mut prices = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(250) || prices.len() < 5 {
        let start = Instant::now();
        deal()?;
        prices.push(start.elapsed() / pieces);
    }
    prices.sort();
    let part = |quarter: usize| format!("{:.1?}", prices[(prices.len() - 1) * quarter / 4]);
    println!("{what:<44} {:>9}   ({} to {})", part(2), part(1), part(3));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    common::init();
    let balance = Mutex::new(0_u64);
    price("a lock that nobody else wants", 10_000, || {
        (0..10_000).for_each(|_| *black_box(&balance).lock().unwrap() += 1);
        Ok(())
    })?;
    price("a lock that another thread wants too", 20_000, || {
        let work = || (0..10_000).for_each(|_| *balance.lock().unwrap() += 1);
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
        Ok(())
    })?;
    price("a thread, started and joined", 1, || {
        std::thread::spawn(nothing).join().expect("`nothing` does not panic");
        Ok(())
    })?;
    price("a process, started and joined", 1, || {
        Process::new(|()| nothing(), ()).start()?.join()
    })?;

    let (child_reads, mut to_child) = os_pipe::pipe()?;
    let (mut from_child, child_writes) = os_pipe::pipe()?;
    let echo = Process::new(echo, ()).stdin(child_reads).stdout(child_writes).start()?;
    price("a byte through a pipe to a process and back", 1, || {
        let there = to_child.write_all(&[0]);
        there
            .and_then(|()| from_child.read_exact(&mut [0]))
            .expect("the child answers");
        Ok(())
    })?;
    drop(to_child);
    echo.join()?;

    let pool = Pool::new(2)?;
    price("a task of a pool, waited for", 1, || pool.apply(successor, 1).map(drop))?;
    price("a task of a pool, one of 1,000 in flight", 1_000, || {
        let results: Vec<_> = (0..1_000).map(|n| pool.apply_async(successor, n)).collect();
        results.iter().try_for_each(|result| result.get().map(drop))
    })?;
    price("an item of a map of 100,000", 100_000, || {
        pool.map(successor, 0..100_000).map(drop)
    })?;
    Ok(pool.close().join()?)
}
