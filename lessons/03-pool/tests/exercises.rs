//! The exercises of the README. `cargo test exercise_1 -- --ignored` checks the first.

use std::thread;

fn lesson() -> testing::Run {
    let run = testing::run(env!("CARGO_BIN_EXE_03-pool"));
    run.success();
    run
}

fn count(run: &testing::Run, fits: impl Fn(&str) -> bool) -> usize {
    run.lines().into_iter().filter(|line| fits(line)).count()
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let run = lesson();
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let expected = format!("Pool of {cores} workers.");
    assert!(
        run.lines().contains(&expected.as_str()),
        "the parent is to print {expected:?}: this machine has {cores} cores for the program.\n\
         Hint: Pool::per_core() makes such a pool, processes() tells how many workers it has.\n\
         The program printed:\n{}",
        run.stdout
    );
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let run = lesson();
    let line = run.lines().into_iter().find(|line| line.starts_with("Task 3 failed: "));
    assert!(
        line.is_some_and(|line| line.contains("the disk is full") && line.contains("main.rs:")),
        "no line \"Task 3 failed: ...\" with the message of the panic (the disk is full), its file and line.\n\
         Hint: let long_time_task panic if its name is 3; look at each result.get() with `match` instead of `?`.\n\
         The program printed:\n{}",
        run.stdout
    );
    let begun = count(&run, |line| line.starts_with("Run task "));
    let ended = count(&run, |line| line.ends_with(" seconds."));
    assert_eq!(
        (begun, ended),
        (5, 4),
        "five tasks are to begin, and all but one to end: the others do not suffer.\n\
         The program printed:\n{}",
        run.stdout
    );
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let run = lesson();
    for n in 1..=20 {
        let start = format!("Block {n} of 20 done by ");
        let worker = run
            .lines()
            .into_iter()
            .find_map(|line| line.strip_prefix(&start)?.strip_suffix('.'));
        let worker = worker.and_then(|pid| pid.parse().ok());
        assert!(
            worker.is_some_and(|pid: u32| pid != run.pid),
            "no line \"{start}<pid>.\", where <pid> is a worker's.\n\
             Hint: pool.imap_unordered(count_primes, 0..20) yields a result as soon as any block is done;\n\
             let count_primes return the number of primes in the block together with process::id().\n\
             The program printed:\n{}",
            run.stdout
        );
    }
    assert!(
        run.lines().contains(&"Primes below 200000: 17984."),
        "no line \"Primes below 200000: 17984.\"\n\
         Hint: block n begins with n * 10_000; 0 and 1 are no primes.\n\
         The program printed:\n{}",
        run.stdout
    );
}
