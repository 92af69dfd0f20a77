//! `tutorial.py` prints the same lines as the lesson.

use std::process::Command;
use std::time::Duration;

#[test]
fn python_prints_the_same_lines() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let rust = testing::run(env!("CARGO_BIN_EXE_02-process"));
    let mut python3 = Command::new("python3");
    python3.env("PYTHONUNBUFFERED", "1"); // else each process prints all its lines at its end
    python3.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tutorial.py"));
    let python = testing::run_with(&mut python3, Duration::from_secs(60));
    assert_eq!(lines(rust.success()), lines(python.success()));
}

/// The lines with pids made neutral, in their order: it is the same in every run.
fn lines(run: &testing::Run) -> Vec<String> {
    let text = testing::neutral(&run.stdout);
    text.lines().map(str::to_string).collect()
}
