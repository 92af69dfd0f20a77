//! `Process` and `Pool` directly inside of `#[test]` functions, which the test harness runs side by side in threads. One
//! line is all that it takes.

use common::{Error, Pool, Process};
use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use std::{env, process, thread};

common::init_in_tests!();

// What runs before `main`, as `ctor` and `inventory` make it: above the tests of this file, and below them.

static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn construct() {
    CONSTRUCTED.fetch_add(1, SeqCst);
}

macro_rules! constructor {
    () => {
        const _: () = {
            #[used]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
            #[cfg_attr(windows, unsafe(link_section = ".CRT$XCU"))]
            #[cfg_attr(
                not(any(target_vendor = "apple", windows)),
                unsafe(link_section = ".init_array")
            )]
            static BEFORE_MAIN: extern "C" fn() = super::construct;
        };
    };
}

mod above {
    constructor!();
}

fn add((a, b): (u64, u64)) -> u64 {
    a + b
}

fn square(x: u64) -> u64 {
    x * x
}

fn leave(code: i32) {
    process::exit(code);
}

fn echo(lines: usize) -> usize {
    let stdin = BufReader::new(std::io::stdin());
    for line in stdin.lines().take(lines) {
        println!("{}!", line.unwrap());
    }
    lines
}

#[test]
fn a_process_returns() {
    for i in 0..5 {
        let p = Process::new(add, (i, 1)).start().unwrap();
        assert_eq!(p.join().unwrap(), i + 1);
    }
}

#[test]
fn a_process_exits() {
    let p = Process::new(leave, 7).start().unwrap();
    assert!(matches!(p.join(), Err(Error::Exited { code: 7, .. })));
    assert_eq!(p.exitcode(), Some(7));
}

#[test]
fn a_process_talks() {
    let (stdin, mut input) = os_pipe::pipe().unwrap();
    let (output, stdout) = os_pipe::pipe().unwrap();
    let p = Process::new(echo, 2).stdin(stdin).stdout(stdout).start().unwrap();
    input.write_all(b"one\ntwo\n").unwrap();
    let lines: Vec<String> = BufReader::new(output).lines().map(Result::unwrap).collect();
    // No line of a test harness among them: the child is no test run.
    assert_eq!(lines, ["one!", "two!"]);
    assert_eq!(p.join().unwrap(), 2);
}

#[test]
fn a_process_is_killed() {
    let p = Process::new(|()| thread::sleep(Duration::from_secs(60)), ())
        .start()
        .unwrap();
    p.kill().unwrap();
    assert!(p.join().is_err());
}

#[test]
fn a_pool_maps() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(
        pool.map(square, 0..100).unwrap(),
        (0..100).map(square).collect::<Vec<_>>()
    );
    pool.close().join().unwrap();
}

#[test]
fn a_pool_is_shared_by_threads() {
    let pool = Pool::new(2).unwrap();
    thread::scope(|scope| {
        for i in 0..4 {
            let pool = &pool;
            scope.spawn(move || assert_eq!(pool.apply(square, i).unwrap(), i * i));
        }
    });
}

#[test]
fn a_pool_loses_a_worker() {
    let pool = Pool::new(2).unwrap();
    let die_at_five = |i: u64| if i == 5 { process::exit(1) } else { i };
    let outcomes: Vec<_> = pool.imap(die_at_five, 0..10).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1);
    assert!(outcomes[5].is_err());
}

#[test]
fn a_pool_is_dropped_at_once() {
    drop(Pool::new(2).unwrap());
    let pool = Pool::new(2).unwrap();
    let _never_collected = pool.map_async(square, 0..1_000);
}

#[test]
fn a_task_makes_a_pool() {
    let sum = |to: u64| {
        Pool::new(2)
            .unwrap()
            .map(square, 0..to)
            .unwrap()
            .into_iter()
            .sum::<u64>()
    };
    assert_eq!(Pool::new(1).unwrap().apply(sum, 10).unwrap(), 285);
}

#[test]
fn w10_b58_constructors_of_the_program_ran_before_any_target() {
    let constructed = |()| CONSTRUCTED.load(SeqCst);
    assert_eq!(constructed(()), 3, "here they ran");
    let daemon = Process::new(constructed, ()).daemon(true).start().unwrap();
    assert_eq!(
        (
            Process::new(constructed, ()).start().unwrap().join().unwrap(),
            daemon.join().unwrap()
        ),
        (3, 3)
    );
    let pool = Pool::builder().processes(1);
    let pool = pool
        .initializer(|()| assert_eq!(CONSTRUCTED.load(SeqCst), 3), ())
        .build()
        .unwrap();
    assert_eq!(pool.apply(constructed, ()).unwrap(), 3);
    let below = |()| {
        Process::new(|()| CONSTRUCTED.load(SeqCst), ())
            .start()
            .unwrap()
            .join()
            .unwrap()
    };
    assert_eq!(pool.apply(below, ()).unwrap(), 3);
    pool.close().join().unwrap();
}

/// The tests of this file other than this one, run as a child again and again, with more threads than cores, each run
/// with all that it prints.
#[test]
fn b49_process_and_pool_work_in_tests_that_run_side_by_side_and_disturb_no_output() {
    let _nothing_left = testing::NothingLeft::new();
    const TESTS: usize = 9;
    for round in 0..20 {
        let mut tests = Command::new(env::current_exe().unwrap());
        tests.args(["a_", "--skip", "b49", "--test-threads", ["16", "1", "4"][round % 3]]);
        let run = testing::run_with(&mut tests, Duration::from_secs(60));
        run.success();
        let lines: Vec<_> = run.lines().into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), TESTS + 2, "round {round}: {lines:?}");
        assert_eq!(lines[0], format!("running {TESTS} tests"));
        let done = |line: &&str| line.starts_with("test a_") && line.ends_with(" ... ok");
        assert!(lines[1..=TESTS].iter().all(done), "round {round}: {lines:?}");
        assert!(
            lines[TESTS + 1].starts_with(&format!("test result: ok. {TESTS} passed; 0 failed")),
            "{lines:?}"
        );
        assert_eq!(run.stderr, "", "round {round}");
    }
}

mod below {
    constructor!();
}

mod far_below {
    constructor!();
}
