//! What the compiler refuses, and why: `cargo test --doc` in this folder tries each of them. Python
//! runs all of them.
//!
//! A detached thread that borrows (E0373). It may outlive the function whose stack it reads; a
//! scoped thread may not, so there the same line compiles.
//!
//! ```compile_fail,E0373
//! let numbers = vec![1, 2, 3];
//! std::thread::spawn(|| println!("{numbers:?}"));
//! ```
//!
//! Using what a thread has taken along (E0382). `move` gave it away.
//!
//! ```compile_fail,E0382
//! let numbers = vec![1, 2, 3];
//! std::thread::spawn(move || println!("{numbers:?}"));
//! println!("{numbers:?}");
//! ```
//!
//! Two threads that change the same variable (E0499). One of them may, or both with a lock: see
//! lesson 06.
//!
//! ```compile_fail,E0499
//! let mut sum = 0;
//! crossbeam::scope(|s| {
//!     s.spawn(|_| sum += 1);
//!     s.spawn(|_| sum += 2);
//! })
//! .unwrap();
//! ```
//!
//! Sharing what is not made for threads (E0277). An `Rc` counts its owners without a lock; its twin
//! for threads is `Arc`.
//!
//! ```compile_fail,E0277
//! let name = std::rc::Rc::new("LoopThread");
//! std::thread::spawn(move || println!("{name}"));
//! ```
