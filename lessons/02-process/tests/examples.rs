//! Each example ends by itself, and shows its fact.

fn example(name: &str) -> testing::Run {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(testing::example(env!("CARGO_MANIFEST_DIR"), name));
    run.success();
    run
}

#[test]
fn exit_status() {
    let run = example("exit_status");
    let lines = run.lines();
    assert_eq!(lines.len(), 8, "{lines:#?}");
    assert_eq!(lines[0], "returns: exitcode Some(0)");
    assert_eq!(lines[1], "    join: the value 42");
    assert_eq!(lines[2], "panics: exitcode Some(101)");
    assert!(lines[3].contains("the disk is full"), "{}", lines[3]);
    assert!(lines[3].contains("exit_status.rs:"), "{}", lines[3]);
    assert_eq!(lines[4], "exits: exitcode Some(3)");
    assert!(lines[5].contains('3'), "{}", lines[5]);
    if cfg!(unix) {
        assert_eq!(lines[6], "waits, is killed: exitcode Some(-9)");
        assert!(lines[7].contains("SIGKILL"), "{}", lines[7]);
    }
    // The child that panicked has said so itself.
    assert_eq!(run.stderr.matches("the disk is full").count(), 1);
}

#[test]
fn stop() {
    let run = example("stop");
    let lines = run.lines();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert_eq!(lines[1], "asked: alive: true, exitcode None");
    if cfg!(unix) {
        assert!(lines[2].contains("SIGTERM"), "{}", lines[2]);
        assert_eq!(lines[3], "asked: alive: false, exitcode Some(-15)");
        assert!(lines[4].contains("SIGKILL"), "{}", lines[4]);
        assert_eq!(lines[5], "killed: alive: false, exitcode Some(-9)");
    }
    assert_eq!(run.stderr, "");
}

#[test]
fn process_by_hand() {
    let run = example("process_by_hand");
    assert_eq!(run.stdout, format!("Parent process {}.\nChild process end.\n", run.pid));
    // The child's standard output is the pipe for the result.
    assert_eq!(testing::neutral(&run.stderr), "Run child process test (<pid>)...\n");
}
