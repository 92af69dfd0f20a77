//! Each example shows its fact, every time.

use testing::{NothingLeft, Run};

fn example(name: &str) -> Run {
    let run = testing::run(testing::example(env!("CARGO_MANIFEST_DIR"), name));
    run.success();
    run
}

/// The per cents of the lines `threads: n, CPU: p %`, for 1 thread, 2 threads and many.
fn per_cents(run: &Run) -> Vec<f64> {
    run.lines()
        .iter()
        .filter_map(|line| line.split_once("CPU: ")?.1.strip_suffix(" %")?.parse().ok())
        .collect()
}

#[test]
fn two_threads_compute_on_two_cores() {
    let _nothing_left = NothingLeft::new();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    for _ in 0..5 {
        let run = example("cores");
        let [one, two, many] = per_cents(&run)[..] else {
            panic!("three measurements expected:\n{}", run.stdout);
        };
        // However busy the machine is: nobody gets more than he has threads and cores.
        assert!(one < 120.0 && two < 220.0, "{}", run.stdout);
        // (A container that may use one core and a half says that it has one.)
        assert!(many < 100.0 * (cores + 1) as f64, "{}", run.stdout);
        if cores == 1 || two > 1.2 * one {
            return;
        }
    }
    // Other programs have all of the other cores. That says nothing about this one.
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
            "join: Err(\"10 cannot be divided by nothing\")",
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
