//! Contestants in a program of their own, which reads what is to be measured and writes what came out: see `benches/peers`.

use crate::Contestant;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct Peer {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Contestant for Peer {
    fn measure(&mut self, what: &str, workers: usize, count: usize) -> Option<f64> {
        writeln!(self.input.as_mut()?, "{what} {workers} {count}").ok()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer).ok()?;
        match answer.trim() {
            "-" => None,
            "" => {
                eprintln!("a peer ended while it measured {what}, {workers} workers");
                self.input = None;
                None
            }
            number => number.parse().ok(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.input = None; // at the end of its input, it ends
        let _ = self.process.wait();
    }
}

fn start(mut command: Command) -> Option<Box<dyn Contestant>> {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let (input, output) = (process.stdin.take(), BufReader::new(process.stdout.take()?));
    Some(Box::new(Peer { process, input, output }))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join("peers")
}

/// Python's part, in one of the ways that `peers.py` knows.
pub fn python(way: &str) -> Option<Box<dyn Contestant>> {
    let works = Command::new("python3")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !works.is_ok_and(|status| status.success()) {
        eprintln!("there is no python3 here: not compared with Python ({way})");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg(folder().join("peers.py")).arg(way);
    start(command)
}

/// The program that measures other crates: a package of its own, built here and now.
pub fn build() -> Option<PathBuf> {
    eprintln!("building benches/peers (the first time, half a minute)");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    build
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(folder().join("Cargo.toml"));
    build.arg("--target-dir").arg(&target);
    if !build.status().is_ok_and(|status| status.success()) {
        eprintln!("benches/peers cannot be built: not compared with other crates");
        return None;
    }
    Some(
        target
            .join("release")
            .join(format!("peers{}", std::env::consts::EXE_SUFFIX)),
    )
}

/// One of the other crates.
pub fn other_crate(name: &str, program: Option<&Path>) -> Option<Box<dyn Contestant>> {
    let mut command = Command::new(program?);
    command.arg(name);
    start(command)
}
