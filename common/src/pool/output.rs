//! What has to be done when the queue's lock is free again: bells to ring, results to deliver.

use super::handles::{Failure, ResultHandler, Unobserved};
use super::items::Packed;
use super::system::Link;
use crate::error::Error;
use std::sync::Arc;

/// Where an outcome goes: a handler, and the place of the first item there; how many items it is of; and the outcome.
type Completion = (Arc<ResultHandler>, usize, u32, Result<Packed, Box<Error>>);

#[derive(Default)]
pub(super) struct Output {
    /// Workers whose bells are to be rung. (The whole link is kept, because ringing a bell whose other end is closed would be
    /// a broken pipe.)
    pub bells: Vec<Arc<Link>>,
    pub completions: Vec<Completion>,
}

impl Output {
    /// Rings, delivers, and wakes the threads that wait.
    pub fn flush(&mut self, unobserved: &Unobserved) {
        for worker in self.bells.drain(..) {
            let _ = worker.bell.ring(); // a worker that cannot be rung is dead: its supervisor sees it
        }
        let mut wake = Vec::new();
        for (handler, index, count, outcome) in self.completions.drain(..) {
            let outcome = outcome.map_err(|error| {
                Box::new(Failure {
                    error: *error,
                    count,
                    unobserved: Some(unobserved.clone()),
                })
            });
            let waited_for = handler.deliver(index, count, outcome);
            wake.extend(waited_for.map(|task| (handler, task)));
        }
        wake.into_iter().for_each(|(handler, task)| handler.wake(task));
    }
}
