//! What the compiler refuses in this lesson, and what it accepts. `cargo test --doc` in this folder tries each of these.
//!
//! A process that was not started cannot be joined. (Python raises an AssertionError when it gets there.)
//!
//! ```compile_fail,E0599
//! # use common::Process;
//! # fn run_proc(name: String) {}
//! let p = Process::new(run_proc, "test".to_string());
//! p.join();
//! ```
//!
//! The argument must have the type that the function takes. (Python raises a TypeError, in the child.)
//!
//! ```compile_fail,E0308
//! # use common::Process;
//! # fn run_proc(name: String) {}
//! let p = Process::new(run_proc, 42);
//! ```
//!
//! A closure cannot capture variables, because the other process has memory of its own. (Python says "Can't pickle", or
//! nothing at all where the child is a copy.)
//!
//! ```compile_fail,E0308
//! # use common::Process;
//! let name = "test".to_string();
//! let p = Process::new(move |()| println!("Run child process {name}..."), ());
//! ```
//!
//! The function cannot borrow its argument, because in the other process there is no owner to borrow it from. Instead of
//! `&str`, take `String`:
//!
//! ```compile_fail
//! # use common::Process;
//! fn run_proc(name: &str) {}
//! let p = Process::new(run_proc, "test");
//! ```
//!
//! A struct of your own can be turned into bytes only if it derives serde's two traits:
//!
//! ```compile_fail,E0277
//! # use common::Process;
//! struct Job { name: String, attempts: u32 }
//! fn run(job: Job) -> u32 { job.attempts }
//! let p = Process::new(run, Job { name: "test".to_string(), attempts: 3 });
//! ```
//!
//! With the two derives it can be sent like everything else, and so can a `Result`:
//!
//! ```
//! # use common::Process;
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Job { name: String, attempts: u32 }
//!
//! fn run(job: Job) -> Result<u32, String> {
//!     if job.attempts == 0 { Err(format!("{} may not even try", job.name)) } else { Ok(job.attempts) }
//! }
//!
//! fn main() -> Result<(), common::Error> {
//!     common::init();
//!     let p = Process::new(run, Job { name: "test".to_string(), attempts: 3 }).start()?;
//!     assert_eq!(p.join()?, Ok(3));
//!     Ok(())
//! }
//! ```
