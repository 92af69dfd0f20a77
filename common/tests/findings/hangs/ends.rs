//! Workers and processes that take their time to end, that are ended from outside, or whose parent is.

use super::squares;
use crate::programs::{Events, await_event, careful, eventually, limited, note, signal, soon, workers};
use crate::{in_time, square};
use common::{Error, Pool, Process};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;
use std::{fs, process, thread};

static PLACE: OnceLock<String> = OnceLock::new();

/// Flushes a log, a profile: notes when it begins and when it is done.
fn flush() {
    let place = PLACE.get().unwrap();
    note(place, format!("leaving {}", process::id()));
    thread::sleep(Duration::from_millis(800));
    await_event(place, "go");
    note(place, format!("left {}", process::id()));
}

extern "C" fn flush_at_exit() {
    flush();
}

struct Flushes;

impl Drop for Flushes {
    fn drop(&mut self) {
        flush();
    }
}

thread_local! {
    static FLUSHES: Flushes = const { Flushes };
}

/// From here on, this process takes its time to end.
fn leave_slowly((place, how): (String, String)) -> u32 {
    note(&place, format!("began {}", process::id()));
    PLACE.set(place).unwrap();
    if how == "thread-local" {
        FLUSHES.with(|_| ());
    } else {
        // SAFETY: what it calls may be called while a process ends.
        unsafe { libc::atexit(flush_at_exit) };
    }
    process::id()
}

/// The ways to do something at the end of a process.
fn slow_ends() -> &'static [&'static str] {
    // Elsewhere the main thread's own values are not dropped when a process ends.
    let dropped = cfg!(all(target_os = "linux", target_env = "gnu"));
    if dropped {
        &["atexit", "thread-local"]
    } else {
        &["atexit"]
    }
}

fn noted(events: &Events, what: &str) -> BTreeSet<u32> {
    let pids = events
        .notes()
        .into_iter()
        .filter_map(|note| note.strip_prefix(what)?.parse().ok());
    pids.collect()
}

#[test]
fn h8_b53_workers_of_a_closed_pool_run_their_exit_handlers_to_the_end() {
    let _careful = careful(60);
    let slow = |events: &Events, how: &str| {
        events.happen("go");
        let pool = Pool::builder().processes(2);
        let pool = pool.initializer(leave_slowly, (events.place(), how.to_owned()));
        pool.build().unwrap()
    };
    for how in slow_ends() {
        let events = Events::new();
        let pool = slow(&events, how);
        let pids = workers(&pool);
        pool.close().join().unwrap();
        assert_eq!(noted(&events, "left "), pids, "{how}: {:?}", events.notes());
    }
    let events = Events::new();
    let pool = slow(&events, "atexit");
    let pids = workers(&pool);
    drop(pool.close());
    assert_eq!(noted(&events, "left "), pids, "dropped: {:?}", events.notes());
}

#[test]
fn h8_b53_a_worker_that_has_done_its_share_runs_its_exit_handlers_to_the_end() {
    let _careful = careful(60);
    let events = Events::new();
    events.happen("go");
    let pool = Pool::builder().processes(1).maxtasksperchild(1);
    let pool = pool.initializer(leave_slowly, (events.place(), "atexit".to_owned()));
    let pool = pool.build().unwrap();
    let pids: BTreeSet<_> = (0..2).map(|_| pool.apply(|()| process::id(), ()).unwrap()).collect();
    pool.close().join().unwrap();
    let left = noted(&events, "left ");
    assert!(
        pids.len() == 2 && pids.is_subset(&left),
        "{pids:?}: {:?}",
        events.notes()
    );
}

#[test]
fn h8_a_process_runs_its_exit_handlers_to_the_end() {
    let _careful = careful(60);
    for (i, end) in ["join", "join_timeout", "drop"].into_iter().enumerate() {
        let how = slow_ends()[i % slow_ends().len()];
        let events = Events::new();
        events.happen("go");
        let p = Process::new(leave_slowly, (events.place(), how.to_owned()))
            .start()
            .unwrap();
        let pid = p.pid();
        match end {
            "join" => assert_eq!(p.join().unwrap(), pid),
            "join_timeout" => assert_eq!(p.join_timeout(soon()).unwrap(), pid),
            _ => drop(p),
        }
        assert_eq!(noted(&events, "left "), BTreeSet::from([pid]), "{how}, {end}");
    }
}

#[test]
fn h8_b53_a_worker_killed_in_its_exit_handler_keeps_nobody_waiting() {
    let _careful = careful(60);
    let events = Events::new();
    let initializer = Pool::builder()
        .processes(1)
        .initializer(leave_slowly, (events.place(), "atexit".to_owned()));
    let pool = initializer.build().unwrap();
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    let joining = thread::spawn(|| pool.close().join());
    eventually("it is leaving", || !noted(&events, "leaving ").is_empty());
    assert!(!joining.is_finished());
    noted(&events, "leaving ")
        .iter()
        .for_each(|&pid| signal(pid, Signal::SIGKILL));
    let _ = in_time(|| joining.join().unwrap()); // every task is done, and a death here costs none
    assert_eq!(noted(&events, "left "), BTreeSet::new());
}

// What comes from outside, or passes, is no fault of the initializer.

fn note_and_pause(place: String) {
    note(&place, process::id());
    thread::sleep(Duration::from_millis(20));
}

#[test]
fn h10_workers_that_are_killed_in_their_initializer_again_and_again_do_not_end_the_pool() {
    let _careful = careful(60);
    for how in [Signal::SIGKILL, Signal::SIGTERM] {
        let events = Events::new();
        let initializer = Pool::builder().processes(2).initializer(note_and_pause, events.place());
        let pool = initializer.build().unwrap();
        let task = pool.apply_async(square, 5);
        for kills in 0..12 {
            eventually("another one has begun", || events.notes().len() > kills);
            let pid = events.notes_in_order()[kills].parse().unwrap();
            let _ = kill(Pid::from_raw(pid), how);
        }
        in_time(move || {
            done_or_lost(task.get());
            assert_eq!(pool.map(square, 0..100).unwrap(), squares(100), "{how}");
            pool.close().join().unwrap();
        });
    }
}

/// A task that comes while one worker after the other dies may go down with them.
#[track_caller]
fn done_or_lost(outcome: Result<u64, Error>) {
    match outcome {
        Ok(value) => assert_eq!(value, 25),
        Err(error) => assert!(matches!(error, Error::Signaled { .. }), "{error}"),
    }
}

/// As long as a system has nothing to give.
fn for_a_while() {
    thread::sleep(Duration::from_millis(200));
}

pub fn is_short_of_descriptors() {
    common::init();
    let pool = Pool::new(8).unwrap();
    for _ in 0..3 {
        let pids = workers(&pool);
        let null = || fs::File::open("/dev/null");
        let hog: Vec<_> = std::iter::repeat_with(null).map_while(Result::ok).collect();
        assert!(null().is_err() && !hog.is_empty());
        pids.iter().for_each(|&pid| signal(pid, Signal::SIGKILL));
        let task = pool.apply_async(square, 5);
        for_a_while();
        drop(hog);
        done_or_lost(task.get_timeout(soon()));
        assert_eq!(
            pool.map_async(square, 0..100).get_timeout(soon()).unwrap(),
            squares(100)
        );
        assert_eq!(Process::new(square, 3).start().unwrap().join().unwrap(), 9);
    }
    assert_eq!(workers(&pool).len(), 8);
    pool.close().join().unwrap();
}

#[test]
fn h10_a_lack_of_descriptors_that_passes_ends_no_pool() {
    let _careful = careful(60);
    let mut limited = limited("ulimit -n 128", "hangs::ends::is_short_of_descriptors");
    testing::run_with(&mut limited, Duration::from_secs(40)).success();
}

#[cfg(target_os = "linux")]
pub fn is_short_of_processes() {
    common::init();
    let limit = |processes: u64| {
        // SAFETY: the limits are read, and the lower one of them is set.
        unsafe {
            let mut limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::getrlimit(libc::RLIMIT_NPROC, &mut limit);
            limit.rlim_cur = processes.min(limit.rlim_max);
            assert_eq!(libc::setrlimit(libc::RLIMIT_NPROC, &limit), 0);
        }
    };
    let pool = Pool::new(4).unwrap();
    for _ in 0..3 {
        let pids = workers(&pool);
        limit(1);
        pids.iter().for_each(|&pid| signal(pid, Signal::SIGKILL));
        let task = pool.apply_async(square, 5);
        for_a_while();
        limit(u64::MAX);
        done_or_lost(task.get_timeout(soon()));
        assert_eq!(
            pool.map_async(square, 0..100).get_timeout(soon()).unwrap(),
            squares(100)
        );
    }
    pool.close().join().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn h10_a_lack_of_processes_that_passes_ends_no_pool() {
    let _careful = careful(60);
    let folder = Events::new();
    let name = "hangs::ends::is_short_of_processes";
    if let Some(mut limited) = crate::programs::limited_for_another_user(&folder, ":", name) {
        limited.env("TMPDIR", folder.path());
        testing::run_with(&mut limited, Duration::from_secs(40)).success();
    }
}

// Channels among the arguments of a process.

#[cfg(target_os = "linux")] // where they need a folder, and processes are files
pub mod channels {
    use super::*;
    use crate::programs::{interrupt_system_calls, program};
    use ipc_channel::IpcError;
    use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
    use std::io::{self, BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;

    /// `ipc-channel` leaves it to its caller to try again when a signal came.
    fn again<R>(attempt: impl Fn() -> Result<R, IpcError>) -> Result<R, IpcError> {
        loop {
            match attempt() {
                Err(IpcError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    fn add_received((a, b): (IpcReceiver<u32>, IpcSender<u32>)) -> u32 {
        let value = again(|| a.recv()).unwrap();
        again(|| b.send(value + 1)).unwrap();
        value
    }

    fn start_with_channels(i: u32) -> Result<(), String> {
        let ((sender, a), (b, receiver)) = (ipc::channel().unwrap(), ipc::channel().unwrap());
        again(|| sender.send(i)).unwrap();
        let p = Process::new(add_received, (a, b)).start();
        let value = p.and_then(|p| p.join()).map_err(|error| error.to_string())?;
        let back = again(|| receiver.recv()).map_err(|error| error.to_string())?;
        assert_eq!((value, back), (i, i + 1));
        Ok(())
    }

    pub fn starts_with_channels() {
        common::init();
        for i in 0.. {
            println!("{i}");
            start_with_channels(i).unwrap();
        }
    }

    /// Is there one alive in this group of processes?
    fn group_lives(group: u32) -> bool {
        let stats = fs::read_dir("/proc").unwrap().flatten();
        let mut stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        stats.any(|stat| {
            let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
            let mut fields = rest.split(' ');
            let alive = fields.next().is_some_and(|state| state != "Z" && state != "X");
            alive && fields.nth(1) == Some(&group.to_string())
        })
    }

    #[test]
    fn h13_a_parent_that_is_killed_while_it_sends_channels_leaves_neither_children_nor_folders() {
        let _careful = careful(60);
        for round in 0..40 {
            let events = Events::new();
            let mut command = program("hangs::ends::channels::starts_with_channels");
            command
                .env("TMPDIR", events.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            let mut parent = command.process_group(0).spawn().unwrap();
            let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
            assert!(lines.nth(round % 3).unwrap().is_ok());
            // No event tells how far it is with the next one: so it is killed at many places.
            thread::sleep(Duration::from_micros(131 * round as u64));
            parent.kill().unwrap();
            parent.wait().unwrap();
            let begin = std::time::Instant::now();
            while group_lives(parent.id()) && begin.elapsed() < soon() {
                thread::sleep(Duration::from_millis(1));
            }
            let hang = group_lives(parent.id());
            if hang {
                let _ = nix::sys::signal::killpg(Pid::from_raw(parent.id() as i32), Signal::SIGKILL);
            }
            assert!(!hang, "round {round}: a child waits for its dead parent");
            let left: Vec<_> = fs::read_dir(events.path()).unwrap().flatten().collect();
            assert!(left.is_empty(), "round {round}: {left:?}");
        }
    }

    pub fn is_interrupted() {
        interrupt_system_calls(Duration::from_micros(200)); // here and in every child
        common::init();
        let errors: Vec<_> = (0..200).filter_map(|i| start_with_channels(i).err()).collect();
        assert!(
            errors.is_empty(),
            "{} failed, the first because {}",
            errors.len(),
            errors[0]
        );
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(square, 0..1_000).unwrap(), squares(1_000));
        for i in 0..200 {
            assert_eq!(pool.apply(square, i).unwrap(), i * i);
        }
        pool.close().join().unwrap();
    }

    #[test]
    fn h13_thousands_of_signals_a_second_do_not_keep_channels_from_arriving() {
        let _careful = careful(60);
        let events = Events::new();
        let mut command = program("hangs::ends::channels::is_interrupted");
        testing::run_with(command.env("TMPDIR", events.path()), Duration::from_secs(40)).success();
        let left: Vec<_> = fs::read_dir(events.path()).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

// Workers that are stopped.

#[test]
fn h16_a_task_does_not_wait_for_a_stopped_worker_while_another_one_is_idle() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    for pid in workers(&pool) {
        signal(pid, Signal::SIGSTOP);
        let outcomes: Vec<_> = (0..20)
            .map(|i| pool.apply_async(square, i).get_timeout(soon()))
            .collect();
        signal(pid, Signal::SIGCONT);
        for (i, outcome) in (0..).zip(outcomes) {
            assert!(matches!(outcome, Ok(value) if value == i * i), "{i}: {outcome:?}");
        }
    }
    pool.close().join().unwrap();
}
