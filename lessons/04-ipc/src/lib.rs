//! What the compiler refuses. `cargo test --doc` in this folder tries each of these.
//!
//! Putting a value of another type into a queue (E0308). A Python queue takes whatever can be pickled.
//!
//! ```compile_fail,E0308
//! # use ipc_channel::ipc;
//! let (sender, _receiver) = ipc::channel::<char>()?;
//! sender.send("ABC")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Using an end after it was given to a process (E0382). It has been moved; in Python both processes would have it.
//!
//! ```compile_fail,E0382
//! # use common::Process;
//! # use ipc_channel::ipc::{self, IpcReceiver};
//! # fn read(queue: IpcReceiver<char>) {}
//! let (_sender, receiver) = ipc::channel::<char>()?;
//! let pr = Process::new(read, receiver);
//! let value = receiver.recv()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Passing the end of a pipe as an argument (E0277). It cannot be turned into bytes; give it to `stdin`, `stdout` or
//! `stderr`.
//!
//! ```compile_fail,E0277
//! # use common::Process;
//! # fn read(pipe: os_pipe::PipeReader) {}
//! let (reader, _writer) = os_pipe::pipe()?;
//! let p = Process::new(read, reader);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
