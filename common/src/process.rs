//! `Process` and `Child`, after Python's `multiprocessing.Process`.
//!
//! Invariants: the system is asked whether a child has ended; this is never concluded from its pipe, which another process may
//! hold open. What the child sends is read as long as it lives, accepted only if it is well formed, and kept, so that a second
//! `join` returns the same. Called by users, and on the child's side by `init`.

use crate::channels::Outcome;
use crate::error::{Error, FAILED_TO_BEGIN, RemoteError};
use crate::function;
use crate::message::{Message, decode};
use crate::os::{self, Exit, OwnedHandle, Owner, borrow};
use crate::spawn::{self, Call, Start};
use crate::timeline;
use os_pipe::PipeReader;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A function that will run in a process of its own; it has not been started yet.
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
/// The argument must have the type that the target takes:
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
/// That holds even for variables that could be copied:
///
/// ```compile_fail,E0308
/// let n = 5;
/// common::Process::new(move |()| println!("{n}"), ());
/// ```
///
/// Unlike in Python, the process ends when its target returns, even if the target has started threads that still run; and
/// `exit` in a target waits neither for threads nor for the target's own children.
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
    /// `target` is a function, or a closure that captures nothing. Pass several arguments as a tuple, and `()` for none; a
    /// closure adapts a function that takes several parameters.
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
    /// The function is called in a new process, where only the code before [`init`](crate::init) has run: do not pass a
    /// function that relies on anything that is set up later.
    pub fn new<A: Message + Send>(target: fn(A) -> R, arg: A) -> Process<R> {
        Process {
            name: spawn::next_name("Process"),
            daemon: false,
            stdio: [None, None, None],
            call: spawn::call(target, arg),
            result: PhantomData,
        }
    }

    /// Gives it a name, which errors mention and which [`current_process`](crate::current_process) returns inside it. The
    /// default is `Process-1`, `Process-2` and so on.
    ///
    /// On Linux `top` and `ps -e` show its first 15 bytes, on FreeBSD `ps` shows all of it. Its command line (`args()`,
    /// `ps aux`) is the same as its parent's.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Makes it a daemon: it ends when the process that started it ends, in whatever way, and dropping its handle does not
    /// wait for it. (A daemon that is stopped by SIGSTOP ends when it is continued.) Its own children end with it only if they
    /// are daemons. A parent that runs another program in its own place (`exec`) has not ended.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Sets its standard input: the read end of an `os_pipe`, a `File`, or any other owned descriptor or handle.
    pub fn stdin(mut self, stdin: impl Into<OwnedHandle>) -> Self {
        self.stdio[0] = Some(stdin.into());
        self
    }

    /// Sets its standard output.
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

    /// Sets its standard error.
    pub fn stderr(mut self, stderr: impl Into<OwnedHandle>) -> Self {
        self.stdio[2] = Some(stderr.into());
        self
    }

    /// Starts it: this program is executed again, and [`init`](crate::init) calls the target there.
    ///
    /// Returns when the system has started the program. If the argument has more than about 64 KB, `start` returns only when
    /// the child has read it.
    ///
    /// # Errors
    ///
    /// [`Error::NotInitialised`] without [`init`](crate::init); [`Error::Encode`] if serde cannot encode the arguments;
    /// [`Error::ForeignFunction`] if the target is not part of this program; [`Error::Start`] if the system refuses;
    /// [`Error::System`] if channels in the argument could not be sent. (That the child ended too early is reported by
    /// [`join`](Child::join).)
    pub fn start(self) -> Result<Child<R>, Error> {
        reap_daemons(None);
        let started = spawn::start("process", &self.name, &[], &self.stdio, self.daemon, Some(&self.call));
        let (process, from_child) = started?;
        Ok(Child {
            name: self.name,
            daemon: self.daemon,
            owner: Owner::me(),
            process: Arc::new(process),
            killed: AtomicBool::new(false),
            from_child,
            answer: Mutex::default(),
            result: PhantomData,
        })
    }
}

/// Exit code of a process whose target panicked, as of any Rust program.
const PANICKED: i32 = 101;

/// In the child: runs the target. Returns the exit code.
pub(crate) fn run_child(start: Start) -> Result<i32, String> {
    let (owner, to_parent) = (Owner::me(), start.to_parent);
    let answer = move |outcome: &Outcome| {
        static ANSWERED: AtomicBool = AtomicBool::new(false); // a destructor of the thread may panic after that
        let head = postcard::to_stdvec(&outcome.as_ref().map(|_| ())).unwrap_or_default();
        if owner.is_me() && !ANSWERED.swap(true, Relaxed) {
            let value = outcome.as_deref().unwrap_or_default();
            let _ = spawn::write_block(to_parent, &head, value); // a parent that has ended needs no answer
        }
    };
    function::note_panics(move |panic| answer(&Err(panic)));
    let outcome = start.run("target");
    answer(&outcome);
    Ok(match outcome {
        Err(RemoteError::Panic(..)) => PANICKED,
        Err(RemoteError::Setup(_)) => FAILED_TO_BEGIN,
        _ => 0,
    })
}

/// A process that has been started.
///
/// All methods take `&self`: one thread can [`join`](Child::join) while another one calls [`kill`](Child::kill).
///
/// Dropping the handle waits for the process, so that no zombie is left; if that takes more than a second, a line on standard
/// error says so. A daemon goes on in the background until this program ends; if it ends by itself, it is a zombie until the
/// next process is started, as in Python.
///
/// In a copy of this process, made by `fork()`, the handle cannot be used: dropping it does nothing, and a method that would
/// use the process returns [`Error::ForkedCopy`].
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
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns `true` as long as the process runs. Does not wait. (In a copy of this process, made by `fork()`: `false`.)
    pub fn is_alive(&self) -> bool {
        self.owner.is_me() && self.try_wait().is_none()
    }

    /// `None` while it runs; then 0 for a target that returned, 101 for one that panicked, n for `exit(n)`, and −9 for a
    /// process that was killed by signal 9. Returns at once. (In a copy of this process, made by `fork()`: `None`.)
    ///
    /// On Windows there are no signals: a killed process has exit code 1, and a crashed one has a negative number, such as
    /// 0xc0000005 (as an `i32`) for an access violation.
    ///
    /// If the exit status is lost (because this program ignores SIGCHLD, or waits for any child), it is 255.
    ///
    /// Source: [`multiprocessing.Process.exitcode`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Process.exitcode).
    pub fn exitcode(&self) -> Option<i32> {
        self.process_if_mine().ok()?;
        Some(self.try_wait()?.exitcode().unwrap_or(255))
    }

    /// How it ended, if it did. One that still runs may be waiting until its result is read.
    fn try_wait(&self) -> Option<Exit> {
        let exit = self.process.try_wait();
        exit.is_none().then(|| self.read_all());
        exit
    }

    /// Asks it to end, with SIGTERM; on Windows, which has no such request, this is the same as [`kill`](Child::kill). It is
    /// no error if the process has already ended. Its own children are not ended, unless they are daemons.
    pub fn terminate(&self) -> Result<(), Error> {
        self.end("SIGTERM to", os::Process::terminate)
    }

    /// Ends it, with SIGKILL; on Windows with `TerminateProcess`, with exit code 1. It is no error if the process has already
    /// ended.
    pub fn kill(&self) -> Result<(), Error> {
        self.end("killing", os::Process::kill)
    }

    fn end(&self, what: &str, end: fn(&os::Process) -> io::Result<()>) -> Result<(), Error> {
        let process = self.process_if_mine()?;
        self.killed.store(true, Relaxed);
        end(process).map_err(|error| Error::system(format!("{what} {}", self.name), error))
    }

    fn process_if_mine(&self) -> Result<&os::Process, Error> {
        self.owner.is_me().then_some(&*self.process).ok_or(Error::ForkedCopy)
    }

    /// Waits for its end, and reads what it writes meanwhile: otherwise a full pipe would block it. `None`: the deadline
    /// passed first.
    fn wait_for_end(&self, deadline: Option<Instant>) -> Option<Exit> {
        let exit = loop {
            let pipe = (!self.lock_answer().1).then(|| borrow(&self.from_child));
            if let Some(exit) = self.process.wait_event(pipe, deadline) {
                break exit;
            }
            self.read_all();
            if os::time_left(deadline).is_zero() {
                return None;
            }
        };
        self.read_all(); // what it wrote last
        self.lock_answer().1 = true;
        Some(exit)
    }

    /// Reads what is in the pipe, unless another thread has read it. The pipe holds a limited number of bytes, but another
    /// process may write there forever, so the number of reads is limited too.
    fn read_all(&self) {
        let (bytes, ended) = &mut *self.lock_answer();
        let mut reads = 0..64;
        while !*ended && reads.next().is_some() && os::is_readable(&self.from_child) {
            *ended = !spawn::read_answer(&self.from_child, bytes);
        }
    }

    /// It is poisoned when the result's `Deserialize` has panicked.
    fn lock_answer(&self) -> MutexGuard<'_, (Vec<u8>, bool)> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Message> Child<R> {
    /// Waits for the process to end, and reports exactly how it ended.
    ///
    /// Returns what the target returned. It may be called again, and returns the same again.
    ///
    /// # Errors
    ///
    /// [`Error::Panicked`] with message and location; [`Error::Exited`] if it called `exit`, or on Windows was killed;
    /// [`Error::Signaled`] if a signal ended it; [`Error::NeverReady`] if it ended before [`init`](crate::init);
    /// [`Error::Encode`] or [`Error::Decode`] if the argument or the result could not be turned into bytes and back;
    /// [`Error::StatusLost`], [`Error::ProtocolViolation`] or [`Error::ForkedCopy`] in the cases that they describe.
    pub fn join(&self) -> Result<R, Error> {
        self.join_until(None)
    }

    /// Waits for its end, for at most `timeout`.
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
        // It begins with an empty block.
        let begun = spawn::split_block(bytes);
        let rest = begun.map_or(&bytes[..], |(_, rest)| rest);
        let answer = match spawn::split_block(rest) {
            Some((answer, [])) if begun.is_some() => answer,
            None if rest.is_empty() || exit != Exit::Code(0) => {
                let explained = begun.is_some() || self.killed.load(Relaxed);
                return Err(Error::ended(name, exit, explained));
            }
            _ => return Err(garbage()),
        };
        let (head, value): (Result<(), _>, _) = postcard::take_from_bytes(answer).map_err(|_| garbage())?;
        head.map_err(|error| Error::remote(error, name))?;
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
            let why = "it still runs, and its handle was dropped without `join`";
            let _ = writeln!(io::stderr(), "waiting for {name} (process {pid}): {why}"); // perhaps nobody can read it
            self.wait_for_end(None);
        }
    }
}

/// Daemons that were still running when their handles were dropped.
static ABANDONED: Mutex<Vec<(Owner, Arc<os::Process>)>> = Mutex::new(Vec::new());

/// Reaps those that have ended since, and adds one more to the list.
fn reap_daemons(more: Option<(Owner, Arc<os::Process>)>) {
    let _guard = os::fork_guard(); // a copy of this process finds the list unlocked
    let mut abandoned = ABANDONED.lock().unwrap();
    abandoned.retain(|(owner, process)| owner.is_me() && process.try_wait().is_none());
    abandoned.extend(more);
}

debug! { Process[R] { name, daemon } Child[R] { name, daemon } }
