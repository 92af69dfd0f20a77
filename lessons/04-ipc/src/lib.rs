//! What the compiler refuses in this lesson. `cargo test --doc` in this folder tries each of it.
//!
//! A queue has one type of value. (A Python queue takes anything that pickles.)
//!
//! ```compile_fail,E0308
//! # use ipc_channel::ipc;
//! let (sender, _receiver) = ipc::channel::<char>()?;
//! sender.send("ABC")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An end that was given to a process is no longer here. (In Python both have it.)
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
//! A pipe's end is no value that could be among the arguments: it is given by `stdin`, `stdout` or `stderr`.
//!
//! ```compile_fail,E0277
//! # use common::Process;
//! # fn read(pipe: os_pipe::PipeReader) {}
//! let (reader, _writer) = os_pipe::pipe()?;
//! let p = Process::new(read, reader);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
