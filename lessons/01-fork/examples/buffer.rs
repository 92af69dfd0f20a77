//! Text that was printed without a newline before `fork` comes out twice: it still lay in a buffer,
//! the buffer is memory, and fork copies memory. Each process writes its copy out at its end.
//! The cure is one line: flush before fork.

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

/// Child and parent finish the line, each its own; the parent waits for the child first.
#[cfg(unix)]
fn fork_and_speak() -> nix::Result<()> {
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, fork, getpid};

    // SAFETY: this process has one thread, so the child misses none.
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
    println!("Lesson 02 starts processes everywhere: cargo run --bin 02-process");
}
