//! The lesson runs as its first lines say.

#[test]
fn the_child_runs_between_start_and_end() {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(env!("CARGO_BIN_EXE_02-process"));
    run.success();
    // One line after the other, in every run: the parent says nothing between `start` and `join`.
    let expected = "Parent process <pid>.\nChild process will start.\n\
                    Run child process test (<pid>)...\nChild process end.\n";
    assert_eq!(testing::neutral(&run.stdout), expected);
    assert_eq!(run.stderr, "");
}

#[test]
fn parent_and_child_are_two_processes() {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(env!("CARGO_BIN_EXE_02-process"));
    run.success();
    let lines = run.lines();
    assert_eq!(lines[0], format!("Parent process {}.", run.pid));
    assert!(!lines[2].contains(&format!("({})", run.pid)), "{lines:?}");
}
