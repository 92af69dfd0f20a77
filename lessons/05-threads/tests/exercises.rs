//! The checks of the exercises in README.md. They fail until the lesson does what is asked for:
//! `cargo test exercise_1 -- --ignored`

use std::collections::HashSet;

/// What the lesson prints as it stands now.
fn output() -> String {
    let run = testing::run(env!("CARGO_BIN_EXE_05-threads"));
    run.success();
    run.stdout.clone()
}

/// Where the line stands in the output.
fn position(output: &str, line: &str) -> Option<usize> {
    output.lines().position(|l| l == line)
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let output = output();
    let starts = position(&output, "thread LoopThread-2 is running...");
    let ends = position(&output, "thread LoopThread ended.");
    assert!(
        starts.is_some() && position(&output, "thread LoopThread-2 ended.").is_some(),
        "a second thread that is named LoopThread-2 was expected, and that it ends.\n\
         Hint: one more `thread::Builder`, with the same `run_loop`.\nThe output was:\n{output}"
    );
    assert!(
        starts < ends,
        "LoopThread-2 started only when LoopThread had ended.\n\
         Hint: `join` waits. Start both, and join both afterwards.\nThe output was:\n{output}"
    );
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let output = output();
    let parts = output
        .lines()
        .filter(|line| *line == "scoped thread: I add 250 numbers.")
        .count();
    assert_eq!(
        parts, 4,
        "four lines `scoped thread: I add 250 numbers.` were expected.\n\
         Hint: `numbers.chunks(250)` gives four slices. Start a thread for each of them and keep \
         the handles in a `Vec`; then join them all. (`.map(spawn).map(join)` in one chain would \
         start the next one only when the last has ended: iterators are lazy.)\n\
         The output was:\n{output}"
    );
    assert!(
        output.contains("sum of 1000 numbers: 500500."),
        "the sum is to stay 500500:\n{output}"
    );
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let output = output();
    let mut workers = HashSet::new();
    for task in 1..=9 {
        let lines: Vec<&str> = output
            .lines()
            .filter(|line| line.ends_with(&format!(" task {task}: {}.", task * task)))
            .collect();
        let [line] = lines[..] else {
            panic!(
                "one line `thread Worker-<n> task {task}: {}.` was expected, not {}.\n\
                 Hint: two channels, tasks and results. `crossbeam::channel` gives several \
                 threads clones of one receiver, and each task goes to one of them. \
                 `for task in tasks` ends when every sender is dropped, main's too.\n\
                 The output was:\n{output}",
                task * task,
                lines.len()
            );
        };
        workers.insert(line.split(" task ").next().unwrap());
    }
    assert_eq!(
        workers,
        HashSet::from(["thread Worker-1", "thread Worker-2", "thread Worker-3"]),
        "all three workers were to take part.\n\
         Hint: start all of them before the first `join`, and let each task sleep 20 ms: \
         trivial tasks are all done before the second worker has started.\n\
         The output was:\n{output}"
    );
    assert!(
        output.lines().any(|line| line == "sum of squares: 285."),
        "the line `sum of squares: 285.` was expected.\nHint: main reads the results until the \
         last worker has dropped its sender.\nThe output was:\n{output}"
    );
}
