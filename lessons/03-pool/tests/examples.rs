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
    let speed_up = lines[2].strip_prefix("Speed-up: ").map(str::parse::<f64>);
    assert!(matches!(speed_up, Some(Ok(_))), "{}", lines[2]);
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
