//! A lesson's folder can be copied, and works where it lies then. The exercises are checked in such copies.
//!
//! This builds everything anew, in a place of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{env, fs};
use testing::{Folder, Run};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("common lies in the repository")
}

/// The lessons' folders, as they are found.
fn lessons() -> Vec<String> {
    let entries = fs::read_dir(root().join("lessons")).unwrap().flatten();
    let names = entries
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name());
    let mut lessons: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    lessons.sort();
    assert!(lessons.len() >= 6, "{lessons:?}");
    lessons
}

/// What a lesson is called without its number, which is its package's name too.
fn package(lesson: &str) -> &str {
    &lesson[3..]
}

/// A place for copies. The tests share what they build there, and take turns.
struct Place {
    folder: Folder,
    target: Arc<Folder>,
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    fn new() -> Place {
        static TARGET: Mutex<Weak<Folder>> = Mutex::new(Weak::new());
        static TURN: Mutex<()> = Mutex::new(());
        let target = {
            let mut shared = TARGET.lock().unwrap_or_else(PoisonError::into_inner);
            let target = shared
                .upgrade()
                .unwrap_or_else(|| Arc::new(Folder::new(env!("CARGO_TARGET_TMPDIR"))));
            *shared = Arc::downgrade(&target);
            target
        };
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // Outside of the repository, or Cargo would find the workspace above.
        Place {
            folder: Folder::new(env::temp_dir()),
            target,
            _turn,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Copies a file or folder of the repository to a path in here.
    fn take(&self, from: &str, to: &str) -> PathBuf {
        let to = self.path(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        testing::copy(root().join(from), &to);
        to
    }

    /// Copies a lesson as `cp -r` does.
    fn take_lesson(&self, lesson: &str, to: &str) -> PathBuf {
        let folder = self.take(&format!("lessons/{lesson}"), to);
        // The same versions as in the repository, since those are on this machine: we ask no registry.
        testing::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"));
        folder
    }

    fn cargo(&self, folder: &Path, arguments: &[&str]) -> Run {
        let mut cargo = testing::cargo(folder);
        cargo
            .args(arguments)
            .envs([("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "false")]);
        cargo.env("CARGO_TARGET_DIR", self.target.path());
        testing::run_with(&mut cargo, Duration::from_secs(600))
    }
}

/// Can this test run Cargo? A test for Windows that a Cargo for Unix has built, and that runs under Wine, cannot.
fn can_run_cargo() -> bool {
    let foreign = cfg!(windows) && env::var("CARGO").is_ok_and(|cargo| cargo.starts_with('/'));
    if foreign {
        println!("skipped: Cargo is a program for another system");
    }
    !foreign
}

#[test]
fn a_lesson_works_in_my() {
    if !can_run_cargo() {
        return;
    }
    let place = Place::new();
    for name in ["Cargo.toml", "Cargo.lock", "common", "lessons"] {
        place.take(name, name);
    }
    for lesson in lessons() {
        let copy = place.take_lesson(&lesson, &format!("my/{}-of-mine", package(&lesson)));
        place.cargo(&copy, &["run", "--quiet"]).success();
    }
    let copy = place.path("my/lock-of-mine");
    let test = place.cargo(&copy, &["test"]);
    assert!(test.success().stdout.contains(" passed; "), "{}", test.stdout);

    // The workspace above does not mind, and knows its lessons by program and by package.
    let top = place.folder.path();
    let by_program = place.cargo(top, &["run", "--quiet", "--bin", "03-pool"]);
    assert!(by_program.success().stdout.ends_with("All subprocesses done.\n"));
    let by_package = place.cargo(top, &["run", "--quiet", "-p", "pool"]);
    assert!(by_package.success().stdout.ends_with("All subprocesses done.\n"));

    // A package's name may not begin with a digit; the README quotes what Cargo says of that.
    assert!(!place.cargo(top, &["run", "-p", "03-pool"]).status.success());
}

#[test]
fn a_lesson_works_elsewhere_with_common_beside_it() {
    if !can_run_cargo() {
        return;
    }
    let place = Place::new();
    place.take("common", "dest/common");
    for lesson in lessons() {
        let copy = place.take_lesson(&lesson, &format!("dest/lessons/{lesson}"));
        place.cargo(&copy, &["run", "--quiet"]).success();
    }
    place
        .cargo(&place.path("dest/lessons/06-lock"), &["test", "--quiet"])
        .success();
}

/// `exercise_N.diff` of a lesson, in order.
fn solutions(lesson: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("lessons").join(lesson).join("solutions"));
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut diffs: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "diff"))
        .collect();
    diffs.sort();
    diffs
}

/// The tool that applies a diff here: `patch`, or git.
fn patch() -> Option<&'static [&'static str]> {
    let tools: [&[&str]; 2] = [&["patch", "-p1", "--fuzz=0", "-i"], &["git", "apply"]];
    tools.into_iter().find(|tool| {
        Command::new(tool[0])
            .arg("--version")
            .output()
            .is_ok_and(|it| it.status.success())
    })
}

/// How a test went, read from what libtest prints: `test exercise_1 - should fail ... ok`.
fn outcome<'a>(run: &'a Run, test: &str) -> &'a str {
    let line = run
        .lines()
        .into_iter()
        .find(|line| line.starts_with(&format!("test {test} ")));
    let line = line.unwrap_or_else(|| panic!("{test} did not run:\n{}\n{}", run.stdout, run.stderr));
    line.rsplit(' ').next().unwrap()
}

#[test]
fn every_solution_turns_its_exercise_from_red_to_green() {
    if !can_run_cargo() {
        return;
    }
    let Some(patch) = patch() else {
        println!("skipped: there is neither patch nor git on this machine");
        return;
    };
    let place = Place::new();
    place.take("common", "common");
    for lesson in lessons() {
        let diffs = solutions(&lesson);
        if cfg!(windows) && lesson == "01-fork" {
            continue; // there is nothing to solve without fork
        }
        assert_eq!(diffs.len(), 3, "solutions of {lesson}: {diffs:?}");
        let copy = place.take_lesson(&lesson, &format!("my/{lesson}"));
        let red = place.cargo(&copy, &["test", "--test", "exercises", "--", "--ignored"]);
        for (n, diff) in (1..).zip(&diffs) {
            let exercise = format!("exercise_{n}");
            assert_eq!(diff.file_stem().unwrap().to_str(), Some(&*exercise));
            assert_eq!(
                outcome(&red, &exercise),
                "FAILED",
                "{exercise} of {lesson} as it stands"
            );

            let copy = place.take_lesson(&lesson, &format!("my/{lesson}-{n}"));
            let applied = Command::new(patch[0])
                .args(&patch[1..])
                .arg(diff)
                .current_dir(&copy)
                .output()
                .unwrap();
            assert!(
                applied.status.success(),
                "{} does not apply: {applied:?}",
                diff.display()
            );
            let green = place.cargo(&copy, &["test", &exercise, "--", "--ignored"]);
            assert_eq!(
                outcome(green.success(), &exercise),
                "ok",
                "{exercise} of {lesson} after its diff"
            );
        }
    }
}
