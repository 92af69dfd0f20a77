//! Unix: how this program is executed again, and how the new process learns what it is.
//!
//! `posix_spawn` makes no copy of this process, so its size does not matter. The new process gets its standard streams and
//! exactly what is passed to it, under the numbers from [`FIRST`] on; a variable in its environment says its role, its
//! parent's pid, and how many descriptors it got. Invariant: [`inherited`] believes that variable only in the process that it
//! was made for. Called by `crate::spawn` in the parent and by `crate::init` in the child.

use super::fork::register_atfork;
use super::proc::{Parent, Process};
use super::{BorrowedHandle, OwnedHandle, signal};
use crate::os::{BOOTSTRAP, Inherited, missing};
#[cfg(not(target_vendor = "apple"))]
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Pid, getpid, getppid};
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
#[cfg(target_os = "linux")]
use std::path::{Path, PathBuf};
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

/// The first descriptor after the standard streams.
const FIRST: RawFd = 3;

/// Runs this program again, in the given `role`, which [`inherited`] reads back. `pass` are pipe ends (and the like) for it,
/// in an order that both sides know; `stdio` is its standard input, output and error, where they differ from its parent's. The
/// caller keeps its own copies. Ctrl-C may be ignored by it. It gets this `environment`.
pub(crate) fn spawn(
    role: &str,
    pass: &[BorrowedHandle],
    stdio: &[Option<OwnedHandle>; 3],
    ignore_sigint: bool,
    environment: env::VarsOs,
) -> io::Result<Process> {
    if has_others_rights() {
        let sentence = "this program has more rights than its user (set-user-ID, set-group-ID or capabilities of its file), \
                        and takes no orders from its environment then";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, sentence));
    }
    let behind = FIRST + pass.len() as RawFd;
    let mut actions = PosixSpawnFileActions::init()?;
    let mut copies = Vec::new();
    let given = stdio.iter().zip(0..);
    let given = given.filter_map(|(given, number)| Some((super::borrow(given.as_ref()?), number)));
    for (source, number) in pass.iter().copied().zip(FIRST..).chain(given) {
        // One that might be overwritten before it is copied gets a number above all those that the new process is to have.
        let mut copy = source.as_raw_fd();
        if copy < behind {
            copy = fcntl(source, FcntlArg::F_DUPFD_CLOEXEC(behind))?;
            // SAFETY: `fcntl` made this descriptor just now, and nothing else owns it.
            copies.push(unsafe { OwnedHandle::from_raw_fd(copy) });
        }
        actions.add_dup2(copy, number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    let mut flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    flags |= leave_out_the_rest(&mut actions, behind)?;
    attributes.set_flags(flags)?;
    attributes.set_sigdefault(&Signal::SIGTERM.into())?; // `terminate` is to end it, even if this program ignores SIGTERM
    // One that is to take no notice of Ctrl-C begins with SIGINT blocked: see `signal::withstand_interrupts`.
    let blocked = ignore_sigint.then(|| SigSet::from(Signal::SIGINT));
    attributes.set_sigmask(&blocked.unwrap_or_else(SigSet::empty))?;

    let bootstrap = format!("{role} {} {}", getpid(), pass.len());
    let inherited = environment.filter(|(name, _)| name != BOOTSTRAP);
    let environment = inherited.chain([(BOOTSTRAP.into(), bootstrap.into())]);
    let environment = c_strings(environment.map(|(mut text, value)| {
        text.reserve_exact(value.len() + 2); // '=', and the zero at the end
        text.extend([OsStr::new("="), &value]);
        text
    }))?;
    let (program, arguments) = (program()?, c_strings(own_arguments())?);
    let pid = posix_spawn(program.as_os_str(), &actions, &attributes, &arguments, &environment);
    Ok(Process::new(pid.map_err(|error| missing(error.into(), program))?))
}

/// What this program was called with. Before `main`, where a child of a test lives, some C libraries (musl) do not tell Rust.
fn own_arguments() -> Vec<OsString> {
    let told: Vec<_> = env::args_os().collect();
    if !told.is_empty() || !cfg!(target_os = "linux") {
        return told;
    }
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = line.strip_suffix(&[0]).unwrap_or_default().split(|&byte| byte == 0);
    words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
}

/// Makes sure that the new process gets no descriptor from `behind` on, whatever this program has open without close-on-exec.
/// Not every C library can do it: musl cannot, and in a program that is linked statically the function is not found.
#[cfg(not(target_vendor = "apple"))]
fn leave_out_the_rest(actions: &mut PosixSpawnFileActions, behind: RawFd) -> nix::Result<PosixSpawnFlags> {
    type AddCloseFrom = unsafe extern "C" fn(*mut libc::posix_spawn_file_actions_t, RawFd) -> std::ffi::c_int;
    let name = c"posix_spawn_file_actions_addclosefrom_np";
    // SAFETY: `dlsym` looks for a name, and `AddCloseFrom` is the type of the function of this name. nix's type is transparent:
    // a pointer to it is one to the list of actions, which is initialised.
    let error = unsafe {
        let function = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
        let function = std::mem::transmute::<*mut std::ffi::c_void, Option<AddCloseFrom>>(function);
        function.map_or(0, |add_close_from| add_close_from((&raw mut *actions).cast(), behind))
    };
    match error {
        0 => Ok(PosixSpawnFlags::empty()),
        _ => Err(Errno::from_raw(error)),
    }
}

/// The same: the new process gets nothing but what an action names.
#[cfg(target_vendor = "apple")]
fn leave_out_the_rest(actions: &mut PosixSpawnFileActions, _behind: RawFd) -> nix::Result<PosixSpawnFlags> {
    // SAFETY: only asked whether it is open.
    for number in (0..FIRST).filter(|&number| unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0) {
        actions.add_dup2(number, number)?;
    }
    Ok(PosixSpawnFlags::from_bits_retain(libc::POSIX_SPAWN_CLOEXEC_DEFAULT))
}

fn c_strings(texts: impl IntoIterator<Item = OsString>) -> io::Result<Vec<CString>> {
    texts
        .into_iter()
        .map(|text| Ok(CString::new(text.into_vec())?))
        .collect()
}

/// The file to run. On Linux it is the one that this process was started from, even if it was replaced or deleted since. Looked
/// for once: that costs as much as all the rest here.
#[cfg(target_os = "linux")]
fn program() -> io::Result<&'static Path> {
    use std::os::unix::fs::MetadataExt;
    const EXE: &str = "/proc/self/exe";
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program);
    }
    let sentence = |error| format!("{EXE} is needed to run this program again: {error}");
    let path = std::fs::read_link(EXE).map_err(|error| io::Error::new(error.kind(), sentence(error)))?;
    let file = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    // Under valgrind the link's text is the program's path, but what lies behind the link is valgrind.
    let differs = file(&path).is_some_and(|named| file(EXE.as_ref()) != Some(named));
    Ok(PROGRAM.get_or_init(|| if differs { path } else { EXE.into() }))
}

#[cfg(not(target_os = "linux"))]
use env::current_exe as program;

/// Does it run with the rights of another user than the one who started it? Then its environment and descriptors come from a
/// user who must not control it.
fn has_others_rights() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: a question.
    return unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    // SAFETY: a question.
    return unsafe { libc::issetugid() } != 0;
}

/// In a program that was started without standard streams, the first files that it opens must not become its standard streams.
/// Rust's standard library sees to that before `main`; this is for what runs earlier.
pub(crate) fn fill_standard_streams() {
    let null = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    // A new descriptor has the lowest number that is free.
    while let Some(file) = null().ok().filter(|file| file.as_raw_fd() < FIRST) {
        std::mem::forget(file);
    }
}

/// In a process made by [`spawn`]: what was passed to it. `Ok(None)` in any other.
pub(crate) fn inherited() -> Result<Option<Inherited>, &'static str> {
    register_atfork(); // every program that starts processes comes here first
    let Some(bootstrap) = env::var_os(BOOTSTRAP).filter(|_| !has_others_rights()) else {
        return Ok(None);
    };
    let words = bootstrap.to_string_lossy().into_owned();
    let mut words = words.split(' ');
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<libc::pid_t>().ok());
    let role = words.next().unwrap_or_default().to_owned();
    let (parent, count) = (Pid::from_raw(number(words.next()).unwrap_or(-1)), number(words.next()));
    let numbers = FIRST..FIRST + count.filter(|count| (2..100).contains(count)).unwrap_or(0);
    if numbers.is_empty() || !numbers.clone().take(2).all(is_pipe) {
        return if parent == getppid() { Err(MISSING) } else { Ok(None) };
    }
    if is_alone() {
        // SAFETY: this process has one thread (checked): no other one reads the environment meanwhile.
        unsafe { env::remove_var(BOOTSTRAP) };
    }
    signal::withstand_interrupts();
    let handles = numbers.map(take_descriptor).collect::<Option<_>>().ok_or(MISSING)?;
    let parent = Parent::new(parent);
    Ok(Some(Inherited { role, parent, handles }))
}

/// Without its descriptors a child cannot play its role; it must not run as if it were the parent either. (If the variable
/// names another parent, it was made for another process, which could not take it out of the environment.)
const MISSING: &str =
    "the descriptors that its parent passed to it are not there. Were they closed before common::init()?";

/// Is this surely the only thread of its process?
fn is_alone() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::unix::fs::MetadataExt;
        // There is a folder for each thread. Each is one link, besides the two of every folder.
        std::fs::metadata("/proc/self/task").is_ok_and(|folder| folder.nlink() == 3)
    }
    #[cfg(target_vendor = "apple")]
    {
        unsafe extern "C" {
            safe fn pthread_is_threaded_np() -> std::ffi::c_int;
        }
        pthread_is_threaded_np() == 0
    }
    #[cfg(target_os = "freebsd")]
    {
        unsafe extern "C" {
            static __isthreaded: std::ffi::c_int;
        }
        // SAFETY: the C library's own note whether a second thread was ever made; only this one could make it.
        unsafe { __isthreaded == 0 }
    }
}

/// `None`: there is no such descriptor.
fn take_descriptor(number: RawFd) -> Option<OwnedHandle> {
    // SAFETY: only looked at during the call; a number that is not open is an error.
    let descriptor = unsafe { BorrowedHandle::borrow_raw(number) };
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // SAFETY: `spawn` made this descriptor for this process alone, and the variable that names it is looked at once.
    Some(unsafe { OwnedHandle::from_raw_fd(number) })
}

fn is_pipe(number: RawFd) -> bool {
    // SAFETY: only looked at during the call; a number that is not open is an error.
    let file = fstat(unsafe { BorrowedHandle::borrow_raw(number) });
    file.is_ok_and(|file| file.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits())
}

/// Shows `name` in `ps -e`, `top` and the like (Linux: the first 15 bytes). What the program was called with stays as it is.
pub(crate) fn show_name(name: &str) {
    let name = CString::new(name.replace('\0', " ")).unwrap_or_default();
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_name(&name); // an ornament
    #[cfg(target_os = "freebsd")]
    // SAFETY: a format with one text, and that text.
    unsafe {
        libc::setproctitle(c"%s".as_ptr(), name.as_ptr())
    };
    let _ = name;
}
