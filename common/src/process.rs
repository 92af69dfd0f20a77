//! `Process` and `Child`, after Python's `multiprocessing.Process`.
//!
//! Invariants: whether a child has ended is asked of the system, never concluded from its pipe, which another process may hold
//! open; what it sent is read as long as it lives, believed only if it is well formed, and kept, so that `join` says the same
//! again. Called by users, and on the child's side by `init`.

use crate::error::{Error, RemoteError};
use crate::function;
use crate::message::{Message, decode};
use crate::os::{self, Event, Exit, OwnedHandle, Owner, borrow};
use crate::spawn::{self, Call, Start};
use crate::timeline;
use os_pipe::PipeReader;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A function that is to run in a process of its own: not started yet.
///
/// ```
/// use common::Process;
///
/// fn add((a, b): (i32, i32)) -> i32 {
///     a + b
/// }
///
/// fn main() -> Result<(), common::Error> {
///     common::init();
///     let p = Process::new(add, (2, 3)).start()?;
///     assert_eq!(p.join()?, 5);
///     assert_eq!(p.exitcode(), Some(0));
///     Ok(())
/// }
/// ```
///
/// What Python reports when the program runs, the compiler reports here. A process that was not started cannot be joined:
///
/// ```compile_fail,E0599
/// # fn work(_: ()) {}
/// common::Process::new(work, ()).join();
/// ```
///
/// One that was started cannot be started again:
///
/// ```compile_fail,E0599
/// # fn work(_: ()) {}
/// let p = common::Process::new(work, ()).start().unwrap();
/// p.start();
/// ```
///
/// The arguments must be the target's:
///
/// ```compile_fail,E0308
/// # fn run_proc(name: String) {}
/// common::Process::new(run_proc, 5);
/// ```
///
/// A closure that captures variables cannot travel to another process. Make them arguments:
///
/// ```compile_fail,E0308
/// let names = vec!["Bob".to_string()];
/// common::Process::new(move |()| println!("{names:?}"), ());
/// ```
///
/// Even if they could be copied:
///
/// ```compile_fail,E0308
/// let n = 5;
/// common::Process::new(move |()| println!("{n}"), ());
/// ```
///
/// Otherwise than in Python, the process ends when its target returns, even if the target has started threads that still run;
/// and `exit` in a target waits neither for threads nor for the target's own children.
///
/// Source: [`multiprocessing.Process`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Process).
#[must_use = "a process does nothing before it is started: call `start`"]
pub struct Process<R> {
    name: String,
    daemon: bool,
    stdio: [Option<OwnedHandle>; 3],
    call: Call,
    result: PhantomData<fn() -> R>,
}

impl<R: Message> Process<R> {
    /// A process that will call `target` with the argument `arg`.
    ///
    /// `target` is a function, or a closure that captures nothing. Several arguments are a tuple, none is `()`: a closure
    /// adapts a function that wants them one by one.
    ///
    /// ```
    /// # use common::Process;
    /// # fn main() -> Result<(), common::Error> {
    /// # common::init();
    /// fn add(a: i32, b: i32) -> i32 {
    ///     a + b
    /// }
    /// let p = Process::new(|(a, b)| add(a, b), (2, 3)).start()?;
    /// assert_eq!(p.join()?, 5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Argument and result travel as bytes: see [`Message`]. Senders, receivers and shared memory of `ipc-channel` may be
    /// part of the argument.
    ///
    /// The function is called in a new process, where only what stands before [`init`](crate::init) has run: do not pass a
    /// function that relies on something having been set up.
    pub fn new<A: Message + Send>(target: fn(A) -> R, arg: A) -> Process<R> {
        Process {
            name: spawn::next_name("Process"),
            daemon: false,
            stdio: [None, None, None],
            call: Call::new(target, arg),
            result: PhantomData,
        }
    }

    /// Gives it a name, seen in errors, and by [`current_process`](crate::current_process) inside. The default is `Process-1`
    /// and so on.
    ///
    /// On Linux `top` and `ps -e` show its first 15 bytes, on FreeBSD `ps` shows all of it. What the process was called with
    /// (`args()`, `ps aux`) is the same as in its parent.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Makes it a daemon: it ends when the process that started it ends, however that ends, and nobody waits for it. (One that
    /// is stopped, by SIGSTOP, ends when it goes on.) Its own children end with it only if they are daemons. A parent that runs
    /// another program in its own place (`exec`) has not ended.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Its standard input: the reading end of an `os_pipe`, a `File`, anything that is an owned descriptor or handle.
    pub fn stdin(mut self, stdin: impl Into<OwnedHandle>) -> Self {
        self.stdio[0] = Some(stdin.into());
        self
    }

    /// Its standard output.
    ///
    /// ```
    /// # use std::io::Read;
    /// # fn hello(_: ()) { println!("hello") }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # common::init();
    /// let (mut reader, writer) = os_pipe::pipe()?;
    /// let p = common::Process::new(hello, ()).stdout(writer).start()?;
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?; // until the child ends: the other end is the child's alone
    /// assert_eq!(text, "hello\n");
    /// # p.join()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stdout(mut self, stdout: impl Into<OwnedHandle>) -> Self {
        self.stdio[1] = Some(stdout.into());
        self
    }

    /// Its standard error.
    pub fn stderr(mut self, stderr: impl Into<OwnedHandle>) -> Self {
        self.stdio[2] = Some(stderr.into());
        self
    }

    /// Starts it: this program is executed again, and [`init`](crate::init) calls the target there.
    ///
    /// Returns when the system has started the program. Arguments of more than about 64 KB it takes with it: then `start`
    /// returns when the child has read them.
    ///
    /// # Errors
    ///
    /// [`Error::NotInitialised`] without [`init`](crate::init); [`Error::Encode`] if serde cannot encode the arguments;
    /// [`Error::Start`] if the system refuses; [`Error::NeverReady`] if it is known by now that the child ended too early.
    pub fn start(self) -> Result<Child<R>, Error> {
        reap_daemons(None);
        let started = spawn::start("process", &self.name, &[], &self.stdio, self.daemon, Some(&self.call))?;
        Ok(Child {
            name: self.name,
            daemon: self.daemon,
            owner: Owner::me(),
            process: Arc::new(started.process),
            killed: AtomicBool::new(false),
            from_child: started.from_child,
            answer: Mutex::new((started.answer, false)),
            result: PhantomData,
        })
    }
}

/// The beginning of a child's answer; the bytes of its result follow.
type Outcome = Result<(), Box<RemoteError>>;

/// Exit code of a process whose target panicked, as of any Rust program.
const PANICKED: i32 = 101;

/// In the child: runs the target. Returns the exit code.
pub(crate) fn run_child(start: Start) -> Result<i32, String> {
    if start.daemon {
        spawn::end_with_parent()?;
    }
    let call = start.call.ok_or("it was told nothing to do")?;
    let (owner, to_parent) = (Owner::me(), Arc::new(start.to_parent));
    let pipe = to_parent.clone();
    let answer = move |outcome: Outcome, result: &[u8]| {
        let outcome = postcard::to_stdvec(&outcome).unwrap_or_default();
        if owner.is_surely_me() {
            let _ = spawn::write_block(&pipe, &outcome, result); // a parent that has ended needs no answer
        }
    };
    let on_panic = answer.clone();
    function::on_panic_abort(move |panic| on_panic(Err(Box::new(panic.clone())), &[]));
    let span = timeline::span("target"); // the parent told the target's name
    let (outcome, result) = call.run(&to_parent);
    drop(span);
    let panicked = matches!(&outcome, Err(error) if matches!(**error, RemoteError::Panic(..)));
    answer(outcome, &result);
    // From here: a descriptor that the target has closed must not be closed again, by a destructor.
    std::process::exit(if panicked { PANICKED } else { 0 })
}

/// A process that was started.
///
/// All methods take `&self`: one thread can [`join`](Child::join) while another one calls [`kill`](Child::kill).
///
/// When the handle is dropped, the process is waited for, so that no zombie is left; after a second, a line on the standard
/// error says so. A daemon goes on in the background until this program ends; if it ends by itself, it is a zombie until the
/// next process is started, as in Python.
///
/// In a copy of this process, made by `fork()`, the handle is good for nothing: dropping it there does nothing, and what would
/// use the process is [`Error::ForkedCopy`].
#[must_use = "dropping the handle waits for the process: call `join` to see how it ended"]
pub struct Child<R> {
    name: String,
    daemon: bool,
    owner: Owner,
    process: Arc<os::Process>,
    /// `kill` or `terminate` was called: that explains an end before `init`.
    killed: AtomicBool,
    from_child: PipeReader,
    /// What came from the child; and whether that is all.
    answer: Mutex<(Vec<u8>, bool)>,
    result: PhantomData<fn() -> R>,
}

impl<R> Child<R> {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does it still run? Returns at once. (In a copy of this process, made by `fork()`: false.)
    pub fn is_alive(&self) -> bool {
        self.owner.is_surely_me() && self.process.try_wait().is_none()
    }

    /// `None` while it runs; then 0 for a target that returned, 101 for one that panicked, n for `exit(n)`, and −9 for a
    /// process that was killed by signal 9. Returns at once. (In a copy of this process, made by `fork()`: `None`.)
    ///
    /// On Windows there are no signals: a killed process has exit code 1, and one that crashed a negative number, such as
    /// 0xc0000005 for an access violation.
    ///
    /// If the exit status went to somebody else (this program ignores SIGCHLD, or waits for any child), it is 255.
    ///
    /// Source: [`multiprocessing.Process.exitcode`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Process.exitcode).
    pub fn exitcode(&self) -> Option<i32> {
        let exit = self.process_if_mine().ok()?.try_wait()?;
        Some(exit.exitcode().unwrap_or(255))
    }

    /// Asks it to end, by SIGTERM; on Windows, which has no such request, the same as [`kill`](Child::kill). No error if it
    /// has ended already. Its own children are not ended, unless they are daemons.
    pub fn terminate(&self) -> Result<(), Error> {
        self.end("SIGTERM to", os::Process::terminate)
    }

    /// Ends it, by SIGKILL; on Windows by `TerminateProcess`, with exit code 1. No error if it has ended already.
    pub fn kill(&self) -> Result<(), Error> {
        self.end("killing", os::Process::kill)
    }

    fn end(&self, what: &str, end: fn(&os::Process) -> io::Result<()>) -> Result<(), Error> {
        let process = self.process_if_mine()?;
        self.killed.store(true, Relaxed);
        end(process).map_err(|error| Error::system(format!("{what} {}", self.name), error))
    }

    fn process_if_mine(&self) -> Result<&os::Process, Error> {
        self.owner
            .is_surely_me()
            .then_some(&*self.process)
            .ok_or(Error::ForkedCopy)
    }

    /// Waits for its end, and reads meanwhile, or it could not write on. `None`: the deadline came first.
    fn wait_for_end(&self, deadline: Option<Instant>) -> Option<Exit> {
        let exit = loop {
            let pipe = (!self.lock_answer().1).then(|| borrow(&self.from_child));
            match self.process.wait_event(pipe, deadline) {
                Event::Readable => self.read_some(),
                Event::Ended(exit) => break exit,
                Event::TimedOut => return None,
            };
        };
        // What it wrote last lies in the pipe. That has its limits; but another process may write there forever.
        let mut reads = 0..64;
        while reads.next().is_some() && self.read_some() {}
        self.lock_answer().1 = true;
        Some(exit)
    }

    /// False: there is nothing to read. (Another thread may be in the middle of `join`, and read it.)
    fn read_some(&self) -> bool {
        let (bytes, ended) = &mut *self.lock_answer();
        let readable = !*ended && os::is_readable(&self.from_child);
        *ended |= readable && !spawn::read_some(&self.from_child, bytes);
        readable
    }

    /// It is poisoned when the result's `Deserialize` has panicked.
    fn lock_answer(&self) -> MutexGuard<'_, (Vec<u8>, bool)> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Message> Child<R> {
    /// Waits for its end, and tells the whole truth about it.
    ///
    /// Returns what the target returned. It may be called again, and says the same again.
    ///
    /// # Errors
    ///
    /// [`Error::Panicked`] with message and place; [`Error::Exited`] if it called `exit`, or on Windows was killed;
    /// [`Error::Signaled`] if a signal ended it; [`Error::NeverReady`] if it ended before [`init`](crate::init);
    /// [`Error::Encode`] or [`Error::Decode`] if arguments or result did not survive the journey.
    pub fn join(&self) -> Result<R, Error> {
        self.join_until(None)
    }

    /// Waits for its end, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`join`](Child::join), and [`Error::TimedOut`] if it still runs; joining again later works.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn sleep(seconds: u64) { std::thread::sleep(Duration::from_secs(seconds)) }
    /// # fn main() -> Result<(), common::Error> {
    /// # common::init();
    /// let p = common::Process::new(sleep, 60).start()?;
    /// assert!(p.join_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// p.kill()?;
    /// assert!(p.join().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<R, Error> {
        self.join_until(Some(timeout))
    }

    fn join_until(&self, timeout: Option<Duration>) -> Result<R, Error> {
        self.process_if_mine()?;
        let name = &self.name;
        let _blocked = (timeout != Some(Duration::ZERO)).then(|| timeline::blocked(name));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let exit = self.wait_for_end(deadline).ok_or_else(|| Error::TimedOut {
            what: name.clone(),
            after: timeout.unwrap_or_default(),
        })?;
        let (bytes, _) = &*self.lock_answer();
        let garbage = || Error::ProtocolViolation { name: name.clone() };
        // It begins with an empty block, or with the address for its channels.
        let begun = spawn::split_block(bytes);
        let rest = begun.map_or(&bytes[..], |(_, rest)| rest);
        let answer = match spawn::split_block(rest) {
            Some((answer, [])) if begun.is_some() => answer,
            None if rest.is_empty() || exit != Exit::Code(0) => {
                let explained = begun.is_some() || self.killed.load(Relaxed);
                let error = if explained { Error::ended } else { Error::never_ready };
                return Err(error(name, exit));
            }
            _ => return Err(garbage()),
        };
        let (outcome, value): (Outcome, _) = postcard::take_from_bytes(answer).map_err(|_| garbage())?;
        outcome.map_err(|error| Error::remote(*error, name))?;
        decode(value).map_err(|message| Error::decode(format!("the result of {name}"), message))
    }
}

impl<R> Drop for Child<R> {
    fn drop(&mut self) {
        if !self.is_alive() {
            return; // or it belongs to the process that this one is a copy of
        }
        if self.daemon {
            return reap_daemons(Some((self.owner, self.process.clone())));
        }
        let _blocked = timeline::blocked(&self.name);
        let second = Some(Instant::now() + Duration::from_secs(1));
        if self.wait_for_end(second).is_none() {
            let (name, pid) = (&self.name, self.pid());
            eprintln!("waiting for {name} (process {pid}): it still runs, and its handle was dropped without `join`");
            self.wait_for_end(None);
        }
    }
}

/// Daemons that still ran when their handles were dropped.
static ABANDONED: Mutex<Vec<(Owner, Arc<os::Process>)>> = Mutex::new(Vec::new());

/// Takes those that have ended since out of the process table, and remembers one more.
fn reap_daemons(more: Option<(Owner, Arc<os::Process>)>) {
    let _guard = os::fork_guard(); // a copy of this process finds the list unlocked
    let mut abandoned = ABANDONED.lock().unwrap();
    abandoned.retain(|(owner, process)| owner.is_surely_me() && process.try_wait().is_none());
    abandoned.extend(more);
}

macro_rules! debug_as_a_name {
    ($($type:ident)*) => {$(
        impl<R> std::fmt::Debug for $type<R> {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                let mut debug = f.debug_struct(stringify!($type));
                debug.field("name", &self.name).field("daemon", &self.daemon).finish_non_exhaustive()
            }
        }
    )*};
}

debug_as_a_name! { Process Child }
