//! Shows what `Process` does, by hand and with the standard library alone: the program runs itself
//! once more, the argument goes in through one pipe, and the result comes back through another.
//!
//! `cargo run -p process --example process_by_hand`. `common` does this in `spawn/` and `process.rs` (in common/src). What
//! is left out here: calling any function with any type (`function.rs` and `message.rs` turn them into bytes); separate
//! pipes, so that the child can use its standard streams; the message of a panic; children that end together with their
//! parent.

use std::io::{self, Read, Write};
use std::process::{self, Child, Command, Stdio};
use std::{env, error::Error};

const CHILD: &str = "I_AM_A_CHILD";

fn run_proc(name: &str) -> u32 {
    // Not `println!`: in here, standard output is the pipe for the result.
    eprintln!("Run child process {name} ({})...", process::id());
    process::id()
}

/// In the child, this is where `main` ends. In the parent it does nothing.
fn init() -> io::Result<()> {
    if env::var_os(CHILD).is_none() {
        return Ok(());
    }
    let mut name = String::new();
    io::stdin().read_to_string(&mut name)?; // until the parent closes its end of the pipe
    let result = run_proc(&name);
    io::stdout().write_all(&result.to_ne_bytes())?;
    process::exit(0)
}

fn start(name: &str) -> io::Result<Child> {
    let mut child = Command::new(env::current_exe()?)
        .env(CHILD, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut argument = child.stdin.take().expect("it is a pipe");
    argument.write_all(name.as_bytes())?;
    Ok(child) // `argument` is dropped, which closes the pipe: the child reads end of file
}

fn join(child: Child) -> Result<u32, Box<dyn Error>> {
    let output = child.wait_with_output()?; // reads until end of file, then waits for the process
    if !output.status.success() {
        return Err(format!("the child ended with {}", output.status).into());
    }
    let result = output.stdout.try_into().map_err(|_| "the result is not a number")?;
    Ok(u32::from_ne_bytes(result))
}

fn main() -> Result<(), Box<dyn Error>> {
    init()?;
    println!("Parent process {}.", process::id());
    let p = start("test")?;
    let pid = p.id();
    let result = join(p)?;
    println!("Child process end.");
    assert_eq!(result, pid);
    assert_ne!(result, process::id());
    Ok(())
}
