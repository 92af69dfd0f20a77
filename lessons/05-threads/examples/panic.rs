//! Shows that a panic ends one thread, not the program, and that `join` reports it: it returns `Err` with what was passed
//! to `panic!`. In Python the traceback is printed, but `join` returns `None` as always.
//!
//! `cargo run -p threads --example panic`. See also: the lesson.

use std::{any::Any, thread};

fn divide(a: i64, b: i64) -> i64 {
    if b == 0 {
        panic!("{a} cannot be divided by zero");
    }
    a / b
}

/// A panic carries a `&str` (`panic!("text")`), a `String` (`panic!("{n}")`), or anything at all.
fn message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no text",
    }
}

fn main() {
    // All three run at the same time. The second one panics, which does not disturb the others.
    let threads = [2, 0, 5].map(|b| thread::spawn(move || divide(10, b)));

    let said = threads.map(|t| match t.join() {
        Ok(result) => format!("Ok({result})"),
        Err(payload) => format!("Err(\"{}\")", message(&*payload)),
    });
    for line in &said {
        println!("join: {line}");
    }
    assert_eq!(said[0], "Ok(5)");
    assert_eq!(said[1], "Err(\"10 cannot be divided by zero\")");
    assert_eq!(said[2], "Ok(2)");
    println!("main goes on.");
}
