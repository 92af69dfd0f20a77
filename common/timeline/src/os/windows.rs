//! Windows.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::AsRawHandle;
use std::sync::OnceLock;
use windows_sys::Win32::System::Console::{CONSOLE_SCREEN_BUFFER_INFO, GetConsoleScreenBufferInfo};
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};

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
