//! The helpers themselves. Most programs here are one line of shell.
#![cfg(unix)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use testing::{Exercise, Folder, NothingLeft, neutral, run_with, slowness};

const MINUTE: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// The message with which this fails.
fn failure(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("this was to fail");
    *payload.downcast::<String>().expect("the message has arguments")
}

#[test]
fn output_and_status_arrive() {
    let run = run_with(&mut shell("echo $$; echo two; echo oh >&2; exit 3"), MINUTE);
    assert_eq!(run.stdout, format!("{}\ntwo\n", run.pid));
    assert_eq!(run.lines().len(), 2);
    assert_eq!(run.stderr, "oh\n");
    assert_eq!(run.status.code(), Some(3));
    let message = failure(|| _ = run.success());
    assert!(
        message.contains("exit status: 3") && message.contains("two") && message.contains("oh"),
        "{message}"
    );
}

#[test]
fn there_is_no_input() {
    run_with(&mut shell("! read line"), MINUTE).success();
}

#[test]
fn full_pipes_do_not_block() {
    let lines = "i=0; while [ $i -lt 20000 ]; do echo 0123456789; echo 0123456789 >&2; i=$((i+1)); done";
    let run = run_with(&mut shell(lines), MINUTE);
    assert_eq!((run.stdout.len(), run.stderr.len()), (220_000, 220_000));
}

#[test]
fn a_program_that_hangs_is_killed_with_what_it_started() {
    let _nothing_left = NothingLeft::new();
    let begin = Instant::now();
    let limit = Duration::from_millis(300);
    let message = failure(|| drop(run_with(&mut shell("echo begun; sleep 600 & wait"), limit)));
    let expected = format!("had not ended after {:?}", limit * slowness() as u32);
    assert!(message.contains(&expected) && message.contains("begun"), "{message}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn output_that_a_descendant_holds_open_counts_as_not_ended() {
    let _nothing_left = NothingLeft::new();
    let message = failure(|| {
        drop(run_with(
            &mut shell("echo begun; sleep 600 &"),
            Duration::from_millis(300),
        ))
    });
    assert!(message.contains("holds its output open"), "{message}");
}

#[test]
fn a_program_that_is_not_there() {
    let message = failure(|| drop(testing::run("/nowhere/nothing")));
    assert!(
        message.starts_with("\"/nowhere/nothing\" does not start: "),
        "{message}"
    );
}

#[test]
fn an_example_that_is_not_there() {
    let _nothing_left = NothingLeft::new();
    let folder = env!("CARGO_MANIFEST_DIR");
    let message = failure(|| drop(testing::example(folder, "nothing")));
    assert!(message.starts_with("there is no example `nothing` in "), "{message}");
    let unbuilt = Folder::new(env::temp_dir());
    unbuilt.write("examples/neverbuilt.rs", "");
    let message = failure(|| drop(testing::example(unbuilt.path(), "neverbuilt")));
    assert!(
        message.starts_with("the example `neverbuilt` has not been built"),
        "{message}"
    );
}

#[test]
fn a_folder_is_copied_and_goes_away() {
    let _nothing_left = NothingLeft::new();
    let folder = Folder::new(env::temp_dir());
    let script = folder.write("from/deep/script", "one");
    folder.write("from/target/big", "");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    testing::copy(folder.path().join("from"), folder.path().join("to"));
    let copied = folder.path().join("to/deep/script");
    assert_eq!(fs::read_to_string(&copied).unwrap(), "one");
    assert_eq!(
        fs::metadata(&copied).unwrap().permissions(),
        fs::metadata(&script).unwrap().permissions()
    );
    assert!(!folder.path().join("to/target").exists());
    let path = folder.path().to_owned();
    drop(folder);
    assert!(!path.exists());
}

#[test]
fn neutral_texts() {
    for (text, expected) in [
        ("Parent process 4711.", "Parent process <pid>."),
        ("Run task 3 (4711)...", "Run task 3 (<pid>)..."),
        ("Task 3 runs 2.13 seconds.", "Task 3 runs <t> seconds."),
        (
            "I (12) just created a child process (13).",
            "I (<pid>) just created a child process (<pid>).",
        ),
        (
            "Process (7) start; Parent process 8.",
            "Process (<pid>) start; Parent process <pid>.",
        ),
        ("12", "<pid>"),
        ("it took 0.5s, 1.75x, 99.9 %", "it took <t>s, <t>x, <t> %"),
        (
            "exitcode Some(-9), Some(0), Some(101)",
            "exitcode Some(-9), Some(0), Some(<pid>)",
        ),
        (
            "src/main.rs:12:5: p22 Process-12 v1.25 1.2.3 100,000 12:30",
            "src/main.rs:12:5: p22 Process-12 v1.25 1.2.3 100,000 12:30",
        ),
        ("a <pid> and <t> stay", "a <pid> and <t> stay"),
        ("父进程 4711：4712，4713。", "父进程 <pid>：<pid>，<pid>。"),
        ("pids 12, 13 and 14:\n15", "pids <pid>, <pid> and <pid>:\n<pid>"),
        ("", ""),
    ] {
        assert_eq!(neutral(text), expected, "{text}");
        assert_eq!(neutral(expected), expected, "twice");
    }
}

#[test]
fn nothing_left_is_satisfied_and_waits() {
    let _nothing_left = NothingLeft::new();
    run_with(&mut shell("true"), MINUTE).success();
    let mut child = shell("sleep 0.2").spawn().unwrap();
    thread::spawn(move || child.wait());
}

/// Linux cuts a thread's name after 15 bytes, so the names of these two are the same; one waits for the other.
#[test]
fn tests_with_alike_names_1() {
    let _nothing_left = NothingLeft::within(Duration::ZERO);
    thread::sleep(Duration::from_millis(100));
}

#[test]
fn tests_with_alike_names_2() {
    let _nothing_left = NothingLeft::within(Duration::ZERO);
    thread::sleep(Duration::from_millis(100));
}

/// Fails with the sentence; cleans up what was left for the purpose.
fn left(leave: impl FnOnce()) -> String {
    failure(|| {
        let _nothing_left = NothingLeft::within(Duration::from_millis(300));
        leave();
    })
}

#[test]
fn a_zombie_a_child_an_orphan_and_a_descriptor_are_seen() {
    let mut zombie = None;
    let message = left(|| zombie = Some(shell("exit 0").spawn().unwrap()));
    let mut zombie = zombie.unwrap();
    zombie.wait().unwrap();
    assert!(
        message.contains(&format!("process {} (sh), state Z", zombie.id())),
        "{message}"
    );

    let mut file = None;
    let message = left(|| file = Some(fs::File::open("/dev/null").unwrap()));
    drop(file);
    assert!(message.contains("/dev/null") || !cfg!(target_os = "linux"), "{message}");

    static ORPHAN: AtomicU32 = AtomicU32::new(0);
    let message = left(|| {
        let run = run_with(&mut shell("sleep 600 >/dev/null 2>&1 & echo $!"), MINUTE);
        ORPHAN.store(run.stdout.trim().parse().unwrap(), Ordering::SeqCst);
    });
    let orphan = ORPHAN.load(Ordering::SeqCst).to_string();
    Command::new("kill")
        .args(["-KILL", &orphan])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(message.contains(&format!("process {orphan} (sleep)")), "{message}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_thread_and_a_folder_are_seen() {
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let mut thread = None;
    let message = left(|| thread = Some(thread::spawn(move || wait.recv())));
    drop(end);
    let _ = thread.unwrap().join();
    assert!(message.contains("  thread "), "{message}");

    let folder = env::temp_dir().join(format!(".tmp{}", std::process::id()));
    let message = left(|| fs::create_dir(&folder).unwrap());
    fs::remove_dir(&folder).unwrap();
    assert!(message.contains(&format!("file {}", folder.display())), "{message}");
}

/// A program for an exercise, written in shell; `EXERCISE_PROGRAM` is not for here.
fn exercise(folder: &Folder, script: &str) -> Exercise {
    let program = folder.path().join("program");
    // Not written by this process: a child that another thread starts meanwhile would hold the file open for writing.
    let write = "printf '#!/bin/sh\n%s\n' \"$0\" >\"$1\" && chmod +x \"$1\"";
    run_with(shell(write).arg(script).arg(&program), MINUTE).success();
    Exercise::new(program.to_str().unwrap(), "think")
}

#[test]
fn an_exercise_fails_with_a_reason() {
    let _nothing_left = NothingLeft::new();
    let folder = Folder::new(env::temp_dir());
    let message = failure(|| _ = exercise(&folder, "exit 3").run());
    assert!(message.contains("exit status: 3"), "{message}");
    let message = failure(|| {
        _ = exercise(
            &folder,
            "while :; do echo 0123456789012345678901234567890123456789; done",
        )
        .run()
    });
    assert!(message.contains("more than 250 KB"), "{message}");
    let message = failure(|| {
        exercise(&folder, "echo one")
            .start()
            .wait_until("the line two did not come", |it| it.contains("two"))
    });
    assert!(message.contains("two did not come"), "{message}");
}

#[test]
#[cfg(target_os = "linux")]
fn processes_of_an_exercise_are_seen_in_order_with_their_ends() {
    let _nothing_left = NothingLeft::new();
    let folder = Folder::new(env::temp_dir());
    let script = "(exit 3) & (kill -9 $(exec sh -c 'echo $PPID')) & wait; echo end";
    let (run, seen) = exercise(&folder, script).observe().unwrap();
    assert_eq!(run.stdout, "end\n");
    let mut children: Vec<_> = seen.iter().filter(|it| it.parent == run.pid).collect();
    children.sort_by_key(|it| it.started);
    assert_eq!(children.len(), 2, "{seen:#?}");
    assert_eq!(
        children.iter().map(|it| it.exitcode).collect::<Vec<_>>(),
        [Some(3), Some(-9)]
    );
    assert!(children.iter().all(|it| !it.is_thread && it.ended.is_some()));
    // One does not wait for the other, and both do not begin at once: so they overlap.
    assert!(children[0].overlaps(children[1]));

    assert!(children.iter().all(|it| it.waited_for));
    let (run, seen) = exercise(&folder, "(exit 3) & exec sleep 0.2").observe().unwrap();
    let child = seen.iter().find(|it| it.parent == run.pid).unwrap();
    assert!(child.exitcode == Some(3) && !child.waited_for, "{seen:#?}");

    let script = "(echo one) & (echo two) & (echo three) & wait; echo end";
    let printed = exercise(&folder, script).run_without(2).unwrap();
    let mut lines: Vec<_> = printed.lines().collect();
    lines.sort();
    assert_eq!(lines, ["end", "one", "three"]);
}
