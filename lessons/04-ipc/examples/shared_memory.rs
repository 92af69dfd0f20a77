//! Shows that shared memory is not copied: only a handle is sent, and the child sees the same pages that the parent has
//! filled. A `Vec` is copied through a pipe.
//!
//! `cargo run --release -p ipc --example shared_memory`. See also: duplex.rs.

use common::Process;
use ipc_channel::ipc::IpcSharedMemory;
use std::error::Error;
use std::time::{Duration, Instant};

const SIZE: usize = 8 * 1024 * 1024;

fn last_of_copy(bytes: Vec<u8>) -> Option<u8> {
    bytes.last().copied()
}

fn last_of_shared(bytes: IpcSharedMemory) -> Option<u8> {
    bytes.last().copied()
}

// The shortest of three, so that other programs on the machine matter less.
fn measure(run: impl Fn() -> Result<Option<u8>, common::Error>) -> Result<Duration, common::Error> {
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(run()?, Some(7));
        shortest = shortest.min(start.elapsed());
    }
    Ok(shortest)
}

fn main() -> Result<(), Box<dyn Error>> {
    common::init();
    let bytes = vec![7; SIZE];
    let shared = IpcSharedMemory::from_bytes(&bytes); // copied once, into the shared pages

    let copied = measure(|| Process::new(last_of_copy, bytes.clone()).start()?.join())?;
    let handed = measure(|| Process::new(last_of_shared, shared.clone()).start()?.join())?;
    println!(
        "A process that is given 8 MiB as a Vec: {:.1} ms.",
        copied.as_secs_f64() * 1e3
    );
    println!(
        "The same 8 MiB, passed as shared memory: {:.1} ms.",
        handed.as_secs_f64() * 1e3
    );
    assert!(handed < copied);
    Ok(())
}
