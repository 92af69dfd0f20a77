//! How many tasks of a function may be in flight to a worker (a chunk counts as one): few at first; twice as many each time a
//! worker has done all of them very quickly; few again when a worker has taken long twice in a row while more wait behind.
//!
//! What one worker has shown holds for all, because the same function takes equally long in each of them. The workers measure
//! this time themselves: measured by the pool, it would include the time that a worker waited for a processor.

use crate::os::CodeRef;
use crate::sync::AtomicU64;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How many at first (fewer, where others have work for the processors).
pub(super) const FEW: usize = 2;

const MAX_IN_FLIGHT: usize = 512;

/// Jobs that are done within this time are worth sending ahead.
const QUICK: Duration = Duration::from_micros(300);

#[derive(Default)]
pub(super) struct Depths {
    pub least: usize,
    /// Of functions that were called: how many jobs, and whether a worker took long last.
    of: BTreeMap<CodeRef, (usize, bool)>,
}

impl Depths {
    /// `least` jobs, at first and always.
    pub fn new(least: usize) -> Depths {
        let of = BTreeMap::new();
        Depths { least, of }
    }

    pub fn get(&self, function: CodeRef) -> usize {
        self.of.get(&function).map_or(self.least, |(depth, _)| *depth)
    }

    /// A worker has `answered` jobs of a function, and some are `left`. `took`: see `Page`.
    pub fn adapt(&mut self, function: CodeRef, answered: usize, left: usize, took: &AtomicU64) {
        let took = Duration::from_nanos(took.swap(0, Relaxed));
        if took.is_zero() {
            return; // nothing new
        }
        let (depth, was_late) = self.of.entry(function).or_insert((self.least, false));
        let late = left > 0 && took >= QUICK;
        if left == 0 && took < QUICK && answered >= *depth {
            *depth = (2 * *depth).min(MAX_IN_FLIGHT);
        }
        if std::mem::replace(was_late, late) && late {
            *depth = self.least; // once is not enough: something else may have run on its processor
        }
    }
}
