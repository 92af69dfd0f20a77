//! What the tests of `common` and of the lessons share.
//!
//! - [`run`] runs a program without input and within a time limit, and gives its output: [`Run`].
//! - [`neutral`] takes out of a text what differs from run to run.
//! - [`slowness`] stretches every limit of time.
//! - [`example`] finds a built example.
//! - [`Folder`], [`copy`] and [`cargo`] are for tests that build something in a place of its own.
//! - [`NothingLeft`] fails a test that leaves a process, a thread, a descriptor or a file behind.

mod folder;
mod left;

pub use folder::{Folder, cargo, copy};
pub use left::NothingLeft;

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

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
    let _running = left::Running::new();
    let limit = limit * slowness() as u32;
    let deadline = Instant::now() + limit;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!("{:?} does not start: {error}", command.get_program()),
    };
    left::started(child.id());

    // Both pipes are emptied all the time, so that the program never waits for us.
    let (sender, pieces) = mpsc::channel();
    let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let readers = [
        thread::spawn({
            let sender = sender.clone();
            move || pass_on(out, 0, &sender)
        }),
        thread::spawn(move || pass_on(err, 1, &sender)),
    ];
    let mut bytes = [Vec::new(), Vec::new()];
    let mut in_time = loop {
        match pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((stream, piece)) => bytes[stream].extend(piece),
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => break false,
        }
    };
    // Both are closed; it remains to wait for the end, which as a rule has come.
    while in_time && matches!(child.try_wait(), Ok(None)) {
        in_time = Instant::now() < deadline;
        thread::sleep(Duration::from_millis(1));
    }
    if in_time {
        readers
            .into_iter()
            .for_each(|reader| reader.join().expect("a reader does not panic"));
    } else {
        kill_all(&mut child);
    }
    let status = child.wait().expect("the program was started here");
    if !in_time {
        // Killed, so the readers come to the end at once; half a second for those who escaped from the group.
        while let Ok((stream, piece)) = pieces.recv_timeout(Duration::from_millis(500)) {
            bytes[stream].extend(piece);
        }
    }
    let [stdout, stderr] = bytes.map(|bytes| String::from_utf8_lossy(&bytes).replace("\r\n", "\n"));
    assert!(
        in_time,
        "{command:?} had not ended after {limit:?} (or something that it started holds its output open); it was killed{}",
        printed(&stdout, &stderr)
    );
    Run {
        status,
        stdout,
        stderr,
        pid: child.id(),
    }
}

/// Sends on what can be read, until the end.
fn pass_on(mut from: impl Read, stream: usize, to: &Sender<(usize, Vec<u8>)>) {
    let mut buffer = [0; 8192];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.send((stream, buffer[..n].to_vec())).is_err() {
            return; // nobody waits any more
        }
    }
}

/// Kills the program and its descendants, as far as they can be reached.
fn kill_all(child: &mut Child) {
    #[cfg(unix)]
    {
        use nix::sys::signal::{Signal, killpg};
        // Not yet waited for, so the id is still the child's.
        let group = nix::unistd::Pid::from_raw(child.id() as i32);
        let _ = killpg(group, Signal::SIGKILL);
    }
    #[cfg(windows)]
    {
        let pid = child.id().to_string();
        let _ = Command::new("taskkill").args(["/T", "/F", "/PID", &pid]).output();
    }
    let _ = child.kill();
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
