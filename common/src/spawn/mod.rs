//! Running this program again: what a parent keeps of a child, and what the two say to each other first.
//!
//! The parent starts the program with two pipes and a lifeline ([`start`]), and writes one block into the first pipe
//! ([`send_start`]): a [`Handshake`], by which both know that they are parent and child of the same program; what the child
//! is to be; and a function to call, with its argument. The child reads it ([`Ends::read_start`]) and calls the function
//! ([`IncomingCall::run`]). Invariant: a function is called only after the handshake was accepted, so that it means the same
//! on both sides. Called by `process` and `pool` on both sides.

use crate::channels::{self, Encoded, Outcome, Server};
use crate::error::{Error, RemoteError};
use crate::function;
use crate::message::Message;
use crate::os::{self, BorrowedHandle, CodeRef, OwnedHandle, Parent, SpawnOptions, borrow};
use crate::timeline;
use os_pipe::{PipeReader, PipeWriter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

mod identity;

use identity::Handshake;
pub(crate) use identity::next_name;
pub use identity::{ProcessInfo, current_process, parent_process};

/// True once `init` ran: this program can be started again as a child.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// From now on, this program can be started again as a child.
pub(crate) fn initialised() {
    os::fingerprint(); // looked at now: later, another file may lie in the program's place
    INITIALISED.store(true, Ordering::Release);
}

/// Can this program be started again as a child?
pub(crate) fn check_initialised() -> Result<(), Error> {
    if INITIALISED.load(Ordering::Acquire) {
        Ok(())
    } else {
        Err(Error::NotInitialised)
    }
}

/// By what all children of this process learn that it has ended, however that was. It lives as long as one of them is known
/// here.
pub(crate) struct Liveness {
    /// Each child gets a copy.
    lifeline: OwnedHandle,
    kept: Option<OwnedHandle>,
    owner: os::Owner,
}

impl Liveness {
    pub fn get() -> io::Result<Arc<Liveness>> {
        static LIVENESS: Mutex<Weak<Liveness>> = Mutex::new(Weak::new());
        let _guard = os::fork_guard(); // a copy must not have a lifeline that it does not know of
        let mut current = LIVENESS.lock().unwrap();
        if let Some(liveness) = current.upgrade().filter(|liveness| liveness.owner.is_surely_me()) {
            return Ok(liveness);
        }
        let (lifeline, kept) = os::lifeline()?;
        kept.iter().for_each(|kept| os::close_after_fork(os::LIFELINE, kept));
        let new = Arc::new(Liveness {
            lifeline,
            kept,
            owner: os::Owner::me(),
        });
        *current = Arc::downgrade(&new);
        Ok(new)
    }
}

impl Drop for Liveness {
    fn drop(&mut self) {
        self.kept.iter().for_each(|kept| os::closes_itself(os::LIFELINE, kept));
    }
}

/// A child as its parent holds it: the process, and a pipe in each direction.
pub(crate) struct Started {
    pub process: os::Process,
    pub to_child: PipeWriter,
    pub from_child: PipeReader,
    /// The child's own end of `to_child`: what still lies there, it did not read. `None`: more had to be written than surely
    /// fits into a pipe. Then the child must be the only reader, or writing could wait for one that has ended.
    pub child_reads: Option<PipeReader>,
    pub liveness: Arc<Liveness>,
}

/// Starts this program again, as a "process" or a "worker". It gets its end of each pipe, the lifeline, `extra`, and the
/// timeline's log, if there is one.
pub(crate) fn start(
    role: &str,
    name: &str,
    extra: &[BorrowedHandle],
    stdio: &[Option<OwnedHandle>; 3],
) -> Result<Started, Error> {
    check_initialised()?;
    let start = || {
        let liveness = Liveness::get()?;
        let _guard = os::fork_guard(); // the child's ends of its pipes are open here for a moment
        let (child_reads, to_child) = os::pipe()?;
        let (from_child, child_writes) = os::pipe()?;
        let mut pass = vec![borrow(&child_reads), borrow(&child_writes), borrow(&liveness.lifeline)];
        pass.extend(extra);
        let log = timeline::pass_on();
        pass.extend(log.map(|(_, handle)| borrow(handle)));
        let time = timeline::clock();
        let process = os::spawn(&SpawnOptions {
            role: &[role, log.map_or("", |(suffix, _)| suffix)].concat(),
            pass: &pass,
            stdio,
            ignore_sigint: role == "worker",
            on_exit: |pid, exit| timeline::ended(pid, exit.exitcode()),
        })?;
        timeline::started(time, name, process.pid());
        let child_reads = Some(child_reads);
        Ok(Started {
            process,
            to_child,
            from_child,
            child_reads,
            liveness,
        })
    };
    start().map_err(|error: io::Error| Error::start(name, error))
}

/// A function that a new process is to call, and its argument. It may be given to one process after another.
pub(crate) struct Call {
    function: Result<CodeRef, Error>,
    encode: Box<Encode>,
}

type Encode = dyn Fn(&str) -> Result<Encoded, Error> + Send + Sync;

/// A [`Call`] as one process gets it.
pub(crate) type EncodedCall = (CodeRef, Encoded);

impl Call {
    pub fn new<A: Message + Send, R: Message>(target: fn(A) -> R, arg: A) -> Call {
        let arg = Mutex::new(arg); // whoever starts a process encodes it
        let encode = move |name: &str| {
            let arg = arg.lock().unwrap_or_else(PoisonError::into_inner);
            channels::encode(&*arg, || format!("the arguments of {name}"))
        };
        Call {
            function: function::code_ref(target),
            encode: Box::new(encode),
        }
    }

    /// For the process of this name. The same thread sends it.
    pub fn encode(&self, name: &str) -> Result<EncodedCall, Error> {
        Ok((self.function.clone()?, (self.encode)(name)?))
    }
}

/// The block that a new process reads; the encoded argument follows.
#[derive(Serialize, Deserialize)]
struct StartMessage<C> {
    handshake: Handshake,
    /// What it is to be.
    config: C,
    /// What it is to call, and whether channels come too.
    call: Option<(CodeRef, bool)>,
}

/// Tells a new process what it needs to know. Returns when it has read that, or when the pipe has room for it. `Ok(false)`: it
/// ended meanwhile. That is no error yet: its end tells more.
pub(crate) fn send_start<C: Serialize>(
    started: &mut Started,
    name: &str,
    config: &C,
    call: Option<&EncodedCall>,
) -> Result<bool, Error> {
    let message = StartMessage {
        handshake: Handshake::to(name),
        config,
        call: call.map(|(function, argument)| (*function, argument.has_channels())),
    };
    let message =
        postcard::to_stdvec(&message).map_err(|error| Error::encode(format!("the start of {name}"), error))?;
    let argument = call.map_or(&[][..], |(_, argument)| &argument.bytes);
    if message.len() + argument.len() > SURELY_IN_A_PIPE {
        started.child_reads = None;
    }
    if write_block(&started.to_child, &[&message, argument]).is_err() {
        return Ok(false);
    }
    let Some((_, argument)) = call.filter(|(_, argument)| argument.has_channels()) else {
        return Ok(true);
    };
    // It tells first where the channels are to go.
    let address = read_block(&mut &started.from_child, MAX_ADDRESS).unwrap_or_default();
    let sent = if address.is_empty() {
        Ok(())
    } else {
        argument.send_to(&String::from_utf8_lossy(&address))
    };
    match sent {
        Err(error) if started.process.wait_timeout(Duration::from_secs(1)).is_none() => {
            Err(Error::system(format!("sending channels to {name}"), error))
        }
        _ => Ok(true),
    }
}

/// Every system's pipe takes as many bytes without a reader.
const SURELY_IN_A_PIPE: usize = 4000;

const MAX_ADDRESS: u64 = 4096;

/// In a child: the ends of what [`start`] made.
pub(crate) struct Ends {
    pub from_parent: PipeReader,
    pub to_parent: PipeWriter,
    lifeline: Option<OwnedHandle>,
    pub extra: Vec<OwnedHandle>,
}

/// What a child was told.
pub(crate) struct Start<C> {
    pub config: C,
    pub call: Option<IncomingCall>,
    pub parent: Arc<Parent>,
}

impl Ends {
    pub fn new(handles: Vec<OwnedHandle>) -> Option<Ends> {
        let mut handles = handles.into_iter();
        Some(Ends {
            from_parent: handles.next()?.into(),
            to_parent: handles.next()?.into(),
            lifeline: Some(handles.next()?),
            extra: handles.collect(),
        })
    }

    /// Reads what [`send_start`] wrote. `Ok(None)`: the parent has ended, and nobody wants anything any more.
    pub fn read_start<C: DeserializeOwned>(&mut self) -> Result<Option<Start<C>>, String> {
        let Ok(block) = read_block(&mut self.from_parent, u64::MAX) else {
            return Ok(None);
        };
        let (message, argument): (StartMessage<C>, _) =
            postcard::take_from_bytes(&block).map_err(|_| "what its parent told it makes no sense")?;
        let lifeline = self.lifeline.take().ok_or("it was told everything before")?;
        let parent = message.handshake.accept(lifeline)?;
        let begin = block.len() - argument.len();
        let watched = parent.clone();
        let call = |(function, channels)| IncomingCall {
            function,
            channels,
            block,
            begin,
            parent: watched,
        };
        Ok(Some(Start {
            config: message.config,
            call: message.call.map(call),
            parent,
        }))
    }
}

/// A function to call, in the child. It can only be had by [`Ends::read_start`], after the handshake.
pub(crate) struct IncomingCall {
    function: CodeRef,
    channels: bool,
    /// The argument begins at `begin`.
    block: Vec<u8>,
    begin: usize,
    parent: Arc<Parent>,
}

impl IncomingCall {
    /// Calls the function; if there are channels in its argument, after they have come.
    pub fn run(self, to_parent: &PipeWriter) -> Outcome {
        let IncomingCall {
            function,
            channels,
            block,
            begin,
            parent,
        } = self;
        let call = move || {
            let mut result = Vec::new();
            // SAFETY: `Call::new` made this number with this caller, in the parent, which runs the same program: it said so
            // in the handshake, through the pipe that it passed to this process.
            let outcome = unsafe { function::run(function, &block[begin..], &mut result) };
            (outcome, result)
        };
        if !channels {
            return call();
        }
        let server = Server::open().and_then(|(server, address)| {
            *WAITS_AT.lock().unwrap() = Some(address.clone());
            watch_parent(parent).map(|()| (server, address))
        });
        // No address: nothing is to be sent.
        let address = server.as_ref().map_or("", |(_, address)| address.as_str());
        let told = write_block(to_parent, &[address.as_bytes()]).map_err(|error| error.to_string());
        let run = move || {
            *WAITS_AT.lock().unwrap() = None;
            call()
        };
        told.and(server)
            .and_then(|(server, _)| server.run(run))
            .unwrap_or_else(|error| {
                let error = RemoteError::Arguments(format!("their channels did not arrive: {error}"));
                (Err(Box::new(error)), Vec::new())
            })
    }
}

/// The address at which this process waits for channels. If its parent ends meanwhile, they never come.
static WAITS_AT: Mutex<Option<String>> = Mutex::new(None);
/// This process is to end with its parent.
static IS_DAEMON: AtomicBool = AtomicBool::new(false);

/// Ends this process as soon as its parent has ended, be it by SIGKILL, whatever this process is doing then. (Unless it was
/// stopped, by SIGSTOP: then as soon as it goes on.)
pub(crate) fn end_with_parent(parent: Arc<Parent>) -> Result<(), String> {
    IS_DAEMON.store(true, Ordering::Release);
    watch_parent(parent)
}

fn watch_parent(parent: Arc<Parent>) -> Result<(), String> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    let target = os::this_thread();
    let watch = move || {
        while !parent.ends_within(Duration::from_secs(1)) {
            if IS_DAEMON.load(Ordering::Acquire) {
                os::exit_without(target); // it may have ended by itself, so that nobody would ever hear of it
            }
        }
        let waits_at = WAITS_AT.lock().unwrap();
        waits_at.as_deref().map(channels::remove_server);
        if waits_at.is_some() || IS_DAEMON.load(Ordering::Acquire) {
            os::kill_self()
        }
    };
    if !WATCHED.swap(true, Ordering::AcqRel) {
        let thread = std::thread::Builder::new().name("common-lifeline".to_owned());
        thread
            .spawn(watch)
            .map_err(|error| format!("a thread that watches its parent: {error}"))?;
    }
    Ok(())
}

/// Bytes of the length before a block.
pub(crate) const LENGTH: usize = 8;

/// Writes a length, then as many bytes.
pub(crate) fn write_block(pipe: &PipeWriter, parts: &[&[u8]]) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut first = (length as u64).to_le_bytes().to_vec();
    // Small parts leave in one write; a large one is not copied.
    for part in parts {
        if part.len() <= 4096 {
            first.extend_from_slice(part);
        } else {
            os::write_all(pipe, &first)?;
            first.clear();
            os::write_all(pipe, part)?;
        }
    }
    os::write_all(pipe, &first)
}

/// Reads what [`write_block`] wrote, at most `limit` bytes. Memory is taken as bytes arrive: a wrong length costs nothing.
pub(crate) fn read_block(pipe: &mut impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut length = [0; LENGTH];
    pipe.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut block = Vec::with_capacity(length.min(1 << 16) as usize);
    pipe.take(length.min(limit)).read_to_end(&mut block)?;
    if (block.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(block)
}
