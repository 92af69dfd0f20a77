//! Linux, macOS, FreeBSD: `posix_spawn`, `waitid`, `kill`, `mmap`.

use super::{Exit, Launch, say_if_moved};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::env;
use std::ffi::{CString, OsStr, OsString, c_void};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::time::Duration;

pub(crate) use std::os::fd::{AsFd as AsHandle, BorrowedFd as BorrowedHandle, OwnedFd as OwnedHandle};

/// The same method has another name on Windows.
pub(crate) fn borrow(handle: &impl AsHandle) -> BorrowedHandle<'_> {
    handle.as_fd()
}

/// The environment variable that tells a new process what it is: its role, then the numbers of the descriptors passed to it.
/// `inherited` takes it away again, so that it does not reach anybody else.
const HAND_OVER: &str = "COMMON_HAND_OVER";

/// Runs this program again, by `posix_spawn`: no copy of this process is made, so its size does not matter, and exactly the
/// descriptors in `launch.pass` arrive, whatever other threads are starting at the same moment.
pub(crate) fn spawn(launch: &Launch) -> io::Result<Proc> {
    let mut actions = PosixSpawnFileActions::init()?;
    let mut reserved = Vec::new();
    let mut hand_over = OsString::from(format!("{HAND_OVER}={}", launch.role));
    for passed in launch.pass {
        // The copy closes itself on exec. What the child gets is a copy of the original under the number of this copy:
        // a number that is surely free there.
        let copy = passed.try_clone_to_owned()?;
        actions.add_dup2(passed.as_raw_fd(), copy.as_raw_fd())?;
        hand_over.push(format!(" {}", copy.as_raw_fd()));
        reserved.push(copy);
    }
    for (target, given) in launch.stdio.iter().enumerate() {
        if let Some(given) = given {
            // A copy has a number above 2, so that no standard stream is overwritten before it was copied. What is passed
            // was copied already: in a program that was started without standard streams, it may have their numbers.
            let copy = given.try_clone()?;
            actions.add_dup2(copy.as_raw_fd(), target as RawFd)?;
            reserved.push(copy);
        }
    }
    let mut attributes = PosixSpawnAttr::init()?;
    let mut mask = SigSet::empty();
    if launch.shielded {
        mask.add(Signal::SIGINT);
    }
    attributes.set_sigmask(&mask)?;
    attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;

    let mut environment = vec![c_string(hand_over)?];
    for (name, value) in env::vars_os().filter(|(name, _)| name != HAND_OVER) {
        let mut pair = OsString::with_capacity(name.len() + value.len() + 2); // with `=` and the final zero
        pair.push(name);
        pair.push("=");
        pair.push(value);
        environment.push(c_string(pair)?);
    }
    let mut own = own_arguments().into_iter();
    let mut arguments = vec![c_string(title(own.next().unwrap_or_default(), launch.name))?];
    for argument in own {
        arguments.push(c_string(argument)?);
    }
    let program = program()?;
    #[cfg(target_vendor = "apple")]
    let _guard = PIPES_ARE_MARKED.lock().unwrap();
    let pid = posix_spawn(program.as_os_str(), &actions, &attributes, &arguments, &environment)
        .map_err(|error| say_if_moved(error.into(), &program))?;
    Ok(Proc {
        pid,
        exit: Mutex::new(None),
    })
}

fn c_string(text: OsString) -> io::Result<CString> {
    CString::new(text.into_vec()).map_err(io::Error::from)
}

/// What this program was called with. Before `main`, where a child of a test lives, some C libraries (musl) do not tell Rust.
fn own_arguments() -> Vec<OsString> {
    let told: Vec<_> = env::args_os().collect();
    if !told.is_empty() || !cfg!(target_os = "linux") {
        return told;
    }
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = line.strip_suffix(&[0]).map(|line| line.split(|&byte| byte == 0));
    words
        .into_iter()
        .flatten()
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect()
}

/// `03-pool: PoolWorker-1`, what `ps` shows, after the custom of servers that name their processes.
fn title(own: OsString, name: &str) -> OsString {
    let own = own.as_bytes();
    let program = own
        .windows(2)
        .position(|pair| pair == b": ")
        .map_or(own, |end| &own[..end]);
    let mut title = OsStr::from_bytes(program).to_owned();
    title.push(format!(": {}", name.replace('\0', " ")));
    title
}

/// The file to run. On Linux it is the one that this process was started from, even if it was replaced or deleted since.
fn program() -> io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    env::current_exe()
}

/// The executable segment, of the loaded file around it, that `address` lies in.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn code_around(address: usize) -> Option<std::ops::Range<usize>> {
    use nix::libc::{PF_X, PT_LOAD, dl_iterate_phdr, dl_phdr_info, size_t};
    struct Search(usize, Option<std::ops::Range<usize>>);
    unsafe extern "C" fn look(file: *mut dl_phdr_info, _: size_t, search: *mut c_void) -> std::ffi::c_int {
        // SAFETY: `dl_iterate_phdr` passes a description that is valid during this call, and what it was given.
        let (file, search) = unsafe { (&*file, &mut *search.cast::<Search>()) };
        for number in 0..usize::from(file.dlpi_phnum) {
            // SAFETY: so many headers there are.
            let header = unsafe { &*file.dlpi_phdr.add(number) };
            let start = (file.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
            let segment = start..start.wrapping_add(header.p_memsz as usize);
            if header.p_type == PT_LOAD && header.p_flags & PF_X != 0 && segment.contains(&search.0) {
                search.1 = Some(segment);
            }
        }
        0
    }
    let mut search = Search(address, None);
    // SAFETY: `look` is called before this returns, with the address of `search`.
    unsafe { dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.1
}

/// The text segment, of the loaded file around it, that `address` lies in.
#[cfg(target_vendor = "apple")]
pub(super) fn code_around(address: usize) -> Option<std::ops::Range<usize>> {
    use nix::libc::{Dl_info, dladdr};
    unsafe extern "C" {
        fn getsegmentdata(header: *const c_void, name: *const std::ffi::c_char, size: *mut u64) -> *const u8;
    }
    // SAFETY: pointers and numbers, which may all be 0.
    let mut file: Dl_info = unsafe { std::mem::zeroed() };
    let mut size = 0;
    // SAFETY: the place for the answer is there. If there is an answer, it names the header of a loaded file.
    let start = unsafe {
        if dladdr(address as *const c_void, &mut file) == 0 {
            return None;
        }
        getsegmentdata(file.dli_fbase, c"__TEXT".as_ptr(), &mut size)
    } as usize;
    Some(start..start + size as usize).filter(|segment| segment.contains(&address))
}

/// A program that was started without standard streams must not take them for the first files that it opens. Rust's standard
/// library sees to that before `main`; this is for what runs earlier.
pub(crate) fn fill_standard_streams() {
    let null = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    // A new descriptor has the lowest number that is free.
    while let Ok(file) = null() {
        if file.as_raw_fd() > 2 {
            break;
        }
        std::mem::forget(file);
    }
}

/// In a process made by [`spawn`]: its role and what was passed to it. In any other: `None`.
pub(crate) fn inherited() -> Option<(String, Vec<OwnedHandle>)> {
    let hand_over = env::var(HAND_OVER).ok()?;
    // SAFETY: nobody may read the environment meanwhile. This runs in `init`, the first statement of `main` or earlier, in
    // a process made by `spawn`: it has one thread yet.
    unsafe { env::remove_var(HAND_OVER) };
    withstand_interrupts();
    let mut words = hand_over.split(' ');
    let role = words.next().unwrap_or_default().to_owned();
    // Without its descriptors it has no role. It must not take itself for its parent either.
    let handles: Option<Vec<OwnedHandle>> = words.map(take_descriptor).collect();
    Some(handles.map_or((String::new(), Vec::new()), |handles| (role, handles)))
}

/// `None`: there is no such descriptor.
fn take_descriptor(number: &str) -> Option<OwnedHandle> {
    let number: RawFd = number.parse().ok()?;
    nix::fcntl::fcntl(
        // SAFETY: only looked at during the call; a number that is not open is an error.
        unsafe { BorrowedHandle::borrow_raw(number) },
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )
    .ok()?;
    // SAFETY: `spawn` made this descriptor for this process alone, and the variable that names it is gone: nobody else
    // takes it.
    Some(unsafe { OwnedHandle::from_raw_fd(number) })
}

/// In a process that was started with SIGINT blocked: lets it come, and does nothing then. Programs that this process starts
/// have the default again, as after any `exec`; a signal that is blocked or ignored would stay so in them.
fn withstand_interrupts() {
    let shielded = SigSet::thread_get_mask().is_ok_and(|mask| mask.contains(Signal::SIGINT));
    if shielded {
        extern "C" fn nothing(_: std::ffi::c_int) {}
        let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: a handler that does nothing does nothing unsafe.
        let _ = unsafe { sigaction(Signal::SIGINT, &action) }; // it fails for numbers that are no signal
        let _ = SigSet::from(Signal::SIGINT).thread_unblock();
    }
}

/// Shows `name` in `ps` and `top` (Linux: the first 15 bytes).
pub(crate) fn show_name(name: &str) {
    #[cfg(target_os = "linux")]
    if let Ok(name) = CString::new(name.replace('\0', " ")) {
        let _ = nix::sys::prctl::set_name(&name); // an ornament
    }
    #[cfg(not(target_os = "linux"))]
    let _ = name; // the title given by `spawn` shows it
}

/// Linux runs the file that this process came from, whatever lies at its path now; elsewhere, its size and date tell.
pub(crate) fn program_fingerprint() -> u64 {
    #[cfg(not(target_os = "linux"))]
    {
        use std::os::unix::fs::MetadataExt;
        if let Ok(file) = env::current_exe().and_then(std::fs::metadata) {
            return file.len() ^ (file.mtime() as u64).rotate_left(20) ^ (file.mtime_nsec() as u64).rotate_left(40);
        }
    }
    0
}

/// How many bytes a pipe takes without a reader; 0: not known.
pub(crate) fn pipe_capacity(pipe: &impl AsHandle) -> usize {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Ok(capacity) = nix::fcntl::fcntl(pipe.as_fd(), nix::fcntl::FcntlArg::F_GETPIPE_SZ) {
        return capacity as usize;
    }
    let _ = pipe;
    0
}

/// Ends this process at once: no destructor, no `atexit`, which might wait for a lock that a busy thread holds.
pub(crate) fn die() -> ! {
    let _ = kill(Pid::this(), Signal::SIGKILL);
    std::process::abort();
}

#[cfg(not(target_vendor = "apple"))]
pub(crate) use os_pipe::pipe;

/// Held while a pipe is made and while a process is started. On macOS every new process inherits a pipe until, a moment
/// after it was made, its ends are marked: no process must begin in between, or it would keep them open.
#[cfg(target_vendor = "apple")]
static PIPES_ARE_MARKED: Mutex<()> = Mutex::new(());

#[cfg(target_vendor = "apple")]
pub(crate) fn pipe() -> io::Result<(os_pipe::PipeReader, os_pipe::PipeWriter)> {
    let _guard = PIPES_ARE_MARKED.lock().unwrap();
    os_pipe::pipe()
}

/// What tells another process of this one's end, and what this one has to keep for that: a pipe through which nothing is
/// ever sent. Its reading end sees the end when the last writing end is closed: see [`LIFELINE`].
pub(crate) fn lifeline() -> io::Result<(OwnedHandle, Option<OwnedHandle>)> {
    let (reader, writer) = pipe()?;
    Ok((reader.into(), Some(writer.into())))
}

/// Waits until the process behind a [`lifeline`] has ended. False: `timeout` is over.
pub(crate) fn wait_ended(lifeline: &OwnedHandle, timeout: Duration) -> io::Result<bool> {
    wait_readable(lifeline, timeout)
}

/// Waits until `read` on `handle` would not block. False: `timeout` is over.
pub(crate) fn wait_readable(handle: &impl AsHandle, timeout: Duration) -> io::Result<bool> {
    // Milliseconds rounded up, so that a wait is never shorter than asked for, and at most 24 days.
    let millis = timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32;
    let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Nanoseconds on a clock that all processes of this machine share.
pub(crate) fn monotonic() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC);
    time.map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Calls `function` when this process leaves by itself: at the end of `main`, or by `exit`.
pub(crate) fn at_exit(function: extern "C" fn()) {
    // SAFETY: the function is there as long as the program is, and `extern "C"` functions do not unwind.
    unsafe { nix::libc::atexit(function) };
}

/// Calls `function` in each child that this process makes by `fork`.
pub(crate) fn after_fork(function: extern "C" fn()) {
    // SAFETY: as above. In the child of a program with threads, it must not wait for any of them: it does not.
    unsafe { nix::libc::pthread_atfork(None, None, Some(function)) };
}

/// Pipe ends whose closing tells somebody else of this process's end. What it forks must not hold them open.
pub(crate) struct TellsOfMyEnd(usize);

/// [`TellsOfMyEnd`] of a child's answers, and of the lifeline of this process's own children.
pub(crate) const ANSWERS: TellsOfMyEnd = TellsOfMyEnd(0);
pub(crate) const LIFELINE: TellsOfMyEnd = TellsOfMyEnd(1);

static ENDS: [AtomicI32; 2] = [const { AtomicI32::new(NONE) }; 2];
const NONE: RawFd = -1;

impl TellsOfMyEnd {
    /// From now on, what this process forks lets go of `pipe`.
    pub fn set(&self, pipe: &impl AsHandle) {
        ENDS[self.0].store(pipe.as_fd().as_raw_fd(), Ordering::Relaxed);
        look_after_forks();
    }

    /// `pipe` is about to be closed. (There may be another one by now.)
    pub fn clear(&self, pipe: &impl AsHandle) {
        let number = pipe.as_fd().as_raw_fd();
        let _ = ENDS[self.0].compare_exchange(number, NONE, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Starts that are going on, and (in units of [`FORK`]) forks: while a process is being started, its ends of its pipes are
/// open here for a moment, and a fork would copy them.
static STARTS: AtomicUsize = AtomicUsize::new(0);
const FORK: usize = 1 << 16;

/// No fork comes between while this lives.
pub(crate) struct NoFork(());

impl NoFork {
    pub fn wait() -> NoFork {
        look_after_forks();
        while STARTS.fetch_add(1, Ordering::Acquire) >= FORK {
            STARTS.fetch_sub(1, Ordering::Release);
            std::thread::yield_now();
        }
        NoFork(())
    }
}

impl Drop for NoFork {
    fn drop(&mut self) {
        STARTS.fetch_sub(1, Ordering::Release);
    }
}

fn look_after_forks() {
    static ONCE: Once = Once::new();
    // SAFETY: these functions are there as long as the program is, do not unwind, and call nothing that is forbidden in the
    // child of a program with threads.
    ONCE.call_once(|| unsafe {
        nix::libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child));
    });
}

extern "C" fn before_fork() {
    STARTS.fetch_add(FORK, Ordering::Acquire);
    while STARTS.load(Ordering::Acquire) % FORK > 0 {
        std::thread::yield_now();
    }
}

extern "C" fn after_fork_in_parent() {
    STARTS.fetch_sub(FORK, Ordering::Release);
}

extern "C" fn after_fork_in_child() {
    STARTS.store(0, Ordering::Release);
    let Ok(nowhere) = nix::fcntl::open(c"/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()) else {
        return;
    };
    for end in &ENDS {
        let number = end.swap(NONE, Ordering::Relaxed);
        if number != NONE {
            // The number stays in use, since whoever has it may write to it or close it; but it leads nowhere.
            // SAFETY: it is that of an open pipe, and its owner in this process owns what takes the pipe's place.
            unsafe {
                nix::libc::dup2(nowhere.as_raw_fd(), number);
                nix::libc::fcntl(number, nix::libc::F_SETFD, nix::libc::FD_CLOEXEC);
            }
        }
    }
}

/// How many columns the terminal has at which the standard error goes. `None`: it goes elsewhere.
pub(crate) fn terminal_width() -> Option<usize> {
    // SAFETY: four numbers, which may all be 0.
    let mut size: nix::libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: this request writes these four numbers, and nothing else.
    let outcome = unsafe { nix::libc::ioctl(nix::libc::STDERR_FILENO, nix::libc::TIOCGWINSZ, &mut size) };
    (outcome == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// A process that this one started. Its number cannot go to a stranger before its end was noticed here, under the lock.
pub(crate) struct Proc {
    pid: Pid,
    exit: Mutex<Option<Exit>>,
}

impl Proc {
    /// One that has ended and was waited for.
    #[cfg(all(test, model))]
    pub fn past(exit: Exit) -> Proc {
        Proc {
            pid: Pid::from_raw(0),
            exit: Mutex::new(Some(exit)),
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// How it ended, if it did. Takes it out of the process table.
    pub fn try_wait(&self) -> Option<Exit> {
        let mut exit = self.exit.lock().unwrap();
        if exit.is_none() {
            *exit = loop {
                match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::Exited(_, code)) => break Some(Exit::Code(code)),
                    Ok(WaitStatus::Signaled(_, signal, _)) => break Some(Exit::Signal(signal as i32)),
                    Ok(_) => break None,
                    Err(Errno::EINTR) => {}
                    Err(_) => break Some(Exit::Unknown),
                }
            };
            exit.inspect(|&exit| crate::timeline::ended(self.pid(), exit));
        }
        *exit
    }

    /// Waits for its end. Other threads can still kill it meanwhile: the lock is not held.
    pub fn wait(&self) -> Exit {
        loop {
            if let Some(exit) = self.try_wait() {
                return exit;
            }
            self.wait_without_reaping();
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    fn wait_without_reaping(&self) {
        use nix::sys::wait::{Id, waitid};
        let _ = waitid(Id::Pid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    fn wait_without_reaping(&self) {
        std::thread::sleep(Duration::from_millis(1));
    }

    /// SIGTERM: please end.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// SIGKILL: end.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::SIGKILL)
    }

    /// Nothing happens to a process that has ended.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let exit = self.exit.lock().unwrap();
        if exit.is_none() {
            kill(self.pid, signal)?;
        }
        Ok(())
    }
}

/// Pages that several processes see.
pub(super) struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: it is a piece of memory, owned alone; who reads and writes in it is the matter of `Board`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub fn create(length: usize) -> io::Result<(Mapping, OwnedHandle)> {
        let file = anonymous_file()?;
        nix::unistd::ftruncate(&file, length as i64)?;
        let handle = file.try_clone()?;
        Ok((Mapping::open(file, length)?, handle))
    }

    pub fn open(file: OwnedHandle, length: usize) -> io::Result<Mapping> {
        let size = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address that the kernel chooses touches no other memory. Nobody shrinks the file.
        let start = unsafe {
            mmap(
                None,
                size,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                file,
                0,
            )?
        };
        Ok(Mapping { start, length })
    }

    pub fn start(&self) -> *const u8 {
        self.start.as_ptr().cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and every reference into it borrows from `self`.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}

/// A file without a name, in memory.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn anonymous_file() -> io::Result<OwnedHandle> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    Ok(memfd_create(c"common", MFdFlags::MFD_CLOEXEC)?)
}

/// A file in memory whose name is taken away at once.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn anonymous_file() -> io::Result<OwnedHandle> {
    use nix::sys::mman::{shm_open, shm_unlink};
    use std::sync::atomic::AtomicU32;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // At most 31 bytes on macOS.
    let name = format!(
        "/common-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = shm_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    shm_unlink(name.as_str())?;
    Ok(file)
}
