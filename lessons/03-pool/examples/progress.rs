//! Shows how a program can tell how far it is: `imap_unordered` yields each result as soon as it is
//! there, whichever task it belongs to. (Python: the same, or `apply_async` with `callback=`.)
//!
//! `cargo run -p pool --example progress`. See also: map.rs, which waits for all results.

use common::{Error, Pool};
use std::{thread, time::Duration};

fn long_time_task(name: u32) -> u32 {
    if name == 0 {
        thread::sleep(Duration::from_secs(1)); // the first task is the slowest
    }
    name
}

fn main() -> Result<(), Error> {
    common::init();
    let pool = Pool::new(2)?;
    let mut order = Vec::new();
    for (done, result) in (1..).zip(pool.imap_unordered(long_time_task, 0..5)) {
        let name = result?;
        println!("{done} of 5 tasks done: task {name}.");
        order.push(name);
    }
    assert_eq!(order.last(), Some(&0)); // with `imap`, all results would wait for task 0
    order.sort();
    assert_eq!(order, [0, 1, 2, 3, 4]);
    pool.close().join()
}
