//! Values that a worker has, and has not published yet.
//!
//! Publishing each value of a chunk would cost more than a short call, so a worker publishes many together. But if it dies,
//! only one item may be lost, not all of these. So the values are also kept in its page, beside the rings, where the pool
//! looks only after a death: that memory stays in the cache of the worker's processor, and is written to as fast as any other.
//!
//! Invariant: the page holds values of consecutive items, and the pool has been sent either none of them or all. (All, if the
//! worker died just after it had published them; their items are then no longer due.) Called by `worker`, and by `replies`
//! after a death.

use super::items::push_item;
use super::ring::{Kind, ResultHeader};
use crate::os::Page;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Memory that larger tasks and results needed is given back at once.
pub(super) const MAX_RETAINED: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Values {
    /// The item of the first value.
    pub first: u64,
    /// As in `items`.
    pub bytes: Vec<u8>,
    /// How many of the bytes are in the page too: all, or all but the last value.
    kept: usize,
}

impl Values {
    /// Appends what `write` appends: the value of the next item.
    #[inline]
    pub fn push<E>(&mut self, item: u64, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        if self.bytes.is_empty() {
            self.first = item;
        }
        push_item(&mut self.bytes, write)
    }

    /// Keeps the values in the page. Returns false if there is no room for the last one.
    #[inline]
    pub fn keep(&mut self, page: &Page) -> bool {
        let end = self.bytes.len();
        let Some(places) = page.kept_bytes.get(self.kept..end) else {
            return false;
        };
        // Byte by byte: to load more at a time than was just stored is slow (no store forwarding).
        let bytes = places.iter().zip(&self.bytes[self.kept..]);
        bytes.for_each(|(place, &byte)| place.store(byte, Relaxed));
        self.kept = end;
        let head = ResultHeader::new(Kind::Value, self.first, end as u64);
        page.kept.store(head.to_word(), Release);
        true
    }

    /// What is kept in the page of a worker, with its head.
    pub fn kept(page: &Page) -> Option<(ResultHeader, Vec<u8>)> {
        let head = ResultHeader::from_word(page.kept.load(Acquire)).ok()?;
        let bytes = page.kept_bytes.get(..head.length as usize)?;
        Some((head, bytes.iter().map(|byte| byte.load(Relaxed)).collect()))
    }

    /// The values have been published.
    pub fn clear(&mut self, page: &Page) {
        if self.kept > 0 {
            page.kept.store(0, Release);
        }
        self.kept = 0;
        self.bytes.clear();
        self.bytes.shrink_to(MAX_RETAINED);
    }
}
