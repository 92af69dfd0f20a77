//! Rust source, read as text: enough to count it, and to see which file names which.

use std::fs;
use std::path::{Path, PathBuf};

/// What a Rust file consists of: its code, line by line, without blank lines, comments and tests.
///
/// It is read as rustfmt writes it: an item ends with a line that is indented as its first one.
pub fn code_lines(text: &str) -> Vec<&str> {
    let mut code = Vec::new();
    let mut test = None; // how far the test is indented that is passed over
    for line in text.lines() {
        let line = line.split_once(" //").map_or(line, |(code, _)| code).trim_end();
        let indent = line.len() - line.trim_start().len();
        let content = &line[indent..];
        if content.is_empty() || content.starts_with("//") {
            continue;
        }
        match test {
            Some(start) => {
                let last = indent == start && !content.starts_with('#') && content.ends_with([';', '}', ',']);
                test = test.filter(|_| !last);
            }
            None if content == "#[cfg(test)]" || content.starts_with("#[cfg(all(test") => test = Some(indent),
            None => code.push(line),
        }
    }
    code
}

/// The Rust files in a folder and in those below it, without folders of tests, in order.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() && !path.ends_with("tests") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
