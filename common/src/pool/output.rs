//! What has to be done when the queue's lock is free again: bells to ring, results to deliver.

use super::handles::{Failure, Outcome, ResultHandler};
use super::system::Ringer;
use std::ops::Range;
use std::sync::Arc;

/// What came of one or more consecutive items.
pub(super) enum Completed {
    /// Packed values: bytes of the output.
    Values(u32, Range<usize>),
    Large(Vec<u8>),
    Failed(Failure),
}

struct Completion {
    handler: Arc<dyn ResultHandler>,
    index: usize,
    completed: Completed,
}

#[derive(Default)]
pub(super) struct Output {
    pub bells: Vec<Arc<Ringer>>,
    /// Results, as they came out of the rings.
    pub bytes: Vec<u8>,
    completions: Vec<Completion>,
}

impl Output {
    pub fn push(&mut self, handler: Arc<dyn ResultHandler>, index: usize, completed: Completed) {
        self.completions.push(Completion {
            handler,
            index,
            completed,
        });
    }

    /// Packed values, some of the bytes. Neighbours are delivered together.
    pub fn push_values(&mut self, handler: &Arc<dyn ResultHandler>, index: usize, count: u32, bytes: Range<usize>) {
        if let Some(last) = self.completions.last_mut() {
            if let Completed::Values(before, range) = &mut last.completed {
                let next = last.index + *before as usize == index && range.end == bytes.start;
                if next && Arc::ptr_eq(&last.handler, handler) {
                    *before += count;
                    range.end = bytes.end;
                    return;
                }
            }
        }
        self.push(handler.clone(), index, Completed::Values(count, bytes));
    }

    /// Rings, delivers, and wakes the threads that wait. Returns how many items were delivered; their handlers are dropped by then.
    pub fn flush(&mut self) -> usize {
        for bell in self.bells.drain(..) {
            let _ = bell.ring(); // a worker that cannot be rung is dead: its supervisor sees it
        }
        let mut delivered = 0;
        let mut wake: Vec<Arc<dyn ResultHandler>> = Vec::new();
        for Completion {
            handler,
            index,
            completed,
        } in self.completions.drain(..)
        {
            let outcome = match completed {
                Completed::Values(count, range) => Outcome::Values(count, &self.bytes[range]),
                Completed::Large(bytes) => Outcome::Large(bytes),
                Completed::Failed(failure) => Outcome::Failed(failure),
            };
            delivered += outcome.count();
            if handler.deliver(index, outcome) {
                wake.push(handler);
            }
        }
        self.bytes.clear();
        wake.iter().for_each(|handler| handler.wake());
        delivered
    }
}
