//! What a worker says: read from its ring, and checked, word by word.
//!
//! Values of the job that is due come many at a time. Anything else comes alone; large values in pieces, as there is room in the
//! ring.

use super::items::{Packed, count_items};
use super::ring::{Damaged, INLINE, Kind, Reader, ResultHeader, WORD, words};
use super::values::Values;
use crate::os::{Page, Ring};
use std::ops::Range;

/// What it says; of how many items, if it is their values; and what belongs to that.
pub(super) type Reply = (Kind, u32, Packed);

/// Numbers of items. `None`: the worker is not ready yet.
type Due = Option<Range<u64>>;

/// What comes in pieces, as far as it has come, and how many bytes are to come.
type Download = (Kind, Vec<u8>, u64);

#[derive(Default)]
pub(super) struct Replies {
    pub results: Reader,
    pub download: Option<Download>,
    /// To be used again.
    pub buffer: Vec<u8>,
}

impl Replies {
    /// Reads on, and subtracts what it reads from `left`. The worker has to answer the items that are `due`, in this order,
    /// or, if that is `None`, to become ready. `None`: more of it is to come.
    pub fn next(&mut self, ring: &Ring, left: &mut u64, due: Due) -> Result<Option<Reply>, Damaged> {
        let (kind, mut bytes, missing) = match self.download.take() {
            Some(download) => download,
            None => {
                let (kind, length) = self.read_head(ring, left, due.as_ref())?;
                (kind, std::mem::take(&mut self.buffer), length)
            }
        };
        let count = missing.min(*left * WORD);
        self.results.pop_bytes(ring, count as usize, &mut bytes);
        *left -= words(count as usize);
        if missing > count {
            self.download = Some((kind, bytes, missing - count));
            return Ok(None);
        }
        let values = if kind == Kind::Value {
            check_values(&bytes, due)?
        } else {
            1
        };
        let content = Packed::take(&mut bytes);
        bytes.clear();
        self.buffer = bytes;
        Ok(Some((kind, values, content)))
    }

    /// Reads the kind and the length of what follows. What is not large must be there completely.
    fn read_head(&mut self, ring: &Ring, left: &mut u64, due: Option<&Range<u64>>) -> Result<(Kind, u64), Damaged> {
        let header = ResultHeader::from_word(self.results.pop(ring))?;
        *left -= 1;
        let whole = header.length > INLINE as u64 || words(header.length as usize) <= *left;
        // Checked before a length is believed: what is not due would swallow what comes behind it.
        let is_due = match header.kind {
            Kind::Started | Kind::Ready => due.is_none(),
            Kind::Fatal => due.is_none() || header.length <= INLINE as u64,
            Kind::Value | Kind::Error => due.is_some_and(|due| !due.is_empty() && header.is_of(due.start)),
        };
        if whole && is_due {
            Ok((header.kind, header.length))
        } else {
            Err(Damaged)
        }
    }

    /// The worker has died: what it had kept of what is `due`, and how many values that are.
    pub fn read_kept(&self, page: &Page, due: Range<u64>) -> Option<(u32, Packed)> {
        let is_due = |head: &ResultHeader| head.kind == Kind::Value && head.is_of(due.start);
        let (_, bytes) = Values::kept(page).filter(|(head, _)| is_due(head))?;
        Some((check_values(&bytes, Some(due)).ok()?, bytes.into()))
    }
}

/// How many values there are: some of what is due.
fn check_values(bytes: &[u8], due: Due) -> Result<u32, Damaged> {
    let most = due.map_or(0, |due| due.end - due.start);
    let count = count_items(bytes).ok_or(Damaged)?;
    if (1..=most).contains(&u64::from(count)) {
        Ok(count)
    } else {
        Err(Damaged)
    }
}
