//! What a new process becomes: the program that a user started, or a child that does what its parent told it to and ends.
//!
//! Invariant: a child never returns from [`init`], whatever happens, so it never runs its parent's code. Called by the program
//! itself, first of all.

use crate::channels;
use crate::error::FAILED_TO_BEGIN;
use crate::os::{self, Inherited};
use crate::spawn;
use crate::timeline;
use std::io::{self, Write};

/// Makes this program able to start processes; write it as the first line of `main`.
///
/// It is the counterpart of Python's `if __name__ == '__main__':`. A new process is this same program, executed again: when it
/// reaches this line, `init` runs the target there, and never returns. In the program that you started yourself it returns at
/// once. A second call does nothing.
///
/// The code before this line runs in every child too, so keep it short; it should not start threads, or close descriptors that
/// it did not open. Inside `#[tokio::main]` and the like, a child's target would run within the runtime: call `init` in an
/// ordinary `main`, and the runtime after it.
///
/// A program that runs with more rights than its user (set-user-ID and the like) cannot start processes with `common`, because
/// anybody could have set its environment.
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
    if !spawn::initialise() {
        return;
    }
    let Some(inherited) = os::inherited().transpose() else {
        // At the first message, `ipc-channel` asks the system how long one may be. If there is no descriptor left then, this
        // program can never send one.
        channels::empty_the_list();
        return timeline::begin();
    };
    let code = inherited.map_err(str::to_owned).and_then(play);
    std::process::exit(code.unwrap_or_else(|problem| {
        let _ = writeln!(io::stderr(), "a process of this program ends at once: {problem}");
        FAILED_TO_BEGIN
    }))
}

/// Runs a child in the role that its parent gave it. Returns its exit code.
fn play(mut inherited: Inherited) -> Result<i32, String> {
    let role = timeline::take_over(inherited.role, &mut inherited.handles);
    let run_child = match role.as_str() {
        "process" => crate::process::run_child,
        "worker" => crate::pool::worker::run_child,
        _ => return Err(format!("there is no role {role:?}")),
    };
    spawn::read_start(inherited.parent, inherited.handles)?.map_or(Ok(0), run_child)
}

/// Lets [`Process`](crate::Process) and [`Pool`](crate::Pool) work inside `#[test]` functions. Write this line once in the
/// test file, outside any function.
///
/// The `main` of a test belongs to the test harness, not to you. This line makes [`init`](crate::init) run before it, so that
/// a child runs its target and never becomes a second test run.
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
                // SAFETY: the linker puts `BEFORE_MAIN` and only such functions into that section.
                unsafe { $crate::init_before_main((&raw const BEFORE_MAIN, end), (count, arguments, environment)) };
            }
        };
    };
}

/// What the system calls before `main`. (Not every system passes arguments; where it does not, no constructor looks at them.)
#[doc(hidden)]
pub type Constructor = extern "C" fn(i32, Texts, Texts);
/// Arguments or environment, as C has them.
#[doc(hidden)]
pub type Texts = *const *const std::ffi::c_char;

/// Only for [`init_in_tests!`](crate::init_in_tests): like [`init`], but in a child it first runs the constructors that the
/// system would call after the one that runs.
///
/// # Safety
///
/// The first pointer is the address of the running constructor. From there up to the second there are only constructors.
#[doc(hidden)]
pub unsafe fn init_before_main(
    (running, end): (*const Constructor, *const Constructor),
    (count, arguments, environment): (i32, Texts, Texts),
) {
    os::fill_standard_streams();
    let mut next = running.wrapping_add(1);
    while os::is_child() && next < end {
        // SAFETY: as the caller promises. The system will not call it again, because `init` does not return here.
        unsafe { (*next)(count, arguments, environment) };
        next = next.wrapping_add(1);
    }
    init();
}
