//! Lesson 01: `fork()` is called once and returns twice.
//!
//! The parent gets the child's id, the child gets 0 (here: `ForkResult::Child`). So a parent of
//! several children writes every id down; a child just asks `getppid()`. Python: `os.fork()`.
//!
//!     $ cargo run --bin 01-fork
//!     Process (<pid>) start...
//!     I (<pid>) just created a child process (<pid>).
//!     I am child process (<pid>) and my parent is <pid>.
//!
//! See also: examples `zombie` (nobody waits), `orphan` (the parent ends first), `buffer`.

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
        // SAFETY: fork copies only the thread that calls it. We have just this one, so no other
        // thread can be missing in the child while it holds a lock there.
        match unsafe { fork() }? {
            // Python: pid == 0. Two processes go on from here; this arm is the child's.
            ForkResult::Child => run_child(parent),
            // Python: pid > 0. Nobody else will tell us this id again.
            ForkResult::Parent { child } => {
                println!("I ({parent}) just created a child process ({child}).");
                children.push(child);
            }
        }
    }

    // Wait for each by its id: "any child" would also take those that a library has started.
    for child in children {
        let status = waitpid(child, None)?;
        println!("Child process ({child}) end.");
        assert_eq!(status, WaitStatus::Exited(child, 0));
        // Waited for once, it is forgotten: the kernel no longer knows a child of this id.
        assert_eq!(waitpid(child, None), Err(Errno::ECHILD));
    }
    Ok(())
}

/// The child's side. `-> !`: it never returns into the loop of its parent, or it would fork too.
#[cfg(unix)]
fn run_child(parent: Pid) -> ! {
    let (me, my_parent) = (getpid(), getppid());
    println!("I am child process ({me}) and my parent is {my_parent}.");
    // `parent` is the parent's variable, copied with the rest of its memory.
    std::process::exit(if my_parent == parent { 0 } else { 1 })
}

#[cfg(not(unix))]
fn main() {
    println!("Windows has no fork(). Lesson 02 starts processes everywhere:");
    println!("    cargo run --bin 02-process");
}
