//! Windows: pipes.

use super::{AsHandle, BorrowedHandle, check};
use os_pipe::{PipeReader, PipeWriter};
use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::ptr::{null, null_mut};
use std::thread::sleep;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::ERROR_BROKEN_PIPE;
use windows_sys::Win32::System::Pipes::{CreatePipe, PeekNamedPipe};

/// A pipe with room for what is sent ahead: the system's own size is a page.
pub(crate) fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (mut reader, mut writer) = (null_mut(), null_mut());
    // SAFETY: both places are there, and hold new handles afterwards.
    check(unsafe { CreatePipe(&mut reader, &mut writer, null(), 1 << 16) })?;
    // SAFETY: they are ours alone, the first a reading end, the second a writing one.
    Ok(unsafe { (PipeReader::from_raw_handle(reader), PipeWriter::from_raw_handle(writer)) })
}

/// Would `read` on a pipe's end not block?
///
/// Nobody else may be reading from the same pipe meanwhile: the system would let this one wait for that one.
pub(super) fn is_readable(pipe: BorrowedHandle) -> io::Result<bool> {
    let mut bytes = 0;
    // SAFETY: the handle is open, and asked for nothing but a number of bytes.
    match check(unsafe { PeekNamedPipe(pipe.as_raw_handle(), null_mut(), 0, null_mut(), &mut bytes, null_mut()) }) {
        Ok(()) => Ok(bytes > 0),
        Err(error) if error.raw_os_error() == Some(ERROR_BROKEN_PIPE as i32) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Waits until `read` on a pipe's end would not block; as [`is_readable`]. False: `timeout` is over.
pub(crate) fn wait_readable(pipe: &impl AsHandle, timeout: Duration) -> io::Result<bool> {
    // A pipe cannot be waited for; it is looked at, often at first.
    let mut pause = Duration::from_millis(1);
    let deadline = Instant::now().checked_add(timeout);
    loop {
        if is_readable(pipe.as_handle())? {
            return Ok(true);
        }
        let left = deadline.map_or(pause, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(false);
        }
        sleep(pause.min(left));
        pause = (pause + Duration::from_micros(100)).min(Duration::from_millis(10));
    }
}

/// Writes all of `bytes`. If nobody reads any more, that is an error; there are no signals here.
pub(crate) fn write_all(handle: &impl AsHandle, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: an open handle, which is not closed here.
    let file = ManuallyDrop::new(unsafe { File::from_raw_handle(handle.as_handle().as_raw_handle()) });
    (&*file).write_all(bytes)
}
