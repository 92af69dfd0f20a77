//! What `Process` and `Pool` can run: a function with its arguments in a tuple.

use crate::sys::{self, Entry};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A function that another process can call with the arguments `Args`, a tuple: `fn(A) -> R` is a `Target<(A,)>`,
/// `fn(A, B) -> R` a `Target<(A, B)>`, and so on up to eight.
///
/// Implemented for functions, and for closures that capture nothing. You never implement it yourself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run in another process with the arguments `{Args}`",
    label = "not a function of these arguments, or a closure that captures variables",
    note = "a target is a function whose arguments come in a tuple: `Process::new(run_proc, (\"test\".to_string(),))`",
    note = "a closure that captures variables cannot travel to another process: make them arguments"
)]
pub trait Target<Args>: Copy + Send + Sync + 'static {
    /// What the function returns.
    type Output;
    /// Calls the function.
    fn call(self, args: Args) -> Self::Output;
}

macro_rules! target_for_tuples {
    ($(($($name:ident)*))*) => { $(
        impl<Function, Output, $($name),*> Target<($($name,)*)> for Function
        where
            Function: Fn($($name),*) -> Output + Copy + Send + Sync + 'static,
        {
            type Output = Output;
            #[allow(non_snake_case)]
            fn call(self, ($($name,)*): ($($name,)*)) -> Output {
                self($($name),*)
            }
        }
    )* };
}

target_for_tuples! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }

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

/// The [`Entry`] by which another process calls `F`.
pub(crate) fn entry_of<F, Args>(_: F) -> Entry
where
    F: Target<Args>,
    Args: DeserializeOwned,
    F::Output: Serialize,
{
    // Evaluated here, so that the message names the caller's line.
    let _: F = sys::only_value_of::<F>();
    Entry::of(call_encoded::<F, Args>)
}

fn call_encoded<F, Args>(args: &[u8], result: &mut Vec<u8>) -> Result<(), Box<Fault>>
where
    F: Target<Args>,
    Args: DeserializeOwned,
    F::Output: Serialize,
{
    let args = postcard::from_bytes(args).map_err(|error| Box::new(Fault::Arguments(error.to_string())))?;
    let output = sys::only_value_of::<F>().call(args);
    encode_into(&output, result).map_err(|error| Box::new(Fault::Result(error.to_string())))
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
pub(crate) fn run(entry: Entry, args: &[u8], result: &mut Vec<u8>) -> Result<(), Box<Fault>> {
    let before = result.len();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| entry.function()(args, result)));
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
