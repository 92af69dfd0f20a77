//! A forked child has a copy of its parent's memory: the parent does not see what the child changes there. Threads share
//! the memory of their process: what one of them changes, the others see. See also: `buffer` (what else is copied), lesson
//! 05 (threads).

#[cfg(unix)]
fn main() -> nix::Result<()> {
    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, fork};
    use std::thread;

    let mut balance = 0;

    // SAFETY: this program has one thread so far, so no other one can be holding a lock.
    match unsafe { fork() }? {
        ForkResult::Child => {
            balance += 8; // the child's own copy
            println!("The child has changed the balance to {balance}.");
            std::process::exit(0)
        }
        ForkResult::Parent { child } => waitpid(child, None)?,
    };
    println!("Its parent still finds {balance}.");
    assert_eq!(balance, 0);

    let thread = || {
        balance += 8; // the parent's own variable: there is no copy
        println!("A thread has changed the balance to {balance}.");
    };
    thread::scope(|scope| _ = scope.spawn(thread)); // the end of the scope waits for the thread
    println!("The main thread finds {balance} too.");
    assert_eq!(balance, 8);
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("Windows has no fork(), so nothing is copied.");
    println!("Lesson 02 starts processes on every system: cargo run --bin 02-process");
}
