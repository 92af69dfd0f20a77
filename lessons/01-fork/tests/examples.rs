//! Each example shows its fact, every time.
#![cfg(unix)]

use testing::{NothingLeft, Run};

fn example(name: &str) -> Run {
    let run = testing::run(testing::example(env!("CARGO_MANIFEST_DIR"), name));
    run.success();
    run
}

#[test]
fn zombie_is_in_state_z_until_it_is_waited_for() {
    let _nothing_left = NothingLeft::new();
    let run = example("zombie");
    let lines = run.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].ends_with("nobody has waited for it: state Z."), "{lines:#?}");
    assert!(lines[1].starts_with("waitpid says Exited(") && lines[1].ends_with(", 7)."));
    assert!(lines[2].starts_with("Now there is no process "));
}

#[test]
fn orphan_has_another_parent() {
    let _nothing_left = NothingLeft::new();
    let run = example("orphan");
    let lines = run.lines();
    let ids = |line: &str| -> Vec<u32> {
        line.split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let ([parent], [orphan, new_parent]) = (&ids(lines[0])[..], &ids(lines[1])[..]) else {
        panic!("{lines:#?}");
    };
    assert_ne!(parent, new_parent);
    assert_ne!(orphan, new_parent);
}

#[test]
fn memory_is_copied_for_a_child_and_shared_by_a_thread() {
    let _nothing_left = NothingLeft::new();
    let expected = [
        "The child has changed the balance to 8.",
        "Its parent still finds 0.",
        "A thread has changed the balance to 8.",
        "The main thread finds 8 too.",
    ];
    assert_eq!(example("memory").lines(), expected);
}

#[test]
fn buffer_is_copied_by_fork_unless_it_is_flushed() {
    let _nothing_left = NothingLeft::new();
    for _ in 0..10 {
        let run = example("buffer");
        assert_eq!(run.stdout.matches("[printed once]").count(), 2, "{}", run.stdout);
        assert_eq!(run.stdout.matches("[flushed]").count(), 1, "{}", run.stdout);
        assert_eq!(run.lines().len(), 4, "{}", run.stdout);
    }
}
