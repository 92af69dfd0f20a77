//! The locks and atomics that threads share; or, when `pool::tests::model` checks the pool, those of the model checker loom,
//! which tries the possible orders in which threads use them.

#[cfg(not(all(test, model)))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, fence},
    },
    thread::{park_timeout, yield_now},
    time::Instant,
};

#[cfg(all(test, model))]
pub(crate) use crate::pool::tests::model::sync::*;
