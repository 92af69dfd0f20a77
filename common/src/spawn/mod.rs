//! Running this program again: what a parent keeps of a child, and what the two say to each other first.
//!
//! The parent starts the program with two pipes ([`start`]), and writes one block into the first: a [`Handshake`], by which
//! both know that they are parent and child of the same program; whether the child is to end with its parent; and a function
//! to call, with its argument. The child reads it ([`read_start`]). Through the second pipe it says where it waits for the
//! channels in the argument, if there are any, and then, with an empty block, that the call begins ([`Start::run`]). A
//! process's result follows. Invariant: a function is called only after the handshake was accepted, so that it means the same
//! on both sides. Called by `process` and `pool` on both sides.

use crate::channels::{self, Encoded, Outcome, Server};
use crate::error::{Error, RemoteError};
use crate::function;
use crate::message::Message;
use crate::os::{self, BorrowedHandle, CodeRef, OwnedHandle, Parent, borrow};
use crate::timeline;
use os_pipe::{PipeReader, PipeWriter};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

mod identity;

use identity::{Handshake, parent_ends_within};
pub use identity::{ProcessInfo, current_process, parent_process};
pub(crate) use identity::{initialise, next_name};

/// Starts this program again, as a "process" or a "worker". It gets its end of each pipe, `extra`, and the timeline's log, if
/// there is one; a daemon ends with this process. Returns when the child has read its start message, or when the message fits
/// into the pipe: the process, and the pipe through which it answers.
pub(crate) fn start(
    role: &str,
    name: &str,
    extra: &[BorrowedHandle],
    stdio: &[Option<OwnedHandle>; 3],
    daemon: bool,
    call: Option<&Call>,
) -> Result<(os::Process, PipeReader), Error> {
    let handshake = Handshake::to(name)?;
    let (function, argument) = call.map(|call| call(name)).transpose()?.unzip();
    let argument: Encoded = argument.unwrap_or_default();
    let start = || {
        let environment = std::env::vars_os(); // first: who forks may hold its lock, and waits for the guard
        let _guard = os::fork_guard(); // the child's ends of its pipes are open here for a moment
        let (child_reads, to_child) = os::pipe()?;
        let (from_child, child_writes) = os::pipe()?;
        let mut pass = vec![borrow(&child_reads), borrow(&child_writes)];
        pass.extend(extra);
        let log = timeline::pass_on();
        pass.extend(log.map(|(_, handle)| borrow(handle)));
        let time = timeline::clock();
        let recorded = [role, log.map_or("", |(suffix, _)| suffix)].concat();
        let process = os::spawn(&recorded, &pass, stdio, role == "worker", environment)?;
        timeline::started(time, name, process.pid());
        Ok((process, from_child, to_child))
    };
    let (process, from_child, to_child) = start().map_err(|error: io::Error| Error::start(name, error))?;
    let message = StartMessage {
        handshake,
        daemon,
        function,
        channels: argument.ends.is_some(),
    };
    tell(&from_child, &to_child, &message, &argument).map_err(|error| {
        let _ = process.kill(); // it can fail only if the process has ended
        process.wait();
        Error::system(format!("sending channels to {name}"), error)
    })?;
    Ok((process, from_child))
}

/// What a new process of the given name is to call: a function, and its argument, which is encoded anew for each process. The
/// same thread must send it.
pub(crate) type Call = Box<dyn Fn(&str) -> Result<(CodeRef, Encoded), Error> + Send + Sync>;

pub(crate) fn call<A: Message + Send, R: Message>(target: fn(A) -> R, arg: A) -> Call {
    let arg = Mutex::new(arg); // each thread that starts a process encodes it
    Box::new(move |name| {
        let function = function::code_ref(target)?;
        let encode = || channels::encode(&*arg.lock().unwrap_or_else(PoisonError::into_inner));
        let encoded = catch_unwind(AssertUnwindSafe(encode)).unwrap_or_else(|value| {
            // It is not dropped: its destructor may panic too.
            Err(format!("it panicked: {}", function::text(Box::leak(value))))
        });
        let encoded = encoded.map_err(|message| Error::encode(format!("the arguments of {name}"), message))?;
        Ok((function, encoded))
    })
}

/// The block that a new process reads; the encoded argument follows.
#[derive(Serialize, Deserialize)]
struct StartMessage {
    handshake: Handshake,
    daemon: bool,
    /// What it is to call, if anything.
    function: Option<CodeRef>,
    /// Do channels come too?
    channels: bool,
}

/// Tells a new process what it needs to know, and sends the channels in the argument to it. If it ends meanwhile, that is no
/// error yet: how it ended will say more.
fn tell(from_child: &PipeReader, to_child: &PipeWriter, message: &StartMessage, argument: &Encoded) -> io::Result<()> {
    let head = postcard::to_stdvec(message).unwrap_or_default(); // it cannot fail
    let read = write_block(to_child, &head, &argument.bytes);
    if let Some(ends) = argument.ends.as_ref().filter(|_| read.is_ok()) {
        if let Some(address @ [_, ..]) = read_block(from_child).as_deref() {
            ends.send_to(&String::from_utf8_lossy(address))?;
        }
    }
    Ok(())
}

/// In a child: what it was told, and what was passed to it. Only [`read_start`] returns one, after the handshake.
pub(crate) struct Start {
    message: StartMessage,
    bytes: Vec<u8>,
    /// Where the encoded argument begins in `bytes`.
    argument: usize,
    /// It is never closed: if the target has closed that descriptor, its number may be another file's.
    pub to_parent: &'static PipeWriter,
    pub extra: Vec<OwnedHandle>,
}

/// Reads what [`start`] wrote. `Ok(None)`: the parent has ended, and nothing is to be done any more.
pub(crate) fn read_start(parent: Parent, handles: Vec<OwnedHandle>) -> Result<Option<Start>, String> {
    let mut handles = handles.into_iter();
    let (Some(from_parent), Some(to_parent)) = (handles.next(), handles.next()) else {
        return Err("its parent passed too little to it".to_owned());
    };
    let Some(bytes) = read_block(&from_parent.into()) else {
        return Ok(None);
    };
    let (message, argument): (StartMessage, _) =
        postcard::take_from_bytes(&bytes).map_err(|_| "what its parent told it makes no sense")?;
    if parent.ends_within(Duration::ZERO) {
        return Ok(None);
    }
    message.handshake.accept(parent)?;
    Ok(Some(Start {
        argument: bytes.len() - argument.len(),
        message,
        bytes,
        to_parent: Box::leak(Box::new(to_parent.into())),
        extra: handles.collect(),
    }))
}

impl Start {
    /// Tells the parent where it is to send channels, if there are any in the argument, and that the call begins; when they
    /// have come, calls the function, if there is one. The timeline calls this by the given name.
    pub fn run(self, name: &str) -> Outcome {
        let _span = self.message.function.map(|_| timeline::span(name));
        let server = self.prepare();
        if self.message.channels {
            let address = WAITS_AT.lock().unwrap().clone().unwrap_or_default(); // "": nothing is to be sent
            let _ = write_block(self.to_parent, address.as_bytes(), &[]);
        }
        let _ = write_block(self.to_parent, &[], &[]); // a parent that has ended needs no answer
        let server = server?;
        let call = move || {
            *WAITS_AT.lock().unwrap() = None;
            let mut result = Vec::new();
            // SAFETY: `call` made this number with this caller, in the parent, which runs the same program: it said so
            // in the handshake, through the pipe that it passed to this process.
            let run = |function| unsafe { function::run(function, &self.bytes[self.argument..], &mut result) };
            self.message.function.map_or(Ok(()), run)?;
            Ok(result)
        };
        let Some(server) = server else { return call() };
        channels::run_on_arrival(server, call)
    }

    /// Watches the parent, if that is needed, and opens the server that will receive the channels, if there are any.
    fn prepare(&self) -> Result<Option<Server>, RemoteError> {
        let StartMessage { daemon, channels, .. } = self.message;
        if daemon || channels {
            watch_parent(daemon).map_err(RemoteError::Setup)?;
        }
        if !channels {
            return Ok(None);
        }
        let mut waits_at = WAITS_AT.lock().unwrap(); // first: if the parent ends now, the server is removed
        let (server, address) = channels::open_server()?;
        *waits_at = Some(address);
        Ok(Some(server))
    }
}

/// Where this process waits for channels ("": nowhere yet), until they have come. If its parent ends before, they never come.
static WAITS_AT: Mutex<Option<String>> = Mutex::new(Some(String::new()));

/// Ends this process as soon as its parent has ended, even by SIGKILL, and whatever this process is doing. (If it is stopped
/// by SIGSTOP, it ends as soon as it is continued.) One that is no daemon ends only while it waits for channels.
fn watch_parent(daemon: bool) -> Result<(), String> {
    let exit_without_main_thread = os::exit_without_this_thread();
    let watch = move || loop {
        let ended = parent_ends_within(Duration::from_secs(1));
        let waits_at = WAITS_AT.lock().unwrap();
        if !daemon && waits_at.is_none() {
            return; // this process may be over when its other threads are
        }
        if ended {
            waits_at.as_deref().map(channels::remove_server);
            os::exit_now(1)
        }
        exit_without_main_thread(); // the main thread may have ended by itself, and nothing else would notice that
    };
    let thread = std::thread::Builder::new().name("common-parent".to_owned());
    let started = thread.spawn(watch).map(drop);
    started.map_err(|error| format!("a thread that watches its parent: {error}"))
}

/// Writes a block: its length, then that many bytes, `head` and `body`. It is an error if the pipe has no reader any more.
pub(crate) fn write_block(mut pipe: &PipeWriter, head: &[u8], body: &[u8]) -> io::Result<()> {
    let _masked = os::mask_sigpipe();
    let length = (head.len() + body.len()) as u64;
    // What is short leaves in one write; what is long is not copied.
    let (short, long) = body.split_at(if body.len() <= 4096 { body.len() } else { 0 });
    pipe.write_all(&[&length.to_le_bytes(), head, short].concat())?;
    pipe.write_all(long)
}

/// Reads a block, and nothing of what follows it. Memory is taken as bytes arrive: a wrong length costs nothing.
fn read_block(mut pipe: &PipeReader) -> Option<Vec<u8>> {
    let mut length = [0; size_of::<u64>()];
    pipe.read_exact(&mut length).ok()?;
    let (length, mut block) = (u64::from_le_bytes(length), Vec::with_capacity(1 << 12));
    pipe.take(length).read_to_end(&mut block).ok()?;
    (block.len() as u64 == length).then_some(block)
}

/// Appends what a pipe contains to what is known of an answer. (What follows garbage is read, so that its writer can end, and
/// not kept.) Returns false at end of file.
pub(crate) fn read_answer(mut pipe: &PipeReader, bytes: &mut Vec<u8>) -> bool {
    let (end, garbage) = (bytes.len(), is_garbage(bytes));
    bytes.resize(end + end.clamp(1 << 12, 1 << 16), 0);
    let read = pipe.read(&mut bytes[end..]);
    let kept = *read.as_ref().ok().filter(|_| !garbage).unwrap_or(&0);
    bytes.truncate(end + kept);
    read.map_or_else(|error| error.kind() == io::ErrorKind::Interrupted, |count| count > 0)
}

/// The first block in what [`write_block`] wrote, and what follows it; `None` if it is not all there.
pub(crate) fn split_block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// Can these bytes not be a child's answer, two blocks, whatever comes yet? No block has 2^48 bytes or more.
fn is_garbage(bytes: &[u8]) -> bool {
    let rest = split_block(bytes).map_or(bytes, |(_, rest)| rest);
    let absurd = rest.get(6..8).is_some_and(|high| high != [0, 0]);
    split_block(rest).map_or(absurd, |(_, more)| !more.is_empty())
}
