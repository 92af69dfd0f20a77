//! The behaviours of `Pool`, by their numbers.
//!
//! What a type makes impossible is held by the `compile_fail` examples of `Pool`: joining an open pool, a task for a closed
//! one, a closure that captures. That no task waits behind a long one while a worker is idle is counted at the end.

#[macro_use]
mod programs;

use common::{AsyncResult, Error, Pool, Process};
use programs::{Events, argument, await_event, careful, eventually, happen, note, note_and_wait, program, workers};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

programs! { shows_cores, runs_out_of_descriptors, is_busy }

fn square(x: u64) -> u64 {
    x * x
}

fn pid_of(_: u32) -> u32 {
    process::id()
}

#[test]
fn b20_apply_is_a_call() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
    assert_eq!(pool.apply(|()| 7_u8, ()).unwrap(), 7);
    let all = |(a, b, c, d, e, f, g, h): (u8, u16, u32, u64, i8, String, (), Option<bool>)| (a, b, c, d, e, f, g, h);
    let args = (1, 2, 3, 4, -5, "six".to_string(), (), Some(true));
    assert_eq!(pool.apply(all, args.clone()).unwrap(), args);
    pool.close().join().unwrap();
}

#[test]
fn b20_map_gives_what_a_loop_gives_for_any_number_of_items_and_any_chunk_size() {
    let _careful = careful(60);
    let pool = Pool::new(3).unwrap();
    for count in [0, 1, 10, 1_000] {
        let expected: Vec<u64> = (0..count).map(square).collect();
        assert_eq!(pool.map(square, 0..count).unwrap(), expected);
        assert_eq!(pool.map_async(square, 0..count).get().unwrap(), expected);
        // An iterator that does not know its length.
        assert_eq!(pool.map(square, (0..count).filter(|_| true)).unwrap(), expected);
        for chunksize in [0, 1, 2, 3, 7, 64, 999, 1_000, 5_000, usize::MAX] {
            assert_eq!(
                pool.map_with_chunksize(square, 0..count, chunksize).unwrap(),
                expected,
                "chunks of {chunksize}"
            );
        }
    }
    pool.close().join().unwrap();
}

#[test]
fn b20_the_several_arguments_of_map_are_tuples() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let join = |(a, b): (String, u32)| format!("{a}{b}");
    let names: Vec<_> = (0..100).map(|i| ("x".repeat(i % 7), i as u32)).collect();
    let expected: Vec<_> = names.iter().cloned().map(join).collect();
    assert_eq!(pool.map(join, names).unwrap(), expected);
    pool.close().join().unwrap();
}

#[test]
fn b20_map_of_items_of_very_different_size() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    let texts: Vec<String> = (0..200)
        .map(|i| "y".repeat([0, 1, 253, 254, 255, 4_000, 5_000, 70_000, 200_000][i % 9]))
        .collect();
    let same = |text: String| text;
    for chunksize in [1, 5, 100] {
        assert!(pool.map_with_chunksize(same, texts.clone(), chunksize).unwrap() == texts);
    }
    let imap: Result<Vec<String>, _> = pool.imap(same, texts.clone()).collect();
    assert!(imap.unwrap() == texts);
    pool.close().join().unwrap();
}

/// An endless input that tells how much of it was taken.
fn endless(taken: &AtomicUsize) -> impl Iterator<Item = u64> {
    (0..).inspect(|_| {
        taken.fetch_add(1, SeqCst);
    })
}

#[test]
fn b21_imap_yields_in_order_and_takes_a_bounded_part_of_an_endless_input() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let taken = AtomicUsize::new(0);
    let mut results = pool.imap(square, endless(&taken));
    assert_eq!(results.next().unwrap().unwrap(), 0);
    let after_one = taken.load(SeqCst);
    assert!(after_one <= 2_048, "{after_one} items were taken for one result");
    for i in 1..10_000 {
        assert_eq!(results.next().unwrap().unwrap(), i * i);
        let ahead = taken.load(SeqCst) - i as usize;
        assert!(ahead <= 2_048, "{ahead} ahead");
    }
    drop(results);
    pool.terminate();
}

#[test]
fn b21_unordered_imap_yields_all_and_takes_a_bounded_part_too() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let mut all: Vec<u64> = pool.imap_unordered(square, 0..5_000).map(Result::unwrap).collect();
    all.sort();
    assert_eq!(all, (0..5_000).map(square).collect::<Vec<_>>());
    let taken = AtomicUsize::new(0);
    for (i, result) in pool.imap_unordered(square, endless(&taken)).take(5_000).enumerate() {
        result.unwrap();
        let ahead = taken.load(SeqCst) - i;
        assert!(ahead <= 2_048, "{ahead} ahead");
    }
    pool.terminate();
}

fn wait_if_first((place, i): (String, u64)) -> u64 {
    if i == 0 {
        await_event(&place, "go");
    }
    i
}

#[test]
fn b21_a_slow_item_holds_up_imap_but_not_imap_unordered_nor_the_memory() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let events = Events::new();
    let taken = AtomicUsize::new(0);
    let items = || endless(&taken).map(|i| (events.place(), i));

    let mut unordered = pool.imap_unordered(wait_if_first, items());
    let yielded: Vec<u64> = (0..3_000).map(|_| unordered.next().unwrap().unwrap()).collect();
    assert!(!yielded.contains(&0));
    events.happen("go");
    assert!(unordered.any(|result| result.unwrap() == 0));
    drop(unordered);
    fs::remove_file(events.path().join("go")).unwrap();
    taken.store(0, SeqCst);

    let mut ordered = pool.imap(wait_if_first, items());
    thread::scope(|scope| {
        scope.spawn(|| {
            // The others are done, and wait for the first one. How many may do so?
            eventually("items were taken", || taken.load(SeqCst) > 100);
            let task = pool.apply_async(square, 3);
            assert_eq!(task.get().unwrap(), 9);
            assert!(taken.load(SeqCst) <= 2_048);
            events.happen("go");
        });
        for i in 0..3_000 {
            assert_eq!(ordered.next().unwrap().unwrap(), i);
        }
    });
    drop(ordered);
    pool.terminate();
}

#[test]
fn b21_few_items_are_taken_ahead_if_they_are_large() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    let taken = AtomicUsize::new(0);
    let texts = endless(&taken).map(|_| "z".repeat(1 << 20));
    let length = |text: String| text.len();
    for (i, result) in pool.imap(length, texts).take(30).enumerate() {
        assert_eq!(result.unwrap(), 1 << 20);
        let ahead = taken.load(SeqCst) - i;
        assert!(ahead <= 16, "{ahead} MiB ahead");
    }
    pool.terminate();
}

/// Small results at first, large ones from here on.
const SMALL: u64 = 100;

fn grows((place, i): (String, u64)) -> String {
    wait_if_first((place.clone(), i));
    happen(&place, &format!("done {i}"));
    "z".repeat(if i < SMALL { 1 } else { 1 << 20 })
}

#[test]
fn b21_no_more_items_are_taken_when_results_become_large_while_the_first_one_is_waited_for() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    let events = Events::new();
    let taken = AtomicUsize::new(0);
    let items = endless(&taken).map(|i| {
        if i > SMALL - 10 {
            // So slowly that each result is there before the next item.
            events.wait_for(&format!("done {}", i - 1));
            thread::sleep(Duration::from_millis(if i > SMALL { 200 } else { 10 }));
        }
        (events.place(), i)
    });
    let mut results = pool.imap(grows, items);
    thread::scope(|scope| {
        scope.spawn(|| {
            eventually("items were taken", || taken.load(SeqCst) > SMALL as usize + 1);
            thread::sleep(Duration::from_secs(1));
            let taken = taken.load(SeqCst);
            events.happen("go");
            assert!(taken <= SMALL as usize + 20, "{taken} items were taken");
        });
        for i in 0..SMALL + 10 {
            let length = results.next().unwrap().unwrap().len();
            assert_eq!(length, if i < SMALL { 1 } else { 1 << 20 });
        }
    });
    drop(results);
    pool.terminate();
}

#[test]
fn b21_an_error_is_yielded_by_imap_in_its_place_and_ends_with_its_input() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let results: Vec<_> = pool.imap(exit_if_seven, 0..20).collect();
    assert_eq!(results.len(), 20);
    for (i, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert!(*value == i as u32 && i != 7),
            Err(error) => assert!(i == 7 && matches!(error, Error::Exited { code: 3, .. }), "{i}: {error}"),
        }
    }
    assert_eq!(pool.imap(square, []).count(), 0);
    pool.close().join().unwrap();
}

fn exit_if_seven(i: u32) -> u32 {
    if i == 7 {
        process::exit(3);
    }
    i
}

#[test]
fn b22_get_blocks_until_the_result_is_there_and_a_timeout_can_be_followed_by_another_get() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let events = Events::new();
    let task = pool.apply_async(wait_if_first, (events.place(), 0));
    let map = pool.map_async(wait_if_first, [(events.place(), 0), (events.place(), 1)]);
    assert!(!task.ready() && !map.ready());
    let start = Instant::now();
    assert!(task.get_timeout(Duration::from_millis(200)).unwrap_err().is_timeout());
    assert!(map.get_timeout(Duration::from_millis(200)).unwrap_err().is_timeout());
    assert!(
        (Duration::from_millis(400)..Duration::from_secs(3)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    assert!(task.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
    thread::scope(|scope| {
        let getting = scope.spawn(|| (task.get(), map.get_timeout(Duration::from_secs(60))));
        events.happen("go");
        let (task, map) = getting.join().unwrap();
        assert_eq!((task.unwrap(), map.unwrap()), (0, vec![0, 1]));
    });
    assert!(task.ready() && map.ready());
    assert_eq!(task.get_timeout(Duration::ZERO).unwrap(), 0);
    assert_eq!(map.get().unwrap(), [0, 1]);
    pool.close().join().unwrap();
}

fn panic_if_odd(i: u32) -> u32 {
    assert!(i % 2 == 0, "{i} is odd");
    i
}
const ASSERT_LINE: u32 = line!() - 3;

/// A thousand panics print a thousand messages: in a process whose standard error nobody reads.
fn many_panics(_: ()) -> Result<(), String> {
    let pool = Pool::new(2).unwrap();
    let before = workers(&pool);
    let tasks: Vec<_> = (0..2_000).map(|i| pool.apply_async(panic_if_odd, i)).collect();
    for (i, task) in tasks.iter().enumerate() {
        match task.get() {
            Ok(value) if value as usize == i && i % 2 == 0 => {}
            Err(Error::Panicked {
                message,
                location: Some(place),
                ..
            }) if message == format!("{i} is odd") && place.ends_with(&format!("pool.rs:{ASSERT_LINE}")) => {}
            other => return Err(format!("{i}: {other:?}")),
        }
    }
    let map = pool.map_with_chunksize(panic_if_odd, 0..500, 50);
    match map {
        Err(Error::Item { index: 1, source, .. }) if source.to_string().ends_with("1 is odd") => {}
        other => return Err(format!("{other:?}")),
    }
    let after = workers(&pool);
    if before != after {
        return Err(format!("workers changed from {before:?} to {after:?}"));
    }
    pool.close().join().map_err(|error| error.to_string())
}

#[test]
fn b23_a_thousand_panics_are_errors_of_their_tasks_and_cost_no_worker() {
    let _careful = careful(60);
    let (mut reader, writer) = os_pipe::pipe().unwrap();
    let p = Process::new(many_panics, ()).stderr(writer).start().unwrap();
    thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    assert_eq!(p.join().unwrap(), Ok(()));
}

fn halve(i: u32) -> Result<u32, String> {
    if i % 2 == 0 {
        Ok(i / 2)
    } else {
        Err(format!("{i} is odd"))
    }
}

#[test]
fn b24_an_err_of_the_task_is_a_result() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(halve, 3).unwrap(), Err("3 is odd".to_string()));
    let results = pool.map(halve, 0..10).unwrap();
    assert_eq!(results, (0..10).map(halve).collect::<Vec<_>>());
    pool.close().join().unwrap();
}

/// Fails on its way there, or, with a `true`, on its arrival.
#[derive(Clone, Copy, Debug)]
struct Untravelled(bool);

impl Serialize for Untravelled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            serializer.serialize_u8(9)
        } else {
            Err(serde::ser::Error::custom("it stays here"))
        }
    }
}

impl<'de> Deserialize<'de> for Untravelled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Untravelled, D::Error> {
        u8::deserialize(deserializer)?;
        Err(serde::de::Error::custom("it is broken"))
    }
}

#[test]
fn b25_what_cannot_be_turned_into_bytes_or_back_is_an_error_of_that_task() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let before = workers(&pool);
    let take = |_: Untravelled| 5_u8;
    let give = |arrives: bool| Untravelled(arrives);
    for _ in 0..20 {
        let errors = [
            pool.apply(take, Untravelled(false)).unwrap_err(),
            pool.apply(take, Untravelled(true)).unwrap_err(),
            pool.apply(give, false).unwrap_err(),
            pool.apply(give, true).unwrap_err(),
        ];
        assert!(
            matches!(&errors[0], Error::Encode { what, .. } if what.contains("arguments")),
            "{}",
            errors[0]
        );
        assert!(
            matches!(&errors[1], Error::Decode { what, .. } if what.contains("arguments")),
            "{}",
            errors[1]
        );
        assert!(
            matches!(&errors[2], Error::Encode { what, .. } if what.contains("result")),
            "{}",
            errors[2]
        );
        assert!(
            matches!(&errors[3], Error::Decode { what, .. } if what.contains("result")),
            "{}",
            errors[3]
        );
    }
    // In the middle of a chunk.
    let take = |item: Option<Untravelled>| item.map_or(1, |_| 2);
    for bad in [false, true] {
        let items = (0..10).map(|i| (i == 4).then_some(Untravelled(bad)));
        let error = pool.map_with_chunksize(take, items, 5).unwrap_err();
        assert!(matches!(error, Error::Item { index: 4, .. }), "{error}");
    }
    assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
    assert_eq!(workers(&pool), before);
    pool.close().join().unwrap();
}

fn shows_cores() {
    common::init();
    println!("{}", Pool::per_core().unwrap().processes());
}

#[test]
fn b26_a_pool_has_as_many_workers_as_asked_for_and_0_is_an_error() {
    let _careful = careful(30);
    assert!(matches!(Pool::new(0), Err(Error::NoWorkers)));
    assert!(matches!(Pool::builder().processes(0).build(), Err(Error::NoWorkers)));
    for count in [1, 3, 17] {
        let pool = Pool::new(count).unwrap();
        assert_eq!(pool.processes(), count);
        assert_eq!(workers(&pool).len(), count);
        pool.close().join().unwrap();
    }
}

#[test]
fn b26_the_default_is_the_number_of_cores_that_this_process_may_use() {
    let _careful = careful(30);
    let all = thread::available_parallelism().unwrap().to_string();
    assert_eq!(
        testing::run_with(&mut program("shows_cores"), testing::LIMIT)
            .success()
            .stdout
            .trim(),
        all
    );
    let mut on_one = process::Command::new("taskset");
    on_one
        .args(["-c", "0"])
        .arg(std::env::current_exe().unwrap())
        .env(programs::PROGRAM, "shows_cores");
    if process::Command::new("taskset").arg("-V").output().is_ok() {
        assert_eq!(
            testing::run_with(&mut on_one, testing::LIMIT).success().stdout.trim(),
            "1"
        );
    }
}

#[test]
fn b27_workers_are_replaced_after_maxtasksperchild_tasks() {
    let _careful = careful(60);
    for most in [1, 4] {
        let pool = Pool::builder().processes(3).maxtasksperchild(most).build().unwrap();
        let tasks: Vec<_> = (0..100).map(|i| pool.apply_async(pid_of, i)).collect();
        let mut pids: Vec<u32> = tasks.iter().map(|task| task.get().unwrap()).collect();
        // Items of a chunk count one each.
        pids.extend(pool.map_with_chunksize(pid_of, 0..100, 30).unwrap());
        pids.extend(pool.imap(pid_of, 0..100).map(Result::unwrap));
        let mut tasks_of = BTreeMap::new();
        pids.iter().for_each(|pid| *tasks_of.entry(pid).or_insert(0) += 1);
        // Windows gives a number to another process soon.
        let most = if cfg!(windows) { 3 * most } else { most };
        assert!(
            tasks_of.values().all(|&count| count <= most),
            "at most {most}: {tasks_of:?}"
        );
        pool.close().join().unwrap();
    }
}

#[test]
#[cfg(not(windows))] // it gives a number to another process soon
fn b27_no_worker_ends_before_it_has_done_maxtasksperchild_tasks() {
    let _careful = careful(60);
    let (tasks, most) = (20_000, 300);
    let pool = Pool::builder().processes(2).maxtasksperchild(most).build().unwrap();
    let results: Vec<_> = (0..tasks).map(|i| pool.apply_async(pid_of, i)).collect();
    let pids: BTreeSet<u32> = results.iter().map(|result| result.get().unwrap()).collect();
    // All but the last two have done as many as they may.
    let expected = tasks as usize / most;
    assert!(
        (expected..=expected + 2).contains(&pids.len()),
        "{} workers, not {expected} or {}",
        pids.len(),
        expected + 2
    );
    pool.close().join().unwrap();
}

fn note_number((place, i): (String, u32)) -> u32 {
    note(&place, i);
    i
}

#[test]
fn b28_close_and_join_finish_every_accepted_task_whenever_results_are_collected() {
    let _careful = careful(60);
    for order in ["after", "backwards", "never", "not even the pool is joined"] {
        let events = Events::new();
        let pool = Pool::new(3).unwrap();
        let mut tasks: Vec<_> = (0..300)
            .map(|i| pool.apply_async(note_number, (events.place(), i)))
            .collect();
        let map = pool.map_async(square, 0..1_000);
        if order == "never" {
            tasks.clear();
        }
        let closed = pool.close();
        if order == "not even the pool is joined" {
            drop(closed);
        } else {
            closed.join().unwrap();
        }
        assert_eq!(events.notes().len(), 300, "{order}");
        assert!(tasks.iter().all(AsyncResult::ready) && map.ready());
        if order == "backwards" {
            tasks.reverse();
        }
        let sum: u32 = tasks.iter().map(|task| task.get().unwrap()).sum();
        assert_eq!(sum, if order == "never" { 0 } else { 299 * 300 / 2 });
        assert_eq!(map.get().unwrap().len(), 1_000);
    }
}

fn fail_now_and_then(i: u64) -> u64 {
    match i % 97 {
        0 => process::exit(1),
        1..=3 => panic!("no"),
        _ => i * 3,
    }
}

#[test]
fn b28_failures_are_counted_exactly_while_many_threads_submit_ask_and_drop() {
    let _careful = careful(90);
    let pool = Pool::new(2).unwrap();
    let kept = Mutex::new(Vec::new()); // neighbours of those that were dropped
    let submit_and_ask = |number: u64| {
        let mut dropped_failures = 0;
        for round in 0..10 {
            let first = number * 10_000 + round * 150;
            let mut tasks: Vec<_> = (first..first + 150)
                .map(|i| (i, pool.apply_async(fail_now_and_then, i)))
                .collect();
            let fails = |i: u64| i % 97 < 4;
            dropped_failures += tasks.iter().filter(|(i, _)| i % 3 == 0 && fails(*i)).count();
            tasks.retain(|(i, _)| i % 3 != 0);
            thread::scope(|scope| {
                for how in ["at once", "with a limit", "when it is ready"] {
                    let tasks = &tasks;
                    scope.spawn(move || {
                        for (i, task) in tasks {
                            let limit = Duration::from_micros(50);
                            while how == "with a limit"
                                && matches!(task.get_timeout(limit), Err(Error::TimedOut { .. }))
                            {
                            }
                            let _ = how == "when it is ready" && task.ready();
                            assert_eq!(task.get().ok(), (!fails(*i)).then_some(i * 3));
                        }
                    });
                }
            });
            kept.lock().unwrap().extend(tasks.into_iter().step_by(31));
        }
        dropped_failures
    };
    let expected: usize = thread::scope(|scope| {
        let submit_and_ask = &submit_and_ask;
        let threads: Vec<_> = (0..4)
            .map(|number| scope.spawn(move || submit_and_ask(number)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let error = pool.close().join().unwrap_err();
    assert!(
        matches!(error, Error::UnobservedFailures { count, .. } if count == expected),
        "{expected}: {error}"
    );
}

/// A value that takes its caller long to decode: until other results were seen.
#[derive(Serialize)]
struct SlowToDecode;

static DECODING: OnceLock<()> = OnceLock::new();
static OTHERS_SEEN: OnceLock<()> = OnceLock::new();

impl<'de> Deserialize<'de> for SlowToDecode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SlowToDecode, D::Error> {
        <()>::deserialize(deserializer)?;
        let _ = DECODING.set(());
        OTHERS_SEEN.wait();
        Ok(SlowToDecode)
    }
}

#[test]
fn b20_a_value_that_is_slow_to_decode_holds_up_no_other_result() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let slow = pool.apply_async(|()| SlowToDecode, ());
    thread::scope(|scope| {
        let decoding = scope.spawn(|| slow.get().is_ok());
        DECODING.wait();
        let quick: Vec<_> = (0..100).map(|i| pool.apply_async(square, i)).collect();
        for (i, task) in quick.iter().enumerate() {
            assert_eq!(task.get().unwrap(), (i * i) as u64);
        }
        OTHERS_SEEN.set(()).unwrap();
        assert!(decoding.join().unwrap());
    });
    pool.close().join().unwrap();
}

#[test]
fn b28_join_tells_of_failures_that_nobody_asked_for() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let asked_for = pool.apply_async(exit_if_seven, 7);
    assert!(asked_for.get().is_err());
    for i in [1, 7, 2, 7] {
        drop(pool.apply_async(exit_if_seven, i));
    }
    let error = pool.close().join().unwrap_err();
    assert!(matches!(&error, Error::UnobservedFailures { count: 2, .. }), "{error}");
}

fn endless_task((place, i): (String, u32)) {
    note(&place, i);
    await_event(&place, "never");
}

#[test]
fn b29_terminate_with_10_000_endless_tasks_returns_promptly_and_so_does_every_get() {
    let _careful = careful(60);
    let events = Events::new();
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<_> = (0..10_000)
        .map(|i| pool.apply_async(endless_task, (events.place(), i)))
        .collect();
    eventually("two tasks have begun", || events.notes().len() == 2);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| tasks[5_000].get());
        let start = Instant::now();
        pool.terminate();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Terminated)));
        for task in &tasks {
            assert!(matches!(task.get(), Err(Error::Terminated)));
        }
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    });
}

fn park_forever(_: u32) {
    loop {
        thread::park();
    }
}

#[test]
fn b29_tasks_that_travel_together_are_terminated_one_by_one() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<_> = (0..10_000).map(|i| pool.apply_async(park_forever, i)).collect();
    let map = pool.map_async(park_forever, 0..100);
    pool.terminate();
    for task in tasks {
        assert!(matches!(task.get(), Err(Error::Terminated)));
    }
    assert!(matches!(map.get(), Err(Error::Item { index: 0, .. })));
}

#[test]
fn b29_a_closed_pool_can_be_terminated_too() {
    let _careful = careful(30);
    let events = Events::new();
    let pool = Pool::new(2).unwrap();
    let done = pool.apply_async(square, 2);
    assert_eq!(done.get().unwrap(), 4);
    let map = pool.map_async(wait_if_first, [(events.place(), 0), (events.place(), 1)]);
    pool.close().terminate();
    assert!(matches!(map.get().unwrap_err(), Error::Item { index: 0, .. }));
    assert_eq!(done.get().unwrap(), 4);
}

#[test]
fn b30_a_pool_that_is_dropped_ends_its_workers_and_waits_for_them() {
    let _careful = careful(30);
    let pool = Pool::new(3).unwrap();
    let pids = workers(&pool);
    let events = Events::new();
    let task = pool.apply_async(endless_task, (events.place(), 0));
    eventually("the task has begun", || events.notes().len() == 1);
    drop(pool);
    #[cfg(target_os = "linux")] // where processes are files
    for pid in &pids {
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    }
    assert_eq!(pids.len(), 3);
    assert!(matches!(task.get(), Err(Error::Terminated)));
    // One that never had anything to do, at once.
    drop(Pool::new(2).unwrap());
    // While a panic unwinds.
    let panic = std::panic::catch_unwind(|| {
        let _pool = Pool::new(2).unwrap().close();
        std::panic::resume_unwind(Box::new("without a message"));
    });
    assert!(panic.is_err());
}

static PREPARED: OnceLock<String> = OnceLock::new();
static PREPARATIONS: AtomicU32 = AtomicU32::new(0);

fn prepare((place, text): (String, String)) {
    note(&place, process::id());
    PREPARATIONS.fetch_add(1, SeqCst);
    PREPARED.set(text).unwrap();
}

fn prepared(exit: bool) -> (String, u32, u32) {
    if exit {
        process::exit(0);
    }
    (
        PREPARED.get().cloned().unwrap_or_default(),
        PREPARATIONS.load(SeqCst),
        process::id(),
    )
}

#[test]
fn b31_the_initializer_runs_once_in_each_worker_before_any_task_also_in_a_replaced_one() {
    let _careful = careful(60);
    let events = Events::new();
    let args = (events.place(), "ready".to_string());
    let pool = Pool::builder()
        .processes(3)
        .initializer(prepare, args.clone())
        .build()
        .unwrap();
    let mut pids = BTreeSet::new();
    for i in 0..60 {
        let outcome = pool.apply(prepared, i % 20 == 19);
        if i % 20 == 19 {
            assert!(matches!(outcome, Err(Error::Exited { code: 0, .. })));
            continue;
        }
        let (text, preparations, pid) = outcome.unwrap();
        assert_eq!((&text[..], preparations), ("ready", 1));
        pids.insert(pid.to_string());
    }
    pool.close().join().unwrap();
    let notes = events.notes();
    let different: BTreeSet<_> = notes.iter().cloned().collect();
    assert_eq!(different.len(), notes.len(), "once in each worker: {notes:?}");
    assert!(notes.len() <= 6 && pids.is_subset(&different), "{pids:?} of {notes:?}");

    let replaced = Pool::builder()
        .processes(1)
        .maxtasksperchild(1)
        .initializer(prepare, args)
        .build()
        .unwrap();
    for _ in 0..5 {
        assert_eq!(replaced.apply(prepared, false).unwrap().1, 1);
    }
    replaced.close().join().unwrap();
}

fn fail((place, how): (String, u8)) {
    note(&place, process::id());
    match how {
        0 => std::panic::resume_unwind(Box::new("a reason".to_string())), // as `panic!`, without the message on stderr
        1 => process::exit(5),
        _ => process::abort(),
    }
}

#[test]
fn b31_an_initializer_that_always_fails_is_an_error_for_everybody_after_a_few_tries() {
    let _careful = careful(60);
    for how in 0..3 {
        let events = Events::new();
        let pool = Pool::builder()
            .processes(2)
            .initializer(fail, (events.place(), how))
            .build()
            .unwrap();
        let tasks: Vec<_> = (0..100).map(|i| pool.apply_async(square, i)).collect();
        for task in &tasks {
            let error = task.get().unwrap_err();
            assert!(matches!(error, Error::Initializer(_)), "{error}");
            let why = error.to_string();
            assert!(how != 0 || why.contains("a reason"), "{why}");
        }
        let late = pool.apply(square, 1).unwrap_err();
        assert!(matches!(late, Error::Initializer(_)), "{late}");
        assert!(matches!(
            pool.imap(square, 0..).next(),
            Some(Err(Error::Initializer(_)))
        ));
        // Six for each worker; one that is ahead of the other goes on, at ever longer intervals.
        let tries = events.notes().len();
        assert!((12..=40).contains(&tries), "{tries} tries");
        assert!(matches!(pool.close().join(), Err(Error::Initializer(_))));
    }
}

fn fail_at_first(place: String) {
    note(&place, process::id());
    if fs::read_to_string(std::path::Path::new(&place).join("notes"))
        .unwrap()
        .lines()
        .count()
        <= 2
    {
        process::exit(1);
    }
}

#[test]
fn b31_init_that_fails_at_first_delays_tasks_and_loses_none() {
    let _careful = careful(30);
    let events = Events::new();
    let pool = Pool::builder()
        .processes(2)
        .initializer(fail_at_first, events.place())
        .build()
        .unwrap();
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    pool.close().join().unwrap();
}

fn runs_out_of_descriptors() {
    common::init();
    let descriptors = || fs::read_dir("/dev/fd").unwrap().count();
    let before = descriptors();
    for _ in 0..5 {
        let error = Pool::new(50).err().unwrap();
        assert!(matches!(&error, Error::Start { .. }), "{error}");
        println!("{error}");
        assert_eq!(descriptors(), before);
        #[cfg(unix)]
        {
            let child = nix::sys::wait::wait();
            assert_eq!(
                child,
                Err(nix::errno::Errno::ECHILD),
                "no child is left, running or not"
            );
        }
    }
    assert_eq!(Pool::new(2).unwrap().map(square, 0..3).unwrap(), [0, 1, 4]);
}

#[cfg(unix)] // `ulimit`
#[test]
fn b32_if_a_worker_cannot_be_started_those_before_it_are_ended_and_the_error_is_returned() {
    let _careful = careful(30);
    let mut shell = process::Command::new("sh");
    shell
        .args(["-c", "ulimit -n 64; exec \"$0\""])
        .arg(std::env::current_exe().unwrap());
    let run = testing::run_with(
        shell.env(programs::PROGRAM, "runs_out_of_descriptors"),
        Duration::from_secs(20),
    );
    let lines = run.success().lines();
    assert!(
        lines.len() == 5 && lines.iter().all(|line| line.contains("could not be started: ")),
        "{lines:?}"
    );
}

fn sum_of_squares(to: u64) -> u64 {
    let pool = Pool::new(2).unwrap();
    let sum = pool.map(square, 0..to).unwrap().into_iter().sum();
    pool.close().join().unwrap();
    sum
}

#[test]
fn b33_a_pool_works_inside_a_process_and_inside_a_task() {
    let _careful = careful(30);
    let p = Process::new(sum_of_squares, 10).start().unwrap();
    assert_eq!(p.join().unwrap(), 285);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(sum_of_squares, [10, 11, 10]).unwrap(), [285, 385, 285]);
    pool.close().join().unwrap();
}

static INNER: OnceLock<Pool> = OnceLock::new();

fn sum_in_a_pool_that_stays(to: u64) -> u64 {
    INNER
        .get_or_init(|| Pool::new(2).unwrap())
        .map(square, 0..to)
        .unwrap()
        .into_iter()
        .sum()
}

#[test]
fn b33_inner_pools_that_are_never_dropped_end_with_their_worker() {
    let _careful = careful(30);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(sum_in_a_pool_that_stays, [10; 20]).unwrap(), [285; 20]);
    pool.close().join().unwrap();
}

#[test]
fn b34_many_threads_submit_to_one_pool() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    thread::scope(|scope| {
        for thread in 0..8_u64 {
            let pool = &pool;
            scope.spawn(move || {
                let base = thread * 10_000;
                for round in 0..5 {
                    let from = base + round * 1_000;
                    let tasks: Vec<_> = (from..from + 200).map(|i| pool.apply_async(square, i)).collect();
                    let expected: Vec<u64> = (from..from + 200).map(square).collect();
                    assert_eq!(pool.map(square, from..from + 200).unwrap(), expected);
                    assert_eq!(
                        tasks.iter().map(|task| task.get().unwrap()).collect::<Vec<_>>(),
                        expected
                    );
                    let imap: Result<Vec<u64>, _> = pool.imap(square, from..from + 200).collect();
                    assert_eq!(imap.unwrap(), expected);
                }
            });
        }
    });
    pool.close().join().unwrap();
}

#[test]
fn b35_two_arguments_and_results_of_100_mb_at_the_same_time_do_not_deadlock() {
    let _careful = careful(120);
    let pool = Pool::new(2).unwrap();
    let text = "0123456789".repeat(10_000_000);
    let same = |text: String| text;
    let tasks = [(); 2].map(|()| pool.apply_async(same, text.clone()));
    let small = pool.apply_async(square, 3);
    for task in tasks {
        assert!(task.get().unwrap() == text, "100 MB came back changed");
    }
    assert_eq!(small.get().unwrap(), 9);
    pool.close().join().unwrap();
}

#[test]
fn b35_huge_results_do_not_block_a_worker_if_nobody_collects_them() {
    let _careful = careful(120);
    let pool = Pool::new(1).unwrap();
    let make = |length: usize| "x".repeat(length);
    let huge: Vec<_> = (0..4).map(|_| pool.apply_async(make, 20_000_000)).collect();
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    pool.close().join().unwrap();
    assert!(huge.iter().all(|task| task.get().unwrap().len() == 20_000_000));
}

// No task waits behind a long one while a worker is idle: long tasks wait for an event here, which comes only when every
// tiny one is done. If one lay behind a long one, it would never be.

const TINY: u32 = 300;

/// Number i of `TINY`; the long ones are above.
fn tiny_or_long((place, i): (String, u32)) -> u32 {
    if i >= TINY {
        note(&place, "long");
        await_event(&place, "go");
    } else {
        note(&place, "tiny");
    }
    i
}

/// Tasks in an order in which `long` long ones may well have tiny ones behind them.
fn bad_orders(long: u32) -> Vec<(&'static str, Vec<u32>)> {
    let tiny = 0..TINY;
    let longs = TINY..TINY + long;
    let spread = |every: u32| {
        let mut tasks: Vec<u32> = tiny.clone().collect();
        longs
            .clone()
            .enumerate()
            .for_each(|(n, task)| tasks.insert(n * every as usize, task));
        tasks
    };
    vec![
        ("long ones first", longs.clone().chain(tiny.clone()).collect()),
        ("long ones last", tiny.clone().chain(longs.clone()).collect()),
        ("every other one", spread(2)),
        ("every third one", spread(3)),
        ("spread", spread(TINY / long)),
        (
            "in the middle",
            (0..TINY / 2).chain(longs.clone()).chain(TINY / 2..TINY).collect(),
        ),
    ]
}

/// Submits the tasks in every bad order, and lets the long ones end when all tiny ones have.
fn no_tiny_task_waits(submit: impl Fn(&Pool, Vec<(String, u32)>) -> Box<dyn FnOnce() + Send + '_> + Sync) {
    for workers in [2, 4] {
        for long in 1..workers {
            for (order, tasks) in bad_orders(long) {
                let events = Events::new();
                let pool = Pool::new(workers as usize).unwrap();
                let collect = submit(&pool, tasks.iter().map(|&task| (events.place(), task)).collect());
                thread::scope(|scope| {
                    let collecting = scope.spawn(collect);
                    let start = Instant::now();
                    let tiny = || events.notes().iter().filter(|note| *note == "tiny").count() as u32;
                    while tiny() < TINY {
                        let notes = (tiny(), events.notes().len());
                        if start.elapsed() > Duration::from_secs(20 * programs::slowness()) {
                            happen(&events.place(), "go");
                            panic!("{workers} workers, {long} long, {order}: {notes:?} of {TINY} tiny ones and all");
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                    events.happen("go");
                    collecting.join().unwrap();
                });
                assert_eq!(events.notes().len() as u32, TINY + long, "each exactly once");
                pool.close().join().unwrap();
            }
        }
    }
}

#[test]
fn fair_apply_async_no_task_waits_behind_a_long_one_while_a_worker_is_idle() {
    let _careful = careful(120);
    no_tiny_task_waits(|pool, tasks| {
        let handles: Vec<_> = tasks
            .into_iter()
            .map(|task| (task.1, pool.apply_async(tiny_or_long, task)))
            .collect();
        Box::new(move || {
            handles
                .iter()
                .for_each(|(number, handle)| assert_eq!(handle.get().unwrap(), *number))
        })
    });
}

#[test]
fn fair_map_no_item_waits_behind_a_long_one_of_its_chunk_while_a_worker_is_idle() {
    let _careful = careful(120);
    for chunksize in [1, 10, 100, 1_000] {
        no_tiny_task_waits(move |pool, tasks| {
            Box::new(move || {
                let numbers: Vec<u32> = tasks.iter().map(|task| task.1).collect();
                assert_eq!(
                    pool.map_with_chunksize(tiny_or_long, tasks, chunksize).unwrap(),
                    numbers
                );
            })
        });
    }
}

#[test]
fn fair_imap_no_item_waits_behind_a_long_one_while_a_worker_is_idle() {
    let _careful = careful(120);
    no_tiny_task_waits(|pool, tasks| {
        Box::new(move || {
            let numbers: Vec<u32> = tasks.iter().map(|task| task.1).collect();
            let results: Result<Vec<u32>, _> = pool.imap(tiny_or_long, tasks).collect();
            assert_eq!(results.unwrap(), numbers);
        })
    });
}

#[test]
fn fair_unordered_imap_yields_every_tiny_item_before_the_long_ones() {
    let _careful = careful(60);
    for workers in [2, 4] {
        for long in 1..workers {
            for (order, tasks) in bad_orders(long) {
                let events = Events::new();
                let pool = Pool::new(workers as usize).unwrap();
                let mut results = pool.imap_unordered(tiny_or_long, tasks.iter().map(|&task| (events.place(), task)));
                for _ in 0..TINY {
                    let number = results.next().unwrap().unwrap();
                    assert!(number < TINY, "{order}");
                }
                events.happen("go");
                assert_eq!(results.count() as u32, long);
                pool.close().join().unwrap();
            }
        }
    }
}

#[test]
fn fair_tasks_that_wait_for_each_other_are_done_side_by_side_however_many_workers_there_are() {
    let _careful = careful(60);
    const WORKERS: usize = 24; // more than there are processors, or are likely to be
    let pool = Pool::new(WORKERS).unwrap();
    for chunksize in [1, WORKERS] {
        let events = Events::new();
        thread::scope(|scope| {
            let places = vec![events.place(); WORKERS];
            let all = scope.spawn(|| pool.map_with_chunksize(note_and_wait, places, chunksize).unwrap());
            eventually("every worker has a task", || events.notes().len() == WORKERS);
            events.happen("go");
            let pids: BTreeSet<u32> = all.join().unwrap().into_iter().collect();
            assert_eq!(pids.len(), WORKERS, "chunks of {chunksize}");
        });
    }
    pool.close().join().unwrap();
}

#[test]
fn fair_the_fifth_task_of_four_workers_starts_when_the_first_worker_is_free() {
    let _careful = careful(60);
    for round in 0..20 {
        let events = Events::new();
        let pool = Pool::new(4).unwrap();
        let long: Vec<_> = (0..4)
            .map(|i| pool.apply_async(wait_for_mine, (events.place(), i)))
            .collect();
        let fifth = pool.apply_async(square, 5);
        let sixth = pool.apply_async(square, 6);
        eventually("four tasks run", || events.notes().len() == 4);
        events.happen(&format!("go-{}", round % 4));
        assert_eq!((fifth.get().unwrap(), sixth.get().unwrap()), (25, 36));
        assert_eq!(long.iter().filter(|task| !task.ready()).count(), 3);
        (0..4).for_each(|i| events.happen(&format!("go-{i}")));
        pool.close().join().unwrap();
        assert!(long.iter().all(|task| task.get().is_ok()));
    }
}

fn wait_for_mine((place, i): (String, u32)) {
    note(&place, i);
    await_event(&place, &format!("go-{i}"));
}

/// On Unix, faults.rs kills them by a signal, and looks closer.
#[cfg(windows)]
#[test]
fn b41_an_idle_worker_that_is_ended_from_outside_costs_no_task() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    for round in 0..3 {
        let before = workers(&pool);
        let pid = before.first().unwrap().to_string();
        let ended = process::Command::new("taskkill").args(["/F", "/PID", &pid]).output();
        assert!(ended.as_ref().is_ok_and(|ended| ended.status.success()), "{ended:?}");
        assert_eq!(pool.map(square, 0..100).unwrap().len(), 100, "round {round}");
    }
    pool.close().join().unwrap();
}

/// A program whose two workers have something to do forever.
fn is_busy() {
    common::init();
    let pool = Pool::new(2).unwrap();
    let _ = pool.map_with_chunksize(note_and_wait, [argument(1), argument(1)], 1);
}

#[test]
fn b44_workers_end_with_a_parent_that_is_killed() {
    let _careful = careful(60);
    let events = Events::new();
    let mut parent = program("is_busy")
        .arg(events.place())
        .stdout(process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("both workers work", || events.notes().len() == 2);
    parent.kill().unwrap();
    parent.wait().unwrap();
    // Their output is our pipe too: it ends when nobody has it any more.
    let start = Instant::now();
    let mut output = Vec::new();
    std::io::Read::read_to_end(&mut parent.stdout.take().unwrap(), &mut output).unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(programs::slowness()),
        "{:?}",
        start.elapsed()
    );
}
