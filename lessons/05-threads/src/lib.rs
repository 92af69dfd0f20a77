//! What the compiler refuses. `cargo test --doc` in this folder tries each of these; Python runs all of them.
//!
//! A detached thread that borrows a variable (E0373). It may outlive the function that the variable belongs to. A scoped
//! thread cannot, so there the same line compiles.
//!
//! ```compile_fail,E0373
//! let numbers = vec![1, 2, 3];
//! std::thread::spawn(|| println!("{numbers:?}"));
//! ```
//!
//! A detached thread that is given a reference (E0597). The reference may go to the thread, but the value that it refers to
//! lives only until the end of the block.
//!
//! ```compile_fail,E0597
//! let t = {
//!     let numbers = vec![1, 2, 3];
//!     let part = &numbers[..2];
//!     std::thread::spawn(move || println!("{part:?}"))
//! };
//! t.join().unwrap();
//! ```
//!
//! Using a value that a thread has taken over (E0382). `move` gave it away.
//!
//! ```compile_fail,E0382
//! let numbers = vec![1, 2, 3];
//! std::thread::spawn(move || println!("{numbers:?}"));
//! println!("{numbers:?}");
//! ```
//!
//! Two threads that change the same variable (E0499). One thread may, or both with a lock: see lesson 06.
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
//! Sharing a value that is not made for threads (E0277). The counter in an `Rc` is not atomic; that in an `Arc` is.
//!
//! ```compile_fail,E0277
//! let name = std::rc::Rc::new("LoopThread");
//! std::thread::spawn(move || println!("{name}"));
//! ```
