//! The checks of the exercises in README.md. `cargo test exercise_1 -- --ignored` runs the first.

use std::time::{Duration, Instant};
use testing::{Exercise, Run, Tracee};

/// A run of the program, and the threads that it started, in that order; `None` where they cannot be watched.
#[track_caller]
fn observe(exercise: &Exercise) -> (Run, Option<Vec<Tracee>>) {
    let Some((run, mut threads)) = exercise.observe() else {
        return (exercise.run(), None);
    };
    threads.retain(|it| it.is_thread);
    (run, Some(threads))
}

/// The number of the thread with that name, counted from 1 in the order in which the threads were started.
#[track_caller]
fn number(threads: &[Tracee], name: &str) -> usize {
    let found: Vec<_> = (1..).zip(threads).filter(|(_, it)| it.name == name).collect();
    let [(number, _)] = found[..] else {
        panic!("one thread should have the name {name}, not {}", found.len());
    };
    number
}

/// The position of the only line with that text.
#[track_caller]
fn position(printed: &str, text: &str) -> usize {
    let lines = printed.lines().enumerate();
    let found: Vec<_> = lines.filter(|(_, line)| *line == text).collect();
    let [(position, _)] = found[..] else {
        panic!("the line `{text}` should be there once, not {} times", found.len());
    };
    position
}

/// Is there a line of that text?
fn says(printed: &str, text: &str) -> bool {
    printed.lines().any(|line| line == text)
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_05-threads"),
        "let `run_loop` take the number of rounds, and spawn `|| run_loop(10)` with one more `thread::Builder`. `join`\n\
         waits: start both threads before you join the first. A thread that nobody joins ends with `main`.",
    );
    let begin = Instant::now();
    let (run, threads) = observe(&exercise);
    let took = begin.elapsed();
    let of = |name: &str, rounds: u32| {
        let starts = position(&run.stdout, &format!("thread {name} is running..."));
        let ends = position(&run.stdout, &format!("thread {name} ended."));
        let rounds = (1..=rounds).map(|n| position(&run.stdout, &format!("thread {name} >>> {n}")));
        assert!(
            [starts].into_iter().chain(rounds).chain([ends]).is_sorted(),
            "the lines of {name} are not in order"
        );
        (starts, ends)
    };
    let names = ["LoopThread", "LoopThread-2"];
    let (first, second) = (of(names[0], 5), of(names[1], 10));
    assert!(
        first.0 < second.1 && second.0 < first.1,
        "one of the two threads starts only when the other one has ended"
    );
    let sum = "both threads: 15 rounds.";
    assert!(
        first.1.max(second.1) < position(&run.stdout, sum),
        "what both threads return is known only when both have ended"
    );

    // Without one of the two threads, the other one does its work, and `main` waits.
    let Some(threads) = threads else { return };
    for (held, other) in [(names[0], names[1]), (names[1], names[0])] {
        let time = took + took / 2 + Duration::from_millis(500);
        let printed = exercise.run_holding(number(&threads, held), time, |printed| says(printed, sum));
        let printed = printed.unwrap_or_default();
        assert!(
            !says(&printed, sum),
            "this time {held} was not allowed to run, but `main` did not wait for it: `{sum}` was printed all the same"
        );
        assert!(
            says(&printed, &format!("thread {other} ended.")),
            "this time {held} was not allowed to run, and {other} did not run either: it should not wait for {held}"
        );
    }
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
    let line = "scoped thread: I add 250 numbers.";
    let begin = Instant::now();
    // Threads that sleep at the same time end at the same time. On a busy machine one of them may be late; then it is tried
    // again, as long as there is time.
    loop {
        let (run, threads) = observe(&exercise);
        let end = Instant::now();
        let parts = run.lines().into_iter().filter(|it| *it == line).count();
        assert_eq!(parts, 4, "the line `{line}` should be there four times");
        position(&run.stdout, "sum of 1000 numbers: 500500.");

        let Some(threads) = threads else { return };
        let adding = threads.iter().filter(|it| it.name != "LoopThread");
        let lives = adding.map(|it| (it.started, it.ended.unwrap_or(end)));
        let long = lives.filter(|(started, ended)| *ended - *started >= Duration::from_millis(300));
        let mut ends: Vec<_> = long.map(|(_, ended)| ended).collect();
        assert!(
            ends.len() >= 4,
            "four threads should take 300 ms each, but only {} did",
            ends.len()
        );
        ends.sort();
        if ends.windows(4).any(|it| it[3] - it[0] < Duration::from_millis(150)) {
            return;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(6) * testing::slowness() as u32,
            "the four threads do not end at the same time: they should not wait for each other, either to start or to sleep"
        );
    }
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_05-threads"),
        "two channels, `crossbeam::channel::unbounded()`: one for the tasks, one for the results. Each worker has a clone\n\
         of the tasks' receiver and of the results' sender; a task goes to whichever worker takes it first. `for task in\n\
         tasks` ends when every sender of tasks is dropped, including `main`'s; the same holds for the results. Let a\n\
         result carry the worker's name, so that `main` can count.",
    );
    let begin = Instant::now();
    // On a busy machine a thread may get to run so late that there is nothing left to do, or that the others are not done
    // before task 1. Then it is tried again, as long as there is time.
    let threads = loop {
        let (run, threads) = observe(&exercise);
        let done = work(&run.stdout);
        let counts = NAMES.map(|name| done.iter().filter(|(_, by)| *by == name).count());
        if counts.iter().all(|count| *count != 0) && done.iter().max() == Some(&done[0]) {
            break threads;
        }
        if begin.elapsed() > Duration::from_secs(6) * testing::slowness() as u32 {
            assert!(
                counts.iter().all(|count| *count != 0),
                "all three workers should do some of the tasks"
            );
            panic!(
                "task 1 takes longer than all others: it should be done last, while the other workers do the other tasks"
            );
        }
    };

    // Without one of the workers, the other two do everything.
    let Some(threads) = threads else { return };
    let time = Duration::from_secs(3) * testing::slowness() as u32;
    let enough = |printed: &str| (1..=9).all(|task| done(printed, task).is_ok());
    for name in NAMES {
        let printed = exercise
            .run_holding(number(&threads, name), time, enough)
            .unwrap_or_default();
        for task in 1..=9 {
            assert!(
                done(&printed, task).is_ok(),
                "this time {name} was not allowed to run, and task {task} was not done: any worker that is free should take it"
            );
        }
        let done = work(&printed);
        assert!(
            done.iter().all(|(_, by)| *by != name),
            "this time {name} was allowed to run only after everything was done, but a line says that it did a task"
        );
    }
}

const NAMES: [&str; 3] = ["Worker-1", "Worker-2", "Worker-3"];

/// Where the line of each task stands, and who did it; the counts and the sum are right.
#[track_caller]
fn work(printed: &str) -> Vec<(usize, &str)> {
    let tasks: Result<Vec<_>, String> = (1..=9).map(|task| done(printed, task)).collect();
    let tasks = tasks.unwrap_or_else(|why| panic!("{why}"));
    for name in NAMES {
        let count = tasks.iter().filter(|(_, by)| *by == name).count();
        // A worker that did nothing, which is not its fault on a busy machine, may not be mentioned.
        if count > 0 || printed.contains(&format!("{name} did ")) {
            position(printed, &format!("{name} did {count} of 9 tasks."));
        }
    }
    position(printed, "sum of squares: 285.");
    tasks
}

/// Where the line stands that says that this task is done, and by whom.
fn done(printed: &str, task: u32) -> Result<(usize, &str), String> {
    let end = format!(" task {task}: {}.", task * task);
    let found: Vec<_> = printed
        .lines()
        .enumerate()
        .filter(|(_, line)| line.ends_with(&end))
        .collect();
    let [(place, line)] = found[..] else {
        return Err(format!(
            "one line `thread Worker-<n>{end}` was expected, not {}",
            found.len()
        ));
    };
    let name = line.strip_suffix(&end).and_then(|start| start.strip_prefix("thread "));
    let name = name.filter(|name| NAMES.contains(name));
    Ok((place, name.ok_or_else(|| format!("no worker says {line:?}"))?))
}
