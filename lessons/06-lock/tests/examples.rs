//! Each example shows its fact, every time: the race loses, the deadlock is found.

use testing::{NothingLeft, Run};

fn example(name: &str) -> Run {
    let run = testing::run(testing::example(env!("CARGO_MANIFEST_DIR"), name));
    run.success();
    run
}

#[test]
fn race_loses_updates_in_every_run() {
    let _nothing_left = NothingLeft::new();
    for _ in 0..20 {
        let run = example("race"); // asserts by itself that the counts differ
        let lines = run.lines();
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert_eq!(lines[0], "expected: 20000");
        for line in &lines[1..] {
            let (_, lost) = line.split_once(", lost updates: ").expect(line);
            assert!(lost.parse::<u64>().expect(lost) > 0, "{}", run.stdout);
        }
    }
}

#[test]
fn deadlock_is_found_and_killed() {
    let _nothing_left = NothingLeft::new();
    for _ in 0..3 {
        let run = example("deadlock");
        let lines = run.lines();
        assert_eq!(
            lines[..2],
            [
                "thread A holds left, waits for right",
                "thread B holds right, waits for left",
            ]
        );
        assert!(lines[2].ends_with("does not end: deadlock. It is killed."));
        assert!(lines[3].starts_with("join: "), "{lines:#?}");
    }
}

#[test]
fn lock_order_ends() {
    let _nothing_left = NothingLeft::new();
    let run = example("lock_order");
    assert_eq!(
        run.lines(),
        ["100000 transfers each way, no deadlock: left = 100, right = 100"]
    );
}

#[test]
fn turns_are_counted() {
    let _nothing_left = NothingLeft::new();
    let run = example("turns");
    assert_eq!(run.lines(), ["2 threads, 3 rounds each: balance = 6"]);
}

#[test]
fn guard_is_held_when_it_says_so() {
    let _nothing_left = NothingLeft::new();
    let run = example("guard");
    assert_eq!(
        run.lines(),
        [
            "at the start: free",
            "after the last use: held",
            "after the block: free",
            "after drop: free",
            "after a statement: free",
            "inside match: held",
            "inside match after let: free",
        ]
    );
}

#[test]
fn condvar_wakes_whoever_waits() {
    let _nothing_left = NothingLeft::new();
    let run = example("condvar"); // asserts by itself who looked how often
    let lines = run.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("asked again and again: looked "), "{lines:#?}");
    assert!(lines[1].starts_with("waited to be told: looked "), "{lines:#?}");
}
