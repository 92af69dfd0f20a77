//! How ends of `ipc-channel` are sent to a new process, and how they are detected where they cannot be sent.
//!
//! A channel's end is not bytes: it is a descriptor, and `ipc-channel` can hand it over only in a message of its own. When
//! serde meets one, that crate puts the descriptor into a list (of this thread) and encodes its index there. The next message
//! that this thread sends over any of its channels takes the list along. Invariant: whatever is encoded here, the list is
//! empty again afterwards, so that nothing travels with an unrelated message, and no descriptor is lost.
//!
//! **Where they can go**, [`encode`] finds out whether there are any by encoding one more end, a *probe*: its index is the
//! number of ends before it. If there are, the child opens a one-shot server and sends its address to the parent, which sends
//! the list there; the bytes go through the ordinary pipe. The child is the server, because `accept` has no time limit: a
//! child can wake itself up when its parent has ended, but a parent that waits for a dead child would hang.
//!
//! **Where they cannot go**, [`encode_plain`] must cost next to nothing. A type that owns nothing (`needs_drop`) has none in
//! it: that is known when the program is compiled. Any other value is encoded twice, the second time only to compare: plain
//! values give the same bytes, but the end of a channel gives its index in a list that has become longer. There the comparison
//! stops, and only then is the list looked at.
//!
//! Called by `function` (results), `pool` (tasks) and `spawn` (what a new process is to call).

use crate::error::RemoteError;
use crate::message::{decode, encode_into, encodes_to};
use crate::os;
use ipc_channel::ipc::{self, IpcOneShotServer, IpcSender, IpcSharedMemory};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::Cell;
use std::fmt::Display;
use std::io;
use std::mem::{forget, needs_drop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Appends an encoded value that must not have ends of channels in it; on an error, perhaps a part of it.
#[inline]
pub(crate) fn encode_plain<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), String> {
    let before = bytes.len();
    let check = needs_drop::<T>().then(|| EmptyTheList);
    encode_into(value, bytes)?;
    let same = || encodes_to(value, &bytes[before..]);
    // Of large values, the list is looked at if it can be: that costs less. Others may not be encoded twice in the same way.
    let large = bytes.len() - before > PROBED;
    let plain = || (!large && same()) || list_is_empty(|| large && same());
    if check.is_none() || plain() {
        forget(check); // nothing has come into the list, or the probe has emptied it
        return Ok(());
    }
    Err(NOT_HERE.to_owned())
}

const NOT_HERE: &str = "there are ends of channels, or shared memory, in it, which can be passed only to a Process and to a \
                        pool's initializer";

/// Values of more bytes are encoded a second time only if need be.
const PROBED: usize = 1 << 16;

/// Drops what is in the list.
pub(crate) fn empty_the_list() {
    drop(Probe::new());
}

/// Empties the list when it is dropped, even if `Serialize` fails or panics.
struct EmptyTheList;

impl Drop for EmptyTheList {
    fn drop(&mut self) {
        empty_the_list();
    }
}

/// A sender without a receiver. When it is dropped, it empties the list.
struct Probe(IpcSender<()>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.empty_the_list();
    }
}

impl Probe {
    fn new() -> Result<Probe, String> {
        let (sender, _) = ipc::channel().map_err(|error| format!("a channel: {error}"))?;
        Ok(Probe(sender))
    }

    /// A message that fails takes the lists along, and drops them. (With too many ends in it, `ipc-channel` panics.)
    fn empty_the_list(&self) {
        let _masked = os::mask_signals();
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.send(())));
    }
}

/// Returns whether both lists, of channels and of shared memory, were empty, and empties them. If it cannot look, because no
/// descriptor is left, `unsure` answers, before they are emptied: its answer may depend on them.
fn list_is_empty(unsure: impl FnOnce() -> bool) -> bool {
    let _masked = os::mask_signals(); // where the size of files is limited, making one may raise a signal
    let Ok(probe) = Probe::new() else { return unsure() };
    let look = || encodes_to(&probe.0, &[0]) && encodes_to(&IpcSharedMemory::from_byte(0, 1), &[0]);
    catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| unsure())
}

/// An encoded value, and the ends of channels in it, if there are any.
#[derive(Default)]
pub(crate) struct Encoded {
    pub bytes: Vec<u8>,
    pub ends: Option<Ends>,
}

/// The ends of channels in this thread's list. While this lives, the list is in use.
pub(crate) struct Ends {
    /// The encoded index of the probe, which is the last of them: the number of the others.
    index: Vec<u8>,
    _probe: Probe,
}

/// `ipc-channel` sends at most 64 descriptors at once, two of which are ours.
const MAX_ENDS: u8 = 62;

/// Encodes a value for a new process.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Encoded, String> {
    let mut bytes = Vec::new();
    if !needs_drop::<T>() {
        encode_into(value, &mut bytes)?;
        return Ok(Encoded { bytes, ends: None });
    }
    let probe = Probe::new()?;
    probe.empty_the_list(); // a message of the program's own that failed may have left something there
    encode_into(value, &mut bytes)?;
    let index = postcard::to_stdvec(&probe.0).unwrap_or_default();
    let ends = match index[..] {
        [0] if encodes_to(value, &bytes) => None, // no shared memory either
        [0..=MAX_ENDS] => Some(Ends { index, _probe: probe }),
        _ => return Err(format!("there are more than {MAX_ENDS} ends of channels in it")),
    };
    Ok(Encoded { bytes, ends })
}

impl Ends {
    /// Sends the list to the address that the child has given. Fails if the child has ended, if an end was already sent to
    /// another process, or if the list is too long.
    pub fn send_to(&self, address: &str) -> io::Result<()> {
        let _masked = os::mask_signals(); // `ipc-channel` gives up when one comes
        let server = IpcSender::connect(address.to_owned());
        remove_server(address); // the name is not needed any more
        let server = server?;
        // `ipc-channel` panics if there are too many descriptors; those of shared memory were not counted.
        let sent = catch_unwind(AssertUnwindSafe(|| server.send(self.index.clone())));
        let sent =
            sent.map_err(|_| io::Error::other("there are too many ends of channels or regions of shared memory"));
        sent?.map_err(io::Error::other)
    }
}

/// The outcome of a call: its encoded result, or why there is none.
pub(crate) type Outcome = Result<Vec<u8>, RemoteError>;

thread_local! {
    /// What to do when the list has arrived.
    static ON_ARRIVAL: Cell<Option<Box<dyn FnOnce() -> Outcome>>> = const { Cell::new(None) };
}

/// What the message with the list is decoded to. The channels in the list can be decoded only while the message is being decoded
/// itself, so that is when the target is called. (`ipc-channel` wants `Serialize` too, and never uses it.)
#[derive(Serialize)]
pub(crate) struct Arrival(#[serde(skip)] Outcome);

impl<'de> Deserialize<'de> for Arrival {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Arrival, D::Error> {
        let index = Vec::<u8>::deserialize(deserializer)?;
        drop(decode::<IpcSender<()>>(&index).map_err(Error::custom)?); // the probe is the last in the list
        let run = ON_ARRIVAL.take().ok_or_else(|| Error::custom("a second message"))?;
        let outcome = run();
        if matches!(outcome, Err(RemoteError::Arguments(_))) {
            // `ipc-channel` panics about ends that were not taken.
            for index in 0..index[0] {
                let _ = decode::<IpcSender<()>>(&[index]).map(forget);
            }
        }
        Ok(Arrival(outcome))
    }
}

/// The server in the child that receives the list, once.
pub(crate) type Server = IpcOneShotServer<Arrival>;

/// In the child: opens the server that will receive the list, and returns it with its address. On most systems, it is a socket
/// in the temporary directory. Its address has room for 107 bytes, and a longer one is cut in silence; and where there is no
/// such directory, `ipc-channel` panics.
pub(crate) fn open_server() -> Result<(Server, String), RemoteError> {
    const ROOM: usize = 107 - "/.tmpXXXXXX/socket".len();
    let (folder, sockets) = (std::env::temp_dir(), cfg!(all(unix, not(target_vendor = "apple"))));
    let name = folder.display();
    if sockets && folder.as_os_str().len() > ROOM {
        let sentence = format!("the name of the temporary directory {name} is too long for a socket");
        return Err(not_arrived(sentence));
    }
    let no_socket = |_| not_arrived(format!("a socket cannot be made in the temporary directory {name}"));
    catch_unwind(IpcOneShotServer::new)
        .map_err(no_socket)?
        .map_err(not_arrived)
}

fn not_arrived(error: impl Display) -> RemoteError {
    RemoteError::Arguments(format!("their channels did not arrive: {error}"))
}

/// Waits for the list, and calls `run`, which decodes what was encoded with it.
pub(crate) fn run_on_arrival(server: Server, run: impl FnOnce() -> Outcome + 'static) -> Outcome {
    let masked = os::mask_signals(); // `ipc-channel` gives up when one comes
    ON_ARRIVAL.set(Some(Box::new(move || {
        drop(masked);
        run()
    })));
    let accepted = server.accept();
    ON_ARRIVAL.take();
    let (_, Arrival(outcome)) = accepted.map_err(not_arrived)?;
    outcome
}

/// Removes what a server leaves behind if its process ends before the server is used.
pub(crate) fn remove_server(address: &str) {
    let (socket, temporary) = (Path::new(address), std::env::temp_dir());
    let folder = socket.parent().filter(|_| socket.ends_with("socket"));
    if let Some(folder) = folder.filter(|folder| folder.parent() == Some(&temporary)) {
        let _ = std::fs::remove_file(socket);
        let _ = std::fs::remove_dir(folder);
    }
}
