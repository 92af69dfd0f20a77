//! What a worker says: read from its ring, and checked, word by word.
//!
//! Values of the chunk that is due come many at a time. Anything else comes alone; large values in pieces, as there is room in the
//! ring.

use super::items::{Items, Packed};
use super::ring::{Damaged, INLINE, Kind, Reader, ResultHeader, words};
use crate::os::Ring;
use std::ops::Range;

#[derive(Default)]
pub(super) struct Replies {
    pub results: Reader,
    /// The head of what comes in pieces.
    begun: Option<ResultHeader>,
    /// What has come of it. (The memory is used again.)
    pub bytes: Vec<u8>,
}

impl Replies {
    /// Reads on, and subtracts what it reads from `left`. The worker has to answer the items that are `due`, in this order,
    /// or, if that is `None`, to become ready. Returns what the worker says, and what belongs to that; or `None`, if more of it
    /// is to come.
    pub fn next(
        &mut self,
        ring: &Ring,
        left: &mut u64,
        due: Option<Range<u64>>,
    ) -> Result<Option<(Kind, Packed)>, Damaged> {
        let header = match self.begun.take() {
            Some(begun) => begun,
            None => self.read_head(ring, left, due)?,
        };
        *left -= self.results.pop_payload(ring, header.length, *left, &mut self.bytes);
        if (self.bytes.len() as u64) < header.length {
            self.begun = Some(header);
            return Ok(None);
        }
        Ok(Some((header.kind, Packed::take(&mut self.bytes))))
    }

    /// What is not large must be there completely; of what is large, a first piece.
    fn read_head(&mut self, ring: &Ring, left: &mut u64, due: Option<Range<u64>>) -> Result<ResultHeader, Damaged> {
        let header = ResultHeader::from_word(self.results.pop(ring))?;
        *left -= 1;
        let there = words(header.length.min(INLINE as u64) as usize) <= *left;
        // Checked before a length is believed: what is not due would swallow what comes behind it.
        let is_due = match header.kind {
            Kind::Started | Kind::Ready => due.is_none(),
            Kind::Fatal => due.is_none() || header.length <= INLINE as u64,
            Kind::Value | Kind::Error => due.is_some_and(|due| !due.is_empty() && header.is_of(due.start)),
        };
        (there && is_due).then_some(header).ok_or(Damaged)
    }
}

/// How many values there are: some of what is due.
pub(super) fn count_values(bytes: &[u8], due: Range<u64>) -> Result<u32, Damaged> {
    let mut values = Items(bytes);
    let count = values.by_ref().count() as u64;
    let possible = values.0.is_empty() && (1..=due.end - due.start).contains(&count);
    possible.then_some(count as u32).ok_or(Damaged)
}
