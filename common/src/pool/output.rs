//! What has to be done when the queue's lock is free again: bells to ring, results to deliver.

use super::handles::{Outcome, ResultHandler};
use super::system::Link;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Output {
    /// Workers whose bells are to be rung. (The whole link is kept, because ringing a bell whose other end is closed would be
    /// a broken pipe.)
    pub bells: Vec<Arc<Link>>,
    /// Results, as they came out of the rings.
    pub bytes: Vec<u8>,
    /// Where they go: a handler, and the place of the first item there.
    completions: Vec<(Arc<ResultHandler>, usize, Outcome)>,
}

impl Output {
    pub fn push(&mut self, handler: Arc<ResultHandler>, index: usize, outcome: Outcome) {
        self.completions.push((handler, index, outcome));
    }

    /// Rings, delivers, and wakes the threads that wait. Returns how many items were delivered; their handlers are dropped by then.
    pub fn flush(&mut self) -> usize {
        for worker in self.bells.drain(..) {
            let _ = worker.bell.ring(); // a worker that cannot be rung is dead: its supervisor sees it
        }
        let mut delivered = 0;
        let mut wake: Vec<Arc<ResultHandler>> = Vec::new();
        for (handler, index, outcome) in self.completions.drain(..) {
            delivered += match outcome {
                Outcome::Values(count, _) => count as usize,
                Outcome::Large(_) | Outcome::Failed(_) => 1,
            };
            if handler.deliver(index, outcome, &self.bytes) {
                wake.push(handler);
            }
        }
        self.bytes.clear();
        wake.iter().for_each(|handler| handler.wake());
        delivered
    }
}
