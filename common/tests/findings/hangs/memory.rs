//! Memory and threads: many workers, damaged shared memory, and what is kept for nothing.

use super::squares;
use crate::programs::{careful, limited, program, soon, workers};
use crate::{in_time, square};
use common::{Error, Pool, Process};
use nix::libc;
use std::io::Read;
use std::time::Duration;
use std::{fs, process};

pub fn has_six_hundred_workers() {
    common::init();
    let pool = match Pool::new(600) {
        Ok(pool) => pool,
        Err(error) => return println!("{error}"),
    };
    assert!(pool.imap(square, 0..3_000).map(Result::unwrap).eq(squares(3_000)));
    let mut all: Vec<u64> = pool.imap_unordered(square, 0..3_000).map(Result::unwrap).collect();
    all.sort();
    assert_eq!(all, squares(3_000));
    assert_eq!(pool.map(square, 0..3_000).unwrap(), squares(3_000));
    pool.terminate();
    println!("done");
}

#[test]
fn h14_imap_works_on_a_pool_of_six_hundred_workers() {
    let _careful = careful(90);
    let mut limited = limited("ulimit -n $(ulimit -Hn)", "hangs::memory::has_six_hundred_workers");
    let run = testing::run_with(&mut limited, Duration::from_secs(60));
    let lines = run.success().lines();
    if lines[0].contains("could not be started") {
        eprintln!("skipped: {}", lines[0]);
    } else {
        assert_eq!(lines, ["done"]);
    }
}

// A process that writes more and more where its answer is expected.

const MEGABYTES: usize = 150;

fn write_much(line: String) {
    let bytes = line.repeat(1 << 20);
    for _ in 0..MEGABYTES / line.len() {
        // SAFETY: the bytes are read. The number is that of the pipe to the parent.
        assert!(unsafe { libc::write(4, bytes.as_ptr().cast(), bytes.len()) } > 0);
    }
}

/// Nothing comes that ends a block, or it is the answer already and there is more.
pub fn is_sent_garbage() {
    common::init();
    for line in ["y\n", "\0"] {
        let p = Process::new(write_much, line.to_owned()).start().unwrap();
        let outcome = p.join();
        assert!(matches!(outcome, Err(Error::ProtocolViolation { .. })), "{outcome:?}");
    }
}

#[test]
fn h11_endless_garbage_of_a_process_costs_its_parent_no_memory() {
    let _careful = careful(60);
    let mut limited = limited("ulimit -v 200000", "hangs::memory::is_sent_garbage");
    testing::run_with(&mut limited, Duration::from_secs(60)).success();
}

// A wild write into memory that parent and worker share.

/// The shared memory that this process can write to: beginnings and lengths.
fn shared_memory() -> Vec<(usize, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let shared = maps.lines().filter(|line| line.contains(" rw-s "));
    let range = |line: &str| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let (from, to) = (
            usize::from_str_radix(from, 16).ok()?,
            usize::from_str_radix(to, 16).ok()?,
        );
        Some((from, to - from))
    };
    shared.filter_map(range).collect()
}

const HARMLESS: u64 = u64::MAX;
const KINDS: u64 = 10;

/// Overwrites shared memory, in a way of several.
fn damage((kind, then): (u64, String)) -> u64 {
    if kind == HARMLESS {
        return 7;
    }
    let memory = shared_memory();
    assert!(!memory.is_empty(), "this test looks in the wrong place");
    let mut chance = 0x2545_f491_4f6c_dd1d_u64 + kind;
    for (from, length) in memory {
        for place in 0..length / 8 {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let value = match kind {
                0 => Some(0),
                1 => Some(u64::MAX),
                2 => Some(1),
                3 | 4 => Some(chance),
                // The beginning of a page alone, where one keeps what matters.
                5 => (place % 512 < 8).then_some(0),
                6 => (place % 512 < 8).then_some(u64::MAX),
                7 => (place == 0).then_some(0),
                8 => (place == 0).then_some(u64::MAX),
                _ => (place % 512 < 32).then_some(chance % 64),
            };
            if let Some(value) = value {
                // SAFETY: it lies in memory that may be written; that nobody else minds is what is tested.
                unsafe { ((from + 8 * place) as *mut u64).write_volatile(value) };
            }
        }
    }
    if then == "exits" {
        process::exit(3);
    }
    7
}

/// Damage costs the task that does it and one more at most: the one that its worker has begun when it is ended for it.
pub fn is_damaged() {
    common::init();
    for kind in 0..KINDS {
        for then in ["returns", "exits"] {
            let what = format!("damage {kind}, {then}");
            let pool = Pool::new(2).unwrap();
            assert_eq!(pool.map(square, 0..10).unwrap(), squares(10));
            let outcome = pool.apply_async(damage, (kind, then.to_owned())).get_timeout(soon());
            assert!(
                outcome
                    .as_ref()
                    .map_or_else(|error| !error.is_timeout(), |&value| value == 7),
                "{what}: {outcome:?}"
            );
            let tasks: Vec<_> = (0..200).map(|i| pool.apply_async(square, i)).collect();
            let mut errors = 0;
            for (i, task) in (0..).zip(&tasks) {
                match task.get_timeout(soon()) {
                    Ok(value) => assert_eq!(value, i * i, "{what}"),
                    Err(error) => {
                        assert!(!error.is_timeout(), "{what}: task {i}: {error}");
                        errors += 1;
                    }
                }
            }
            assert!(errors <= 1, "{what}: {errors} errors");
            assert_eq!(
                pool.map_async(square, 0..100).get_timeout(soon()).unwrap(),
                squares(100),
                "{what}"
            );
            in_time(|| drop(pool.close().join()));

            // In the middle of a chunk.
            let pool = Pool::new(1).unwrap();
            let items = (0..40).map(move |i| (if i == 17 { kind } else { HARMLESS }, then.to_owned()));
            let results = in_time(move || pool.map_with_chunksize(damage, items, 40));
            match results {
                Ok(results) => assert_eq!(results, [7; 40], "{what}"),
                Err(error) => assert!(matches!(error, Error::Item { .. }), "{what}: {error}"),
            }
        }
    }
    println!("done");
}

#[test]
fn h15_damaged_shared_memory_costs_a_worker_and_not_the_pool() {
    let _careful = careful(90);
    let mut command = program("hangs::memory::is_damaged");
    let run = testing::run_with(command.env_remove("TIMELINE"), Duration::from_secs(60));
    assert_eq!(run.success().lines(), ["done"]);
}

fn shared_bytes(_: ()) -> usize {
    shared_memory().iter().map(|(_, length)| length).sum()
}

#[test]
fn h15_a_worker_maps_its_own_page_alone() {
    let _careful = careful(60);
    let [few, many] = [1, 16].map(|workers| {
        let pool = Pool::new(workers).unwrap();
        let bytes = pool.apply(shared_bytes, ()).unwrap();
        pool.close().join().unwrap();
        bytes
    });
    assert!(few > 0, "this test looks in the wrong place");
    assert_eq!(few, many);
}

// What is kept for nothing.

fn until_input_ends(_: ()) {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

pub fn drops_daemons() {
    common::init();
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let (reader, writer) = os_pipe::pipe().unwrap();
    for _ in 0..100 {
        let daemon = Process::new(until_input_ends, ())
            .daemon(true)
            .stdin(reader.try_clone().unwrap());
        drop(daemon.start().unwrap());
    }
    println!("{}", threads() - before);
    drop(writer);
}

#[test]
fn h16_daemons_that_nobody_holds_cost_no_thread_each() {
    let _careful = careful(60);
    let run = testing::run_with(&mut program("hangs::memory::drops_daemons"), Duration::from_secs(30));
    let threads: usize = run.success().lines()[0].parse().unwrap();
    assert!(threads <= 5, "{threads} threads for 100 daemons");
}

/// The memory of a process that is its own, in MiB.
fn own_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap();
    kib / 1024
}

#[test]
fn h16_an_idle_worker_keeps_neither_a_large_result_nor_a_large_argument() {
    let _careful = careful(60);
    let pool = Pool::new(1).unwrap();
    let pid = *workers(&pool).first().unwrap();
    let large = || "x".repeat(64 << 20);
    assert!(pool.apply(|length: usize| "x".repeat(length), 64 << 20).unwrap() == large());
    let start = std::time::Instant::now();
    let keeps = || own_memory(pid) > 32;
    while keeps() && start.elapsed() < soon() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!keeps(), "a result: {} MiB", own_memory(pid));
    assert_eq!(pool.apply(|text: String| text.len(), large()).unwrap(), 64 << 20);
    let start = std::time::Instant::now();
    while keeps() && start.elapsed() < soon() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!keeps(), "an argument: {} MiB", own_memory(pid));
    assert_eq!(*workers(&pool).first().unwrap(), pid);
    pool.close().join().unwrap();
}
