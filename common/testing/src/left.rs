//! Is anything left? A test that makes processes says `let _nothing_left = testing::NothingLeft::new();` first.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fmt, fs, process, thread};

/// How long a child may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// One test at a time looks at this process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
/// How many calls of `run_with` are under way.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// How many there have been.
static STARTED: AtomicUsize = AtomicUsize::new(0);
/// The process groups of all programs that `run_with` has started.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// The threads of the tests that look, or wait until they may: names are cut after 15 bytes, so another test's
/// thread may seem to bear this one's.
static TESTS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

thread_local! {
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

/// Counts as long as it lives: a program is running.
pub(crate) struct Running;

impl Running {
    pub(crate) fn new() -> Running {
        RUNNING.fetch_add(1, SeqCst);
        STARTED.fetch_add(1, SeqCst);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, SeqCst);
    }
}

pub(crate) fn started(group: u32) {
    lock(&GROUPS).push(group);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks when it is made and when it is dropped; what is there then and was not there before fails the test.
///
/// It looks for
/// - children of this process, running or zombies, and whatever is alive of the programs that
///   [`run`](crate::run) started;
/// - threads that the test started (they bear its name, as unnamed threads do on Linux) and threads of `common`;
/// - open descriptors of this process;
/// - in the temporary directory, the `.tmp…` folders in which ipc-channel keeps its sockets.
///
/// What ends by itself has 5 seconds to do so. Tests that look run one after the other; a test beside them that makes
/// processes has to look too, or to use [`run`](crate::run) only. What the program opens once and keeps must
/// have been opened before. Without `/proc`, processes are seen through `ps`, and threads are not seen;
/// on Windows it looks at the temporary directory only.
#[must_use = "it looks again when it is dropped: `let _nothing_left = …`"]
pub struct NothingLeft {
    before: Found,
    patience: Duration,
    _only_one: MutexGuard<'static, ()>,
}

impl NothingLeft {
    /// Looks, and remembers what is there.
    #[expect(clippy::new_without_default, reason = "`Default` promises no effects")]
    #[track_caller]
    pub fn new() -> NothingLeft {
        NothingLeft::within(PATIENCE)
    }

    /// The same with another time instead of the 5 seconds.
    #[track_caller]
    pub fn within(patience: Duration) -> NothingLeft {
        assert!(!LOOKING.replace(true), "one `NothingLeft` is enough for a test");
        lock(&TESTS).extend(this_thread());
        let _only_one = lock(&ONE_AT_A_TIME);
        // What belongs to another test's program would hide as much of ours, so look when none runs.
        let begin = Instant::now();
        let before = loop {
            let started = STARTED.load(SeqCst);
            let quiet = RUNNING.load(SeqCst) == 0;
            let found = Found::now();
            if quiet && STARTED.load(SeqCst) == started || begin.elapsed() > crate::LIMIT {
                break found;
            }
            thread::sleep(Duration::from_millis(5));
        };
        NothingLeft {
            before,
            patience,
            _only_one,
        }
    }
}

impl Drop for NothingLeft {
    fn drop(&mut self) {
        LOOKING.set(false);
        if let Some(me) = this_thread() {
            lock(&TESTS).remove(&me);
        }
        if thread::panicking() {
            return; // the test has failed already
        }
        let mut since = Instant::now();
        loop {
            let left = Found::now().without(&self.before);
            if left.is_empty() {
                return;
            }
            // Another test's program runs, and may be what we see.
            if RUNNING.load(SeqCst) > 0 {
                since = Instant::now();
            }
            assert!(since.elapsed() < self.patience, "something is left:\n{left}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Everything that could be left, each as a line of text.
#[derive(Default)]
struct Found {
    /// By id and name, each with its state.
    processes: BTreeMap<(u32, String), String>,
    threads: BTreeSet<String>,
    /// Equal descriptors may well be closed and opened again, so only their number counts.
    descriptors: Vec<String>,
    files: BTreeSet<PathBuf>,
}

impl Found {
    fn now() -> Found {
        let mut found = Found {
            files: sockets(&env::temp_dir()),
            ..Found::default()
        };
        if cfg!(unix) {
            found.processes = ours(processes());
            found.threads = threads();
            found.descriptors = descriptors();
        }
        found
    }

    /// What is here and not there.
    fn without(mut self, before: &Found) -> Found {
        self.processes
            .retain(|process, _| !before.processes.contains_key(process));
        self.threads.retain(|thread| !before.threads.contains(thread));
        self.files.retain(|file| !before.files.contains(file));
        if self.descriptors.len() <= before.descriptors.len() {
            self.descriptors.clear();
        } else {
            self.descriptors.insert(
                0,
                format!(
                    "{} open instead of {}",
                    self.descriptors.len(),
                    before.descriptors.len()
                ),
            );
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.threads.is_empty() && self.descriptors.is_empty() && self.files.is_empty()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((pid, name), state) in &self.processes {
            writeln!(f, "  process {pid} ({name}), state {state}")?;
        }
        self.threads
            .iter()
            .try_for_each(|thread| writeln!(f, "  thread {thread}"))?;
        self.descriptors
            .iter()
            .try_for_each(|descriptor| writeln!(f, "  descriptor {descriptor}"))?;
        self.files
            .iter()
            .try_for_each(|file| writeln!(f, "  file {}", file.display()))
    }
}

/// One process of the machine.
#[derive(Debug)]
struct Process {
    pid: u32,
    parent: u32,
    group: u32,
    /// `Z` is a zombie.
    state: String,
    name: String,
}

/// Those that are our children, or alive in a group that was started here.
fn ours(all: Vec<Process>) -> BTreeMap<(u32, String), String> {
    let (me, groups) = (process::id(), lock(&GROUPS).clone());
    let left = all.into_iter().filter(|process| {
        let child = process.parent == me;
        // An orphan that is a zombie waits for its new parent, which is none of our business.
        child || (groups.contains(&process.group) && !process.state.starts_with('Z'))
    });
    left.map(|Process { pid, state, name, .. }| ((pid, name), state))
        .collect()
}

/// The children of a process that have not ended.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let children = processes().into_iter().filter(|process| process.parent == parent);
    children
        .filter(|process| !process.state.starts_with('Z'))
        .map(|process| process.pid)
        .collect()
}

/// Is that one of them?
pub(crate) fn is_child(parent: u32, pid: u32) -> bool {
    process(pid).is_some_and(|it| it.parent == parent && !it.state.starts_with('Z'))
}

/// Does it compute, or would it if there was a core for it? (Or else it waits for something.)
pub(crate) fn is_running(pid: u32) -> bool {
    process(pid).is_some_and(|it| it.state.starts_with('R'))
}

fn process(pid: u32) -> Option<Process> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => process_of_stat(&stat),
        Err(_) => processes().into_iter().find(|it| it.pid == pid),
    }
}

/// Every process: from /proc where there is one, else from `ps`.
fn processes() -> Vec<Process> {
    if !Path::new("/proc/self/stat").exists() {
        return processes_of_ps();
    }
    let pids = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.parse::<u32>().ok()
        });
    // One that has ended meanwhile is skipped.
    pids.filter_map(|pid| process_of_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// Reads `4711 (the name) S 4710 4711 …`; the name may hold spaces and parentheses.
fn process_of_stat(stat: &str) -> Option<Process> {
    let (head, tail) = stat.rsplit_once(')')?;
    let (pid, name) = head.split_once('(')?;
    let mut fields = tail.split_whitespace();
    Some(Process {
        pid: pid.trim().parse().ok()?,
        state: fields.next()?.to_owned(),
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        name: name.to_owned(),
    })
}

fn processes_of_ps() -> Vec<Process> {
    let mut ps = process::Command::new("ps");
    ps.args(["-A", "-o", "pid=,ppid=,pgid=,stat=,comm="])
        .stderr(process::Stdio::null());
    let Ok(ps) = ps.stdout(process::Stdio::piped()).spawn() else {
        return Vec::new();
    };
    let itself = ps.id();
    let Ok(output) = ps.wait_with_output() else {
        return Vec::new();
    };
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines
        .lines()
        .filter_map(process_of_line)
        .filter(|process| process.pid != itself)
        .collect()
}

fn process_of_line(line: &str) -> Option<Process> {
    let mut fields = line.split_whitespace();
    Some(Process {
        pid: fields.next()?.parse().ok()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        state: fields.next()?.to_owned(),
        name: fields.collect::<Vec<_>>().join(" "),
    })
}

/// Where Linux describes this thread: `/proc/<pid>/task/<id>`.
fn this_thread() -> Option<PathBuf> {
    fs::canonicalize("/proc/thread-self").ok()
}

/// Threads with the name of this one, and those of `common`. libtest starts threads whenever it likes, so the
/// others cannot be told from a test's.
fn threads() -> BTreeSet<String> {
    let name = |task: &Path| {
        fs::read_to_string(task.join("comm"))
            .unwrap_or_default()
            .trim_end()
            .to_owned()
    };
    let Some(me) = this_thread() else {
        return BTreeSet::new();
    };
    let mine = name(&me);
    let tests = lock(&TESTS).clone();
    let tasks = fs::read_dir(me.parent().expect("<pid>/task"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    tasks
        .filter(|task| *task != me && !tests.contains(task))
        .filter(|task| name(task) == mine || name(task).starts_with("common"))
        .map(|task| {
            format!(
                "{} ({})",
                task.file_name().unwrap_or_default().to_string_lossy(),
                name(&task)
            )
        })
        .collect()
}

/// The open descriptors, each with what it is where that can be seen.
fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let describe = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).map_or_else(|_| String::new(), |to| to.display().to_string());
        format!("{} {target}", entry.file_name().to_string_lossy())
    };
    let mut all: Vec<_> = entries.map(describe).collect();
    all.sort();
    all
}

/// Folders as ipc-channel makes them for its sockets: `.tmpXXXXXX`, empty or with a `socket` in it.
fn sockets(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".tmp"));
    let holds_socket = |path: &PathBuf| {
        // Unreadable ones belong to somebody else.
        fs::read_dir(path).is_ok_and(|inside| inside.flatten().all(|entry| entry.file_name() == "socket"))
    };
    named.map(|entry| entry.path()).filter(holds_socket).collect()
}
