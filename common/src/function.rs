//! Calling a function in another run of this program: how it is identified there, and how a call can end.
//!
//! Invariant: whatever the function, its argument's `Deserialize` or its result's `Serialize` does, a call ends in a result or
//! a [`RemoteError`], never in a panic that propagates. Called by `spawn` (a process's target, a worker's initializer) and by
//! `pool` (tasks).

use crate::channels::encode_plain;
use crate::error::{Error, RemoteError};
use crate::message::{Message, decode};
use crate::os::CodeRef;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, set_hook, take_hook};

/// A function that another run of this program can call.
pub(crate) fn code_ref<A: Message, R: Message>(f: fn(A) -> R) -> Result<CodeRef, Error> {
    CodeRef::new(call_encoded::<A, R>, f as usize).ok_or(Error::ForeignFunction)
}

/// # Safety
///
/// `target` is the address of a `fn(A) -> R`.
unsafe fn call_encoded<A: Message, R: Message>(
    target: usize,
    arg: &[u8],
    result: &mut Vec<u8>,
) -> Result<(), Box<RemoteError>> {
    // SAFETY: as the caller promises.
    let f = unsafe { std::mem::transmute::<usize, fn(A) -> R>(target) };
    let arg = decode(arg).map_err(|message| Box::new(RemoteError::Arguments(message)))?;
    encode_plain(&f(arg), result).map_err(|message| Box::new(RemoteError::Result(message)))
}

/// Calls a function with an encoded argument, and appends its encoded result; on an error, perhaps a part of it.
///
/// # Safety
///
/// As [`CodeRef::call`].
pub(crate) unsafe fn run(function: CodeRef, arg: &[u8], result: &mut Vec<u8>) -> Result<(), Box<RemoteError>> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as the caller promises.
        let called = unsafe { function.call(arg, result) };
        let unknown = || RemoteError::Arguments("they are for no function of this program".to_owned());
        called.unwrap_or_else(|| Err(Box::new(unknown())))
    }));
    outcome.unwrap_or_else(|payload| {
        let text = text(&*payload);
        // An earlier panic, which was caught, had another text, or its text was elsewhere. (Values that are not text cannot be
        // told apart.)
        let is_this = |place: &Place| text != NO_TEXT && place.1 == text && place.2 == text.as_ptr();
        let place = PLACE.take().filter(is_this).map(|place| place.0);
        let error = Box::new(RemoteError::Panic(text.to_owned(), place));
        // The value's own destructor may panic too, and so may that of what it panics with.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
        Err(error)
    })
}

/// The message of a panic.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    let literal = payload.downcast_ref::<&str>().copied();
    let text = literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or(NO_TEXT)
}

const NO_TEXT: &str = "a panic with a value that is not text";

/// A panic's file and line, its text, and where that was in memory.
type Place = (String, String, *const u8);

thread_local! {
    /// Where this thread panicked last.
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
}

/// From now on, a panic's file and line are remembered for [`run`]; the previous hook, which prints them, still runs.
pub(crate) fn remember_panic_locations() {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        let text = text(panic.payload());
        let place = |at: &Location| (format!("{}:{}", at.file(), at.line()), text.to_owned(), text.as_ptr());
        let _ = PLACE.try_with(|last| last.set(panic.location().map(place))); // a thread that is ending has none any more
        before(panic);
    }));
}

/// In a program that is built with `panic = "abort"`, nothing is caught: `callback` is called after all other hooks, as the
/// last thing that this process does. In others it is never called.
pub(crate) fn on_panic_abort(callback: impl Fn(&RemoteError) + Send + Sync + 'static) {
    if cfg!(panic = "abort") {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            before(panic);
            let place = PLACE.take().map(|place| place.0);
            let message = text(panic.payload()).chars().take(10_000); // not more than a worker can say then
            callback(&RemoteError::Panic(message.collect(), place));
        }));
    }
}
