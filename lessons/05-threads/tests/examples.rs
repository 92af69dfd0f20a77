//! Each example shows its fact, every time.

use testing::{NothingLeft, Run};

fn example(name: &str) -> Run {
    let run = testing::run(testing::example(env!("CARGO_MANIFEST_DIR"), name));
    run.success();
    run
}

/// The per cents of the lines `threads: n, time: s s, CPU: p % of m %`, for 1, 2 and 4 threads.
fn per_cents(run: &Run) -> [f64; 3] {
    let lines = run.lines();
    let per_cents = lines.iter().filter_map(|line| {
        let (_, cpu) = line.split_once("CPU: ")?;
        cpu.split_once(" % of ")?.0.parse().ok()
    });
    let per_cents: Vec<f64> = per_cents.collect();
    per_cents
        .try_into()
        .unwrap_or_else(|_| panic!("three measurements expected:\n{}", run.stdout))
}

#[test]
fn two_threads_compute_on_two_cores() {
    let _nothing_left = NothingLeft::new();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    for _ in 0..5 {
        let run = example("cores");
        let [one, two, four] = per_cents(&run);
        // However busy the machine is, nobody gets more than there are threads and cores.
        assert!(one < 120.0 && two < 220.0, "{}", run.stdout);
        // (A container that may use one core and a half says that it has one.)
        assert!(four < 100.0 * (cores + 1) as f64, "{}", run.stdout);
        if cores == 1 || two > 1.2 * one {
            return;
        }
        // The program does not leave it to the reader to find out why.
        assert!(
            run.stdout.contains("other programs use these cores too"),
            "{}",
            run.stdout
        );
    }
    println!("skipped: this machine is too busy to see two threads compute at the same time");
}

#[test]
fn panic_is_what_join_returns() {
    let _nothing_left = NothingLeft::new();
    let run = example("panic");
    assert_eq!(
        run.lines(),
        [
            "join: Ok(5)",
            "join: Err(\"10 cannot be divided by zero\")",
            "join: Ok(2)",
            "main goes on.",
        ]
    );
    assert!(
        run.stderr.contains("examples/panic.rs") || cfg!(windows),
        "{}",
        run.stderr
    );
}

#[test]
fn shared_numbers_live_as_long_as_their_last_owner() {
    let _nothing_left = NothingLeft::new();
    let run = example("shared");
    assert_eq!(
        run.lines(),
        [
            "main owns the numbers: 1 owner",
            "two threads are started: 3 owners",
            "main has let go: 2 owners",
            "both threads have added and ended: 0 owners",
        ]
    );
}
