//! The checks of the exercises in README.md. `cargo test exercise_1 -- --ignored` runs the first.

use std::time::{Duration, Instant};
use testing::{Exercise, Run, Tracee};

/// A run of the program, and the threads that it started; none where they cannot be watched.
#[track_caller]
fn observe(exercise: &Exercise) -> (Run, Vec<Tracee>) {
    let (run, mut threads) = exercise.observe().unwrap_or_else(|| (exercise.run(), Vec::new()));
    threads.retain(|it| it.is_thread);
    (run, threads)
}

/// How many of these threads were alive at the same time, at most.
fn at_once(threads: &[Tracee]) -> usize {
    let alive = |thread: &Tracee, at: Instant| thread.started <= at && thread.ended.is_none_or(|ended| at < ended);
    let count = |at| threads.iter().filter(|thread| alive(thread, at)).count();
    threads.iter().map(|thread| count(thread.started)).max().unwrap_or(0)
}

/// Fails unless so many threads, each of which lived so long or longer, were alive at the same time.
#[track_caller]
fn run_side_by_side(mut threads: Vec<Tracee>, expected: usize, millis: u64) {
    let watched = !threads.is_empty();
    let long = Duration::from_millis(millis);
    threads.retain(|it| it.ended.is_none_or(|ended| ended - it.started >= long));
    let most = at_once(&threads);
    assert!(
        !watched || most >= expected,
        "{expected} threads should work at the same time; there were {most} at most, beside `main`"
    );
}

/// Where the only line of that text stands.
#[track_caller]
fn position(run: &Run, text: &str) -> usize {
    let lines = run.lines().into_iter().enumerate();
    let found: Vec<_> = lines.filter(|(_, line)| *line == text).collect();
    let [(position, _)] = found[..] else {
        panic!("the line `{text}` should be there once, not {} times", found.len());
    };
    position
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_05-threads"),
        "let `run_loop` take the number of rounds, and spawn `|| run_loop(10)` with one more `thread::Builder`. `join`\n\
         waits: start both threads before you join the first. A thread that nobody joins ends with `main`.",
    );
    let (run, threads) = observe(&exercise);
    let of = |name: &str, rounds: u32| {
        let starts = position(&run, &format!("thread {name} is running..."));
        let ends = position(&run, &format!("thread {name} ended."));
        let rounds = (1..=rounds).map(|n| position(&run, &format!("thread {name} >>> {n}")));
        assert!(
            [starts].into_iter().chain(rounds).chain([ends]).is_sorted(),
            "the lines of {name} are not in order"
        );
        (starts, ends)
    };
    let (first, second) = (of("LoopThread", 5), of("LoopThread-2", 10));
    assert!(
        first.0 < second.1 && second.0 < first.1,
        "one of the two threads starts only when the other one has ended"
    );
    let sum = position(&run, "both threads: 15 rounds.");
    assert!(
        first.1.max(second.1) < sum,
        "what both threads return is known only when both have ended"
    );
    run_side_by_side(threads, 2, 400);
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_05-threads"),
        "`numbers.chunks(250)` gives four slices. Start a thread for each of them and keep the handles in a `Vec`; join\n\
         them afterwards. A chain `.map(spawn).map(join)` would start the next thread only when the one before has\n\
         ended, because iterators are lazy. To take 300 ms: `thread::sleep(Duration::from_millis(300))` in `add`.",
    );
    let (run, threads) = observe(&exercise);
    let line = "scoped thread: I add 250 numbers.";
    let parts = run.lines().into_iter().filter(|it| *it == line).count();
    assert_eq!(parts, 4, "the line `{line}` should be there four times");
    position(&run, "sum of 1000 numbers: 500500.");
    run_side_by_side(threads, 4, 250);
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_05-threads"),
        "two channels, `crossbeam::channel::unbounded()`: one for the tasks, one for the results. Each worker has a clone\n\
         of the tasks' receiver and of the results' sender; a task goes to whichever worker takes it first. `for task in\n\
         tasks` ends when every sender of tasks is dropped, `main`'s too, and so it is with the results. Let a result\n\
         carry the worker's name, so that `main` can count.",
    );
    let (run, threads) = observe(&exercise);
    let names = ["Worker-1", "Worker-2", "Worker-3"];
    let done: Vec<_> = (1..=9)
        .map(|task| {
            let end = format!(" task {task}: {}.", task * task);
            let lines = run.lines().into_iter().enumerate();
            let found: Vec<_> = lines.filter(|(_, line)| line.ends_with(&end)).collect();
            let [(place, line)] = found[..] else {
                panic!("one line `thread Worker-<n>{end}` was expected, not {}", found.len());
            };
            let name = line.strip_suffix(&end).and_then(|start| start.strip_prefix("thread "));
            let name = names.into_iter().find(|it| name == Some(it));
            (place, name.unwrap_or_else(|| panic!("no worker says {line:?}")))
        })
        .collect();
    assert_eq!(
        done.iter().max(),
        Some(&done[0]),
        "task 1 takes longer than all others: it should be done last, while the other workers do the other tasks"
    );
    for name in names {
        let count = done.iter().filter(|(_, by)| *by == name).count();
        assert_ne!(count, 0, "{name} should do some of the tasks");
        position(&run, &format!("{name} did {count} of 9 tasks."));
    }
    position(&run, "sum of squares: 285.");
    run_side_by_side(threads, 3, 50);
}
