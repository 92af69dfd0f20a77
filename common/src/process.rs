//! `Process` and `Child`, after Python's `multiprocessing.Process`.
//!
//! Invariants: whether a child has ended is asked of the system, never concluded from its pipe, which somebody else may hold
//! open; what it sent is read as long as it lives, believed only if it is well formed, and kept, so that `join` says the same
//! again. Called by users, and on the child's side by `init`.

use crate::error::{Error, RemoteError};
use crate::function;
use crate::message::{Message, decode};
use crate::os::{self, Event, Exit, OwnedHandle, Owner, borrow};
use crate::spawn::{self, Call, Ends, Liveness};
use crate::timeline;
use os_pipe::{PipeReader, PipeWriter};
use std::cmp::Ordering;
use std::io::{ErrorKind, Read};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
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
    /// is stopped, by SIGSTOP, ends when it goes on.) Its own children end with it only if they are daemons.
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
        let Process {
            name,
            daemon,
            stdio,
            call,
            ..
        } = self;
        let encoded = call.encode(&name)?;
        drop(call); // from here on, what the argument owns is the child's alone
        let mut started = spawn::start("process", &name, &[], &stdio)?;
        drop(stdio);
        let told = spawn::send_start(&mut started, &name, &daemon, Some(&encoded));
        let child = Child {
            name,
            daemon,
            owner: Owner::me(),
            process: Arc::new(started.process),
            killed: AtomicBool::new(false),
            answer: Mutex::new(Answer {
                pipe: Some(started.from_child),
                bytes: Vec::new(),
            }),
            _to_child: started.to_child,
            unread: started.child_reads,
            took_all: matches!(told, Ok(true)),
            liveness: started.liveness,
            result: PhantomData,
        };
        if told.is_err() {
            let _ = child.kill();
        }
        told.map(|_| child)
    }
}

/// What a process is told besides what it is to call: is it a daemon?
type Config = bool;

/// A child's answer; a value's bytes follow.
type Outcome = Result<(), Box<RemoteError>>;

/// Exit code of a process whose target panicked, as of any Rust program.
const PANICKED: i32 = 101;

/// In the child: runs the target. Returns the exit code.
pub(crate) fn run_child(mut ends: Ends) -> Result<i32, String> {
    os::close_after_fork(os::ANSWERS, &ends.to_parent);
    let Some(start) = ends.read_start::<Config>()? else {
        return Ok(0);
    };
    let to_parent = Arc::new(ends.to_parent);
    let last_word = to_parent.clone();
    let answer = move |outcome: Outcome, result: &[u8]| {
        let outcome = postcard::to_stdvec(&outcome).unwrap_or_default();
        let _ = spawn::write_block(&last_word, &[&outcome, result]); // a parent that has ended needs no answer
    };
    if start.config {
        if let Err(problem) = spawn::end_with_parent(start.parent) {
            answer(Err(Box::new(RemoteError::Setup(problem.clone()))), &[]);
            return Err(problem);
        }
    }
    let call = start.call.ok_or("it was told nothing to do")?;
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
/// error says so. A daemon goes on in the background until this program ends.
///
/// In a copy of this process, made by `fork()`, the handle is good for nothing: dropping it there does nothing, and what would
/// use the process is [`Error::ForkedCopy`].
#[must_use = "dropping the handle waits for the process: call `join` to see how it ended"]
pub struct Child<R> {
    name: String,
    daemon: bool,
    owner: Owner,
    process: Arc<os::Process>,
    /// `kill` or `terminate` was called: an end before `init` is no riddle then.
    killed: AtomicBool,
    answer: Mutex<Answer>,
    /// Nobody writes into it any more. While it is open, `unread` has no end.
    _to_child: PipeWriter,
    /// The child's end of `to_child`, or `None`: see `spawn::Started`.
    unread: Option<PipeReader>,
    /// It took all that it was told.
    took_all: bool,
    liveness: Arc<Liveness>,
    result: PhantomData<fn() -> R>,
}

/// What came from a child.
struct Answer {
    /// `None`: it has ended, or nothing that the child wrote can come any more.
    pipe: Option<PipeReader>,
    bytes: Vec<u8>,
}

impl Answer {
    fn is_readable(&self) -> bool {
        let pipe = self.pipe.as_ref();
        pipe.is_some_and(|pipe| os::wait_readable(pipe, Duration::ZERO).unwrap_or(false))
    }

    /// Reads what there is.
    fn read_some(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let end = self.bytes.len();
        self.bytes.resize(end + end.clamp(1 << 12, 1 << 16), 0);
        let read = pipe.read(&mut self.bytes[end..]);
        self.bytes.truncate(end + *read.as_ref().unwrap_or(&0));
        match read {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => self.pipe = None,
            Ok(_) => {}
        }
    }

    /// The child's last word, if it is all there. An error: there is something else.
    fn last_word(&self) -> Result<Option<&[u8]>, ()> {
        let Some((length, rest)) = self.bytes.split_first_chunk() else {
            return Ok(None);
        };
        match (rest.len() as u64).cmp(&u64::from_le_bytes(*length)) {
            Ordering::Less => Ok(None),
            Ordering::Equal => Ok(Some(rest)),
            Ordering::Greater => Err(()),
        }
    }
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
        Some(match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => -signal,
            Exit::Unknown => 255,
        })
    }

    /// Asks it to end, by SIGTERM; on Windows, which has no such request, the same as [`kill`](Child::kill). No error if it
    /// has ended already. Its own children are not ended, unless they are daemons.
    pub fn terminate(&self) -> Result<(), Error> {
        let process = self.process_if_mine()?;
        self.killed.store(true, Relaxed);
        process
            .terminate()
            .map_err(|error| Error::system(format!("SIGTERM to {}", self.name), error))
    }

    /// Ends it, by SIGKILL; on Windows by `TerminateProcess`, with exit code 1. No error if it has ended already.
    pub fn kill(&self) -> Result<(), Error> {
        let process = self.process_if_mine()?;
        self.killed.store(true, Relaxed);
        process
            .kill()
            .map_err(|error| Error::system(format!("killing {}", self.name), error))
    }

    fn process_if_mine(&self) -> Result<&os::Process, Error> {
        if self.owner.is_surely_me() {
            Ok(&self.process)
        } else {
            Err(Error::ForkedCopy)
        }
    }

    /// Waits for its end, and reads meanwhile, or it could not write on. `None`: the deadline came first.
    fn wait_for_end(&self, deadline: Option<Instant>) -> Option<(Exit, MutexGuard<'_, Answer>)> {
        let mut answer = self.lock_answer(deadline)?;
        let exit = loop {
            match self.process.wait_event(answer.pipe.as_ref().map(borrow), deadline) {
                Event::Readable => answer.read_some(),
                Event::Ended(exit) => break exit,
                Event::TimedOut => return None,
            }
        };
        // What it wrote last lies in the pipe. That has its limits; but somebody else may write there forever.
        let mut reads = 0..64;
        while reads.next().is_some() && answer.is_readable() {
            answer.read_some();
        }
        answer.pipe = None;
        Some((exit, answer))
    }

    /// Another thread may be in the middle of `join`: then it has the lock until the child ends.
    fn lock_answer(&self, deadline: Option<Instant>) -> Option<MutexGuard<'_, Answer>> {
        loop {
            match self.answer.try_lock() {
                Ok(answer) => return Some(answer),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(_) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return None,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// What to say of a child that sent no answer.
    fn missing_result(&self, exit: Exit, answer: &Answer) -> Error {
        // In `init` it reads first what it was told.
        let reached_init = match &self.unread {
            Some(unread) => !os::wait_readable(unread, Duration::ZERO).unwrap_or(false),
            None => self.took_all,
        };
        if !answer.bytes.is_empty() && exit == Exit::Code(0) {
            Error::protocol_violation(&self.name) // it thinks that it has answered
        } else if reached_init || self.killed.load(Relaxed) {
            Error::ended(&self.name, exit)
        } else {
            Error::never_ready(&self.name, exit)
        }
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
        let _blocked = (timeout != Some(Duration::ZERO)).then(|| timeline::blocked(&self.name));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (exit, answer) = self.wait_for_end(deadline).ok_or_else(|| Error::TimedOut {
            what: self.name.clone(),
            after: timeout.unwrap_or_default(),
        })?;
        let garbage = || Error::protocol_violation(&self.name);
        let Some(bytes) = answer.last_word().map_err(|()| garbage())? else {
            return Err(self.missing_result(exit, &answer));
        };
        let (outcome, value): (Outcome, _) = postcard::take_from_bytes(bytes).map_err(|_| garbage())?;
        outcome.map_err(|error| Error::remote(*error, &self.name))?;
        decode(value).map_err(|message| Error::decode(format!("the result of {}", self.name), message))
    }
}

impl<R> Drop for Child<R> {
    fn drop(&mut self) {
        if !self.is_alive() {
            return; // or it belongs to the process that this one is a copy of
        }
        if self.daemon {
            return abandon((self.process.clone(), self.liveness.clone()));
        }
        let _blocked = timeline::blocked(&self.name);
        if self
            .wait_for_end(Some(Instant::now() + Duration::from_secs(1)))
            .is_none()
        {
            let (name, pid) = (&self.name, self.pid());
            eprintln!("waiting for {name} (process {pid}): it still runs, and its handle was dropped without `join`");
            self.wait_for_end(None);
        }
    }
}

/// Daemons that still ran when their handles were dropped. One thread, of the process with this number, takes them out of the
/// process table: one that has ended may be a zombie for a second.
static ABANDONED: Mutex<(u32, Vec<Daemon>)> = Mutex::new((0, Vec::new()));
type Daemon = (Arc<os::Process>, Arc<Liveness>);

fn abandon(daemon: Daemon) {
    let _guard = os::fork_guard(); // a copy of this process finds the list unlocked
    let mut abandoned = ABANDONED.lock().unwrap();
    abandoned.1.push(daemon);
    let thread = std::thread::Builder::new().name("common-daemons".to_owned());
    if abandoned.0 != std::process::id() && thread.spawn(reap_daemons).is_ok() {
        abandoned.0 = std::process::id();
    }
}

fn reap_daemons() {
    loop {
        let guard = os::fork_guard();
        let mut abandoned = ABANDONED.lock().unwrap();
        abandoned.1.retain(|(process, _)| process.try_wait().is_none());
        let Some((first, _)) = abandoned.1.first().cloned() else {
            abandoned.0 = 0;
            return;
        };
        drop((abandoned, guard));
        first.wait_timeout(Duration::from_secs(1));
    }
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
