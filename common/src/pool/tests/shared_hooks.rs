//! What tests see of what a pool shares, and its collector's life in pieces.

use super::{Output, Shared};
use crate::error::Error;
use std::time::Duration;

impl Shared {
    pub fn items_pending(&self) -> usize {
        let queue = self.queue();
        queue.items_pending()
            + self
                .lock_inbox()
                .jobs
                .iter()
                .map(|job| job.count as usize)
                .sum::<usize>()
    }

    /// The collector takes in what has come. False: nothing.
    pub fn collector_round(&self, out: &mut Output) -> bool {
        self.round(false, out)
    }

    /// The collector is about to sleep. False: it must not.
    pub fn collector_sleeps(&self, out: &mut Output) -> bool {
        !self.round(true, out)
    }

    /// A worker could not be started.
    pub fn strike(&self, worker: usize, error: Error, own_fault: bool) -> Option<Duration> {
        self.with_queue(|queue, out| queue.start_failed(worker, error, own_fault, out))
    }
}
