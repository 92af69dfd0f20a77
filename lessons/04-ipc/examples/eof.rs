//! Shows that one forgotten write end keeps a pipe's reader waiting: end of file comes when every
//! copy of the write end is closed, not when the last byte has been read.
//!
//! `cargo run -p ipc --example eof`. See also: duplex.rs.

use common::Process;
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

fn read() -> u64 {
    io::copy(&mut io::stdin(), &mut io::sink()).expect("stdin is the pipe") // up to end of file
}

fn main() -> Result<(), Box<dyn Error>> {
    common::init();
    let (reader, mut writer) = os_pipe::pipe()?;
    let p = Process::new(|()| read(), ()).stdin(reader).start()?;

    let forgotten = writer.try_clone()?;
    writer.write_all(b"Hello")?;
    drop(writer);
    println!("The writer wrote 5 bytes and closed its end.");

    let error = p.join_timeout(Duration::from_millis(300)).unwrap_err();
    assert!(error.is_timeout() && p.is_alive());
    println!("The reader waits for more: {error}");

    drop(forgotten);
    let bytes = p.join()?;
    println!("The forgotten end is closed too: the reader got {bytes} bytes and ended.");
    assert_eq!(bytes, 5);
    Ok(())
}
