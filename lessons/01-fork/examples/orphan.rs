//! A child whose parent ends first gets a new parent at once: process 1, or a nearer ancestor that
//! has asked for orphans. Nobody has to do anything for it, and the child is not told.
//! See also: `zombie`, where the child ends first.

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, getpid, getppid, pipe};
    use std::{fs::File, io::Read, process::exit};

    // Nothing is ever written to these pipes: reading ends when the last write end is closed.
    let (parent_gone, keep_parent) = pipe()?;
    let (orphan_gone, keep_orphan) = pipe()?;

    let parent = match fork()? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => match fork()? {
            ForkResult::Parent { .. } => exit(0), // the parent ends, its child lives on
            ForkResult::Child => {
                drop(keep_parent); // our own copy of the write end would keep us waiting
                File::from(parent_gone).read_to_end(&mut Vec::new())?;
                println!("I ({}) am an orphan. My parent is now {}.", getpid(), getppid());
                exit(0) // this closes `keep_orphan`
            }
        },
    };

    waitpid(parent, None)?;
    println!("The parent ({parent}) has ended before its child.");
    drop(keep_parent); // the last one, so the orphan wakes up

    // The orphan is not our child: `waitpid` would refuse. A closed pipe tells us that it is done.
    drop(keep_orphan);
    File::from(orphan_gone).read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Once called, twice returned; here also by a child.
#[cfg(unix)]
fn fork() -> nix::Result<nix::unistd::ForkResult> {
    // SAFETY: this process has one thread, and so has each of its children: none is missing there.
    unsafe { nix::unistd::fork() }
}

#[cfg(not(unix))]
fn main() {
    println!("Windows has no fork(), and a process there gets no other parent.");
    println!("Lesson 02 starts processes everywhere: cargo run --bin 02-process");
}
