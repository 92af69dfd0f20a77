//! Shows that a worker that dies costs one task, the one that it was running. Another worker takes its place, and all other
//! tasks return their results. (With Python's Pool, `get` would wait forever.)
//!
//! `cargo run -p pool --example crash`. See also: map.rs.

use common::{Error, Pool};
use std::{process, thread, time::Duration};

fn long_time_task(name: u32) -> u32 {
    if name == 3 {
        die();
    }
    thread::sleep(Duration::from_millis(200));
    process::id()
}

// This is how the kernel ends a process when memory runs out: without a panic, and without a message.
fn die() -> ! {
    #[cfg(unix)]
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    process::exit(1) // on Windows, which has no signals
}

fn main() -> Result<(), Error> {
    common::init();
    let pool = Pool::new(2)?;
    let results: Vec<_> = (0..8).map(|i| pool.apply_async(long_time_task, i)).collect();

    let mut lost = Vec::new();
    for (task, result) in results.iter().enumerate() {
        match result.get() {
            Ok(pid) => println!("Task {task} was run by {pid}."),
            Err(error) => {
                println!("Task {task} is lost: {error}");
                lost.push((task, error));
            }
        }
    }
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].0, 3);
    #[cfg(unix)]
    assert!(matches!(lost[0].1, Error::Signaled { signal: 9, .. }));
    pool.close().join()
}
