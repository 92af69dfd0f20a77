//! What is to be done: calls of one function, with consecutive items.

use super::handles::ResultHandler;
use super::items::{Packed, skip_items};
use crate::os::CodeRef;
use std::ops::Range;
use std::sync::Arc;

/// Calls whose results go to one handler: a task, or a chunk of a `map`.
pub(super) struct Job {
    /// Jobs are started in the order in which they were submitted.
    pub sequence: u64,
    pub function: CodeRef,
    pub items: Packed,
    pub handler: Arc<dyn ResultHandler>,
    /// The first item's place in the handler.
    pub index: usize,
    pub count: u32,
    /// How many workers have died before they had all of it: see `slot`.
    pub deliveries: u8,
}

impl Job {
    /// Keeps the first `count` items; returns the others.
    pub fn split_off(&mut self, count: u32) -> Job {
        // The pool packed these items itself: they are whole.
        let rest = skip_items(&self.items, count).unwrap_or_default();
        let kept = self.items.len() - rest.len();
        let others = Job {
            items: rest.into(),
            handler: self.handler.clone(),
            index: self.index + count as usize,
            count: self.count - count,
            ..*self
        };
        self.items = self.items[..kept].into();
        self.count = count;
        others
    }

    pub fn order(&self) -> (u64, usize) {
        (self.sequence, self.index)
    }
}

/// A job in flight.
pub(super) struct Sent {
    pub job: Job,
    /// Its first item's number at this worker.
    pub first: u64,
    /// How many of its items are answered.
    pub answered: u32,
}

impl Sent {
    pub fn unanswered(&self) -> Range<u64> {
        self.first + u64::from(self.answered)..self.first + u64::from(self.job.count)
    }
}
