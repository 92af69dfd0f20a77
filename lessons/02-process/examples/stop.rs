//! Shows that a time limit ends only the waiting, not the child: `join_timeout` gives up, and the child runs on.
//! `terminate` asks it to end (SIGTERM), `kill` ends it (SIGKILL); after that, `join` returns.
//!
//! `cargo run -p process --example stop`. See also: exit_status.rs.

use common::{Error, Process};
use std::{thread, time::Duration};

fn run_proc() {
    loop {
        thread::park(); // forever
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
        // So far the signal has only been sent. `join` returns when the child has ended.
        let error = p.join().unwrap_err();
        println!("{}: {error}", p.name());
        println!("{}: alive: {}, exitcode {:?}", p.name(), p.is_alive(), p.exitcode());
        assert!(!p.is_alive());
    }
    asked.terminate()?; // the child has ended: nothing happens, and no other process is hit

    if cfg!(unix) {
        assert_eq!(asked.exitcode(), Some(-15)); // as in Python: minus the number of the signal
        assert_eq!(killed.exitcode(), Some(-9));
    }
    Ok(())
}
