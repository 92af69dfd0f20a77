//! The lesson runs as its first lines say.

use std::collections::HashSet;

#[test]
fn four_workers_share_five_tasks() {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(env!("CARGO_BIN_EXE_03-pool"));
    run.success();
    assert_eq!(run.stderr, "");
    let lines = run.lines();
    assert_eq!(lines.len(), 13, "{lines:#?}");

    // Fixed: the first and the last line, and each task's two lines in their order.
    assert_eq!(lines[0], format!("Parent process {}.", run.pid));
    assert_eq!(lines[12], "All subprocesses done.");
    assert!(lines.contains(&"Waiting for all subprocesses done..."));
    let place = |start: String| {
        let found: Vec<_> = (0..lines.len()).filter(|&i| lines[i].starts_with(&start)).collect();
        assert_eq!(found.len(), 1, "{start:?} in {lines:#?}");
        found[0]
    };
    for task in 0..5 {
        assert!(place(format!("Run task {task} (")) < place(format!("Task {task} runs ")));
    }

    // The fifth task starts when one of the others has ended.
    let fifth = place("Run task 4 (".to_string());
    assert!((0..4).any(|task| place(format!("Task {task} runs ")) < fifth));

    // No more than four workers, and the parent is none of them.
    let workers: HashSet<_> = lines
        .iter()
        .filter(|line| line.starts_with("Run task "))
        .map(|line| line.split(['(', ')']).nth(1))
        .collect();
    assert!(workers.len() <= 4, "{lines:#?}");
    assert!(!workers.contains(&Some(run.pid.to_string().as_str())));
}
