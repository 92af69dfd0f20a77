//! Shows a conversation: a queue goes one way, so question and answer take two of them. (Python's `Pipe()` is such a pair.)
//! The process that answers ends once the last sender of questions is closed.
//!
//! `cargo run -p ipc --example duplex`. See also: eof.rs, shared_memory.rs.

use common::Process;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use std::error::Error;
use std::process;

fn square((questions, answers): (IpcReceiver<u64>, IpcSender<(u64, u32)>)) -> usize {
    let mut answered = 0;
    while let Ok(n) = questions.recv() {
        answers.send((n * n, process::id())).expect("whoever asks also listens");
        answered += 1;
    }
    answered
}

fn main() -> Result<(), Box<dyn Error>> {
    common::init();
    let (ask, questions) = ipc::channel()?;
    let (answers, listen) = ipc::channel()?;
    let p = Process::new(square, (questions, answers)).start()?;

    for n in [1, 2, 3] {
        ask.send(n)?;
        let (square, pid) = listen.recv()?; // asking without ever listening would fill the queue
        println!("Process {} asks: {n}. Process {pid} answers: {square}.", process::id());
        assert_eq!((square, pid), (n * n, p.pid()));
    }
    drop(ask);
    assert_eq!(p.join()?, 3);
    println!("No more questions: the process that answers has ended.");
    Ok(())
}
