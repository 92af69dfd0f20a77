//! What a worker says: read from its ring, and checked, word by word.
//!
//! Values of the job that is due come many at a time, each in one piece. Anything else comes alone; large values in pieces, as
//! there is room in the ring.

use super::items::{LARGE, push_length};
use super::ring::{Damaged, INLINE, Kind, Reader, ResultHeader, WORD, words};
use crate::os::Ring;
use std::ops::Range;

pub(super) enum Reply {
    /// The next values of the job that is due, as many.
    Values(u32),
    /// Something else, or one large value, as in `items`.
    Other(Kind, Vec<u8>),
    /// More of it is to come.
    Part,
}

/// Numbers of items. `None`: the worker is not ready yet.
type Due = Option<Range<u64>>;

/// What comes in pieces, as far as it has come, and how many bytes are to come.
type Download = (Kind, Vec<u8>, u64);

#[derive(Default)]
pub(super) struct Replies {
    results: Reader,
    pub download: Option<Download>,
}

impl Replies {
    /// How many words there are to read.
    pub fn available(&self, ring: &Ring) -> Result<u64, Damaged> {
        self.results.available(ring)
    }

    /// Lets the worker use the room again.
    pub fn release(&self, ring: &Ring) {
        self.results.release(ring);
    }

    /// Reads on, and takes what it reads off from the words that are `left`. The worker has to answer `due`, in this order, or,
    /// if that is `None`, to get ready. Values of these are appended to `out`.
    pub fn next(&mut self, ring: &Ring, left: &mut u64, due: Due, out: &mut Vec<u8>) -> Result<Reply, Damaged> {
        let (kind, mut item, missing) = match self.download.take() {
            Some(download) => download,
            None => match self.read_values(ring, left, due.clone(), out)? {
                0 => self.read_head(ring, left, due)?,
                count => return Ok(Reply::Values(count)),
            },
        };
        let count = missing.min(*left * WORD);
        self.results.pop_bytes(ring, count as usize, &mut item);
        *left -= words(count as usize);
        if missing == count {
            return Ok(Reply::Other(kind, item));
        }
        self.download = Some((kind, item, missing - count));
        Ok(Reply::Part)
    }

    fn read_values(&mut self, ring: &Ring, left: &mut u64, due: Due, out: &mut Vec<u8>) -> Result<u32, Damaged> {
        let mut count = 0;
        for item in due.unwrap_or_default() {
            if *left == 0 {
                break;
            }
            let header = ResultHeader::from_word(self.results.peek(ring))?;
            if header.kind != Kind::Value || header.length == LARGE {
                break;
            }
            let length = header.length as usize;
            *left = left.checked_sub(1 + words(length)).ok_or(Damaged)?;
            if !header.is_of(item) {
                return Err(Damaged);
            }
            self.results.pop(ring);
            push_length(out, length as u64);
            self.results.pop_bytes(ring, length, out);
            count += 1;
        }
        Ok(count)
    }

    /// Reads the head of what is no short value. What is not large comes as a whole.
    fn read_head(&mut self, ring: &Ring, left: &mut u64, due: Due) -> Result<Download, Damaged> {
        let header = ResultHeader::from_word(self.results.pop(ring))?;
        *left -= 1;
        let (length, whole) = match header.length {
            LARGE if *left > 0 => {
                *left -= 1;
                let length = self.results.pop(ring);
                (length, length > INLINE as u64)
            }
            length => (u64::from(length), words(length as usize) <= *left),
        };
        let early = matches!(header.kind, Kind::Started | Kind::Ready | Kind::NotReady);
        // Checked before a length is believed: what is not due would swallow what comes behind it.
        let is_due = early == due.is_none() && due.is_none_or(|due| !due.is_empty() && header.is_of(due.start));
        if !whole || !is_due {
            return Err(Damaged);
        }
        let mut item = Vec::new();
        push_length(&mut item, length);
        Ok((header.kind, item, length))
    }
}
