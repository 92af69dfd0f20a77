//! The pictures that `TIMELINE` makes of whole programs. How lanes are drawn in detail is tested beside the code.

use std::fs;
use std::path::Path;
use std::process::Command;
use testing::{Folder, LIMIT, NothingLeft, Run, overlaps, run_with};

/// The example with these parts, and `TIMELINE` as given.
fn program(parts: &str, timeline: Option<&str>) -> Command {
    let mut command = Command::new(testing::example(env!("CARGO_MANIFEST_DIR"), "timeline"));
    command
        .args(parts.split(' '))
        .env_remove("TIMELINE")
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR");
    if let Some(timeline) = timeline {
        command.env("TIMELINE", timeline);
    }
    command
}

fn run(parts: &str, timeline: &str) -> Run {
    run_with(&mut program(parts, Some(timeline)), LIMIT)
}

/// Lanes in which a task of 50 ms has room for its number, even if the whole run took many seconds.
fn wide(parts: &str) -> Run {
    run_with(program(parts, Some("1")).env("COLUMNS", "2000"), LIMIT)
}

/// The picture, from the file where it was drawn.
fn picture(parts: &str) -> String {
    let folder = Folder::new(std::env::temp_dir());
    let run = run_with(program(parts, Some("run.svg")).current_dir(folder.path()), LIMIT);
    assert_eq!(run.success().stderr, "");
    fs::read_to_string(folder.path().join("run.svg")).expect("the picture was drawn")
}

/// The lanes whose names begin like this.
fn lanes<'a>(run: &'a Run, name: &str) -> Vec<&'a str> {
    run.stderr
        .lines()
        .filter(|line| line.trim_start().starts_with(name))
        .collect()
}

fn lane<'a>(run: &'a Run, name: &str) -> &'a str {
    let lanes = lanes(run, name);
    assert_eq!(lanes.len(), 1, "{name} in\n{}", run.stderr);
    lanes[0]
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

#[test]
fn the_fifth_task_begins_when_the_first_worker_is_free() {
    let _nothing_left = NothingLeft::new();
    let run = wide("five");
    assert_eq!(run.success().stdout, "five: done\n");
    assert!(
        lane(&run, "MainProcess").contains(&run.pid.to_string()),
        "{}",
        run.stderr
    );
    let workers = lanes(&run, "PoolWorker-");
    assert_eq!(workers.len(), 4, "{}", run.stderr);
    for task in 0..5 {
        assert_eq!(
            count(&workers.concat(), &format!("[{task}")),
            1,
            "task {task} in\n{}",
            run.stderr
        );
    }
    // The worker that did the fifth had done another one before.
    let before_the_fifth = workers.iter().find_map(|lane| lane.split_once("[4"));
    assert!(
        before_the_fifth.is_some_and(|(before, _)| before.contains(']')),
        "{}",
        run.stderr
    );
    assert!(lane(&run, "queue").contains('1'), "{}", run.stderr);
}

#[test]
fn a_picture_has_the_same_lanes_and_tasks() {
    let picture = picture("five");
    for task in 0..5 {
        assert_eq!(count(&picture, &format!("<title>task {task}, ")), 1, "task {task}");
    }
    assert_eq!(count(&picture, "\">PoolWorker-"), 4);
    assert_eq!(count(&picture, "\">MainProcess<"), 1);
    assert!(picture.contains("prefers-color-scheme: dark"));
    // It stands alone: no other file, no script.
    assert!(!picture.contains("href") && !picture.contains("<script"));
    well_formed(&picture);
}

#[test]
fn b50_a_killed_worker_is_there_up_to_its_death() {
    let _nothing_left = NothingLeft::new();
    let run = wide("killed");
    assert_eq!(run.success().stdout, "killed: done\n");
    let workers = lanes(&run, "PoolWorker-");
    for task in [0, 1, 3, 5] {
        assert_eq!(
            count(&workers.concat(), &format!("[{task}")),
            1,
            "task {task} in\n{}",
            run.stderr
        );
    }
    let failed = |task: u32| {
        *workers
            .iter()
            .find(|lane| lane.ends_with(&format!("in task {task}")))
            .expect("a verdict")
    };
    assert!(
        failed(4).contains("[4") && failed(4).contains("=! ") && failed(4).contains("exit code 3"),
        "{}",
        failed(4)
    );
    if cfg!(unix) {
        assert!(
            failed(2).contains("[2") && failed(2).contains("=X ") && failed(2).contains("SIGKILL"),
            "{}",
            failed(2)
        );
    }
    assert_eq!(count(&picture("killed"), ", never finished</title>"), 2);
}

#[test]
fn t1_a_planned_end_is_not_drawn_as_a_failure_nor_a_task_that_is_done_as_unfinished() {
    let _nothing_left = NothingLeft::new();
    for part in ["dropped", "recycled", "five"] {
        let picture = picture(part);
        assert!(!picture.contains("class=\"failed\""), "{part}: {picture}");
        for title in picture.split("<title>tasks ").skip(1) {
            let title = title.split('<').next().unwrap();
            assert!(!title.contains("never finished"), "{part}: {title}");
        }
        let run = wide(part);
        assert!(!run.success().stderr.contains("killed"), "{}", run.stderr);
        assert!(!run.stderr.contains("failed"), "{}", run.stderr);
    }
}

#[test]
fn t2_no_word_lies_over_another_or_over_a_bar() {
    for parts in [
        "five killed dropped recycled",
        "deadlock threads family",
        "many",
        "names",
    ] {
        assert_eq!(overlaps(&picture(parts)), [""; 0], "{parts}");
    }
}

#[test]
fn t3_a_deadlock_says_at_80_columns_what_is_waited_for() {
    let _nothing_left = NothingLeft::new();
    let run = run("deadlock", "1");
    let threads = lanes(run.success(), "thread ");
    assert_eq!(threads.len(), 2, "{}", run.stderr);
    for label in ["right, and holds left", "left, and holds right"] {
        assert_eq!(count(&threads.concat(), label), 1, "{}", run.stderr);
    }
    assert!(lane(&run, "Process-1").ends_with("in target"), "{}", run.stderr);
}

#[test]
fn t3_no_box_is_without_a_name() {
    for parts in ["five killed deadlock", "threads family names"] {
        let picture = picture(parts);
        assert!(!picture.contains("unnamed"), "{picture}");
    }
}

#[test]
fn grandchildren_are_there_and_draw_nothing_themselves() {
    let _nothing_left = NothingLeft::new();
    let run = wide("family");
    assert_eq!(run.success().stdout, "family: done\n");
    assert!(lane(&run, "Child").starts_with("  Child"), "{}", run.stderr);
    let grandchild = lane(&run, "Grandchild");
    assert!(
        grandchild.starts_with("    Grandchild") && grandchild.contains("[target="),
        "{}",
        run.stderr
    );
    assert!(
        lane(&run, "Child").contains("....."),
        "it waits for its own child:\n{}",
        run.stderr
    );
    assert_eq!(count(&run.stderr, "timeline, "), 1, "{}", run.stderr);
}

#[test]
fn a_thread_that_asks_has_a_lane() {
    let run = wide("threads");
    let (first, second) = (lane(run.success(), "first"), lane(&run, "second"));
    assert!(count(first, "[") == 1 && count(second, "[") == 1, "{}", run.stderr);
    // The thread that came second waited as long as the other one had the lock; that one waited for nobody.
    let waits = [count(first, "."), count(second, ".")];
    let (short, long) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*long > 5 && *long > 3 * short, "{}", run.stderr);
    assert_eq!(count(&picture("threads"), "<title>waits: lock, "), 2);
}

#[cfg(unix)]
#[test]
fn children_made_by_fork_are_there() {
    let _nothing_left = NothingLeft::new();
    let run = wide("fork");
    assert_eq!(run.success().stdout, "fork: done\n");
    let forks = lanes(&run, "fork");
    assert_eq!(forks.len(), 2, "{}", run.stderr);
    assert_eq!(count(&forks.concat(), "[child="), 1, "{}", run.stderr);
    assert!(forks.iter().any(|lane| lane.contains("------")), "{}", run.stderr);
    assert!(lane(&run, "MainProcess").contains("[two forks="), "{}", run.stderr);
    assert_eq!(count(&run.stderr, "timeline, "), 1, "{}", run.stderr);
}

#[test]
fn many_workers_and_tasks_are_merged_and_counted() {
    let _nothing_left = NothingLeft::new();
    let run = run("many", "1");
    let workers = lanes(run.success(), "PoolWorker-");
    assert_eq!(workers.len(), 64, "{}", run.stderr);
    let tasks: usize = workers.iter().map(|lane| tasks(lane)).sum();
    assert_eq!(tasks, 10_000, "{}", run.stderr);
    assert!(lane(&run, "queue").contains("+++"), "{}", run.stderr);
    for line in run.stderr.lines() {
        assert!(line.len() <= 80 && line.is_ascii(), "{line}");
    }
    let picture = picture("many");
    assert_eq!(count(&picture, "\">PoolWorker-"), 64);
    assert!(picture.len() < 2_000_000, "{} bytes", picture.len());
}

/// "PoolWorker-1 4711 --####- 157 tasks, 84 % busy": 157.
fn tasks(lane: &str) -> usize {
    let before = lane.split(" tasks").next().expect("a lane");
    before
        .rsplit(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .expect(lane)
}

#[test]
fn text_is_plain_where_nobody_looks() {
    let run = run("five killed family threads", "1");
    assert!(!run.success().stderr.contains('\x1b'), "{}", run.stderr);
    for line in run.stderr.lines() {
        assert!(line.len() <= 80 && line.is_ascii(), "{line}");
    }
}

/// What the program writes when it is started by a shell in a terminal.
#[cfg(target_os = "linux")]
fn in_a_terminal(before: &str) -> Option<String> {
    let program = testing::example(env!("CARGO_MANIFEST_DIR"), "timeline");
    let line = format!("{before} TIMELINE=1 TERM=xterm '{}' five", program.display());
    if Command::new("script")
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("skipped: there is no `script`, which makes a terminal");
        return None;
    }
    let mut script = Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .env_remove("TIMELINE")
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR");
    Some(run_with(&mut script, LIMIT).success().stdout.clone())
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_colours_and_lanes_as_wide_as_it_is() {
    let Some(coloured) = in_a_terminal("stty cols 120;") else {
        return;
    };
    assert!(coloured.contains("\x1b[0;36m["), "{coloured}");
    let plain = in_a_terminal("stty cols 120; NO_COLOR=1").expect("as before");
    assert!(!plain.contains('\x1b'), "{plain}");
    let widest = plain.lines().map(|line| line.trim_end().len()).max();
    assert!(widest > Some(80) && widest <= Some(120), "{plain}");
    let narrow = in_a_terminal("stty cols 50; NO_COLOR=").expect("as before");
    assert!(narrow.contains('\x1b'), "an empty NO_COLOR says nothing: {narrow}");
}

#[test]
fn lanes_are_as_wide_as_columns_says() {
    let widest = |columns: &str| {
        let run = run_with(program("threads", Some("1")).env("COLUMNS", columns), LIMIT);
        run.success().stderr.lines().map(str::len).max().unwrap()
    };
    assert_eq!(widest("200"), 200);
    for nonsense in ["", "0", "-1", "many", "1000000"] {
        assert_eq!(widest(nonsense), 80, "{nonsense:?}");
    }
}

#[test]
fn unset_or_off_is_as_if_it_were_not_there() {
    for value in [None, Some(""), Some("0"), Some("off")] {
        let run = run_with(&mut program("five", value), LIMIT);
        assert_eq!(
            (run.success().stdout.as_str(), run.stderr.as_str()),
            ("five: done\n", ""),
            "{value:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn one_more_file_is_open_and_none_if_it_is_off() {
    let open = |timeline: &str| run("files", timeline).lines()[0].parse::<u32>().expect("a number");
    let off = run_with(&mut program("files", None), LIMIT).lines()[0]
        .parse::<u32>()
        .expect("a number");
    assert_eq!((open("0"), open("1")), (off, off + 1));
}

#[test]
fn an_unknown_value_says_what_is_possible() {
    let run = run("five", "run.png");
    assert_eq!(run.success().stdout, "five: done\n");
    for part in ["TIMELINE=run.png", "1", ".svg", "0"] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn b50_a_warning_that_cannot_be_written_harms_nobody() {
    let program = testing::example(env!("CARGO_MANIFEST_DIR"), "timeline");
    let mut deaf = Command::new("sh");
    deaf.args(["-c", "exec \"$0\" five 2>/dev/full"]).arg(program);
    let run = run_with(deaf.env("TIMELINE", "run.png"), LIMIT);
    assert_eq!(run.success().stdout, "five: done\n");
}

#[test]
fn b50_a_path_that_cannot_be_written_is_a_warning() {
    let folder = Folder::new(std::env::temp_dir());
    let path = folder.path().join("not there").join("run.svg");
    for (parts, code) in [("five", 0), if cfg!(unix) { ("exit", 7) } else { ("five", 0) }] {
        let run = run(parts, path.to_str().expect("a plain path"));
        assert_eq!(run.status.code(), Some(code));
        assert!(
            run.stderr.contains(path.to_str().expect("a plain path")),
            "{}",
            run.stderr
        );
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn b50_a_full_disk_is_a_warning() {
    let folder = Folder::new(std::env::temp_dir());
    let path = folder.path().join("full.svg");
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    let run = run("five", path.to_str().expect("a plain path"));
    assert_eq!(run.success().stdout, "five: done\n");
    assert!(
        run.stderr.contains("full.svg") && run.stderr.contains("space"),
        "{}",
        run.stderr
    );
}

#[cfg(unix)]
#[test]
fn k3_a_limit_for_the_size_of_files_is_a_warning() {
    let program = testing::example(env!("CARGO_MANIFEST_DIR"), "timeline");
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -f 16; exec \"$0\" threads"])
        .arg(program)
        .env("TIMELINE", "1");
    let run = run_with(&mut limited, LIMIT);
    assert!(run.success().stderr.starts_with("TIMELINE: "), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

#[test]
fn the_picture_lies_where_the_program_began() {
    let folder = Folder::new(std::env::temp_dir());
    run_with(program("five", Some("run.svg")).current_dir(folder.path()), LIMIT).success();
    let files: Vec<_> = fs::read_dir(folder.path())
        .expect("readable")
        .flatten()
        .map(|file| file.file_name())
        .collect();
    assert_eq!(files, ["run.svg"]);
}

#[test]
fn nothing_is_left_in_the_temporary_folder() {
    let folder = Folder::new(std::env::temp_dir());
    let variable = if cfg!(windows) { "TMP" } else { "TMPDIR" };
    run_with(
        program("five killed threads", Some("1")).env(variable, folder.path()),
        LIMIT,
    )
    .success();
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
}

#[cfg(unix)]
#[test]
fn b50_it_comes_after_everything_that_the_program_printed() {
    let folder = Folder::new(std::env::temp_dir());
    let path = folder.path().join("both");
    let both = fs::File::create(&path).expect("a new file");
    let mut command = program("five exit", Some("1"));
    let status = command
        .stdout(both.try_clone().expect("a copy"))
        .stderr(both)
        .status()
        .expect("it starts");
    assert_eq!(status.code(), Some(7));
    let text = fs::read_to_string(&path).expect("readable");
    let (before, after) = text.split_once("timeline, ").expect("a picture");
    assert!(
        before.starts_with("five: done") && before.trim_end().ends_with("not finished"),
        "{text}"
    );
    assert!(!after.contains("finished"), "{text}");
}

/// There, `exit` goes past C's library. The system itself tells of the end then, but Wine does not.
#[cfg(windows)]
#[test]
fn b50_a_program_that_leaves_by_exit_draws_all_or_nothing() {
    let run = run("five exit", "1");
    assert_eq!(run.status.code(), Some(7));
    assert_eq!(run.stdout, "five: done\nnot finished");
    if !run.stderr.is_empty() {
        assert_eq!(lanes(&run, "PoolWorker-").len(), 4, "{}", run.stderr);
    }
}

#[test]
fn a_panic_in_main_is_drawn_too() {
    let run = wide("panic");
    assert_eq!(run.status.code(), Some(101));
    assert!(run.stderr.contains("this is to be seen"), "{}", run.stderr);
    assert!(lane(&run, "MainProcess").contains("[careless="), "{}", run.stderr);
}

#[test]
fn names_are_only_names() {
    let run = run("names", "1");
    assert!(
        run.success().stderr.is_ascii() && !run.stderr.contains('\x1b'),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("?? <script>"), "{}", run.stderr);
    let picture = picture("names");
    assert!(
        picture.contains("进程 &lt;script&gt;") && picture.contains("&lt;b&gt;&amp;&quot;?[31m"),
        "{picture}"
    );
    assert!(!picture.contains("<script") && !picture.contains("<b>"), "{picture}");
    well_formed(&picture);
}

/// Every element that begins ends, in order, and no `&` stands alone.
fn well_formed(picture: &str) {
    let mut open = Vec::new();
    for piece in picture.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split_whitespace().next().expect("a name")),
        }
        assert!(!text.contains('>') || open.last() == Some(&"style"), "{text}");
        for entity in text.split('&').skip(1) {
            assert!(
                ["amp;", "lt;", "gt;", "quot;"]
                    .iter()
                    .any(|known| entity.starts_with(known)),
                "{entity}"
            );
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_lessons_pictures_are_what_the_script_makes() {
    // Times differ from run to run, so only this: each picture of a README is there, and was drawn by this crate.
    let lessons = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lessons");
    for lesson in fs::read_dir(lessons).expect("readable").flatten() {
        let Ok(readme) = fs::read_to_string(lesson.path().join("README.md")) else {
            continue;
        };
        for name in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if name.ends_with(".svg") {
                let picture =
                    fs::read_to_string(lesson.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(picture.contains("<title>Timeline: "), "{name}");
                well_formed(&picture);
            }
        }
    }
}
