//! A copy of a lesson's folder works wherever it lies. In such copies, every solution of an exercise is tried, right and wrong.
//!
//! This builds everything anew, in a place of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use testing::{Exercise, Folder, Run};

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

/// A way to do an exercise, right or wrong: a diff in `solutions/`, `solutions/right/` or `solutions/wrong/`.
struct Solution {
    diff: PathBuf,
    /// "exercise_1", with which the diff's name begins.
    exercise: String,
    right: bool,
}

impl Solution {
    /// All of a lesson's.
    fn of(lesson: &str) -> Vec<Solution> {
        let mut solutions = Vec::new();
        for (folder, right) in [
            ("solutions", true),
            ("solutions/right", true),
            ("solutions/wrong", false),
        ] {
            let entries = fs::read_dir(root().join("lessons").join(lesson).join(folder));
            let diffs = entries.into_iter().flatten().flatten().map(|entry| entry.path());
            for diff in diffs.filter(|path| path.extension().is_some_and(|it| it == "diff")) {
                let name = diff.file_stem().unwrap().to_str().unwrap();
                let exercise: String = name.chars().take("exercise_1".len()).collect();
                assert!(
                    folder != "solutions" || name == exercise,
                    "{}: what is that?",
                    diff.display()
                );
                solutions.push(Solution { exercise, right, diff });
            }
        }
        solutions.sort_by(|a, b| a.diff.cmp(&b.diff));
        for exercise in EXERCISES {
            let count = |right| {
                let these = solutions
                    .iter()
                    .filter(|it| it.exercise == exercise && it.right == right);
                these.count()
            };
            assert!(count(true) >= 1, "there is no solution of {exercise} of {lesson}");
            assert!(
                count(false) >= 2,
                "fewer than two wrong solutions of {exercise} of {lesson} are kept"
            );
        }
        solutions
    }

    /// Such as `03-pool/wrong/exercise_2_exit.diff`.
    fn name(&self) -> String {
        let path = self.diff.strip_prefix(root().join("lessons")).unwrap();
        path.to_str().unwrap().replace('\\', "/").replace("/solutions", "")
    }

    /// Where the mistake is one that the compiler sees, the diff begins with a comment that names the error: "E0382".
    fn compiles(&self) -> bool {
        let diff = fs::read_to_string(&self.diff).unwrap();
        let comment = diff.split("--- a/").next().unwrap();
        !comment.contains("E0")
    }
}

const EXERCISES: [&str; 3] = ["exercise_1", "exercise_2", "exercise_3"];

/// Applies a diff in that folder with what there is: `patch`, or git.
fn apply(diff: &Path, folder: &Path) {
    let tools: [&[&str]; 2] = [&["patch", "-p1", "--fuzz=0", "-i"], &["git", "apply"]];
    let applied = tools.iter().find_map(|tool| {
        let mut command = Command::new(tool[0]);
        command.args(&tool[1..]).arg(diff).current_dir(folder).output().ok()
    });
    let applied = applied.expect("there is patch or git");
    assert!(
        applied.status.success(),
        "{} does not apply: {applied:?}",
        diff.display()
    );
}

/// Every wrong one is red, every right one is green, and the lesson as it stands is red: by the lesson's own checks.
///
/// `SOLUTIONS=03-pool/exercise_2` in the environment: only those whose path contains both. `ROUNDS=20`: each so often.
#[test]
fn every_solution_is_judged_rightly() {
    if !can_run_cargo() {
        return;
    }
    let filter = env::var("SOLUTIONS").unwrap_or_default();
    let rounds = env::var("ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(1);
    let place = Place::new();
    place.take("common", "common");
    let (sender, receiver) = mpsc::channel::<Judgement>();
    let receiver = Mutex::new(receiver);
    let problems = Mutex::new(Vec::new());
    // Checks mostly wait, so several of them run at once, while this thread builds the next lesson's.
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let next = receiver.lock().unwrap().recv();
                    let Ok(judgement) = next else { return };
                    let found: Vec<_> = (0..rounds).filter_map(|_| judgement.problem()).collect();
                    problems.lock().unwrap().extend(found);
                }
            });
        }
        for lesson in lessons() {
            if cfg!(windows) && lesson == "01-fork" {
                continue; // there is nothing to solve without fork
            }
            if lesson.contains(filter.split('/').next().unwrap()) {
                let judgements = judgements(&place, &lesson, &filter);
                judgements.into_iter().for_each(|it| sender.send(it).unwrap());
            }
        }
        drop(sender);
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "\n{}", problems.join("\n\n"));
}

/// A program that is to be judged by the check of an exercise.
struct Judgement {
    name: String,
    check: PathBuf,
    exercise: String,
    program: PathBuf,
    right: bool,
}

/// Builds a lesson's check, and a program for each of its solutions, all of them at once; and judges the lesson itself too.
fn judgements(place: &Place, lesson: &str, filter: &str) -> Vec<Judgement> {
    let folder = place.take_lesson(lesson, &format!("my/{lesson}"));
    let as_it_stands =
        EXERCISES.map(|exercise| (format!("{lesson}/{exercise} as it stands"), exercise.to_owned(), None));
    let solutions = Solution::of(lesson)
        .into_iter()
        .map(|it| (it.name(), it.exercise.clone(), Some(it)));
    let wanted = as_it_stands
        .into_iter()
        .chain(solutions)
        .filter(|(name, ..)| filter.split('/').all(|part| name.contains(part)));
    let mut judgements = Vec::new();
    for (number, (name, exercise, solution)) in wanted.enumerate() {
        // One of the many programs of this package, but still a `main.rs`, as panics tell.
        let program = format!("{lesson}-{number}");
        let source = folder.join("src/bin").join(&program);
        fs::create_dir_all(source.join("src")).unwrap();
        testing::copy(
            root().join("lessons").join(lesson).join("src/main.rs"),
            source.join("src/main.rs"),
        );
        if let Some(solution) = &solution {
            apply(&solution.diff, &source);
        }
        fs::rename(source.join("src/main.rs"), source.join("main.rs")).unwrap();
        if solution.as_ref().is_some_and(|it| !it.compiles()) {
            let build = place.cargo(&folder, &["build", "--bin", &program]);
            assert!(
                build.stderr.contains("error[E0"),
                "{name} was not to compile:\n{}",
                build.stderr
            );
            fs::remove_dir_all(source).unwrap();
            continue;
        }
        judgements.push(Judgement {
            name,
            check: PathBuf::new(),
            exercise,
            program: place
                .target
                .path()
                .join("debug")
                .join(format!("{program}{}", env::consts::EXE_SUFFIX)),
            right: solution.is_some_and(|it| it.right),
        });
    }
    place.cargo(&folder, &["build", "--bins"]).success();
    let check = build_check(place, &folder);
    judgements.iter_mut().for_each(|it| it.check = check.clone());
    judgements
}

/// Can checks look at processes here, or only at what is printed?
fn what_is_done_is_seen() -> bool {
    cfg!(unix) && Exercise::new("true", "").observe().is_some()
}

/// Builds `tests/exercises.rs`; says where the program lies.
fn build_check(place: &Place, folder: &Path) -> PathBuf {
    let build = place.cargo(folder, &["test", "--no-run", "--test", "exercises"]);
    let line = build
        .success()
        .stderr
        .lines()
        .find(|line| line.contains("Executable tests"));
    let path = line.and_then(|line| Some(line.rsplit_once('(')?.1.trim_end_matches(')')));
    folder.join(path.unwrap_or_else(|| panic!("no path in:\n{}", build.stderr)))
}

impl Judgement {
    /// What is wrong with what the check says, if anything.
    fn problem(&self) -> Option<String> {
        let mut check = Command::new(&self.check);
        check
            .args(["--ignored", "--exact", &self.exercise])
            .env("EXERCISE_PROGRAM", &self.program)
            .env_remove("RUST_BACKTRACE");
        let begin = Instant::now();
        let run = testing::run_with(&mut check, Duration::from_secs(60));
        let outcome = run
            .lines()
            .into_iter()
            .find_map(|line| line.strip_prefix(&format!("test {} ... ", self.exercise)));
        let green = outcome == Some("ok");
        let mut problem = None;
        if green && !self.right && !what_is_done_is_seen() {
            println!("{} is accepted: here, a check sees only what is printed", self.name);
        } else if green != self.right {
            problem = Some(if green { "is accepted" } else { "is refused" });
        } else if !green {
            // At most 40 lines of the program; the others are the message, the hint and what libtest adds.
            if !run.stdout.contains("\nHint: ") {
                problem = Some("gives no hint");
            } else if run.lines().len() > 65 {
                problem = Some("prints too many lines");
            } else if begin.elapsed() > Duration::from_secs(20) * testing::slowness() as u32 {
                problem = Some("takes too long");
            }
        }
        problem.map(|problem| format!("{} {problem}:\n{}{}", self.name, run.stdout, run.stderr))
    }
}
