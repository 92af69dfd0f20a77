//! Writes down what this process and its threads do, and draws the run when it exits.

use crate::log::{Kind, Log, Slot, UNKNOWN};
use crate::os;
use crate::output::{Output, VARIABLE};
use crate::run::Run;
use shared_memory::OwnedHandle;
use std::cell::Cell;
use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Empty as long as nothing is recorded: every function here looks at it first.
static RECORDER: OnceLock<Recorder> = OnceLock::new();

struct Recorder {
    log: Log,
    /// In the process that draws: its pid, and where the picture goes.
    output: Option<(u32, Output)>,
}

/// This process's id, kept here to save a system call for each record.
static PID: AtomicU32 = AtomicU32::new(0);
/// In a process made by `fork` that has not reported itself: when that was, and the parent's pid.
static FORKED: (AtomicU64, AtomicU32) = (AtomicU64::new(0), AtomicU32::new(0));

/// Starts recording if `TIMELINE` is set, with a lane for this process, `MainProcess`, and its main thread.
///
/// Call it first in `main`, in the process that the user started; [`take_over`] is for the processes that it starts. If there
/// is something wrong with the variable, a line on standard error says so, and nothing is recorded.
///
/// ```
/// timeline::begin();
/// let _span = timeline::span("work");
/// ```
pub fn begin() {
    let output = match Output::from_variable() {
        Ok(None) => return,
        Ok(Some(output)) => output,
        Err(warning) => return warn(warning),
    };
    match Log::create() {
        Ok(log) => record(log, Some((std::process::id(), output))),
        Err(error) => return warn(format_args!("{VARIABLE}: no memory to record in: {error}")),
    }
    started(clock(), "MainProcess", own_pid());
}

/// That nobody is there to read it is no reason to fail.
fn warn(warning: impl Display) {
    let _ = writeln!(io::stderr(), "{warning}");
}

/// What is appended to a child's role if it is to record.
const SUFFIX: &str = "+timeline";

/// What a new process needs in order to record, too: a suffix for the string that says what it is to do (its *role*), and a
/// handle to inherit. `None`: nothing is recorded.
///
/// ```
/// let role = match timeline::pass_on() {
///     Some((suffix, _handle)) => format!("worker{suffix}"), // and the child inherits the handle
///     None => "worker".to_owned(),
/// };
/// # assert_eq!(role, "worker");
/// ```
pub fn pass_on() -> Option<(&'static str, &'static OwnedHandle)> {
    RECORDER.get().map(|recorder| (SUFFIX, recorder.log.handle()))
}

/// In a new process, the counterpart of [`pass_on`], before it does anything else: takes the suffix from its role and, if
/// there was one, the last of the handles that it inherited. Returns the role without the suffix.
///
/// If the handle is not that of a log, the process goes on without recording.
///
/// ```
/// let role = timeline::take_over("worker".to_owned(), &mut Vec::new());
/// assert_eq!(role, "worker");
/// ```
pub fn take_over(role: String, handles: &mut Vec<OwnedHandle>) -> String {
    let Some(plain) = role.strip_suffix(SUFFIX) else {
        return role;
    };
    if let Some(Ok(log)) = handles.pop().map(Log::open) {
        record(log, None);
    }
    plain.to_owned()
}

fn record(log: Log, output: Option<(u32, Output)>) {
    PID.store(std::process::id(), Relaxed);
    let _ = LANE.try_with(|lane| lane.number.set(0));
    if RECORDER.set(Recorder { log, output }).is_ok() {
        os::at_exit(at_exit);
        os::after_fork(after_fork);
    }
}

/// In a child made by `fork`, where nothing may wait for another thread.
extern "C" fn after_fork() {
    let parent = PID.swap(std::process::id(), Relaxed);
    FORKED.1.store(parent, Relaxed);
    FORKED.0.store(os::monotonic(), Relaxed);
    let _ = LANE.try_with(|lane| {
        lane.number.set(0);
        lane.slot.set(None);
    });
}

/// The last thing that a process does.
extern "C" fn at_exit() {
    static DONE: AtomicBool = AtomicBool::new(false);
    let Some(recorder) = RECORDER.get().filter(|_| !DONE.swap(true, Relaxed)) else {
        return;
    };
    let time = clock();
    match &recorder.output {
        Some((pid, output)) if *pid == own_pid() => {
            // A panic must not leave a function that the system called.
            let _ = std::panic::catch_unwind(|| {
                let (records, lost) = recorder.log.read();
                output.show(&Run::new(records, lost, time));
            });
        }
        _ => drop(write(Kind::Exit, (own_pid(), 0), time, 0, "")),
    }
}

/// The time, for [`started`]: nanoseconds on a clock that all processes share. 0 if nothing is recorded.
pub fn clock() -> u64 {
    if RECORDER.get().is_some() { os::monotonic() } else { 0 }
}

fn own_pid() -> u32 {
    PID.load(Relaxed)
}

/// Does nothing, and does not even display `text`, if nothing is recorded.
fn write(kind: Kind, who: (u32, u16), time: u64, number: u64, text: impl Display) -> Option<Slot> {
    let log = &RECORDER.get()?.log;
    let forked = FORKED.0.load(Relaxed);
    if forked > 0 && FORKED.0.swap(0, Relaxed) > 0 {
        let parent = FORKED.1.load(Relaxed).into();
        log.write(Kind::Fork, (own_pid(), 0), forked, parent, "fork");
    }
    let mut label = String::new();
    let _ = write!(label, "{text}"); // an error of its `Display`: what it wrote before is kept
    log.write(kind, who, time, number, &label)
}

fn end(slot: Option<Slot>) {
    if let (Some(slot), Some(recorder)) = (slot, RECORDER.get()) {
        recorder.log.end(slot, own_pid(), clock());
    }
}

/// This thread's lane.
struct ThreadLane {
    /// 0: that of the process; [`NO_LANE`]: it has none yet.
    number: Cell<u16>,
    /// Where its beginning is recorded, and where its end will be.
    slot: Cell<Option<Slot>>,
}

const NO_LANE: u16 = u16::MAX;

thread_local! {
    static LANE: ThreadLane = const { ThreadLane { number: Cell::new(NO_LANE), slot: Cell::new(None) } };
}

impl ThreadLane {
    /// Gives the thread a lane if it has none.
    fn number(&self) -> u16 {
        if self.number.get() == NO_LANE {
            static COUNT: AtomicU16 = AtomicU16::new(0);
            let number = COUNT.fetch_add(1, Relaxed) % (NO_LANE - 1) + 1;
            let who = (own_pid(), number);
            self.slot.set(match std::thread::current().name() {
                Some(name) => write(Kind::Thread, who, clock(), 0, name),
                None => write(Kind::Thread, who, clock(), 0, format_args!("thread {number}")),
            });
            self.number.set(number);
        }
        self.number.get()
    }
}

impl Drop for ThreadLane {
    fn drop(&mut self) {
        end(self.slot.get());
    }
}

/// Something that takes time: it lasts until this is dropped. From [`span`], [`blocked`] or [`task`].
#[derive(Debug)]
#[must_use = "a span ends when it is dropped, here at once: write `let _span = …`"]
pub struct Span {
    slot: Option<Slot>,
    /// It belongs to the lane of the thread that made it.
    _not_send: PhantomData<*const ()>,
}

impl Span {
    fn new(kind: Kind, label: impl Display) -> Span {
        let lane = match RECORDER.get() {
            Some(_) => LANE.try_with(ThreadLane::number).ok(), // an error: the thread is about to end
            None => None,
        };
        Span {
            slot: lane.and_then(|lane| write(kind, (own_pid(), lane), clock(), 0, label)),
            _not_send: PhantomData,
        }
    }

    /// For a chunk of tasks (see [`task`]): records that this many of them have been begun.
    #[inline]
    pub fn begun(&self, items: u64) {
        if let (Some(slot), Some(recorder)) = (self.slot, RECORDER.get()) {
            recorder.log.begun(slot, items);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        end(self.slot);
    }
}

/// Says what this thread does from now on, until the returned guard is dropped: a box in the thread's lane. A thread has a
/// lane from its first span on; a main thread always has one.
///
/// `label` is anything that can be displayed: `"task 3"`, `3`, `format_args!("task {n}")`; at most 40 bytes of it are kept.
/// Spans can be nested. If nothing is recorded, this does nothing, and `label` is not even formatted.
///
/// ```
/// std::thread::scope(|scope| {
///     for n in 0..3 {
///         scope.spawn(move || {
///             let _span = timeline::span(format_args!("task {n}")); // until the end of this block
///         });
///     }
/// });
/// ```
pub fn span(label: impl Display) -> Span {
    Span::new(Kind::Span, label)
}

/// Says what this thread is blocked on from now on, until the returned guard is dropped: its lane shows that it waits, and
/// for what. As with [`span`], the thread has a lane from now on.
///
/// The timeline sees only what a program tells it. A thread that waits inside a span seems to be busy, unless it says
/// that it waits:
///
/// ```
/// # use std::sync::{Mutex, mpsc};
/// # let (sender, receiver) = mpsc::channel();
/// # sender.send(5).unwrap();
/// # let balance = Mutex::new(0);
/// let _span = timeline::span("reader");
/// let amount = {
///     let _blocked = timeline::blocked("recv");
///     receiver.recv()?
/// };
/// let blocked = timeline::blocked("lock");
/// let mut balance = balance.lock().unwrap();
/// drop(blocked);
/// *balance += amount;
/// # Ok::<(), mpsc::RecvError>(())
/// ```
pub fn blocked(on: impl Display) -> Span {
    Span::new(Kind::Blocked, on)
}

/// In a worker of a pool: records that it does the task with this number, or a chunk of tasks of which this is the first
/// ([`Span::begun`] says how far it got). The span ends when the work ends, not when its result has been sent.
///
/// ```
/// let chunk = timeline::task(150);
/// for done in 0..50 {
///     chunk.begun(done + 1);
///     // ...
/// }
/// drop(chunk); // a box "150-199"
/// ```
pub fn task(number: u32) -> Span {
    Span::new(Kind::Task, number)
}

/// A process was started: it has a lane with this name from `time` on, which [`clock`] gave just before the start. See
/// [`ended`] for an example.
pub fn started(time: u64, name: &str, pid: u32) {
    write(Kind::Process, (pid, 0), time, own_pid().into(), name);
}

/// The process with this pid will be ended on purpose: however it ends, that is not drawn as a failure. Call this before you
/// send the signal; if the process has already ended, it changes nothing.
///
/// ```
/// # use std::process::Command;
/// # fn main() -> std::io::Result<()> {
/// let mut child = Command::new("whoami").spawn()?;
/// timeline::planned_end(child.id());
/// child.kill()?;
/// # child.wait()?;
/// # Ok(())
/// # }
/// ```
pub fn planned_end(pid: u32) {
    write(Kind::PlannedEnd, (pid, 0), clock(), 0, "");
}

/// A process that this one [`started`] has ended, with this exit code as Python counts them: below 0, on Unix, it is the
/// number of the signal that ended the process. `None`: not known.
///
/// ```
/// # use std::process::Command;
/// # fn main() -> std::io::Result<()> {
/// let time = timeline::clock();
/// let mut child = Command::new("whoami").spawn()?;
/// timeline::started(time, "whoami", child.id());
/// let status = child.wait()?;
/// timeline::ended(child.id(), status.code());
/// # Ok(())
/// # }
/// ```
pub fn ended(pid: u32, exitcode: Option<i32>) {
    let number = exitcode.map_or(UNKNOWN, |code| u64::from(code as u32));
    write(Kind::Ended, (pid, 0), clock(), number, "");
}

/// Registers a new pool of this process, and returns its number, for [`member`] and [`submitted`]. The pool has a lane that
/// shows how many tasks wait.
///
/// ```
/// # let pid = 0;
/// let pool = timeline::new_pool();
/// timeline::member(pid, pool); // a process that was started for it
/// timeline::submitted(pool, 100);
/// ```
pub fn new_pool() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    COUNT.fetch_add(1, Relaxed)
}

/// A process that this one [`started`] is a worker of this pool.
pub fn member(pid: u32, pool: u16) {
    write(Kind::Member, (pid, pool), clock(), 0, "");
}

/// This many tasks were submitted to a pool of this process. They wait until a worker begins them: [`task`].
pub fn submitted(pool: u16, count: u32) {
    write(Kind::Submit, (own_pid(), pool), clock(), count.into(), "");
}
