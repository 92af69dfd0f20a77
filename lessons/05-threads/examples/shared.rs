//! Shows shared ownership: a thread that is not scoped may outlive the function that started it, so it has to own what it
//! uses. An `Arc` has several owners, and frees its value when the last of them lets go.
//!
//! `cargo run -p threads --example shared`. If the thread below borrowed the numbers, or if `Arc` were `Rc`, the compiler
//! would say
//!
//!     error[E0373]: closure may outlive the current function, but it borrows `numbers`
//!     error[E0277]: `Rc<Vec<u64>>` cannot be sent between threads safely
//!
//! `thread::spawn` asks for a closure that is `Send` (may go to another thread) and `'static` (borrows nothing that may end
//! before the program). See also: the lesson, whose scoped threads may borrow.

use crossbeam::channel::{Receiver, bounded};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Starts a thread and returns at once, before the thread has begun to add.
fn start(numbers: Arc<Vec<u64>>, go: Receiver<()>) -> JoinHandle<u64> {
    thread::spawn(move || {
        let _ = go.recv(); // waits until main drops the other end
        numbers.iter().sum()
    }) // `numbers` is dropped at the end of the closure: one owner less
}

fn main() {
    let numbers: Arc<Vec<u64>> = Arc::new((1..=1000).collect());
    let observer = Arc::downgrade(&numbers); // sees how many owners there are, without being one of them
    println!("main owns the numbers: {} owner", observer.strong_count());

    let (go, wait) = bounded(0);
    let threads = [(); 2].map(|()| start(Arc::clone(&numbers), wait.clone())); // clones the `Arc`, not the numbers
    println!("two threads are started: {} owners", observer.strong_count());
    assert_eq!(observer.strong_count(), 3);

    drop(numbers);
    println!("main has let go: {} owners", observer.strong_count());
    assert_eq!(observer.strong_count(), 2);

    drop(go);
    for thread in threads {
        let sum = thread.join().expect("Err only if the thread panicked");
        assert_eq!(sum, 500_500);
    }
    println!("both threads have added and ended: {} owners", observer.strong_count());
    assert!(observer.upgrade().is_none(), "the numbers are freed");
}
