//! A doorbell: one side sleeps until another one, perhaps in another process, rings.
//!
//! Ringing never waits, and a bell that was rung twice is a bell that was rung. On Unix it is a pipe whose writing end does not
//! block, on Windows an event.

#[cfg(unix)]
use super::AsHandle;
use super::{BorrowedHandle, OwnedHandle, borrow};
use std::io;

/// The end that rings.
pub(crate) struct Ringer(End);

/// The end that waits.
pub(crate) struct Sleeper(End);

/// An open file or handle, and which one it was when it was opened here.
struct End {
    handle: OwnedHandle,
    #[cfg(unix)]
    identity: (u64, u64),
}

#[cfg(unix)]
impl End {
    fn new(handle: OwnedHandle) -> io::Result<End> {
        let identity = identity(&handle)?;
        Ok(End { handle, identity })
    }

    /// A task may close any descriptor, or put another file in its place. Better an error than a bell that nobody hears.
    fn check(&self) -> io::Result<()> {
        if identity(&self.handle)? == self.identity {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::NotConnected, "its bell is another file"))
        }
    }
}

#[cfg(unix)]
fn identity(handle: &impl AsHandle) -> io::Result<(u64, u64)> {
    let file = nix::sys::stat::fstat(handle)?;
    Ok((file.st_dev as u64, file.st_ino as u64))
}

#[cfg(windows)]
impl End {
    fn new(handle: OwnedHandle) -> io::Result<End> {
        Ok(End { handle })
    }
}

impl Ringer {
    /// The end that another process passed to this one.
    pub fn open(handle: OwnedHandle) -> io::Result<Ringer> {
        End::new(handle).map(Ringer)
    }

    /// To be passed on.
    pub fn handle(&self) -> BorrowedHandle<'_> {
        borrow(&self.0.handle)
    }
}

impl Sleeper {
    /// As [`Ringer::open`].
    pub fn open(handle: OwnedHandle) -> io::Result<Sleeper> {
        End::new(handle).map(Sleeper)
    }

    /// To be passed on.
    pub fn handle(&self) -> BorrowedHandle<'_> {
        borrow(&self.0.handle)
    }
}

#[cfg(unix)]
mod system {
    use super::*;
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::unistd::{read, write};

    pub(crate) fn bell() -> io::Result<(Ringer, Sleeper)> {
        let (sleeper, ringer) = crate::os::pipe()?;
        fcntl(&ringer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Ringer::open(ringer.into())?, Sleeper::open(sleeper.into())?))
    }

    impl Ringer {
        pub fn ring(&self) -> io::Result<()> {
            self.0.check()?;
            loop {
                match write(&self.0.handle, &[1]) {
                    Ok(_) | Err(Errno::EAGAIN) => return Ok(()), // full: it was rung often enough
                    Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    impl Sleeper {
        /// Waits until somebody rings, or has rung since the last time.
        pub fn wait(&self) -> io::Result<()> {
            self.0.check()?;
            loop {
                match read(&self.0.handle, &mut [0; 64]) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()), // nobody is left who could ring
                    Ok(_) => return Ok(()),
                    Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

#[cfg(windows)]
mod system {
    use super::*;
    use crate::os::windows::check;
    use std::os::windows::io::{AsRawHandle, FromRawHandle};
    use std::ptr::null;
    use windows_sys::Win32::Foundation::WAIT_FAILED;
    use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, SetEvent, WaitForSingleObject};

    pub(crate) fn bell() -> io::Result<(Ringer, Sleeper)> {
        // SAFETY: a new event without a name, which resets itself when a wait is over.
        let event = unsafe { CreateEventW(null(), 0, 0, null()) };
        check(i32::from(!event.is_null()))?;
        // SAFETY: a new handle, ours alone.
        let event = unsafe { OwnedHandle::from_raw_handle(event) };
        Ok((Ringer::open(event.try_clone()?)?, Sleeper::open(event)?))
    }

    impl Ringer {
        pub fn ring(&self) -> io::Result<()> {
            // SAFETY: the handle is open during the call.
            check(unsafe { SetEvent(self.0.handle.as_raw_handle()) })
        }
    }

    impl Sleeper {
        /// Waits until somebody rings, or has rung since the last time.
        pub fn wait(&self) -> io::Result<()> {
            // SAFETY: the handle is open during the call.
            match unsafe { WaitForSingleObject(self.0.handle.as_raw_handle(), INFINITE) } {
                WAIT_FAILED => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        }
    }
}

pub(crate) use system::bell;
