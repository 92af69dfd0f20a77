//! Encoded arguments and results, packed one behind another.
//!
//! An item begins with its length, in four bytes; if that is [`LARGE`], the length is in the next eight bytes. The content
//! follows.

use std::ops::Deref;
use std::sync::Arc;

/// The length stands in the next eight bytes.
pub(super) const LARGE: u32 = u32::MAX;

const HEAD: usize = size_of::<u32>();

/// Appends an item: what `write` appends, with its length before it. On an error, `bytes` is as before.
#[inline]
pub(super) fn push_item<E>(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; HEAD]);
    if let Err(error) = write(bytes) {
        bytes.truncate(start);
        return Err(error);
    }
    let length = bytes.len() - start - HEAD;
    let head = u32::try_from(length).unwrap_or(LARGE);
    bytes[start..start + HEAD].copy_from_slice(&head.to_le_bytes());
    if head == LARGE {
        bytes.splice(start + HEAD..start + HEAD, (length as u64).to_le_bytes());
    }
    Ok(())
}

/// Takes items off packed ones, and leaves what does not begin with a whole item.
pub(super) struct Items<'a>(pub &'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_first_chunk()?;
        let (length, rest) = match u32::from_le_bytes(*head) {
            LARGE => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u64::from_le_bytes(*length)).ok()?, rest)
            }
            length => (length as usize, rest),
        };
        let (item, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(item)
    }
}

/// Packed items. A few bytes need no allocation, so no other thread has to free one.
#[derive(Clone)]
pub(super) enum Packed<const SHORT: usize = 22> {
    Short(u8, [u8; SHORT]),
    Long(Arc<Box<[u8]>>),
}

impl<const SHORT: usize> From<&[u8]> for Packed<SHORT> {
    fn from(bytes: &[u8]) -> Packed<SHORT> {
        let mut packed = Packed::Short(0, [0; SHORT]);
        if !packed.append(bytes) {
            packed = bytes.to_vec().into();
        }
        packed
    }
}

impl<const SHORT: usize> From<Vec<u8>> for Packed<SHORT> {
    fn from(bytes: Vec<u8>) -> Packed<SHORT> {
        Packed::Long(Arc::new(bytes.into_boxed_slice()))
    }
}

impl<const SHORT: usize> Packed<SHORT> {
    /// Empties a buffer; after a few bytes it keeps its memory, to be used again.
    pub fn take(bytes: &mut Vec<u8>) -> Packed<SHORT> {
        if bytes.len() > SHORT {
            return std::mem::take(bytes).into();
        }
        let packed = Packed::from(&bytes[..]);
        bytes.clear();
        packed
    }

    /// Appends more items, if that needs no allocation.
    pub fn append(&mut self, more: &[u8]) -> bool {
        let Packed::Short(length, bytes) = self else {
            return false;
        };
        let Some(place) = bytes[usize::from(*length)..].get_mut(..more.len()) else {
            return false;
        };
        place.copy_from_slice(more);
        *length += more.len() as u8;
        true
    }
}

impl<const SHORT: usize> Deref for Packed<SHORT> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Packed::Short(length, bytes) => &bytes[..*length as usize],
            Packed::Long(bytes) => bytes,
        }
    }
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
        let mut items = Items(&bytes);
        assert!(items.by_ref().eq(&contents));
        assert!(items.0.is_empty());
        let mut cut_off = Items(&bytes[..bytes.len() - 1]);
        assert!(cut_off.by_ref().eq(&contents[..contents.len() - 1]));
        assert_eq!(cut_off.0.len(), 70_000 + HEAD - 1);
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
    fn packed_bytes_are_as_they_were() {
        for length in 0..50 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(*Packed::<22>::from(&bytes[..]), bytes);
            assert_eq!(*Packed::<22>::from(bytes.clone()), bytes);
        }
    }
}
