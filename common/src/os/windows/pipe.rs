//! Windows: pipes.

use super::{AsHandle, check};
use os_pipe::{PipeReader, PipeWriter};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::ptr::{null, null_mut};
use windows_sys::Win32::System::Pipes::{CreatePipe, PeekNamedPipe};

/// A pipe with room for what is sent ahead: the system's own size is a page.
pub(crate) fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (mut reader, mut writer) = (null_mut(), null_mut());
    // SAFETY: both places are there, and hold new handles afterwards.
    check(unsafe { CreatePipe(&mut reader, &mut writer, null(), 1 << 16) })?;
    // SAFETY: they are ours alone, the first a reading end, the second a writing one.
    Ok(unsafe { (PipeReader::from_raw_handle(reader), PipeWriter::from_raw_handle(writer)) })
}

/// Would `read` on a pipe's end not block? (It would not at the end either, which is an error here.)
///
/// No other thread may be reading from the same pipe meanwhile: the system would let this one wait for that one.
pub(crate) fn is_readable(pipe: &impl AsHandle) -> bool {
    let (handle, mut bytes) = (pipe.as_handle().as_raw_handle(), 0);
    // SAFETY: the handle is open, and asked for nothing but a number of bytes.
    let looked = check(unsafe { PeekNamedPipe(handle, null_mut(), 0, null_mut(), &mut bytes, null_mut()) });
    looked.is_err() || bytes > 0
}
