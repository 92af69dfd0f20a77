//! Where the program lies, and what it is called with: folders with spaces and Chinese characters, long command lines, a
//! program that is moved or replaced while it runs.
//!
//! The program is a copy of this test file's own, which is told by the environment to be one: see [`program`].

use common::{Pool, Process};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use testing::{Folder, LIMIT, NothingLeft, run_with};

common::init_in_tests!();

/// Says what the copy of this program is to do.
const PART: &str = "COMMON_TEST_PATHS";

fn add(a: u32, b: u32) -> u32 {
    a + b
}

/// What a child sees of the place that it lives in.
fn place() -> (PathBuf, PathBuf, Vec<OsString>) {
    let program = env::current_exe().and_then(fs::canonicalize).unwrap();
    // In a test file a child never comes to `main`. Some C libraries tell a program its arguments only there.
    let known = cfg!(any(
        windows,
        target_vendor = "apple",
        all(target_os = "linux", target_env = "gnu")
    ));
    let arguments = env::args_os().skip(1).filter(|_| known);
    (program, env::current_dir().unwrap(), arguments.collect())
}

/// No test, but the program, when it is run as one.
#[test]
fn program() {
    match env::var(PART).as_deref() {
        Ok("place") => {
            let mine = place();
            let child = Process::new(|()| place(), ()).start().unwrap();
            assert_eq!(child.join().unwrap(), mine);
            let pool = Pool::new(2).unwrap();
            assert_eq!(pool.apply(|()| place(), ()).unwrap(), mine);
            assert_eq!(
                pool.map(|x: u32| add(x, 1), 0..10).unwrap(),
                (1..11).collect::<Vec<_>>()
            );
            pool.close().join().unwrap();
            println!("\nseen: {}", mine.0.display());
        }
        Ok("moved") => {
            println!("\nready");
            std::io::stdin().lock().read_line(&mut String::new()).unwrap();
            let outcome = Process::new(|(a, b)| add(a, b), (2, 3))
                .start()
                .and_then(|child| child.join());
            println!("\noutcome: {outcome:?}");
            let outcome = Pool::new(2).and_then(|pool| pool.apply(|(a, b)| add(a, b), (3, 4)));
            println!("\npool: {outcome:?}");
        }
        _ => {}
    }
}

/// A copy of this program, under another name.
fn copy_to(program: &Path) {
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    testing::copy(env::current_exe().unwrap(), program);
}

fn command(program: &Path, part: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", "program", "--nocapture", "--test-threads=1"])
        .env(PART, part);
    command
}

fn name(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}

#[test]
fn a_program_in_a_folder_with_spaces_and_chinese_characters_starts_processes() {
    let _nothing_left = NothingLeft::new();
    let folder = Folder::new(env::temp_dir());
    let program = folder
        .path()
        .join("my programs")
        .join("进程 和 线程")
        .join(name("进程 it's 100% mine"));
    copy_to(&program);
    // What the test harness does not know it takes for names of tests: arguments that a shell would not leave alone.
    let strange = [
        "参数 一",
        "two  words",
        "a \"quoted\" word",
        "back\\slash\\",
        "\\\"",
        "%PATH%",
        "$HOME",
        "*",
        "🦀",
    ];
    let run = run_with(
        command(&program, "place")
            .args(strange)
            .current_dir(program.parent().unwrap()),
        LIMIT,
    );
    let seen = run
        .success()
        .lines()
        .into_iter()
        .find_map(|line| line.strip_prefix("seen: "));
    assert_eq!(
        seen,
        Some(&*fs::canonicalize(&program).unwrap().display().to_string()),
        "{run:?}"
    );
}

#[test]
fn a_very_long_command_line_reaches_every_process() {
    let _nothing_left = NothingLeft::new();
    let folder = Folder::new(env::temp_dir());
    let program = folder.path().join(name("long"));
    copy_to(&program);
    // Windows takes 32,767 characters in all.
    let long = (0..100).map(|number| format!("{number}-{}", "长".repeat(280)));
    let run = run_with(command(&program, "place").args(long), LIMIT);
    assert!(
        run.success().lines().iter().any(|line| line.starts_with("seen: ")),
        "{run:?}"
    );
}

/// Runs the program, does something to its file meanwhile, and returns what it says of a process and of a pool then.
fn meanwhile(program: &Path, change: impl FnOnce()) -> [String; 2] {
    let mut command = command(program, "moved");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        stdout
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let next = |beginning: &str| loop {
        let line = lines
            .recv_timeout(Duration::from_secs(30))
            .expect("the program goes on talking");
        if let Some(rest) = line.strip_prefix(beginning) {
            return rest.to_owned();
        }
    };
    next("ready");
    change();
    child.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    let said = [next("outcome: "), next("pool: ")];
    assert!(child.wait_with_output().unwrap().status.success(), "{said:?}");
    drop(lines);
    let _ = reader.join().unwrap();
    said
}

#[test]
fn a_program_that_is_moved_while_it_runs_goes_on_or_says_so() {
    let _nothing_left = NothingLeft::new();
    let folder = Folder::new(env::temp_dir());
    let (before, after) = (folder.path().join(name("before")), folder.path().join(name("after")));
    copy_to(&before);
    let said = meanwhile(&before, || fs::rename(&before, &after).unwrap());
    if cfg!(target_os = "linux") {
        assert_eq!(said, ["Ok(5)", "Ok(7)"]);
    } else {
        // Some systems know where it is now.
        let gone = |said: &String| said.starts_with("Ok(") || said.contains("was the program moved?");
        assert!(said.iter().all(gone), "{said:?}");
    }
}

#[test]
fn a_program_whose_file_is_replaced_while_it_runs_goes_on_or_says_so() {
    let _nothing_left = NothingLeft::new();
    let folder = Folder::new(env::temp_dir());
    let (program, old) = (folder.path().join(name("program")), folder.path().join(name("old")));
    copy_to(&program);
    let said = meanwhile(&program, || {
        fs::rename(&program, &old).unwrap();
        copy_to(&program);
        // A program as well, but another file: what is added at the end does no harm.
        fs::OpenOptions::new()
            .append(true)
            .open(&program)
            .unwrap()
            .write_all(b"rebuilt")
            .unwrap();
    });
    if cfg!(target_os = "linux") {
        assert_eq!(said, ["Ok(5)", "Ok(7)"]);
    } else {
        let goes_on = |said: &String| cfg!(not(any(windows, target_vendor = "apple"))) && said.starts_with("Ok(");
        let refused = |said: &String| goes_on(said) || said.contains("exited with code 70");
        assert!(said.iter().all(refused), "{said:?}");
    }
}
