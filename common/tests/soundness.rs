//! Safe code cannot reach undefined behaviour through `common`: S1 to S5.
//!
//! S1 (a captured token) is a `compile_fail` example of `Process`; that S5's preconditions are written down is checked here.

#[macro_use]
mod programs;

#[cfg(target_os = "linux")]
use common::Error;
use common::Process;
use programs::{careful, program};
use std::path::Path;
#[cfg(target_os = "linux")]
use std::path::PathBuf;
#[cfg(unix)]
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};
#[cfg(target_os = "linux")]
use testing::Folder;

programs! { says_main, is_asked_by_a_stranger, has_a_thread_before_init, starts_a_process }

fn double(x: u32) -> u32 {
    2 * x
}

// S2: code that does not lie where a child would look for it.

#[cfg(target_os = "linux")]
#[test]
fn s2_code_that_was_made_at_run_time_is_refused() {
    use nix::libc;
    let _careful = careful(30);
    common::init();
    // SAFETY: new memory for a function that returns its argument: `mov eax, edi; ret` and `ret`.
    let made: fn(u32) -> u32 = unsafe {
        let code: &[u8] = if cfg!(target_arch = "x86_64") {
            &[0x89, 0xf8, 0xc3]
        } else if cfg!(target_arch = "aarch64") {
            &[0xc0, 0x03, 0x5f, 0xd6]
        } else {
            return;
        };
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(page, libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(code.as_ptr(), page.cast(), code.len());
        assert_eq!(libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC), 0);
        std::mem::transmute(page)
    };
    assert_eq!(made(7), 7);
    let error = Process::new(made, 7).start().err().unwrap();
    assert!(matches!(error, Error::ForeignFunction), "{error}");
    let pool = common::Pool::new(1).unwrap();
    let error = pool.apply(made, 7).unwrap_err();
    assert!(matches!(error, Error::ForeignFunction), "{error}");
    assert_eq!(pool.apply(double, 7).unwrap(), 14);
}

/// A workspace of programs and libraries, built in a place of its own; what was built once stays.
#[cfg(target_os = "linux")]
struct Project {
    folder: Folder,
    target: PathBuf,
}

#[cfg(target_os = "linux")]
impl Project {
    /// Each package: name, manifest below `[package]`, source.
    fn build(name: &str, flags: &[&str], packages: &[(&str, &str, &str)]) -> Project {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let folder = Folder::new(env::temp_dir());
        fs::write(
            folder.path().join("Cargo.toml"),
            "[workspace]\nmembers = [\"*\"]\nresolver = \"3\"\n",
        )
        .unwrap();
        fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        for (package, manifest, source) in packages {
            let place = folder.path().join(package);
            fs::create_dir(&place).unwrap();
            let common = format!("common = {{ path = \"{}\" }}", root.join("common").display());
            let manifest = manifest.replace("common", &common);
            let head = format!("[package]\nname = \"{package}\"\nedition = \"2024\"\n");
            fs::write(place.join("Cargo.toml"), head + &manifest).unwrap();
            let file = if manifest.contains("[lib]") {
                "lib.rs"
            } else {
                "main.rs"
            };
            fs::create_dir(place.join("src")).unwrap();
            fs::write(place.join("src").join(file), source).unwrap();
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut cargo = testing::cargo(folder.path());
        cargo
            .args(["build", "--offline"])
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env("CARGO_PROFILE_DEV_DEBUG", "false");
        testing::run_with(&mut cargo, Duration::from_secs(600)).success();
        Project { folder, target }
    }

    fn built(&self, file: &str) -> PathBuf {
        self.target.join("debug").join(file)
    }

    /// A program that finds its dynamic libraries, also that of the standard library.
    fn run(&self, program: &str) -> Command {
        let rustc = Command::new("rustc")
            .args(["--print", "target-libdir"])
            .output()
            .unwrap();
        let std = String::from_utf8(rustc.stdout).unwrap();
        let mut command = Command::new(self.built(program));
        let debug = self.built("");
        command.current_dir(self.folder.path()).env(
            "LD_LIBRARY_PATH",
            format!("{}:{}:{}", debug.display(), debug.join("deps").display(), std.trim()),
        );
        command
    }
}

#[cfg(target_os = "linux")]
const LIBRARIES: &[(&str, &str, &str)] = &[
    (
        "first",
        "[lib]\ncrate-type = [\"dylib\"]\n[dependencies]\ncommon\n",
        "pub use common;
         pub fn in_first(x: u32) -> u32 { x + 1 }
         pub fn on_behalf(f: fn(u32) -> u32) -> Result<u32, common::Error> {
             common::Process::new(f, 5).start()?.join()
         }",
    ),
    (
        "second",
        "[lib]\ncrate-type = [\"dylib\"]\n[dependencies]\nfirst = { path = \"../first\" }\n",
        "pub fn in_second(x: u32) -> u32 { x + 2 }
         pub fn generic<T: Into<u64>>(x: T) -> u64 { x.into() + 3 }",
    ),
    (
        "user",
        "[dependencies]\nfirst = { path = \"../first\" }\nsecond = { path = \"../second\" }\n",
        "use first::common::{self, Process};
         fn in_main(x: u32) -> u32 { x + 4 }
         fn main() {
             common::init();
             if std::env::args().count() > 1 {
                 std::io::read_to_string(std::io::stdin()).unwrap();
             }
             let all: [(&str, fn(u32) -> u32); 3] =
                 [(\"first\", first::in_first), (\"second\", second::in_second), (\"main\", in_main)];
             for (name, f) in all {
                 match Process::new(f, 5).start().and_then(|p| p.join()) {
                     Ok(value) => println!(\"{name} {value}\"),
                     Err(error) => println!(\"{name} {error}\"),
                 }
                 match first::on_behalf(f) {
                     Ok(value) => println!(\"{name} {value}\"),
                     Err(error) => println!(\"{name} {error}\"),
                 }
             }
             if let Err(error) = Process::new(second::generic::<u32>, 5).start().and_then(|p| p.join()) {
                 println!(\"generic {error}\");
             }
         }",
    ),
];

#[cfg(target_os = "linux")]
#[test]
fn s2_functions_of_dynamic_libraries_are_called_or_refused_but_never_missed() {
    let _careful = careful(600);
    let project = Project::build("dylibs", &["-Cprefer-dynamic"], LIBRARIES);
    for _ in 0..6 {
        let run = testing::run_with(&mut project.run("user"), Duration::from_secs(30));
        let lines = run.success().lines();
        for line in &lines {
            let refused = line.ends_with("or was it made at run time?)");
            // `common` is part of the first library; a call of a function there may lie elsewhere, since it is generic.
            assert!(refused || *line == "first 6", "{lines:?}");
        }
        assert_eq!(lines.len(), 7, "{lines:?}");
        assert!(lines.contains(&"first 6"), "{lines:?}");
    }
    a_library_that_is_replaced_is_noticed(&project);
}

/// A build while the program runs: the same distance leads elsewhere in the new library.
#[cfg(target_os = "linux")]
fn a_library_that_is_replaced_is_noticed(project: &Project) {
    use std::io::Write;
    let mut user = project.run("user");
    let user = user
        .arg("wait")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut user = user.spawn().unwrap();
    let library = project.built("deps/libfirst.so");
    let library = if library.exists() {
        library
    } else {
        project.built("libfirst.so")
    };
    programs::eventually("the library is loaded", || {
        let maps = fs::read_to_string(format!("/proc/{}/maps", user.id())).unwrap_or_default();
        maps.contains("libfirst")
    });
    std::thread::sleep(Duration::from_millis(300)); // until `init` is done
    // As a build does it: a new file in place of the old one. It is larger, and loads all the same.
    let new = library.with_extension("new");
    for library in [project.built("deps/libfirst.so"), project.built("libfirst.so")] {
        if library.exists() {
            let mut bytes = fs::read(&library).unwrap();
            bytes.extend([0; 64]);
            fs::write(&new, bytes).unwrap();
            fs::rename(&new, &library).unwrap();
        }
    }
    user.stdin.take().unwrap().write_all(b"go").unwrap();
    let output = user.wait_with_output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        stderr.contains("the program's file was replaced while it ran"),
        "{stdout}{stderr}"
    );
    assert!(!stdout.contains("first 6"), "{stdout}");
    fs::remove_dir_all(&project.target).unwrap(); // what lies there is not what was built
}

// S3: orders that do not come from a parent.

fn says_main() {
    common::init();
    println!("main");
}

/// Starts such a program with descriptors 3 to 5, and `input` on the first of them.
#[cfg(unix)]
fn forged(program: Command, bootstrap: &str, descriptors: &str, input: &[u8]) -> (String, String, Option<i32>) {
    use std::io::Write;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("exec \"$0\" {descriptors}")])
        .arg(program.get_program())
        .env(programs::PROGRAM, "says_main")
        .env("COMMON_BOOTSTRAP", bootstrap)
        .env("COMMON_HAND_OVER", bootstrap)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input);
    let output = if input.is_empty() {
        drop(stdin);
        child.wait_with_output().unwrap()
    } else {
        let output = child.wait_with_output().unwrap(); // the lifeline is open until then
        drop(stdin);
        output
    };
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.status.code(),
    )
}

/// What a parent would write: see `spawn::StartMessage`.
#[cfg(unix)]
fn start_message(parent: u32, function: u64) -> Vec<u8> {
    let handshake = ("Process-1", ("MainProcess", parent), 0_u64);
    let message = (handshake, false, Some(function), false);
    let block = postcard::to_stdvec(&message).unwrap();
    let mut bytes = (block.len() as u64 + 1).to_le_bytes().to_vec();
    bytes.extend(block);
    bytes.push(5);
    bytes
}

#[cfg(unix)]
#[test]
fn s3_orders_that_do_not_come_from_a_parent_are_not_obeyed() {
    let _careful = careful(120);
    let me = std::process::id();
    let pipes = "3<&0 4>&1 5<&0";
    let ordinary = ("main\n".to_owned(), String::new(), Some(0));

    // A variable that was made for somebody else, or long ago, and no pipes: an ordinary program.
    for variable in [
        "process 0 1 2",
        "process 1 3",
        "worker 4000000 3",
        "",
        "x",
        "process",
        "process -1 -1",
    ] {
        assert_eq!(
            forged(program("says_main"), variable, "", &[]),
            ordinary,
            "{variable:?}"
        );
    }
    // Said to be of this process, which it is a child of; but nothing was passed, or no pipes, or far too little.
    for (variable, descriptors) in [
        (format!("process {me} 3"), ""),
        (format!("process {me} 3"), "3</dev/null 4>/dev/null 5</dev/null"),
        (format!("process {me} 99999999"), pipes),
        (format!("process {me} 0"), pipes),
        (format!("process {me}"), pipes),
    ] {
        let (stdout, stderr, code) = forged(program("says_main"), &variable, descriptors, &[]);
        assert_eq!(
            (&stdout[..], code),
            ("", Some(70)),
            "{variable} {descriptors}: {stderr}"
        );
        assert!(stderr.contains("its parent passed to it"), "{stderr}");
    }
    // Also if it cannot say why.
    if cfg!(target_os = "linux") {
        let (_, _, code) = forged(program("says_main"), &format!("process {me} 3"), "2>/dev/full", &[]);
        assert_eq!(code, Some(70));
    }
    // The standard streams are not taken, whatever the variable says.
    let (stdout, _, code) = forged(program("says_main"), &format!("process {me} 0 1 2"), "", &[]);
    assert_eq!((&stdout[..], code), ("", Some(70)));

    // Pipes, but what comes through them is nonsense, or from a stranger, or leads nowhere.
    let garbage = [24_u64.to_le_bytes().to_vec(), vec![0xab; 24]].concat();
    let foreign = start_message(1, 0);
    for (what, input, code) in [("garbage", garbage, 70), ("a stranger", foreign, 70)] {
        let (stdout, stderr, told) = forged(program("says_main"), &format!("process {me} 3"), pipes, &input);
        assert_eq!((&stdout[..], told), ("", Some(code)), "{what}: {stderr}");
        assert!(stderr.contains("ends at once"), "{what}: {stderr}");
    }
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        // Elsewhere (musl: the program's file is called /proc/self/exe), the handshake would need the program's fingerprint.
        for function in [u64::MAX, u64::from(u32::MAX), u64::MAX << 32] {
            let input = start_message(me, function);
            let (stdout, stderr, code) = forged(program("says_main"), &format!("process {me} 3"), pipes, &input);
            assert_eq!(code, Some(0), "{stderr}");
            assert!(stdout.contains("no function of this program"), "{stdout:?}");
        }
    }
    let (stdout, _, code) = forged(program("says_main"), &format!("nobody {me} 3"), pipes, &[]);
    assert_eq!((&stdout[..], code), ("", Some(70)));
}

fn starts_a_process() {
    common::init();
    match Process::new(double, 5).start().and_then(|p| p.join()) {
        Ok(value) => println!("{value}"),
        Err(error) => println!("{error}"),
    }
}

/// A copy of this test that runs as root, no matter which user starts it.
#[cfg(target_os = "linux")]
fn set_uid_copy(folder: &Folder) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let copy = folder.path().join("set-uid");
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

fn is_asked_by_a_stranger() {
    common::init();
    // SAFETY: a question.
    #[cfg(target_os = "linux")]
    println!("main {}", unsafe { nix::libc::getauxval(nix::libc::AT_SECURE) });
}

#[cfg(target_os = "linux")]
#[test]
fn s3_a_set_uid_program_obeys_nobody() {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let _careful = careful(60);
    // SAFETY: a question.
    if unsafe { nix::libc::geteuid() } != 0 {
        eprintln!("skipped: only root can make a program that runs as root");
        return;
    }
    let folder = Folder::new(env::temp_dir());
    let copy = set_uid_copy(&folder);
    let as_nobody = |name| {
        let mut command = programs::program_at(&copy, name);
        command.uid(NOBODY).gid(NOBODY);
        command.env("COMMON_BOOTSTRAP", format!("process {} 3", std::process::id()));
        command
    };
    let Ok(output) = as_nobody("is_asked_by_a_stranger").output() else {
        eprintln!("skipped: nobody may not come to {}", copy.display());
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text == "main 0\n" {
        eprintln!("skipped: set-user-ID has no effect in {}", copy.display());
        return;
    }
    assert_eq!((&text[..], output.status.code()), ("main 1\n", Some(0)), "{output:?}");
    // What such a program starts would not obey either: an error, and no second program.
    let run = testing::run_with(&mut as_nobody("starts_a_process"), Duration::from_secs(20));
    assert!(
        run.success().stdout.contains("more rights than its user"),
        "{}",
        run.stdout
    );
    // For root it is an ordinary program.
    let run = testing::run_with(
        &mut programs::program_at(&copy, "starts_a_process"),
        Duration::from_secs(20),
    );
    assert_eq!(run.success().stdout, "10\n");
}

// S4: the environment, which other threads may read.

/// Names in the environment that are ours, and what a program of ours becomes that is started in the ordinary way.
fn leftovers(_: ()) -> (Vec<String>, String) {
    let ours = env::vars()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("COMMON"));
    let output = program("says_main").output().unwrap();
    (ours.collect(), String::from_utf8(output.stdout).unwrap())
}

fn has_a_thread_before_init() {
    std::thread::spawn(|| std::thread::sleep(Duration::from_secs(60)));
    common::init();
    let (ours, child) = Process::new(leftovers, ()).start().unwrap().join().unwrap();
    println!("{} {child}", ours.len());
}

#[test]
fn s4_a_child_with_a_second_thread_leaves_the_environment_alone_and_confuses_nobody() {
    let _careful = careful(60);
    common::init();
    let (ours, child) = Process::new(leftovers, ()).start().unwrap().join().unwrap();
    assert_eq!((ours, &child[..]), (vec![], "main\n"));
    let run = testing::run_with(&mut program("has_a_thread_before_init"), Duration::from_secs(20));
    // Windows guards the environment by a lock.
    let left = if cfg!(windows) { 0 } else { 1 };
    assert_eq!(run.success().stdout, format!("{left} main\n\n"));
}

// S5: what a caller must keep is written where it is seen.

#[test]
fn s5_every_unsafe_function_says_what_its_callers_must_keep() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            for (number, line) in lines.iter().enumerate() {
                let place = format!("{}:{}", path.display(), number + 1);
                let declares = line.contains("unsafe fn ") || line.contains("unsafe extern \"C\" fn ");
                if declares
                    && !line.starts_with("//")
                    && !line.starts_with("type ")
                    && !line.starts_with("pub(crate) type ")
                {
                    let before = lines[..number]
                        .iter()
                        .rev()
                        .take_while(|line| line.starts_with("//") || line.starts_with('#'));
                    let documented = before.clone().any(|line| line.contains("# Safety"));
                    // A function that the system calls, handed to it on the spot.
                    assert!(documented || line.starts_with("unsafe extern"), "{place}: {line}");
                    seen += 1;
                }
                let opens = line.contains("unsafe {") || line.contains("unsafe impl ");
                if opens && !line.starts_with("//") {
                    let said = lines[..=number]
                        .iter()
                        .rev()
                        .take(8)
                        .any(|line| line.contains("// SAFETY:"));
                    assert!(said, "{place}: no word on why it is sound: {line}");
                }
            }
        }
    }
    assert!(seen >= 3, "this test looks in the wrong place");
}

// W10: constructors in a test file's program.

#[cfg(target_os = "linux")]
#[test]
fn w10_b58_constructors_of_the_program_have_run_before_a_target() {
    let _careful = careful(600);
    let packages = [
        (
            "registry",
            "[lib]\n",
            "use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
             static READY: AtomicU32 = AtomicU32::new(0);
             extern \"C\" fn construct() { READY.store(7, Relaxed); }
             #[used]
             #[unsafe(link_section = \".init_array\")]
             static CONSTRUCTOR: extern \"C\" fn() = construct;
             pub fn ready(_: ()) -> u32 { READY.load(Relaxed) }",
        ),
        (
            "constructed",
            "[dependencies]\ncommon\nregistry = { path = \"../registry\" }\n",
            "common::init_in_tests!();
             fn main() {
                 println!(\"{}\", registry::ready(()));
                 println!(\"{}\", common::Process::new(registry::ready, ()).start().unwrap().join().unwrap());
                 println!(\"{}\", common::Pool::new(1).unwrap().apply(registry::ready, ()).unwrap());
             }",
        ),
    ];
    let project = Project::build("constructors", &[], &packages);
    let run = testing::run_with(&mut project.run("constructed"), Duration::from_secs(30));
    assert_eq!(run.success().lines(), ["7", "7", "7"]);
}
