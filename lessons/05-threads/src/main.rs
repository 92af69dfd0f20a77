//! Lesson 05: threads are many runs through one memory, and the compiler checks what they touch.
//!
//! Low level (`_thread`): a detached thread; nobody can join it, so it reports over a channel.
//! High level (`threading`): a named thread with `join` and a result. Beyond Python: scoped
//! threads, which may borrow from the stack because they end before the scope does.
//!
//!     $ cargo run --bin 05-threads
//!     thread main is running...
//!     thread LoopThread >>> 1
//!
//! See also: examples `cores` (N threads use N cores), `panic` (what `join` says of it).

use std::{error::Error, thread, time::Duration};

/// Python's `threading.current_thread().name`.
fn current_thread_name() -> String {
    thread::current().name().unwrap_or("unnamed").to_string()
}

// The code that LoopThread runs. What it returns is what `join` hands over.
fn run_loop() -> u32 {
    let _lane = common::timeline::span("run_loop"); // a lane in the picture: TIMELINE=1
    let name = current_thread_name();
    println!("thread {name} is running...");
    let mut n = 0;
    while n < 5 {
        n += 1;
        println!("thread {name} >>> {n}");
        thread::sleep(Duration::from_millis(100));
    }
    println!("thread {name} ended.");
    n
}

fn main() -> Result<(), Box<dyn Error>> {
    common::init();
    println!("thread {} is running...", current_thread_name());

    // Low level: the handle is dropped at once, the thread is on its own. `move` gives it the
    // sending end; when it ends without a word, `recv` returns an error instead of waiting.
    let (report, inbox) = crossbeam::channel::bounded(1);
    thread::spawn(move || report.send("I am done"));
    println!("detached thread: {}.", inbox.recv()?);

    // High level: a name, a handle, a result.
    let t = thread::Builder::new().name("LoopThread".to_string()).spawn(run_loop)?;
    let rounds = t.join().expect("Err only if run_loop panicked");
    assert_eq!(rounds, 5);

    // Scoped: both threads read `numbers` where it lies, on main's stack. Nothing is copied.
    let numbers: Vec<u64> = (1..=1000).collect();
    let (left, right) = numbers.split_at(500);
    let sum = crossbeam::scope(|s| {
        let add = |part: &[u64]| -> u64 {
            println!("scoped thread: I add {} numbers.", part.len());
            part.iter().sum()
        };
        let left = s.spawn(move |_| add(left));
        let right = s.spawn(move |_| add(right));
        // Err only if `add` panicked, here and at the end of the scope.
        left.join().unwrap() + right.join().unwrap()
    })
    .unwrap();
    println!("sum of {} numbers: {sum}.", numbers.len()); // main still owns them
    assert_eq!(sum, 500_500);

    println!("thread {} ended.", current_thread_name());
    Ok(())
}
