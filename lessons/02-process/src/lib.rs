//! What the compiler refuses in this lesson. `cargo test --doc` in this folder tries each of it.
//!
//! A process that was not started cannot be joined. (Python raises AssertionError when it gets there.)
//!
//! ```compile_fail,E0599
//! # use common::Process;
//! # fn run_proc(name: String) {}
//! let p = Process::new(run_proc, "test".to_string());
//! p.join();
//! ```
//!
//! Arguments that do not fit the function. (Python: TypeError, in the child.)
//!
//! ```compile_fail,E0308
//! # use common::Process;
//! # fn run_proc(name: String) {}
//! let p = Process::new(run_proc, 42);
//! ```
//!
//! A closure that takes something along from here: the other process has other memory. (Python: "Can't pickle", or no
//! error at all where the child is a copy.)
//!
//! ```compile_fail,E0308
//! # use common::Process;
//! let name = "test".to_string();
//! let p = Process::new(move |()| println!("Run child process {name}..."), ());
//! ```
