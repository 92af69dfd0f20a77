//! The measures with `common`.

use crate::Contestant;
use common::{AsyncResult, Pool, Process};
use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Common {
    /// Of the last measure.
    doorbells: Option<f64>,
}

/// The trivial task.
pub fn next(i: u64) -> u64 {
    i + 1
}

/// A task that only computes.
pub fn compute(rounds: u64) -> u64 {
    (0..rounds).fold(1, |x: u64, i| {
        (x ^ i).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31)
    })
}

/// How many rounds of [`compute`] take a millisecond.
pub fn calibrate() -> u64 {
    let rounds = 200_000;
    let time = (0..9).map(|_| seconds(|| _ = black_box(compute(black_box(rounds)))));
    (rounds as f64 * 1e-3 / time.fold(f64::MAX, f64::min)) as u64
}

/// Bytes that serde takes as a whole, not one by one, and that can be sent again without a copy.
#[derive(Clone, PartialEq)]
pub struct Bytes(pub Arc<Vec<u8>>);

impl Bytes {
    pub fn sample(size: usize) -> Bytes {
        Bytes(Arc::new((0..size).map(|i| i as u8).collect()))
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(Arc::new(bytes.to_vec())))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// The number of bytes that are on their way at a time.
const UNDER_WAY: usize = 16 << 20;

fn echo(bytes: Bytes) -> Bytes {
    bytes
}

pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// `what` is `apply_median` or `apply_99th`.
pub fn quantile(mut times: Vec<f64>, what: &str) -> f64 {
    times.sort_by(f64::total_cmp);
    times[if what == "apply_median" {
        times.len() / 2
    } else {
        times.len() * 99 / 100
    }]
}

/// So much memory, every page of it written to.
pub fn touched_gibibyte() -> Vec<u8> {
    vec![1; 1 << 30]
}

/// A pool whose workers have worked.
/// A pool each of whose workers has done something: how long they take to begin is another measure.
fn warm(workers: usize) -> Pool {
    let pool = Pool::new(workers).expect("a pool");
    let mut begun = HashSet::new();
    while begun.len() < workers {
        begun.extend(pool.map_with_chunksize(who, 0..workers, 1).expect("results"));
    }
    pool
}

/// Long enough that others take the next one.
fn who(_: usize) -> u32 {
    std::thread::sleep(Duration::from_millis(1));
    std::process::id()
}

fn check(results: Vec<u64>, count: u64) {
    assert!(results.into_iter().eq(1..=count), "a wrong result");
}

fn apply_all(pool: &Pool, count: u64) {
    let results: Vec<_> = (0..count).map(|i| pool.apply_async(next, i)).collect();
    for (i, result) in results.iter().enumerate() {
        assert_eq!(result.get().expect("a result"), i as u64 + 1);
    }
}

impl Contestant for Common {
    fn measure(&mut self, what: &str, workers: usize, count: usize) -> Option<f64> {
        let tasks = count as u64;
        let each = |seconds: f64| Some(seconds / count as f64);
        self.doorbells = None;
        let mut with_pool = |work: &mut dyn FnMut(&Pool)| {
            let pool = warm(workers);
            let before = writes();
            let time = seconds(|| work(&pool));
            self.doorbells = writes()
                .zip(before)
                .map(|(after, before)| (after - before) as f64 * 1e3 / count as f64);
            pool.close().join().expect("all tasks are done");
            each(time)
        };
        match what {
            "start" | "start_bare" => each(seconds(|| start_and_join(tasks))),
            "start_large" => {
                let memory = touched_gibibyte();
                let time = seconds(|| start_and_join(tasks));
                drop(black_box(memory));
                each(time)
            }
            "make" => each(seconds(|| {
                for _ in 0..count {
                    let pool = Pool::new(workers).expect("a pool");
                    check(pool.map(next, 0..workers as u64).expect("results"), workers as u64);
                    pool.close().join().expect("all tasks are done");
                }
            })),
            "apply_async" => with_pool(&mut |pool| apply_all(pool, tasks)),
            "imap" => with_pool(&mut |pool| {
                let results: Result<_, _> = pool.imap(next, 0..tasks).collect();
                check(results.expect("results"), tasks);
            }),
            "imap_unordered" => with_pool(&mut |pool| {
                let sum: u64 = pool
                    .imap_unordered(next, 0..tasks)
                    .map(|result| result.expect("a result"))
                    .sum();
                assert_eq!(sum, (1..=tasks).sum());
            }),
            "map" => with_pool(&mut |pool| check(pool.map(next, 0..tasks).expect("results"), tasks)),
            "map_single" => {
                with_pool(&mut |pool| check(pool.map_with_chunksize(next, 0..tasks, 1).expect("results"), tasks))
            }
            "speed_up" => {
                let rounds = calibrate();
                let expected = compute(rounds);
                let alone = seconds(|| (0..count).for_each(|_| assert_eq!(compute(black_box(rounds)), expected)));
                let together = with_pool(&mut |pool| {
                    let results: Vec<_> = (0..count).map(|_| pool.apply_async(compute, rounds)).collect();
                    results
                        .iter()
                        .for_each(|result| assert_eq!(result.get().expect("a result"), expected));
                });
                together.map(|each| alone / (each * count as f64))
            }
            "apply_median" | "apply_99th" => {
                let mut times = Vec::with_capacity(count);
                with_pool(&mut |pool| {
                    let apply = |i| assert_eq!(pool.apply(next, i).expect("a result"), i + 1);
                    times.extend((0..tasks).map(|i| seconds(|| apply(i))));
                });
                Some(quantile(times, what))
            }
            "idle" => {
                let pool = warm(workers);
                let before = cpu_time()?;
                std::thread::sleep(Duration::from_secs(1));
                let time = cpu_time()? - before;
                drop(pool);
                Some(time)
            }
            "queue_time" | "queue_bytes" => queue(count, what),
            _ => {
                let size = what.strip_prefix("echo_")?.parse().expect("a size");
                let sample = Bytes::sample(size);
                with_pool(&mut |pool| {
                    let check = |result: AsyncResult<Bytes>| {
                        assert!(result.get().expect("a result") == sample, "a wrong result");
                    };
                    let mut under_way = VecDeque::new();
                    for _ in 0..count {
                        if under_way.len() == (UNDER_WAY / size).max(2) {
                            under_way.pop_front().into_iter().for_each(check);
                        }
                        under_way.push_back(pool.apply_async(echo, sample.clone()));
                    }
                    under_way.into_iter().for_each(check);
                })
            }
        }
    }

    fn doorbells(&self) -> Option<f64> {
        self.doorbells
    }
}

fn start_and_join(count: u64) {
    for i in 0..count {
        let process = Process::new(next, i).start().expect("it starts");
        assert_eq!(process.join().expect("it ends well"), i + 1);
    }
}

/// This process and its children, as folders of `/proc` (Linux): a pool's workers, and peers, who do nothing meanwhile.
fn processes() -> Option<Vec<PathBuf>> {
    let mut processes = vec![PathBuf::from("/proc/self")];
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let children = std::fs::read_to_string(thread.ok()?.path().join("children")).unwrap_or_default();
        processes.extend(children.split_whitespace().map(|pid| Path::new("/proc").join(pid)));
    }
    Some(processes)
}

/// How often this process and its children have called `write` (Linux). While a pool works, each call rings a doorbell.
fn writes() -> Option<u64> {
    let of = |process: PathBuf| {
        let io = std::fs::read_to_string(process.join("io")).ok()?;
        io.lines()
            .find_map(|line| line.strip_prefix("syscw: "))?
            .parse::<u64>()
            .ok()
    };
    processes()?.into_iter().map(of).sum()
}

/// Seconds of processor time that the threads of these processes have had (Linux), except for this one, which asks.
fn cpu_time() -> Option<f64> {
    let mut nanoseconds = 0;
    for process in processes()? {
        for thread in std::fs::read_dir(process.join("task")).ok()? {
            let thread = thread.ok()?;
            if thread.file_name() == *std::process::id().to_string() {
                continue;
            }
            let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            nanoseconds += stat.split(' ').next()?.parse::<u64>().ok()?;
        }
    }
    Some(nanoseconds as f64 / 1e9)
}

/// Runs [`queue_alone`] in a process of its own, whose memory has no holes that the tasks might fill.
fn queue(count: usize, what: &str) -> Option<f64> {
    let program = std::env::current_exe().expect("this program");
    let count = count.to_string();
    let output = Command::new(program)
        .args(["--queue-alone", &count])
        .stderr(Stdio::inherit())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (time, size) = text.trim().split_once(' ')?;
    if what == "queue_time" {
        time.parse().ok()
    } else {
        size.parse().ok()
    }
}

/// Prints what it takes to queue a task while the workers are held up: seconds, and bytes beside the argument.
pub fn queue_alone(count: usize) {
    let pool = warm(2);
    let _held_up = [(); 2].map(|()| pool.apply_async(std::thread::sleep, Duration::from_secs(60)));
    std::thread::sleep(Duration::from_millis(200));
    let mut results = Vec::with_capacity(count);
    let before = resident();
    let time = seconds(|| results.extend((0..count as u64).map(|i| pool.apply_async(next, i))));
    let bytes = (resident() - before) / count as f64 - size_of::<u64>() as f64;
    println!("{} {bytes}", time / count as f64);
    pool.terminate();
}

/// Bytes of memory in use (Linux; elsewhere not a number).
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    kilobytes.unwrap_or(f64::NAN) * 1024.0
}
