//! The checks of the exercises in README.md. `cargo test exercise_1 -- --ignored` runs the first.

use std::collections::HashSet;
use testing::{Exercise, Run};

/// What follows `start` in the only line that begins so.
#[track_caller]
fn after<'a>(run: &'a Run, start: &str) -> &'a str {
    let lines = run.lines().into_iter();
    let found: Vec<_> = lines.filter_map(|line| line.strip_prefix(start)).collect();
    let [rest] = found[..] else {
        panic!("one line `{start}…` was expected, not {}", found.len());
    };
    rest
}

#[track_caller]
fn number(text: &str) -> u32 {
    text.parse()
        .unwrap_or_else(|_| panic!("a number was expected, not {text:?}"))
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_06-lock"),
        "what changes together belongs under one lock. Make it a `Mutex<Account>`, a struct of your own with `balance`,\n\
         `changes`, `turns`, and the `n` of the thread that changed the balance last; `change_it` knows its own `n`.",
    );
    let mut turns = HashSet::new();
    // Threads take turns as it happens. What is the same in every run has not been counted.
    for _ in 0..10 {
        let run = exercise.run();
        turns.insert(["acquire and release", "guard"].map(|stage| {
            let start = format!("{stage}: balance = 0, changes = 200000, turns = ");
            number(after(&run, &start))
        }));
        if turns.len() > 1 {
            return;
        }
    }
    panic!("10 runs printed exactly the same numbers of turns, {turns:?}: were they really counted?");
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_06-lock"),
        "a lock is poisoned by a panic *while its guard is alive*. `*lock.lock().unwrap() += 5;` drops the guard at the\n\
         end of the statement; `let mut balance = lock.lock().unwrap();` keeps it. `join` both threads: the scope\n\
         itself returns an `Err` if a thread that was not joined has panicked. The `Err` that `lock()` then returns\n\
         contains the guard: get it with `into_inner()`.",
    );
    let run = exercise.run();
    assert_eq!(run.lines().last(), Some(&"poisoned: balance = 5"), "the last line");
    let panics = run.stderr.matches(" panicked at ").count();
    assert_eq!(panics, 2, "two threads should panic");
    assert!(
        !run.stderr.contains("thread 'main'"),
        "two threads other than `main` should panic, but `main` itself panicked"
    );
    assert!(
        run.stderr.contains("PoisonError"),
        "the second thread's `lock().unwrap()` should panic because of a `PoisonError`: the lock is not poisoned"
    );
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_06-lock"),
        "to read `false` and to write `true` must be one step, or two threads can both read `false`:\n\
         `compare_exchange(false, true, Acquire, Relaxed)` is one step, and so is `swap`. As long as it fails,\n\
         call `thread::yield_now()` and try again. Store `false`, with `Release`, in the `Drop` of your guard.",
    );
    let mut goals = HashSet::new();
    // A bad lock loses some two hundred updates in each run. On a very busy machine, where the two threads hardly meet, a
    // run may lose none; not five runs in a row.
    for _ in 0..5 {
        let run = exercise.run();
        let numbers = after(&run, "own lock: counter = ");
        let Some((counter, goal)) = numbers.split_once(" of ") else {
            panic!("`own lock: counter = <n> of <m>` was expected, which `lock::count_under` prints");
        };
        let (counter, goal) = (number(counter), number(goal));
        assert_eq!(
            counter, goal,
            "updates were lost: two threads held the lock at the same time"
        );
        goals.insert(goal);
    }
    assert!(
        goals.len() > 1,
        "five runs had the same goal: does `lock::count_under` really print the line?"
    );
}
