//! Lesson 04: processes talk to each other, over a queue and over a pipe. Shows that a reader need not be killed: it ends
//! by itself once the last writer has closed its end. Here the writers end, so the reader ends, so the parent's loop ends.
//! Python: `Queue()`, `Pipe()`, `Process(target=write, args=(queue, values))`. `cargo run --bin 04-ipc` prints
//!
//!     Process to write: <pid>
//!     Put A to queue...
//!     Process to read: <pid>
//!     Get A from queue.               ... and so on: three processes run at the same time
//!     All subprocesses done.
//!
//! See also: examples/eof.rs (a forgotten write end), duplex.rs, shared_memory.rs, workers.rs.

use common::Process;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::{process, thread, time::Duration};

// Two processes run this. Each owns one sender of the queue.
fn write((queue, values): (IpcSender<char>, String)) {
    println!("Process to write: {}", process::id());
    for value in values.chars() {
        println!("Put {value} to queue...");
        queue.send(value).expect("the reader is still there");
        thread::sleep(Duration::from_millis(100)); // gives the other writer a turn
    }
} // `queue` is dropped here, which closes this sender

// A third process runs this. Its standard output is a pipe, so the parent receives what it prints.
fn read(queue: IpcReceiver<char>) -> String {
    println!("Process to read: {}", process::id());
    let mut values = String::new();
    // `recv` waits for the next value. It returns an error when every sender is closed.
    while let Ok(value) = queue.recv() {
        println!("Get {value} from queue.");
        values.push(value);
    }
    values
}

fn main() -> Result<(), Box<dyn Error>> {
    common::init();
    let (sender, receiver) = ipc::channel()?; // the queue: values of one type, any number of senders
    let (output, input) = os_pipe::pipe()?; // the pipe: bytes go into `input` and come out of `output`

    // Each end moves to the process that uses it. The parent keeps only `output`. If it also held a sender or a write end,
    // the reader of that queue or pipe would wait forever. The reader starts last. If it were already running when another
    // `start` failed, `?` would drop its handle and wait for it forever, because the parent would still hold `sender`.
    let pw1 = Process::new(write, (sender.clone(), "ABC".to_string())).start()?;
    let pw2 = Process::new(write, (sender, "XYZ".to_string())).start()?;
    let pr = Process::new(read, receiver).stdout(input).start()?;

    // This loop stops at end of file: the writers end, then the reader ends, and nobody holds `input` any more.
    for line in BufReader::new(output).lines() {
        println!("{}", line?);
    }
    pw1.join()?;
    pw2.join()?;
    let values = pr.join()?; // the reader has ended by itself: no `terminate` is needed
    println!("All subprocesses done.");

    // Everything arrived, and the values of each writer are still in order.
    assert_eq!(values.len(), 6);
    for put in ["ABC", "XYZ"] {
        let got: String = values.chars().filter(|&v| put.contains(v)).collect();
        assert_eq!(got, put);
    }
    Ok(())
}
