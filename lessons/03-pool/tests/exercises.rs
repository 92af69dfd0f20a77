//! The checks of the exercises in README.md. Each fails until the program does what its exercise asks for:
//! `cargo test exercise_1 -- --ignored`

use std::thread;
use std::time::{Duration, Instant};
use testing::{Exercise, Started};

const PROGRAM: &str = env!("CARGO_BIN_EXE_03-pool");

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let exercise = Exercise::new(
        PROGRAM,
        "`Pool::per_core()` makes a pool of that size, wherever the program runs; `processes()` returns how many workers it has.",
    );
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    has_as_many_workers(exercise.start(), cores);
    if let Some(started) = testing::on_one_core(|| exercise.start()) {
        has_as_many_workers(started, 1);
    }
}

fn has_as_many_workers(mut started: Started, cores: usize) {
    let line = format!("Pool of {cores} workers.\n");
    started.wait_until(
        &format!(
            "the line `{}` was not printed, although the program could use that many cores",
            line.trim()
        ),
        |printed| printed.contains(&line) && printed.contains("Waiting for all subprocesses done..."),
    );
    let workers = started.children().len();
    assert!(
        workers == cores || cfg!(windows),
        "the program says that there are {cores} workers, but there really are {workers}"
    );
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let exercise = Exercise::new(
        PROGRAM,
        "let `long_time_task` panic if its name is 3. In `main`, use `match` on each `result.get()`, not `?`: print the error \
         of task 3, and keep the values of the others. (`results.iter().enumerate()` numbers the results.)",
    );
    let run = exercise.run();
    let lines = run.lines();
    let failed: Vec<_> = lines.iter().filter(|line| line.contains(" failed: ")).collect();
    assert!(
        failed.len() == 1 && failed[0].starts_with("Task 3 failed: "),
        "exactly one line should say that a task failed, and it should begin with `Task 3 failed: `"
    );
    assert!(
        failed[0].contains("the disk is full") && failed[0].contains("main.rs:"),
        "the line `Task 3 failed: ...` should show the error, with the panic's message, file and line"
    );
    assert!(
        run.stderr.contains("the disk is full"),
        "a worker that panics reports it on its standard error, but none did. The task should really panic"
    );
    for task in [0, 1, 2, 4] {
        let lines = [format!("Run task {task} ("), format!("Task {task} runs ")];
        assert!(
            lines.iter().all(|start| run.stdout.matches(start).count() == 1),
            "task {task} should run and end as in the lesson"
        );
    }
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let exercise = Exercise::new(
        PROGRAM,
        "`pool.imap_unordered(count_primes, 0..20)` yields each result as soon as it is there: loop over it in `main`, and print a \
         line in each turn. (`map` waits for all results, and `imap` for the next one in order.) Let `count_primes` return a tuple: \
         the number of primes from `block * 10_000` on, and `process::id()`. Neither 0 nor 1 is prime.",
    );
    // In each run all workers but one are stopped for a moment. That may come too late, so it is tried again, as long as there is
    // time.
    let begin = Instant::now();
    loop {
        let mut started = exercise.start();
        let mut workers = Vec::new();
        while blocks(&started.stdout()).is_empty() {
            workers = started.children(); // known beforehand: they are stopped at once when the time has come
            let ended = started.listen(Duration::from_millis(1));
            assert!(
                !ended || !blocks(&started.stdout()).is_empty(),
                "the line `Block 1 of 20 done by <pid>.` was not printed"
            );
        }
        let running = workers.iter().filter(|worker| started.is_running(**worker)).count();
        let (before, meanwhile, workers) = while_only_one_goes_on(&mut started, &workers);
        let run = started.finish();

        let done = blocks(&run.stdout);
        let numbers: Vec<u32> = done.iter().map(|(number, _)| *number).collect();
        assert!(
            numbers == Vec::from_iter(1..=20),
            "20 lines `Block <n> of 20 done by <pid>.` were expected, where n counts the blocks that are done: 1, 2, 3 and so on"
        );
        assert!(
            done.iter().all(|(_, pid)| *pid != run.pid),
            "process {} is not a worker; it runs `main`",
            run.pid
        );
        assert!(
            run.lines().contains(&"Primes below 200000: 17984."),
            "the line `Primes below 200000: 17984.` was expected"
        );
        if cfg!(windows) {
            return;
        }
        // Each of the three that were stopped may hold one block.
        if running >= 3 && (17..20).contains(&meanwhile) && meanwhile - before >= 4 {
            let strangers = done.iter().filter(|(_, pid)| !workers.contains(pid)).count();
            assert!(
                strangers == 0,
                "{strangers} blocks were done by processes that are not workers"
            );
            return;
        }
        if begin.elapsed() > Duration::from_secs(8) * testing::slowness() as u32 {
            assert!(
                meanwhile >= 17,
                "all workers but one were stopped for a moment, and only {meanwhile} lines were printed before they went on. \
                 The worker that still ran should do all blocks that the others had not begun, and each line should be printed as \
                 soon as its block is done"
            );
            panic!(
                "when the first line was printed, the other workers had nothing to do: let all four work at the same time, and print \
                 each line as soon as its block is done, not at the end"
            );
        }
    }
}

/// Number and worker of every line `Block <n> of 20 done by <pid>.`
fn blocks(printed: &str) -> Vec<(u32, u32)> {
    let rest = printed
        .lines()
        .filter_map(|line| line.strip_prefix("Block ")?.strip_suffix('.'));
    let numbers = rest.filter_map(|rest| rest.split_once(" of 20 done by "));
    numbers
        .filter_map(|(n, pid)| Some((n.parse().ok()?, pid.parse().ok()?)))
        .collect()
}

/// Stops all workers but one, who has done the first block, and lets them go on when nothing is printed any more. Returns
/// how many lines there were when they were stopped, how many there were at the end, and the ids of the workers.
#[cfg(unix)]
fn while_only_one_goes_on(started: &mut Started, workers: &[u32]) -> (usize, usize, Vec<u32>) {
    use nix::sys::signal::{Signal, kill};
    let signal = |worker: u32, signal| kill(nix::unistd::Pid::from_raw(worker as i32), signal).is_ok();
    let first = blocks(&started.stdout())[0].1;
    let mut stopped = workers.to_vec();
    stopped.retain(|worker| *worker != first && started.has_child(*worker) && signal(*worker, Signal::SIGSTOP));
    started.listen(Duration::from_millis(1));
    let before = blocks(&started.stdout()).len();
    let (mut lines, mut since) = (before, Instant::now());
    while lines < 20 && since.elapsed() < Duration::from_millis(300) * testing::slowness() as u32 {
        started.listen(Duration::from_millis(5));
        let now = blocks(&started.stdout()).len();
        if now > lines || started.is_running(first) {
            (lines, since) = (now, Instant::now());
        }
    }
    let workers = started.children();
    for worker in stopped {
        signal(worker, Signal::SIGCONT);
    }
    (before, lines, workers)
}

/// Windows has no signals.
#[cfg(not(unix))]
fn while_only_one_goes_on(_: &mut Started, _: &[u32]) -> (usize, usize, Vec<u32>) {
    (0, 0, Vec::new())
}
