//! How many jobs may be in flight to a worker: few at first; twice as many when it has done all of them in no time; half as many
//! when one took long while others waited behind it.

use crate::sync::{AtomicU64, Instant};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const MAX_IN_FLIGHT: usize = 512;

/// Jobs that are done within this time are worth sending ahead.
const QUICK: Duration = Duration::from_micros(300);

#[derive(Default)]
pub(super) struct Depth {
    depth: usize,
    least: usize,
    answered_at: Option<Instant>,
}

impl Depth {
    /// `least` jobs, at first and always.
    pub fn new(least: usize) -> Depth {
        Depth {
            depth: least,
            least,
            answered_at: None,
        }
    }

    pub fn get(&self) -> usize {
        self.depth
    }

    /// Jobs were `answered` now, and some are `left`. `took`: how many nanoseconds the worker took, by its own clock, for what it
    /// had when it ran dry last. (By the pool's clock, it may have waited for a processor.)
    pub fn adapt(&mut self, answered: usize, left: usize, took: &AtomicU64) {
        match (answered, left) {
            (0, _) => {}
            (_, 0) => {
                let quick = Duration::from_nanos(took.load(Relaxed)) < QUICK;
                if quick && answered >= self.depth {
                    self.depth = (2 * self.depth).min(MAX_IN_FLIGHT);
                }
            }
            (1, _) => {
                let now = Instant::now();
                let before = self.answered_at.replace(now);
                if before.is_some_and(|before| now.duration_since(before) >= QUICK) {
                    self.depth = (self.depth / 2).max(self.least);
                }
            }
            _ => {}
        }
    }
}
