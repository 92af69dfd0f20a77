//! The exercises of the README. `cargo test exercise_1 -- --ignored` checks the first.

use std::collections::HashSet;
use std::time::{Duration, Instant};

fn lesson() -> testing::Run {
    let run = testing::run(env!("CARGO_BIN_EXE_02-process"));
    run.success();
    run
}

/// The numbers of the processes that printed "Run child process `name` (...)...".
fn pids_of(run: &testing::Run, name: &str) -> Vec<u32> {
    let start = format!("Run child process {name} (");
    let rest = run.lines().into_iter().filter_map(|line| line.strip_prefix(&start));
    rest.filter_map(|rest| rest.strip_suffix(")...")?.parse().ok())
        .collect()
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let run = lesson();
    let expected = format!("Parent of test: {}.", run.pid);
    assert!(
        run.lines().contains(&expected.as_str()),
        "the child is to print {expected:?}, the number that the program's first line shows.\n\
         Hint: in run_proc, common::parent_process() tells who the parent is, and that has a pid().\n\
         The program printed:\n{}",
        run.stdout
    );
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let start = Instant::now();
    let run = lesson();
    let took = start.elapsed();
    let pids: HashSet<_> = ["one", "two", "three"]
        .iter()
        .flat_map(|name| pids_of(&run, name))
        .collect();
    assert_eq!(
        pids.len(),
        3,
        "three children, named one, two and three, are to say \"Run child process <name> (<pid>)...\".\n\
         Hint: keep what `start` returns in a Vec, and join in a second loop.\n\
         The program printed:\n{}",
        run.stdout
    );
    assert!(
        took >= Duration::from_secs(1),
        "each child is to sleep for a second (thread::sleep in run_proc), but all was over after {took:?}"
    );
    assert!(
        took < Duration::from_secs(3),
        "three children that sleep for a second at the same time need about one second, not {took:?}.\n\
         Hint: start all of them before you join the first."
    );
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let run = lesson();
    let pids: HashSet<_> = pids_of(&run, "test").into_iter().collect();
    assert_eq!(
        pids.len(),
        3,
        "the child is to fail twice, and each time a new one is to be started: three in all.\n\
         Hint: give run_proc the number of the attempt as a second argument, let it panic in attempts 1 and 2,\n\
         and start it in a loop that ends when `join` says Ok.\n\
         The program printed:\n{}",
        run.stdout
    );
    for attempt in [1, 2] {
        let start = format!("Attempt {attempt} failed: ");
        let line = run.lines().into_iter().find(|line| line.starts_with(&start));
        assert!(
            line.is_some_and(|line| line.contains("the disk is full") && line.contains("main.rs:")),
            "no line {start:?} with what `join` says: message (the disk is full), file and line of the panic.\n\
             Hint: println!(\"Attempt {{attempt}} failed: {{error}}\").\n\
             The program printed:\n{}",
            run.stdout
        );
    }
    assert_eq!(
        run.lines().last(),
        Some(&"Child process end."),
        "the third attempt is to end well:\n{}",
        run.stdout
    );
}
