//! Ends of `ipc-channel` in what is sent to a new process; and how they are noticed where they cannot go.
//!
//! A channel's end is not bytes: it is a descriptor, and `ipc-channel` can hand it over only in a message of its own. When
//! serde meets one, that crate puts the descriptor into a list (of this thread) and encodes its index there. The next message
//! that this thread sends over any of its channels takes the list along. Invariant: whatever is encoded here, the list is
//! empty again afterwards, so that nothing travels with a stranger's message, and no descriptor is lost.
//!
//! **Where they can go**, [`encode`] finds out whether there are any by encoding one more, a *probe*: its index is their
//! number. If there are, the child opens a one-shot server and tells its address, and the list goes there; the bytes go
//! through the ordinary pipe. The child is the server, because `accept` has no time limit: a child can wake itself up when
//! its parent has ended, a parent that waits for a dead child would hang.
//!
//! **Where they cannot go**, [`encode_plain`] must cost next to nothing. A type that owns nothing (`needs_drop`) has none in
//! it: that is known when the program is compiled. Any other value is encoded twice, the second time only to compare: plain
//! values give the same bytes, but the end of a channel gives its index in a list that has become longer. Only then is the
//! list looked at.
//!
//! Called by `function` (results), `pool` (tasks) and `spawn` (what a new process is to call).

use crate::error::{Error, RemoteError};
use crate::message::{encode_into, encodes_to};
use crate::os;
use ipc_channel::ipc::{self, IpcOneShotServer, IpcSender, IpcSharedMemory};
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::Cell;
use std::mem::needs_drop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;

/// Appends an encoded value that must not have ends of channels in it; on an error, `bytes` is as before.
#[inline]
pub(crate) fn encode_plain<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), String> {
    let before = bytes.len();
    let check = needs_drop::<T>().then(|| EmptyTheList);
    encode_into(value, bytes).map_err(|error| error.to_string())?;
    let large = bytes.len() - before > PROBED; // then to look at the list costs less
    if check.is_none() || !large && encodes_to(value, &bytes[before..]) {
        std::mem::forget(check); // nothing has come into the list
        return Ok(());
    }
    // It is large, or there are ends of channels in it, or it is not encoded twice in the same way.
    let nothing = match Probe::new() {
        Ok(probe) => probe.finds_nothing(),
        Err(_) => large && encodes_to(value, &bytes[before..]),
    };
    if !nothing {
        bytes.truncate(before);
        return Err(
            "there are ends of channels, or shared memory, in it. They can be given to a Process and to a pool's \
                    initializer only"
                .to_owned(),
        );
    }
    Ok(())
}

/// Values of more bytes are not encoded twice.
const PROBED: usize = 1 << 16;

/// Does so when it is dropped: also if `Serialize` fails or panics.
struct EmptyTheList;

impl Drop for EmptyTheList {
    fn drop(&mut self) {
        let _ = Probe::new().map(|probe| probe.empty_the_list());
    }
}

/// A sender without a receiver.
struct Probe(IpcSender<()>);

impl Probe {
    fn new() -> Result<Probe, Error> {
        let (sender, _) = ipc::channel().map_err(|error| Error::system("a channel".to_owned(), error))?;
        Ok(Probe(sender))
    }

    /// Adds itself to the list. The encoded index is the number of those that were there before.
    fn index(&self) -> Vec<u8> {
        let mut index = Vec::new();
        let _ = encode_into(&self.0, &mut index);
        index
    }

    /// Are both lists, of channels and of shared memory, empty?
    fn finds_nothing(&self) -> bool {
        let _masked = os::mask_signals(); // where files may not be large, making one is a signal
        let mut index = Vec::new();
        let memory = catch_unwind(|| IpcSharedMemory::from_byte(0, 1));
        self.index() == [0] && memory.is_ok_and(|memory| encode_into(&memory, &mut index).is_ok() && index == [0])
    }

    /// A message that fails takes the lists along, and drops them. (With too many ends in it, `ipc-channel` panics.)
    fn empty_the_list(&self) {
        let _masked = os::mask_signals();
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.send(())));
    }
}

/// An encoded value that may have ends of channels in it. While it lives, its thread's list is in use.
pub(crate) struct Encoded {
    pub bytes: Vec<u8>,
    /// Of the probe, which is the last in the list.
    index: Vec<u8>,
    probe: Option<Probe>,
}

/// `ipc-channel` sends at most 64 descriptors at once, two of which are ours.
const MAX_ENDS: u8 = 62;

/// Encodes a value for a new process.
pub(crate) fn encode<T: Serialize>(value: &T, what: impl Fn() -> String) -> Result<Encoded, Error> {
    let mut encoded = Encoded {
        bytes: Vec::new(),
        index: Vec::new(),
        probe: None,
    };
    if !needs_drop::<T>() {
        encode_into(value, &mut encoded.bytes).map_err(|error| Error::encode(what(), error))?;
        return Ok(encoded);
    }
    let probe = encoded.probe.insert(Probe::new()?);
    probe.empty_the_list(); // a message of the program's own that failed may have left something there
    encode_into(value, &mut encoded.bytes).map_err(|error| Error::encode(what(), error))?;
    encoded.index = probe.index();
    match encoded.index[..] {
        [0] if encodes_to(value, &encoded.bytes) => {
            probe.empty_the_list();
            encoded.probe = None; // no shared memory either
        }
        [0..=MAX_ENDS] => {}
        _ => {
            return Err(Error::encode(
                what(),
                format!("there are more than {MAX_ENDS} ends of channels in it"),
            ));
        }
    }
    Ok(encoded)
}

impl Encoded {
    pub fn has_channels(&self) -> bool {
        self.probe.is_some()
    }

    /// Sends the list to the address that the child told. An error: the child has ended, or an end was sent before, to
    /// somebody else.
    pub fn send_to(&self, address: &str) -> std::io::Result<()> {
        let _masked = os::mask_signals(); // `ipc-channel` gives up when one comes
        let index = self.index.clone();
        let server = IpcSender::connect(address.to_owned());
        remove_server(address); // nobody needs the name any more
        server?.send(ChannelMessage { index }).map_err(std::io::Error::other)
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        self.probe.iter().for_each(Probe::empty_the_list);
    }
}

/// What the list travels with.
#[derive(Serialize, Deserialize)]
struct ChannelMessage {
    index: Vec<u8>,
}

thread_local! {
    /// What is to be done when the list has come. False: it was not decoded to its end.
    static ON_ARRIVAL: Cell<Option<Box<dyn FnOnce() -> bool>>> = const { Cell::new(None) };
}

/// A [`ChannelMessage`] as it comes in. The channels in the list can be decoded only while it is being decoded itself, so that
/// is when the target is called.
struct RunOnDecode;

impl Serialize for RunOnDecode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit() // `ipc-channel` wants both directions; this one is never taken
    }
}

impl<'de> Deserialize<'de> for RunOnDecode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RunOnDecode, D::Error> {
        let message = ChannelMessage::deserialize(deserializer)?;
        // The probe is the last in the list.
        drop(postcard::from_bytes::<IpcSender<()>>(&message.index).map_err(serde::de::Error::custom)?);
        let took_all = ON_ARRIVAL.take().is_none_or(|run| run());
        if !took_all {
            // `ipc-channel` panics about ends that nobody took. This process is about to exit.
            for index in 0..message.index[0] {
                let _ = postcard::from_bytes::<IpcSender<()>>(&[index]).map(std::mem::forget);
            }
        }
        Ok(RunOnDecode)
    }
}

/// What a call left: how it went, and its encoded result.
pub(crate) type Outcome = (Result<(), Box<RemoteError>>, Vec<u8>);

/// In the child: where the list is to come. On most systems, that is a socket in the temporary directory. Its address has room
/// for 107 bytes, and a longer one is cut in silence; and where there is no such directory, `ipc-channel` panics.
pub(crate) struct Server(IpcOneShotServer<RunOnDecode>);

impl Server {
    /// The server, and its address.
    pub fn open() -> Result<(Server, String), String> {
        const ROOM: usize = 107 - "/.tmpXXXXXX/socket".len();
        let folder = std::env::temp_dir();
        if cfg!(all(unix, not(target_vendor = "apple"))) && folder.as_os_str().len() > ROOM {
            return Err(format!(
                "the name of the temporary directory {} is too long for a socket",
                folder.display()
            ));
        }
        let opened = catch_unwind(IpcOneShotServer::new);
        let opened = opened.map_err(|_| {
            format!(
                "a socket cannot be made in the temporary directory {}",
                folder.display()
            )
        });
        let (server, address) = opened?.map_err(|error| error.to_string())?;
        Ok((Server(server), address))
    }

    /// Waits for the list, and calls `run`, which decodes what was encoded with it.
    pub fn run(self, run: impl FnOnce() -> Outcome + 'static) -> Result<Outcome, String> {
        let outcome = Rc::new(Cell::new(None));
        let result = outcome.clone();
        let masked = os::mask_signals(); // `ipc-channel` gives up when one comes
        let on_arrival = move || {
            drop(masked);
            let outcome = run();
            let took_all = !matches!(&outcome.0, Err(error) if matches!(**error, RemoteError::Arguments(_)));
            result.set(Some(outcome));
            took_all
        };
        ON_ARRIVAL.set(Some(Box::new(on_arrival)));
        let accepted = self.0.accept().map_err(|error| error.to_string());
        ON_ARRIVAL.take();
        outcome.take().ok_or_else(|| accepted.err().unwrap_or_default())
    }
}

/// Takes away what a server leaves whose process ends before it is used.
pub(crate) fn remove_server(address: &str) {
    let socket = Path::new(address);
    let folder = socket
        .parent()
        .filter(|folder| folder.parent() == Some(&std::env::temp_dir()));
    if let Some(folder) = folder.filter(|_| socket.file_name().is_some_and(|name| name == "socket")) {
        let _ = std::fs::remove_file(socket);
        let _ = std::fs::remove_dir(folder);
    }
}
