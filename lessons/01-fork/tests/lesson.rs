//! What the lesson promises: three children, each announced, each heard, each waited for.
#![cfg(unix)]

use std::collections::HashSet;

/// The numbers of a line: the ids, in the order in which they are printed.
fn ids(line: &str) -> Vec<u32> {
    line.split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[test]
fn three_children_are_made_named_and_waited_for() {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(env!("CARGO_BIN_EXE_01-fork"));
    run.success();
    let lines = run.lines();
    let find = |start: &str| -> Vec<(usize, Vec<u32>)> {
        lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with(start))
            .map(|(at, line)| (at, ids(line)))
            .collect()
    };

    assert_eq!(lines[0], format!("Process ({}) start...", run.pid));
    let created = find("I (");
    let said = find("I am child process (");
    let ended = find("Child process (");
    assert_eq!((created.len(), said.len(), ended.len()), (3, 3, 3), "{lines:#?}");
    assert_eq!(lines.len(), 10, "{lines:#?}");

    // Three different ids; each child names the parent; it ends after it has spoken.
    let mut seen = HashSet::new();
    for (at_end, end) in &ended {
        let child = end[0];
        assert!(seen.insert(child), "{child} ended twice");
        assert!(created.iter().any(|(_, ids)| *ids == [run.pid, child]));
        let (at_said, _) = said
            .iter()
            .find(|(_, ids)| *ids == [child, run.pid])
            .unwrap_or_else(|| panic!("{child} did not name its parent:\n{lines:#?}"));
        assert!(at_said < at_end);
    }
}
