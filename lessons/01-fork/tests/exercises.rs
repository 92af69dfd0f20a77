//! The checks of the exercises in README.md. They fail until the lesson does what is asked for:
//! `cargo test exercise_1 -- --ignored`
#![cfg(unix)]

use std::collections::HashSet;

/// What the lesson prints as it stands now.
fn output() -> String {
    let run = testing::run(env!("CARGO_BIN_EXE_01-fork"));
    run.success();
    run.stdout.clone()
}

/// The ids in every line that starts like this.
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

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let output = output();
    for code in 1..=3 {
        let count = output
            .lines()
            .filter(|line| line.starts_with("Child process ("))
            .filter(|line| line.ends_with(&format!(") end: exit code {code}.")))
            .count();
        assert_eq!(
            count, 1,
            "one line `Child process (<pid>) end: exit code {code}.` was expected.\n\
             Hint: count the children from 1, give the number to `run_child`, and `exit` with it; \
             `waitpid` hands it over in `WaitStatus::Exited(pid, code)`.\nThe output was:\n{output}"
        );
    }
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let output = output();
    let children: HashSet<u32> = ids(&output, "I am child process (").iter().map(|ids| ids[0]).collect();
    let grandchildren = ids(&output, "I am grandchild process (");
    assert_eq!(
        grandchildren.len(),
        3,
        "three lines `I am grandchild process (<pid>) and my parent is <pid>.` were expected.\n\
         Hint: `run_child` may call `fork` too; its child leaves by `exit` as well.\n\
         The output was:\n{output}"
    );
    for ids in &grandchildren {
        assert!(
            children.contains(&ids[1]),
            "the parent of grandchild {} is {}, which is not one of the children {children:?}.\n\
             Hint: a child that does not wait for its own child may end first; whose child is the \
             grandchild then? See the example `orphan`.\nThe output was:\n{output}",
            ids[0],
            ids[1]
        );
    }
    let parents: HashSet<u32> = grandchildren.iter().map(|ids| ids[1]).collect();
    assert_eq!(parents.len(), 3, "one grandchild for each child:\n{output}");
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let output = output();
    assert!(
        output.lines().any(|line| line == "Sum: 4500001500000"),
        "the line `Sum: 4500001500000` was expected.\n\
         Hint: an exit code has 8 bits, so make a pipe before the first `fork` \
         (`nix::unistd::pipe`). Child n adds 1,000,000 numbers up and writes the sum into it, \
         `to_ne_bytes`; the parent drops its own write end, or it will never see the end of the \
         pipe, and reads three times 8 bytes.\nThe output was:\n{output}"
    );
    assert_eq!(
        ids(&output, "I am child process (").len(),
        3,
        "it is the three children that are to add up:\n{output}"
    );
}
