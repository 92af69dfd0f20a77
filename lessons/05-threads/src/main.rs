//! Lesson 05: the threads of a process share its memory, and the compiler checks what each of them does with it.
//!
//! Low level (`_thread`): a detached thread. Nobody can join it, so it reports over a channel.
//! High level (`threading`): a thread with a name, and a result that `join` returns.
//! Not in Python: scoped threads, which may borrow local variables because they end before the scope does.
//!
//!     $ cargo run --bin 05-threads
//!     thread main is running...
//!     thread LoopThread >>> 1
//!
//! See also: examples `cores` (N threads use N cores), `panic` (what `join` returns after one), `shared` (`Arc`).

use std::{error::Error, thread, time::Duration};

/// Python's `threading.current_thread().name`.
fn current_thread_name() -> String {
    thread::current().name().unwrap_or("unnamed").to_string()
}

// LoopThread runs this. `join` returns what it returns.
fn run_loop() -> u32 {
    let _lane = common::timeline::span("run_loop"); // a lane in the picture that TIMELINE=1 draws
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

    // Low level: the handle is dropped at once, so nobody can join this thread. `move` gives it the sending end, so that
    // `recv` returns an error, instead of waiting forever, if the thread ends without sending anything.
    let (report, inbox) = crossbeam::channel::bounded(1);
    thread::spawn(move || report.send("I am done"));
    println!("detached thread: {}.", inbox.recv()?);

    // High level: a name, a handle, a result.
    let t = thread::Builder::new().name("LoopThread".to_string()).spawn(run_loop)?;
    let rounds = t.join().expect("Err only if run_loop panicked");
    assert_eq!(rounds, 5);

    // Scoped: two threads read the numbers that `main` owns. Nothing is copied.
    let numbers: Vec<u64> = (1..=1000).collect();
    let (left, right) = numbers.split_at(500);
    let sum = crossbeam::scope(|s| {
        let add = |part: &[u64]| -> u64 {
            println!("scoped thread: I add {} numbers.", part.len());
            part.iter().sum()
        };
        // `add` may be gone before the threads end, so `move` copies it into each thread. The numbers are not copied, only
        // the reference to them.
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
