//! Each example ends by itself, and shows its fact.

use std::collections::HashSet;

fn example(name: &str) -> testing::Run {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(testing::example(env!("CARGO_MANIFEST_DIR"), name));
    run.success();
    run
}

#[test]
fn map() {
    let run = example("map");
    let lines = run.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].starts_with("Workers: 1, primes: 148933, "), "{}", lines[0]);
    assert!(lines[1].contains(", primes: 148933, "), "{}", lines[1]);
    // How much is gained depends on what else the machine is doing: not checked here.
    let speed_up = lines[2]
        .strip_prefix("Speed-up: ")
        .and_then(|rest| rest.split(',').next());
    assert!(speed_up.is_some_and(|it| it.parse::<f64>().is_ok()), "{}", lines[2]);
    assert_eq!(run.stderr, "");
}

#[test]
fn crash() {
    let run = example("crash");
    let lines = run.lines();
    assert_eq!(lines.len(), 8, "{lines:#?}");
    let mut workers = HashSet::new();
    for (task, line) in lines.iter().enumerate() {
        if task == 3 {
            assert!(line.starts_with("Task 3 is lost: "), "{line}");
            assert!(!cfg!(unix) || line.contains("SIGKILL"), "{line}");
        } else {
            let start = format!("Task {task} was run by ");
            let worker = line.strip_prefix(&start);
            workers.insert(worker.unwrap_or_else(|| panic!("{start:?} in {lines:#?}")));
        }
    }
    // Two at a time, and at most one more for the one that died.
    assert!(workers.len() <= 3, "{lines:#?}");
    assert_eq!(run.stderr, "");
}

#[test]
fn progress() {
    let run = example("progress");
    let lines = run.lines();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    for (done, line) in (1..).zip(&lines) {
        assert!(
            line.starts_with(&format!("{done} of 5 tasks done: task ")),
            "{lines:#?}"
        );
    }
    assert_eq!(lines[4], "5 of 5 tasks done: task 0.");
    assert_eq!(run.stderr, "");
}

#[test]
#[cfg(unix)]
fn pool_by_hand() {
    let run = example("pool_by_hand");
    let lines: HashSet<&str> = run.lines().into_iter().collect();
    assert_eq!(lines.len(), 8, "{lines:#?}");
    let mut workers = HashSet::new();
    for task in 0..8 {
        let start = format!("Task {task} ");
        let line = lines.iter().find_map(|line| line.strip_prefix(&start));
        let line = line.unwrap_or_else(|| panic!("{start:?} in {lines:#?}"));
        if task == 3 {
            assert!(
                line.starts_with("is lost: Signaled(") && line.contains("SIGKILL"),
                "{line}"
            );
        } else {
            workers.insert(line.strip_prefix("was run by ").unwrap_or_else(|| panic!("{line}")));
        }
    }
    // Two at a time, and one more for the one that died.
    assert!(
        workers.len() <= 3 && !workers.contains(&*format!("{}.", run.pid)),
        "{lines:#?}"
    );
    assert_eq!(run.stderr, "");
}

#[test]
#[cfg(not(unix))]
fn pool_by_hand() {
    assert!(example("pool_by_hand").stdout.contains("Windows does not have"));
}
