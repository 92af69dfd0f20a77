//! The exercises of the README. `cargo test exercise_1 -- --ignored` checks the first.

use std::collections::HashSet;

fn lesson() -> testing::Run {
    let run = testing::run(env!("CARGO_BIN_EXE_04-ipc"));
    run.success();
    run
}

fn count(run: &testing::Run, expected: &str) -> usize {
    run.lines().into_iter().filter(|line| *line == expected).count()
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let run = lesson();
    for value in "ABCXYZPQR".chars() {
        assert_eq!(
            count(&run, &format!("Get {value} from queue.")),
            1,
            "{value} is to come out of the queue once: a third writer is to put P, Q and R.\n\
             Hint: one more Process::new(write, ...), with its own end of the queue. The assertion at the end of main\n\
             counts the values.\n\
             The program printed:\n{}",
            run.stdout
        );
    }
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let run = lesson();
    let writers: HashSet<_> = run
        .lines()
        .into_iter()
        .filter_map(|line| line.strip_prefix("Process to write: "))
        .collect();
    let mut named = HashSet::new();
    for values in ["ABC", "XYZ"] {
        let mut of_these = HashSet::new();
        for value in values.chars() {
            let start = format!("Get {value} from queue, put by ");
            let writer = run
                .lines()
                .into_iter()
                .find_map(|line| line.strip_prefix(&start)?.strip_suffix('.'));
            assert!(
                writer.is_some_and(|pid| writers.contains(pid)),
                "no line \"{start}<pid>.\", where <pid> is the writer's.\n\
                 Hint: let the queue carry a pair: IpcSender<(u32, char)>, IpcReceiver<(u32, char)>.\n\
                 The program printed:\n{}",
                run.stdout
            );
            of_these.extend(writer);
        }
        assert_eq!(of_these.len(), 1, "{values} were put by one writer:\n{}", run.stdout);
        named.extend(of_these);
    }
    assert_eq!(named.len(), 2, "there are two writers:\n{}", run.stdout);
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let run = lesson();
    assert!(
        run.lines().iter().any(|line| line.starts_with("Process to change: ")),
        "no line \"Process to change: <pid>\": a process is to stand between the writers and the reader.\n\
         Hint: it has the receiver of one queue and the sender of another: two calls of ipc::channel().\n\
         The program printed:\n{}",
        run.stdout
    );
    for value in "abcxyz".chars() {
        let put = count(&run, &format!("Put {} to queue...", value.to_ascii_uppercase()));
        let got = count(&run, &format!("Get {value} from queue."));
        assert_eq!(
            (put, got),
            (1, 1),
            "{} is to be put, and {value} to be got.\n\
             Hint: char::to_ascii_lowercase. The assertion at the end of main compares what was put with what was got.\n\
             The program printed:\n{}",
            value.to_ascii_uppercase(),
            run.stdout
        );
    }
}
