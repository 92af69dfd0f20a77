//! Shows that N threads use N cores: the same work, done by one thread, by two and by four. With two cores, two threads
//! need half the time, and four are no faster than two. CPU % is the CPU time of all threads together, divided by the time
//! on the clock; 100 % is one core. Python's threads need the same time however many there are: only the one that holds the
//! interpreter's lock (the GIL) computes.
//!
//! `cargo run --release -p threads --example cores`; with `TIMELINE=1` in front it draws who computes when.

use cpu_time::ProcessTime;
use std::{thread, time::Instant};

/// The work consists of this many equal blocks, however many threads share it.
const BLOCKS: usize = 4;

/// One block: counts the primes below 500,000. No lock, no sleep, no system call.
fn compute() -> usize {
    let _lane = common::timeline::span("compute"); // a lane in the picture
    (2..500_000).filter(|&n| is_prime(n)).count()
}

fn is_prime(n: u32) -> bool {
    let mut divisor = 2;
    while divisor * divisor <= n {
        if n % divisor == 0 {
            return false;
        }
        divisor += 1;
    }
    true
}

/// Lets `n` threads share the work; returns the seconds and the CPU % that it took.
fn measure(n: usize) -> (f64, f64) {
    let (clock, cpu) = (Instant::now(), ProcessTime::now());
    crossbeam::scope(|s| {
        for _ in 0..n {
            s.spawn(|_| (0..BLOCKS / n).for_each(|_| assert_eq!(compute(), 41_538)));
        }
    })
    .unwrap(); // Err only if a thread panicked
    let computed = cpu.elapsed().as_secs_f64();
    let seconds = clock.elapsed().as_secs_f64();
    (seconds, 100.0 * computed / seconds)
}

fn main() {
    common::init();
    // The cores that this process may use: `taskset -c 0` or a container can make them fewer.
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    println!("cores: {cores}");
    for n in [1, 2, 4] {
        let (seconds, cpu) = measure(n);
        let used = n.min(cores);
        let most = 100.0 * used as f64;
        let busy = n % used == 0 && cpu < 0.9 * most; // four threads cannot share three cores evenly
        let note = if busy {
            "; other programs use these cores too"
        } else {
            ""
        };
        println!("threads: {n}, time: {seconds:.2} s, CPU: {cpu:.0} % of {most} %{note}");
        // Not `most`: a container may allow one core and a half, and its programs see one.
        assert!(cpu < 120.0 * n.min(cores + 1) as f64, "more than {n} threads can use");
    }
}
