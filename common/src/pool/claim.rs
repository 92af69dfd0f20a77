//! Which side has an item: the one question that pool and worker decide without messages.
//!
//! A worker is sent more than one item ahead, so that it need not wait for the next one. Then an item may lie behind a long
//! one while another worker is idle, and the pool wants it back. And when a worker dies, the pool must know which item it was
//! doing, as opposed to those that were only waiting.
//!
//! Both follow from one number in memory that both see, `next`: the first item that the worker has not started.
//!
//! * The worker **claims** item i before it starts it: if `next` is i, it becomes i + 1. If `next` is larger, the item was
//!   taken back, and the worker passes over it.
//! * The pool **recalls** what was not started: `next` becomes `end`, the number after the last item sent. What it jumped
//!   over is the pool's again, and goes to another worker.
//!
//! Both are a compare-and-exchange on the same number, so one of the two comes first, and the other sees it. Neither waits; if
//! a worker dies at any point, the number is still correct.

use crate::sync::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// In the worker: may it start `item`?
pub(super) fn claim(next: &AtomicU64, item: u64) -> bool {
    next.compare_exchange(item, item + 1, AcqRel, Acquire).is_ok()
}

/// In the pool: takes back every item that was not started. Returns the first of them, or `end` if there is none.
pub(super) fn recall(next: &AtomicU64, end: u64) -> u64 {
    let recalled = next.fetch_update(AcqRel, Acquire, |first| (first < end).then_some(end));
    recalled.unwrap_or(end)
}
