//! Text that was printed without a newline before `fork` appears twice: it is still in a buffer, the buffer is memory, and
//! `fork` copies memory. Each process writes out its own copy of the buffer when it finishes the line. The fix is one line:
//! flush before `fork`. See also: `memory`.

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write;

    print!("[printed once] "); // `println!` would have written it out
    fork_and_speak()?;

    print!("[flushed] ");
    std::io::stdout().flush()?; // this one line is the cure
    fork_and_speak()?;
    Ok(())
}

/// Child and parent both finish the line; the parent waits for the child first.
#[cfg(unix)]
fn fork_and_speak() -> nix::Result<()> {
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, fork, getpid};

    // SAFETY: this program has one thread, so no other one can be holding a lock.
    match unsafe { fork() }? {
        ForkResult::Child => {
            println!("I am the child ({}).", getpid());
            std::process::exit(0)
        }
        ForkResult::Parent { child } => waitpid(child, None)?,
    };
    println!("I am the parent ({}).", getpid());
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("Windows has no fork(), so nothing is copied.");
    println!("Lesson 02 starts processes on every system: cargo run --bin 02-process");
}
