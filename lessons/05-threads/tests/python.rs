//! The lesson and its Python twin print the same lines.

use std::{path::Path, process::Command, time::Duration};

#[test]
fn python_prints_the_same() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3 on this machine");
        return;
    }
    let tutorial = Path::new(env!("CARGO_MANIFEST_DIR")).join("tutorial.py");
    let python = testing::run_with(Command::new("python3").arg(tutorial), Duration::from_secs(60));
    let rust = testing::run(env!("CARGO_BIN_EXE_05-threads"));
    assert_eq!(python.success().lines(), rust.success().lines());
}
