//! What a Rust programmer would take where threads are enough: rayon, and crossbeam's channels.
//!
//! There are as many threads as workers, but no more than cores: more would only be slower.

use crate::{calibrate, compute, next, quantile};
use crossbeam_channel::{Receiver, Sender};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn threads(workers: usize) -> usize {
    std::thread::available_parallelism().map_or(workers, |cores| workers.min(cores.get()))
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn check(results: impl IntoIterator<Item = (u64, u64)>, count: u64, expected: impl Fn(u64) -> u64) {
    let checked = results
        .into_iter()
        .take(count as usize)
        .inspect(|&(i, result)| assert_eq!(result, expected(i)));
    assert_eq!(checked.count() as u64, count);
}

/// 1 ms of computing, `count` times: alone, divided by the time that `together` takes, which gets the argument.
fn speed_up(count: u64, together: impl FnOnce(u64, u64)) -> f64 {
    let rounds = calibrate();
    let expected = compute(rounds);
    let alone = seconds(|| (0..count).for_each(|_| assert_eq!(compute(black_box(rounds)), expected)));
    alone / seconds(|| together(rounds, expected))
}

fn latency(what: &str, count: u64, apply: impl Fn(u64) -> u64) -> f64 {
    quantile(
        (0..count).map(|i| seconds(|| assert_eq!(apply(i), i + 1))).collect(),
        what,
    )
}

/// In a process of its own, whose memory has no holes that the tasks might fill.
fn measure_alone(who: &str, what: &str, workers: usize, count: u64) -> Option<f64> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    let mut process = command
        .arg(who)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    std::io::Write::write_all(
        &mut process.stdin.take()?,
        format!("{what}_alone {workers} {count}").as_bytes(),
    )
    .ok()?;
    String::from_utf8(process.wait_with_output().ok()?.stdout)
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// What it takes to queue a task while the threads are held up: seconds, or bytes beside the argument.
fn queue(what: &str, count: u64, submit: impl Fn(u64)) -> f64 {
    std::thread::sleep(Duration::from_millis(200));
    let before = resident();
    let time = seconds(|| (0..count).for_each(submit)) / count as f64;
    let bytes = (resident() - before) / count as f64 - size_of::<u64>() as f64;
    if what == "queue_time_alone" { time } else { bytes }
}

/// Bytes of memory in use (Linux; elsewhere not a number).
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(f64::NAN)
        * 1024.0
}

pub fn rayon(what: &str, workers: usize, count: u64) -> Option<f64> {
    let each = |seconds: f64| Some(seconds / count as f64);
    if what == "make" {
        return each(seconds(|| {
            for _ in 0..count {
                spawn_all(&thread_pool(workers), workers as u64, next, |i| i, |i| i + 1);
            }
        }));
    }
    let pool = thread_pool(threads(workers));
    spawn_all(&pool, 100, next, |i| i, |i| i + 1);
    let map = |length| {
        let results: Vec<u64> = pool.install(|| {
            (0..count as usize)
                .into_par_iter()
                .with_max_len(length)
                .map(|i| next(i as u64))
                .collect()
        });
        assert!(results.into_iter().eq(1..=count), "a wrong result");
    };
    match what {
        "apply_async" => each(seconds(|| spawn_all(&pool, count, next, |i| i, |i| i + 1))),
        "imap_unordered" => each(seconds(|| {
            let (sender, results) = mpsc::channel();
            pool.spawn(move || {
                let send = |sender: &mut mpsc::Sender<_>, i| sender.send((i, next(i))).expect("somebody listens");
                (0..count).par_bridge().for_each_with(sender, send);
            });
            check(results, count, |i| i + 1);
        })),
        "map" => each(seconds(|| map(usize::MAX))),
        "map_single" => each(seconds(|| map(1))),
        "speed_up" => Some(speed_up(count, |rounds, expected| {
            spawn_all(&pool, count, compute, |_| rounds, |_| expected);
        })),
        "apply_median" | "apply_99th" => Some(latency(what, count, |i| pool.install(|| next(i)))),
        "queue_time" | "queue_bytes" => measure_alone("rayon", what, workers, count),
        "queue_time_alone" | "queue_bytes_alone" => {
            (0..threads(workers)).for_each(|_| pool.spawn(|| std::thread::sleep(Duration::from_secs(60))));
            let (sender, _results) = mpsc::channel();
            Some(queue(what, count, |i| {
                let sender = sender.clone();
                pool.spawn(move || _ = sender.send(next(i)));
            }))
        }
        _ => None,
    }
}

fn thread_pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool")
}

/// `spawn`, with the results through a channel.
fn spawn_all(
    pool: &ThreadPool,
    count: u64,
    f: impl Fn(u64) -> u64 + Copy + Send + 'static,
    argument: impl Fn(u64) -> u64,
    expected: impl Fn(u64) -> u64,
) {
    let (sender, results) = mpsc::channel();
    for i in 0..count {
        let (sender, argument) = (sender.clone(), argument(i));
        pool.spawn(move || sender.send((i, f(argument))).expect("somebody listens"));
    }
    drop(sender);
    check(results, count, expected);
}

/// How many items of an `imap_unordered` are under way at a time.
const AHEAD: u64 = 1024;

pub fn crossbeam(what: &str, workers: usize, count: u64) -> Option<f64> {
    let each = |seconds: f64| Some(seconds / count as f64);
    if what == "make" {
        return each(seconds(|| {
            for _ in 0..count {
                let threads = Threads::new(workers, next);
                threads.run(workers as u64, u64::MAX, |i| i, |i| i + 1);
                threads.end();
            }
        }));
    }
    let threads = threads(workers);
    match what {
        "apply_async" | "imap_unordered" => {
            let threads = Threads::new(threads, next);
            let ahead = if what == "apply_async" { u64::MAX } else { AHEAD };
            threads.run(100, ahead, |i| i, |i| i + 1);
            let time = seconds(|| threads.run(count, ahead, |i| i, |i| i + 1));
            threads.end();
            each(time)
        }
        "speed_up" => {
            let threads = Threads::new(threads, compute);
            let times = speed_up(count, |rounds, expected| {
                threads.run(count, u64::MAX, |_| rounds, |_| expected)
            });
            threads.end();
            Some(times)
        }
        "apply_median" | "apply_99th" => {
            let threads = Threads::new(threads, next);
            let time = latency(what, count, |i| {
                threads.tasks.send((i, i)).expect("they live");
                threads.results.recv().expect("they live").1
            });
            threads.end();
            Some(time)
        }
        "queue_time" | "queue_bytes" => measure_alone("crossbeam", what, workers, count),
        "queue_time_alone" | "queue_bytes_alone" => {
            let held_up = Threads::new(threads, |seconds| {
                std::thread::sleep(Duration::from_secs(seconds));
                seconds
            });
            let submit = |i| held_up.tasks.send((i, 60)).expect("they live");
            (0..threads as u64).for_each(submit);
            Some(queue(what, count, submit))
        }
        _ => None,
    }
}

/// Threads between two channels. What goes in is a task's number and its argument, what comes out its number and result.
struct Threads {
    tasks: Sender<(u64, u64)>,
    results: Receiver<(u64, u64)>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    fn new(threads: usize, f: impl Fn(u64) -> u64 + Copy + Send + 'static) -> Threads {
        let (tasks, receiver) = crossbeam_channel::unbounded();
        let (sender, results) = crossbeam_channel::unbounded();
        let start = |_| {
            let (tasks, results): (Receiver<(u64, u64)>, Sender<_>) = (receiver.clone(), sender.clone());
            std::thread::spawn(move || {
                for (i, argument) in tasks {
                    results.send((i, f(argument))).expect("somebody listens");
                }
            })
        };
        let threads = (0..threads).map(start).collect();
        Threads {
            tasks,
            results,
            threads,
        }
    }

    /// At most `ahead` tasks are under way at a time.
    fn run(&self, count: u64, ahead: u64, argument: impl Fn(u64) -> u64, expected: impl Fn(u64) -> u64) {
        for i in 0..count {
            if i >= ahead {
                check(&self.results, 1, &expected);
            }
            self.tasks.send((i, argument(i))).expect("they live");
        }
        check(&self.results, count.min(ahead), expected);
    }

    fn end(self) {
        drop(self.tasks);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().expect("it does not panic"));
    }
}
