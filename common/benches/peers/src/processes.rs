//! procspawn.

use crate::{calibrate, compute, next, quantile};
use procspawn::Pool;
use std::collections::VecDeque;
use std::time::Instant;

/// The number of calls that are queued at most: each costs three descriptors until its result is there.
const AHEAD: usize = 64;

pub fn measure(what: &str, workers: usize, count: u64) -> Option<f64> {
    let each = |seconds: f64| Some(seconds / count as f64);
    match what {
        "start" => {
            let start = Instant::now();
            for i in 0..count {
                assert_eq!(procspawn::spawn(i, next).join().expect("the process ends well"), i + 1);
            }
            each(start.elapsed().as_secs_f64())
        }
        "make" => {
            let start = Instant::now();
            for _ in 0..count {
                let pool = Pool::new(workers).expect("a pool");
                many(&pool, workers as u64, next, |i| i, |i| i + 1);
                pool.shutdown();
            }
            each(start.elapsed().as_secs_f64())
        }
        "apply_async" => {
            let pool = warm(workers);
            let start = Instant::now();
            many(&pool, count, next, |i| i, |i| i + 1);
            let seconds = start.elapsed().as_secs_f64();
            pool.shutdown();
            each(seconds)
        }
        "speed_up" => {
            let pool = warm(workers);
            let rounds = calibrate();
            let expected = compute(rounds);
            let start = Instant::now();
            for _ in 0..count {
                assert_eq!(std::hint::black_box(compute(std::hint::black_box(rounds))), expected);
            }
            let alone = start.elapsed();
            let start = Instant::now();
            many(&pool, count, compute, |_| rounds, |_| expected);
            let together = start.elapsed();
            pool.shutdown();
            Some(alone.as_secs_f64() / together.as_secs_f64())
        }
        "apply_median" | "apply_99th" => {
            let pool = warm(workers);
            let times = (0..count).map(|i| {
                let start = Instant::now();
                assert_eq!(apply(&pool, i), i + 1);
                start.elapsed().as_secs_f64()
            });
            let time = quantile(times.collect(), what);
            pool.shutdown();
            Some(time)
        }
        _ => None,
    }
}

fn warm(workers: usize) -> Pool {
    let pool = Pool::new(workers).expect("a pool");
    many(&pool, 100, next, |i| i, |i| i + 1);
    pool
}

fn apply(pool: &Pool, i: u64) -> u64 {
    pool.spawn(i, next).join().expect("a result")
}

/// Calls and checks, [`AHEAD`] at a time.
fn many(pool: &Pool, count: u64, f: fn(u64) -> u64, argument: impl Fn(u64) -> u64, expected: impl Fn(u64) -> u64) {
    let collect = |(i, handle): (u64, procspawn::JoinHandle<u64>)| {
        assert_eq!(handle.join().expect("a result"), expected(i));
    };
    let mut handles = VecDeque::new();
    for i in 0..count {
        handles.push_back((i, pool.spawn(argument(i), f)));
        if handles.len() > AHEAD {
            handles.pop_front().into_iter().for_each(collect);
        }
    }
    handles.into_iter().for_each(collect);
}
