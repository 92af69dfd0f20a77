//! What `Process` and `Pool` can run: a function pointer, `fn(A) -> R`, whose argument and result can travel.

use crate::error::Error;
use crate::sys::CodeRef;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What can travel between processes: every type that serde turns into bytes and back, and that borrows nothing.
///
/// It is implemented for all of them; you never implement it yourself. A type of your own becomes a message by
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
/// Without it:
///
/// ```compile_fail,E0277
/// struct Point(i32, i32);
/// common::Process::new(|p: Point| p.0 + p.1, Point(3, 4));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to another process",
    label = "this type cannot be turned into bytes and back",
    note = "write `#[derive(serde::Serialize, serde::Deserialize)]` above `{Self}`, and put `serde = {{ version = \"1\", features = [\"derive\"] }}` under [dependencies] in Cargo.toml"
)]
pub trait Message: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Message for T {}

/// Why a call gave no result although its process lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// The function panicked: message, and file with line.
    Panic(String, Option<String>),
    /// The arguments did not decode.
    Arguments(String),
    /// The result did not encode.
    Result(String),
}

/// A function that another run of this program can call.
pub(crate) fn code_ref<A: Message, R: Message>(f: fn(A) -> R) -> Result<CodeRef, Error> {
    CodeRef::new::<Box<Fault>, _>(call_encoded::<A, R>, f).ok_or(Error::ForeignFunction)
}

/// # Safety
///
/// `target` is the address of a `fn(A) -> R`.
unsafe fn call_encoded<A: Message, R: Message>(
    target: usize,
    args: &[u8],
    result: &mut Vec<u8>,
) -> Result<(), Box<Fault>> {
    // SAFETY: as the caller promises.
    let f = unsafe { std::mem::transmute::<usize, fn(A) -> R>(target) };
    let args = postcard::from_bytes(args).map_err(|error| Box::new(Fault::Arguments(error.to_string())))?;
    encode_into(&f(args), result).map_err(|error| Box::new(Fault::Result(error.to_string())))
}

/// Appends the encoded value; on an error, `bytes` is as before.
pub(crate) fn encode_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), postcard::Error> {
    let before = bytes.len();
    postcard::serialize_with_flavor(value, Append(bytes)).inspect_err(|_| bytes.truncate(before))
}

/// Where postcard puts encoded bytes.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<(), postcard::Error> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<(), postcard::Error> {
        if bytes.len() <= 10 {
            // A number. Copying so few bytes takes less time than calling `memcpy`.
            self.0.reserve(10);
            bytes.iter().for_each(|&byte| self.0.push(byte));
        } else {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> Result<(), postcard::Error> {
        Ok(())
    }
}

/// Calls a function of this program, and turns a panic into a [`Fault`].
///
/// # Safety
///
/// As [`CodeRef::call`].
pub(crate) unsafe fn run(function: CodeRef, args: &[u8], result: &mut Vec<u8>) -> Result<(), Box<Fault>> {
    let before = result.len();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // SAFETY: as the caller promises.
        let called = unsafe { function.call(args, result) };
        called.unwrap_or_else(|| {
            Err(Box::new(Fault::Arguments(
                "they are for no function of this program".to_owned(),
            )))
        })
    }));
    outcome.unwrap_or_else(|payload| {
        result.truncate(before);
        let message = if let Some(text) = payload.downcast_ref::<&str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            "a panic with a value that is no text".to_owned()
        };
        // The value's own destructor may panic too.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload)));
        Err(Box::new(Fault::Panic(message, LOCATION.take())))
    })
}

thread_local! {
    /// Where this thread panicked last.
    static LOCATION: std::cell::Cell<Option<String>> = const { std::cell::Cell::new(None) };
}

/// From now on, a panic's file and line are remembered for [`run`], besides what the hook before did (printing them).
pub(crate) fn remember_panic_locations() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        LOCATION.set(
            panic
                .location()
                .map(|place| format!("{}:{}", place.file(), place.line())),
        );
        before(panic);
    }));
}
