//! Shows that a time limit stops only the waiting, not the child: `join_timeout` gives up, the child
//! lives on, until `terminate` (SIGTERM: please end) or `kill` (SIGKILL: end) and a last `join`.
//!
//! `cargo run -p process --example stop`. See also: exit_status.rs.

use common::{Error, Process};
use std::{thread, time::Duration};

fn run_proc() {
    loop {
        thread::park(); // for ever
    }
}

fn main() -> Result<(), Error> {
    common::init();
    let asked = Process::new(|()| run_proc(), ()).name("asked").start()?;
    let killed = Process::new(|()| run_proc(), ()).name("killed").start()?;

    let error = asked.join_timeout(Duration::from_millis(200)).unwrap_err();
    println!("{}: {error}", asked.name());
    println!(
        "{}: alive: {}, exitcode {:?}",
        asked.name(),
        asked.is_alive(),
        asked.exitcode()
    );
    assert!(error.is_timeout() && asked.is_alive());

    asked.terminate()?;
    killed.kill()?;
    for p in [&asked, &killed] {
        // The signal is only on its way: who wants to know that the child has ended, joins it.
        let error = p.join().unwrap_err();
        println!("{}: {error}", p.name());
        println!("{}: alive: {}, exitcode {:?}", p.name(), p.is_alive(), p.exitcode());
        assert!(!p.is_alive());
    }
    asked.terminate()?; // of a child that has ended: nothing happens, to nobody

    if cfg!(unix) {
        assert_eq!(asked.exitcode(), Some(-15)); // as in Python: minus the signal's number
        assert_eq!(killed.exitcode(), Some(-9));
    }
    Ok(())
}
