//! What the compiler refuses. `cargo test --doc` in this folder tries each of these; Python runs all of them.
//!
//! Changing the balance without the lock (E0368). While the mutex is shared, its contents can be reached only through
//! `lock()`.
//!
//! ```compile_fail,E0368
//! let mut balance = std::sync::Mutex::new(0);
//! balance += 5;
//! ```
//!
//! Two threads and no lock at all (E0499), or a global variable and no lock (E0133, without `unsafe`).
//!
//! ```compile_fail,E0499
//! let mut balance = 0;
//! crossbeam::scope(|s| {
//!     s.spawn(|_| balance += 5);
//!     s.spawn(|_| balance -= 5);
//! })
//! .unwrap();
//! ```
//!
//! ```compile_fail,E0133
//! static mut BALANCE: i64 = 0;
//! fn run_thread(n: i64) {
//!     BALANCE += n;
//! }
//! ```
//!
//! Changing the balance after the release (E0382). `drop` has taken the guard.
//!
//! ```compile_fail,E0382
//! let lock = std::sync::Mutex::new(0);
//! let mut balance = lock.lock().unwrap();
//! drop(balance);
//! *balance += 5;
//! ```
//!
//! Releasing the lock in another thread (E0277). A guard stays in the thread that has acquired it.
//!
//! ```compile_fail,E0277
//! static LOCK: std::sync::Mutex<i64> = std::sync::Mutex::new(0);
//! let balance = LOCK.lock().unwrap();
//! std::thread::spawn(move || drop(balance));
//! ```
//!
//! Throwing the guard away at once (the lint `let_underscore_lock`, an error by default). `_` is not a variable: the lock
//! would be free again before the next line.
//!
//! ```compile_fail
//! let lock = std::sync::Mutex::new(0);
//! let _ = lock.lock();
//! ```

mod own_lock;
pub use own_lock::{Flag, count_under};
