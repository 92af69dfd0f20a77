//! The scripts, run in a small workspace of four lessons: one is good, one fails, one hangs, one does not compile.
#![cfg(unix)]

use nix::sys::signal::{SigHandler, Signal, signal};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testing::{Folder, NothingLeft, Run};

const GOOD: &str = r#"fn main() { println!("I am fine."); }"#;
const FAILS: &str = r#"fn main() { println!("I am not."); std::process::exit(3); }"#;
/// Waits for a child that waits: both have to be ended.
const HANGS: &str = r#"fn main() {
    println!("I hang.");
    std::process::Command::new("sleep").arg("600").status().unwrap();
}"#;
const WRONG: &str = "fn main() { 1 + }";

/// The lessons, each with its main.rs, and the scripts.
fn workspace(lessons: &[(&str, &str)]) -> Folder {
    let folder = Folder::new(std::env::temp_dir());
    folder.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"lessons/[0-9][0-9]-*\"]\n",
    );
    for (name, main) in lessons {
        let package = &name[3..];
        let manifest = format!(
            "[package]\nname = \"{package}\"\nedition = \"2024\"\n[[bin]]\nname = \"{name}\"\npath = \"src/main.rs\"\n"
        );
        folder.write(format!("lessons/{name}/Cargo.toml"), &manifest);
        folder.write(format!("lessons/{name}/src/main.rs"), main);
    }
    let scripts = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts"));
    testing::copy(scripts, folder.path().join("scripts"));
    folder
}

/// The script in that workspace, called from another folder.
fn run_all(workspace: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(workspace.path().join("scripts/run-all.sh"));
    command
        .args(arguments)
        .current_dir("/")
        .env("CARGO_TARGET_DIR", workspace.path().join("target"));
    command
}

fn run(workspace: &Folder, arguments: &[&str]) -> Run {
    testing::run_with(&mut run_all(workspace, arguments), Duration::from_secs(120))
}

/// Lesson and result of each row of the table.
fn table(run: &Run) -> Vec<(&str, String)> {
    let lines = run
        .lines()
        .into_iter()
        .skip_while(|line| !line.ends_with(" seconds"))
        .skip(1);
    lines.filter(|line| !line.ends_with(" failed.")).map(row).collect()
}

/// Without the last column, which is the time.
fn row(line: &str) -> (&str, String) {
    let words: Vec<&str> = line.split_whitespace().collect();
    (words[0], words[1..words.len() - 1].join(" "))
}

#[test]
fn every_lesson_is_found_shown_and_counted() {
    let _nothing_left = NothingLeft::new();
    let lessons = [
        ("01-good", GOOD),
        ("02-fails", FAILS),
        ("04-hangs", HANGS),
        ("10-last", GOOD),
    ];
    let workspace = workspace(&lessons);
    fs::create_dir(workspace.path().join("lessons/notes")).unwrap();

    let all = run(&workspace, &["--limit", "10"]);
    assert_eq!(all.status.code(), Some(1), "{}", all.stderr);
    let expected = [
        ("01-good", "ok"),
        ("02-fails", "exit status 3"),
        ("04-hangs", "killed after 10 s"),
        ("10-last", "ok"),
    ];
    assert_eq!(
        table(&all),
        expected.map(|(lesson, result)| (lesson, result.to_owned())),
        "{}",
        all.stdout
    );
    assert_eq!(all.lines().last(), Some(&"2 of 4 failed."));
    // The output stands under the lesson's name.
    assert!(all.stdout.contains("=== 01-good ===\nI am fine.\n"), "{}", all.stdout);
    assert!(all.stdout.contains("=== 04-hangs ===\nI hang.\n"), "{}", all.stdout);

    // Any of its names, in the order wanted.
    for (name, lesson) in [
        ("01", "01-good"),
        ("1", "01-good"),
        ("good", "01-good"),
        ("10", "10-last"),
        ("10-last", "10-last"),
        ("lessons/01-good/", "01-good"),
    ] {
        let one = run(&workspace, &[name]);
        assert_eq!(table(one.success()), [(lesson, "ok".to_owned())], "{name}");
    }
    let two = run(&workspace, &["last", "01"]);
    assert_eq!(
        table(two.success()).iter().map(|row| row.0).collect::<Vec<_>>(),
        ["10-last", "01-good"]
    );

    let unknown = run(&workspace, &["01", "07"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(unknown.stdout, "");
    assert_eq!(
        unknown.stderr,
        "run-all.sh: there is no lesson '07'; there are: 01-good 02-fails 04-hangs 10-last\n"
    );
}

#[test]
fn a_lesson_that_does_not_compile_does_not_stop_the_others() {
    let workspace = workspace(&[("01-wrong", WRONG), ("02-good", GOOD)]);
    let all = run(&workspace, &[]);
    assert_eq!(all.status.code(), Some(1));
    assert_eq!(
        table(&all),
        [("01-wrong", "does not build".to_owned()), ("02-good", "ok".to_owned())],
        "{}",
        all.stdout
    );
    assert!(all.stderr.contains("error: expected expression"), "{}", all.stderr);
}

#[test]
fn misuse_and_help() {
    let workspace = workspace(&[]);
    let help = run(&workspace, &["--help"]);
    assert!(help.success().stdout.starts_with("Usage: scripts/run-all.sh "));
    assert_eq!(run(&workspace, &["-h"]).stdout, help.stdout);
    for (arguments, expected) in [
        (&["--fast"][..], "unknown option --fast"),
        (&["--limit"], "--limit needs a number"),
        (&["--limit", "soon"], "not 'soon'"),
        (&["--limit=0"], "not '0'"),
        (&[], "there are no lessons in "),
    ] {
        let misuse = run(&workspace, arguments);
        assert_eq!(misuse.status.code(), Some(2), "{arguments:?}");
        assert!(misuse.stderr.contains(expected), "{arguments:?}: {}", misuse.stderr);
    }
}

#[test]
fn ctrl_c_ends_the_script_and_the_lesson() {
    let _nothing_left = NothingLeft::new();
    let workspace = workspace(&[("01-hangs", HANGS), ("02-good", GOOD)]);
    let mut command = run_all(&workspace, &[]);
    // A shell starts what runs in the background with SIGINT ignored, and so may this test have been started.
    // SAFETY: all that happens between fork and exec is one system call.
    unsafe { command.pre_exec(|| Ok(signal(Signal::SIGINT, SigHandler::SigDfl).map(drop)?)) };
    // A group of its own, to which the signal goes as it does from a terminal.
    let mut script = command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(script.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.ends_with("I hang.\n") {
        assert_ne!(output.read_line(&mut seen).unwrap(), 0, "ended too early: {seen}");
    }
    let begin = Instant::now();
    Command::new("kill")
        .args(["-INT", "--", &format!("-{}", script.id())])
        .status()
        .unwrap();
    // The end comes when nobody has the pipe any more: neither the script nor the lesson nor its child.
    output.read_to_string(&mut seen).unwrap();
    assert_eq!(script.wait().unwrap().code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert!(!seen.contains("02-good"), "{seen}");
}

#[test]
fn the_lock_files_of_the_lessons_follow_the_workspace() {
    let workspace = workspace(&[("01-good", GOOD), ("02-other", GOOD)]);
    let locks = |arguments: &[&str]| {
        let mut script = Command::new(workspace.path().join("scripts/locks.sh"));
        testing::run_with(script.args(arguments).current_dir("/"), Duration::from_secs(60))
    };
    let lock = workspace.path().join("lessons/01-good/Cargo.lock");
    let made = testing::cargo(workspace.path())
        .arg("generate-lockfile")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");

    let missing = locks(&["--check"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        missing.stderr.starts_with("lessons/01-good/Cargo.lock is out of date"),
        "{missing:?}"
    );
    assert!(!lock.exists(), "--check changes nothing");
    assert_eq!(
        locks(&[]).success().lines(),
        ["lessons/01-good/Cargo.lock", "lessons/02-other/Cargo.lock"]
    );
    assert_eq!(locks(&["--check"]).success().stderr, "");

    // One of them changes, and only that one is written anew.
    let manifest = workspace.path().join("lessons/01-good/Cargo.toml");
    let more = fs::read_to_string(&manifest).unwrap() + "[dependencies]\nhelper = { path = \"../../common/helper\" }\n";
    fs::write(&manifest, more).unwrap();
    workspace.write(
        "common/helper/Cargo.toml",
        "[package]\nname = \"helper\"\nversion = \"0.1.0\"\n",
    );
    workspace.write("common/helper/src/lib.rs", "");
    assert_eq!(locks(&["--check"]).status.code(), Some(1));
    assert_eq!(locks(&[]).success().lines(), ["lessons/01-good/Cargo.lock"]);
    assert!(fs::read_to_string(&lock).unwrap().contains("\"helper\""));
    assert_eq!(locks(&["--new"]).status.code(), Some(2));
}
