//! What tests see of what a pool shares, and its collector's life in pieces.

use super::{Output, Shared};
use crate::error::Error;
use crate::pool::job::Job;
use crate::pool::queue::Queue;
use crate::sync::MutexGuard;
use std::time::Duration;

impl Shared {
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.lock()
    }

    pub fn items_pending(&self) -> usize {
        self.pending(&self.lock_inbox())
    }

    /// Another thread holds the queue, and has looked into the inbox already, when jobs are submitted.
    pub fn submit_while_held(&self, jobs: Vec<Job>) {
        let mut out = Output::default();
        let queue = self.lock();
        jobs.into_iter().for_each(|job| self.submit(job));
        self.release(queue, &mut out);
    }

    /// The collector takes in what has come. False: nothing.
    pub fn collector_round(&self, out: &mut Output) -> bool {
        self.round(out)
    }

    /// The collector is about to sleep. False: it must not.
    pub fn collector_sleeps(&self, out: &mut Output) -> bool {
        !self.last_round(out)
    }

    pub fn collector_wakes(&self) {
        self.lock().unwatch();
    }

    /// As [`start_failed`](Shared::start_failed), without a pause.
    pub fn strike(&self, worker: usize, error: Error, own_fault: bool) -> Option<Duration> {
        self.with_queue(|queue, out| queue.start_failed(worker, error, own_fault, out))
    }
}
