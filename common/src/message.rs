//! What can travel between processes, and how it becomes bytes.
//!
//! Invariant: a value is read back from exactly the bytes that were written; bytes that are left over are an error. Called by
//! `function` for arguments and results, and by `channels`.

use serde::{Serialize, de::DeserializeOwned};

/// What can travel between processes: every type that serde turns into bytes and back, and that borrows nothing.
///
/// It is implemented for all of them; you never implement it yourself. A type of your own becomes a message with
/// `#[derive(serde::Serialize, serde::Deserialize)]`:
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Point {
///     x: i32,
///     y: i32,
/// }
///
/// fn norm(p: Point) -> i32 {
///     p.x * p.x + p.y * p.y
/// }
///
/// fn main() -> Result<(), common::Error> {
///     common::init();
///     let p = common::Process::new(norm, Point { x: 3, y: 4 }).start()?;
///     assert_eq!(p.join()?, 25);
///     Ok(())
/// }
/// ```
///
/// Without the derive, it does not compile:
///
/// ```compile_fail,E0277
/// struct Point(i32, i32);
/// common::Process::new(|p: Point| p.0 + p.1, Point(3, 4));
/// ```
///
/// # What cannot be sent
///
/// The format, `postcard`, is not self-describing: fields are written and read back in the same order, without names. So a
/// type must be read exactly as it was written. What needs to see a name first cannot be sent: `#[serde(flatten)]`,
/// `#[serde(untagged)]`, `#[serde(tag = "…")]`, `serde_json::Value`; nor can a type that leaves fields out with
/// `#[serde(skip_serializing_if = …)]`. Most of these lead to an [`Error::Encode`](crate::Error::Encode) or
/// [`Error::Decode`](crate::Error::Decode), as do bytes that are left over after reading. But if a value with a field left out
/// happens to have a valid length, it is silently read as a different value.
///
/// If a type's own `Serialize` or `Deserialize` rejects a value with a message of its own, that message is lost: the error
/// says only that the value was rejected.
///
/// Senders, receivers and shared memory of `ipc-channel` can be part of the argument of a `Process` or of a pool's
/// initializer. In a pool's tasks, and in any result, they are an [`Error::Encode`](crate::Error::Encode).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to another process",
    label = "this type cannot be turned into bytes and back",
    note = "write `#[derive(serde::Serialize, serde::Deserialize)]` above `{Self}`, and put `serde = {{ version = \"1\", features = [\"derive\"] }}` under [dependencies] in Cargo.toml"
)]
pub trait Message: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Message for T {}

/// Appends the encoded value; on an error, perhaps a part of it.
#[inline]
pub(crate) fn encode_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), String> {
    let append = |more: &[u8]| {
        // Numbers, mostly: for so few bytes, calling `memcpy` takes longer than copying.
        match *more {
            [a] => bytes.push(a),
            [a, b] => bytes.extend_from_slice(&[a, b]),
            [a, b, c] => bytes.extend_from_slice(&[a, b, c]),
            _ => bytes.extend_from_slice(more),
        }
        true
    };
    postcard::serialize_with_flavor(value, Put(append)).map_err(|error| error.to_string())
}

/// Is the value encoded to these bytes? Encodes it only up to the first byte that differs.
#[inline]
pub(crate) fn encodes_to<T: Serialize>(value: &T, mut bytes: &[u8]) -> bool {
    let compare = |more: &[u8]| bytes.strip_prefix(more).map(|rest| bytes = rest).is_some();
    postcard::serialize_with_flavor(value, Put(compare)).is_ok() && bytes.is_empty()
}

/// Reads a value back from bytes that hold nothing else.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!(
            "{} bytes are left over: does its type leave something out when it is written (see `common::Message`)?",
            rest.len()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// What postcard gives encoded bytes to: a function that returns whether to go on.
struct Put<F>(F);

impl<F: FnMut(&[u8]) -> bool> postcard::ser_flavors::Flavor for Put<F> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<(), postcard::Error> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<(), postcard::Error> {
        let go_on = (self.0)(bytes);
        go_on.then_some(()).ok_or(postcard::Error::SerializeBufferFull)
    }

    fn finalize(self) -> Result<(), postcard::Error> {
        Ok(())
    }
}
