//! Encoded arguments and results, packed one behind another.
//!
//! An item begins with its length, in four bytes; if that is [`LARGE`], the length is in the next eight bytes. The content
//! follows.

use std::ops::Deref;

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

/// Packed items. Short values need no allocation, so no other thread has to free one.
pub(super) enum Packed {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

const SHORT: usize = 22;

impl From<&[u8]> for Packed {
    fn from(bytes: &[u8]) -> Packed {
        let mut short = [0; SHORT];
        match short.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Packed::Short(bytes.len() as u8, short)
            }
            None => Packed::Long(bytes.into()),
        }
    }
}

impl From<Vec<u8>> for Packed {
    fn from(bytes: Vec<u8>) -> Packed {
        Packed::Long(bytes.into_boxed_slice())
    }
}

impl Packed {
    /// Empties a buffer; after a few bytes it keeps its memory, to be used again.
    pub fn take(bytes: &mut Vec<u8>) -> Packed {
        if bytes.len() > SHORT {
            return std::mem::take(bytes).into();
        }
        let packed = Packed::from(&bytes[..]);
        bytes.clear();
        packed
    }
}

impl Deref for Packed {
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
            assert_eq!(*Packed::from(&bytes[..]), bytes);
            assert_eq!(*Packed::from(bytes.clone()), bytes);
        }
    }
}
