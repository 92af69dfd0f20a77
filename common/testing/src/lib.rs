//! What the tests of `common` and of the lessons share.
//!
//! - [`run`] runs a program without input and within a time limit, and gives its output: [`Run`].
//! - [`neutral`] takes out of a text what differs from run to run.
//! - [`Exercise`] is the check of an exercise, with a hint; [`on_one_core`] lets it try a smaller machine.
//! - [`slowness`] stretches every limit of time.
//! - [`example`] finds a built example.
//! - [`Folder`], [`copy`] and [`cargo`] are for tests that build something in a place of its own.
//! - [`overlaps`] finds words in a picture that lie over something.
//! - [`code_lines`] and [`rust_files`] read Rust source: `cargo run -p testing --bin lines` counts it.
//! - [`NothingLeft`] fails a test that leaves a process, a thread, a descriptor or a file behind.

mod exercise;
mod folder;
mod left;
mod message;
mod picture;
mod program;
mod source;
mod trace;

pub use exercise::{Exercise, Started, on_one_core};
pub use folder::{Folder, cargo, copy};
pub use left::NothingLeft;
pub use message::Message;
pub use picture::overlaps;
pub use source::{code_lines, rust_files};
pub use trace::Tracee;

use program::Program;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use std::{env, fs};

/// How long [`run`] waits. Every program of the course ends within seconds; a busy machine may take longer.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A factor for all limits of time: for a machine that is slow, or a program that is being watched. `COURSE_SLOWNESS` in
/// the environment says it.
pub fn slowness() -> u64 {
    env::var("COURSE_SLOWNESS")
        .ok()
        .and_then(|factor| factor.parse().ok())
        .unwrap_or(1)
}

/// A program that has ended, and everything that it printed.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output, with `\n` as line ends on every system.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
    /// The id that it had.
    pub pid: u32,
}

impl Run {
    /// Fails, and shows everything that was printed, unless the exit status is 0.
    #[track_caller]
    pub fn success(&self) -> &Run {
        assert!(
            self.status.success(),
            "the program failed with {}{}",
            self.status,
            self.printed()
        );
        self
    }

    /// The lines of the standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    fn printed(&self) -> String {
        printed(&self.stdout, &self.stderr)
    }
}

fn printed(stdout: &str, stderr: &str) -> String {
    format!("\n--- stdout ---\n{stdout}\n--- stderr ---\n{stderr}\n---")
}

/// Runs a program without arguments and without input, for 60 seconds at most: see [`run_with`].
#[track_caller]
pub fn run(program: impl AsRef<OsStr>) -> Run {
    run_with(&mut Command::new(program), LIMIT)
}

/// Runs a program without input until it has ended and nobody can write to its output any more.
///
/// If that takes longer than `limit` (times [`slowness`]), the program is killed, on Unix together with what it started (it
/// leads a process group of its own), and this fails with what had been printed so far.
#[track_caller]
pub fn run_with(command: &mut Command, limit: Duration) -> Run {
    let mut program = Program::start(command, limit, usize::MAX);
    program.finish().unwrap_or_else(|why| {
        program.kill();
        let [stdout, stderr] = program.output();
        panic!("{why}{}", printed(&stdout, &stderr))
    })
}

/// A built example of the package in `manifest_dir` (`env!("CARGO_MANIFEST_DIR")`): it lies beside the running test.
///
/// `cargo test` builds the examples before it runs the tests.
#[track_caller]
pub fn example(manifest_dir: impl AsRef<Path>, name: &str) -> PathBuf {
    let sources = manifest_dir.as_ref().join("examples");
    assert!(
        sources.join(name).with_extension("rs").is_file(),
        "there is no example `{name}` in {}; there are: {}",
        sources.display(),
        examples(&sources).join(", ")
    );
    let test = env::current_exe().expect("the running test has a path");
    let built = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in <profile>/deps")
        .join("examples");
    let built = built.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        built.is_file(),
        "the example `{name}` has not been built ({} is not there): `cargo test` without `--test` builds it, \
         `cargo build --examples` does too",
        built.display()
    );
    built
}

fn examples(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let sources = files.filter(|path| path.extension() == Some(OsStr::new("rs")));
    let mut names: Vec<_> = sources
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// The text without what differs from run to run.
///
/// - A whole number of two or more digits that stands alone becomes `<pid>`: `Run task 3 (4711)...` gives
///   `Run task 3 (<pid>)...`. One digit is enough where only an id can stand: in parentheses after a space, and
///   after the word `process`.
/// - A number with decimals becomes `<t>`: `runs 2.13 seconds` gives `runs <t> seconds`, and `2.13s` gives `<t>s`.
///
/// A number stands alone if no letter, digit, `_` or `-` touches it, nor a `.`, `,` or `:` between it and another
/// digit: `-15`, `100,000`, `1.2.3`, `p2` and `main.rs:12:5` stay as they are.
pub fn neutral(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let number = &rest[at..];
        let end = number
            .find(|c: char| !(c.is_ascii_digit() || ".,:".contains(c)))
            .unwrap_or(number.len());
        let number = number[..end].trim_end_matches(['.', ',', ':']);
        let end = at + number.len();
        result.push_str(&rest[..at]);
        let after = &rest[end..];
        result.push_str(mark(&result, number, after).unwrap_or(number));
        rest = after;
    }
    result + rest
}

/// What is written instead of `number`, if anything.
fn mark(before: &str, number: &str, after: &str) -> Option<&'static str> {
    let touches = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if touches(before.chars().next_back()) || before.ends_with([':', '.']) {
        return None;
    }
    match number.split_once(['.', ',', ':']) {
        Some((whole, decimals)) => {
            let is_decimal = number[whole.len()..].starts_with('.') && decimals.bytes().all(|b| b.is_ascii_digit());
            is_decimal.then_some("<t>")
        }
        None if touches(after.chars().next()) => None,
        None => {
            let in_parentheses = before.ends_with(" (") && after.starts_with(')');
            let id = number.len() > 1 || in_parentheses || before.to_lowercase().ends_with("process ");
            id.then_some("<pid>")
        }
    }
}
