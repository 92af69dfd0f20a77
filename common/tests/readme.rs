//! Every README is held to what it says: links, code, commands, transcripts, and both languages to each other.
//!
//! A block of code names the file that it is from (`rust src/main.rs`; a line `// …` stands for a gap), or says
//! that it is `wrong` or a `sketch`. A `console` block is a command and what it prints, with the marks of
//! `testing::neutral`: `any-order` if the lines may come in any order, `stderr` if it is that which is shown. A line
//! `…` stands for any lines, `…` in a line for any text. Everything else follows from Markdown.

#[path = "readme/chinese.rs"]
mod chinese;

use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("common lies in the repository")
}

/// The lessons' folders, as they are found, from the root on.
fn lessons() -> Vec<String> {
    let entries = fs::read_dir(root().join("lessons")).unwrap().flatten();
    let packages = entries.filter(|entry| entry.path().join("Cargo.toml").is_file());
    let mut lessons: Vec<_> = packages
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    lessons.sort();
    assert!(lessons.len() >= 6, "{lessons:?}");
    lessons
}

/// Folders with a README, from the root on; the root is "".
fn folders() -> Vec<String> {
    let lessons = lessons().into_iter().map(|lesson| format!("lessons/{lesson}"));
    let more = ["", "common"].map(String::from).into_iter();
    more.filter(|folder| root().join(folder).join("README.md").is_file())
        .chain(lessons)
        .collect()
}

/// A fenced block: its info string, split, and its lines.
#[derive(Debug)]
struct Block {
    info: Vec<String>,
    lines: Vec<String>,
}

impl Block {
    fn is(&self, word: &str) -> bool {
        self.info.iter().any(|it| it == word)
    }

    fn language(&self) -> &str {
        self.info.first().map_or("", |it| it)
    }
}

/// One README, taken apart.
struct Readme {
    name: String,
    folder: PathBuf,
    headings: Vec<(usize, String)>,
    blocks: Vec<Block>,
    /// The text between the blocks.
    text: String,
}

impl Readme {
    fn new(folder: &str, file: &str) -> Readme {
        let path = root().join(folder).join(file);
        let whole = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = if folder.is_empty() {
            file.to_owned()
        } else {
            format!("{folder}/{file}")
        };
        let (mut headings, mut blocks, mut text) = (Vec::new(), Vec::new(), String::new());
        let mut block: Option<Block> = None;
        for line in whole.lines() {
            let fence = line.trim_start().strip_prefix("```");
            match (&mut block, fence) {
                (None, Some(info)) => {
                    let info = info.split_whitespace().map(String::from).collect();
                    block = Some(Block {
                        info,
                        lines: Vec::new(),
                    });
                }
                (Some(_), Some(_)) => blocks.extend(block.take()),
                (Some(block), None) => block.lines.push(line.to_owned()),
                (None, None) => {
                    let level = line.len() - line.trim_start_matches('#').len();
                    if level > 0 && line[level..].starts_with(' ') {
                        headings.push((level, line[level..].trim().to_owned()));
                    }
                    text += line;
                    text.push('\n');
                }
            }
        }
        assert!(block.is_none(), "{name}: a block does not end");
        Readme {
            name,
            folder: root().join(folder),
            headings,
            blocks,
            text,
        }
    }

    /// What stands between backticks.
    fn inline_code(&self) -> Vec<String> {
        let pieces = self.text.split('`').skip(1).step_by(2);
        pieces
            .map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    fn links(&self) -> Vec<&str> {
        let targets = self.text.match_indices("](").map(|(at, _)| &self.text[at + 2..]);
        targets.filter_map(|rest| Some(&rest[..rest.find(')')?])).collect()
    }

    /// Every command that is shown, without what it prints.
    fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        for block in &self.blocks {
            let shown: Vec<&str> = match block.language() {
                "console" => block.lines.iter().filter_map(|line| line.strip_prefix("$ ")).collect(),
                "sh" => block
                    .lines
                    .iter()
                    .map(|line| line.trim())
                    .filter(|line| !line.starts_with('#'))
                    .collect(),
                _ => continue,
            };
            commands.extend(shown.into_iter().map(String::from));
        }
        let starts = ["cargo ", "sh ", "bash ", "mkdir ", "cp ", "git "];
        commands.extend(
            self.inline_code()
                .into_iter()
                .filter(|code| starts.iter().any(|start| code.starts_with(start))),
        );
        commands
    }
}

/// All of them, both languages.
fn readmes() -> Vec<Readme> {
    let both = |folder: String| ["README.md", "README.zh-CN.md"].map(|file| Readme::new(&folder, file));
    folders().into_iter().flat_map(both).collect()
}

/// Fails with all that is wrong.
#[track_caller]
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// How GitHub names the anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let mut problems = Vec::new();
    for readme in readmes() {
        for link in readme.links() {
            if link.starts_with("https://") {
                continue;
            }
            let (path, to) = link.split_once('#').unwrap_or((link, ""));
            let path = if path.is_empty() {
                root().join(&readme.name)
            } else {
                readme.folder.join(path)
            };
            if !path.exists() {
                problems.push(format!("{}: {link} leads nowhere", readme.name));
            } else if !to.is_empty() {
                let folder = path
                    .parent()
                    .unwrap()
                    .strip_prefix(root())
                    .unwrap_or(Path::new(""))
                    .to_str()
                    .unwrap();
                let target = Readme::new(folder, path.file_name().unwrap().to_str().unwrap());
                if !target.headings.iter().any(|(_, heading)| anchor(heading) == to) {
                    problems.push(format!("{}: there is no heading for {link}", readme.name));
                }
            }
        }
    }
    none(problems);
}

#[test]
fn every_lesson_is_in_the_table_and_leads_to_the_next() {
    let mut problems = Vec::new();
    for (file, other) in [("README.md", "README.zh-CN.md"), ("README.zh-CN.md", "README.md")] {
        let table = Readme::new("", file);
        for lesson in lessons() {
            if !table.links().contains(&&*format!("lessons/{lesson}/{file}")) {
                problems.push(format!("{file}: no link to {lesson}"));
            }
            if !table.commands().contains(&format!("cargo run --bin {lesson}")) {
                problems.push(format!("{file}: no command for {lesson}"));
            }
        }
        for folder in folders() {
            let readme = Readme::new(&folder, file);
            if !readme.links().contains(&other) {
                problems.push(format!("{}: no link to the other language", readme.name));
            }
        }
        for pair in lessons().windows(2) {
            let readme = Readme::new(&format!("lessons/{}", pair[0]), file);
            let next = format!("../{}/{file}", pair[1]);
            if readme.links().last() != Some(&&*next) {
                problems.push(format!("{}: the last link is not {next}", readme.name));
            }
        }
    }
    none(problems);
}

#[test]
fn both_languages_say_the_same() {
    let mut problems = Vec::new();
    for folder in folders() {
        let (english, chinese) = (
            Readme::new(&folder, "README.md"),
            Readme::new(&folder, "README.zh-CN.md"),
        );
        let levels = |readme: &Readme| readme.headings.iter().map(|(level, _)| *level).collect::<Vec<_>>();
        if levels(&english) != levels(&chinese) {
            problems.push(format!("{}: other headings than in {}", chinese.name, english.name));
        }
        let links = |readme: &Readme| {
            let links = readme.links().into_iter().map(|link| link.replace(".zh-CN", ""));
            links.collect::<Vec<_>>()
        };
        if links(&english) != links(&chinese) {
            problems.push(format!("{}: other links than in {}", chinese.name, english.name));
        }
        for (what, is_one) in [
            ("items in lists", is_item as fn(&str) -> bool),
            ("rows in tables", is_row),
        ] {
            let count = |readme: &Readme| readme.text.lines().filter(|line| is_one(line.trim_start())).count();
            if count(&english) != count(&chinese) {
                problems.push(format!(
                    "{}: another number of {what} than in {}",
                    chinese.name, english.name
                ));
            }
        }
        if english.blocks.len() != chinese.blocks.len() {
            problems.push(format!(
                "{}: another number of blocks than in {}",
                chinese.name, english.name
            ));
        }
        for (ours, theirs) in english.blocks.iter().zip(&chinese.blocks) {
            let free = ours.language() == "mermaid" || ours.is("en");
            let same_info = ours.info == theirs.info || (ours.is("en") && theirs.is("zh"));
            if !same_info || (!free && compared(ours) != compared(theirs)) {
                let (ours, theirs) = (ours.lines.join("\n"), theirs.lines.join("\n"));
                problems.push(format!("{}: this block\n{theirs}\ndiffers from\n{ours}", chinese.name));
            }
        }
        let sorted = |readme: &Readme| {
            let mut commands = readme.commands();
            commands.sort();
            commands.dedup();
            commands
        };
        let (ours, theirs) = (sorted(&english), sorted(&chinese));
        for command in ours.iter().filter(|it| !theirs.contains(it)) {
            problems.push(format!("{}: `{command}` is only in {}", chinese.name, english.name));
        }
        for command in theirs.iter().filter(|it| !ours.contains(it)) {
            problems.push(format!("{}: `{command}` is only in {}", english.name, chinese.name));
        }
    }
    none(problems);
}

/// Does an item of a list begin here?
fn is_item(line: &str) -> bool {
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    line.starts_with("- ") || digits > 0 && line[digits..].starts_with(". ")
}

fn is_row(line: &str) -> bool {
    line.starts_with('|')
}

#[test]
fn every_lesson_has_the_same_sections_and_its_title_is_in_the_table() {
    let mut problems = Vec::new();
    for file in ["README.md", "README.zh-CN.md"] {
        let table = Readme::new("", file);
        let readmes: Vec<_> = lessons()
            .iter()
            .map(|lesson| Readme::new(&format!("lessons/{lesson}"), file))
            .collect();
        for (lesson, readme) in lessons().iter().zip(&readmes) {
            let title = &readme.headings[0].1;
            let (number, name) = lesson.split_once('-').unwrap();
            let fits = match file {
                "README.md" => *title == format!("{number} {name}"),
                _ => title.starts_with(&format!("{number} ")) && title.ends_with(&format!("（{name}）")),
            };
            if !fits {
                problems.push(format!("{}: the title is {title:?}", readme.name));
            }
            if !table.text.contains(&format!("[{title}](lessons/{lesson}/")) {
                problems.push(format!("{file}: the table does not know {title:?}"));
            }
            if readme.headings[1..] != readmes[0].headings[1..] {
                problems.push(format!("{}: other sections than in {}", readme.name, readmes[0].name));
            }
        }
    }
    none(problems);
}

/// The lines of a block; in a sketch, comments are for the reader and may be translated.
fn compared(block: &Block) -> Vec<&str> {
    let cut = |line: &str| {
        if block.is("sketch") {
            line.find("//").or(line.find('#'))
        } else {
            None
        }
    };
    block
        .lines
        .iter()
        .map(|line| line[..cut(line).unwrap_or(line.len())].trim_end())
        .collect()
}

#[test]
fn code_is_in_its_file_to_the_letter() {
    let mut problems = Vec::new();
    for readme in readmes() {
        for block in &readme.blocks {
            let free = ["", "console", "sh", "text", "mermaid", "diff", "python"].contains(&block.language());
            let Some(file) = block
                .info
                .get(1)
                .filter(|_| !["console", "text"].contains(&block.language()))
            else {
                if !free {
                    problems.push(format!(
                        "{}: a block of {} names no file",
                        readme.name,
                        block.language()
                    ));
                }
                continue;
            };
            if file == "wrong" || file == "sketch" {
                continue;
            }
            match fs::read_to_string(readme.folder.join(file)) {
                Err(error) => problems.push(format!("{}: {file}: {error}", readme.name)),
                Ok(text) => {
                    if let Some(line) = first_missing(&block.lines, &text) {
                        problems.push(format!("{}: not in {file}, or not there: {line}", readme.name));
                    }
                }
            }
        }
    }
    none(problems);
}

/// The first line of the excerpt that does not stand in the text where it should.
fn first_missing<'a>(excerpt: &'a [String], text: &str) -> Option<&'a str> {
    let text: Vec<&str> = text.lines().map(str::trim).collect();
    let mut rest = &text[..];
    for piece in excerpt.split(|line| ["// …", "# …"].contains(&line.trim())) {
        let piece: Vec<&'a str> = piece.iter().map(|line| line.trim()).collect();
        if piece.is_empty() {
            continue;
        }
        match rest.windows(piece.len()).position(|window| window == piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            // Where does the longest beginning that is there end?
            None => {
                let longest = (0..piece.len())
                    .rev()
                    .find(|n| rest.windows((*n).max(1)).any(|it| it == &piece[..*n]));
                return Some(piece[longest.unwrap_or(0)]);
            }
        }
    }
    None
}

#[test]
fn commands_exist() {
    let mut problems = Vec::new();
    for readme in readmes() {
        for line in readme.commands() {
            for command in line.split("&&").flat_map(|it| it.split(" | ")) {
                if let Err(why) = exists(command.trim(), &readme.folder) {
                    problems.push(format!("{}: `{line}`: {why}", readme.name));
                }
            }
        }
    }
    none(problems);
}

/// The folder of a package.
fn package(name: &str) -> Result<PathBuf, String> {
    let lesson = lessons().into_iter().find(|lesson| lesson[3..] == *name);
    let folder = match (lesson, name) {
        (Some(lesson), _) => format!("lessons/{lesson}"),
        (None, "common") => "common".to_owned(),
        (None, "testing" | "timeline") => format!("common/{name}"),
        _ => return Err(format!("there is no package {name}")),
    };
    Ok(root().join(folder))
}

/// Does what the command names exist?
fn exists(command: &str, folder: &Path) -> Result<(), String> {
    let is_file = |path: PathBuf| {
        if path.is_file() {
            Ok(())
        } else {
            Err(format!("there is no {}", path.display()))
        }
    };
    let words: Vec<&str> = command.split_whitespace().skip_while(|word| is_setting(word)).collect();
    match words[..] {
        ["cargo", "run", "-p", refused] if refused.starts_with(|c: char| c.is_ascii_digit()) => Ok(()),
        ["cargo", "run", ..] => program(command, folder).map(drop),
        [
            "cargo",
            "test" | "build" | "doc" | "bench" | "clippy",
            ref arguments @ ..,
        ] => {
            // At the top, a test is meant that each lesson has.
            let mut folders = match folder == root() {
                true => lessons()
                    .iter()
                    .map(|lesson| root().join("lessons").join(lesson))
                    .collect(),
                false => vec![folder.to_owned()],
            };
            let mut arguments = arguments.iter().take_while(|word| **word != "--");
            while let Some(argument) = arguments.next() {
                let mut value = || arguments.next().copied().unwrap_or("");
                match *argument {
                    "-p" => folders = vec![package(value())?],
                    "--test" => {
                        let file = Path::new("tests").join(value()).with_extension("rs");
                        folders.iter().try_for_each(|folder| is_file(folder.join(&file)))?
                    }
                    option if option.starts_with('-') => {}
                    name => folders.iter().try_for_each(|folder| test_exists(name, folder))?,
                }
            }
            Ok(())
        }
        ["sh", "scripts/run-all.sh", ref names @ ..] => {
            let unknown = names.iter().find(|name| {
                !lessons()
                    .iter()
                    .any(|it| it.starts_with(**name) || it.ends_with(**name))
            });
            unknown.map_or(is_file(root().join("scripts/run-all.sh")), |name| {
                Err(format!("there is no lesson {name}"))
            })
        }
        ["sh" | "bash", script, ..] => is_file(root().join(script)),
        ["python3", script, ..] => is_file(folder.join(script)),
        ["git", "apply", diff] => match folder == root() {
            true => lessons()
                .iter()
                .try_for_each(|lesson| is_file(root().join("lessons").join(lesson).join(diff))),
            false => is_file(folder.join(diff)),
        },
        _ => {
            // From the root, or from a copy in my/.
            let paths = words.iter().map(|word| word.trim_start_matches("../"));
            let missing = paths
                .filter(|path| path.starts_with("lessons/"))
                .find(|path| !root().join(path).exists());
            missing.map_or(Ok(()), |path| Err(format!("there is no {path}")))
        }
    }
}

/// `NAME=value` in front of a command.
fn is_setting(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

/// Is there a test with that name in one of the files in tests/?
fn test_exists(name: &str, folder: &Path) -> Result<(), String> {
    let files = fs::read_dir(folder.join("tests")).into_iter().flatten().flatten();
    let mut texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    if texts.any(|text| text.contains(&format!("fn {name}"))) {
        Ok(())
    } else {
        Err(format!("there is no test {name}"))
    }
}

/// The program that a `cargo run` runs, as a path below target/debug, and its arguments.
fn program(command: &str, folder: &Path) -> Result<(String, Vec<String>), String> {
    let mut words = command.split_whitespace().skip_while(|word| is_setting(word)).skip(2);
    let (mut folder, mut program) = (folder.to_owned(), None);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or("");
        match word {
            "-p" => folder = package(value())?,
            "--bin" => {
                let name = value();
                let other = folder.join("src/bin").join(name).with_extension("rs");
                if !lessons().iter().any(|lesson| lesson == name) && !other.exists() {
                    return Err(format!("there is no program {name}"));
                }
                program = Some(name.to_owned());
            }
            "--example" => {
                let name = value();
                if !folder.join("examples").join(name).with_extension("rs").is_file() {
                    return Err(format!("there is no example {name}"));
                }
                program = Some(format!("examples/{name}"));
            }
            "--release" | "--quiet" | "-q" => {}
            "--config" => drop(value()),
            "--" => break,
            _ => return Err(format!("what is {word}?")),
        }
    }
    // A lesson's program bears the name of its folder.
    let program = program
        .or_else(|| Some(folder.file_name()?.to_str()?.to_owned()))
        .unwrap();
    Ok((program, words.map(String::from).collect()))
}

#[cfg(unix)]
#[test]
fn transcripts_are_real() {
    let profile = build();
    let mut runs = std::collections::HashMap::<String, testing::Run>::new();
    let mut problems = Vec::new();
    // Both languages show the same ones.
    for folder in folders() {
        let readme = Readme::new(&folder, "README.md");
        let blocks = readme.blocks.iter().filter(|block| block.language() == "console");
        for block in blocks {
            let Some((command, shown)) = block.lines.split_first() else {
                continue;
            };
            if shown.iter().all(|line| line.starts_with("$ ")) {
                continue; // commands only
            }
            let command = command
                .strip_prefix("$ ")
                .expect("a console block begins with a command");
            let run = runs
                .entry(command.to_owned())
                .or_insert_with(|| run(command, &readme.folder, &profile));
            let real = testing::neutral(if block.is("stderr") { &run.stderr } else { &run.stdout });
            let shown = testing::neutral(&shown.join("\n"));
            let (real_lines, shown_lines) = (real.lines().collect(), shown.lines().collect());
            let fits = if block.is("any-order") { fits_in_any_order } else { fits };
            if !fits(shown_lines, real_lines) {
                let name = &readme.name;
                problems.push(format!(
                    "{name}: `{command}`\n--- shows\n{shown}\n--- but prints\n{real}\n---"
                ));
            }
        }
    }
    none(problems);
}

/// Builds everything that may be run, as this test is built; says where it lies.
#[cfg(unix)]
fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let name = match profile.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        name => name,
    };
    let mut cargo = testing::cargo(root());
    cargo.args(["build", "--workspace", "--bins", "--examples", "--profile", name]);
    cargo.env("CARGO_TARGET_DIR", profile.parent().unwrap());
    testing::run_with(&mut cargo, std::time::Duration::from_secs(600)).success();
    profile.to_owned()
}

#[cfg(unix)]
fn run(command: &str, folder: &Path, profile: &Path) -> testing::Run {
    use std::process::Command;
    let words: Vec<&str> = command.split_whitespace().collect();
    let refused = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let mut run = match words[..] {
        ["cargo", "run", "-p", name] if refused(name) => {
            let mut cargo = testing::cargo(root());
            cargo.args(&words[1..]);
            cargo
        }
        ["python3", ..] => {
            let mut python = Command::new("python3");
            python.args(&words[1..]).current_dir(folder);
            python
        }
        _ => {
            let (program, arguments) = program(command, folder).unwrap_or_else(|why| panic!("`{command}`: {why}"));
            let mut run = Command::new(profile.join(program));
            run.args(arguments).current_dir(root());
            run
        }
    };
    let settings = words
        .iter()
        .take_while(|word| is_setting(word))
        .filter_map(|word| word.split_once('='));
    testing::run_with(run.envs(settings), testing::LIMIT)
}

/// Does the line fit, where `…` stands for any text?
fn fits_line(shown: &str, real: &str) -> bool {
    let Some((start, rest)) = shown.split_once('…') else {
        return shown == real;
    };
    let Some(real) = real.strip_prefix(start) else {
        return false;
    };
    let mut ends = real.char_indices().map(|(at, _)| at).chain([real.len()]);
    ends.any(|at| fits_line(rest, &real[at..]))
}

/// Do the lines fit, where a line `…` stands for any lines?
fn fits(shown: Vec<&str>, real: Vec<&str>) -> bool {
    fn go(shown: &[&str], real: &[&str]) -> bool {
        match (shown.split_first(), real.split_first()) {
            (None, None) => true,
            (Some((&"…", rest)), _) => (0..=real.len()).any(|n| go(rest, &real[n..])),
            (Some((first, shown)), Some((line, real))) => fits_line(first, line) && go(shown, real),
            _ => false,
        }
    }
    go(&shown, &real)
}

/// Is every line shown there, each by itself, and no other unless a line `…` says so?
fn fits_in_any_order(mut shown: Vec<&str>, mut real: Vec<&str>) -> bool {
    let others_may_be = shown.contains(&"…");
    shown.retain(|line| *line != "…");
    shown.sort_by_key(|line| line.contains('…')); // those first that fit one line only
    for line in shown {
        match real.iter().position(|it| fits_line(line, it)) {
            Some(at) => drop(real.remove(at)),
            None => return false,
        }
    }
    others_may_be || real.is_empty()
}

#[test]
fn the_table_of_systems_names_tests_that_there_are() {
    let common = root().join("common");
    let docs = fs::read_to_string(common.join("src/lib.rs")).unwrap();
    let tests = ["process.rs", "pool.rs", "faults.rs", "in_tests.rs", "timeline.rs"]
        .map(|file| fs::read_to_string(common.join("tests").join(file)).unwrap())
        .concat();
    let (_, docs) = docs
        .split_once("//! # Where systems differ")
        .expect("the table has a heading");
    let rows: Vec<&str> = docs.lines().filter(|line| line.starts_with("//! | ")).collect();
    assert!(rows.len() > 20, "{rows:#?}");
    for row in rows {
        // "//! | `kill` (b08) | …"
        let name = row.split(" | ").nth(1).unwrap();
        let numbers = name
            .rsplit_once('(')
            .map_or("", |(_, numbers)| numbers.trim_end_matches(')'));
        for number in numbers.split(", ").filter(|it| it.starts_with('b')) {
            assert!(tests.contains(&format!("{number}_")), "{number}, of {row}");
        }
    }
}

#[test]
fn the_marks_mean_what_they_should() {
    assert!(fits_line("a … c …", "a b c d") && !fits_line("a … c", "a b c d") && fits_line("…", ""));
    let fits = |shown: &str, real: &str| fits(shown.lines().collect(), real.lines().collect());
    assert!(fits("a\n…\nd", "a\nb\nc\nd") && fits("a\n…\nd", "a\nd") && !fits("a\n…\nc", "a\nb\nd"));
    assert!(fits("a", "a") && !fits("a", "a\nb") && !fits("a\nb", "a"));
    let any = |shown: &str, real: &str| fits_in_any_order(shown.lines().collect(), real.lines().collect());
    assert!(any("b\na", "a\nb") && !any("b\nb", "a\nb") && !any("a", "a\nb") && any("b\n…", "a\nb"));
    assert!(any("x …\nx 1", "x 1\nx 2") && !any("x …\nx 3", "x 1\nx 2"));
    let missing = |excerpt: &str| {
        let lines: Vec<String> = excerpt.lines().map(String::from).collect();
        first_missing(&lines, "one\n  two\nthree\nfour").map(String::from)
    };
    assert_eq!(missing("two\n    three"), None);
    assert_eq!(missing("one\n// …\nfour"), None);
    assert_eq!(missing("one\nthree"), Some("three".to_owned()));
    assert_eq!(missing("three\n# …\none"), Some("one".to_owned()));
    assert_eq!(anchor("What `fork` does, 第 1 课"), "what-fork-does-第-1-课");
}
