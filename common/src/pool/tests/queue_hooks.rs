//! What tests see of a queue.

use super::Queue;
use crate::os::CodeRef;
use crate::pool::slot::Slot;
use crate::sync::AtomicU64;
use std::ops::Range;

impl Queue {
    pub fn slot(&self, worker: usize) -> &Slot {
        &self.slots[worker]
    }

    /// The places of what waits, in order.
    pub fn waiting(&self) -> Vec<Range<usize>> {
        let jobs = self.jobs.iter();
        jobs.map(|job| job.index..job.index + job.count as usize).collect()
    }

    /// How many items are not answered.
    pub fn items_pending(&self) -> usize {
        let in_flight: u64 = self.slots.iter().map(|slot| slot.in_flight.items()).sum();
        self.jobs.iter().map(|job| job.count as usize).sum::<usize>() + in_flight as usize
    }

    /// What holds whenever the queue was left, whatever a worker has written.
    pub fn assert_order(&self) {
        assert!(
            self.jobs.iter().is_sorted_by_key(|job| job.order()),
            "jobs wait out of order"
        );
    }

    /// The function was very quick several times in a row, or slow twice.
    pub fn learn(&mut self, quick: bool) {
        let (times, took, left) = if quick { (5, 1, 0) } else { (2, 1_000_000_000, 1) };
        for _ in 0..times {
            let took = AtomicU64::new(took);
            self.depths.adapt(CodeRef::default(), 1_000, left, &took);
        }
    }

    /// No worker is idle while a job waits, or while another one was sent items that it cannot start at once.
    pub fn assert_nobody_idles(&self) {
        if self.idle() > 0 {
            assert!(self.jobs.is_empty(), "a job waits, but a worker is idle");
            let waiting: Vec<u64> = self.slots.iter().map(Slot::waiting).collect();
            assert!(
                waiting.iter().all(|&items| items == 0),
                "items wait ({waiting:?}), but a worker is idle"
            );
        }
    }
}
