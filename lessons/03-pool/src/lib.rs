//! What the compiler refuses in this lesson. `cargo test --doc` in this folder tries each of these.
//!
//! An open pool cannot be joined. (Python raises "ValueError: Pool is still running".)
//!
//! ```compile_fail,E0599
//! # use common::Pool;
//! let pool = Pool::new(4)?;
//! pool.join()?;
//! # Ok::<(), common::Error>(())
//! ```
//!
//! A closed pool takes no more tasks. (Python raises "ValueError: Pool not running".)
//!
//! ```compile_fail,E0599
//! # use common::Pool;
//! # fn long_time_task(name: u32) {}
//! let pool = Pool::new(4)?.close();
//! pool.apply_async(long_time_task, 5);
//! # Ok::<(), common::Error>(())
//! ```
//!
//! `close` consumes the open pool: it cannot be used any more, whatever name is given to what `close` returns.
//!
//! ```compile_fail,E0382
//! # use common::Pool;
//! # fn long_time_task(name: u32) {}
//! let pool = Pool::new(4)?;
//! let closed = pool.close();
//! pool.apply_async(long_time_task, 5);
//! # Ok::<(), common::Error>(())
//! ```
