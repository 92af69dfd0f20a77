//! Shows that one forgotten write end keeps the reader waiting: end of file comes when every copy of the write end is closed,
//! not when the last byte has been read.
//!
//! `cargo run -p ipc --example eof`. See also: the lesson, where no end is forgotten.

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
    println!("The parent wrote 5 bytes and closed its write end.");

    let error = p.join_timeout(Duration::from_millis(300)).unwrap_err();
    assert!(error.is_timeout() && p.is_alive());
    println!("The reader still waits: {error}");

    drop(forgotten);
    let bytes = p.join()?;
    println!("Now the forgotten copy is closed too: the reader got {bytes} bytes and ended.");
    assert_eq!(bytes, 5);
    Ok(())
}
