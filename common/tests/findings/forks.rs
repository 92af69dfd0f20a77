//! Copies of a program, made by `fork`: they have no part in its processes and pools.

use crate::programs::{
    Events, argument, await_event, careful, eventually, happen, lives, note, program, signal, slowness, workers,
};
use crate::{in_time, square, told};
use common::{Child, Error, Pool, Process};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

/// Makes a copy of this process, which lives its life and leaves.
#[track_caller]
fn in_a_copy(what: &str, life: impl FnOnce()) {
    // SAFETY: the copy does what is tested here, and leaves without returning to its parent's code.
    match unsafe { if what.ends_with("clone") { clone_all() } else { fork() } }.unwrap() {
        ForkResult::Child => {
            let lived = catch_unwind(AssertUnwindSafe(life)).is_ok();
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(if lived { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => match end_of(child, 5 * slowness()) {
            Some(WaitStatus::Exited(_, 0)) => {}
            Some(how) => panic!("the copy that tries {what}: {how:?}"),
            None => panic!("the copy that tries {what} hangs"),
        },
    }
}

/// How a copy ended. One that does not end is killed.
fn end_of(copy: Pid, seconds: u64) -> Option<WaitStatus> {
    let start = Instant::now();
    loop {
        match waitpid(copy, Some(WaitPidFlag::WNOHANG)).unwrap() {
            WaitStatus::StillAlive if start.elapsed() < Duration::from_secs(seconds) => {
                thread::sleep(Duration::from_millis(1));
            }
            WaitStatus::StillAlive => {
                kill(copy, Signal::SIGKILL).unwrap();
                waitpid(copy, None).unwrap();
                return None;
            }
            how => return Some(how),
        }
    }
}

/// In a copy: the call is an error, and the error says why.
#[track_caller]
fn refused<R>(outcome: Result<R, Error>) {
    match outcome {
        Ok(_) => panic!("a copy got a result"),
        Err(error) => assert!(told(&error).contains("fork"), "{}", told(&error)),
    }
}

/// The parent's results are its own, and nothing is lost.
#[track_caller]
fn undisturbed(pool: &Pool, what: &str) {
    let limit = Duration::from_secs(5 * slowness());
    for i in 10..20 {
        let result = pool.apply_async(square, i).get_timeout(limit);
        assert!(
            matches!(result, Ok(value) if value == i * i),
            "after {what}: {result:?}"
        );
    }
    let results = pool.map_async(square, 0..100).get_timeout(limit);
    assert!(
        matches!(&results, Ok(results) if results.iter().copied().eq((0..100).map(square))),
        "after {what}: {results:?}"
    );
}

type Call = fn(&Pool);
type End<T> = fn(T);

pub fn calls_in_a_copy() {
    common::init();
    let place = argument(1);
    let pool = Pool::new(1).unwrap();
    undisturbed(&pool, "nothing");
    let minute = Duration::from_secs(60);
    let calls: [(&str, Call); 9] = [
        ("apply", |pool| refused(pool.apply(square, 4))),
        ("apply_async", |pool| refused(pool.apply_async(square, 4).get())),
        ("get_timeout", |pool| {
            refused(pool.apply_async(square, 4).get_timeout(Duration::from_secs(60)));
        }),
        ("a result thrown away", |pool| drop(pool.apply_async(square, 4))),
        ("map", |pool| refused(pool.map(square, 0..4))),
        ("map_with_chunksize", |pool| {
            refused(pool.map_with_chunksize(square, 0..4, 2));
        }),
        ("map_async", |pool| refused(pool.map_async(square, 0..4).get())),
        ("imap", |pool| refused(pool.imap(square, 0..4).next().unwrap())),
        ("imap_unordered", |pool| {
            refused(pool.imap_unordered(square, 0..4).next().unwrap());
        }),
    ];
    for (what, call) in calls {
        for what in [what.to_owned(), format!("{what} after clone")] {
            in_a_copy(&what, || call(&pool));
            undisturbed(&pool, &what);
        }
    }

    // Handles of tasks that are not done when the copy is made.
    let task = pool.apply_async(wait_then_square, (place.clone(), 7));
    let map = pool.map_async(wait_then_square, [(place.clone(), 8)]);
    let mut items = pool.imap(square, 0..3);
    in_a_copy("get", || refused(task.get()));
    in_a_copy("get_timeout", || refused(task.get_timeout(minute)));
    in_a_copy("get of a map", || refused(map.get()));
    in_a_copy("get_timeout of a map", || refused(map.get_timeout(minute)));
    in_a_copy("next", || refused(items.next().unwrap()));
    happen(&place, "go");
    assert_eq!((task.get().unwrap(), map.get().unwrap()), (49, vec![64]));
    assert!(items.map(Result::unwrap).eq([0, 1, 4]));
    pool.close().join().unwrap();
}

fn wait_then_square((place, x): (String, u64)) -> u64 {
    note(&place, x);
    await_event(&place, "go");
    x * x
}

#[test]
fn f1_b54_what_a_copy_asks_of_a_pool_is_refused_and_its_parents_results_are_its_own() {
    let _careful = careful(60);
    let events = Events::new();
    let mut parent = program("forks::calls_in_a_copy");
    testing::run_with(parent.arg(events.place()), Duration::from_secs(30)).success();
}

pub fn drops_in_a_copy() {
    common::init();
    let events = Events::new();
    let mut pool = Some(Pool::new(2).unwrap());
    let before = workers(pool.as_ref().unwrap());
    let tries: [(&str, End<Pool>); 6] = [
        ("dropping a pool", drop),
        ("terminating it", Pool::terminate),
        ("dropping a closed one", |pool| drop(pool.close())),
        ("terminating a closed one", |pool| pool.close().terminate()),
        ("joining it", |pool| refused(pool.close().join())),
        ("leaving by exit", |_pool| process::exit(0)),
    ];
    for (i, (what, try_it)) in (0..).zip(tries) {
        let busy = events.path().join(i.to_string()).to_str().unwrap().to_owned();
        fs::create_dir(&busy).unwrap();
        let task = pool.as_ref().unwrap().apply_async(wait_then_square, (busy.clone(), i));
        eventually("it works", || std::path::Path::new(&busy).join("notes").exists());
        in_a_copy(what, || try_it(pool.take().unwrap()));
        happen(&busy, "go");
        let result = task.get_timeout(Duration::from_secs(5 * slowness()));
        assert!(
            matches!(result, Ok(value) if value == i * i),
            "after {what}: {result:?}"
        );
        undisturbed(pool.as_ref().unwrap(), what);
        assert_eq!(workers(pool.as_ref().unwrap()), before, "after {what}");
    }

    // Handles of tasks.
    let task = pool
        .as_ref()
        .unwrap()
        .apply_async(wait_then_square, (events.place(), 7));
    let mut handles = Some((
        task,
        pool.as_ref()
            .unwrap()
            .map_async(wait_then_square, [(events.place(), 8)]),
    ));
    in_a_copy("dropping handles", || drop(handles.take()));
    let (task, map) = handles.unwrap();
    eventually("it works", || !events.notes().is_empty());
    let mut closed = Some(pool.unwrap().close());
    in_a_copy("joining a pool closed before", || {
        refused(closed.take().unwrap().join());
    });
    in_a_copy("dropping it", || drop(closed.take()));
    in_a_copy("terminating it", || closed.take().unwrap().terminate());
    events.happen("go");
    closed.unwrap().join().unwrap();
    assert_eq!((task.get().unwrap(), map.get().unwrap()), (49, vec![64]));
}

#[test]
fn f2_b54_a_copy_that_drops_or_ends_a_pool_disturbs_nobody() {
    let _careful = careful(60);
    testing::run_with(&mut program("forks::drops_in_a_copy"), Duration::from_secs(30)).success();
}

pub fn drops_a_child_in_a_copy() {
    common::init();
    let tries: [(&str, End<Child<u64>>); 7] = [
        ("dropping a child", drop),
        ("joining it", |child| refused(child.join())),
        ("joining it for no time", |child| {
            refused(child.join_timeout(Duration::ZERO))
        }),
        ("joining it for a minute", |child| {
            refused(child.join_timeout(Duration::from_secs(60)));
        }),
        ("terminating it", |child| refused(child.terminate())),
        ("killing it", |child| refused(child.kill())),
        ("asking it, then leaving by exit", |child| {
            let _ = (child.pid(), child.is_alive(), child.exitcode());
            process::exit(0);
        }),
    ];
    for daemon in [false, true] {
        for (what, try_it) in tries {
            let events = Events::new();
            let child = Process::new(wait_then_square, (events.place(), 7)).daemon(daemon);
            let mut child = Some(child.start().unwrap());
            eventually("it works", || !events.notes().is_empty());
            in_a_copy(what, || try_it(child.take().unwrap()));
            let child = child.unwrap();
            assert!(child.is_alive(), "after {what}");
            events.happen("go");
            let result = child.join_timeout(Duration::from_secs(5 * slowness()));
            assert!(matches!(result, Ok(49)), "after {what}: {result:?}");
            assert_eq!(child.exitcode(), Some(0), "after {what}");
        }
        // One that has ended, and that nobody has joined yet.
        let events = Events::new();
        events.happen("go");
        let child = Process::new(wait_then_square, (events.place(), 7)).daemon(daemon);
        let mut child = Some(child.start().unwrap());
        eventually("it has ended", || !child.as_ref().unwrap().is_alive());
        in_a_copy("joining one that has ended", || refused(child.take().unwrap().join()));
        assert_eq!(child.unwrap().join().unwrap(), 49);
    }
}

#[test]
fn f2_b54_a_copy_that_drops_or_ends_a_child_disturbs_nobody() {
    let _careful = careful(60);
    testing::run_with(&mut program("forks::drops_a_child_in_a_copy"), Duration::from_secs(30)).success();
}

pub fn begins_anew_in_a_copy() {
    common::init();
    let pool = Pool::new(2).unwrap();
    let child = Process::new(square, 3).start().unwrap();
    undisturbed(&pool, "nothing");
    let begin_anew = || {
        assert_eq!(common::current_process().pid(), process::id());
        let new = Pool::new(2).unwrap();
        undisturbed(&new, "it began");
        let mut results = new.imap_unordered(square, 0..3);
        assert!(results.by_ref().all(|result| result.is_ok()));
        new.close().join().unwrap();
        let p = Process::new(square, 5).start().unwrap();
        assert_eq!(p.join().unwrap(), 25);
        drop(Process::new(square, 6).start().unwrap());
        drop(Pool::new(1).unwrap());
    };
    for _ in 0..3 {
        in_a_copy("to begin anew", begin_anew);
    }
    in_a_copy("to make a copy that begins anew", || {
        in_a_copy("to begin anew", begin_anew)
    });
    assert_eq!(child.join().unwrap(), 9);
    undisturbed(&pool, "all this");
    pool.close().join().unwrap();
}

#[test]
fn b54_in_a_copy_a_new_pool_and_a_new_process_work() {
    let _careful = careful(60);
    testing::run_with(&mut program("forks::begins_anew_in_a_copy"), Duration::from_secs(30)).success();
}

/// Each time, results arrive just while the copy is made.
pub fn goes_on_with_an_imap_in_copies() {
    common::init();
    let pool = Pool::new(2).unwrap();
    let mut items = pool.imap_unordered(square, 0..);
    for _ in 0..300 {
        assert!(items.by_ref().take(20).all(|item| item.is_ok()));
        in_a_copy("next", || {
            let error = items.by_ref().take(2000).find_map(Result::err);
            refused::<()>(Err(error.expect("the input has no end")));
        });
    }
    undisturbed(&pool, "copies");
}

#[test]
fn f1_b54_an_imap_that_goes_on_in_a_copy_is_refused_and_does_not_hang() {
    let _careful = careful(90);
    let mut parent = program("forks::goes_on_with_an_imap_in_copies");
    testing::run_with(&mut parent, Duration::from_secs(60)).success();
}

// A target that forks, and does not leave in the copy.

/// Goes on in two processes, in the copy first. Returns the number of the one that it began in, and this one's.
fn go_on_in_a_copy(how: &str) -> (u32, u32) {
    let original = process::id();
    let (how, by) = how.split_once(' ').unwrap_or((how, "fork"));
    // SAFETY: what is tested is that the copy does no harm.
    match unsafe { if by == "fork" { fork() } else { clone_all() } }.unwrap() {
        ForkResult::Child => match how {
            "panics" => panic!("in the copy"),
            "exits" => process::exit(0),
            _ => {}
        },
        ForkResult::Parent { child } => {
            let end = end_of(child, 2 * slowness());
            assert!(end.is_some(), "the copy took its parent's place");
        }
    }
    (original, process::id())
}

/// As `fork`, without its handlers.
#[cfg(target_os = "linux")]
unsafe fn clone_all() -> nix::Result<ForkResult> {
    let (flags, none) = (libc::SIGCHLD as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: as the caller promises.
    let pid = nix::errno::Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) })?;
    Ok(match pid {
        0 => ForkResult::Child,
        pid => ForkResult::Parent {
            child: Pid::from_raw(pid as libc::pid_t),
        },
    })
}

#[cfg(not(target_os = "linux"))]
use fork as clone_all;

const WAYS: [&str; 5] = ["returns", "panics", "exits", "returns clone", "panics clone"];

fn note_and_fork((place, i, how): (String, usize, String)) -> (usize, u32, u32) {
    note(&place, i);
    let (original, me) = go_on_in_a_copy(&how);
    (i, original, me)
}

#[test]
fn f3_a_copy_that_leaves_its_task_takes_no_other_and_answers_none() {
    let _careful = careful(60);
    for how in WAYS {
        let events = Events::new();
        let place = events.place();
        in_time(move || {
            let pool = Pool::new(2).unwrap();
            let pids = workers(&pool);
            let item = |i| (place.clone(), i, how.to_owned());
            let right = |expected: usize, (i, original, me): (usize, u32, u32)| {
                assert_eq!((i, me), (expected, original), "the result of a copy that {how}");
                assert!(pids.contains(&me), "{how}");
            };
            let results = pool.map_with_chunksize(note_and_fork, (0..20).map(item), 10).unwrap();
            (0..).zip(results).for_each(|(i, result)| right(i, result));
            let tasks: Vec<_> = (20..30).map(|i| pool.apply_async(note_and_fork, item(i))).collect();
            (20..).zip(&tasks).for_each(|(i, task)| right(i, task.get().unwrap()));
            for (i, result) in (30..).zip(pool.imap(note_and_fork, (30..40).map(item))) {
                right(i, result.unwrap());
            }
            assert_eq!(workers(&pool), pids);
            pool.close().join().unwrap();
        });
        let begun: BTreeSet<_> = events.notes().into_iter().collect();
        assert_eq!((events.notes().len(), begun.len()), (40, 40), "each item once: {how}");
    }
}

static PREPARED: AtomicU32 = AtomicU32::new(0);

fn prepare_and_fork(how: String) {
    PREPARED.store(process::id(), SeqCst);
    go_on_in_a_copy(&how);
}

fn prepared_and_own(_: ()) -> (u32, u32) {
    (PREPARED.load(SeqCst), process::id())
}

#[test]
fn f3_a_copy_that_leaves_an_initializer_becomes_no_worker() {
    let _careful = careful(60);
    for how in WAYS {
        in_time(move || {
            let pool = Pool::builder()
                .processes(2)
                .initializer(prepare_and_fork, how.to_owned())
                .build()
                .unwrap();
            let pids = workers(&pool);
            for result in pool.map_with_chunksize(prepared_and_own, [(); 20], 1).unwrap() {
                assert!(result.0 == result.1 && pids.contains(&result.1), "{how}: {result:?}");
            }
            pool.close().join().unwrap();
        });
    }
}

#[test]
fn f3_a_copy_that_leaves_the_target_of_a_process_answers_nothing() {
    let _careful = careful(60);
    for how in WAYS {
        for daemon in [false, true] {
            in_time(move || {
                let p = Process::new(|how: String| go_on_in_a_copy(&how), how.to_owned());
                let p = p.daemon(daemon).start().unwrap();
                assert_eq!(p.join().unwrap(), (p.pid(), p.pid()), "{how}");
            });
        }
    }
}

// A child that no handler of `fork` knows of has every descriptor, for as long as it likes.

#[cfg(target_os = "linux")]
mod clones {
    use super::*;
    use crate::programs::note_and_wait;
    use std::ffi::CString;

    /// Makes a child without `fork`'s handlers. It lives until the event `go`, or as long as the place is
    /// there, and calls nothing that could need a lock.
    fn clone_one_that_stays(place: &str) {
        let [place, go, gone] = ["", "go", "gone"].map(|event| CString::new(format!("{place}/{event}")).unwrap());
        // SAFETY: as `fork` without its handlers; the child calls the system only, and leaves.
        unsafe {
            let none: libc::c_ulong = 0;
            if libc::syscall(
                libc::SYS_clone,
                libc::c_ulong::from(libc::SIGCHLD as u32),
                none,
                none,
                none,
                none,
            ) == 0
            {
                for _ in 0..60_000 {
                    if libc::access(go.as_ptr(), libc::F_OK) == 0 || libc::access(place.as_ptr(), libc::F_OK) != 0 {
                        break;
                    }
                    libc::usleep(1_000);
                }
                libc::close(libc::open(gone.as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o600));
                libc::_exit(0);
            }
        }
    }

    fn clone_and_end((place, how): (String, String)) {
        clone_one_that_stays(&place);
        match &how[..] {
            "abort" => process::abort(),
            "exit" => process::exit(3),
            _ => signal(process::id(), Signal::SIGKILL),
        }
    }

    fn clone_and_wait(place: String) -> u32 {
        clone_one_that_stays(&place);
        note_and_wait(place)
    }

    /// Lets the child end, and waits for that.
    fn let_go(events: &Events) {
        events.happen("go");
        events.wait_for("gone");
    }

    #[test]
    fn f4_b55_a_death_is_seen_within_a_second_whatever_the_task_has_cloned() {
        let _careful = careful(60);
        let second = Duration::from_secs(slowness());
        for how in ["kill", "abort", "exit"] {
            let is_right = |error: &Error| match how {
                "kill" => matches!(error, Error::Signaled { signal: 9, .. }),
                "abort" => matches!(error, Error::Signaled { signal: 6, .. }),
                _ => matches!(error, Error::Exited { code: 3, .. }),
            };
            let pool = Pool::new(2).unwrap();
            let events = Events::new();
            let task = pool.apply_async(clone_and_end, (events.place(), how.to_owned()));
            let error = task.get_timeout(second).unwrap_err();
            assert!(is_right(&error), "{how}: {error}");
            undisturbed(&pool, how);
            let_go(&events);

            let events = Events::new();
            let map = pool.map_async(clone_and_end, [(events.place(), how.to_owned())]);
            let error = map.get_timeout(second).unwrap_err();
            assert!(
                matches!(&error, Error::Item { source, .. } if is_right(source)),
                "{how}: {error}"
            );
            pool.close().join().unwrap();
            let_go(&events);

            for daemon in [false, true] {
                let events = Events::new();
                let p = Process::new(clone_and_end, (events.place(), how.to_owned())).daemon(daemon);
                let error = p.start().unwrap().join_timeout(second).unwrap_err();
                assert!(is_right(&error), "{how}: {error}");
                let_go(&events);
            }
        }
    }

    #[test]
    fn f4_b55_a_worker_that_is_killed_from_outside_is_missed_although_its_clone_lives() {
        let _careful = careful(60);
        let pool = Pool::new(1).unwrap();
        let events = Events::new();
        let task = pool.apply_async(clone_and_wait, events.place());
        eventually("it works", || events.notes().len() == 1);
        signal(events.notes()[0].parse().unwrap(), Signal::SIGKILL);
        let error = task.get_timeout(Duration::from_secs(slowness())).unwrap_err();
        assert!(matches!(error, Error::Signaled { signal: 9, .. }), "{error}");
        undisturbed(&pool, "its death");
        let_go(&events);
        pool.close().join().unwrap();
    }
}

// The parent ends while copies of it live.

/// Forks all the time while it starts its first pool or daemon; then notes whom it started, and waits to be killed. The
/// copies live until their standard input ends.
pub fn forks_while_it_starts() {
    common::init();
    let (place, what) = (argument(1), argument(2));
    let (started, forks) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let forking = scope.spawn(|| {
            while !started.load(SeqCst) && forks.load(SeqCst) < 50 {
                // SAFETY: the new process reads, and leaves.
                unsafe {
                    if let ForkResult::Child = fork().unwrap() {
                        libc::read(0, [0_u8].as_mut_ptr().cast(), 1);
                        libc::_exit(0);
                    }
                }
                forks.fetch_add(1, SeqCst);
            }
        });
        eventually("a copy was made", || forks.load(SeqCst) > 0);
        let pool = (what == "pool").then(|| Pool::new(2).unwrap());
        let daemon = Process::new(until_input_ends, ()).daemon(true);
        let daemon = (what == "daemon").then(|| daemon.start().unwrap());
        started.store(true, SeqCst);
        forking.join().unwrap();
        let mut pids = pool.as_ref().map(workers).unwrap_or_default();
        pids.extend(daemon.iter().map(Child::pid));
        pids.iter().for_each(|pid| note(&place, pid));
        happen(&place, "started");
        until_input_ends(());
    });
}

fn until_input_ends(_: ()) {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn f5_workers_and_daemons_do_not_outlive_a_killed_parent_whenever_it_was_copied() {
    let _careful = careful(60);
    for round in 0..30 {
        let events = Events::new();
        let mut parent = program("forks::forks_while_it_starts");
        let parent = parent.args([&events.place(), ["pool", "pool", "daemon"][round % 3]]);
        let mut parent = parent.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let copies_wait = parent.stdin.take();
        events.wait_for("started");
        parent.kill().unwrap();
        parent.wait().unwrap();
        let begin = Instant::now();
        let outlive = || events.notes().iter().any(|pid| lives(pid.parse().unwrap()));
        while outlive() && begin.elapsed() < Duration::from_secs(5 * slowness()) {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!outlive(), "round {round}: {:?} outlive their parent", events.notes());
        drop(copies_wait);
        // Until the last one that could write is gone.
        parent.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    }
}

/// std's `Command` forks if it is to change the user, and holds the environment's lock meanwhile.
pub fn starts_while_others_fork_and_set_variables() {
    common::init();
    let over = AtomicBool::new(false);
    let until_over = |work: &dyn Fn()| {
        while !over.load(SeqCst) {
            work();
        }
    };
    // SAFETY: a question.
    let me = unsafe { libc::getuid() };
    thread::scope(|scope| {
        scope.spawn(|| until_over(&|| assert!(process::Command::new("true").uid(me).status().unwrap().success())));
        // SAFETY: nothing here but Rust's standard library looks at the environment.
        scope.spawn(|| until_over(&|| unsafe { std::env::set_var("TEA", "none") }));
        for i in 0..300 {
            let p = Process::new(square, i).start().unwrap();
            assert_eq!(p.join().unwrap(), i * i);
        }
        over.store(true, SeqCst);
    });
}

#[test]
fn b47_a_start_a_fork_and_a_change_of_the_environment_do_not_wait_for_each_other() {
    let _careful = careful(120);
    let mut program = program("forks::starts_while_others_fork_and_set_variables");
    testing::run_with(&mut program, Duration::from_secs(60)).success();
}

pub fn has_a_stopped_worker() {
    common::init();
    let pool = Pool::new(2).unwrap();
    let pids = workers(&pool);
    signal(*pids.first().unwrap(), Signal::SIGSTOP);
    pids.iter().for_each(|pid| note(&argument(1), pid));
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn f5_a_stopped_worker_of_a_killed_parent_ends_when_it_goes_on_at_the_latest() {
    let _careful = careful(60);
    let events = Events::new();
    let mut parent = program("forks::has_a_stopped_worker")
        .arg(events.place())
        .spawn()
        .unwrap();
    eventually("both are noted", || events.notes().len() == 2);
    parent.kill().unwrap();
    parent.wait().unwrap();
    for pid in events.notes() {
        let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGCONT); // it may be gone already
        eventually("it is gone", || !lives(pid.parse().unwrap()));
    }
}
