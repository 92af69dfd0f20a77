//! Both sides of a start: what a parent keeps for its children, and what a child does first.

use crate::error::Error;
use crate::sys::{self, Launch, NoFork, OwnedHandle, Proc, borrow};
use crate::timeline;
use os_pipe::{PipeReader, PipeWriter};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

/// True once `init` ran: this program can be started again as a child.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Makes this program able to start processes; write it as the first line of `main`.
///
/// It is the twin of Python's `if __name__ == '__main__':`. A new process is this same program, executed again: when it
/// comes to this line, `init` runs the target there, and never returns. In the program that you started yourself it returns
/// at once.
///
/// Nothing before this line may start a thread: what stands before it runs in every child too.
///
/// ```
/// use common::Process;
///
/// fn run_proc(name: String) {
///     println!("Run child process {name} ({})...", std::process::id());
/// }
///
/// fn main() -> Result<(), common::Error> {
///     common::init();
///     let p = Process::new(run_proc, "test".to_string()).start()?;
///     p.join()
/// }
/// ```
///
/// Source: [The `multiprocessing` contexts and start methods](https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods);
/// this is *spawn*.
pub fn init() {
    program();
    INITIALISED.store(true, Ordering::Release);
    let Some((role, mut handles)) = sys::inherited() else {
        return timeline::begin();
    };
    let role = timeline::take_over(role, &mut handles);
    // A child never comes back from here, whatever happens: its parent's code is not its own.
    let code = match role.as_str() {
        "process" => crate::process::run_child(handles),
        "worker" => crate::pool::worker::run_child(handles),
        _ => None,
    };
    std::process::exit(code.unwrap_or_else(|| {
        eprintln!(
            "a process of this program ends at once: what its parent passed to it does not arrive. Were descriptors \
             closed before common::init(), or was the program rebuilt while it ran?"
        );
        PROTOCOL_ERROR
    }))
}

/// Which program this is. Looked at when it begins: later, another one may lie in its place.
fn program() -> u64 {
    static PROGRAM: OnceLock<u64> = OnceLock::new();
    *PROGRAM.get_or_init(sys::program_fingerprint)
}

/// Can this program be started again as a child?
pub(crate) fn check_initialised() -> Result<(), Error> {
    if INITIALISED.load(Ordering::Acquire) {
        Ok(())
    } else {
        Err(Error::NotInitialised)
    }
}

/// Exit code of a child that could not understand its parent.
const PROTOCOL_ERROR: i32 = 70;

/// Lets [`Process`](crate::Process) and [`Pool`](crate::Pool) work inside `#[test]` functions: one line in the test file,
/// outside of all functions.
///
/// A test's `main` is not yours: the test harness has it. This line lets [`init`](crate::init) run before it, so that a child
/// runs its target and never becomes a second test run.
///
/// ```
/// common::init_in_tests!();
///
/// fn double(x: u32) -> u32 {
///     2 * x
/// }
///
/// # fn main() { test() }
/// # /*
/// #[test]
/// # */
/// fn test() {
///     let pool = common::Pool::new(2).unwrap();
///     assert_eq!(pool.map(double, [1, 2, 3]).unwrap(), [2, 4, 6]);
/// }
/// ```
///
/// Works on Linux, macOS, FreeBSD and Windows, with `cargo test` and with nextest.
#[macro_export]
macro_rules! init_in_tests {
    () => {
        const _: () = {
            // The system calls the functions in this section before `main`.
            #[used]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
            #[cfg_attr(windows, unsafe(link_section = ".CRT$XCU"))]
            #[cfg_attr(
                not(any(target_vendor = "apple", windows)),
                unsafe(link_section = ".init_array")
            )]
            static BEFORE_MAIN: extern "C" fn() = before_main;
            extern "C" fn before_main() {
                $crate::init_before_main();
            }
        };
    };
}

/// For [`init_in_tests!`](crate::init_in_tests) alone.
#[doc(hidden)]
pub fn init_before_main() {
    sys::fill_standard_streams();
    init();
}

/// What this process knows of itself.
pub(crate) struct Identity {
    name: String,
    parent: Option<(ProcessInfo, OwnedHandle)>,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

/// Name and number of a process; see [`current_process`] and [`parent_process`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    name: String,
    pid: u32,
}

impl ProcessInfo {
    /// Its name: as given with [`Process::name`](crate::Process::name), or `MainProcess` for the program that you started.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number, as `ps` shows it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Does it live? Asked of this process's parent, it tells whether the parent ended first.
    ///
    /// ```
    /// assert!(common::current_process().is_alive());
    /// ```
    pub fn is_alive(&self) -> bool {
        match IDENTITY.get().and_then(|me| me.parent.as_ref()) {
            Some((parent, lifeline)) if parent == self => !sys::wait_ended(lifeline, Duration::ZERO).unwrap_or(true),
            _ => self.pid == std::process::id(),
        }
    }
}

/// This process: its name and number.
///
/// ```
/// let me = common::current_process();
/// assert_eq!(me.name(), "MainProcess");
/// assert_eq!(me.pid(), std::process::id());
/// ```
///
/// Source: [`multiprocessing.current_process`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.current_process).
pub fn current_process() -> ProcessInfo {
    let name = IDENTITY.get().map_or("MainProcess", |me| &me.name).to_owned();
    ProcessInfo {
        name,
        pid: std::process::id(),
    }
}

/// The process that started this one with `common`; `None` in the program that you started yourself.
///
/// ```
/// assert_eq!(common::parent_process(), None);
/// ```
///
/// Source: [`multiprocessing.parent_process`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.parent_process).
pub fn parent_process() -> Option<ProcessInfo> {
    Some(IDENTITY.get()?.parent.as_ref()?.0.clone())
}

/// `Process-1`, `Process-2`; below `Process-1` they are called `Process-1:1`, as in Python.
pub(crate) fn next_name(kind: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    match IDENTITY.get() {
        Some(me) => format!("{}:{number}", me.name),
        None => format!("{kind}-{number}"),
    }
}

/// The first message to a child.
#[derive(Serialize, Deserialize)]
pub(crate) struct Greeting {
    name: String,
    parent: ProcessInfo,
    program: u64,
}

impl Greeting {
    pub fn to(name: &str) -> Greeting {
        Greeting {
            name: name.to_owned(),
            parent: current_process(),
            program: program(),
        }
    }

    /// In the child: takes the name, and checks that parent and child run the same program.
    pub fn accept(self, lifeline: OwnedHandle) -> Option<()> {
        if self.program != program() {
            eprintln!(
                "{}: the program's file was replaced while it ran; start the program anew",
                self.name
            );
            return None;
        }
        sys::show_name(&self.name);
        crate::function::remember_panic_locations();
        IDENTITY
            .set(Identity {
                name: self.name,
                parent: Some((self.parent, lifeline)),
            })
            .ok()
    }
}

/// What all children of this process share. It lives as long as one of them is known here.
pub(crate) struct Family {
    /// Each child gets a copy, and learns by it when this process ends, however it does.
    lifeline: OwnedHandle,
    kept: Option<OwnedHandle>,
    /// A process that was forked has the copy of a family, but not a part in it.
    pid: u32,
}

impl Family {
    pub fn get() -> io::Result<Arc<Family>> {
        static FAMILY: Mutex<Weak<Family>> = Mutex::new(Weak::new());
        let mut family = FAMILY.lock().unwrap();
        let pid = std::process::id();
        if let Some(family) = family.upgrade().filter(|family| family.pid == pid) {
            return Ok(family);
        }
        let (lifeline, kept) = sys::lifeline()?;
        kept.iter().for_each(|kept| sys::LIFELINE.set(kept));
        let new = Arc::new(Family { lifeline, kept, pid });
        *family = Arc::downgrade(&new);
        Ok(new)
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.kept.iter().for_each(|kept| sys::LIFELINE.clear(kept));
    }
}

/// A child as its parent holds it: the process, and a pipe in each direction.
pub(crate) struct Started {
    pub process: Proc,
    pub to_child: PipeWriter,
    pub from_child: PipeReader,
    /// Of a process, its own end of `to_child`: who wants to know what it left unread looks there.
    pub child_reads: Option<PipeReader>,
    pub family: Arc<Family>,
}

/// Starts this program again. The child gets, in this order: the reading end of `to_child`, the writing end of `from_child`,
/// the lifeline, `extra`, if any, and the timeline's log, if there is one.
pub(crate) fn start(
    role: &str,
    name: &str,
    extra: Option<&OwnedHandle>,
    stdio: &[Option<OwnedHandle>; 3],
) -> Result<Started, Error> {
    check_initialised()?;
    let start = || {
        let _no_fork = NoFork::wait();
        let family = Family::get()?;
        let (child_reads, to_child) = sys::pipe()?;
        let (from_child, child_writes) = sys::pipe()?;
        let mut pass = vec![borrow(&child_reads), borrow(&child_writes), borrow(&family.lifeline)];
        pass.extend(extra.map(borrow));
        let log = timeline::pass_on();
        pass.extend(log.map(|(_, handle)| borrow(handle)));
        let time = timeline::clock();
        let process = sys::spawn(&Launch {
            role: &[role, log.map_or("", |(suffix, _)| suffix)].concat(),
            name,
            pass: &pass,
            stdio,
            shielded: role == "worker",
        })?;
        timeline::started(time, name, process.pid());
        Ok(Started {
            process,
            to_child,
            from_child,
            child_reads: (role == "process").then_some(child_reads),
            family,
        })
    };
    start().map_err(|error: io::Error| Error::start(name, error))
}

/// In a child: the ends of what [`start`] made.
pub(crate) struct Ends {
    pub from_parent: PipeReader,
    pub to_parent: PipeWriter,
    pub lifeline: OwnedHandle,
    pub extra: Option<OwnedHandle>,
}

impl Ends {
    pub fn new(handles: Vec<OwnedHandle>) -> Option<Ends> {
        let mut handles = handles.into_iter();
        Some(Ends {
            from_parent: handles.next()?.into(),
            to_parent: handles.next()?.into(),
            lifeline: handles.next()?,
            extra: handles.next(),
        })
    }
}

/// Ends this process as soon as its parent has ended, be it by SIGKILL, whatever this process is doing then.
pub(crate) fn end_with_parent(lifeline: OwnedHandle) -> io::Result<()> {
    let watch = move || {
        while let Ok(false) = sys::wait_ended(&lifeline, Duration::MAX) {}
        sys::die()
    };
    std::thread::Builder::new()
        .name("common-lifeline".to_owned())
        .stack_size(64 * 1024)
        .spawn(watch)
        .map(drop)
}

/// Bytes of the length before a block.
pub(crate) const LENGTH: usize = 8;

/// Writes a length, then as many bytes.
pub(crate) fn write_block(pipe: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut first = (length as u64).to_le_bytes().to_vec();
    // Small parts leave in one write; a large one is not copied.
    for part in parts {
        if part.len() <= 4096 {
            first.extend_from_slice(part);
        } else {
            pipe.write_all(&first)?;
            first.clear();
            pipe.write_all(part)?;
        }
    }
    pipe.write_all(&first)
}

/// Reads what [`write_block`] wrote. Memory is taken as bytes arrive: a wrong length costs nothing.
pub(crate) fn read_block(pipe: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; LENGTH];
    pipe.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut block = Vec::with_capacity(length.min(1 << 16) as usize);
    pipe.take(length).read_to_end(&mut block)?;
    if (block.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(block)
}
