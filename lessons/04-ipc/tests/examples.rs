//! Each example ends by itself, and shows its fact.

fn example(name: &str) -> testing::Run {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(testing::example(env!("CARGO_MANIFEST_DIR"), name));
    run.success();
    assert_eq!(run.stderr, "");
    run
}

#[test]
fn eof() {
    let run = example("eof");
    let lines = run.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert_eq!(lines[0], "The parent wrote 5 bytes and closed its write end.");
    assert!(lines[1].starts_with("The reader still waits: "), "{}", lines[1]);
    assert_eq!(
        lines[2],
        "Now the forgotten copy is closed too: the reader got 5 bytes and ended."
    );
}

#[test]
fn duplex() {
    let run = example("duplex");
    let expected = "Process <pid> asks: 1. Process <pid> answers: 1.\n\
                    Process <pid> asks: 2. Process <pid> answers: 4.\n\
                    Process <pid> asks: 3. Process <pid> answers: 9.\n\
                    No more questions: the process that answers has ended.\n";
    assert_eq!(testing::neutral(&run.stdout), expected);
}

#[test]
fn shared_memory() {
    let run = example("shared_memory"); // asserts by itself which of the two is faster
    let lines = run.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].starts_with("A process that is given 8 MiB as a Vec: "),
        "{lines:#?}"
    );
    assert!(
        lines[1].starts_with("The same 8 MiB, passed as shared memory: "),
        "{lines:#?}"
    );
}

#[test]
fn workers() {
    let run = example("workers"); // asserts by itself that 50 % comes before 100 %, from a worker
    let mut lines = run.lines();
    assert_eq!(lines.pop(), Some("All subprocesses done."));
    assert_eq!(lines.len(), 8, "{lines:#?}");
    for task in 0..4 {
        let start = format!("Task {task} (");
        let reports = lines.iter().filter(|line| line.starts_with(&start));
        let percents: Vec<_> = reports.filter_map(|line| line.split("): ").nth(1)).collect();
        assert_eq!(percents, ["50 %", "100 %"], "{lines:#?}");
    }
}
