//! The checks of the exercises in README.md. Each fails until the program does what its exercise asks for:
//! `cargo test exercise_1 -- --ignored`
#![cfg(unix)]

use std::collections::HashSet;
use testing::{Exercise, Tracee};

const PROGRAM: &str = env!("CARGO_BIN_EXE_01-fork");

/// The ids in every line that begins with `start`.
fn ids(output: &str, start: &str) -> Vec<Vec<u32>> {
    output
        .lines()
        .filter(|line| line.starts_with(start))
        .map(|line| {
            line.split(|c: char| !c.is_ascii_digit())
                .filter_map(|word| word.parse().ok())
                .collect()
        })
        .collect()
}

/// The processes that `parent` has started, in that order.
fn children(seen: &[Tracee], parent: u32) -> Vec<&Tracee> {
    seen.iter().filter(|it| !it.is_thread && it.parent == parent).collect()
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let exercise = Exercise::new(
        PROGRAM,
        "count the children from 1, pass the number to `run_child`, and call `exit` with it there. In the parent, \
         `waitpid` returns it in `WaitStatus::Exited(pid, code)`. The assertion below that line still expects every child to \
         exit with 0, so it has to change as well.",
    );
    let run = exercise.run();
    let created = ids(&run.stdout, "I (");
    assert!(
        created.len() == 3,
        "three lines `I (<pid>) just created a child process (<pid>).` were expected"
    );
    for (number, ids) in (1..).zip(&created) {
        let line = format!("Child process ({}) end: exit code {number}.", ids[1]);
        let count = run.lines().into_iter().filter(|it| *it == line).count();
        assert!(
            count == 1,
            "child {number} is process {}, so the line `{line}` was expected",
            ids[1]
        );
    }

    // What the program prints need not be what has happened.
    if let Some((run, seen)) = exercise.observe() {
        let codes: Vec<_> = children(&seen, run.pid)
            .iter()
            .map(|it| it.exitcode.unwrap_or(-1))
            .collect();
        assert!(
            codes == [1, 2, 3],
            "the exit codes of the three children were really {codes:?}, not 1, 2 and 3"
        );
    }
    for number in 1..=3 {
        let printed = exercise.run_without(number).unwrap_or_default();
        assert!(
            !printed.contains(&format!("exit code {number}.")),
            "this time child {number} was made to exit with 0, but the parent still printed `exit code {number}.` It should \
             print the code that `waitpid` returns"
        );
    }
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let exercise = Exercise::new(
        PROGRAM,
        "`run_child` can call `fork` too. The grandchild prints its line and calls `exit`. The child calls `waitpid` \
         before it exits. (The example `orphan` shows what happens to a process whose parent does not wait.)",
    );
    let run = exercise.run();
    let said = ids(&run.stdout, "I am child process (");
    let named = ids(&run.stdout, "I am grandchild process (");
    assert!(
        said.len() == 3,
        "three lines `I am child process ...` were expected, as before"
    );
    assert!(
        named.len() == 3,
        "three lines `I am grandchild process (<pid>) and my parent is <pid>.` were expected"
    );
    let said: HashSet<u32> = said.iter().map(|ids| ids[0]).collect();
    let named: HashSet<u32> = named.iter().map(|ids| ids[1]).collect();
    assert!(
        named == said,
        "the parents that the grandchildren name are {named:?}, but the children are {said:?}"
    );

    let Some((run, seen)) = exercise.observe() else { return };
    let said = ids(&run.stdout, "I am grandchild process (");
    for child in children(&seen, run.pid) {
        let [grandchild] = children(&seen, child.id)[..] else {
            panic!("child {} did not really start one process of its own", child.id);
        };
        assert!(
            grandchild.waited_for,
            "child {} exited without waiting for its own child {}",
            child.id, grandchild.id
        );
        assert!(
            said.iter().any(|ids| ids[..] == [grandchild.id, child.id]),
            "child {} started process {}, which did not print both ids",
            child.id,
            grandchild.id
        );
    }
    assert!(
        seen.len() == 6,
        "three children and three grandchildren are six processes, but {} were started",
        seen.len()
    );
    // The last of the six is a grandchild.
    let printed = exercise.run_without(6).unwrap_or_default();
    let said = ids(&printed, "I am grandchild process (").len();
    assert!(
        said <= 2,
        "this time one grandchild ended before it could print anything, but its line was still there. It should print it itself"
    );
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let exercise = Exercise::new(
        PROGRAM,
        "an exit code has only 8 bits, so make a pipe (`nix::unistd::pipe`) before the first `fork`. Each child adds up its \
         million numbers and writes the result to the pipe (`to_ne_bytes`). The parent drops its own write end, because \
         otherwise it never sees end of file; then it reads the three results and adds them up.",
    );
    let sum = "Sum: 4500001500000";
    let run = exercise.run();
    let count = run.lines().into_iter().filter(|line| *line == sum).count();
    assert!(count == 1, "the line `{sum}` was expected once");
    let said = ids(&run.stdout, "I am child process (").len();
    assert!(
        said == 3,
        "three lines `I am child process ...` were expected, as before"
    );
    for number in 1..=3 {
        let printed = exercise.run_without(number).unwrap_or_default();
        assert!(
            !printed.contains(sum),
            "this time child {number} ended before it could add anything up, but the parent still printed the whole sum. It \
             should add up only what the children send"
        );
    }
}
