//! What threads share: locks and numbers; or, where `pool::tests::model` checks the pool, those of loom, which tries the orders
//! in which they can be used.

#[cfg(not(all(test, model)))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence},
    },
    thread::yield_now,
    time::Instant,
};

#[cfg(all(test, model))]
pub(crate) use crate::pool::tests::model::sync::*;
