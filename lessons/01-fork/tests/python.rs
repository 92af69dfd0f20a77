//! The lesson and its Python twin print the same lines.
#![cfg(unix)]

use std::{path::Path, process::Command, time::Duration};

/// The lines without what differs from run to run: process ids and order.
fn lines(run: &testing::Run) -> Vec<String> {
    run.success();
    let neutral = testing::neutral(&run.stdout);
    let mut lines: Vec<String> = neutral.lines().map(str::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn python_prints_the_same() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3 on this machine");
        return;
    }
    let tutorial = Path::new(env!("CARGO_MANIFEST_DIR")).join("tutorial.py");
    let python = testing::run_with(Command::new("python3").arg(tutorial), Duration::from_secs(60));
    let rust = testing::run(env!("CARGO_BIN_EXE_01-fork"));
    assert_eq!(lines(&python), lines(&rust));
}
