//! The bench's measures with other crates. The argument says which: `procspawn`, `rayon` or `crossbeam`. Reads lines such as
//! `apply_async 2 10000` (what, workers, how many), and answers each with a number, or with `-` if there is no such thing.

mod processes;
mod threads;

use std::io::BufRead;
use std::time::Instant;

fn main() {
    procspawn::init();
    let measure = match std::env::args().nth(1).as_deref() {
        Some("procspawn") => processes::measure,
        Some("rayon") => threads::rayon,
        Some("crossbeam") => threads::crossbeam,
        _ => panic!("usage: peers procspawn|rayon|crossbeam"),
    };
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let words: Vec<&str> = line.split(' ').collect();
        let [what, workers, count] = words[..] else {
            panic!("what, workers, count: {line:?}")
        };
        let (workers, count) = (workers.parse().expect("workers"), count.parse().expect("a count"));
        match measure(what, workers, count) {
            Some(value) => println!("{value}"),
            None => println!("-"),
        }
    }
}

fn next(i: u64) -> u64 {
    i + 1
}

/// As in the bench itself (`ours.rs`).
fn compute(rounds: u64) -> u64 {
    (0..rounds).fold(1, |x: u64, i| {
        (x ^ i).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31)
    })
}

/// How many rounds of [`compute`] take a millisecond.
fn calibrate() -> u64 {
    let rounds = 200_000;
    let time = (0..9).map(|_| {
        let start = Instant::now();
        std::hint::black_box(compute(std::hint::black_box(rounds)));
        start.elapsed().as_secs_f64()
    });
    (rounds as f64 * 1e-3 / time.fold(f64::MAX, f64::min)) as u64
}

/// `what` is `apply_median` or `apply_99th`.
fn quantile(mut times: Vec<f64>, what: &str) -> f64 {
    times.sort_by(f64::total_cmp);
    times[if what == "apply_median" {
        times.len() / 2
    } else {
        times.len() * 99 / 100
    }]
}
