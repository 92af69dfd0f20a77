//! How many jobs of a function may be in flight to a worker: few at first; twice as many when a worker has done all of them in no
//! time; few again when it takes long for one after the other while more wait behind them.
//!
//! What one worker has shown holds for all: they take as long for the same function.

use crate::os::CodeRef;
use crate::sync::Instant;
use std::collections::HashMap;
use std::time::Duration;

/// How many at first (fewer, where others have work for the processors).
pub(super) const FEW: usize = 2;

const MAX_IN_FLIGHT: usize = 512;

/// Jobs that are done within this time are worth sending ahead.
const QUICK: Duration = Duration::from_micros(300);

#[derive(Default)]
pub(super) struct Depths {
    least: usize,
    /// Of functions that were called.
    of: HashMap<CodeRef, usize>,
}

/// When a worker has answered.
#[derive(Default)]
pub(super) struct Answers {
    at: Option<Instant>,
    /// The last answer came alone, and late.
    late: bool,
}

impl Depths {
    /// `least` jobs, at first and always.
    pub fn new(least: usize) -> Depths {
        let of = HashMap::new();
        Depths { least, of }
    }

    pub fn get(&self, function: CodeRef) -> usize {
        *self.of.get(&function).unwrap_or(&self.least)
    }

    /// Jobs of a function were `answered` now, and some are `left`. `took`: how many nanoseconds the worker took, by its own clock,
    /// for what it had when it ran dry last. (By the pool's clock, it may have waited for a processor.)
    pub fn adapt(&mut self, function: CodeRef, answered: usize, left: usize, took: u64, answers: &mut Answers) {
        let depth = self.of.entry(function).or_insert(self.least);
        if left == 0 && Duration::from_nanos(took) < QUICK && answered >= *depth {
            *depth = (2 * *depth).min(MAX_IN_FLIGHT);
        }
        let now = Instant::now();
        let before = answers.at.replace(now);
        let late = answered == 1 && left > 0 && before.is_some_and(|before| now.duration_since(before) >= QUICK);
        if std::mem::replace(&mut answers.late, late) && late {
            *depth = self.least; // late once is not enough: it may have waited for a processor
        }
    }
}
