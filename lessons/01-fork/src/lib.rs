//! What the compiler refuses, and why: `cargo test --doc` in this folder tries each of them.
//!
//! `fork` without `unsafe` (E0133). The child gets the one thread that called `fork`, and the locks
//! of all the others as they were, held for ever. Whether that can happen here the compiler cannot
//! know, so somebody has to vouch for it:
//!
//! ```compile_fail,E0133
//! let result = nix::unistd::fork();
//! ```
//!
//! Forgetting the child's side. In Python, code below `if pid == 0:` runs in both processes unless
//! the child leaves. Here an arm that is to never end says `-> !`, and one that returns is refused
//! (E0308):
//!
//! ```compile_fail,E0308
//! fn run_child() -> ! {
//!     println!("I am the child, and I go on with my parent's loop.");
//! }
//! ```
