//! A panic ends one thread, not the program. `join` says so: `Err` with what was given to `panic!`.
//! In Python the traceback is printed, `join` returns as always, and nobody learns of it.

use std::{any::Any, thread};

fn divide(a: i64, b: i64) -> i64 {
    if b == 0 {
        panic!("{a} cannot be divided by nothing");
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
    // All three run at the same time; the panic of the second does not touch the others.
    let threads = [2, 0, 5].map(|b| thread::spawn(move || divide(10, b)));

    let said = threads.map(|t| match t.join() {
        Ok(result) => format!("Ok({result})"),
        Err(payload) => format!("Err(\"{}\")", message(&*payload)),
    });
    for line in &said {
        println!("join: {line}");
    }
    assert_eq!(said[0], "Ok(5)");
    assert_eq!(said[1], "Err(\"10 cannot be divided by nothing\")");
    assert_eq!(said[2], "Ok(2)");
    println!("main goes on.");
}
