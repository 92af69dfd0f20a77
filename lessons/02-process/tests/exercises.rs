//! The checks of the exercises in README.md. Each fails until the program does what its exercise asks for:
//! `cargo test exercise_1 -- --ignored`

use std::time::{Duration, Instant};
use testing::{Exercise, Tracee};

const PROGRAM: &str = env!("CARGO_BIN_EXE_02-process");

/// The ids of the processes that printed `Run child process <name> (<pid>)...`.
fn pids_of(run: &testing::Run, name: &str) -> Vec<u32> {
    let start = format!("Run child process {name} (");
    let rest = run.lines().into_iter().filter_map(|line| line.strip_prefix(&start));
    rest.filter_map(|rest| rest.strip_suffix(")...")?.parse().ok())
        .collect()
}

/// The processes that the program itself has started, in that order.
fn children(run: &testing::Run, seen: Vec<Tracee>) -> Vec<Tracee> {
    // A process may also be started by one of the program's threads.
    let threads: Vec<u32> = seen.iter().filter(|it| it.is_thread).map(|it| it.id).collect();
    let ours = |it: &Tracee| !it.is_thread && (it.parent == run.pid || threads.contains(&it.parent));
    seen.into_iter().filter(ours).collect()
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let exercise = Exercise::new(
        PROGRAM,
        "call `common::parent_process()` in `run_proc`. It returns `Some(parent)`, and `parent.pid()` is the number. \
         (In the first process of a program it returns `None`.)",
    );
    let run = exercise.run();
    let line = format!("Parent of test: {}.", run.pid);
    assert!(
        run.lines().contains(&&*line),
        "the line `{line}` was expected, with the pid that the first line shows"
    );
    let printed = exercise.run_without(1).unwrap_or_default();
    assert!(
        !printed.contains("Parent of test: "),
        "this time the child was killed before it could print anything, but the line was still there. The child should print \
         it, not the parent"
    );
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let exercise = Exercise::new(
        PROGRAM,
        "let `run_proc` sleep (`std::thread::sleep`). Start the children in one loop, push what `start` returns to a `Vec`, and \
         join them in a second loop. A `join` in the first loop would wait for each child before the next one is started.",
    );
    let begin = Instant::now();
    let run = exercise.run();
    let took = begin.elapsed();
    for name in ["one", "two", "three"] {
        let count = pids_of(&run, name).len();
        assert!(
            count == 1,
            "the line `Run child process {name} (<pid>)...` was expected once, but was printed {count} times"
        );
    }
    assert!(
        took >= Duration::from_secs(1),
        "each child should sleep for a second, but everything was over after {took:.1?}"
    );

    let Some((run, seen)) = exercise.observe() else {
        assert!(
            took < Duration::from_secs(2),
            "everything should be over after about one second, but it took {took:.1?}"
        );
        return;
    };
    let children = children(&run, seen);
    assert!(
        children.len() == 3,
        "the program started {} processes, not three",
        children.len()
    );
    for name in ["one", "two", "three"] {
        let pids = pids_of(&run, name);
        assert!(
            children.iter().any(|child| pids == [child.id]),
            "no child printed the line `Run child process {name} (<pid>)...` with its own pid; the pid there is {pids:?}"
        );
    }
    for (child, name) in children.iter().zip(["first", "second", "third"]) {
        let lived = child.ended.map_or(Duration::ZERO, |ended| ended - child.started);
        assert!(
            lived >= Duration::from_secs(1),
            "each child should sleep for a second, but the {name} one ended after {lived:.1?}"
        );
    }
    assert!(
        children[0].overlaps(&children[2]) && children[0].overlaps(&children[1]) && children[1].overlaps(&children[2]),
        "all three children should sleep at the same time, but one had ended before another one was started"
    );
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let exercise = Exercise::new(
        PROGRAM,
        "each attempt is a new process, so a counter in the child would start from 0 each time. Let the parent count, and pass the number of \
         the attempt to the child as a part of the argument (a tuple); the child panics in attempts 1 and 2. The parent loops \
         until `join` returns `Ok`. Printed, the `Err` shows the panic's message, file and line.",
    );
    let run = exercise.run();
    let mut failed = Vec::new();
    let is_failure = |line: &&str| line.starts_with("Attempt ") && line.contains(" failed");
    for line in run.lines().into_iter().filter(is_failure) {
        assert!(
            line.contains("the disk is full") && line.contains("main.rs:"),
            "this line should show the error that `join` returns, with the panic's message, file and line: {line}"
        );
        failed.push(line.split(':').next().unwrap_or_default());
    }
    assert!(
        failed == ["Attempt 1 failed", "Attempt 2 failed"],
        "two such lines were expected, `Attempt 1 failed: ...` and `Attempt 2 failed: ...`, but there are: {failed:?}"
    );
    let panics = run.stderr.matches("the disk is full").count();
    assert!(
        panics >= 2,
        "a process that panics reports it on its standard error; two should, but {panics} did"
    );
    assert!(
        !pids_of(&run, "test").is_empty(),
        "the third child should print its line and return, as in the lesson"
    );
    assert!(
        run.lines().last() == Some(&"Child process end."),
        "the last line should be `Child process end.`"
    );

    let Some((run, seen)) = exercise.observe() else { return };
    let children = children(&run, seen);
    let codes: Vec<_> = children.iter().map(|it| it.exitcode.unwrap_or(0)).collect();
    assert!(
        codes == [101, 101, 0],
        "three processes were expected, two that panic (exit code 101) and one that returns (exit code 0); those that were \
         really started have the exit codes {codes:?}"
    );
    assert!(
        pids_of(&run, "test").contains(&children[2].id),
        "the third process, {}, should print its line, as in the lesson",
        children[2].id
    );
    assert!(
        !children[0].overlaps(&children[1]) && !children[1].overlaps(&children[2]),
        "each attempt should begin when the one before has failed, but two ran at the same time"
    );
}
