//! A doorbell: one side sleeps until another one, perhaps in another process, rings.
//!
//! Ringing never blocks, and ringing twice is the same as ringing once. A bell is a pipe whose write end does not block: a full
//! pipe has been rung often enough. (Windows has no pipe that does not block but can be waited for.)

use super::{AsHandle, BorrowedHandle, OwnedHandle, borrow, file_id, pipe};
#[cfg(unix)]
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use os_pipe::{PipeReader, PipeWriter};
use std::io::{self, ErrorKind, Read, Write};

/// The end that rings.
pub(crate) type Ringer = End<PipeWriter>;

/// The end that waits.
pub(crate) type Sleeper = End<PipeReader>;

/// An end of the pipe, and which file it was when it was opened here.
pub(crate) struct End<P> {
    pipe: P,
    file: (u64, u64),
}

pub(crate) fn bell() -> io::Result<(Ringer, Sleeper)> {
    let (sleeper, ringer) = pipe()?;
    #[cfg(unix)]
    fcntl(&ringer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((End::open(ringer.into())?, End::open(sleeper.into())?))
}

impl<P: From<OwnedHandle> + AsHandle> End<P> {
    /// The end that another process passed to this one.
    pub fn open(handle: OwnedHandle) -> io::Result<End<P>> {
        let file = file_id(&handle)?;
        let pipe = handle.into();
        Ok(End { pipe, file })
    }

    /// The handle to pass to another process.
    pub fn handle(&self) -> BorrowedHandle<'_> {
        borrow(&self.pipe)
    }

    /// A task may close any descriptor, or put another file in its place. Better an error than a bell that is not heard.
    fn checked(&self) -> io::Result<&P> {
        let same = file_id(&self.pipe)? == self.file;
        let error = || io::Error::new(ErrorKind::NotConnected, "its bell is another file");
        same.then_some(&self.pipe).ok_or_else(error)
    }
}

impl Ringer {
    pub fn ring(&self) -> io::Result<()> {
        match self.checked()?.write_all(&[1]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            outcome => outcome,
        }
    }
}

impl Sleeper {
    /// Waits until it is rung, or was rung since the last time.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            match self.checked()?.read(&mut [0; 64]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()), // there is no other end any more
                outcome => return outcome.map(drop),
            }
        }
    }
}
