//! The check of an exercise: it runs the lesson's program as often as it likes, and gives the hint whatever goes wrong.

use crate::Run;
use crate::message::Message;
use crate::program::Program;
use crate::trace::Tracee;
#[cfg(target_os = "linux")]
use crate::trace::{Absent, Tracer};
use std::cell::RefCell;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long a check may take (times [`slowness`](crate::slowness)), however often it runs the program.
const LIMIT: Duration = Duration::from_secs(15);
/// A program that prints more than this is stopped.
const FLOOD: usize = 250_000;
/// The number of lines of its output that are shown.
const LINES: usize = 40;
/// So much of a line is shown.
const COLUMNS: usize = 200;

/// The check of an exercise. If it fails, in whatever way, the end of the message is what the program has printed (40 lines at
/// most), and the hint.
///
/// ```no_run
/// # use testing::Exercise;
/// # const PROGRAM: &str = "target/debug/03-pool"; // env!("CARGO_BIN_EXE_03-pool")
/// let exercise = Exercise::new(PROGRAM, "`Pool::per_core()` makes such a pool.");
/// let run = exercise.run(); // fails unless the program ends well, within 15 seconds
/// assert!(run.lines().contains(&"Pool of 2 workers."), "the line `Pool of 2 workers.` was expected");
/// ```
pub struct Exercise {
    program: PathBuf,
    hint: &'static str,
    begin: Instant,
    /// What the program has printed, as far as it is to be shown.
    printed: RefCell<String>,
}

impl Exercise {
    /// The lesson's program, and what helps somebody who is stuck. (`EXERCISE_PROGRAM` in the environment names another
    /// program: so the repository's own tests try many solutions with one build of the check.)
    pub fn new(program: &str, hint: &'static str) -> Exercise {
        Exercise {
            program: env::var_os("EXERCISE_PROGRAM").map_or_else(|| program.into(), PathBuf::from),
            hint,
            begin: Instant::now(),
            printed: RefCell::default(),
        }
    }

    /// Runs the program to its end. Fails unless its exit status is 0, or if it takes too long or prints too much.
    #[track_caller]
    pub fn run(&self) -> Run {
        self.start().finish()
    }

    /// Runs the program; what it prints can be seen meanwhile.
    #[track_caller]
    pub fn start(&self) -> Started<'_> {
        self.start_with(|_| {})
    }

    /// As [`start`](Exercise::start), with settings.
    #[track_caller]
    pub fn start_with(&self, set: impl FnOnce(&mut Command)) -> Started<'_> {
        let mut command = Command::new(&self.program);
        set(&mut command);
        self.program(&mut command)
    }

    #[track_caller]
    fn program(&self, command: &mut Command) -> Started<'_> {
        let left = LIMIT.saturating_sub(self.begin.elapsed() / crate::slowness() as u32);
        let left = Duration::from_secs(left.as_secs_f64().ceil() as u64); // nicer to read
        let mut program = Program::start(command, left, FLOOD);
        program.command = "the program".to_owned();
        Started {
            program,
            exercise: self,
        }
    }

    /// As [`run`](Exercise::run), and tells which processes and threads the program has started, in that order.
    ///
    /// `None` where that cannot be seen: on systems other than Linux.
    #[track_caller]
    pub fn observe(&self) -> Option<(Run, Vec<Tracee>)> {
        let (run, tracees, _) = self.trace(false)?;
        Some((run, tracees))
    }

    /// As [`observe`](Exercise::observe), and tells which messages the processes that the program has started have sent, in that
    /// order. That takes longer. There are none where that cannot be seen: on processors other than x86-64 and AArch64.
    #[track_caller]
    pub fn observe_messages(&self) -> Option<(Run, Vec<Tracee>, Vec<Message>)> {
        self.trace(true)
    }

    #[track_caller]
    fn trace(&self, messages: bool) -> Option<(Run, Vec<Tracee>, Vec<Message>)> {
        #[cfg(target_os = "linux")]
        {
            let mut started = self.program(&mut crate::trace::command(&self.program));
            let mut tracer = Tracer::attach(&mut started.program, Absent::Nobody)?;
            if messages {
                tracer.record_messages();
            }
            let until = Instant::now() + 2 * LIMIT * crate::slowness() as u32;
            let watched = tracer.watch(&mut started.program, until, |_| false);
            let (tracees, messages) = tracer.finish(&mut started.program);
            watched.unwrap_or_else(|why| panic!("{why}"));
            Some((started.finish(), tracees, messages))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = messages;
            None
        }
    }

    /// Runs the program without the `n`th process that it starts (from 1 on): that one ends before it has done anything. A
    /// copy made by `fork` exits with 0, a new program is killed. Tells what has been printed until the end of the program, or
    /// within 2 seconds.
    ///
    /// A line that tells of that process's work must be missing: or else it was somebody else's work.
    ///
    /// `None` where that cannot be done: on systems other than Linux.
    #[track_caller]
    pub fn run_without(&self, n: usize) -> Option<String> {
        #[cfg(target_os = "linux")]
        return self.part(
            Absent::Process(n),
            Duration::from_secs(2) * crate::slowness() as u32,
            |_| false,
        );
        #[cfg(not(target_os = "linux"))]
        {
            let _ = n;
            None
        }
    }

    /// Runs the program, but the `n`th thread that it starts (from 1 on) does not begin until `enough` is true of what is printed.
    /// Tells what has been printed until the program's end, or within that time.
    ///
    /// Whatever waits for that thread must be missing until then, and nothing else.
    ///
    /// `None` where that cannot be done: on systems other than Linux.
    #[track_caller]
    pub fn run_holding(&self, n: usize, time: Duration, enough: impl Fn(&str) -> bool) -> Option<String> {
        #[cfg(target_os = "linux")]
        return self.part(Absent::Thread(n), time, enough);
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (n, time, enough);
            None
        }
    }

    /// Runs the program without somebody, and not always to its end.
    #[cfg(target_os = "linux")]
    #[track_caller]
    fn part(&self, absent: Absent, time: Duration, enough: impl Fn(&str) -> bool) -> Option<String> {
        let mut started = self.program(&mut crate::trace::command(&self.program));
        let mut tracer = Tracer::attach(&mut started.program, absent)?;
        let watched = tracer.watch(&mut started.program, Instant::now() + time, enough);
        tracer.finish(&mut started.program);
        watched.unwrap_or_else(|why| panic!("{why}"));
        started.program.kill();
        Some(started.stdout())
    }
}

impl Drop for Exercise {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("\n{}\nHint: {}\n", self.printed.borrow(), self.hint);
        }
    }
}

/// A program that an [`Exercise`] has started; dropped, it is killed.
pub struct Started<'a> {
    program: Program,
    exercise: &'a Exercise,
}

impl Started<'_> {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// What it has printed so far, in whole lines.
    pub fn stdout(&self) -> String {
        let [mut stdout, _] = self.program.output();
        stdout.truncate(stdout.rfind('\n').map_or(0, |end| end + 1));
        stdout
    }

    /// Waits until `found` says so of what has been printed so far. Fails if the program ends before.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, found: impl Fn(&str) -> bool) {
        let mut ended = false;
        while !found(&self.stdout()) {
            assert!(!ended, "the program has ended: {what}");
            ended = self.listen(Duration::from_millis(1));
        }
    }

    /// Takes in what is printed meanwhile. Has the program ended?
    #[track_caller]
    pub fn listen(&mut self, time: Duration) -> bool {
        let ended = self.program.listen(Instant::now() + time);
        ended.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The processes that it has started and that have not ended; none on Windows.
    pub fn children(&self) -> Vec<u32> {
        if cfg!(unix) {
            crate::left::children(self.pid())
        } else {
            Vec::new()
        }
    }

    /// Is that a process that it has started, and that has not ended? (Faster than to look at all.)
    pub fn has_child(&self, pid: u32) -> bool {
        cfg!(unix) && crate::left::is_child(self.pid(), pid)
    }

    /// Does that process compute, or would it if there was a core for it? Nobody does so on Windows.
    pub fn is_running(&self, pid: u32) -> bool {
        cfg!(unix) && crate::left::is_running(pid)
    }

    /// Waits for its end. Fails unless its exit status is 0.
    #[track_caller]
    pub fn finish(mut self) -> Run {
        let run = self.program.finish().unwrap_or_else(|why| panic!("{why}"));
        assert!(run.status.success(), "the program failed with {}", run.status);
        run
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.program.kill();
        let [stdout, stderr] = self.program.output();
        // What stderr says is short as a rule, and is why the program failed.
        let errors = shorten(&stderr, LINES / 2);
        let output = shorten(&stdout, LINES - errors.lines().count());
        let mut printed = format!("The program printed:\n{output}");
        if !errors.is_empty() {
            printed += &format!("and on its standard error:\n{errors}");
        }
        self.exercise.printed.replace(printed);
    }
}

/// What `start` starts may use one core only. (`None` where that cannot be said: on systems other than Linux.)
pub fn on_one_core<T>(start: impl FnOnce() -> T) -> Option<T> {
    #[cfg(target_os = "linux")]
    {
        use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
        let this_thread = nix::unistd::Pid::from_raw(0);
        let all = sched_getaffinity(this_thread).ok()?;
        let first = (0..CpuSet::count()).find(|&core| all.is_set(core) == Ok(true))?;
        let mut one = CpuSet::new();
        one.set(first).ok()?;
        sched_setaffinity(this_thread, &one).ok()?;
        let started = start();
        sched_setaffinity(this_thread, &all).ok()?;
        Some(started)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = start;
        None
    }
}

/// The text in at most `most` lines: if there are more, the first and the last ones.
fn shorten(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let cut = |line: &&str| line.chars().take(COLUMNS).chain(['\n']).collect::<String>();
    if lines.len() <= most {
        return lines.iter().map(cut).collect();
    }
    let (head, tail) = (most / 2, most - most / 2 - 1);
    let left_out = lines.len() - head - tail;
    let head: String = lines[..head].iter().map(cut).collect();
    let tail: String = lines[lines.len() - tail..].iter().map(cut).collect();
    format!("{head}... {left_out} more lines ...\n{tail}")
}
