//! A child whose parent ends first gets a new parent at once: process 1, or a nearer ancestor that has asked for orphans.
//! This happens by itself, and the child is not notified. See also: `zombie`, where the child ends first.

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, getpid, getppid, pipe};
    use std::{fs::File, io::Read, process::exit};

    // Nothing is ever written to these pipes: a read returns when the last write end is closed.
    let (parent_gone, keep_parent) = pipe()?;
    let (orphan_gone, keep_orphan) = pipe()?;

    let parent = match fork()? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => match fork()? {
            ForkResult::Parent { .. } => exit(0), // the parent ends; its child lives on
            ForkResult::Child => {
                drop(keep_parent); // with its own copy of the write end, it would wait forever
                File::from(parent_gone).read_to_end(&mut Vec::new())?;
                println!("I ({}) am an orphan. My parent is now {}.", getpid(), getppid());
                exit(0) // this closes `keep_orphan`
            }
        },
    };

    waitpid(parent, None)?;
    println!("The parent ({parent}) has ended before its child.");
    drop(keep_parent); // the last write end, so the orphan wakes up

    // The orphan is not our child, so `waitpid` would refuse. A closed pipe tells us that it is done.
    drop(keep_orphan);
    File::from(orphan_gone).read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Called once, returns twice. A child calls it as well.
#[cfg(unix)]
fn fork() -> nix::Result<nix::unistd::ForkResult> {
    // SAFETY: this program has one thread, and so has each child: no other one can be holding a lock.
    unsafe { nix::unistd::fork() }
}

#[cfg(not(unix))]
fn main() {
    println!("Windows has no fork(), and a process there gets no other parent.");
    println!("Lesson 02 starts processes on every system: cargo run --bin 02-process");
}
