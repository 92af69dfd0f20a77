//! The behaviours of `Process`, by their numbers.
//!
//! What a type makes impossible is held by the `compile_fail` examples of `Process`: joining what was not started, starting
//! twice, a closure that captures, arguments that do not fit.

#[macro_use]
mod programs;

use common::{Child, Error, Process, current_process, parent_process};
use programs::{Events, argument, await_event, careful, eventually, happen, note, program};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, io, thread};

programs! {
    without_init, without_reaching_init, calls_init_again, shows_environment, outlived_by_children, ends_with_a_daemon,
    starts_later,
}

/// A child that lives until its standard input ends, which the test decides.
fn until_input_ends(_: ()) -> u32 {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    std::process::id()
}

/// Starts such a child. It ends when the second value is dropped.
fn waiting_child() -> (Child<u32>, os_pipe::PipeWriter) {
    let (reader, writer) = os_pipe::pipe().unwrap();
    (
        Process::new(until_input_ends, ()).stdin(reader).start().unwrap(),
        writer,
    )
}

fn sleep_a_minute() {
    thread::sleep(Duration::from_secs(60));
}

fn nothing(_: ()) {}

/// The exit code of a killed process: Windows has no signals.
fn killed_by(signal: i32) -> Option<i32> {
    Some(if cfg!(windows) { 1 } else { -signal })
}

#[test]
fn b01_before_its_start_it_has_no_number_no_life_and_no_exit_code() {
    // A method of the type itself would come before one of a trait, and these lines would not compile.
    trait None_ {
        fn pid(&self) -> Missing {
            Missing
        }
        fn is_alive(&self) -> Missing {
            Missing
        }
        fn exitcode(&self) -> Missing {
            Missing
        }
        fn join(&self) -> Missing {
            Missing
        }
    }
    struct Missing;
    impl<R> None_ for Process<R> {}
    let p = Process::new(nothing, ());
    let [Missing, Missing, Missing, Missing] = [p.pid(), p.is_alive(), p.exitcode(), p.join()];
}

#[test]
fn b02_after_its_start_it_lives_under_its_own_number() {
    let _careful = careful(30);
    let (p, input) = waiting_child();
    assert!(p.is_alive());
    assert_eq!(p.exitcode(), None);
    drop(input);
    assert_eq!(p.join().unwrap(), p.pid());
    assert_ne!(p.pid(), std::process::id());
}

#[test]
fn b02_one_whose_result_fills_the_pipe_ends_also_if_its_parent_only_asks_for_that() {
    let _careful = careful(60);
    let text = "x".repeat(1 << 20);
    let start = || Process::new(same, text.clone()).start().unwrap();
    let (p, q) = (start(), start());
    eventually("it is not alive", || !p.is_alive());
    eventually("it has an exit code", || q.exitcode() == Some(0));
    assert!(p.join().unwrap() == text && q.join().unwrap() == text);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node {
        name: String,
        children: Vec<Tree>,
        value: Option<f64>,
    },
}

type Nested = (
    Vec<Tree>,
    BTreeMap<String, Vec<Option<i64>>>,
    (),
    [u8; 4],
    Option<Box<Tree>>,
    String,
    char,
    u128,
);

fn give_back(all: Nested) -> Nested {
    all
}

#[test]
fn b03_arguments_and_the_result_arrive_unchanged_nested_and_empty_ones() {
    let _careful = careful(30);
    let node = Tree::Node {
        name: "Grüße, 世界\0".into(),
        children: vec![
            Tree::Leaf,
            Tree::Node {
                name: String::new(),
                children: vec![],
                value: None,
            },
        ],
        value: Some(f64::MIN_POSITIVE),
    };
    let map = BTreeMap::from([(String::new(), vec![]), ("x".into(), vec![None, Some(i64::MIN)])]);
    let given: Nested = (
        vec![node.clone(), Tree::Leaf],
        map,
        (),
        [0, 255, 1, 2],
        Some(Box::new(node)),
        "a\nb".into(),
        '界',
        u128::MAX,
    );
    let empty: Nested = (vec![], BTreeMap::new(), (), [0; 4], None, String::new(), '\0', 0);
    for args in [given, empty] {
        let p = Process::new(give_back, args.clone()).start().unwrap();
        assert_eq!(p.join().unwrap(), args);
    }
}

fn same(text: String) -> String {
    text
}

#[test]
fn b03_100_mb_of_arguments_and_result_arrive_unchanged() {
    let _careful = careful(120);
    let text: String = "0123456789abcdef".repeat(100_000_000 / 16);
    let p = Process::new(same, text.clone()).start().unwrap();
    assert!(p.join().unwrap() == text, "100 MB came back changed");
}

fn my_name(_: ()) -> (String, String) {
    // As `ps` shows it.
    let comm = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    (current_process().name().to_owned(), comm.trim_end().to_owned())
}

#[test]
fn b04_the_name_given_is_known_in_the_child_and_to_ps() {
    let _careful = careful(30);
    let p = Process::new(my_name, ()).name("Reader 7").start().unwrap();
    assert_eq!(p.name(), "Reader 7");
    let (name, comm) = p.join().unwrap();
    assert_eq!(name, "Reader 7");
    if cfg!(target_os = "linux") {
        assert_eq!(comm, "Reader 7");
    }
}

fn my_arguments() -> Vec<String> {
    env::args().collect()
}

// Programs that dispatch on their own name, or look at their arguments before `init`, are not confused by ours.
#[test]
fn b04_w12_a_child_has_its_programs_own_arguments() {
    let _careful = careful(30);
    let p = Process::new(|()| my_arguments(), ()).start().unwrap();
    let theirs = p.join().unwrap();
    let mine = my_arguments();
    assert!(theirs == mine || theirs.is_empty(), "{theirs:?} instead of {mine:?}"); // before `main`, musl tells Rust of none
}

#[test]
fn b04_names_that_nobody_gave_are_unique() {
    let _careful = careful(30);
    let names = thread::scope(|scope| {
        let start = || -> Vec<String> {
            let children: Vec<_> = (0..5).map(|_| Process::new(my_name, ()).start().unwrap()).collect();
            children.iter().map(|p| p.join().unwrap().0).collect()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect::<BTreeSet<_>>()
    });
    assert_eq!(names.len(), 20, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("Process-")), "{names:?}");
}

#[test]
fn b05_a_join_after_a_normal_return_leaves_no_zombie() {
    let _careful = careful(30);
    let p = Process::new(nothing, ()).start().unwrap();
    p.join().unwrap();
    assert!(!p.is_alive());
    assert_eq!(p.exitcode(), Some(0));
    #[cfg(target_os = "linux")] // where processes are files
    assert!(!fs::exists(format!("/proc/{}", p.pid())).unwrap());
    // It says the same again.
    p.join().unwrap();
}

#[test]
fn b06_a_join_with_a_timeout_of_zero_returns_at_once() {
    let _careful = careful(30);
    let (p, input) = waiting_child();
    let start = Instant::now();
    for _ in 0..100 {
        assert!(p.join_timeout(Duration::ZERO).unwrap_err().is_timeout());
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "100 times took {:?}",
        start.elapsed()
    );
    assert_eq!(p.exitcode(), None);
    assert!(p.is_alive());
    drop(input);
    assert_eq!(p.join().unwrap(), p.pid());
    assert_eq!(p.join_timeout(Duration::ZERO).unwrap(), p.pid());
}

#[test]
fn b07_a_join_with_a_timeout_returns_after_about_that_time() {
    let _careful = careful(30);
    let (p, input) = waiting_child();
    let start = Instant::now();
    let error = p.join_timeout(Duration::from_millis(300)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(300)..Duration::from_secs(2)).contains(&took),
        "{took:?}"
    );
    drop(input);
    assert_eq!(p.join_timeout(Duration::from_secs(60)).unwrap(), p.pid());
}

fn sleep_then_tell_the_time(millis: u64) -> SystemTime {
    thread::sleep(Duration::from_millis(millis));
    SystemTime::now()
}

#[test]
fn b07_join_with_a_long_timeout_returns_at_the_childs_end() {
    let _careful = careful(60);
    // A pause that doubles would look at 1,023 ms and then at 2,047 ms. On a busy machine one look in three is in time.
    let late = |_| {
        let p = Process::new(sleep_then_tell_the_time, 1_100).start().unwrap();
        let end = p.join_timeout(Duration::from_secs(60)).unwrap();
        end.elapsed().unwrap_or_default()
    };
    let late: Vec<_> = (0..3).map(late).collect();
    assert!(
        late.iter().any(|&late| late < Duration::from_millis(250)),
        "too late by {late:?}"
    );
}

#[test]
fn b08_terminate_ends_a_sleeping_child_with_minus_15() {
    let _careful = careful(30);
    let p = Process::new(|()| sleep_a_minute(), ()).start().unwrap();
    p.terminate().unwrap();
    let start = Instant::now();
    let error = p.join().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(p.exitcode(), killed_by(15));
    if cfg!(unix) {
        assert!(matches!(error, Error::Signaled { signal: 15, .. }), "{error}");
    }
}

#[test]
fn b08_kill_ends_a_sleeping_child_with_minus_9() {
    let _careful = careful(30);
    let (p, _input) = waiting_child();
    p.kill().unwrap();
    let start = Instant::now();
    let error = p.join().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(p.exitcode(), killed_by(9));
    if cfg!(unix) {
        assert!(matches!(error, Error::Signaled { signal: 9, .. }), "{error}");
    }
}

#[test]
fn b08_another_thread_can_kill_while_one_joins() {
    let _careful = careful(30);
    let (p, _input) = waiting_child();
    thread::scope(|scope| {
        let join = scope.spawn(|| p.join());
        // Whether the other one waits already or not.
        p.kill().unwrap();
        assert!(join.join().unwrap().is_err());
    });
}

#[test]
fn b08_one_that_has_ended_can_be_killed_without_an_error() {
    let _careful = careful(30);
    let joined = Process::new(nothing, ()).start().unwrap();
    joined.join().unwrap();
    joined.terminate().unwrap();
    joined.kill().unwrap();
    assert_eq!(joined.exitcode(), Some(0));

    // Ended, and nobody has waited for it yet.
    let (reader, writer) = os_pipe::pipe().unwrap();
    let unjoined = Process::new(nothing, ()).stdout(writer).start().unwrap();
    let _ = { reader }.read_to_end(&mut Vec::new());
    #[cfg(target_os = "linux")]
    programs::eventually("a zombie", || !programs::lives(unjoined.pid()));
    let _ = unjoined.terminate();
    unjoined.kill().unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(unjoined.exitcode(), Some(0));
        unjoined.join().unwrap();
    }
}

#[cfg(target_os = "linux")] // where the next process's number can be chosen
#[test]
fn b08_no_other_process_that_got_its_number_is_hit() {
    let _careful = careful(60);
    for _ in 0..100 {
        let first = Process::new(nothing, ()).start().unwrap();
        first.join().unwrap();
        if fs::write("/proc/sys/kernel/ns_last_pid", (first.pid() - 1).to_string()).is_err() {
            eprintln!("skipped: this user cannot choose the next process's number");
            return;
        }
        let (second, input) = waiting_child();
        let same_number = second.pid() == first.pid();
        if same_number {
            first.kill().unwrap();
            first.terminate().unwrap();
        }
        drop(input);
        second.join().unwrap();
        assert_eq!(second.exitcode(), Some(0));
        if same_number {
            return;
        }
    }
    eprintln!("skipped: others took the number 100 times");
}

fn exit_with(code: i32) {
    std::process::exit(code);
}

#[test]
fn b09_exit_in_the_target_is_told_with_its_code() {
    let _careful = careful(30);
    for code in [0, 1, 7, 255] {
        let p = Process::new(exit_with, code).start().unwrap();
        let error = p.join().unwrap_err();
        assert!(
            matches!(error, Error::Exited { code: told, .. } if told == code),
            "{error}"
        );
        assert_eq!(p.exitcode(), Some(code));
    }
}

fn panic_with(text: String) {
    panic!("no {text} today");
}
const PANIC_LINE: u32 = line!() - 2;

#[test]
fn b09_a_panic_is_told_with_message_file_and_line_and_on_the_childs_stderr() {
    let _careful = careful(30);
    let (mut reader, writer) = os_pipe::pipe().unwrap();
    let p = Process::new(panic_with, "tea".to_string())
        .stderr(writer)
        .start()
        .unwrap();
    let mut printed = String::new();
    reader.read_to_string(&mut printed).unwrap();
    let error = p.join().unwrap_err();
    let Error::Panicked {
        message,
        location: Some(place),
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(message, "no tea today");
    assert!(place.ends_with(&format!("process.rs:{PANIC_LINE}")), "{place}");
    assert!(
        printed.contains("no tea today") && printed.contains(&format!("process.rs:{PANIC_LINE}")),
        "{printed}"
    );
    assert_eq!(p.exitcode(), Some(101));
}

#[test]
fn b10_a_hundred_children_run_together_and_leave_no_descriptor() {
    let _careful = careful(60);
    let (reader, writer) = os_pipe::pipe().unwrap();
    let start = |_| {
        Process::new(until_input_ends, ())
            .stdin(reader.try_clone().unwrap())
            .start()
            .unwrap()
    };
    let children: Vec<_> = (0..100).map(start).collect();
    assert!(children.iter().all(|p| p.is_alive()));
    drop((reader, writer));
    for p in &children {
        p.join().unwrap();
        assert_eq!(p.exitcode(), Some(0));
    }
}

fn descend(depth: u32) -> Vec<u32> {
    let mut pids = vec![std::process::id()];
    if depth > 0 {
        let below = Process::new(descend, depth - 1).start().unwrap();
        pids.extend(below.join().unwrap());
    }
    pids
}

#[test]
fn b11_children_start_children_to_depth_3_and_join_them() {
    let _careful = careful(30);
    let both = [(); 2].map(|()| Process::new(descend, 3).start().unwrap());
    let pids: BTreeSet<_> = both.iter().flat_map(|p| p.join().unwrap()).collect();
    assert_eq!(pids.len(), 8);
}

type Kinship = (String, u32, bool, Option<(String, u32)>);

fn kinship(generations: u32) -> Vec<Kinship> {
    let (me, parent) = (current_process(), parent_process().unwrap());
    let lives = parent.is_alive();
    let mut all = vec![(
        me.name().to_owned(),
        me.pid(),
        lives,
        Some((parent.name().to_owned(), parent.pid())),
    )];
    if generations > 1 {
        all.extend(
            Process::new(kinship, generations - 1)
                .name("Child's child")
                .start()
                .unwrap()
                .join()
                .unwrap(),
        );
    }
    all
}

#[test]
fn b12_a_child_knows_its_parents_number_and_name() {
    let _careful = careful(30);
    let p = Process::new(kinship, 2).name("Child").start().unwrap();
    let kin = p.join().unwrap();
    let me = ("MainProcess".to_owned(), std::process::id());
    assert_eq!(kin[0], ("Child".to_owned(), p.pid(), true, Some(me)));
    assert_eq!(
        (&kin[1].0[..], kin[1].2, &kin[1].3),
        ("Child's child", true, &Some(("Child".to_owned(), p.pid())))
    );
    assert_eq!(parent_process(), None);
}

fn tell_when_the_parent_has_ended(place: String) {
    let parent = parent_process().unwrap();
    happen(&place, if parent.is_alive() { "orphan-to-be" } else { "too early" });
    let start = Instant::now();
    while parent.is_alive() && start.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(1));
    }
    happen(&place, "orphan");
}

fn daemon(place: String) {
    happen(&place, "daemon");
    sleep_a_minute();
}

fn outlived_by_children() {
    common::init();
    let place = argument(1);
    let _daemon = Process::new(daemon, place.clone()).daemon(true).start().unwrap();
    let _child = Process::new(tell_when_the_parent_has_ended, place).start().unwrap();
    sleep_a_minute();
}

#[test]
fn b12_b14_a_child_learns_that_its_parent_was_killed_and_a_daemon_ends() {
    let _careful = careful(60);
    let events = Events::new();
    let mut parent = program("outlived_by_children")
        .arg(events.place())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    events.wait_for("orphan-to-be");
    events.wait_for("daemon");
    parent.kill().unwrap(); // SIGKILL
    parent.wait().unwrap();
    let start = Instant::now();
    events.wait_for("orphan");
    // Both children have our pipe as their output: it ends when both have ended.
    parent.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[cfg(unix)]
fn descriptors_here(_: ()) -> usize {
    fs::read_dir("/dev/fd").unwrap().count()
}

/// Here they are called handles.
#[cfg(windows)]
fn descriptors_here(_: ()) -> usize {
    unsafe extern "system" {
        fn GetCurrentProcess() -> *mut std::ffi::c_void;
        fn GetProcessHandleCount(process: *mut std::ffi::c_void, count: *mut u32) -> i32;
    }
    let mut count = 0;
    // SAFETY: a handle that is always there, and a place for the number.
    assert_ne!(unsafe { GetProcessHandleCount(GetCurrentProcess(), &mut count) }, 0);
    count as usize
}

#[test]
fn b13_a_child_has_no_more_descriptors_because_it_has_siblings() {
    let _careful = careful(60);
    let count = || Process::new(descriptors_here, ()).start().unwrap().join().unwrap();
    // Windows opens some for itself in a new process, now more, now fewer. Twenty siblings have sixty pipes.
    let as_many = count() + if cfg!(windows) { 20 } else { 0 };
    let siblings: Vec<_> = (0..20).map(|_| waiting_child()).collect();
    let amid_siblings = count();
    if amid_siblings == 0 {
        println!("skipped: Wine does not count handles");
    }
    assert!(amid_siblings <= as_many, "{amid_siblings} instead of {as_many}");
    // Nor because others are started at the same moment.
    let counts: Vec<usize> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..5).map(|_| count()).max().unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        counts.iter().all(|&count| count <= as_many),
        "{counts:?} instead of {as_many}"
    );
    drop(siblings.into_iter().map(|(p, input)| (input, p)).collect::<Vec<_>>());
}

fn ends_with_a_daemon() {
    common::init();
    let place = argument(1);
    let daemon = Process::new(daemon, place.clone()).daemon(true).start().unwrap();
    await_event(&place, "daemon");
    drop(daemon); // nobody waits for it
}

#[test]
fn b14_a_daemon_ends_when_its_parent_returns() {
    let _careful = careful(60);
    let events = Events::new();
    // `run_with` waits until nobody has the output any more.
    let start = Instant::now();
    testing::run_with(
        program("ends_with_a_daemon").arg(events.place()),
        Duration::from_secs(30),
    )
    .success();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

fn pause_then((place, event): (String, String)) {
    thread::sleep(Duration::from_millis(200));
    happen(&place, &event);
}

#[test]
fn b14_a_child_that_is_no_daemon_is_waited_for_when_its_handle_is_dropped() {
    let _careful = careful(30);
    let events = Events::new();
    drop(
        Process::new(pause_then, (events.place(), "done".into()))
            .start()
            .unwrap(),
    );
    assert!(events.path().join("done").exists());
    // Even if its result is larger than a pipe.
    drop(Process::new(same, "x".repeat(1 << 20)).start().unwrap());
}

fn filter(_: ()) {
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        println!("{}", line.to_uppercase());
        eprintln!("{} letters", line.len());
    }
}

#[test]
fn b15_the_three_standard_streams_can_be_given() {
    let _careful = careful(30);
    let (stdin, mut input) = os_pipe::pipe().unwrap();
    let (mut output, stdout) = os_pipe::pipe().unwrap();
    let (mut errors, stderr) = os_pipe::pipe().unwrap();
    let p = Process::new(filter, ())
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .start()
        .unwrap();
    input.write_all(b"one\nthree\n").unwrap();
    drop(input);
    let [mut out, mut err] = [String::new(), String::new()];
    output.read_to_string(&mut out).unwrap();
    errors.read_to_string(&mut err).unwrap();
    p.join().unwrap();
    assert_eq!((&out[..], &err[..]), ("ONE\nTHREE\n", "3 letters\n5 letters\n"));
}

#[test]
fn b15_a_file_can_be_a_standard_stream() {
    let _careful = careful(30);
    let events = Events::new();
    let path = events.path().join("input");
    fs::write(&path, "from a file\n").unwrap();
    let output = events.path().join("output");
    let p = Process::new(filter, ())
        .stdin(fs::File::open(&path).unwrap())
        .stdout(fs::File::create(&output).unwrap());
    p.stderr(fs::File::create(events.path().join("errors")).unwrap())
        .start()
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(fs::read_to_string(output).unwrap(), "FROM A FILE\n");
}

fn without_init() {
    let place = argument(1);
    note(&place, "main");
    let error = Process::new(nothing, ()).start().err().unwrap();
    println!("{error}");
    println!("{}", common::Pool::new(2).err().unwrap());
}

#[test]
fn b16_no_init_an_error_says_what_to_write() {
    let _careful = careful(30);
    let events = Events::new();
    let run = testing::run_with(program("without_init").arg(events.place()), Duration::from_secs(20));
    let lines = run.success().lines();
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line.contains("write `common::init();` as the first line of main")),
        "{lines:?}"
    );
    assert_eq!(events.notes(), ["main"]);
}

fn without_reaching_init() {
    let place = argument(1);
    note(&place, "main");
    if events_happened(&place, "parent") {
        println!("I take myself for somebody else");
        return; // a child that never comes to `init`
    }
    common::init();
    happen(&place, "parent");
    let p = Process::new(nothing, ()).start();
    println!("{}", p.and_then(|p| p.join()).unwrap_err());
}

fn calls_init_again() {
    for _ in 0..3 {
        common::init();
    }
    let p = Process::new(|()| common::init(), ());
    p.start().unwrap().join().unwrap();
}

#[test]
fn b16_only_the_first_call_of_init_does_anything() {
    let _careful = careful(30);
    for (timeline, said) in [("0", ""), ("1", "MainProcess"), ("run.png", "TIMELINE=run.png")] {
        if cfg!(windows) && timeline == "1" {
            continue; // it leaves by `exit`, and not every Windows says so to what would draw
        }
        let mut command = program("calls_init_again");
        let run = testing::run_with(command.env("TIMELINE", timeline), testing::LIMIT);
        let lines = run.success().stderr.lines().filter(|line| line.contains(said));
        assert_eq!(lines.count(), usize::from(!said.is_empty()), "{}", run.stderr);
    }
}

fn events_happened(place: &str, event: &str) -> bool {
    std::path::Path::new(place).join(event).exists()
}

#[test]
fn b16_if_a_child_does_not_reach_init_an_error_says_so_and_one_process_was_made() {
    let _careful = careful(30);
    let events = Events::new();
    let run = testing::run_with(
        program("without_reaching_init").arg(events.place()),
        Duration::from_secs(20),
    );
    let last = run.success().lines().last().unwrap().to_string();
    assert!(
        last.contains("exited with code 0 before it reached common::init()"),
        "{last}"
    );
    assert_eq!(events.notes(), ["main", "main"]);
}

type Surroundings = (Vec<(String, String)>, String);

fn surroundings(generations: u32) -> Vec<Surroundings> {
    let mut mine: Vec<_> = env::vars().collect();
    mine.sort();
    let mut all = vec![(mine, env::current_dir().unwrap().display().to_string())];
    if generations > 1 {
        all.extend(
            Process::new(surroundings, generations - 1)
                .start()
                .unwrap()
                .join()
                .unwrap(),
        );
    }
    all
}

fn surroundings_of_one(_: u32) -> Surroundings {
    surroundings(1).remove(0)
}

fn shows_environment() {
    common::init();
    // SAFETY: this program has one thread.
    unsafe { env::set_var("COURSE_TEST_LATE", "set = while\nit ran") };
    let mine = surroundings(1).remove(0);
    assert!(mine.0.iter().all(|(name, _)| !name.starts_with("COMMON")), "{mine:?}");
    let p = Process::new(surroundings, 2).start().unwrap();
    for other in p.join().unwrap() {
        assert_eq!(other, mine);
    }
    let pool = common::Pool::new(1).unwrap();
    assert_eq!(pool.apply(surroundings_of_one, 0).unwrap(), mine);
    println!("{}", mine.1);
}

#[test]
fn b17_environment_and_working_directory_reach_children_and_grandchildren_and_nothing_leaks() {
    let _careful = careful(30);
    let events = Events::new();
    let mut command = program("shows_environment");
    command
        .current_dir(events.path())
        .env("COURSE_TEST", "värde")
        .env("COURSE_EMPTY", "");
    let run = testing::run_with(&mut command, Duration::from_secs(20));
    assert_eq!(run.success().lines(), [events.path().to_str().unwrap()]);
}

fn starts_later() {
    common::init();
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    match Process::new(same, "arrived".to_string()).start().and_then(|p| p.join()) {
        Ok(text) => println!("process: {text}"),
        Err(error) => println!("error: {error}"),
    }
    let pool = common::Pool::new(2).and_then(|pool| pool.map(same, ["arrived".to_string()]));
    match pool {
        Ok(texts) => println!("pool: {texts:?}"),
        Err(error) => println!("error: {error}"),
    }
}

/// What a program says that starts its children when its file is not what it was.
#[cfg(unix)]
fn after(what_happens: impl FnOnce(&std::path::Path)) -> Vec<String> {
    let folder = Events::new();
    let copy = folder.path().join(format!("copy{}", env::consts::EXE_SUFFIX));
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    let mut command = programs::program_at(&copy, "starts_later");
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = std::io::BufReader::new(running.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    what_happens(&copy);
    drop(running.stdin.take());
    let lines = output.lines().map(|line| line.unwrap()).collect();
    assert!(running.wait().unwrap().success());
    lines
}

#[cfg(unix)] // Windows does not let go of the file of a program that runs
#[test]
fn b18_a_program_whose_file_is_deleted_or_replaced_goes_on_or_says_so() {
    let _careful = careful(60);
    let deleted = after(|file| fs::remove_file(file).unwrap());
    let replaced = after(|file| {
        let other = file.with_extension("new");
        fs::write(&other, "#!/bin/sh\necho not this program\n").unwrap();
        fs::set_permissions(&other, fs::metadata(file).unwrap().permissions()).unwrap();
        fs::rename(other, file).unwrap();
    });
    if cfg!(target_os = "linux") {
        assert_eq!(deleted, ["process: arrived", "pool: [\"arrived\"]"]);
        assert_eq!(replaced, deleted);
    } else {
        assert!(
            deleted.iter().all(|line| line.contains("is not there any more")),
            "{deleted:?}"
        );
        assert!(replaced.iter().all(|line| line.starts_with("error: ")), "{replaced:?}");
    }
}

fn leave((code, result): (i32, u64)) -> u64 {
    if code != 0 {
        std::process::exit(code);
    }
    result
}

#[test]
fn b19_threads_that_start_and_join_children_never_mix_them_up() {
    let _careful = careful(60);
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            scope.spawn(move || {
                for round in 0..25 {
                    let code = (round % 5) as i32 * (thread as i32 + 1);
                    let p = Process::new(leave, (code, 1_000 * thread + round)).start().unwrap();
                    match p.join() {
                        Ok(result) => assert_eq!((code, result), (0, 1_000 * thread + round)),
                        Err(error) => assert!(
                            matches!(error, Error::Exited { code: told, .. } if told == code),
                            "{error}"
                        ),
                    }
                    assert_eq!(p.exitcode(), Some(code));
                }
            });
        }
    });
}
