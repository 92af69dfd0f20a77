//! Storms: twenty times a second a signal hits one of a pool's workers while tasks run, and something else goes wrong beside.
//!
//! Each is a program of its own, whose limits, signal handlers and forks are nobody else's. It ends well if every value was right,
//! at most one task failed per death, each error named a death, and neither a process nor a thread nor a descriptor was left.

use super::programs::{Events, argument, careful, eventually, interrupt_system_calls, limited, lives, note};
use super::square;
use common::{Error, Pool};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// Workers are killed by SIGKILL; by SIGTERM; stopped for a while; killed, and one start of five fails; killed while system calls
/// are interrupted; killed where 24 descriptors are all there is; killed while they and the program fork.
const STORMS: [&str; 7] = ["kill", "term", "stop", "initializer", "eintr", "descriptors", "forks"];

/// How many ways there are to do a round of tasks.
const WAYS: u64 = 3;

fn work(i: u64) -> u64 {
    // Long enough that a storm of some seconds meets 10,000 of them.
    let end = Instant::now() + Duration::from_micros(i % 5 * 150);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    i * i
}

fn work_and_fork(i: u64) -> u64 {
    if i % 50 == 0 {
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
        fork_one_that_stays_a_while();
    }
    work(i)
}

fn fork_one_that_stays_a_while() -> Pid {
    // SAFETY: the new process sleeps, and leaves without running anything of its parent's.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            thread::sleep(Duration::from_millis(200));
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(0) }
        }
    }
}

/// The initializer: workers write down their numbers, so that they can be hit at any moment, also before they are ready.
fn announce((place, storm): (String, String)) {
    note(&place, process::id());
    match &storm[..] {
        "initializer" if pids(&place).len() % 5 == 0 => {
            note(&place, "panicked");
            panic!("one start of five");
        }
        "eintr" => interrupt_system_calls(Duration::from_millis(1)),
        _ => {}
    }
}

/// SIGALRM for each thread of this process. (A timer's signals would all go to the first one.)
fn interrupt_all_threads() {
    for thread in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let thread: libc::pid_t = thread.file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: sends a signal whose handler does nothing; a thread that has ended is an error.
        unsafe { libc::syscall(libc::SYS_tgkill, process::id(), thread, libc::SIGALRM) };
    }
}

/// The numbers of all workers so far.
fn pids(place: &str) -> Vec<u32> {
    let notes = fs::read_to_string(format!("{place}/notes")).unwrap_or_default();
    notes.lines().filter_map(|line| line.parse().ok()).collect()
}

fn is_child(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
    parent.is_some_and(|parent| parent == process::id().to_string())
}

/// Hits workers at random while `tasks` runs. Counts the hits.
fn rage(storm: &str, place: &str, hits: &AtomicU64, tasks: impl FnOnce() + Send) {
    let signal = match storm {
        "term" => Signal::SIGTERM,
        "stop" => Signal::SIGSTOP,
        _ => Signal::SIGKILL,
    };
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: u64| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance >> 20) % below
    };
    let (mut seen, mut alive) = (0, Vec::new());
    let mut stopped: Vec<(Instant, Pid)> = Vec::new();
    let mut forked = Vec::new();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let tasks = scope.spawn(tasks);
        if storm == "eintr" {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    interrupt_all_threads();
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        while !tasks.is_finished() {
            // Those that are alive; a number that meanwhile went to a stranger has another parent.
            let started = pids(place);
            alive.extend(&started[seen..]);
            seen = started.len();
            alive.retain(|&pid| lives(pid) && is_child(pid));
            if !alive.is_empty() {
                let victim = Pid::from_raw(alive[random(alive.len() as u64) as usize] as i32);
                if kill(victim, signal).is_ok() {
                    hits.fetch_add(1, SeqCst);
                }
                if storm == "stop" {
                    let pause = if random(20) == 0 { 1_000 } else { random(100) };
                    stopped.push((Instant::now() + Duration::from_millis(pause), victim));
                }
            }
            if storm == "forks" {
                forked.push(fork_one_that_stays_a_while());
                forked.retain(|&child| waitpid(child, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive));
            }
            thread::sleep(Duration::from_millis(50));
            // It goes on when its last pause is over.
            let now = Instant::now();
            let (due, later) = stopped.into_iter().partition::<Vec<_>, _>(|&(end, _)| end <= now);
            stopped = later;
            for (_, pid) in due {
                if !stopped.iter().any(|&(_, other)| other == pid) {
                    kill(pid, Signal::SIGCONT).unwrap();
                }
            }
        }
        over.store(true, SeqCst);
        for (_, pid) in stopped {
            kill(pid, Signal::SIGCONT).unwrap();
        }
        for child in forked {
            waitpid(child, None).unwrap();
        }
        tasks.join().unwrap();
    })
}

/// A round of tasks, in one of the ways. Returns the number of errors.
fn do_tasks(pool: &Pool, work: fn(u64) -> u64, way: u64, count: u64, names_a_death: impl Fn(&Error) -> bool) -> u64 {
    let check = |i: u64, result: Result<u64, Error>| match result {
        Ok(value) => {
            assert_eq!(value, i * i);
            0
        }
        Err(error) => {
            assert!(names_a_death(&error), "{i}: {error}");
            1
        }
    };
    match way {
        0 => {
            let tasks: Vec<_> = (0..count).map(|i| pool.apply_async(work, i)).collect();
            (0..count).zip(&tasks).map(|(i, task)| check(i, task.get())).sum()
        }
        1 => {
            let mut errors = 0;
            let mut results = 0;
            for (i, result) in (0..count).zip(pool.imap(work, 0..count)) {
                errors += check(i, result);
                results += 1;
            }
            assert_eq!(results, count);
            errors
        }
        _ => {
            // Small maps: each tells of one error at most.
            let mut errors = 0;
            for from in (0..count).step_by(100) {
                match pool.map(work, from..from + 100) {
                    Ok(values) => assert!(values.into_iter().eq((from..from + 100).map(|i| i * i))),
                    Err(Error::Item { source, .. }) => {
                        assert!(names_a_death(&source), "{source}");
                        errors += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            errors
        }
    }
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// The program.
pub fn storm() {
    common::init();
    let (storm, place) = (argument(1), argument(2));
    let [workers, count, seconds] = [3, 4, 5].map(|n| argument(n).parse::<u64>().unwrap());
    let start = Instant::now();
    let descriptors = entries("/proc/self/fd");
    if storm == "eintr" {
        interrupt_system_calls(Duration::ZERO); // by `interrupt_all_threads`
    }
    let pool = Pool::builder()
        .processes(workers as usize)
        .initializer(announce, (place.clone(), storm.clone()))
        .build()
        .unwrap();
    let (work, death): (fn(u64) -> u64, _) = match &storm[..] {
        "term" => (work, Some(Signal::SIGTERM as i32)),
        "stop" => (work, None),
        "forks" => (work_and_fork, Some(Signal::SIGKILL as i32)),
        _ => (work, Some(Signal::SIGKILL as i32)),
    };
    let names_a_death = |error: &Error| matches!(error, Error::Signaled { signal, .. } if Some(*signal) == death);
    let panics = || {
        let notes = fs::read_to_string(format!("{place}/notes")).unwrap_or_default();
        notes.lines().filter(|&line| line == "panicked").count()
    };
    let hits = AtomicU64::new(0);
    let (mut rounds, mut errors) = (0, 0);
    rage(&storm, &place, &hits, || {
        while rounds < WAYS
            || start.elapsed() < Duration::from_secs(seconds)
            || hits.load(SeqCst) < 10
            || (storm == "initializer" && panics() == 0)
        {
            errors += do_tasks(&pool, work, rounds % WAYS, count, names_a_death);
            rounds += 1;
        }
    });
    let hits = hits.into_inner();
    let figures = format!(
        "{storm}: {workers} workers, {} s, {hits} signals, {} starts, {} panics, {} tasks, {errors} errors",
        start.elapsed().as_secs(),
        pids(&place).len(),
        panics(),
        rounds * count
    );
    assert!(errors <= if death.is_some() { hits } else { 0 }, "{figures}");
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    pool.close().join().unwrap();
    let child = waitpid(None, Some(WaitPidFlag::WNOHANG));
    assert!(child.is_err(), "{figures}: a child is left: {child:?}");
    assert_eq!(entries("/proc/self/fd"), descriptors, "{figures}");
    eventually("its threads are gone", || entries("/proc/self/task") == 1);
    println!("{figures}");
}

/// Runs a storm for `seconds`, at least for a round of each way, and shows its figures.
fn run(storm: &str, workers: u64, count: u64, seconds: u64) {
    let place = Events::new();
    let limits = match storm {
        "descriptors" => "ulimit -n 24",
        _ => "true",
    };
    let mut command = limited(limits, "storms::storm");
    command.args([storm, &place.place()]);
    command.args([workers, count, seconds].map(|number| number.to_string()));
    command.env("TMPDIR", place.path());
    // This waits also for what was forked: until nobody has the program's output open.
    let run = testing::run_with(&mut command, Duration::from_secs(seconds + 120));
    eprint!("{}", run.success().stdout);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "only the notes");
}

#[test]
fn b42_in_a_storm_of_kills_every_task_gives_its_result_or_names_a_death() {
    let _careful = careful(300);
    for workers in [2, 4] {
        run("kill", workers, 10_000, 0);
    }
}

#[test]
fn b42_and_so_in_a_storm_of_another_kind() {
    let _careful = careful(300);
    for storm in &STORMS[1..] {
        run(storm, 3, 300, 0);
    }
}

#[test]
#[ignore = "ten minutes, or STORM_SECONDS, for all storms or those of STORM"]
fn b42_long_storm() {
    let seconds: u64 = env::var("STORM_SECONDS").map_or(600, |seconds| seconds.parse().unwrap());
    let chosen = env::var("STORM").unwrap_or_else(|_| STORMS.join(","));
    let storms: Vec<&str> = chosen.split(',').collect();
    assert!(
        storms.iter().all(|storm| STORMS.contains(storm)),
        "STORM is some of {STORMS:?}"
    );
    let _careful = careful(seconds + 180 * storms.len() as u64);
    for storm in &storms {
        run(storm, 3, 10_000, seconds / storms.len() as u64);
    }
}
