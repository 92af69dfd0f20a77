//! What travels between a pool and its workers.
//!
//! To a worker: a header of [`TASK_HEADER`] bytes, then items. An item is one call's arguments: a length, then as many bytes.
//! A task of `apply_async` is a message with one item; a chunk of `map` is one with many.
//!
//! From a worker: a header of [`RESULT_HEADER`] bytes, then the results of consecutive items, in the same form, or one fault.

use crate::sys::CodeRef;

pub(super) const TASK_HEADER: usize = 32;
pub(super) const RESULT_HEADER: usize = 25;

/// The head of a message to a worker: some items, or one of the two words without items.
#[derive(Clone, Copy)]
pub(super) struct TaskHeader {
    /// The first item's number. A worker's items are numbered from 0 on.
    pub first: u64,
    pub entry: CodeRef,
    pub count: u32,
    /// What the caller calls the first item, for the timeline.
    pub label: u32,
    /// Bytes of all items.
    pub length: u64,
}

impl TaskHeader {
    /// "Say that you are there"; see `Queue::rebalance`.
    pub const CALL: TaskHeader = TaskHeader {
        first: 0,
        entry: CodeRef::NONE,
        count: 0,
        label: 0,
        length: 0,
    };

    /// "It is over." The end of the pipe would say so too, but may be late: whatever this program forks holds it open.
    pub const END: TaskHeader = TaskHeader {
        label: 1,
        ..TaskHeader::CALL
    };

    pub fn to_bytes(self) -> [u8; TASK_HEADER] {
        let mut bytes = [0; TASK_HEADER];
        bytes[..8].copy_from_slice(&self.first.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.entry.to_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.label.to_le_bytes());
        bytes[24..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; TASK_HEADER]) -> TaskHeader {
        TaskHeader {
            first: number(&bytes[..8]),
            entry: CodeRef::from_bytes(number(&bytes[8..16]).to_le_bytes()),
            count: number(&bytes[16..20]) as u32,
            label: number(&bytes[20..24]) as u32,
            length: number(&bytes[24..]),
        }
    }
}

/// What a worker has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It can begin.
    Ready = 1,
    /// Its initializer failed; a fault follows.
    NotReady = 2,
    /// It is there, and idle.
    Here = 3,
    /// The results of `count` items.
    Values = 4,
    /// An item has no result; a fault follows.
    Fault = 5,
}

/// The head of a message from a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResultHeader {
    pub kind: Kind,
    pub count: u32,
    pub first: u64,
    pub length: u64,
}

impl ResultHeader {
    pub fn to_bytes(self) -> [u8; RESULT_HEADER] {
        let mut bytes = [0; RESULT_HEADER];
        bytes[4] = self.kind as u8;
        bytes[5..9].copy_from_slice(&self.count.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.first.to_le_bytes());
        bytes[17..].copy_from_slice(&self.length.to_le_bytes());
        let check = self.check();
        bytes[..4].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// `None`: this is no header. Somebody else wrote into the pipe.
    pub fn from_bytes(bytes: &[u8; RESULT_HEADER]) -> Option<ResultHeader> {
        use Kind::*;
        let header = ResultHeader {
            kind: *[Ready, NotReady, Here, Values, Fault].get((bytes[4] as usize).checked_sub(1)?)?,
            count: number(&bytes[5..9]) as u32,
            first: number(&bytes[9..17]),
            length: number(&bytes[17..]),
        };
        (number(&bytes[..4]) as u32 == header.check()).then_some(header)
    }

    /// Not against malice, but against chance: the fields, mixed.
    fn check(self) -> u32 {
        let mixed = [self.kind as u64, self.count as u64, self.first, self.length]
            .iter()
            .fold(0x9e37_79b9_7f4a_7c15_u64, |mix, field| {
                (mix ^ field).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31)
            });
        mixed as u32
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    let mut whole = [0; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(whole)
}

/// Memory that larger messages needed is given back at once.
pub(super) const KEPT: usize = 4 << 20;

/// Appends an item: what `write` appends, with its length before it. On an error, `bytes` is as before.
///
/// The length takes one byte if it is under 255; else the byte 255 and eight more. There is room for the longer one at first:
/// a short item is moved back, a long one stays where it is.
pub(super) fn push_item<E>(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let start = bytes.len();
    let content = start + LONG.len();
    bytes.extend_from_slice(&LONG);
    if let Err(error) = write(bytes) {
        bytes.truncate(start);
        return Err(error);
    }
    let length = bytes.len() - content;
    if length < 255 {
        bytes[start] = length as u8;
        bytes.copy_within(content.., start + 1);
        bytes.truncate(start + 1 + length);
    } else {
        bytes[start + 1..content].copy_from_slice(&(length as u64).to_le_bytes());
    }
    Ok(())
}

/// What stands before a long item, but for its length.
const LONG: [u8; 9] = [255, 0, 0, 0, 0, 0, 0, 0, 0];

/// The first item and what follows it; `None` if `bytes` does not begin with a whole item.
pub(super) fn split_item(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&short, rest) = bytes.split_first()?;
    if short < 255 {
        return rest.split_at_checked(short as usize);
    }
    let (length, rest) = rest.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// Where `bytes` go on after `count` items; `None` if there are fewer.
pub(super) fn skip_items(mut bytes: &[u8], count: u32) -> Option<&[u8]> {
    for _ in 0..count {
        bytes = split_item(bytes)?.1;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_back() {
        let contents: Vec<Vec<u8>> = [0, 1, 254, 255, 256, 70_000].map(|length| vec![7; length]).to_vec();
        let mut bytes = Vec::new();
        for content in &contents {
            push_item::<()>(&mut bytes, |bytes| {
                bytes.extend_from_slice(content);
                Ok(())
            })
            .unwrap();
        }
        let mut rest = &bytes[..];
        for content in &contents {
            let (item, after) = split_item(rest).unwrap();
            assert_eq!(item, &content[..]);
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(skip_items(&bytes, contents.len() as u32), Some(&[][..]));
        assert_eq!(skip_items(&bytes, contents.len() as u32 + 1), None);
    }

    #[test]
    fn an_item_that_fails_leaves_nothing() {
        let mut bytes = vec![1, 2];
        let outcome = push_item(&mut bytes, |bytes| {
            bytes.push(3);
            Err("no")
        });
        assert_eq!((outcome, bytes), (Err("no"), vec![1, 2]));
    }

    #[test]
    fn headers_are_read_back_and_damage_is_seen() {
        let header = ResultHeader {
            kind: Kind::Values,
            count: 3,
            first: 1 << 40,
            length: 77,
        };
        let bytes = header.to_bytes();
        assert_eq!(ResultHeader::from_bytes(&bytes), Some(header));
        for place in 0..RESULT_HEADER {
            let mut damaged = bytes;
            damaged[place] ^= 0x10;
            assert_eq!(ResultHeader::from_bytes(&damaged), None, "byte {place}");
        }
        assert_eq!(ResultHeader::from_bytes(&[0; RESULT_HEADER]), None);
    }
}
