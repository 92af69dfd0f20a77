//! What the tests of `Process` and `Pool` share: a limit for each test, events between processes, and whole programs.
//!
//! A test that needs a program of its own (one without `init`, one that is killed, one with few descriptors) starts this
//! test binary again with [`PROGRAM`] in its environment: see [`programs!`].

#![allow(dead_code)] // each test file uses a part of it

use common::Pool;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use std::{env, fs, panic, process, thread};
use testing::{Folder, NothingLeft};

pub use testing::slowness;

/// The environment variable that names the program that this binary is to play.
pub const PROGRAM: &str = "COURSE_PROGRAM";

/// Makes functions of a test file programs: `fn name()`, or `fn module::name()`, is the `main` of the program that [`program`]
/// starts. It runs before the test harness does, so that nothing is between it and the system; in the tests' own process
/// `init` runs there.
macro_rules! programs {
    ($($(#[$cfg:meta])? $name:path),* $(,)?) => {
        const _: () = {
            #[used]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
            #[cfg_attr(windows, unsafe(link_section = ".CRT$XCU"))]
            #[cfg_attr(not(any(target_vendor = "apple", windows)), unsafe(link_section = ".init_array"))]
            static BEFORE_MAIN: extern "C" fn() = before_main;
            extern "C" fn before_main() {
                match std::env::var(programs::PROGRAM) {
                    Err(_) => common::init(),
                    $($(#[$cfg])? Ok(name) if name == stringify!($name) => programs::play($name),)*
                    Ok(name) => panic!("there is no program {name}"),
                }
            }
        };
    };
}
#[allow(unused_imports)]
pub(crate) use programs;

/// Runs a program in place of everything else.
pub fn play(program: fn()) -> ! {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigHandler, Signal, signal};
        // What the standard library does before an ordinary `main`.
        // SAFETY: to ignore a signal, no code of ours runs.
        let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    }
    process::exit(if panic::catch_unwind(program).is_ok() { 0 } else { 101 })
}

/// From here on SIGALRM does nothing, but the system call that it comes upon fails with EINTR. A timer sends one that often; for a
/// duration of 0, none.
#[cfg(unix)]
pub fn interrupt_system_calls(every: Duration) {
    use nix::libc;
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    extern "C" fn nothing(_: std::ffi::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    let often = libc::timeval {
        tv_sec: 0,
        tv_usec: every.subsec_micros() as _,
    };
    let timer = libc::itimerval {
        it_interval: often,
        it_value: often,
    };
    // SAFETY: a handler that does nothing does nothing unsafe; the timer is read during the call, and the old one is not asked for.
    unsafe {
        sigaction(Signal::SIGALRM, &action).unwrap();
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()), 0);
    }
}

/// The command that starts a program of the running test file.
pub fn program(name: &str) -> Command {
    program_at(env::current_exe().expect("the running test has a path"), name)
}

/// The same, where the test file's binary was copied to.
pub fn program_at(binary: impl AsRef<Path>, name: &str) -> Command {
    let mut command = Command::new(binary.as_ref());
    command.env(PROGRAM, name);
    command
}

/// The n-th argument of the running program. It never comes to `main`, and some C libraries (musl) tell Rust of the
/// arguments only there.
pub fn argument(number: usize) -> String {
    let told = env::args().nth(number);
    let seen = || {
        let line = fs::read_to_string("/proc/self/cmdline").ok()?;
        line.split_terminator('\0').nth(number).map(str::to_owned)
    };
    told.or_else(seen).expect("the test gives this argument")
}

/// Looks whether anything is left, and ends the whole test run if the test takes too long: a hang is a failure with a name.
#[must_use = "it looks again when it is dropped"]
pub struct Careful {
    _nothing_left: NothingLeft,
    _limit: Limit,
}

/// To be the first line of a test. The time begins when those tests are done that look too.
#[track_caller]
pub fn careful(seconds: u64) -> Careful {
    let nothing_left = NothingLeft::new();
    Careful {
        _nothing_left: nothing_left,
        _limit: Limit::new(seconds),
    }
}

struct Limit(Option<(Sender<()>, thread::JoinHandle<()>)>);

impl Limit {
    fn new(seconds: u64) -> Limit {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let seconds = seconds * slowness();
        let (done, wait) = mpsc::channel();
        let watch = move || {
            if wait.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
                // Past the harness, which holds back what tests print.
                let _ = writeln!(
                    std::io::stderr(),
                    "\n{test}: not done after {seconds} seconds; all tests are ended"
                );
                process::abort();
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(watch);
        Limit(Some((done, thread.expect("a thread can be had"))))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.0.take() {
            drop(done);
            let _ = thread.join();
        }
    }
}

/// Long enough for whatever comes at once where all is well.
pub fn soon() -> Duration {
    Duration::from_secs(5 * slowness())
}

/// Waits until something is so that nobody can tell us of, as that a process has ended which is not our child.
#[track_caller]
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20 * slowness()), "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Events between processes, as files in a folder: the one thing that a task in any worker and a program of any kind can
/// see. An event that has happened stays.
pub struct Events(Folder);

impl Events {
    #[track_caller]
    pub fn new() -> Events {
        Events(Folder::new(env::temp_dir()))
    }

    /// For the arguments of tasks.
    pub fn place(&self) -> String {
        self.0
            .path()
            .to_str()
            .expect("temporary folders have readable names")
            .to_owned()
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Lets it happen.
    pub fn happen(&self, event: &str) {
        happen(&self.place(), event);
    }

    #[track_caller]
    pub fn wait_for(&self, event: &str) {
        eventually(event, || self.path().join(event).exists());
    }

    /// What was [`note`]d, sorted.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes_in_order();
        notes.sort();
        notes
    }

    /// What was [`note`]d, first things first.
    pub fn notes_in_order(&self) -> Vec<String> {
        let notes = fs::read_to_string(self.path().join(NOTES)).unwrap_or_default();
        notes.lines().map(str::to_owned).collect()
    }
}

const NOTES: &str = "notes";

/// Appends a line to the place's notes; any number of processes may.
pub fn note(place: &str, line: impl std::fmt::Display) {
    let path = PathBuf::from(place).join(NOTES);
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    // One writer at a time: Wine appends in two steps. (FILE_SHARE_READ)
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 1);
    let mut file = options.open(&path);
    while cfg!(windows) && matches!(&file, Err(error) if error.raw_os_error() == Some(32)) {
        thread::sleep(Duration::from_millis(1)); // ERROR_SHARING_VIOLATION
        file = options.open(&path);
    }
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .expect("notes can be written");
}

/// Lets an event happen.
pub fn happen(place: &str, event: &str) {
    fs::write(PathBuf::from(place).join(event), "").expect("an event can happen");
}

/// In a task: waits for an event. So that nothing stays forever, it waits as long as the place is there, and for a minute.
pub fn await_event(place: &str, event: &str) {
    let path = PathBuf::from(place).join(event);
    let start = Instant::now();
    while !path.exists() && Path::new(place).exists() && start.elapsed() < Duration::from_secs(60 * slowness()) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// The task of [`workers`]: tells the worker's number, and holds it until the event `go`.
pub fn note_and_wait(place: String) -> u32 {
    note(&place, process::id());
    await_event(&place, "go");
    process::id()
}

/// The numbers of all workers: each holds one task until all have one.
#[track_caller]
pub fn workers(pool: &Pool) -> BTreeSet<u32> {
    let events = Events::new();
    let tasks: Vec<_> = (0..pool.processes())
        .map(|_| pool.apply_async(note_and_wait, events.place()))
        .collect();
    eventually("every worker has a task", || events.notes().len() == pool.processes());
    events.happen("go");
    tasks.iter().map(|task| task.get().unwrap()).collect()
}

/// A program of the running test file under limits that a shell sets.
#[cfg(unix)]
pub fn limited(limits: &str, name: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")])
        .arg(env::current_exe().expect("the running test has a path"));
    shell.env(PROGRAM, name);
    shell
}

/// The same, run by a user who has no other processes, as far as this one can become another. The folder is where that user
/// may read the program, and write.
#[cfg(target_os = "linux")] // where limits count one user's processes and threads
pub fn limited_for_another_user(folder: &Events, limits: &str, name: &str) -> Option<Command> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    if fs::metadata("/proc/self").expect("it is there").uid() != 0 {
        eprintln!("skipped: only root can become a user who has no processes yet");
        return None;
    }
    let copy = folder.path().join("copy");
    testing::copy(env::current_exe().expect("the running test has a path"), &copy);
    for (path, mode) in [(folder.path(), 0o777), (&copy, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("root may");
    }
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")])
        .arg(&copy);
    shell.env(PROGRAM, name).current_dir("/").uid(61_234).gid(61_234);
    Some(shell)
}

/// Is there a process of this number, alive?
#[cfg(unix)]
pub fn lives(pid: u32) -> bool {
    if cfg!(target_os = "linux") {
        // One that nobody has waited for yet is not alive.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        return state.is_some_and(|state| state != 'Z' && state != 'X');
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), None).is_ok()
}

/// Sends a signal to a process that is known to live.
#[cfg(unix)]
#[track_caller]
pub fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).expect("the process is there");
}
