//! What a process inherits, its name, its limits: descriptors, signals, arguments, threads.

use crate::programs::{Events, argument, await_event, careful, eventually, happen, limited, program, program_at, soon};
use crate::{in_time, square};
use common::{Error, Pool, Process};
use nix::libc;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs, process, thread};

// Descriptors.

/// Is this file open here, under any number?
fn has_open(file: String) -> bool {
    let file = fs::metadata(file).unwrap();
    (0..256).any(|descriptor| {
        // SAFETY: only looked at; a number that is no descriptor's is an error.
        unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            libc::fstat(descriptor, &mut stat) == 0
                && (stat.st_dev as u64, stat.st_ino as u64) == (file.dev(), file.ino())
        }
    })
}

fn child_has_open(file: String) -> bool {
    Process::new(has_open, file).start().unwrap().join().unwrap()
}

pub fn holds_a_lock() {
    common::init();
    let lock = format!("{}/lock", argument(1));
    assert!(has_open(lock.clone()), "the shell opened it");
    let daemon = Process::new(has_open, lock.clone()).daemon(true).start().unwrap();
    let pool = Pool::new(2).unwrap();
    let streams = Process::new(has_open, lock.clone()).stdin(fs::File::open("/dev/null").unwrap());
    let given = Process::new(has_open, lock.clone()).stdin(fs::File::open(&lock).unwrap());
    let open = [
        ("a process", child_has_open(lock.clone())),
        ("a daemon", daemon.join().unwrap()),
        ("one with streams", streams.start().unwrap().join().unwrap()),
        ("a worker", pool.apply(has_open, lock.clone()).unwrap()),
        ("a worker's child", pool.apply(child_has_open, lock.clone()).unwrap()),
    ];
    for (who, has) in open {
        // What is linked statically cannot leave it out: see "Where systems differ".
        assert_eq!(has, cfg!(target_feature = "crt-static"), "{who} has it open: {has}");
    }
    assert!(given.start().unwrap().join().unwrap(), "what is passed arrives");
    pool.close().join().unwrap();
}

#[test]
fn w7_a_descriptor_that_the_program_inherited_does_not_reach_its_children() {
    let _careful = careful(30);
    let events = Events::new();
    let mut command = limited("exec 9>\"$1/lock\"", "words::surroundings::holds_a_lock");
    testing::run_with(command.arg(events.place()), Duration::from_secs(20)).success();
}

#[test]
fn w16_a_task_that_closes_all_descriptors_is_not_said_to_be_killed() {
    let _careful = careful(30);
    let close_all = |()| {
        for descriptor in 3..1_024 {
            // SAFETY: what is tested is what is said of it.
            unsafe { libc::close(descriptor) };
        }
        // A thread that watches a descriptor has the time to see it.
        thread::sleep(Duration::from_millis(200));
        7_u8
    };
    let is_right = |outcome: Result<u8, Error>| match outcome {
        Ok(value) => assert_eq!(value, 7),
        Err(error) => {
            // Rust's own library aborts when it finds a descriptor closed.
            let killed = matches!(error, Error::Signaled { signal: 9, .. });
            assert!(!killed && !error.is_timeout(), "{error}");
        }
    };
    in_time(move || {
        // Many at the same time: each may be met at another moment.
        let start = |i| Process::new(close_all, ()).daemon(i % 2 == 0).start().unwrap();
        let children: Vec<_> = (0..20).map(start).collect();
        children.iter().for_each(|p| is_right(p.join_timeout(soon())));
        let pool = Pool::new(10).unwrap();
        for _ in 0..3 {
            let tasks: Vec<_> = (0..10).map(|_| pool.apply_async(close_all, ())).collect();
            tasks.iter().for_each(|task| is_right(task.get_timeout(soon())));
        }
        // A worker without descriptors may cost one more task.
        eventually("the pool works", || pool.map(square, 0..100).is_ok());
        pool.close().join().unwrap();
    });
}

// Signals.

/// What becomes of a program that a task starts, and that interrupts itself.
fn interrupt_a_program(_: ()) -> String {
    let output = Command::new("sh")
        .args(["-c", "kill -INT $$; echo alive"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.signal().map_or(text, |signal| format!("signal {signal}"))
}

/// Says that of a process's program, of a worker's, and of a worker's child's.
pub fn interrupts_programs() {
    common::init();
    let p = Process::new(interrupt_a_program, ()).start().unwrap();
    let pool = Pool::new(1).unwrap();
    let below = |()| Process::new(interrupt_a_program, ()).start().unwrap().join().unwrap();
    println!("{}", p.join().unwrap());
    println!("{}", pool.apply(interrupt_a_program, ()).unwrap());
    println!("{}", pool.apply(below, ()).unwrap());
    pool.close().join().unwrap();
}

/// Lets SIGINT end it, however this test was started, and then does that.
pub fn is_interruptible() {
    // SAFETY: the default action is no code of ours.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    interrupts_programs();
}

#[test]
fn w8_programs_that_a_task_starts_ignore_interrupts_if_and_only_if_this_one_was_started_so() {
    let _careful = careful(30);
    let mut ignoring = limited("trap '' INT", "words::surroundings::interrupts_programs");
    let run = testing::run_with(&mut ignoring, Duration::from_secs(20));
    assert_eq!(run.success().lines(), ["alive"; 3]);
    let mut ordinary = program("words::surroundings::is_interruptible");
    let run = testing::run_with(&mut ordinary, Duration::from_secs(20));
    assert_eq!(run.success().lines(), ["signal 2"; 3]);
}

fn sleep_a_minute(_: ()) {
    thread::sleep(Duration::from_secs(60));
}

fn start_and_terminate(_: ()) -> Option<i32> {
    let p = Process::new(sleep_a_minute, ()).start().unwrap();
    p.terminate().unwrap();
    let error = p.join_timeout(soon()).unwrap_err();
    if error.is_timeout() {
        p.kill().unwrap();
        p.join().unwrap_err();
    }
    p.exitcode()
}

pub fn terminates() {
    common::init();
    if argument(1) == "blocked" {
        // SAFETY: the set is made, filled and read here.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGTERM);
            assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()), 0);
        }
    }
    assert_eq!(start_and_terminate(()), Some(-15), "a process");
    let pool = Pool::new(2).unwrap();
    assert_eq!(
        pool.apply(start_and_terminate, ()).unwrap(),
        Some(-15),
        "a worker's child"
    );
    let p = Process::new(start_and_terminate, ()).start().unwrap();
    assert_eq!(p.join().unwrap(), Some(-15), "a child's child");
    let task = pool.apply_async(sleep_a_minute, ());
    in_time(move || pool.terminate());
    assert!(task.get().is_err());
}

#[test]
fn w8_terminate_ends_a_process_although_its_parent_ignores_or_blocks_that_signal() {
    let _careful = careful(60);
    for (before, how) in [("trap '' TERM", "ignored"), (":", "blocked"), (":", "neither")] {
        let mut command = limited(before, "words::surroundings::terminates");
        testing::run_with(command.arg(how), Duration::from_secs(40)).success();
    }
}

// Names.

/// What it is called, and by which name it does what.
pub fn dispatches_on_its_name() {
    let name = argument(0);
    if Path::new(&name)
        .file_name()
        .is_none_or(|name| name != "a tool of many names")
    {
        eprintln!("{name:?} is none of the tools that there are");
        process::exit(2);
    }
    common::init();
    let own_name = |()| argument(0);
    let p = Process::new(own_name, ()).name("another name").start().unwrap();
    assert_eq!(p.join().unwrap(), name);
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(own_name, ()).unwrap(), name);
    let below = |()| Process::new(|()| argument(0), ()).start().unwrap().join().unwrap();
    assert_eq!(pool.apply(below, ()).unwrap(), name);
    pool.close().join().unwrap();
}

#[test]
fn w12_a_process_is_called_what_its_parent_was_called() {
    let _careful = careful(30);
    let folder = Events::new();
    let link = folder.path().join("a tool of many names");
    std::os::unix::fs::symlink(env::current_exe().unwrap(), &link).unwrap();
    let mut command = program_at(&link, "words::surroundings::dispatches_on_its_name");
    testing::run_with(&mut command, Duration::from_secs(20)).success();
}

// Limits.

pub fn wants_too_much() {
    common::init();
    for workers in [usize::MAX, usize::MAX / 2 + 1, usize::MAX / 4096 + 2, 1 << 60] {
        let error = Pool::new(workers).map(|pool| pool.processes()).unwrap_err();
        println!("{error}");
        let mut error: &dyn std::error::Error = &error;
        while let Some(cause) = error.source() {
            assert!(
                !error.to_string().contains(&cause.to_string()),
                "{error}, because {cause}"
            );
            error = cause;
        }
    }
    assert_eq!(Pool::new(2).unwrap().apply(square, 3).unwrap(), 9);
}

#[test]
fn w9_a_pool_of_more_workers_than_can_be_counted_is_an_error() {
    let _careful = careful(30);
    let mut command = limited("ulimit -n 64", "words::surroundings::wants_too_much");
    let run = testing::run_with(&mut command, Duration::from_secs(20));
    assert_eq!(run.success().lines().len(), 4, "{run:?}");
}

fn until_go(place: String) {
    await_event(&place, "go");
}

/// Becomes somebody who may not send signals to its own child.
pub fn may_not_send_signals() {
    common::init();
    let place = argument(1);
    let p = Process::new(until_go, place.clone()).name("the child").start().unwrap();
    // SAFETY: it takes a number.
    assert_eq!(unsafe { libc::setuid(61_234) }, 0);
    for error in [p.kill().unwrap_err(), p.terminate().unwrap_err()] {
        println!("{error}");
    }
    happen(&place, "go");
    p.join().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn w11_a_signal_that_cannot_be_sent_is_not_something_that_could_not_be_started() {
    let _careful = careful(30);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: only root can have a child that is another user's");
        return;
    }
    let events = Events::new();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(events.path(), everybody).unwrap();
    let mut command = program("words::surroundings::may_not_send_signals");
    let run = testing::run_with(command.arg(events.place()), Duration::from_secs(20));
    let lines = run.success().lines();
    let is_right = |line: &&str| line.contains("the child") && !line.contains("start");
    assert!(lines.len() == 2 && lines.iter().all(is_right), "{lines:?}");
}

/// It cannot kill its workers any more.
#[cfg(target_os = "linux")]
pub fn gives_up_its_rights() {
    common::init();
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    // SAFETY: it takes a number.
    assert_eq!(unsafe { libc::setuid(61_234) }, 0);
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
    drop(pool);
    println!("it has ended");
}

#[cfg(target_os = "linux")]
#[test]
fn h17_a_pool_whose_program_may_not_kill_its_workers_any_more_ends() {
    let _careful = careful(30);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: only root can give up rights in this way");
        return;
    }
    let run = testing::run_with(
        &mut program("words::surroundings::gives_up_its_rights"),
        Duration::from_secs(20),
    );
    assert_eq!(run.success().lines(), ["it has ended"]);
}

/// Goes where no `/proc` is.
#[cfg(target_os = "linux")]
pub fn changes_its_root() {
    common::init();
    for place in ["/".to_owned(), argument(1)] {
        nix::unistd::chroot(&place[..]).unwrap();
        println!("{:?}", Process::new(square, 3).start().and_then(|p| p.join()));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn w14_a_program_that_has_changed_its_root_directory_is_not_only_said_to_have_moved() {
    let _careful = careful(30);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("skipped: only root can change its root directory");
        return;
    }
    let events = Events::new();
    let mut command = program("words::surroundings::changes_its_root");
    let run = testing::run_with(command.arg(events.place()), Duration::from_secs(20));
    let lines = run.success().lines();
    assert!(lines.len() == 2 && lines[0] == "Ok(9)", "{lines:?}");
    for part in ["/proc/self/exe", "chroot"] {
        assert!(lines[1].contains(part), "{lines:?}");
    }
}

/// Processes are counted anew there: a child that looks for its parent's number finds nobody.
#[cfg(target_os = "linux")]
pub fn counts_its_children_anew() {
    use nix::sched::{CloneFlags, unshare};
    common::init();
    match unshare(CloneFlags::CLONE_NEWPID) {
        Ok(()) => println!("{:?}", Process::new(square, 3).start().and_then(|p| p.join())),
        Err(_) => println!("skipped"),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_in_another_namespace_of_process_numbers_is_no_orphan() {
    let _careful = careful(30);
    let mut command = program("words::surroundings::counts_its_children_anew");
    let run = testing::run_with(&mut command, Duration::from_secs(20));
    match run.success().lines()[..] {
        ["skipped"] => eprintln!("skipped: only root can make such a namespace"),
        ref lines => assert_eq!(lines, ["Ok(9)"]),
    }
}

/// Starts a daemon and a pool when only that number of processes and threads more can be had.
#[cfg(target_os = "linux")]
pub fn has_few_threads() {
    common::init();
    let tasks = || fs::read_dir("/proc/self/task").unwrap().count() as u64;
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    drop(pool);
    let limit = |more: u64| {
        // SAFETY: the limits are read, and the lower one of them is set.
        unsafe {
            let mut limit = std::mem::zeroed();
            libc::getrlimit(libc::RLIMIT_NPROC, &mut limit);
            limit.rlim_cur = limit.rlim_max.min(tasks().saturating_add(more));
            assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &limit), 0);
        }
    };
    for more in 0..8 {
        limit(more);
        let p = Process::new(square, 3).daemon(true).start();
        let p = p.map(|p| (p.join(), p.exitcode()));
        println!("a daemon: {p:?}");
        limit(more);
        let second = Duration::from_secs(crate::programs::slowness());
        let pool = Pool::new(1).and_then(|pool| pool.apply_async(square, 3).get_timeout(second));
        println!("a pool: {pool:?}");
    }
    limit(u64::MAX);
    assert_eq!(Pool::new(2).unwrap().apply(square, 3).unwrap(), 9);
}

#[cfg(target_os = "linux")]
#[test]
fn w20_where_no_thread_is_to_be_had_that_is_said() {
    let _careful = careful(120);
    let folder = Events::new();
    let name = "words::surroundings::has_few_threads";
    let Some(mut command) = crate::programs::limited_for_another_user(&folder, ":", name) else {
        return;
    };
    let run = testing::run_with(command.env("TMPDIR", folder.path()), Duration::from_secs(100));
    let lines = run.success().lines();
    assert_eq!(lines.len(), 16, "{run:?}");
    for line in &lines {
        let guess = ["first line of main", "rebuilt"]
            .iter()
            .any(|guess| line.contains(guess));
        // Here or there it is said what was not to be had. (A pool may wait for it.)
        let said = line.contains("os error 11") || line.contains("thread") || run.stderr.contains("thread");
        let waits = line.starts_with("a pool") && line.contains("not ready after");
        assert!(!guess && (line.contains("Ok(9)") || said || waits), "{run:?}");
        let failed = line.starts_with("a daemon: Ok((Err");
        assert!(!(failed && line.contains("Some(0)")), "{run:?}");
    }
    assert!(!run.stderr.contains("rebuilt"), "{}", run.stderr);
    assert!(lines[0].contains("Err") && lines[15].contains("Ok(9)"), "{lines:?}");
}
