//! Where others hang or lose: workers that die, parents that die, and machines on which nothing is left to be had.
//!
//! No behaviour here depends on how fast a machine is: what is waited for is an event, and a limit of time stands only where
//! the behaviour is one ("within a second").

#[macro_use]
mod programs;
#[cfg(target_os = "linux")] // where it can be asked whose child a process is
mod storms;

use common::{Error, Pool, Process};
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
#[cfg(target_os = "linux")]
use programs::limited_for_another_user;
use programs::{Events, argument, careful, note, note_and_wait, program, slowness, workers};
#[cfg(unix)]
use programs::{await_event, eventually, limited};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
#[cfg(unix)]
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

programs! {
    forks_beside_a_pool, busy_pool, ignores_interrupts, dies_before_init, few_descriptors, few_processes, little_memory, sends_channels,
    no_streams, #[cfg(target_os = "linux")] storms::storm,
}

fn square(x: u64) -> u64 {
    x * x
}

#[cfg(unix)] // as the tests that use it
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// Ends its own process.
fn end(how: &str) -> ! {
    match how {
        "abort" => process::abort(),
        "exit" => process::exit(3),
        #[cfg(unix)]
        "kill" => programs::signal(process::id(), nix::sys::signal::Signal::SIGKILL),
        _ => {}
    }
    unreachable!("this process has ended")
}

fn note_then_end_if_13((place, i, how): (String, u32, String)) -> u32 {
    note(&place, i);
    if i == 13 {
        end(&how);
    }
    i
}

/// The value has this length; 13 ends the process.
fn note_then_fill((place, i, length): (String, u32, usize)) -> Vec<u8> {
    note(&place, i);
    if length == 13 {
        end("exit");
    }
    vec![7; length]
}

/// A way to die, and how one knows it by the error.
type Way = (&'static str, fn(&Error) -> bool);

/// The ways in which a worker can end itself, each with what is to be said of it.
fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> = vec![("exit", |error| matches!(error, Error::Exited { code: 3, .. }))];
    if cfg!(unix) {
        ways.push(("kill", |error| matches!(error, Error::Signaled { signal: 9, .. })));
        ways.push(("abort", |error| matches!(error, Error::Signaled { signal: 6, .. })));
    } else {
        ways.push(("abort", |error| matches!(error, Error::Exited { .. })));
    }
    ways
}

#[test]
fn b40_one_that_kills_its_worker_fails_within_a_second_and_no_other_task_does() {
    let _careful = careful(60);
    for (how, is_right) in ways() {
        let events = Events::new();
        let pool = Pool::new(2).unwrap();
        let start = |i: u32| pool.apply_async(note_then_end_if_13, (events.place(), i, how.to_string()));
        let tasks: Vec<_> = (0..100).map(start).collect();
        for (i, task) in tasks.iter().enumerate() {
            match task.get() {
                Ok(value) => assert!(value as usize == i && i != 13),
                Err(error) => assert!(i == 13 && is_right(&error), "{how}: {i}: {error}"),
            }
        }
        // Each was begun once, even if it lay in the dead worker's pipe.
        assert_eq!(events.notes().len(), 100, "{how}");

        let began = Instant::now();
        let error = start(13).get().unwrap_err();
        let took = began.elapsed();
        assert!(
            is_right(&error) && took < Duration::from_secs(slowness()),
            "{how}: {error} after {took:?}"
        );
        assert_eq!(workers(&pool).len(), 2, "the dead ones are replaced");
        pool.close().join().unwrap();
    }
}

#[test]
fn b40_the_error_of_a_map_names_the_item_and_the_rest_of_its_chunk_is_done() {
    let _careful = careful(60);
    for (how, is_right) in ways() {
        for chunksize in [1, 10, 50] {
            let events = Events::new();
            let pool = Pool::new(2).unwrap();
            let items = (0..50).map(|i| (events.place(), i, how.to_string()));
            let error = pool
                .map_with_chunksize(note_then_end_if_13, items, chunksize)
                .unwrap_err();
            let Error::Item { index: 13, source, .. } = &error else {
                panic!("{how}: {error}")
            };
            assert!(is_right(source), "{how}: {error}");
            let mut expected: Vec<String> = (0..50).map(|i: u32| i.to_string()).collect();
            expected.sort();
            assert_eq!(events.notes(), expected, "{how}, chunks of {chunksize}: each item once");
            pool.close().join().unwrap();
        }
    }
}

#[test]
fn b40_values_of_any_length_outlive_their_worker() {
    let _careful = careful(60);
    let lengths = [0, 1, 300, 9_000, 5, 0, 100_000, 2, 300_000, 4];
    let pool = Pool::new(1).unwrap();
    for death in 1..lengths.len() {
        let events = Events::new();
        let mut items: Vec<_> = (0..)
            .zip(lengths)
            .map(|(i, length)| (events.place(), i, length))
            .collect();
        items[death].2 = 13;
        let count = items.len();
        let error = pool.map_with_chunksize(note_then_fill, items, count).unwrap_err();
        assert!(matches!(error, Error::Item { index, .. } if index == death), "{error}");
        let mut notes: Vec<usize> = events.notes().iter().map(|note| note.parse().unwrap()).collect();
        notes.sort();
        assert_eq!(notes, Vec::from_iter(0..count), "each item once");
    }
    pool.close().join().unwrap();
}

#[test]
fn b40_every_task_may_kill_its_worker() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    let results: Vec<Result<(), _>> = pool.imap(leave, (0..200).map(|i| i % 100)).collect();
    for (i, result) in results.iter().enumerate() {
        assert!(
            matches!(result, Err(Error::Exited { code, .. }) if *code as usize == i % 100),
            "{i}: {result:?}"
        );
    }
    assert_eq!(results.len(), 200);
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    pool.close().join().unwrap();
}

#[cfg(unix)] // Windows has no signals: another process cannot be killed with what the standard library offers
mod signals {
    use super::*;
    use nix::sys::signal::Signal::{SIGCONT, SIGINT, SIGKILL, SIGSTOP};
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    use programs::{lives, signal};

    #[test]
    fn b41_an_idle_worker_that_is_killed_costs_no_task() {
        let _careful = careful(60);
        let pool = Pool::new(2).unwrap();
        for round in 0..40 {
            let pids = workers(&pool);
            let victims = 1 + round % 2;
            for &pid in pids.iter().take(victims) {
                signal(pid, SIGKILL);
            }
            if round % 4 < 2 {
                // Else the tasks come while its death is not known yet.
                eventually("it is dead", || pids.iter().take(victims).all(|&pid| !lives(pid)));
            }
            let tasks: Vec<_> = (0..20).map(|i| pool.apply_async(square, i)).collect();
            for (i, task) in tasks.iter().enumerate() {
                match task.get() {
                    Ok(value) => assert_eq!(value, (i * i) as u64),
                    Err(error) => panic!("round {round}, {victims} killed, task {i}: {error}"),
                }
            }
            assert_eq!(pool.map(square, 0..20).unwrap().len(), 20);
        }
        pool.close().join().unwrap();
    }

    fn length_of_text(text: String) -> usize {
        text.len()
    }

    #[test]
    fn b41_a_worker_that_is_killed_while_a_large_task_is_on_its_way_costs_no_other_task() {
        let _careful = careful(60);
        let pool = Pool::new(1).unwrap();
        let text = "x".repeat(32 << 20);
        let mut done = 0;
        for pause in 0..16 {
            let pid = pool.apply(|()| process::id(), ()).unwrap();
            let task = pool.apply_async(length_of_text, text.clone());
            // No event tells how far it is: so it is tried at many places.
            thread::sleep(Duration::from_millis(pause));
            signal(pid, SIGKILL);
            match task.get() {
                Ok(length) => {
                    assert_eq!(length, text.len());
                    done += 1;
                }
                Err(error) => assert!(matches!(error, Error::Signaled { signal: 9, .. }), "{error}"),
            }
        }
        assert!(done > 0, "half of a task was taken for a task that is being done");
        pool.close().join().unwrap();
    }

    /// Starts a program in a process group of its own, as a terminal's foreground job is one.
    fn job(name: &str, place: &str) -> process::Child {
        let mut command = program(name);
        command
            .arg(place)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().unwrap()
    }

    fn interrupt(job: &process::Child) {
        killpg(Pid::from_raw(job.id() as i32), SIGINT).unwrap();
    }

    /// Everything that the job and its workers print, until the last of them has ended.
    fn output(job: &mut process::Child) -> (String, String) {
        let [mut out, mut err] = [String::new(), String::new()];
        job.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        job.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (out, err)
    }

    #[test]
    fn b43_ctrl_c_does_not_end_workers_before_their_parent_decides() {
        let _careful = careful(60);
        let events = Events::new();
        let mut job = job("ignores_interrupts", &events.place());
        eventually("both workers work", || events.notes().len() == 2);
        for _ in 0..10 {
            interrupt(&job);
        }
        events.happen("go");
        let printed = output(&mut job);
        assert_eq!((&printed.0[..], &printed.1[..]), ("the same two\n", ""));
        assert!(job.wait().unwrap().success());
    }

    #[test]
    fn b43_a_parent_that_ctrl_c_ends_takes_its_workers_along_in_silence() {
        let _careful = careful(60);
        let events = Events::new();
        let mut job = job("busy_pool", &events.place());
        eventually("both workers work", || events.notes().len() == 2);
        interrupt(&job);
        let start = Instant::now();
        assert_eq!(output(&mut job), (String::new(), String::new()));
        assert!(
            start.elapsed() < Duration::from_secs(slowness()),
            "{:?}",
            start.elapsed()
        );
        let status = job.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(Signal::SIGINT as i32)
        );
    }

    #[test]
    fn b44_if_the_parent_is_killed_every_worker_is_gone_within_a_second() {
        let _careful = careful(60);
        let events = Events::new();
        let mut job = job("busy_pool", &events.place());
        eventually("both workers work", || events.notes().len() == 2);
        let pids: Vec<u32> = events.notes().iter().map(|pid| pid.parse().unwrap()).collect();
        job.kill().unwrap();
        let start = Instant::now();
        job.wait().unwrap();
        eventually("all workers are gone", || !pids.iter().any(|&pid| lives(pid)));
        assert!(
            start.elapsed() < Duration::from_secs(slowness()),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(output(&mut job), (String::new(), String::new()));
    }

    #[test]
    fn b48_a_stopped_worker_delays_only_its_own_tasks() {
        let _careful = careful(60);
        let events = Events::new();
        let pool = Pool::new(2).unwrap();
        let own = pool.apply_async(note_and_wait, events.place());
        eventually("it works", || events.notes().len() == 1);
        let pid = events.notes()[0].parse().unwrap();
        signal(pid, SIGSTOP);
        events.happen("go");
        for _ in 0..10 {
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            assert_eq!(pool.apply(square, 3).unwrap(), 9);
        }
        assert!(!own.ready());
        signal(pid, SIGCONT);
        assert_eq!(own.get().unwrap(), pid);
        pool.close().join().unwrap();
    }

    #[test]
    fn b48_stopped_while_idle_it_delays_one_task_at_most() {
        let _careful = careful(60);
        let pool = Pool::new(2).unwrap();
        for pid in workers(&pool) {
            signal(pid, SIGSTOP);
            let tasks: Vec<_> = (0..200).map(|i| pool.apply_async(square, i)).collect();
            let ready = || tasks.iter().filter(|task| task.ready()).count();
            eventually("the other one has done all but one", || ready() >= 199);
            signal(pid, SIGCONT);
            assert!(tasks.iter().all(|task| task.get().is_ok()));
        }
        pool.close().join().unwrap();
    }

    #[test]
    fn b48_amid_many_tasks_a_stopped_worker_keeps_one_and_the_others_are_taken_back() {
        let _careful = careful(60);
        let pool = Pool::new(2).unwrap();
        for round in 0..10 {
            let pid = *workers(&pool).iter().nth(round % 2).unwrap();
            let tasks: Vec<_> = (0..3_000).map(|i| pool.apply_async(square, i)).collect();
            let map = pool.map_async(square, 0..3_000);
            tasks[20 * round].get().unwrap();
            signal(pid, SIGSTOP);
            let missing = || tasks.iter().filter(|task| !task.ready()).count() + usize::from(!map.ready());
            eventually("the other one has done all but one", || missing() <= 1);
            signal(pid, SIGCONT);
            assert!(tasks.iter().all(|task| task.get().is_ok()));
            assert_eq!(map.get().unwrap().len(), 3_000);
        }
        pool.close().join().unwrap();
    }

    #[test]
    fn b48_what_a_worker_stopped_while_idle_leaves_in_its_pipe_holds_up_nobody() {
        let _careful = careful(60);
        let pool = Pool::new(2).unwrap();
        let pids = workers(&pool);
        for round in 0..20 {
            let pid = *pids.iter().nth(round % 2).unwrap();
            signal(pid, SIGSTOP);
            // A chunk is sent, taken back, a part of it sent again, and so on, until one item stays.
            let size = 3_700 + 20 * round;
            let map = pool.map_async(length, (0..64).map(|i| vec![i; size]));
            for i in 0..100 {
                assert_eq!(pool.apply(square, i).unwrap(), i * i);
            }
            signal(pid, SIGCONT);
            assert_eq!(map.get().unwrap(), [size; 64]);
        }
        assert_eq!(workers(&pool), pids);
        pool.close().join().unwrap();
    }

    #[test]
    fn b48_a_pool_with_stopped_workers_can_be_terminated() {
        let _careful = careful(30);
        let pool = Pool::new(2).unwrap();
        for pid in workers(&pool) {
            signal(pid, SIGSTOP);
        }
        let task = pool.apply_async(square, 3);
        pool.terminate();
        assert!(matches!(task.get(), Err(Error::Terminated)));
    }
}

/// What `fork` copies: every descriptor, also those by which a process's end is noticed.
#[cfg(unix)]
mod forks {
    use super::*;
    use nix::unistd::{ForkResult, Pid, fork};

    /// The new process stays until the event `go`.
    pub fn fork_one_that_stays(place: &str) -> Pid {
        // SAFETY: the new process looks at files, and leaves without running anything of its parent's.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                await_event(place, "go");
                note(place, "gone");
                // SAFETY: ends the process at once.
                unsafe { nix::libc::_exit(0) }
            }
        }
    }

    fn fork_then_end((place, how): (String, String)) {
        fork_one_that_stays(&place);
        end(&how);
    }

    #[test]
    fn a_death_is_seen_although_what_the_task_had_forked_lives_on() {
        let _careful = careful(60);
        for (how, is_right) in ways() {
            let events = Events::new();
            let pool = Pool::new(2).unwrap();
            let task = pool.apply_async(fork_then_end, (events.place(), how.to_string()));
            let process = Process::new(fork_then_end, (events.place(), how.to_string()))
                .start()
                .unwrap();
            for error in [task.get().unwrap_err(), process.join().unwrap_err()] {
                assert!(is_right(&error), "{how}: {error}");
            }
            assert_eq!(events.notes(), [""; 0], "{how}: what was forked is still there");
            events.happen("go");
            eventually("both are gone", || events.notes() == ["gone", "gone"]);
            pool.close().join().unwrap();
        }
    }

    #[test]
    fn a_pool_ends_although_what_the_program_had_forked_lives_on() {
        let _careful = careful(60);
        let events = Events::new();
        let run = testing::run_with(program("forks_beside_a_pool").arg(events.place()), testing::LIMIT);
        assert_eq!(run.success().lines(), ["the pool has ended"]);
        assert_eq!(events.notes(), ["gone"; FORKS]);
    }

    #[test]
    fn b44_workers_of_a_killed_parent_are_gone_although_what_it_had_forked_lives_on() {
        let _careful = careful(60);
        let events = Events::new();
        let mut command = program("busy_pool");
        let mut parent = command.arg(events.place()).env("COURSE_FORK", "yes").spawn().unwrap();
        eventually("both workers work, and the fork was made", || events.notes().len() == 3);
        parent.kill().unwrap();
        parent.wait().unwrap();
        let workers = |note: &String| note.parse().is_ok_and(programs::lives);
        eventually("all workers are gone", || !events.notes().iter().any(workers));
        assert!(!events.notes().contains(&"gone".to_owned()));
        events.happen("go");
        eventually("what was forked is gone", || {
            events.notes().contains(&"gone".to_owned())
        });
    }
}

fn forks_beside_a_pool() {
    common::init();
    let place = argument(1);
    let pool = Pool::builder().processes(2).maxtasksperchild(3).build().unwrap();
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    #[cfg_attr(windows, expect(unused_mut))]
    let mut children = Vec::new();
    for _ in 0..FORKS {
        // Workers are being replaced meanwhile.
        assert_eq!(pool.map(square, 0..20).unwrap().len(), 20);
        #[cfg(unix)]
        children.push(forks::fork_one_that_stays(&place));
        assert!(matches!(pool.apply(leave, 1), Err(Error::Exited { code: 1, .. })));
    }
    pool.close().join().unwrap();
    // One that ends before it looks at its orders, and one that ends behind them.
    assert!(Process::new(leave, 3).start().unwrap().join().is_err());
    println!("the pool has ended");
    programs::happen(&place, "go");
    for child in children {
        #[cfg(unix)]
        nix::sys::wait::waitpid(child, None).unwrap();
        #[cfg(windows)]
        let () = child;
    }
}

const FORKS: usize = 20;

fn wait_or_pid((place, _): (String, u32)) -> u32 {
    note_and_wait(place)
}

fn busy_pool() {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigHandler, Signal, signal};
        // A shell starts what runs in the background with SIGINT ignored, and so may this test have been started.
        // SAFETY: the default action is no code of ours.
        unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.unwrap();
    }
    common::init();
    let place = argument(1);
    let pool = Pool::new(2).unwrap();
    #[cfg(unix)]
    if env::var_os("COURSE_FORK").is_some() {
        note(&place, "forked");
        forks::fork_one_that_stays(&place);
    }
    let _ = pool.map_with_chunksize(wait_or_pid, [(place.clone(), 0), (place, 1)], 1);
}

fn ignores_interrupts() {
    common::init();
    #[cfg(unix)]
    {
        use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
        extern "C" fn nothing(_: std::ffi::c_int) {}
        let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: a handler that does nothing does nothing unsafe.
        unsafe { sigaction(Signal::SIGINT, &action) }.unwrap();
    }
    let place = argument(1);
    let pool = Pool::new(2).unwrap();
    let pids = pool
        .map_with_chunksize(wait_or_pid, [(place.clone(), 0), (place, 1)], 1)
        .unwrap();
    let pids: BTreeSet<u32> = pids.into_iter().collect();
    if workers(&pool) == pids {
        println!("the same two");
    }
    pool.close().join().unwrap();
}

fn leave(code: i32) {
    process::exit(code);
}

fn few_descriptors() {
    common::init();
    let pool = Pool::new(4).unwrap();
    let tasks: Vec<_> = (0..10_000).map(|i| pool.apply_async(square, i)).collect();
    for (i, task) in (0..10_000).zip(&tasks) {
        assert_eq!(task.get().unwrap(), i * i);
    }
    // Deaths take no descriptors either.
    for _ in 0..100 {
        assert!(matches!(pool.apply(leave, 1), Err(Error::Exited { code: 1, .. })));
    }
    // Nor do processes, one after the other.
    for i in 0..100 {
        assert_eq!(Process::new(square, i).start().unwrap().join().unwrap(), i * i);
    }
    pool.close().join().unwrap();
    // Used up: errors, and nothing that stays.
    let mut children = Vec::new();
    let error = loop {
        match Process::new(read_all, ())
            .stdin(os_pipe::pipe().map_or_else(|_| null(), |pipe| pipe.0.into()))
            .start()
        {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Start { .. }) && children.len() > 5, "{error}");
    drop(children);
    assert_eq!(Process::new(square, 3).start().unwrap().join().unwrap(), 9);
    println!("done");
}

#[cfg(unix)]
type Stream = std::os::fd::OwnedFd;
#[cfg(windows)]
type Stream = std::os::windows::io::OwnedHandle;

fn null() -> Stream {
    fs::File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).map_or_else(|_| process::exit(9), Into::into)
}

fn read_all(_: ()) {
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

#[cfg(unix)] // `ulimit`
#[test]
fn b45_ten_thousand_tasks_need_no_more_than_64_descriptors() {
    let _careful = careful(60);
    let run = testing::run_with(
        &mut limited("ulimit -n 64", "few_descriptors"),
        testing::LIMIT * slowness() as u32,
    );
    assert_eq!(run.success().lines(), ["done"]);
}

fn receive(receiver: IpcReceiver<u32>) -> u32 {
    receiver.recv().unwrap()
}

/// A program whose children end before they come to `init`, in a way that the test names.
fn dies_before_init() {
    let (place, how) = (argument(1), argument(2));
    note(&place, "main");
    if std::path::Path::new(&place).join("parent").exists() {
        end(&how);
    }
    common::init();
    programs::happen(&place, "parent");
    let (sender, receiver) = ipc::channel().unwrap();
    let errors = [
        Process::new(square, 3).start().and_then(|p| p.join()).unwrap_err(),
        Process::new(receive, receiver)
            .start()
            .and_then(|p| p.join().map(u64::from))
            .unwrap_err(),
        Pool::new(2).and_then(|pool| pool.apply(square, 3)).unwrap_err(),
    ];
    drop(sender);
    errors.iter().for_each(|error| println!("{error}"));
}

#[test]
fn b46_a_child_that_dies_before_init_is_an_error_and_no_hang() {
    let _careful = careful(60);
    for (how, sentence) in [
        ("exit", "exited with code 3 before it reached common::init()"),
        ("kill", "signal 9"),
    ] {
        if cfg!(windows) && how == "kill" {
            continue;
        }
        let events = Events::new();
        let mut command = program("dies_before_init");
        let run = testing::run_with(command.args([&events.place(), how]), Duration::from_secs(20));
        let lines = run.success().lines();
        assert!(
            lines.len() == 3 && lines.iter().all(|line| line.contains(sentence)),
            "{lines:?}"
        );
        let starts = events.notes().len();
        assert!(starts <= 15, "{starts} starts");
    }
}

#[test]
fn b47_a_thousand_starts_while_other_threads_hold_locks_and_allocate() {
    // Windows, and Wine even more, take their time to start a process.
    let _careful = careful(if cfg!(windows) { 600 } else { 120 });
    let over = AtomicBool::new(false);
    let until_over = |work: &dyn Fn()| {
        while !over.load(SeqCst) {
            work();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| until_over(&|| drop((0..50).map(|i| vec![1_u8; 1 << (i % 16)]).collect::<Vec<_>>())));
        scope.spawn(|| until_over(&|| drop(vec![0_u8; 4 << 20])));
        scope.spawn(|| {
            until_over(&|| {
                let _locks = (io::stdout().lock(), io::stderr().lock());
                thread::yield_now();
            });
        });
        scope.spawn(|| until_over(&|| drop(env::var_os("PATH"))));
        // Both ways at once: 600 processes, and 400 workers.
        let pools = scope.spawn(|| {
            for _ in 0..200 {
                assert_eq!(Pool::new(2).unwrap().apply(square, 7).unwrap(), 49);
            }
        });
        for i in 0..600 {
            assert_eq!(Process::new(square, i).start().unwrap().join().unwrap(), i * i);
        }
        let pools = pools.join();
        over.store(true, SeqCst);
        pools.unwrap();
    });
}

// A task that writes where it has no business to: into every pipe that it finds open, except for the standard streams.

#[cfg(target_os = "linux")] // /proc/self/fd
mod garbage {
    use super::*;
    use nix::fcntl::{FcntlArg, FdFlag};
    use std::os::fd::BorrowedFd;

    /// A task that does nothing.
    const HARMLESS: u32 = 9;

    fn write_everywhere(kind: u32) -> u32 {
        let garbage: Vec<u8> = match kind {
            0 => b"this is no message, but a text that somebody prints where he should not\n".to_vec(),
            1 => (0..100_000).map(|i| (i * 31 % 251) as u8).collect(),
            2 => vec![0xff; 25], // a header whose length is absurd
            3 => [4, 3, 2, 1, 4].iter().copied().chain([0xff; 40]).collect(),
            4 => vec![0; 7], // half of a header, which only the next message makes whole
            _ => return kind,
        };
        for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
            let number: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
            let pipe = fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("pipe:"));
            if number > 2 && pipe {
                // SAFETY: only looked at during the call; what is not open for writing is an error.
                let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
                // What would be inherited by others came here that way: such as the pipe by which `make` counts its jobs.
                if !nix::fcntl::fcntl(descriptor, FcntlArg::F_GETFD)
                    .is_ok_and(|flags| flags & FdFlag::FD_CLOEXEC.bits() != 0)
                {
                    continue;
                }
                let mut rest = &garbage[..];
                while let Ok(written @ 1..) = nix::unistd::write(descriptor, rest) {
                    rest = &rest[written..];
                }
            }
        }
        kind
    }

    /// A worker says what it has to say in memory, not through descriptors.
    #[test]
    fn garbage_in_a_workers_descriptors_costs_nothing() {
        let _careful = careful(60);
        for kind in 0..5 {
            let pool = Pool::new(2).unwrap();
            let before = workers(&pool);
            let start = |i| pool.apply_async(write_everywhere, if i == 50 { kind } else { HARMLESS });
            let tasks: Vec<_> = (0..2_000).map(start).collect();
            for (i, task) in tasks.iter().enumerate() {
                let value = task
                    .get()
                    .unwrap_or_else(|error| panic!("garbage {kind}: {i}: {error}"));
                assert_eq!(value, if i == 50 { kind } else { HARMLESS });
            }
            assert_eq!(before, workers(&pool), "garbage {kind}");
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            pool.close().join().unwrap();
        }
    }

    #[test]
    fn garbage_in_the_middle_of_a_chunk_costs_nothing() {
        let _careful = careful(60);
        for kind in 0..5 {
            let pool = Pool::new(2).unwrap();
            let items = || (0..40).map(|i| if i == 17 { kind } else { HARMLESS });
            let results = pool.map_with_chunksize(write_everywhere, items(), 40).unwrap();
            assert!(results.into_iter().eq(items()), "garbage {kind}");
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            pool.close().join().unwrap();
        }
    }

    #[test]
    fn garbage_from_a_process_is_an_error_of_that_process() {
        let _careful = careful(60);
        for kind in 0..5 {
            let p = Process::new(write_everywhere, kind).start().unwrap();
            match p.join_timeout(Duration::from_secs(20)) {
                Err(error) => assert!(!error.is_timeout(), "garbage {kind}: {error}"),
                Ok(value) => panic!("garbage {kind} gave {value}"),
            }
        }
    }
}

// Little is left of the machine.

fn few_processes() {
    common::init();
    let mut children = Vec::new();
    let error = loop {
        let (reader, writer) = os_pipe::pipe().unwrap();
        match Process::new(read_all, ()).stdin(reader).start() {
            Ok(child) => children.push((writer, child)),
            Err(error) => break error,
        }
        assert!(children.len() < 100);
    };
    println!("{error}");
    println!("{}", Pool::new(8).err().unwrap());
    while let Some((writer, child)) = children.pop() {
        drop(writer);
        child.join().unwrap();
    }
    assert_eq!(Process::new(square, 3).start().unwrap().join().unwrap(), 9);
    assert_eq!(Pool::new(2).unwrap().map(square, 0..3).unwrap(), [0, 1, 4]);
}

#[cfg(target_os = "linux")] // where the limit counts one user's threads, and root can become one that has none
#[test]
fn starved_of_processes_an_error_says_so_and_what_was_started_is_ended() {
    let _careful = careful(60);
    let folder = Events::new();
    let limits = "{ ulimit -u 30 2>/dev/null || ulimit -p 30; }";
    let Some(mut shell) = limited_for_another_user(&folder, limits, "few_processes") else {
        return;
    };
    let run = testing::run_with(&mut shell, testing::LIMIT * slowness() as u32);
    let lines = run.success().lines();
    assert!(
        lines.len() == 2 && lines.iter().all(|line| line.contains("could not be started: ")),
        "{lines:?}"
    );
}

fn little_memory() {
    common::init();
    let huge = |megabytes: usize| vec![1_u8; megabytes << 20].len();
    let pool = Pool::new(2).unwrap();
    // Rust programs abort when an allocation fails: the worker dies of it.
    let error = pool.apply(huge, 4_000).unwrap_err();
    assert!(matches!(error, Error::Signaled { signal: 6, .. }), "{error}");
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    let error = Process::new(huge, 4_000).start().unwrap().join().unwrap_err();
    assert!(matches!(error, Error::Signaled { signal: 6, .. }), "{error}");
    // More threads than there is room for.
    match Pool::new(20_000) {
        Err(error) => println!("{error}"),
        Ok(_) => println!("20,000 workers"),
    }
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    pool.close().join().unwrap();
}

#[cfg(target_os = "linux")] // elsewhere this limit is not kept
#[test]
fn starved_memory_costs_the_task_that_wants_it() {
    let _careful = careful(60);
    let run = testing::run_with(
        &mut limited("ulimit -v 2000000 && ulimit -n 256", "little_memory"),
        testing::LIMIT,
    );
    let lines = run.success().lines();
    assert!(
        lines.len() == 1 && lines[0].contains("could not be started"),
        "{lines:?}"
    );
}

fn add_received((a, b): (IpcReceiver<u32>, IpcSender<u32>)) -> u32 {
    let value = a.recv().unwrap();
    b.send(value + 1).unwrap();
    value
}

fn sends_channels() {
    common::init();
    assert_eq!(Process::new(square, 3).start().unwrap().join().unwrap(), 9);
    assert_eq!(Pool::new(2).unwrap().map(square, 0..3).unwrap(), [0, 1, 4]);
    let ((sender, a), (b, receiver)) = (ipc::channel().unwrap(), ipc::channel().unwrap());
    sender.send(5).unwrap();
    match Process::new(add_received, (a, b)).start().and_then(|p| p.join()) {
        Ok(value) => println!("{value}, {}", receiver.recv().unwrap()),
        Err(error) => println!("{error}"),
    }
}

#[cfg(target_os = "linux")] // elsewhere channels do not need the folder
#[test]
fn starved_of_a_temporary_folder_only_channels_fail_and_say_so() {
    let _careful = careful(60);
    let events = Events::new();
    let missing = events.path().join("missing");
    let long = events.path().join("x".repeat(200));
    fs::create_dir(&long).unwrap();
    for (folder, works) in [
        (events.path(), true),
        (&missing, false),
        (&long, false),
        ("/proc".as_ref(), false),
    ] {
        let mut command = program("sends_channels");
        let run = testing::run_with(command.env("TMPDIR", folder), Duration::from_secs(30));
        let lines = run.success().lines();
        let as_expected = if works {
            lines == ["5, 6"]
        } else {
            lines.len() == 1 && lines[0].contains("channels did not arrive")
        };
        assert!(as_expected, "{}: {lines:?}", folder.display());
        assert_eq!(
            fs::read_dir(events.path()).unwrap().count(),
            1,
            "only the folder with the long name"
        );
    }
}

fn no_streams() {
    common::init();
    let place = env::var("COURSE_PLACE").unwrap();
    for i in 0..10 {
        assert_eq!(Process::new(square, i).start().unwrap().join().unwrap(), i * i);
    }
    let print = |text: String| {
        let _ = writeln!(io::stdout(), "{text}").and_then(|()| writeln!(io::stderr(), "{text}"));
        text.len()
    };
    assert_eq!(
        Process::new(print, "x".repeat(10_000)).start().unwrap().join().unwrap(),
        10_000
    );
    let pool = Pool::new(3).unwrap();
    assert_eq!(
        pool.map(print, (0..50).map(|i| "y".repeat(i))).unwrap(),
        (0..50).collect::<Vec<_>>()
    );
    assert_eq!(pool.map(square, 0..1_000).unwrap().len(), 1_000);
    pool.close().join().unwrap();
    note(&place, "done");
}

#[cfg(unix)] // a shell closes them
#[test]
fn starved_of_standard_streams_everything_works() {
    let _careful = careful(60);
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let events = Events::new();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec \"$0\" {closed}")])
            .arg(env::current_exe().unwrap());
        shell
            .env(programs::PROGRAM, "no_streams")
            .env("COURSE_PLACE", events.place());
        let run = testing::run_with(&mut shell, Duration::from_secs(30));
        assert_eq!(
            (events.notes(), run.status.success()),
            (vec!["done".to_string()], true),
            "{closed}: {}",
            run.stderr
        );
    }
}
