//! How `common` is built: which file names which, and how long they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use testing::{code_lines, rust_files};

/// From the bottom to the top: a file names only files that stand before it. So there is no circle, and `common` can be read in
/// this order.
const ORDER: &[&str] = &[
    // What needs nothing.
    "message.rs",
    "sync.rs",
    // The systems.
    "os/mod.rs",
    "os/unix/mod.rs",
    "os/unix/signal.rs",
    "os/unix/code.rs",
    "os/unix/fork.rs",
    "os/unix/proc.rs",
    "os/unix/spawn.rs",
    "os/windows/mod.rs",
    "os/windows/code.rs",
    "os/windows/pipe.rs",
    "os/windows/proc.rs",
    "os/windows/spawn.rs",
    "os/bell.rs",
    "os/code.rs",
    "os/page.rs",
    // Calls, and processes that make them.
    "error.rs",
    "channels.rs",
    "function.rs",
    "spawn/identity.rs",
    "spawn/mod.rs",
    "process.rs",
    // Pools. What both sides know; the worker's side; the pool's side.
    "pool/claim.rs",
    "pool/items.rs",
    "pool/ring.rs",
    "pool/system.rs",
    "pool/worker.rs",
    "pool/handles.rs",
    "pool/job.rs",
    "pool/output.rs",
    "pool/depth.rs",
    "pool/replies.rs",
    "pool/slot.rs",
    "pool/queue.rs",
    "pool/collector.rs",
    "pool/supervisor.rs",
    "pool/mod.rs",
    "pool/imap.rs",
    // The beginning of every process.
    "init.rs",
    "lib.rs",
];

/// Who may name `pool` and `process`: nobody but them and what begins a process.
const APART: [(&str, &[&str]); 2] = [("pool/", &["pool/", "init.rs"]), ("process.rs", &["init.rs"])];

/// Lines of code: what there is today, so that it does not grow. The aim for all files is 3,000.
const LONGEST_FILE: usize = 350;
const ALL_FILES: usize = 4_277;

/// Each file's code, by its path in `src`.
fn sources() -> BTreeMap<String, Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let code = |path: &Path| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        code_lines(&text).into_iter().map(str::to_owned).collect()
    };
    let name = |path: &Path| path.strip_prefix(&folder).unwrap().to_str().unwrap().replace('\\', "/");
    rust_files(&folder)
        .iter()
        .map(|path| (name(path), code(path)))
        .collect()
}

struct House {
    /// A file's code as one text, by its path.
    files: BTreeMap<String, String>,
    /// What the face of a folder (`mod.rs`, `lib.rs`) only passes on: `pub use …`.
    passed_on: BTreeMap<String, String>,
    /// A file by its module: `pool::ring`.
    modules: BTreeMap<String, String>,
}

impl House {
    fn new() -> House {
        let mut house = House {
            files: BTreeMap::new(),
            passed_on: BTreeMap::new(),
            modules: BTreeMap::new(),
        };
        for (file, lines) in sources() {
            let (passed_on, text) = if is_face(&file) {
                split_face(&lines)
            } else {
                (String::new(), lines.join("\n"))
            };
            house.modules.insert(module(&file), file.clone());
            house.passed_on.insert(file.clone(), passed_on);
            house.files.insert(file, text);
        }
        house
    }

    /// The files that a path leads to: that of the module; or, if a face passes on what lies elsewhere, those where it lies.
    fn find(&self, path: &str) -> Vec<String> {
        let mut known = path;
        let (file, rest) = loop {
            match self.modules.get(known) {
                Some(file) => break (file, path[known.len()..].trim_start_matches("::")),
                None => known = known.rsplit_once("::").map_or("", |(parent, _)| parent),
            }
        };
        let name = rest.split("::").next().unwrap_or_default();
        if !is_face(file) || name.is_empty() || defines(&self.files[file], name) {
            return vec![file.clone()];
        }
        let below = |(module, file): (&String, &String)| {
            let inside = module.len() > known.len() && module.starts_with(known);
            (inside && defines(&self.files[file], name)).then(|| file.clone())
        };
        self.modules.iter().filter_map(below).collect()
    }

    /// The files that a file names, each with the words by which.
    fn named_by(&self, file: &str) -> BTreeSet<(String, String)> {
        let text = &self.files[file];
        let module = module(file);
        let mut paths: Vec<(String, String)> = Vec::new();
        for (_, path) in paths_from(text, "crate") {
            paths.push((format!("crate::{path}"), path));
        }
        for (start, path) in paths_from(text, "super") {
            // In a module within a file, `super` is that file.
            let line = text[..start].rfind('\n').map_or(0, |end| end + 1);
            let inner = text[line..].starts_with("    use ");
            let (mut base, mut rest) = (if inner { &*module } else { parent(&module) }, &*path);
            while let Some(further) = rest.strip_prefix("super::") {
                (base, rest) = (parent(base), further);
            }
            paths.push((format!("super::{path}"), join(base, rest)));
        }
        if is_face(file) {
            for child in self
                .modules
                .keys()
                .filter(|child| !child.is_empty() && parent(child) == module)
            {
                let name = child.rsplit("::").next().unwrap();
                for (_, path) in paths_from(text, name) {
                    paths.push((format!("{name}::{path}"), join(child, &path)));
                }
                // What it passes on, it may use too.
                let passed_on = paths_from(&self.passed_on[file], name).into_iter();
                let used = passed_on.filter(|(_, item)| !item.is_empty() && has_word(text, item));
                paths.extend(used.map(|(_, item)| (item.clone(), join(child, &item))));
            }
        }
        let found = paths
            .into_iter()
            .filter(|(_, path)| !path.starts_with("timeline"))
            .flat_map(|(words, path)| {
                let files = self.find(&path).into_iter();
                files.map(move |file| (file, words.clone()))
            });
        found.filter(|(other, _)| other != file).collect()
    }
}

fn is_face(file: &str) -> bool {
    file == "lib.rs" || file.ends_with("mod.rs")
}

/// `pool/ring.rs` is `pool::ring`, `pool/mod.rs` is `pool`, and `lib.rs` is nothing.
fn module(file: &str) -> String {
    let path = file
        .trim_end_matches(".rs")
        .trim_end_matches("mod")
        .trim_end_matches('/');
    if path == "lib" {
        String::new()
    } else {
        path.replace('/', "::")
    }
}

fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(parent, _)| parent)
}

fn join(base: &str, path: &str) -> String {
    if base.is_empty() {
        path.to_owned()
    } else {
        format!("{base}::{path}")
    }
}

/// What a face passes on, and what else there is in it. (That it has files below it says nothing.)
fn split_face(lines: &[String]) -> (String, String) {
    let (mut passed_on, mut rest) = (String::new(), String::new());
    let mut passing_on = false;
    for line in lines {
        passing_on |= line.starts_with("pub") && line.contains(" use ");
        let text = if passing_on { &mut passed_on } else { &mut rest };
        if !(line.ends_with(';') && line.split(' ').rev().nth(1) == Some("mod")) {
            text.push_str(line);
            text.push('\n');
        }
        passing_on &= !line.ends_with(';');
    }
    (passed_on, rest)
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(start, _)| !text[..start].ends_with(is_name) && !text[start + word.len()..].starts_with(is_name))
}

fn defines(text: &str, name: &str) -> bool {
    let keywords = [
        "fn",
        "struct",
        "enum",
        "trait",
        "type",
        "const",
        "static",
        "mod",
        "macro_rules!",
    ];
    keywords
        .iter()
        .any(|keyword| has_word(text, &format!("{keyword} {name}")))
}

/// Every path that begins with `root`, without it, and where it stands: `a::b` and `a::c` for `root::a::{b, c}`.
fn paths_from(text: &str, root: &str) -> Vec<(usize, String)> {
    let start = format!("{root}::");
    let mut paths = Vec::new();
    for (at, _) in text.match_indices(&start) {
        if !text[..at].ends_with(|before| is_name(before) || before == ':' || before == '$') {
            expand("", &text[at + start.len()..], &mut |path| paths.push((at, path)));
        }
    }
    paths
}

/// Gives each path that stands at the beginning of `text` to `found`. Returns what follows.
fn expand<'a>(before: &str, text: &'a str, found: &mut impl FnMut(String)) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            rest = expand(before, rest, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
    }
    let end = text
        .find(|character| !is_name(character) && character != '*')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(further) if further.starts_with(|next| is_name(next) || next == '{') => {
            expand(&join(before, name), further, found)
        }
        _ => {
            // `self` is what stands before it, and `*` anything in it.
            let path = if matches!(name, "self" | "*") {
                before.to_owned()
            } else {
                join(before, name)
            };
            found(path);
            let renamed = rest.strip_prefix(" as ").map(|rest| rest.trim_start_matches(is_name));
            renamed.unwrap_or(rest)
        }
    }
}

#[test]
fn a_file_names_only_files_below_it() {
    let house = House::new();
    let place = |file: &str| ORDER.iter().position(|other| *other == file);
    let mut wrong = Vec::new();
    for file in house.files.keys() {
        let Some(own) = place(file) else {
            wrong.push(format!("{file} stands nowhere"));
            continue;
        };
        for (other, words) in house.named_by(file) {
            if place(&other).is_none_or(|other| other >= own) {
                wrong.push(format!("{file} names {other}: `{words}`"));
            }
            for (apart, by) in APART {
                if other.starts_with(apart) && !by.iter().any(|by| file.starts_with(by)) {
                    wrong.push(format!("{file} names {other}: `{words}`"));
                }
            }
        }
    }
    let gone = ORDER.iter().filter(|file| !house.files.contains_key(**file));
    wrong.extend(gone.map(|file| format!("{file} is not there")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn names_are_seen_where_they_are_written() {
    let paths = |text, root| -> Vec<String> { paths_from(text, root).into_iter().map(|(_, path)| path).collect() };
    let text =
        "use crate::os::{self, Exit, page::{Page, Ring as R}, *};\nlet x = crate::error::Error::encode(y, $crate::z);";
    let expected = [
        "os",
        "os::Exit",
        "os::page::Page",
        "os::page::Ring",
        "os",
        "error::Error::encode",
    ];
    assert_eq!(paths(text, "crate"), expected);
    assert_eq!(
        paths("queue::Queue, my_queue::Queue, super::queue::Job", "queue"),
        ["Queue"]
    );
    // What is true of the files themselves.
    let house = House::new();
    let names = |file: &str| -> BTreeSet<String> { house.named_by(file).into_iter().map(|(file, _)| file).collect() };
    for (file, other) in [
        ("init.rs", "pool/worker.rs"),
        ("process.rs", "spawn/mod.rs"),
        ("spawn/mod.rs", "channels.rs"),
        ("function.rs", "message.rs"),
        ("error.rs", "os/mod.rs"),
        ("pool/queue.rs", "pool/slot.rs"),
        ("pool/ring.rs", "os/page.rs"),
        ("pool/imap.rs", "pool/mod.rs"),
        ("pool/mod.rs", "pool/supervisor.rs"),
        ("os/page.rs", "sync.rs"),
        ("os/bell.rs", "os/unix/mod.rs"),
    ] {
        assert!(names(file).contains(other), "{file} names {:?}", names(file));
    }
}

#[test]
fn files_are_short() {
    let lines: BTreeMap<String, usize> = sources().into_iter().map(|(file, lines)| (file, lines.len())).collect();
    let long: Vec<_> = lines.iter().filter(|(_, lines)| **lines > LONGEST_FILE).collect();
    let all: usize = lines.values().sum();
    assert!(
        long.is_empty() && all <= ALL_FILES,
        "{long:?}, and {all} lines in all (`cargo run -p testing --bin lines`)"
    );
}
