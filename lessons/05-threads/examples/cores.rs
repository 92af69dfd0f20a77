//! N busy threads use N cores. CPU % is the time that all threads have computed, per time on the
//! clock: 100 % is one core. Python's threads stay at about 100 % together, however many there
//! are: only the one that holds the interpreter's lock (the GIL) computes.

use cpu_time::ProcessTime;
use std::{hint, thread, time::Duration, time::Instant};

/// Computes until the time is over; no lock, no sleep, no system call but the clock.
fn compute(until: Instant) -> u64 {
    let _lane = common::timeline::span("compute"); // a lane in the picture: TIMELINE=1
    let mut steps = 0;
    while Instant::now() < until {
        for n in 0..10_000_u64 {
            hint::black_box(n * n);
        }
        steps += 10_000;
    }
    steps
}

/// CPU % of `n` threads that compute side by side.
fn measure(n: usize) -> f64 {
    let (clock, cpu) = (Instant::now(), ProcessTime::now());
    let until = clock + Duration::from_millis(300);
    crossbeam::scope(|s| {
        for _ in 0..n {
            s.spawn(|_| compute(until));
        }
    })
    .unwrap(); // Err only if `compute` panicked
    100.0 * cpu.elapsed().as_secs_f64() / clock.elapsed().as_secs_f64()
}

fn main() {
    common::init();
    // What this process may use: `taskset -c 0` or a container makes it fewer.
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    println!("cores: {cores}");
    for n in [1, 2, 2 * cores.max(2)] {
        println!("threads: {n}, CPU: {:.0} %", measure(n));
    }
}
