//! Shows that `join` reports exactly how a child ended: with the value that its target returned, or with
//! a panic, an exit code or a signal. Python's `join` returns None each time, and after an exception
//! all that is left is the exit code 1.
//!
//! `cargo run -p process --example exit_status`. See also: stop.rs.

use common::{Child, Error, Process};
use std::{process, thread};

fn returns() -> u32 {
    42
}

fn panics() -> u32 {
    panic!("the disk is full") // `join` reports it, and so does the child, on its standard error
}

fn exits() -> u32 {
    process::exit(3) // ends the process: nothing is returned
}

fn waits() -> u32 {
    loop {
        thread::park();
    }
}

fn report(target: &str, p: &Child<u32>) -> Result<u32, Error> {
    let joined = p.join();
    println!("{target}: exitcode {:?}", p.exitcode());
    match &joined {
        Ok(value) => println!("    join: the value {value}"),
        Err(error) => println!("    join: {error}"),
    }
    joined
}

fn main() -> Result<(), Error> {
    common::init();
    let returned = report("returns", &Process::new(|()| returns(), ()).start()?);
    let panicked = report("panics", &Process::new(|()| panics(), ()).start()?);
    let exited = report("exits", &Process::new(|()| exits(), ()).start()?);

    let p = Process::new(|()| waits(), ()).start()?;
    p.kill()?;
    let killed = report("waits, is killed", &p);

    assert_eq!(returned?, 42);
    assert!(matches!(panicked, Err(Error::Panicked { message, .. }) if message == "the disk is full"));
    assert!(matches!(exited, Err(Error::Exited { code: 3, .. })));
    #[cfg(unix)] // on Windows, which has no signals, a killed process has an exit code
    assert!(matches!(killed, Err(Error::Signaled { signal: 9, .. })));
    #[cfg(not(unix))]
    assert!(killed.is_err());
    Ok(())
}
