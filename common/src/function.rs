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
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

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
) -> Result<(), RemoteError> {
    // SAFETY: as the caller promises.
    let f = unsafe { std::mem::transmute::<usize, fn(A) -> R>(target) };
    let arg = decode(arg).map_err(RemoteError::Arguments)?;
    encode_plain(&f(arg), result).map_err(RemoteError::Result)
}

/// Calls a function with an encoded argument, and appends its encoded result; on an error, perhaps a part of it.
///
/// # Safety
///
/// As [`CodeRef::call`].
pub(crate) unsafe fn run(function: CodeRef, arg: &[u8], result: &mut Vec<u8>) -> Result<(), RemoteError> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let unknown = || RemoteError::Arguments("they are for no function of this program".to_owned());
        // SAFETY: as the caller promises.
        unsafe { function.call(arg, result) }.ok_or_else(unknown)?
    }));
    outcome.unwrap_or_else(|payload| {
        let text = text(&*payload);
        // An earlier panic, which was caught, had another text, or its text was elsewhere. (Values that are not text cannot be
        // told apart.)
        let is_this = |place: &Place| text != NO_TEXT && place.1 == text && place.2 == text.as_ptr();
        let place = PLACE.take().filter(is_this).and_then(|place| place.0);
        let error = RemoteError::Panic(text.to_owned(), place);
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
type Place = (Option<String>, String, *const u8);

thread_local! {
    /// Where this thread panicked last.
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
}

/// From now on, a panic's file and line are remembered for [`run`]; the previous hook, which prints them, still runs. In a
/// program that is built with `panic = "abort"`, nothing is caught: there, `last_words` says them instead, as the last thing
/// that this process does.
pub(crate) fn note_panics(last_words: impl Fn(RemoteError) + Send + Sync + 'static) {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        before(panic);
        let text = text(panic.payload());
        let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line()));
        if cfg!(panic = "abort") {
            let message = text.chars().take(10_000).collect(); // not more than a worker can say then
            return last_words(RemoteError::Panic(message, place));
        }
        let place = (place, text.to_owned(), text.as_ptr());
        let _ = PLACE.try_with(|last| last.set(Some(place))); // a thread that is ending has none any more
    }));
}
