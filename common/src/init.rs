//! What a new process becomes: the program that somebody started, or a child that does what its parent told it and ends.
//!
//! Invariant: a child never comes back from [`init`], whatever happens: its parent's code is not its own. Called by the
//! program itself, as the first thing.

use crate::error::FAILED_TO_BEGIN;
use crate::os::{self, Constructor, Inherited, Texts};
use crate::spawn;
use crate::timeline;

/// Makes this program able to start processes; write it as the first line of `main`.
///
/// It is the twin of Python's `if __name__ == '__main__':`. A new process is this same program, executed again: when it
/// comes to this line, `init` runs the target there, and never returns. In the program that you started yourself it returns
/// at once.
///
/// What stands before this line runs in every child too, so it should be little; nothing there should start a thread or close
/// descriptors that it did not open. Inside of `#[tokio::main]` and the like, a child's target would run within the runtime:
/// call `init` in an ordinary `main`, and the runtime after it.
///
/// A program that runs with more rights than its user (set-user-ID and the like) cannot start processes with `common`: what it
/// is told by its environment may come from anybody.
///
/// ```
/// use common::Process;
///
/// fn run_proc(name: String) {
///     println!("Run child process {name} ({})...", std::process::id());
/// }
///
/// fn main() -> Result<(), common::Error> {
///     common::init();
///     let p = Process::new(run_proc, "test".to_string()).start()?;
///     p.join()
/// }
/// ```
///
/// Source: [The `multiprocessing` contexts and start methods](https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods);
/// this is *spawn*.
pub fn init() {
    spawn::initialised();
    let code = match os::inherited() {
        Ok(None) => return timeline::begin(),
        Ok(Some(inherited)) => play(inherited),
        Err(problem) => Err(problem.to_owned()),
    };
    std::process::exit(code.unwrap_or_else(|problem| {
        eprintln!("a process of this program ends at once: {problem}");
        FAILED_TO_BEGIN
    }))
}

/// Does what a child is there for. Returns its exit code.
fn play(mut inherited: Inherited) -> Result<i32, String> {
    let role = timeline::take_over(inherited.role, &mut inherited.handles);
    let run_child = match role.as_str() {
        "process" => crate::process::run_child,
        "worker" => crate::pool::worker::run_child,
        _ => return Err(format!("there is no role {role:?}")),
    };
    spawn::read_start(inherited.parent, inherited.handles)?.map_or(Ok(0), run_child)
}

/// Lets [`Process`](crate::Process) and [`Pool`](crate::Pool) work inside `#[test]` functions: one line in the test file,
/// outside of all functions.
///
/// A test's `main` is not yours: the test harness has it. This line lets [`init`](crate::init) run before it, so that a child
/// runs its target and never becomes a second test run.
///
/// ```
/// common::init_in_tests!();
///
/// fn double(x: u32) -> u32 {
///     2 * x
/// }
///
/// # fn main() { test() }
/// # /*
/// #[test]
/// # */
/// fn test() {
///     let pool = common::Pool::new(2).unwrap();
///     assert_eq!(pool.map(double, [1, 2, 3]).unwrap(), [2, 4, 6]);
/// }
/// ```
///
/// Works on Linux, macOS, FreeBSD and Windows, with `cargo test` and with nextest. Constructors of the program (`ctor`,
/// `inventory`) have run before a target does; on macOS only those that are linked before this line.
#[macro_export]
macro_rules! init_in_tests {
    () => {
        const _: () = {
            // The system calls the functions in this section before `main`.
            #[used]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
            #[cfg_attr(windows, unsafe(link_section = ".CRT$XCY"))] // after those in .CRT$XCU
            #[cfg_attr(
                not(any(target_vendor = "apple", windows)),
                unsafe(link_section = ".init_array")
            )]
            static BEFORE_MAIN: $crate::Constructor = before_main;
            extern "C" fn before_main(count: i32, arguments: $crate::Texts, environment: $crate::Texts) {
                #[cfg(not(any(target_vendor = "apple", windows)))]
                let end = {
                    unsafe extern "C" {
                        /// The end of the section, as the linker calls it.
                        static __init_array_end: $crate::Constructor;
                    }
                    &raw const __init_array_end
                };
                #[cfg(any(target_vendor = "apple", windows))]
                let end = &raw const BEFORE_MAIN;
                // SAFETY: the linker puts `BEFORE_MAIN` into that section, and such functions alone.
                unsafe { $crate::init_before_main((&raw const BEFORE_MAIN, end), (count, arguments, environment)) };
            }
        };
    };
}

/// For [`init_in_tests!`](crate::init_in_tests) alone: [`init`], but in a child after the constructors that would have come
/// later.
///
/// # Safety
///
/// As `os::run_constructors`.
#[doc(hidden)]
pub unsafe fn init_before_main(all: (*const Constructor, *const Constructor), arguments: (i32, Texts, Texts)) {
    os::fill_standard_streams();
    if os::is_child() {
        // SAFETY: as the caller promises. The system does not come to them any more: `init` does not return here.
        unsafe { os::run_constructors(all, arguments) };
    }
    init();
}
