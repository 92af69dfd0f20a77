//! Windows: runs this program again, and finds in the new process what was passed to it.
//!
//! Whatever is *inheritable* reaches every process that this one starts at that moment. So nothing is. The new process is
//! started with nothing but the reading end of a pipe as its standard input; then its parent puts copies of the handles into
//! it, and writes into that pipe under which numbers they are there. The real standard input travels the same way. Called by
//! `crate::spawn` in the parent and by `crate::init` in the child.

use super::proc::{Parent, Process, wait_ended};
use super::{BorrowedHandle, OwnedHandle, check};
use crate::os::{BOOTSTRAP, Inherited, missing};
use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, IntoRawHandle, RawHandle};
use std::process::Command;
use std::ptr::null_mut;
use std::time::Duration;
use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, GetHandleInformation, HANDLE_FLAG_INHERIT, SetHandleInformation,
};
use windows_sys::Win32::System::Console::{
    CTRL_C_EVENT, GetConsoleMode, STD_INPUT_HANDLE, SetConsoleCtrlHandler, SetStdHandle,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// Words in the line that the parent writes, besides numbers: what the standard input is if it is not a handle to be taken
/// over. A console is opened anew; its handles are good in one process only.
const CONSOLE: &str = "console";
const NOTHING: &str = "nothing";

/// Runs this program again; as on Unix. (It gets the environment by itself.)
pub(crate) fn spawn(
    role: &str,
    pass: &[BorrowedHandle],
    stdio: &[Option<OwnedHandle>; 3],
    ignore_sigint: bool,
    _environment: env::VarsOs,
) -> io::Result<Process> {
    let [stdin, stdout, stderr] = stdio;
    let program = env::current_exe()?;
    let (read_line, write_line) = os_pipe::pipe()?;
    let mut command = Command::new(&program);
    command
        .args(env::args_os().skip(1))
        .env(BOOTSTRAP, role)
        .stdin(OwnedHandle::from(read_line));
    if let Some(given) = stdout {
        command.stdout(given.try_clone()?);
    }
    if let Some(given) = stderr {
        command.stderr(given.try_clone()?);
    }
    let child = command.spawn().map_err(|error| missing(error, &program))?;
    drop(command); // and with it our copies of the pipe ends
    let process = Process::new(child);
    // Copies of the handles are put into the new process, and it is told their numbers.
    let hand_over = || {
        let own_stdin = io::stdin();
        let stdin = stdin.as_ref().map_or(own_stdin.as_handle(), AsHandle::as_handle);
        let mut line = if stdin.as_raw_handle().is_null() {
            NOTHING.to_owned()
        } else if is_console(stdin) {
            CONSOLE.to_owned()
        } else {
            process.push(stdin)?
        };
        line = line + " " + &ignore_sigint.to_string();
        // SAFETY: a handle of this process that is always open.
        let me = unsafe { BorrowedHandle::borrow_raw(GetCurrentProcess()) };
        for &handle in [me].iter().chain(pass) {
            line = line + " " + &process.push(handle)?;
        }
        (&write_line).write_all((line + "\n").as_bytes())
    };
    let handed_over = hand_over();
    drop(write_line);
    // A process that has ended takes nothing. How it ended is reported later, as for any other that ends early.
    if handed_over.is_err() && !wait_ended(&process.handle, Duration::from_secs(1)) {
        let _ = process.kill();
        handed_over?;
    }
    Ok(process)
}

/// In a process made by [`spawn`]: what was passed to it. `Ok(None)` in any other.
pub(crate) fn inherited() -> Result<Option<Inherited>, &'static str> {
    let Ok(role) = env::var(BOOTSTRAP) else {
        return Ok(None);
    };
    // SAFETY: on Windows this is sound at any time: the system guards the environment by a lock.
    unsafe { env::remove_var(BOOTSTRAP) };
    let inherited = take_over(role);
    inherited
        .map(Some)
        .map_err(|_| "what its parent passed to it did not arrive: did the parent end?")
}

fn take_over(role: String) -> io::Result<Inherited> {
    // What `spawn` made the standard input of this process. It is never closed: C's library remembers it too, and what that
    // reads from it should be the end of a file, not bytes for another reader.
    let pipe = io::stdin();
    // SAFETY: a flag of an open handle. It goes no further.
    unsafe { SetHandleInformation(pipe.as_raw_handle(), HANDLE_FLAG_INHERIT, 0) };
    let mut line = String::new();
    File::from(pipe.as_handle().try_clone_to_owned()?).read_to_string(&mut line)?;
    let line = line.strip_suffix('\n').ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut words = line.split(' ');

    let stdin = match words.next() {
        Some(CONSOLE) => File::options().read(true).write(true).open("CONIN$")?.into_raw_handle(),
        Some(NOTHING) | None => null_mut(),
        Some(number) => take_handle(number)?.into_raw_handle(),
    };
    // SAFETY: an open handle that is never closed, or none.
    check(unsafe { SetStdHandle(STD_INPUT_HANDLE, stdin) })?;
    if words.next() == Some("true") {
        // SAFETY: `ignore_ctrl_c` can be called at any time from any thread. Children of this process do not inherit it.
        // Without a console there may be nothing to ignore, and this fails.
        let _ = unsafe { SetConsoleCtrlHandler(Some(ignore_ctrl_c), 1) };
    }
    let parent = Parent(take_handle(words.next().unwrap_or_default())?);
    let handles = words.map(take_handle).collect::<io::Result<_>>()?;
    Ok(Inherited { role, parent, handles })
}

fn take_handle(number: &str) -> io::Result<OwnedHandle> {
    let handle = number.parse::<isize>().map_err(|_| io::ErrorKind::InvalidData)? as RawHandle;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    if [stdin.as_raw_handle(), stdout.as_raw_handle(), stderr.as_raw_handle()].contains(&handle) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: a question; a number that is no handle is an error.
    check(unsafe { GetHandleInformation(handle, &mut 0) })?;
    // SAFETY: it is open, and none that this process knows otherwise: its parent made it for this process alone, and told its
    // number once.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Returns nonzero if the event has been handled.
extern "system" fn ignore_ctrl_c(event: u32) -> i32 {
    i32::from(event == CTRL_C_EVENT)
}

/// There is no tool that would show it.
pub(crate) fn show_name(_name: &str) {}

/// Nothing to do: here, standard streams are no numbers that something else could get.
pub(crate) fn fill_standard_streams() {}

impl Process {
    /// Puts a copy of `handle` into the process; returns its number there. If it is never taken, it ends with the process.
    fn push(&self, handle: BorrowedHandle) -> io::Result<String> {
        let (handle, to, mut number) = (handle.as_raw_handle(), self.handle.as_raw_handle(), null_mut());
        // SAFETY: all handles are open. The new one is another process's: here it is a number.
        check(unsafe {
            let me = GetCurrentProcess();
            DuplicateHandle(me, handle, to, &mut number, 0, 0, DUPLICATE_SAME_ACCESS)
        })?;
        Ok((number as isize).to_string())
    }
}

fn is_console(handle: BorrowedHandle) -> bool {
    let mut mode = 0;
    // SAFETY: an open handle, and a place for the answer.
    unsafe { GetConsoleMode(handle.as_raw_handle(), &mut mode) != 0 }
}
