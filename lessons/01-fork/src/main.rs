//! Lesson 01: `fork()` is called once and returns twice.
//!
//! In the parent it returns the child's id; in the child it returns 0 (here: `ForkResult::Child`). A parent can have many
//! children, so it notes every id; a child has one parent, and asks for it with `getppid()`. Python: `os.fork()`.
//!
//!     $ cargo run --bin 01-fork
//!     Process (<pid>) start...
//!     I (<pid>) just created a child process (<pid>).
//!     I am child process (<pid>) and my parent is <pid>.
//!
//! See also: the examples `memory` (what a child changes), `buffer` (text that appears twice), `zombie` (the parent has not
//! waited) and `orphan` (the parent ends first).

#[cfg(unix)]
use nix::{
    errno::Errno,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork, getpid, getppid},
};

#[cfg(unix)]
fn main() -> nix::Result<()> {
    let parent = getpid();
    println!("Process ({parent}) start...");

    let mut children = Vec::new();
    for _ in 0..3 {
        // SAFETY: fork copies only the thread that calls it. This program has no other thread, so
        // none can be holding a lock that would stay locked in the child forever.
        match unsafe { fork() }? {
            // Python: `pid == 0`. From here on there are two processes; this arm is the child's.
            ForkResult::Child => run_child(parent),
            // Python: `pid > 0`. The parent is told this id only once.
            ForkResult::Parent { child } => {
                println!("I ({parent}) just created a child process ({child}).");
                children.push(child);
            }
        }
    }

    // Wait for each child by its id: "any child" might be one that a library has started.
    for child in children {
        let status = waitpid(child, None)?;
        println!("Child process ({child}) end.");
        assert_eq!(status, WaitStatus::Exited(child, 0));
        // Once the child has been waited for, the kernel forgets it: there is no child with this id any more.
        assert_eq!(waitpid(child, None), Err(Errno::ECHILD));
    }
    Ok(())
}

/// The child's side. `-> !` means that it never returns. If it did, it would go on with its parent's loop, and fork as
/// well.
#[cfg(unix)]
fn run_child(parent: Pid) -> ! {
    let (me, my_parent) = (getpid(), getppid());
    println!("I am child process ({me}) and my parent is {my_parent}.");
    // `parent` is a copy of the parent's variable, like the rest of the child's memory.
    std::process::exit(if my_parent == parent { 0 } else { 1 })
}

#[cfg(not(unix))]
fn main() {
    println!("Windows has no fork(). Lesson 02 starts processes on every system:");
    println!("    cargo run --bin 02-process");
}
