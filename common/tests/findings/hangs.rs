//! What never ended, or got lost.

#[cfg(unix)]
mod descriptors;
#[cfg(unix)]
pub mod ends;
#[cfg(target_os = "linux")]
pub mod memory;

use crate::programs::{Events, argument, await_event, careful, eventually, happen, note, program, slowness, workers};
use crate::{in_time, square, told};
use common::{Error, Pool, Process};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io, process, thread};

fn squares(count: u64) -> Vec<u64> {
    (0..count).map(square).collect()
}

// Inputs that lie, panic, or take their time.

/// An input, and what it says of its length.
struct Says<I>(I, (usize, Option<usize>));

impl<I: Iterator> Iterator for Says<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.1
    }
}

/// The results of what was there, or an error that says what is wrong with the input.
#[track_caller]
fn right_or_said(says: (usize, Option<usize>), outcome: Result<Vec<u64>, Error>, expected: Vec<u64>) {
    match outcome {
        Ok(results) => assert_eq!(results, expected, "{says:?}"),
        Err(error) => assert!(told(&error).contains("iterator"), "{says:?}: {}", told(&error)),
    }
}

#[test]
fn h1_an_input_that_does_not_know_its_length_is_mapped_as_it_is_or_refused() {
    let _careful = careful(60);
    let exactly = |count| (count, Some(count));
    for says in [
        exactly(0),
        exactly(3),
        exactly(9),
        exactly(10_000),
        (9, None),
        (9, Some(2)),
    ] {
        for count in [0, 5] {
            in_time(move || {
                let pool = Pool::new(2).unwrap();
                let input = || Says(0..count, says);
                right_or_said(says, pool.map(square, input()), squares(count));
                right_or_said(says, pool.map_async(square, input()).get(), squares(count));
                for chunksize in [1, 2, 100] {
                    let results = pool.map_with_chunksize(square, input(), chunksize);
                    right_or_said(says, results, squares(count));
                }
                right_or_said(says, pool.imap(square, input()).collect(), squares(count));
                let unordered: Result<Vec<u64>, _> = pool.imap_unordered(square, input()).collect();
                let sorted = unordered.map(|mut results| {
                    results.sort();
                    results
                });
                right_or_said(says, sorted, squares(count));
                pool.close().join().unwrap();
            });
        }
    }
}

/// Rust's own collections panic at such a length. Whatever is done, the caller survives it, and nobody waits.
#[test]
fn h1_an_absurd_length_harms_nobody() {
    let _careful = careful(60);
    for says in [
        (usize::MAX, None),
        (usize::MAX, Some(usize::MAX)),
        (usize::MAX / 16, Some(usize::MAX / 16)),
    ] {
        in_time(move || {
            let pool = Pool::new(2).unwrap();
            let input = || Says(0..5, says);
            let maps: [&dyn Fn() -> Result<Vec<u64>, Error>; 4] = [
                &|| pool.map(square, input()),
                &|| pool.map_async(square, input()).get(),
                &|| pool.map_with_chunksize(square, input(), 2),
                &|| pool.imap(square, input()).collect(),
            ];
            for map in maps {
                if let Ok(outcome) = catch_unwind(AssertUnwindSafe(map)) {
                    right_or_said(says, outcome, squares(5));
                }
                assert_eq!(pool.map(square, 0..100).unwrap(), squares(100));
            }
            pool.close().join().unwrap();
        });
    }
}

/// Ends, and then goes on.
struct Resumes(u64);

impl Iterator for Resumes {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 += 1;
        (self.0 % 4 != 0).then(|| self.0 - 1)
    }
}

#[test]
fn h1_an_input_that_has_ended_is_not_asked_again() {
    let _careful = careful(30);
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(square, Resumes(0)).unwrap(), [0, 1, 4]);
        let mut results = pool.imap(square, Resumes(0));
        assert!(results.by_ref().map(Result::unwrap).eq([0, 1, 4]));
        assert!(results.next().is_none() && results.next().is_none());
        let mut results = pool.imap_unordered(square, Resumes(0));
        assert_eq!(results.by_ref().map(Result::unwrap).sum::<u64>(), 5);
        assert!(results.next().is_none() && results.next().is_none());
        pool.close().join().unwrap();
    });
}

/// 0, 1, 2, …, and a panic in place of the n-th.
fn panics_at(n: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |i| if i == n { panic!("the input is broken") } else { i })
}

pub fn said(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// Takes results up to the first that is none: they, and what was said then.
fn take_all(results: &mut dyn Iterator<Item = Result<u64, Error>>) -> (Vec<u64>, String) {
    let mut values = Vec::new();
    loop {
        match catch_unwind(AssertUnwindSafe(|| results.next())) {
            Ok(Some(Ok(value))) => values.push(value),
            Ok(Some(Err(error))) => return (values, told(&error)),
            Ok(None) => return (values, "the end".to_owned()),
            Err(payload) => return (values, said(&*payload)),
        }
    }
}

#[test]
fn h2_an_input_that_panics_costs_no_result_before_it_and_there_is_an_end() {
    let _careful = careful(60);
    for n in [0, 1, 5, 3_000] {
        in_time(move || {
            let pool = Pool::new(2).unwrap();
            let mut results = pool.imap(square, panics_at(n));
            let (values, why) = take_all(&mut results);
            assert_eq!(values, squares(n), "{why}");
            assert!(why.contains("the input is broken"), "{why}");
            // Whatever comes now, it comes.
            let _ = catch_unwind(AssertUnwindSafe(|| results.next()));
            drop(results);

            let mut results = pool.imap_unordered(square, panics_at(n));
            let (mut values, why) = take_all(&mut results);
            values.sort();
            assert_eq!(values, squares(n), "{why}");
            assert!(why.contains("the input is broken"), "{why}");
            let _ = catch_unwind(AssertUnwindSafe(|| results.next()));
            drop(results);
            assert_eq!(pool.apply(square, 3).unwrap(), 9);
            pool.close().join().unwrap();
        });
    }
}

#[test]
fn h2_a_map_whose_input_panics_says_so_and_the_pool_works_on() {
    let _careful = careful(60);
    for n in [0, 5, 3_000] {
        in_time(move || {
            let pool = Pool::new(2).unwrap();
            let unknown = || Says(panics_at(n), (0, None));
            let known = || Says(panics_at(n), (n as usize + 10, Some(n as usize + 10)));
            let maps: [&dyn Fn() -> Result<Vec<u64>, Error>; 4] = [
                &|| pool.map(square, unknown()),
                &|| pool.map(square, known()),
                &|| pool.map_async(square, known()).get(),
                &|| pool.map_with_chunksize(square, known(), 1),
            ];
            for map in maps {
                let why = match catch_unwind(AssertUnwindSafe(map)) {
                    Ok(outcome) => told(&outcome.unwrap_err()),
                    Err(payload) => said(&*payload),
                };
                assert!(why.contains("the input is broken"), "{why}");
                assert_eq!(pool.map(square, 0..100).unwrap(), squares(100));
            }
            pool.close().join().unwrap();
        });
    }
}

#[test]
fn h3_a_slow_input_does_not_hold_up_what_has_come() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(square, 0..100).unwrap(), squares(100)); // both are awake
    for ordered in [true, false] {
        let taken = AtomicUsize::new(0);
        let slow = (0..300).inspect(|_| {
            taken.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_millis(10));
        });
        let imap = if ordered { Pool::imap } else { Pool::imap_unordered };
        let mut results = imap(&pool, square, slow);
        for yielded in 1..=20 {
            results.next().unwrap().unwrap();
            // A result takes less than a millisecond to come; a busy machine has a second.
            let taken = taken.load(SeqCst);
            assert!(taken < yielded + 100, "{taken} items were taken for {yielded} results");
        }
    }
    pool.terminate();
}

#[test]
fn h4_what_has_arrived_counts_among_what_is_ahead() {
    let _careful = careful(60);
    let pool = Pool::new(1).unwrap();
    for ordered in [true, false] {
        let taken = AtomicUsize::new(0);
        let endless = (0..).inspect(|_| {
            taken.fetch_add(1, SeqCst);
        });
        let imap = if ordered { Pool::imap } else { Pool::imap_unordered };
        let mut results = imap(&pool, square, endless);
        for yielded in 1..=5_000 {
            results.next().unwrap().unwrap();
            // "About a thousand".
            let ahead = taken.load(SeqCst) - yielded;
            assert!(ahead <= 1_100, "{ahead} ahead of {yielded}");
            if yielded % 100 == 0 {
                // Behind all that is on its way: then that has arrived.
                assert_eq!(pool.apply(square, 3).unwrap(), 9);
            }
        }
    }
    pool.terminate();
}

// The order in which tasks start, and results come.

/// When a task started, and its number. (Not a note: on Windows a process that takes one keeps the others waiting.)
type Start = (SystemTime, u32);

fn compute(i: u32) -> Start {
    let (start, begin) = ((SystemTime::now(), i), Instant::now());
    while begin.elapsed() < Duration::from_millis(1) {
        std::hint::spin_loop();
    }
    start
}

fn sleep(i: u32) -> Start {
    let start = (SystemTime::now(), i);
    thread::sleep(Duration::from_millis(20));
    start
}

type Task = fn(u32) -> Start;
type Submit = fn(&Pool, Task, Range<u32>) -> Vec<Start>;

/// Every way to submit tasks one by one.
const WAYS: [(&str, Submit); 4] = [
    ("apply_async", |pool, task, items| {
        let tasks: Vec<_> = items.map(|item| pool.apply_async(task, item)).collect();
        tasks.iter().map(|task| task.get().unwrap()).collect()
    }),
    ("map in chunks of 1", |pool, task, items| {
        pool.map_with_chunksize(task, items, 1).unwrap()
    }),
    ("imap", |pool, task, items| {
        pool.imap(task, items).map(|result| result.unwrap()).collect()
    }),
    ("imap_unordered", |pool, task, items| {
        pool.imap_unordered(task, items).map(|result| result.unwrap()).collect()
    }),
];

/// Something that a busy machine may spoil is so at last once in five times; where it is wrong it never is.
#[track_caller]
fn once_in_five(try_it: impl Fn() -> Result<(), String>) {
    let mut spoilt = Vec::new();
    while let Err(why) = try_it() {
        spoilt.push(why);
        assert!(spoilt.len() < 5, "five times: {spoilt:#?}");
    }
}

/// 95 of 100 at most as many places out of order as there are workers, none more than four times as many.
fn in_order(pool: &Pool, submit: Submit, task: Task, workers: usize, count: u32) -> Result<(), String> {
    let mut starts = submit(pool, task, 0..count);
    starts.sort();
    let order: Vec<_> = starts.iter().map(|start| start.1).collect();
    starts.sort_by_key(|start| start.1);
    assert!(starts.iter().map(|start| start.1).eq(0..count), "each once");
    // By how many places each started too early or too late.
    let mut displaced: Vec<_> = (0..count).zip(&order).map(|(place, &i)| place.abs_diff(i)).collect();
    displaced.sort();
    let (most, all) = (displaced[count as usize * 95 / 100 - 1], displaced[count as usize - 1]);
    if most as usize <= workers && all as usize <= 4 * workers {
        return Ok(());
    }
    Err(format!("{order:?}"))
}

#[test]
fn h5_b52_tasks_start_in_the_order_in_which_they_were_submitted() {
    let _careful = careful(120);
    for workers in [2, 4] {
        for (way, submit) in WAYS {
            once_in_five(|| {
                let pool = || Pool::new(workers).unwrap();
                in_order(&pool(), submit, compute, workers, 200).map_err(|order| format!("{way}: {order}"))?;
                in_order(&pool(), submit, sleep, workers, 40).map_err(|order| format!("{way}: {order}"))
            });
        }
    }
}

#[test]
fn h5_b52_also_behind_many_tasks_that_took_no_time() {
    let _careful = careful(60);
    for workers in [2, 8] {
        once_in_five(|| {
            let pool = Pool::new(workers).unwrap();
            let trivial: Vec<_> = (0..20_000).map(|i| pool.apply_async(u32::wrapping_neg, i)).collect();
            trivial.into_iter().for_each(|task| _ = task.get().unwrap());
            in_order(&pool, WAYS[0].1, compute, workers, 200)
        });
    }
}

fn note_and_sleep((place, i): (String, u32)) -> u32 {
    note(&place, i);
    thread::sleep(Duration::from_millis(20));
    i
}

#[test]
fn h5_b52_results_of_imap_come_in_step_with_the_work() {
    let _careful = careful(60);
    const WORKERS: usize = 4;
    once_in_five(|| {
        let pool = Pool::new(WORKERS).unwrap();
        let events = Events::new();
        let mut steps = Vec::new();
        for result in pool.imap(note_and_sleep, (0..40).map(|i| (events.place(), i))) {
            steps.push((result.unwrap() as usize, events.notes().len()));
        }
        let in_step = |&(i, started): &(usize, usize)| started <= i + 1 + 3 * WORKERS;
        let said = format!("(result, tasks started when it came): {steps:?}");
        if steps.iter().all(in_step) { Ok(()) } else { Err(said) }
    });
}

// Failures that nobody saw.

/// Item 1 fails.
fn no_tea((place, i): (String, u32)) -> u32 {
    if i == 0 {
        await_event(&place, "go");
    }
    if i == 1 {
        await_event(&place, "fail");
        panic!("no tea");
    }
    i
}

fn items(events: &Events, count: u32) -> impl Iterator<Item = (String, u32)> {
    let place = events.place();
    (0..count).map(move |i| (place.clone(), i))
}

/// An `imap` that is dropped when one result was taken, and the failure of item 1 has come.
fn take_one(pool: &Pool, events: &Events, count: u32, ordered: bool) {
    let imap = if ordered { Pool::imap } else { Pool::imap_unordered };
    // There are two workers, so item 1 is sent before anybody waits for the result of item 0.
    let input = items(events, count).inspect(|(place, i)| {
        if *i == 1 {
            happen(place, "go");
        }
    });
    let mut results = imap(pool, no_tea, input);
    assert!(results.next().unwrap().is_ok());
    events.happen("fail");
    workers(pool); // each has done what it had before
}

type Drops = fn(&Pool, &Events);

#[test]
fn h6_join_tells_of_every_failure_that_nobody_saw() {
    let _careful = careful(60);
    let ways: [(&str, Drops); 9] = [
        ("a task, dropped at once", |pool, events| {
            drop(pool.apply_async(no_tea, (events.place(), 1)));
        }),
        ("a task, dropped when it had failed", |pool, events| {
            let task = pool.apply_async(no_tea, (events.place(), 1));
            events.happen("fail");
            eventually("it has failed", || task.ready());
        }),
        ("a task, dropped after a vain look", |pool, events| {
            let task = pool.apply_async(no_tea, (events.place(), 1));
            assert!(task.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
        }),
        ("a map, dropped at once", |pool, events| {
            drop(pool.map_async(no_tea, items(events, 4)));
        }),
        ("a map, dropped when it had failed", |pool, events| {
            let map = pool.map_async(no_tea, items(events, 4));
            events.happen("go");
            events.happen("fail");
            eventually("it has failed", || map.ready());
        }),
        ("a map, dropped after a vain look", |pool, events| {
            let map = pool.map_async(no_tea, items(events, 4));
            assert!(map.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
        }),
        ("imap of few", |pool, events| take_one(pool, events, 4, true)),
        ("imap of many", |pool, events| take_one(pool, events, 100, true)),
        ("imap_unordered", |pool, events| take_one(pool, events, 100, false)),
    ];
    for round in 0..5 {
        for (what, way) in ways {
            let pool = Pool::new(2).unwrap();
            let events = Events::new();
            way(&pool, &events);
            events.happen("go");
            events.happen("fail");
            match pool.close().join() {
                Ok(()) => panic!("round {round}: {what}: nothing was said"),
                Err(error) => assert!(told(&error).contains("no tea"), "{what}: {}", told(&error)),
            }
        }
    }
}

#[test]
fn h6_join_is_silent_about_failures_that_were_seen_or_still_can_be() {
    let _careful = careful(30);
    for round in 0..5 {
        let pool = Pool::new(2).unwrap();
        let events = Events::new();
        events.happen("go");
        events.happen("fail");
        assert!(pool.apply(no_tea, (events.place(), 1)).is_err());
        assert!(pool.map(no_tea, items(&events, 4)).is_err());
        let imap = pool.imap(no_tea, items(&events, 4));
        assert_eq!(imap.filter(Result::is_err).count(), 1);
        let imap = pool.imap_unordered(no_tea, items(&events, 4));
        assert_eq!(imap.filter(Result::is_err).count(), 1);
        let kept = pool.apply_async(no_tea, (events.place(), 1));
        let map = pool.map_async(no_tea, items(&events, 4));
        let outcome = pool.close().join();
        assert!(outcome.is_ok(), "round {round}: {outcome:?}");
        assert!(kept.get().is_err() && map.get().is_err());
    }
}

fn note_and_fail((place, how): (String, String)) {
    note(&place, process::id());
    if how == "exits" {
        process::exit(3);
    }
    panic!("no tea");
}

#[test]
fn h7_join_tells_of_workers_that_never_were_ready_although_there_was_no_task() {
    let _careful = careful(60);
    for how in ["panics", "exits"] {
        let events = Events::new();
        let place = events.place();
        in_time(move || {
            let initializer = Pool::builder()
                .processes(2)
                .initializer(note_and_fail, (place, how.to_owned()));
            let outcome = initializer.build().and_then(|pool| {
                eventually("both have tried", || events.notes().len() >= 2);
                pool.close().join()
            });
            assert!(matches!(outcome, Err(Error::Initializer(_))), "{how}: {outcome:?}");
        });
    }
}

// Ends that take their time.

pub fn leaves_a_child() {
    common::init();
    let (place, daemon) = (argument(1), argument(2) == "daemon");
    let p = Process::new(until_go, place).name("the slow one").daemon(daemon);
    let _child = p.start().unwrap();
    // As `?` does when something else has failed; or a panic.
    assert!(argument(2) != "panic", "no tea");
}

fn until_go(place: String) {
    await_event(&place, "go");
}

#[test]
fn h9_a_program_that_waits_for_a_child_that_nobody_joined_says_so() {
    let _careful = careful(60);
    let events = Events::new();
    let mut command = program("hangs::leaves_a_child");
    let command = command.args([&events.place(), ""]).stderr(process::Stdio::piped());
    let mut parent = command.spawn().unwrap();
    let mut stderr = io::BufReader::new(parent.stderr.take().unwrap());
    let line = in_time(move || {
        let mut line = String::new();
        io::BufRead::read_line(&mut stderr, &mut line).unwrap();
        thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
        line
    });
    assert!(line.contains("the slow one"), "{line:?}");
    assert!(parent.try_wait().unwrap().is_none(), "it waits");
    events.happen("go");
    assert!(parent.wait().unwrap().success());
}

#[cfg(target_os = "linux")]
#[test]
fn h9_a_program_that_cannot_say_so_waits_all_the_same() {
    let _careful = careful(60);
    for (how, code) in [("", 0), ("panic", 101)] {
        let events = Events::new();
        let mut command = crate::programs::limited("exec 2>/dev/full", "hangs::leaves_a_child");
        let mut parent = command.args([&events.place(), how]).spawn().unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            assert_eq!(parent.try_wait().unwrap(), None, "{how}");
            thread::sleep(Duration::from_millis(10));
        }
        events.happen("go");
        assert_eq!(parent.wait().unwrap().code(), Some(code), "{how}");
    }
}

#[test]
fn h9_a_child_that_ends_soon_and_a_daemon_are_left_in_silence() {
    let _careful = careful(60);
    for daemon in ["", "daemon"] {
        let events = Events::new();
        if daemon.is_empty() {
            events.happen("go");
        }
        let run = testing::run_with(
            program("hangs::leaves_a_child").args([&events.place(), daemon]),
            Duration::from_secs(20),
        );
        assert_eq!(run.success().stderr, "", "{daemon}");
    }
}

// Initializers that fail for a reason that passes.

fn fail_eight_times(place: String) {
    note(&place, process::id());
    let tries = fs::read_to_string(std::path::Path::new(&place).join("notes"));
    assert!(tries.unwrap().lines().count() > 8, "no tea");
}

#[test]
fn h10_workers_that_fail_once_each_are_no_broken_initializer() {
    let _careful = careful(60);
    let events = Events::new();
    let place = events.place();
    in_time(move || {
        let initializer = Pool::builder().processes(8).initializer(fail_eight_times, place);
        let pool = initializer.build().unwrap();
        assert_eq!(pool.map(square, 0..100).unwrap(), squares(100));
        pool.close().join().unwrap();
    });
}

fn leave(code: i32) {
    process::exit(code);
}

fn fail_every_other_time(place: String) {
    note(&place, process::id());
    let tries = fs::read_to_string(std::path::Path::new(&place).join("notes"));
    assert!(tries.unwrap().lines().count() % 2 == 0, "no tea");
}

#[test]
fn h10_an_initializer_that_fails_again_and_again_but_not_in_a_row_is_not_broken() {
    let _careful = careful(60);
    let events = Events::new();
    let place = events.place();
    in_time(move || {
        let initializer = Pool::builder().processes(1).initializer(fail_every_other_time, place);
        let pool = initializer.build().unwrap();
        for _ in 0..12 {
            let error = pool.apply(leave, 3).unwrap_err();
            assert!(matches!(error, Error::Exited { code: 3, .. }), "{error}");
        }
        assert_eq!(pool.apply(square, 3).unwrap(), 9);
        pool.close().join().unwrap();
    });
    assert!(events.notes().len() >= 24);
}

/// The worker gets ready, and ends at once.
fn end_soon(place: String) {
    note(&place, process::id());
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(1));
        process::exit(0);
    });
}

#[test]
fn h18_workers_that_end_as_soon_as_they_are_ready_are_not_replaced_in_a_storm() {
    let _careful = careful(60);
    let events = Events::new();
    let initializer = Pool::builder().processes(1).initializer(end_soon, events.place());
    let pool = initializer.build().unwrap();
    let begin = Instant::now();
    eventually("three workers", || events.notes().len() > 3);
    // Ten a second, and some more at the beginning.
    thread::sleep(Duration::from_secs(1));
    let most = 5 + 10 * begin.elapsed().as_secs_f64() as usize;
    let workers = events.notes().len();
    assert!(workers <= most, "{workers} workers in {:?}", begin.elapsed());
    pool.terminate();
}

#[test]
fn h14_results_that_are_large_are_not_piled_up() {
    let _careful = careful(60);
    for ordered in [true, false] {
        let events = Events::new();
        let pool = Pool::new(2).unwrap();
        let imap = if ordered { Pool::imap } else { Pool::imap_unordered };
        let place = events.place();
        let mut results = imap(&pool, note_and_make, (0..).map(|i| (place.clone(), i)));
        results.next().unwrap().unwrap();
        // Until no more are made.
        let mut made = 0;
        while made != events.notes().len() {
            made = events.notes().len();
            thread::sleep(Duration::from_millis(300) * slowness() as u32);
        }
        assert!(made < 100, "{made} MiB were made for one result that was taken");
    }
}

fn note_and_make((place, i): (String, u32)) -> String {
    note(&place, i);
    "x".repeat(1 << 20)
}
