//! Windows.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::ptr::null;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Console::{CONSOLE_SCREEN_BUFFER_INFO, GetConsoleScreenBufferInfo};
use windows_sys::Win32::System::Memory::{CreateFileMappingW, FILE_MAP_ALL_ACCESS, MapViewOfFile, PAGE_READWRITE};
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};

pub(crate) use std::os::windows::io::OwnedHandle;

/// Nanoseconds on a clock that all processes of this machine share.
pub(crate) fn monotonic() -> u64 {
    let (mut count, mut per_second) = (0, 0);
    // SAFETY: both functions write one number, to a place that is one.
    unsafe {
        QueryPerformanceCounter(&mut count);
        QueryPerformanceFrequency(&mut per_second);
    }
    (i128::from(count) * 1_000_000_000 / i128::from(per_second).max(1)) as u64
}

unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> i32;
}

static AT_EXIT: OnceLock<extern "C" fn()> = OnceLock::new();

/// Calls `function` when this process exits: at the end of `main`, or by `exit`.
pub(crate) fn at_exit(function: extern "C" fn()) {
    // At the end of `main`, C's library calls it.
    // SAFETY: `function` has the type that `atexit` asks for, is never unloaded (it belongs to the program), and does not unwind.
    unsafe { atexit(function) };
    // `std::process::exit` bypasses C's library. But the system calls the functions in this section when a thread or a
    // process begins or ends. That is the second choice, since all other threads have been stopped wherever they were.
    #[used]
    // SAFETY: the section is an array of pointers to functions of this type.
    #[unsafe(link_section = ".CRT$XLC")]
    static CALLBACK: unsafe extern "system" fn(*mut c_void, u32, *mut c_void) = leave;
    /// DLL_PROCESS_DETACH
    const PROCESS_ENDS: u32 = 0;
    unsafe extern "system" fn leave(_: *mut c_void, reason: u32, _: *mut c_void) {
        if let Some(function) = AT_EXIT.get().filter(|_| reason == PROCESS_ENDS) {
            function();
        }
    }
    let _ = AT_EXIT.set(function); // it is the same one each time
}

/// There is no `fork` here.
pub(crate) fn after_fork(_function: extern "C" fn()) {}

/// There are no such signals.
pub(crate) fn writes_fail_without_signal() {}

/// Columns of the terminal that standard error goes to; `None`: it goes elsewhere.
pub(crate) fn terminal_width() -> Option<usize> {
    let mut info = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the handle is standard error's, and `info` is what the function writes.
    let outcome = unsafe { GetConsoleScreenBufferInfo(io::stderr().as_raw_handle(), &mut info) };
    (outcome != 0)
        .then(|| usize::try_from(info.srWindow.Right - info.srWindow.Left + 1).ok())
        .flatten()
}

/// `"exit code 3"`; faults, which have numbers below 0, as they are documented: `"exit code 0xc0000005"`.
pub(crate) fn describe_exit(exitcode: i32) -> String {
    match exitcode {
        0.. => format!("exit code {exitcode}"),
        _ => format!("exit code {exitcode:#x}"),
    }
}

/// New shared memory, all zero, which is never unmapped; another process opens it with the handle.
pub(crate) fn create_shared_words(count: usize) -> io::Result<(&'static [AtomicU64], OwnedHandle)> {
    let size = count * size_of::<AtomicU64>();
    let (high, low) = ((size as u64 >> 32) as u32, size as u32);
    // SAFETY: no pointer is passed: the memory has neither a name nor a file nor special rights.
    let handle = unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, null(), PAGE_READWRITE, high, low, null()) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is not null, so it is a new handle, which nobody else closes.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    Ok((open_shared_words(&handle, count)?, handle))
}

/// The memory behind a handle from [`create_shared_words`].
pub(crate) fn open_shared_words(handle: &OwnedHandle, count: usize) -> io::Result<&'static [AtomicU64]> {
    let size = count * size_of::<AtomicU64>();
    // SAFETY: a new view where the system finds room overlaps no other memory.
    let view = unsafe { MapViewOfFile(handle.as_raw_handle(), FILE_MAP_ALL_ACCESS, 0, 0, size) };
    if view.Value.is_null() {
        return Err(io::Error::last_os_error()); // also if the memory is smaller than that
    }
    // SAFETY: the view has `count` words, since it could be made, begins at a page, is never unmapped, and is accessed only
    // as atomics, for which every bit pattern is valid.
    Ok(unsafe { std::slice::from_raw_parts(view.Value.cast(), count) })
}
