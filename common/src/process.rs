//! `Process`, after Python's `multiprocessing.Process`.

use crate::channels::{self, Arguments};
use crate::child::{self, Ends, Family, Greeting, LENGTH};
use crate::error::Error;
use crate::function::{self, Fault, Message, code_ref};
use crate::sys::{self, CodeRef, Exit, OwnedHandle, Proc};
use crate::timeline;
use os_pipe::PipeReader;
use serde::{Deserialize, Serialize};
use std::io::{BufReader, Read};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
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
/// Source: [`multiprocessing.Process`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Process).
#[must_use = "a process does nothing before it is started: call `start`"]
pub struct Process<R> {
    name: String,
    daemon: bool,
    stdio: [Option<OwnedHandle>; 3],
    function: Result<CodeRef, Error>,
    encode: Encode,
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
            name: child::next_name("Process"),
            daemon: false,
            stdio: [None, None, None],
            function: code_ref(target),
            encode: Box::new(move |name| channels::encode(&arg, || format!("the arguments of {name}"))),
            result: PhantomData,
        }
    }

    /// Gives it a name, seen by `ps` (not on Windows), in errors, and by [`current_process`](crate::current_process) inside.
    /// The default is `Process-1` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Makes it a daemon: it ends when the process that started it ends, however that ends, and nobody waits for it.
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
            function,
            encode,
            ..
        } = self;
        let arguments = encode(&name)?;
        let start = Start {
            greeting: Greeting::to(&name),
            function: function?,
            daemon,
            channels: arguments.have_channels(),
        };
        let start =
            postcard::to_stdvec(&start).map_err(|error| Error::encode(format!("the orders for {name}"), error))?;
        let through_pipe = if arguments.have_channels() {
            &[]
        } else {
            arguments.bytes()
        };

        let mut started = child::start("process", &name, None, &stdio)?;
        drop(stdio); // from here on, the child alone holds them
        // Orders that the pipe takes at once can be looked at again: see `Answer::reached_init`. For larger ones, the
        // child must be the only reader: then a write does not wait for one that has ended.
        let orders = started
            .child_reads
            .filter(|_| start.len() + through_pipe.len() < SURELY_IN_A_PIPE);
        let sent = child::write_block(&mut started.to_child, &[&start, through_pipe]);
        drop(started.to_child);
        let answer = Answer {
            pipe: started.from_child,
            bytes: Vec::new(),
            complete: false,
            orders,
            refused: sent.is_err(),
        };
        let child = Child {
            name,
            daemon,
            process: Arc::new(started.process),
            killed: AtomicBool::new(false),
            answer: Mutex::new(answer),
            family: started.family,
            result: PhantomData,
        };
        // A child that ended meanwhile reads nothing. `join` tells how it ended.
        if sent.is_ok() && arguments.have_channels() {
            let address = child.await_address()?;
            if !address.is_empty() {
                arguments.send_to(address)?;
            }
        }
        Ok(child)
    }
}

/// Encodes the arguments of a process with this name.
type Encode = Box<dyn FnOnce(&str) -> Result<Arguments, Error> + Send>;

/// What a child is told first; its arguments follow.
#[derive(Serialize, Deserialize)]
struct Start {
    greeting: Greeting,
    function: CodeRef,
    daemon: bool,
    channels: bool,
}

/// So many bytes fit into every system's pipe, so that writing them does not wait for a reader.
const SURELY_IN_A_PIPE: usize = 4000;

/// Usual orders are shorter: a larger buffer would only be more memory to touch, and its first touch takes time.
const ORDERS: usize = 512;

/// A child's answer; a value's bytes follow.
#[derive(Serialize, Deserialize)]
struct Verdict(Result<(), Box<Fault>>);

/// Exit code of a process whose target panicked, as of any Rust program.
const PANICKED: i32 = 101;

/// In the child: runs the target. Returns the exit code, or `None` if there is nobody to talk to.
pub(crate) fn run_child(handles: Vec<OwnedHandle>) -> Option<i32> {
    let Ends {
        from_parent,
        mut to_parent,
        lifeline,
        ..
    } = Ends::new(handles)?;
    sys::ANSWERS.set(&to_parent);
    let Ok(orders) = child::read_block(&mut BufReader::with_capacity(ORDERS, from_parent)) else {
        return Some(0); // nobody is there any more who wants anything
    };
    let (start, args): (Start, _) = postcard::take_from_bytes(&orders).ok()?;
    if start.daemon {
        child::end_with_parent(lifeline.try_clone().ok()?).ok()?;
    }
    start.greeting.accept(lifeline)?;
    let span = timeline::span(""); // the parent told the target's name
    let (verdict, result) = if start.channels {
        // SAFETY: as below.
        unsafe { channels::run_with_channels(&mut to_parent, start.function) }.unwrap_or_else(|error| {
            let fault = Fault::Arguments(format!("their channels did not arrive: {error}"));
            (Err(Box::new(fault)), Vec::new())
        })
    } else {
        let mut result = Vec::new();
        // SAFETY: it came through the pipe that this process's parent passed to it, which runs the same program.
        (unsafe { function::run(start.function, args, &mut result) }, result)
    };
    drop(span);
    let panicked = matches!(&verdict, Err(fault) if matches!(**fault, Fault::Panic(..)));
    let code = if panicked { PANICKED } else { 0 };
    let verdict = postcard::to_stdvec(&Verdict(verdict)).ok()?;
    let _ = child::write_block(&mut to_parent, &[&verdict, &result]); // a parent that has ended needs no answer
    Some(code)
}

/// A process that was started.
///
/// All methods take `&self`: one thread can [`join`](Child::join) while another one calls [`kill`](Child::kill).
///
/// When the handle is dropped, the process is waited for, so that no zombie is left; a daemon goes on in the background until
/// this program ends.
#[must_use = "dropping the handle waits for the process: call `join` to see how it ended"]
pub struct Child<R> {
    name: String,
    daemon: bool,
    process: Arc<Proc>,
    /// `kill` or `terminate` was called: an end before `init` is no riddle then.
    killed: AtomicBool,
    answer: Mutex<Answer>,
    family: Arc<Family>,
    result: PhantomData<fn() -> R>,
}

struct Answer {
    pipe: PipeReader,
    bytes: Vec<u8>,
    complete: bool,
    /// The reading end of the pipe through which the child got its orders, if they were small.
    orders: Option<PipeReader>,
    /// The child ended before it had read its orders, which were not small.
    refused: bool,
}

impl Answer {
    /// Reads until the child's end. False: the deadline came first.
    fn read(&mut self, deadline: Option<Instant>) -> std::io::Result<bool> {
        // A child that is done writing is not read further: the end of file may be in the hands of a grandchild.
        while !self.complete && !self.whole() {
            if let Some(deadline) = deadline {
                if !sys::wait_readable(&self.pipe, deadline.saturating_duration_since(Instant::now()))? {
                    if Instant::now() >= deadline {
                        return Ok(false);
                    }
                    continue;
                }
            }
            self.read_some()?;
        }
        Ok(true)
    }

    /// Of a child that has ended: did it come to `init`? There it reads its orders first.
    fn reached_init(&mut self) -> bool {
        match &mut self.orders {
            // Looked at first, or this could wait: if this program forked, there is somebody who could still write.
            Some(orders) => {
                !sys::wait_readable(orders, Duration::ZERO).unwrap_or(false) || !matches!(orders.read(&mut [0]), Ok(1))
            }
            None => !self.refused,
        }
    }

    /// Is the child's last word there?
    fn whole(&self) -> bool {
        let Some((length, rest)) = self.bytes.split_first_chunk() else {
            return false;
        };
        rest.len() as u64 >= u64::from_le_bytes(*length)
    }

    fn read_some(&mut self) -> std::io::Result<()> {
        let mut piece = [0; 8192];
        let length = loop {
            match self.pipe.read(&mut piece) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.bytes.extend_from_slice(&piece[..length]);
        self.complete = length == 0;
        Ok(())
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

    /// Does it still run? Returns at once.
    pub fn is_alive(&self) -> bool {
        self.process.try_wait().is_none()
    }

    /// `None` while it runs; then 0 for a target that returned, 101 for one that panicked, n for `exit(n)`, and −9 for a
    /// process that was killed by signal 9. Returns at once.
    ///
    /// On Windows there are no signals: a killed process has exit code 1, and one that crashed a negative number, such as
    /// 0xc0000005 for an access violation.
    ///
    /// If the exit status went to somebody else (this program ignores SIGCHLD, or waits for any child), it is 255.
    ///
    /// Source: [`multiprocessing.Process.exitcode`](https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Process.exitcode).
    pub fn exitcode(&self) -> Option<i32> {
        Some(match self.process.try_wait()? {
            Exit::Code(code) => code,
            Exit::Signal(signal) => -signal,
            Exit::Unknown => 255,
        })
    }

    /// Asks it to end, by SIGTERM; on Windows, which has no such request, the same as [`kill`](Child::kill). No error if it
    /// has ended already. Its own children are not ended, unless they are daemons.
    pub fn terminate(&self) -> Result<(), Error> {
        self.killed.store(true, Ordering::Release);
        self.process
            .terminate()
            .map_err(|error| Error::start(&format!("a signal to {}", self.name), error))
    }

    /// Ends it, by SIGKILL; on Windows by `TerminateProcess`, with exit code 1. No error if it has ended already.
    pub fn kill(&self) -> Result<(), Error> {
        self.killed.store(true, Ordering::Release);
        self.process
            .kill()
            .map_err(|error| Error::start(&format!("a signal to {}", self.name), error))
    }

    /// Reads the address that a child with channels among its arguments sends first.
    fn await_address(&self) -> Result<String, Error> {
        let mut answer = self.answer.lock().unwrap();
        while !answer.complete && !answer.whole() {
            answer.read_some().map_err(|error| Error::start(&self.name, error))?;
        }
        if !answer.whole() {
            drop(answer);
            return Err(self.gone());
        }
        // If there is no address, the verdict may lie behind it already.
        let mut block = &answer.bytes[..];
        let address = child::read_block(&mut block).map_err(|error| Error::start(&self.name, error))?;
        let used = answer.bytes.len() - block.len();
        answer.bytes.drain(..used);
        Ok(String::from_utf8_lossy(&address).into_owned())
    }

    /// What to say of a child that sent no answer.
    fn gone(&self) -> Error {
        let exit = self.process.wait();
        if self.answer.lock().unwrap().reached_init() || self.killed.load(Ordering::Acquire) {
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
        let _blocked = (timeout != Some(Duration::ZERO)).then(|| timeline::blocked(&self.name));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let timed_out = || Error::TimedOut {
            what: self.name.clone(),
            after: timeout.unwrap_or_default(),
        };
        let mut answer = self.lock_answer(deadline).ok_or_else(timed_out)?;
        let read = answer
            .read(deadline)
            .map_err(|error| Error::start(&format!("reading the result of {}", self.name), error))?;
        if !read || !self.ends_before(deadline) {
            return Err(timed_out());
        }
        if !answer.whole() {
            drop(answer);
            return Err(self.gone());
        }
        let what = || format!("the result of {}", self.name);
        let (Verdict(verdict), value) =
            postcard::take_from_bytes(&answer.bytes[LENGTH..]).map_err(|error| Error::decode(what(), error))?;
        verdict.map_err(|fault| Error::fault(*fault, &self.name))?;
        postcard::from_bytes(value).map_err(|error| Error::decode(what(), error))
    }

    /// Another thread may be in the middle of `join`: then it has the lock until the child ends.
    fn lock_answer(&self, deadline: Option<Instant>) -> Option<MutexGuard<'_, Answer>> {
        let Some(deadline) = deadline else {
            return Some(self.answer.lock().unwrap());
        };
        loop {
            match self.answer.try_lock() {
                Ok(answer) => return Some(answer),
                Err(_) if Instant::now() >= deadline => return None,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Waits for the process itself, once its answer is there: it is on its way out.
    fn ends_before(&self, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else {
            self.process.wait();
            return true;
        };
        while self.process.try_wait().is_none() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl<R> Drop for Child<R> {
    fn drop(&mut self) {
        if self.daemon {
            if self.is_alive() {
                // It lives on while the family does, and somebody must take it out of the process table one day. If no
                // thread is to be had, nobody does.
                let (process, family) = (self.process.clone(), self.family.clone());
                let wait = move || {
                    process.wait();
                    drop(family);
                };
                let _ = std::thread::Builder::new()
                    .name("common-daemon".to_owned())
                    .stack_size(64 * 1024)
                    .spawn(wait);
            }
        } else {
            let _blocked = self.process.try_wait().is_none().then(|| timeline::blocked(&self.name));
            // Its answer may be larger than the pipe: read, or it would never end.
            let answer = self.answer.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            let _ = answer.read(None);
            self.process.wait();
        }
    }
}
