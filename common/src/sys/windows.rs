//! Windows: `CreateProcess` (by way of std), `DuplicateHandle`, `TerminateProcess`, `MapViewOfFile`.
//!
//! How handles reach a new process: whatever is *inheritable* reaches every process that anybody here starts at that moment.
//! So nothing is. The new process is started with nothing but the reading end of a pipe as its standard input; then its
//! parent puts copies of the handles into it, and writes into that pipe under which numbers they are there. The real
//! standard input travels the same way.

use super::{Exit, Launch, say_if_moved};
use os_pipe::{PipeReader, PipeWriter};
use std::env;
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsRawHandle, FromRawHandle, IntoRawHandle, RawHandle};
use std::process::{Child, Command};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_BROKEN_PIPE, HANDLE_FLAG_INHERIT, INVALID_HANDLE_VALUE,
    SetHandleInformation, WAIT_FAILED, WAIT_OBJECT_0,
};
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, CTRL_C_EVENT, GetConsoleMode, GetConsoleScreenBufferInfo, STD_INPUT_HANDLE,
    SetConsoleCtrlHandler, SetStdHandle,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_ALL_ACCESS, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile,
};
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, INFINITE, PROCESS_SYNCHRONIZE, TerminateProcess, WaitForSingleObject,
};

pub(crate) use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};

/// The same method has another name on Unix.
pub(crate) fn borrow(handle: &impl AsHandle) -> BorrowedHandle<'_> {
    handle.as_handle()
}

/// The environment variable that tells a new process what it is. `inherited` takes it away again, so that it does not reach
/// anybody else.
const HAND_OVER: &str = "COMMON_HAND_OVER";

/// Words in the line that the parent writes, besides numbers: what the standard input is if it is not a handle to be taken
/// over. A console is opened anew; its handles are good in one process only.
const CONSOLE: &str = "console";
const NOTHING: &str = "nothing";
/// And whether Ctrl-C is for the new process.
const SHIELDED: &str = "shielded";
const OPEN: &str = "open";

/// Runs this program again.
pub(crate) fn spawn(launch: &Launch) -> io::Result<Proc> {
    let program = env::current_exe()?;
    let (read_line, write_line) = os_pipe::pipe()?;
    let mut command = Command::new(&program);
    command
        .args(env::args_os().skip(1))
        .env(HAND_OVER, launch.role)
        .stdin(OwnedHandle::from(read_line));
    if let Some(given) = &launch.stdio[1] {
        command.stdout(given.try_clone()?);
    }
    if let Some(given) = &launch.stdio[2] {
        command.stderr(given.try_clone()?);
    }
    let child = command.spawn().map_err(|error| say_if_moved(error, &program))?;
    drop(command); // and with it our copies of the pipe ends
    let process = Proc {
        handle: child.as_handle().try_clone_to_owned()?,
        child: Mutex::new(child),
    };
    let handed_over = process.hand_over(launch, write_line);
    // A process that has ended takes nothing. How it ended is told later, as of any other that ends early.
    if handed_over.is_err() && !process.ends_within(Duration::from_secs(1)) {
        let _ = process.kill();
        handed_over?;
    }
    Ok(process)
}

/// In a process made by [`spawn`]: its role and what was passed to it (nothing, if its parent ended meanwhile). In any other: `None`.
pub(crate) fn inherited() -> Option<(String, Vec<OwnedHandle>)> {
    let role = env::var(HAND_OVER).ok()?;
    // SAFETY: on Windows this is sound at any time: the system guards the environment by a lock.
    unsafe { env::remove_var(HAND_OVER) };
    Some((role, take_over().unwrap_or_default()))
}

fn take_over() -> io::Result<Vec<OwnedHandle>> {
    let pipe = io::stdin().as_raw_handle();
    // SAFETY: it is what `spawn` made the standard input of this process, which has just begun. It is never closed: C's
    // library remembers it too, and what that reads from it should be the end of a file, not somebody else's bytes.
    let mut pipe = ManuallyDrop::new(unsafe { File::from_raw_handle(pipe) });
    // SAFETY: a flag of an open handle. It goes no further.
    unsafe { SetHandleInformation(pipe.as_raw_handle(), HANDLE_FLAG_INHERIT, 0) };
    let mut line = String::new();
    pipe.read_to_string(&mut line)?;
    let line = line.strip_suffix('\n').ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut words = line.split(' ');

    let stdin = match words.next() {
        Some(CONSOLE) => File::options().read(true).write(true).open("CONIN$")?.into_raw_handle(),
        Some(NOTHING) | None => null_mut(),
        Some(number) => take_handle(number)?.into_raw_handle(),
    };
    // SAFETY: an open handle that nobody closes, or none.
    check(unsafe { SetStdHandle(STD_INPUT_HANDLE, stdin) })?;
    if words.next() == Some(SHIELDED) {
        // SAFETY: `ignore_ctrl_c` can be called at any time from any thread. Children of this process do not inherit it.
        // Without a console there may be nothing to ignore, and this fails.
        let _ = unsafe { SetConsoleCtrlHandler(Some(ignore_ctrl_c), 1) };
    }
    words.map(take_handle).collect()
}

fn take_handle(number: &str) -> io::Result<OwnedHandle> {
    let number: isize = number.parse().map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the parent made this handle for this process alone, and told its number once: nobody else takes it.
    Ok(unsafe { OwnedHandle::from_raw_handle(number as RawHandle) })
}

/// True: this event is dealt with.
extern "system" fn ignore_ctrl_c(event: u32) -> i32 {
    i32::from(event == CTRL_C_EVENT)
}

/// What a function of the system says of its success: 0 is failure.
fn check(outcome: i32) -> io::Result<()> {
    if outcome == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The executable pages, of the loaded file around it, that `address` lies in.
pub(super) fn code_around(address: usize) -> Option<std::ops::Range<usize>> {
    use windows_sys::Win32::System::Memory::{MEMORY_BASIC_INFORMATION, VirtualQuery};
    let query = |address: usize| {
        // SAFETY: numbers, which may all be 0.
        let mut pages: MEMORY_BASIC_INFORMATION = unsafe { std::mem::zeroed() };
        // SAFETY: the place for the answer is there, and as large as said. The address is not followed.
        let length = unsafe { VirtualQuery(address as *const c_void, &mut pages, size_of_val(&pages)) };
        (length > 0).then_some(pages)
    };
    let around = query(address)?;
    // What it tells of an address begins at that address's page: the pages before it are looked for from the file's start.
    let mut start = around.AllocationBase as usize;
    loop {
        let pages = query(start)?;
        let end = start + pages.RegionSize;
        if (start..end).contains(&address) {
            return Some(start..end);
        }
        start = end;
    }
}

/// There is no tool that would show it.
pub(crate) fn show_name(_name: &str) {}

/// The file at the program's path may be another one by now: its size and date tell.
pub(crate) fn program_fingerprint() -> u64 {
    use std::os::windows::fs::MetadataExt;
    let file = env::current_exe().and_then(std::fs::metadata);
    file.map_or(0, |file| file.file_size() ^ file.last_write_time().rotate_left(32))
}

/// Nothing to do: here, standard streams are no numbers that something else could get.
pub(crate) fn fill_standard_streams() {}

/// How many bytes a pipe takes without a reader; 0: not known.
pub(crate) fn pipe_capacity(_: &impl AsHandle) -> usize {
    0
}

/// Ends this process at once: no destructor, no `atexit`, which might wait for a lock that a busy thread holds.
pub(crate) fn die() -> ! {
    // SAFETY: this process's own handle; it does not come back from here.
    unsafe { TerminateProcess(GetCurrentProcess(), KILLED) };
    std::process::abort();
}

/// Exit code of a killed process.
const KILLED: u32 = 1;

/// A pipe with room for what is sent ahead: the system's own size is a page.
pub(crate) fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (mut reader, mut writer) = (null_mut(), null_mut());
    // SAFETY: both places are there, and hold new handles afterwards.
    check(unsafe { windows_sys::Win32::System::Pipes::CreatePipe(&mut reader, &mut writer, null(), 1 << 16) })?;
    // SAFETY: they are ours alone, the first a reading end, the second a writing one.
    Ok(unsafe { (PipeReader::from_raw_handle(reader), PipeWriter::from_raw_handle(writer)) })
}

/// What tells another process of this one's end: a handle of this process that is good for waiting only. Nothing has to be
/// kept for that. (A pipe would not do: the system lets whoever looks at it wait for whoever is reading from it.)
pub(crate) fn lifeline() -> io::Result<(OwnedHandle, Option<OwnedHandle>)> {
    let mut handle = null_mut();
    // SAFETY: a handle that is always there, and a place for the new one.
    check(unsafe {
        let me = GetCurrentProcess();
        DuplicateHandle(me, me, me, &mut handle, PROCESS_SYNCHRONIZE, 0, 0)
    })?;
    // SAFETY: a new handle, ours alone.
    Ok((unsafe { OwnedHandle::from_raw_handle(handle) }, None))
}

/// Waits until the process behind a [`lifeline`] has ended. False: `timeout` is over.
pub(crate) fn wait_ended(lifeline: &OwnedHandle, timeout: Duration) -> io::Result<bool> {
    // The longest time stands for ever.
    let millis = timeout.as_nanos().div_ceil(1_000_000).min(u128::from(INFINITE)) as u32;
    // SAFETY: the handle is open during the call.
    match unsafe { WaitForSingleObject(lifeline.as_raw_handle(), millis) } {
        WAIT_OBJECT_0 => Ok(true),
        WAIT_FAILED => Err(io::Error::last_os_error()),
        _ => Ok(false),
    }
}

/// Waits until `read` on a pipe's end would not block. False: `timeout` is over.
///
/// Nobody else may be reading from the same pipe meanwhile: the system would let this one wait for that one.
pub(crate) fn wait_readable(pipe: &impl AsHandle, timeout: Duration) -> io::Result<bool> {
    // A pipe cannot be waited for; it is looked at, often at first.
    let mut pause = Duration::from_millis(1);
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let mut bytes = 0;
        let pipe = pipe.as_handle().as_raw_handle();
        // SAFETY: the handle is open, and asked for nothing but a number of bytes.
        match check(unsafe { PeekNamedPipe(pipe, null_mut(), 0, null_mut(), &mut bytes, null_mut()) }) {
            Ok(()) if bytes > 0 => return Ok(true),
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(ERROR_BROKEN_PIPE as i32) => return Ok(true),
            Err(error) => return Err(error),
        }
        let left = deadline.map_or(pause, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(false);
        }
        sleep(pause.min(left));
        pause = (pause + Duration::from_micros(100)).min(Duration::from_millis(10));
    }
}

/// Nanoseconds on a clock that all processes of this machine share.
pub(crate) fn monotonic() -> u64 {
    let (mut count, mut per_second) = (0, 0);
    // SAFETY: both places are there; this cannot fail.
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

/// Calls `function` when this process leaves by itself: at the end of `main`, or by `exit`.
pub(crate) fn at_exit(function: extern "C" fn()) {
    // At the end of `main`, C's library calls it.
    // SAFETY: the function is there as long as the program is, and `extern "C"` functions do not unwind.
    unsafe { atexit(function) };
    // `std::process::exit` does not go that way. But the system calls the functions in this section when a thread or a process
    // begins or ends: then it is the second choice, since all other threads have been stopped wherever they were.
    #[used]
    // SAFETY: a pointer to a function of the type that belongs there.
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
pub(crate) struct TellsOfMyEnd;
pub(crate) const ANSWERS: TellsOfMyEnd = TellsOfMyEnd;
pub(crate) const LIFELINE: TellsOfMyEnd = TellsOfMyEnd;

impl TellsOfMyEnd {
    pub fn set(&self, _pipe: &impl AsHandle) {}
    pub fn clear(&self, _pipe: &impl AsHandle) {}
}

/// As above.
pub(crate) struct NoFork(());

impl NoFork {
    pub fn wait() -> NoFork {
        NoFork(())
    }
}

/// As above.
pub(crate) fn after_fork(_function: extern "C" fn()) {}

/// How many columns the terminal has at which the standard error goes. `None`: it goes elsewhere.
pub(crate) fn terminal_width() -> Option<usize> {
    // SAFETY: plain numbers, which may all be 0.
    let mut info: CONSOLE_SCREEN_BUFFER_INFO = unsafe { std::mem::zeroed() };
    // SAFETY: the handle is the standard error's, and the place for the answer is there.
    let outcome = unsafe { GetConsoleScreenBufferInfo(io::stderr().as_raw_handle(), &mut info) };
    check(outcome).ok()?;
    usize::try_from(info.srWindow.Right - info.srWindow.Left + 1).ok()
}

/// A process that this one started. While it is held, nobody else gets its number.
pub(crate) struct Proc {
    child: Mutex<Child>,
    /// The same process, for waiting without the lock.
    handle: OwnedHandle,
}

impl Proc {
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// How it ended, if it did.
    pub fn try_wait(&self) -> Option<Exit> {
        let mut child = self.child.lock().unwrap();
        match child.try_wait() {
            Ok(status) => Some(Exit::Code(status?.code()?)), // the system's codes for faults are exit codes too
            Err(_) => Some(Exit::Unknown),
        }
        .inspect(|&exit| crate::timeline::ended(child.id(), exit))
    }

    /// Waits for its end. Other threads can still kill it meanwhile: the lock is not held.
    pub fn wait(&self) -> Exit {
        loop {
            if let Some(exit) = self.try_wait() {
                return exit;
            }
            self.ends_within(Duration::MAX);
        }
    }

    fn ends_within(&self, time: Duration) -> bool {
        matches!(wait_ended(&self.handle, time), Ok(true))
    }

    /// There is no polite request on Windows.
    pub fn terminate(&self) -> io::Result<()> {
        self.kill()
    }

    /// Exit code 1. Nothing happens to a process that has ended.
    pub fn kill(&self) -> io::Result<()> {
        let outcome = self.child.lock().unwrap().kill();
        match outcome {
            Err(error) if !self.ends_within(Duration::from_secs(1)) => Err(error),
            _ => Ok(()), // one that is just ending refuses
        }
    }

    /// Gives the new process what is meant for it, and tells it where that is.
    fn hand_over(&self, launch: &Launch, mut line: PipeWriter) -> io::Result<()> {
        let own_stdin = io::stdin();
        let stdin = match &launch.stdio[0] {
            Some(given) => given.as_handle(),
            None => own_stdin.as_handle(),
        };
        let mut text = if stdin.as_raw_handle().is_null() {
            NOTHING.to_owned()
        } else if is_console(stdin) {
            CONSOLE.to_owned()
        } else {
            self.push(stdin)?
        };
        text = text + " " + if launch.shielded { SHIELDED } else { OPEN };
        for &handle in launch.pass {
            text = text + " " + &self.push(handle)?;
        }
        line.write_all((text + "\n").as_bytes())
    }

    /// Puts a copy of `handle` into the process; returns its number there. If it is never taken, it ends with the process.
    fn push(&self, handle: BorrowedHandle) -> io::Result<String> {
        let mut number = null_mut();
        // SAFETY: all handles are open. The new one is another process's: here it is a number.
        check(unsafe {
            let (from, to) = (GetCurrentProcess(), self.handle.as_raw_handle());
            DuplicateHandle(
                from,
                handle.as_raw_handle(),
                to,
                &mut number,
                0,
                0,
                DUPLICATE_SAME_ACCESS,
            )
        })?;
        Ok((number as isize).to_string())
    }
}

fn is_console(handle: BorrowedHandle) -> bool {
    let mut mode = 0;
    // SAFETY: an open handle, and a place for the answer.
    unsafe { GetConsoleMode(handle.as_raw_handle(), &mut mode) != 0 }
}

/// Pages that several processes see.
pub(super) struct Mapping {
    view: MEMORY_MAPPED_VIEW_ADDRESS,
}

// SAFETY: it is a piece of memory, owned alone; who reads and writes in it is the matter of `Board`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub fn create(length: usize) -> io::Result<(Mapping, OwnedHandle)> {
        let (high, low) = ((length as u64 >> 32) as u32, length as u32);
        // SAFETY: new memory without a name or a file.
        let handle = unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, null(), PAGE_READWRITE, high, low, null()) };
        check(i32::from(!handle.is_null()))?;
        // SAFETY: a new handle, ours alone.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        Ok((Mapping::view(&handle, length)?, handle))
    }

    pub fn open(handle: OwnedHandle, length: usize) -> io::Result<Mapping> {
        Mapping::view(&handle, length) // the view keeps the memory; the handle is not needed any more
    }

    fn view(handle: &OwnedHandle, length: usize) -> io::Result<Mapping> {
        // SAFETY: a new view at an address that the system chooses touches no other memory.
        let view = unsafe { MapViewOfFile(handle.as_raw_handle(), FILE_MAP_ALL_ACCESS, 0, 0, length) };
        check(i32::from(!view.Value.is_null()))?;
        Ok(Mapping { view })
    }

    pub fn start(&self) -> *const u8 {
        self.view.Value.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the view is ours, and every reference into it borrows from `self`.
        unsafe { UnmapViewOfFile(self.view) };
    }
}
