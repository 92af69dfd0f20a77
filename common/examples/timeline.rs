//! A bit of everything that the timeline can show, at a pace that the eye can follow:
//! `TIMELINE=1 cargo run -p common --example timeline`. With arguments, it runs only the parts that they name.

use common::{Pool, Process, timeline};
use ipc_channel::ipc::{self, IpcSender};
use std::sync::{Barrier, Mutex};
use std::{env, process, thread, time::Duration};

/// Longer where processes take long to start, so that the picture stays the same.
fn sleep(millis: u64) {
    thread::sleep(Duration::from_millis(millis * testing::slowness()));
}

/// Four workers, five tasks: the fifth waits until one is free.
fn five() -> Result<(), common::Error> {
    let pool = Pool::new(4)?;
    let millis = [120, 90, 60, 150, 100];
    let tasks: Vec<_> = millis.iter().map(|&millis| pool.apply_async(sleep, millis)).collect();
    let pool = pool.close();
    pool.join()?;
    tasks.iter().try_for_each(|task| task.get())
}

fn frail(task: u32) {
    sleep(50);
    match task {
        2 => kill_myself(),
        4 => process::exit(3),
        _ => {}
    }
}

fn kill_myself() {
    #[cfg(unix)]
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    process::abort()
}

/// Two of its tasks end their workers.
fn killed() -> Result<(), common::Error> {
    let pool = Pool::new(2)?;
    let tasks: Vec<_> = (0..6).map(|task| pool.apply_async(frail, task)).collect();
    let lost = tasks.iter().filter(|task| task.get().is_err()).count();
    assert_eq!(lost, 2);
    pool.close().join()
}

fn parent(_: ()) -> Result<(), String> {
    let child = Process::new(sleep, 80).name("Grandchild").start();
    child.and_then(|child| child.join()).map_err(|error| error.to_string())
}

fn echo(n: u32) -> u32 {
    n
}

/// Pools that are dropped: while tasks run and others wait, and as soon as the last result is there.
fn dropped() -> Result<(), common::Error> {
    let pool = Pool::new(2)?;
    let rest: Vec<_> = (0..5).map(|_| pool.apply_async(sleep, 60_000)).collect();
    sleep(50);
    drop(pool);
    assert!(rest.iter().all(|task| task.get().is_err()));
    for _ in 0..10 {
        let pool = Pool::new(2)?;
        assert_eq!(pool.map(echo, 0..200)?.len(), 200);
    }
    sleep(50); // so that the workers' ends are seen
    Ok(())
}

/// A worker ends after each task, and another one takes its place.
fn recycled() -> Result<(), common::Error> {
    let pool = Pool::builder().processes(1).maxtasksperchild(1).build()?;
    (0..3).try_for_each(|_| pool.apply(sleep, 20))?;
    pool.close().join()
}

/// Two threads of a child wait for each other's lock, until the child is killed.
fn deadlock() -> Result<(), common::Error> {
    let (report, reports) = ipc::channel().unwrap();
    let child = Process::new(embrace, report).start()?;
    (0..2).for_each(|_| reports.recv().unwrap());
    sleep(80);
    child.kill()?;
    assert!(child.join().is_err());
    Ok(())
}

fn embrace(report: IpcSender<()>) {
    let (left, right, both_hold_one) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
    let hold = |first: &Mutex<()>, second: &Mutex<()>, label: &str| {
        let _first = first.lock().unwrap();
        both_hold_one.wait();
        let _blocked = timeline::blocked(label);
        report.send(()).unwrap();
        let _second = second.lock().unwrap();
    };
    thread::scope(|scope| {
        let (left, right, hold) = (&left, &right, &hold);
        scope.spawn(move || hold(left, right, "right, and holds left"));
        scope.spawn(move || hold(right, left, "left, and holds right"));
    });
}

/// A process in a process.
fn family() -> Result<(), common::Error> {
    let child = Process::new(parent, ()).name("Child").start()?;
    child.join().map(|outcome| outcome.unwrap())
}

/// Threads that ask for a lane, and one lock for both.
fn threads() -> Result<(), common::Error> {
    let (lock, together) = (Mutex::new(()), Barrier::new(2));
    thread::scope(|scope| {
        for name in ["first", "second"] {
            let work = || {
                let _lane = timeline::span("round");
                together.wait();
                let blocked = timeline::blocked("lock");
                let _held = lock.lock().unwrap();
                drop(blocked);
                sleep(60);
            };
            thread::Builder::new()
                .name(name.to_owned())
                .spawn_scoped(scope, work)
                .unwrap();
        }
    });
    Ok(())
}

/// 64 workers, 10,000 tasks.
fn many() -> Result<(), common::Error> {
    let pool = Pool::new(64)?;
    let tasks: Vec<_> = (0..10_000).map(|_| pool.apply_async(sleep, 2)).collect();
    tasks.iter().try_for_each(|task| task.get())?;
    pool.close().join()
}

/// The main thread panics, which ends this program.
fn panic() -> Result<(), common::Error> {
    let _lane = timeline::span("careless");
    sleep(50);
    panic!("this is to be seen")
}

/// Leaves at once, with a line that is not finished.
fn exit() -> Result<(), common::Error> {
    print!("not finished");
    process::exit(7)
}

/// Names that would be something else in a picture or a terminal.
fn names() -> Result<(), common::Error> {
    let _lane = timeline::span("<b>&\"\u{1b}[31m");
    Process::new(sleep, 20).name("进程 <script>").start()?.join()
}

/// Children made by `fork`: one says what it does, one does not.
#[cfg(unix)]
fn fork() -> Result<(), common::Error> {
    use nix::unistd::ForkResult::Child;
    let _lane = timeline::span("two forks");
    for speaks in [true, false] {
        // SAFETY: this program has one thread here; the child may do whatever it likes.
        if let Ok(Child) = unsafe { nix::unistd::fork() } {
            let _lane = speaks.then(|| timeline::span("child"));
            sleep(80);
            process::exit(0);
        }
    }
    while nix::sys::wait::wait().is_ok() {}
    Ok(())
}

/// How many files this process has open.
#[cfg(target_os = "linux")]
fn files() -> Result<(), common::Error> {
    println!("{}", std::fs::read_dir("/proc/self/fd").unwrap().count());
    Ok(())
}

type Part = (&'static str, fn() -> Result<(), common::Error>);

const PARTS: &[Part] = &[
    ("five", five),
    ("killed", killed),
    ("dropped", dropped),
    ("recycled", recycled),
    ("deadlock", deadlock),
    ("family", family),
    ("threads", threads),
    ("many", many),
    ("panic", panic),
    ("exit", exit),
    ("names", names),
    #[cfg(unix)]
    ("fork", fork),
    #[cfg(target_os = "linux")]
    ("files", files),
];

fn main() -> Result<(), common::Error> {
    common::init();
    let mut wanted: Vec<String> = env::args().skip(1).collect();
    if wanted.is_empty() {
        wanted = ["five", "killed", "family", "threads"].map(String::from).to_vec();
    }
    for (name, part) in PARTS.iter().filter(|(name, _)| wanted.iter().any(|word| word == name)) {
        part()?;
        println!("{name}: done");
    }
    Ok(())
}
