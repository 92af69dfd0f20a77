//! For tests that build something: a folder to do it in, and Cargo to do it with.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{env, fs, io, process};

/// A new folder, removed with everything in it when this is dropped, also if the test fails.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a folder in `parent`, for example in `std::env::temp_dir()`, with a name that nobody else has.
    #[track_caller]
    pub fn new(parent: impl AsRef<Path>) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("course-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        // Without symbolic links, so that a path from here equals what programs print. Windows would answer with a form of
        // path that no program prints.
        let parent = if cfg!(windows) {
            std::path::absolute(parent).expect("the parent folder has a path")
        } else {
            parent.as_ref().canonicalize().expect("the parent folder exists")
        };
        let path = parent.join(name);
        let _ = fs::remove_dir_all(&path); // an earlier process with this id may have been killed
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{} cannot be made: {error}", path.display()));
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and makes the folders above it.
    #[track_caller]
    pub fn write(&self, file: impl AsRef<Path>, text: &str) -> PathBuf {
        let path = self.0.join(file);
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, text));
        written.unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The Cargo that runs this test, to be run in that folder.
///
/// It may not ask any registry: everything that it needs has been fetched when a test runs.
pub fn cargo(folder: impl AsRef<Path>) -> process::Command {
    let mut cargo = process::Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    // What Cargo says of the package under test is not true of another one.
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(folder)
        .envs([("CARGO_NET_OFFLINE", "true"), ("CARGO_TERM_COLOR", "never")]);
    cargo
}

/// Copies a file, or a folder with everything in it except for `target`.
#[track_caller]
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let (from, to) = (from.as_ref(), to.as_ref());
    let copied = copy_tree(from, to);
    copied.unwrap_or_else(|error| panic!("{} cannot be copied to {}: {error}", from.display(), to.display()));
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        // Not `fs::copy`, which on some systems keeps the time of the last change; Cargo looks at that.
        fs::write(to, fs::read(from)?)?;
        return fs::set_permissions(to, fs::metadata(from)?.permissions());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() != OsStr::new("target") {
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
