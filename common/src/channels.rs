//! Ends of `ipc-channel` among a process's arguments.
//!
//! A channel's end is not bytes: it is a descriptor, and `ipc-channel` can hand it over only in a message of its own. When
//! serde meets one, the crate puts the descriptor aside (for this thread) and writes its place in that list. The next message
//! that this thread sends over any of its channels takes the list along.
//!
//! So: encode the arguments, and see how long the list has become. It is empty nearly always, and the bytes go through the
//! ordinary pipe. If it is not, the child opens a one-shot server and tells its address; the message goes there. The child
//! is the server, because `accept` has no time limit: a child that waits for a dead parent can be ended by its lifeline,
//! a parent that waits for a dead child would hang.

use crate::error::Error;
use crate::function::{self, Fault, encode_into};
use crate::sys::CodeRef;
use ipc_channel::ipc::{self, IpcOneShotServer, IpcSender};
use os_pipe::PipeWriter;
use serde::{Deserialize, Deserializer, Serialize};
use std::any::type_name;
use std::cell::Cell;

/// Encoded arguments. While it lives, its thread's list is in use.
pub(crate) struct Arguments {
    bytes: Vec<u8>,
    /// How many channels are among them, encoded as a place in the list.
    place: Vec<u8>,
    /// Shared memory has a list of its own, which cannot be looked at without making some.
    shared_memory: bool,
    /// A sender without a receiver. `None`: there cannot be channels among them.
    dead: Option<IpcSender<()>>,
}

/// Encodes arguments. `what` names them in an error.
pub(crate) fn encode<T: Serialize>(value: &T, what: impl Fn() -> String) -> Result<Arguments, Error> {
    let mut arguments = Arguments {
        bytes: Vec::new(),
        place: Vec::new(),
        shared_memory: false,
        dead: None,
    };
    if !is_plain(type_name::<T>()) {
        let (dead, _) = ipc::channel().map_err(|error| Error::start("a channel", error))?;
        arguments.dead = Some(dead);
        arguments.shared_memory = type_name::<T>().contains("IpcSharedMemory");
        arguments.empty_the_list(); // a message of the program's own that failed may have left something there
    }
    encode_into(value, &mut arguments.bytes).map_err(|error| Error::encode(what(), error))?;
    if let Some(dead) = &arguments.dead {
        // The next place in the list is the number of channels that are there already.
        encode_into(dead, &mut arguments.place).map_err(|error| Error::encode(what(), error))?;
    }
    Ok(arguments)
}

/// Does this type's name consist of the standard library's types alone? Then there is no channel in it, and no need to make
/// one to find that out.
fn is_plain(type_name: &str) -> bool {
    let path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    type_name.split(|letter| !path(letter)).all(|word| {
        let library = ["alloc::", "core::", "std::"]
            .iter()
            .any(|library| word.starts_with(library));
        let number = word
            .trim_start_matches(['u', 'i', 'f'])
            .trim_end_matches("size")
            .chars()
            .all(|d| d.is_ascii_digit());
        library || number || matches!(word, "bool" | "char" | "str")
    })
}

/// Encodes arguments that may be decoded more than once: they must not have channels among them.
pub(crate) fn encode_plain<T: Serialize>(value: &T, what: &str) -> Result<Vec<u8>, Error> {
    let mut arguments = encode(value, || what.to_owned())?;
    if arguments.have_channels() {
        let message = "there are ends of channels among them; give those to a Process".to_owned();
        return Err(Error::Encode {
            what: what.to_owned(),
            message,
        });
    }
    Ok(std::mem::take(&mut arguments.bytes))
}

impl Arguments {
    pub fn have_channels(&self) -> bool {
        self.dead.is_some() && (self.place != [0] || self.shared_memory)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends the arguments, with their channels, to the address that the child told.
    pub fn send_to(&self, address: String) -> Result<(), Error> {
        let server = IpcSender::connect(address).map_err(|error| Error::start("a channel to a new process", error))?;
        // A child that ended meanwhile: `join` tells how.
        let _ = server.send(Parcel {
            arguments: self.bytes.clone(),
            place: self.place.clone(),
        });
        Ok(())
    }

    /// A message that fails takes the list along, and drops it.
    fn empty_the_list(&self) {
        if let Some(dead) = &self.dead {
            let _ = dead.send(());
        }
    }
}

impl Drop for Arguments {
    fn drop(&mut self) {
        self.empty_the_list();
    }
}

/// The message with the channels.
#[derive(Serialize, Deserialize)]
struct Parcel {
    arguments: Vec<u8>,
    place: Vec<u8>,
}

/// What a target left: its verdict and its encoded result.
pub(crate) type Outcome = (Result<(), Box<Fault>>, Vec<u8>);

thread_local! {
    static ENTRY: Cell<Option<CodeRef>> = const { Cell::new(None) };
    static OUTCOME: Cell<Option<Outcome>> = const { Cell::new(None) };
}

/// A [`Parcel`] on its arrival. The channels in it can be found only while it is being decoded, so that is when the target
/// is called.
struct Arrival;

impl Serialize for Arrival {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit() // `ipc-channel` wants both directions; this one is never taken
    }
}

impl<'de> Deserialize<'de> for Arrival {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Arrival, D::Error> {
        let parcel = Parcel::deserialize(deserializer)?;
        // The last place in the list is the dead sender's.
        let dead = postcard::from_bytes::<IpcSender<()>>(&parcel.place).map_err(serde::de::Error::custom)?;
        drop(dead);
        if let Some(entry) = ENTRY.take() {
            let mut result = Vec::new();
            // SAFETY: `run_with_channels` vouches for it.
            let verdict = unsafe { function::run(entry, &parcel.arguments, &mut result) };
            OUTCOME.set(Some((verdict, result)));
        }
        Ok(Arrival)
    }
}

/// On most systems, a server is a socket in the temporary directory. Its address has room for 107 bytes, and a longer one is
/// cut in silence; and where there is no such directory, `ipc-channel` panics instead of saying so.
fn open_server() -> Result<(IpcOneShotServer<Arrival>, String), String> {
    const ROOM: usize = 107 - "/.tmpXXXXXX/socket".len();
    let folder = std::env::temp_dir();
    if cfg!(all(unix, not(target_vendor = "apple"))) && folder.as_os_str().len() > ROOM {
        return Err(format!(
            "the name of the temporary directory {} is too long for a socket",
            folder.display()
        ));
    }
    std::panic::catch_unwind(IpcOneShotServer::<Arrival>::new)
        .map_err(|_| {
            format!(
                "a socket cannot be made in the temporary directory {}",
                folder.display()
            )
        })?
        .map_err(|error| error.to_string())
}

/// In the child: tells its address, waits for the arguments there, and runs the target with them.
///
/// # Safety
///
/// As [`CodeRef::call`].
pub(crate) unsafe fn run_with_channels(to_parent: &mut PipeWriter, entry: CodeRef) -> Result<Outcome, String> {
    let server = open_server();
    // No address: nothing is to be sent.
    let address = server.as_ref().map_or("", |(_, address)| address.as_str());
    crate::child::write_block(to_parent, &[address.as_bytes()]).map_err(|error| error.to_string())?;
    let (server, _) = server?;
    ENTRY.set(Some(entry));
    let arrived = server.accept().map_err(|error| error.to_string());
    OUTCOME.take().ok_or_else(|| arrived.err().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_types_of_the_standard_library_are_plain() {
        struct Mine;
        assert!(is_plain(type_name::<()>()));
        assert!(is_plain(type_name::<(u8, i128, usize, isize, f64, bool, char, &str)>()));
        assert!(is_plain(
            type_name::<(Vec<Option<String>>, [u8; 3], std::time::Duration)>()
        ));
        assert!(is_plain(type_name::<std::collections::BTreeMap<String, Box<[u64]>>>()));
        assert!(!is_plain(type_name::<Mine>()));
        assert!(!is_plain(type_name::<(u8, Vec<IpcSender<u8>>)>()));
        assert!(!is_plain(type_name::<Option<ipc::IpcSharedMemory>>()));
    }
}
