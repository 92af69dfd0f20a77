//! Shows a deadlock: two threads take two locks in opposite order, so each holds what the other one waits for, and neither
//! ever goes on. This happens in a child process; the parent notices that it does not end, and kills it. So your terminal
//! does not hang.
//!
//! `cargo run -p lock --example deadlock`. See also: `lock_order`, the cure.

use common::{Process, timeline};
use ipc_channel::ipc::{self, IpcSender};
use std::sync::{Barrier, Mutex};
use std::{error::Error, time::Duration};

/// The child process runs this. It tells the parent what each thread holds and waits for.
fn run_proc(report: IpcSender<String>) {
    let (left, right) = (Mutex::new(()), Mutex::new(()));
    let both_hold_one = Barrier::new(2);

    let run_thread = |name: &str, first: (&str, &Mutex<()>), second: (&str, &Mutex<()>)| {
        let _held = first.1.lock().unwrap();
        both_hold_one.wait(); // without this line, the deadlock would happen only now and then
        let line = format!("thread {name} holds {}, waits for {}", first.0, second.0);
        report.send(line).expect("the parent listens");
        let _blocked = timeline::blocked(format_args!("{}, and holds {}", second.0, first.0)); // for TIMELINE=1
        let _both = second.1.lock().unwrap(); // never returns
        unreachable!("thread {name} has both locks");
    };
    crossbeam::scope(|s| {
        let thread = |name: &str| s.builder().name(format!("thread {name}"));
        let a = thread("A").spawn(|_| run_thread("A", ("left", &left), ("right", &right)));
        let b = thread("B").spawn(|_| run_thread("B", ("right", &right), ("left", &left)));
        let _blocked = timeline::blocked("A and B");
        a.and(b).expect("a thread can be started").join()
    })
    .unwrap()
    .unwrap();
}

fn main() -> Result<(), Box<dyn Error>> {
    common::init();
    let (report, reports) = ipc::channel()?;
    // A daemon ends with its parent: whatever happens here, no process is left behind that never ends.
    let p = Process::new(run_proc, report).daemon(true).start()?;

    let mut lines = [reports.recv()?, reports.recv()?];
    lines.sort(); // which thread came first does not matter
    for line in lines {
        println!("{line}");
    }
    // Both threads wait for their second lock. More time will not help them.
    let ended = p.join_timeout(Duration::from_millis(500));
    assert!(ended.is_err_and(|e| e.is_timeout()), "it should hang");
    println!("Process ({}) does not end: deadlock. It is killed.", p.pid());

    p.kill()?;
    println!("join: {}", p.join().expect_err("it was killed"));
    assert!(!p.is_alive());
    Ok(())
}
