//! A program with large thread-locals: each of its threads has them on its stack, those of `common` too. (What a small
//! stack leaves is too little in an optimised build first.)

use common::{Pool, Process};
use std::cell::RefCell;
use std::hint::black_box;

common::init_in_tests!();

const SIZE: usize = 240 << 10;

thread_local! {
    static LARGE: RefCell<[u8; SIZE]> = const { RefCell::new([1; SIZE]) };
}

/// Changes this thread's own, and adds up a byte of each page of it.
fn touch(x: u8) -> u64 {
    LARGE.with_borrow_mut(|large| {
        large[0] = x;
        black_box(&*large)
            .iter()
            .step_by(4096)
            .map(|&byte| u64::from(byte))
            .sum()
    })
}

fn sum(x: u8) -> u64 {
    u64::from(x) + (SIZE / 4096) as u64 - 1
}

#[test]
fn k1_b56_large_thread_locals_do_not_overflow_the_stack_of_a_thread() {
    assert_eq!(touch(5), sum(5));
    for _ in 0..3 {
        let pool = Pool::builder().processes(3).maxtasksperchild(20).build().unwrap();
        let expected: Vec<u64> = (0..100).map(sum).collect();
        assert_eq!(pool.map(touch, 0..100).unwrap(), expected);
        let tasks: Vec<_> = (0..100).map(|i| pool.apply_async(touch, i)).collect();
        assert!((0..).zip(&tasks).all(|(i, task)| task.get().unwrap() == sum(i)));
        assert!(
            pool.apply(|x: u8| if x == 0 { std::process::exit(3) } else { x }, 0)
                .is_err()
        );
        assert!(pool.imap(touch, 0..100).map(Result::unwrap).eq(expected));
        assert!(pool.apply(|text: String| text.len(), "x".repeat(10 << 20)).is_ok());
        pool.close().join().unwrap();
    }
    for daemon in [false, true] {
        let p = Process::new(touch, 7).daemon(daemon).start().unwrap();
        assert_eq!(p.join().unwrap(), sum(7));
        drop(Process::new(touch, 7).daemon(daemon).start().unwrap());
    }
    let panics = Process::new(|x: u8| assert_eq!(touch(x), 0), 7).start().unwrap();
    assert!(panics.join().is_err());
}
