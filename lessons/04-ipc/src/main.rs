//! Lesson 04: processes talk, over a queue and over a pipe. Shows that nobody has to kill a reader:
//! it ends by itself when the last writer has let go. Here two such ends follow one another.
//! Python: `Queue()`, `Pipe()`, `Process(target=write, args=(q,))`. `cargo run --bin 04-ipc` prints
//!
//!     Process to write: <pid>
//!     Put A to queue...
//!     Process to read: <pid>
//!     Get A from queue.               ... and so on, by three processes at once
//!     All subprocesses done.
//!
//! See also: examples/eof.rs (a forgotten end), examples/duplex.rs, examples/shared_memory.rs.

use common::Process;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::{process, thread, time::Duration};

// Two processes run this. Each has an end of the queue to put values into.
fn write((queue, values): (IpcSender<char>, String)) {
    println!("Process to write: {}", process::id());
    for value in values.chars() {
        println!("Put {value} to queue...");
        queue.send(value).expect("the reader lives");
        thread::sleep(Duration::from_millis(100)); // gives the other writer a turn
    }
} // here `queue` is dropped: this writer has let go

// A third one runs this. Its standard output is a pipe, so the parent gets what it prints.
fn read(queue: IpcReceiver<char>) -> String {
    println!("Process to read: {}", process::id());
    let mut values = String::new();
    // Waits for the next value. An error says that no writer is left.
    while let Ok(value) = queue.recv() {
        println!("Get {value} from queue.");
        values.push(value);
    }
    values
}

fn main() -> Result<(), Box<dyn Error>> {
    common::init();
    let (sender, receiver) = ipc::channel()?; // the queue: values of one type, any number of writers
    let (output, input) = os_pipe::pipe()?; // the pipe: bytes, from `input` to `output`

    // Each end is moved to the process that uses it. The parent keeps `output` alone, for an end
    // to write that it forgot to give away would keep a reader waiting for ever.
    let pr = Process::new(read, receiver).stdout(input).start()?;
    let pw1 = Process::new(write, (sender.clone(), "ABC".to_string())).start()?;
    let pw2 = Process::new(write, (sender, "XYZ".to_string())).start()?;

    // Ends at end of file: the writers are gone, so the reader ended, so nobody holds `input`.
    for line in BufReader::new(output).lines() {
        println!("{}", line?);
    }
    pw1.join()?;
    pw2.join()?;
    let values = pr.join()?; // no `pr.terminate()` here
    println!("All subprocesses done.");

    // Everything arrived, and what one writer put is still in its order.
    assert_eq!(values.len(), 6);
    for put in ["ABC", "XYZ"] {
        let got: String = values.chars().filter(|&v| put.contains(v)).collect();
        assert_eq!(got, put);
    }
    Ok(())
}
