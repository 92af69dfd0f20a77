//! Who ran when: a picture of a run, for any program that uses this crate.
//!
//! Concurrency cannot be seen. So let the program draw it, after its own output:
//!
//! ```console
//! $ TIMELINE=1 cargo run --bin 03-pool
//! ```
//!
//! | `TIMELINE` | |
//! |---|---|
//! | not set, empty, `0` | nothing is recorded |
//! | `1` | lanes of text on the standard error, as wide as the terminal, or as the variable `COLUMNS` says; else 80 columns |
//! | `run.svg`, any name with this end | a picture in this file, for a browser or a README |
//!
//! Each process has a lane; so has each pool's queue. [`Process`](crate::Process) and [`Pool`](crate::Pool) record by
//! themselves what ran, who waited, and who was killed. A thread has a lane as soon as it says what it does:
//!
//! ```
//! use common::timeline;
//!
//! fn main() {
//!     common::init();
//!     std::thread::scope(|scope| {
//!         for n in 0..3 {
//!             scope.spawn(move || {
//!                 let _lane = timeline::span(format_args!("task {n}")); // until the end of this block
//!                 // ...
//!             });
//!         }
//!     });
//! }
//! ```
//!
//! The picture is drawn when the program ends: by itself, by `exit`, or by a panic in `main`. A program that is killed draws
//! nothing. (On Windows, `exit` goes past C's library. The picture is drawn when the system itself tells of the end, which
//! Wine does not.)
//!
//! Inside: `log` is the memory in which all processes write; `lanes` makes lanes of what they wrote; `draw` and `svg`
//! make them visible.

use crate::sys::{self, Exit, OwnedHandle};
use log::{Kind, Log, Payload, Slot};
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

mod draw;
mod lanes;
mod log;
mod svg;

/// The variable that switches it on.
const VARIABLE: &str = "TIMELINE";

/// Empty as long as nothing is recorded: every function here looks at it first, and then is done.
static RECORDER: OnceLock<Recorder> = OnceLock::new();

struct Recorder {
    log: Log,
    /// In the process that draws in the end: its pid, and where it draws.
    output: Option<(u32, Output)>,
}

/// Where a picture goes.
#[derive(Debug, PartialEq)]
enum Output {
    Terminal,
    Picture(PathBuf),
}

/// This process, to save a system call for each record.
static PID: AtomicU32 = AtomicU32::new(0);
/// In a process made by `fork` that has not told of itself: when that was, and by whom.
static FORKED: (AtomicU64, AtomicU32) = (AtomicU64::new(0), AtomicU32::new(0));

/// In a process that nobody of us started: looks whether it is to record.
pub(crate) fn begin() {
    let output = match std::env::var_os(VARIABLE).map(what_to_draw) {
        None | Some(Ok(None)) => return,
        Some(Ok(Some(output))) => output,
        Some(Err(warning)) => return eprintln!("{warning}"),
    };
    let pid = std::process::id();
    match Log::create() {
        Ok(log) => record(log, Some((pid, output))),
        Err(error) => return eprintln!("{VARIABLE}: no memory to record in: {error}"),
    }
    write(Kind::Process, 0, sys::monotonic(), 0, Payload::text("MainProcess"));
}

/// `Ok(None)`: nothing.
fn what_to_draw(value: OsString) -> Result<Option<Output>, String> {
    match value.to_string_lossy().to_ascii_lowercase().as_str() {
        "" | "0" | "false" | "no" | "off" => Ok(None),
        "1" | "true" | "yes" | "on" => Ok(Some(Output::Terminal)),
        name if name.ends_with(".svg") => {
            // The program may go to another folder meanwhile.
            let path = std::path::absolute(&value).unwrap_or_else(|_| value.into());
            Ok(Some(Output::Picture(path)))
        }
        _ => Err(format!(
            "{VARIABLE}={}: there is no such picture. Possible are 1 (lanes of text on the standard error), a file name \
             that ends in .svg, and 0 (nothing)",
            value.to_string_lossy()
        )),
    }
}

/// What a child's role ends in if it is to record.
const SUFFIX: &str = "+timeline";

/// What is passed to a new process: what to add to its role, and to what it gets.
pub(crate) fn pass_on() -> Option<(&'static str, &'static OwnedHandle)> {
    RECORDER.get().map(|recorder| (SUFFIX, recorder.log.handle()))
}

/// In a new process: takes what [`pass_on`] added.
pub(crate) fn take_over(role: String, handles: &mut Vec<OwnedHandle>) -> String {
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
        sys::at_exit(finish);
        sys::after_fork(forked);
    }
}

/// In a child that was made by `fork`. Nothing here may wait for anybody.
extern "C" fn forked() {
    let Some(recorder) = RECORDER.get() else { return };
    let parent = PID.swap(std::process::id(), Relaxed);
    FORKED.1.store(parent, Relaxed);
    FORKED.0.store(sys::monotonic(), Relaxed);
    recorder.log.forked();
    let _ = LANE.try_with(|lane| {
        lane.number.set(0);
        lane.slot.set(None);
    });
}

/// The last thing that a process does.
extern "C" fn finish() {
    static DONE: AtomicBool = AtomicBool::new(false);
    let Some(recorder) = RECORDER.get().filter(|_| !DONE.swap(true, Relaxed)) else {
        return;
    };
    let time = sys::monotonic();
    match &recorder.output {
        Some((pid, output)) if *pid == std::process::id() => {
            // A panic must not leave a function that the system called.
            let _ = std::panic::catch_unwind(|| {
                let (records, lost) = recorder.log.read();
                show(output, &lanes::Run::new(records, lost, time));
            });
        }
        _ => drop(write(Kind::Left, 0, time, 0, Payload::default())),
    }
}

fn show(output: &Output, run: &lanes::Run) {
    let stderr = std::io::stderr();
    match output {
        Output::Terminal => {
            let terminal = stderr.is_terminal();
            let plain = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            let colour =
                terminal && !plain("NO_COLOR") && std::env::var_os("TERM").as_deref() != Some(OsStr::new("dumb"));
            let width = wanted_width().or(sys::terminal_width().filter(|_| terminal));
            let text = draw::draw(run, width.unwrap_or(80), colour);
            let _ = stderr.lock().write_all(text.as_bytes()); // nobody is left to be told
        }
        Output::Picture(path) => {
            if let Err(error) = std::fs::write(path, svg::draw(run)) {
                let _ = writeln!(
                    stderr.lock(),
                    "{VARIABLE}: {} cannot be written: {error}",
                    path.display()
                );
            }
        }
    }
}

/// `COLUMNS` comes before the terminal, as in Python's `shutil.get_terminal_size`. A number of 16 bits, as a terminal's.
fn wanted_width() -> Option<usize> {
    let columns: u16 = std::env::var("COLUMNS").ok()?.parse().ok()?;
    (columns > 0).then_some(columns.into())
}

/// Writes a record of this process.
fn write(kind: Kind, lane: u16, time: u64, number: u64, payload: Payload) -> Option<Slot> {
    let log = &RECORDER.get()?.log;
    let pid = PID.load(Relaxed);
    if FORKED.0.load(Relaxed) > 0 {
        let (forked, parent) = (FORKED.0.swap(0, Relaxed), FORKED.1.load(Relaxed));
        log.write(Kind::Fork, (pid, 0), forked, u64::from(parent), Payload::text("fork"));
    }
    log.write(kind, (pid, lane), time, number, payload)
}

/// This thread's lane.
struct ThreadLane {
    /// 0: the process's own; [`NO_LANE`]: it has not asked for one.
    number: Cell<u16>,
    /// Where its begin is written.
    slot: Cell<Option<Slot>>,
}

const NO_LANE: u16 = u16::MAX;

thread_local! {
    static LANE: ThreadLane = const { ThreadLane { number: Cell::new(NO_LANE), slot: Cell::new(None) } };
}

impl ThreadLane {
    fn ask(&self) -> u16 {
        if self.number.get() == NO_LANE {
            static COUNT: AtomicU16 = AtomicU16::new(0);
            let number = COUNT.fetch_add(1, Relaxed) % (NO_LANE - 1) + 1;
            let thread = std::thread::current();
            let name = match thread.name() {
                Some(name) => Payload::text(name),
                None => Payload::text(format_args!("thread {number}")),
            };
            self.slot.set(write(Kind::Thread, number, sys::monotonic(), 0, name));
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

fn end(slot: Option<Slot>) {
    if let (Some(slot), Some(recorder)) = (slot, RECORDER.get()) {
        recorder.log.end(slot, PID.load(Relaxed), sys::monotonic());
    }
}

/// Something that takes time; it ends when this is dropped. Made by [`span`] and [`wait`].
#[must_use = "a span ends when it is dropped, here at once: `let _span = …`"]
pub struct Span {
    slot: Option<Slot>,
    /// It belongs to the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl Span {
    fn new(slot: Option<Slot>) -> Span {
        Span {
            slot,
            _thread: PhantomData,
        }
    }

    /// Of a chunk of a pool's tasks: so many were begun.
    pub(crate) fn begun(&self, items: u64) {
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

fn begin_span(kind: Kind, label: impl Display, ask: bool) -> Span {
    if RECORDER.get().is_none() {
        return Span::new(None);
    }
    let lane = LANE.try_with(|lane| if ask { lane.ask() } else { lane.number.get() });
    let lane = lane.ok().filter(|&lane| lane != NO_LANE);
    Span::new(lane.and_then(|lane| write(kind, lane, sys::monotonic(), 0, Payload::text(label))))
}

/// Says what this thread does from now on, until the returned guard is dropped. With `TIMELINE` set it is a box in the
/// thread's lane, and the thread has a lane from now on. Unset, it costs nothing.
///
/// Spans may lie in one another. `label` is anything that can be displayed: `"task 3"`, `3`, `format_args!("task {n}")`;
/// the first 40 bytes are kept.
///
/// ```
/// let _lane = common::timeline::span("task 3");
/// ```
pub fn span(label: impl Display) -> Span {
    begin_span(Kind::Span, label, true)
}

/// Says what this thread waits for, until the returned guard is dropped.
///
/// ```
/// # use common::timeline;
/// # let lock = std::sync::Mutex::new(0);
/// let waiting = timeline::wait("lock");
/// let mut balance = lock.lock().unwrap();
/// drop(waiting);
/// *balance += 5;
/// ```
pub fn wait(label: impl Display) -> Span {
    begin_span(Kind::Wait, label, true)
}

/// A wait inside this crate: seen only if the thread has a lane already.
pub(crate) fn blocked(label: impl Display) -> Span {
    begin_span(Kind::Wait, label, false)
}

/// In a worker: it does a task, or begins a chunk whose first item has this number.
pub(crate) fn task(number: u32) -> Span {
    if RECORDER.get().is_none() {
        return Span::new(None);
    }
    Span::new(write(
        Kind::Task,
        0,
        sys::monotonic(),
        0,
        Payload::task(u64::from(number)),
    ))
}

/// When a process is about to be started; see [`started`].
pub(crate) fn clock() -> u64 {
    if RECORDER.get().is_some() { sys::monotonic() } else { 0 }
}

/// A process was started.
pub(crate) fn started(time: u64, name: &str, pid: u32) {
    if let Some(recorder) = RECORDER.get() {
        let parent = u64::from(PID.load(Relaxed));
        recorder
            .log
            .write(Kind::Process, (pid, 0), time, parent, Payload::text(name));
    }
}

/// The number of a new pool of this process.
pub(crate) fn new_pool() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    COUNT.fetch_add(1, Relaxed)
}

/// A process is a worker of this pool.
pub(crate) fn member(pid: u32, pool: u16) {
    if let Some(recorder) = RECORDER.get() {
        let time = sys::monotonic();
        recorder
            .log
            .write(Kind::Member, (pid, pool), time, 0, Payload::default());
    }
}

/// So many tasks were given to a pool.
pub(crate) fn submitted(pool: u16, count: u32) {
    if RECORDER.get().is_some() {
        write(
            Kind::Submit,
            pool,
            sys::monotonic(),
            u64::from(count),
            Payload::default(),
        );
    }
}

/// A process was taken out of the process table.
pub(crate) fn ended(pid: u32, exit: Exit) {
    if let Some(recorder) = RECORDER.get() {
        let number = match exit {
            Exit::Code(code) => u64::from(code as u32),
            Exit::Signal(signal) => 1 << 32 | u64::from(signal as u32),
            Exit::Unknown => 2 << 32,
        };
        let time = sys::monotonic();
        recorder
            .log
            .write(Kind::Ended, (pid, 0), time, number, Payload::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_says_what_to_draw() {
        for off in ["", "0", "false", "OFF"] {
            assert_eq!(what_to_draw(off.into()), Ok(None));
        }
        for on in ["1", "true", "yes"] {
            assert_eq!(what_to_draw(on.into()), Ok(Some(Output::Terminal)));
        }
        let Ok(Some(Output::Picture(path))) = what_to_draw("run.svg".into()) else {
            panic!("a picture")
        };
        assert!(path.is_absolute() && path.ends_with("run.svg"));
        let warning = what_to_draw("png".into()).unwrap_err();
        assert!(
            warning.contains("TIMELINE=png") && warning.contains(".svg"),
            "{warning}"
        );
    }
}
