//! What tests see of a worker's slot.

use super::{INLINE, MAX_DELIVERIES, Slot};
use std::ops::Range;
use std::sync::atomic::Ordering::Acquire;

impl Slot {
    /// The place of an item in its handler.
    pub fn index_of(&self, item: u64) -> Option<usize> {
        let sent = self
            .in_flight
            .sent
            .iter()
            .find(|sent| sent.unanswered().contains(&item))?;
        Some(sent.job.index + (item - sent.first) as usize)
    }

    /// The places of what it was sent and has not answered.
    pub fn unanswered(&self) -> Vec<Range<usize>> {
        let places = |index: usize, answered: u32, count: u32| index + answered as usize..index + count as usize;
        let sent = self.in_flight.sent.iter();
        sent.map(|sent| places(sent.job.index, sent.answered, sent.job.count))
            .collect()
    }

    /// The place of the first item of a large job that is given up if this worker dies before it begins it.
    pub fn last_try(&self) -> Option<usize> {
        let sent = self.in_flight.sent.front()?;
        let large = sent.answered == 0 && sent.job.items.len() > INLINE;
        (large && sent.job.deliveries >= MAX_DELIVERIES - 1).then_some(sent.job.index)
    }

    /// How much memory was taken for results.
    pub fn capacity(&self) -> usize {
        self.replies.bytes.capacity()
    }

    /// How many items wait behind another one. (Those of a large job do when all of it has come.)
    pub fn waiting(&self) -> u64 {
        let link = self
            .link
            .as_ref()
            .filter(|_| self.in_flight.items() > 1 && self.upload.is_none());
        link.map_or(0, |link| {
            self.in_flight.next.saturating_sub(link.page.next.load(Acquire))
        })
    }
}
