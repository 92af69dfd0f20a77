//! A child that has ended, and that nobody has waited for yet, is a zombie (state Z). It runs no code and has no memory.
//! All that is left is its entry in the kernel's table, in case the parent asks how it ended. `waitpid` asks, and then the
//! entry is removed. See also: `orphan` (the parent ends first).

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use nix::sys::{signal, wait::waitpid};
    use nix::unistd::{ForkResult, fork};

    // The kernel sends SIGCHLD when a child ends. While it is blocked, it stays pending until we ask for it below.
    let mut child_ended = signal::SigSet::empty();
    child_ended.add(signal::Signal::SIGCHLD);
    child_ended.thread_block()?;

    // SAFETY: this program has one thread, so no other one can be holding a lock.
    let child = match unsafe { fork() }? {
        ForkResult::Child => std::process::exit(7),
        ForkResult::Parent { child } => child,
    };
    child_ended.wait()?; // not `waitpid`: this only tells us that a child has ended

    let state = state(child)?;
    println!("Child process ({child}) has ended, and nobody has waited for it: state {state}.");
    assert_eq!(state, "Z");

    let status = waitpid(child, None)?;
    println!("waitpid says {status:?}.");
    assert!(self::state(child).is_err());
    println!("Now there is no process {child} any more.");
    Ok(())
}

/// The process's state, one letter: R runs, S sleeps, Z is a zombie. On Linux it is the third
/// field of /proc/<pid>/stat, after the name in parentheses.
#[cfg(target_os = "linux")]
fn state(pid: nix::unistd::Pid) -> Result<String, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("no name in /proc/<pid>/stat")?;
    Ok(fields[..1].to_string())
}

/// On every other Unix: what `ps` prints.
#[cfg(all(unix, not(target_os = "linux")))]
fn state(pid: nix::unistd::Pid) -> Result<String, Box<dyn std::error::Error>> {
    let pid = pid.to_string();
    let ps = std::process::Command::new("ps")
        .args(["-o", "state=", "-p", &pid])
        .output()?;
    let state = String::from_utf8(ps.stdout)?;
    Ok(state.get(..1).ok_or("no such process")?.to_string())
}

#[cfg(not(unix))]
fn main() {
    println!(
        "Windows has no fork() and no zombies: a process is gone when it has ended and its last handle is closed."
    );
    println!("Lesson 02 starts processes on every system: cargo run --bin 02-process");
}
