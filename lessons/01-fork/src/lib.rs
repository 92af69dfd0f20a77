//! What the compiler refuses in this lesson, and why. `cargo test --doc` in this folder tries each of these.
//!
//! Calling `fork` without `unsafe` (E0133). The child has only the thread that called `fork`, but the locks of all threads,
//! in the state in which they were: a lock that another thread held stays locked forever. The compiler cannot know whether
//! there is such a lock, so the programmer has to guarantee that there is none:
//!
//! ```compile_fail,E0133
//! let result = nix::unistd::fork();
//! ```
//!
//! Forgetting to leave the child (E0308). In Python, the code below `if pid == 0:` runs in both processes unless the child
//! exits. Here `-> !` says that a function never returns, and the compiler rejects one that does:
//!
//! ```compile_fail,E0308
//! fn run_child() -> ! {
//!     println!("I am the child, and I go on with my parent's loop.");
//! }
//! ```
