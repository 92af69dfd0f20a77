//! What ended the caller: signals, limits, and sizes of its program. (Large thread-locals are a program's own: see
//! `large_thread_locals.rs`.)

#[cfg(unix)]
use crate::programs::limited;
use crate::programs::{careful, program};
use crate::square;
use common::{Pool, Process};
#[cfg(unix)]
use ipc_channel::ipc::IpcSender;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::thread;
use std::time::Duration;

#[cfg(unix)]
pub mod signals {
    use super::*;
    use crate::programs::{Events, argument, limited, program, signal, workers};
    use ipc_channel::ipc::{self, IpcReceiver};
    use nix::libc;
    use nix::sys::signal::Signal;
    use std::path::Path;
    use std::time::Duration;
    use std::{process, thread};

    fn leave(code: i32) -> u64 {
        process::exit(code)
    }

    fn read_nothing((_, _): (String, IpcReceiver<u32>)) -> u64 {
        process::exit(3)
    }

    /// A program that wants a closed pipe to end it, as those of a command line do. Its children may, from some moment on, end
    /// before they read anything.
    pub fn dies_of_closed_pipes() {
        // SAFETY: the default action is no code of ours.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let end_early = Path::new(&argument(1)).join("end early");
        if end_early.exists() {
            process::exit(3);
        }
        common::init();

        // Workers that are killed while they are idle, and while tasks come.
        let pool = Pool::new(2).unwrap();
        for round in 0..20 {
            let pids = workers(&pool);
            pids.iter().for_each(|&pid| signal(pid, Signal::SIGKILL));
            if round % 2 == 0 {
                thread::yield_now();
            }
            let tasks: Vec<_> = (0..50).map(|i| pool.apply_async(square, i)).collect();
            assert!((0..).zip(&tasks).all(|(i, task)| task.get().unwrap() == i * i));
            let lost = pool.apply_async(leave, 3);
            // Large ones on their way to somebody who ends.
            let large = pool.map_async(|text: String| text.len(), (0..4).map(|_| "x".repeat(1 << 20)));
            assert!(lost.get().is_err());
            assert_eq!(large.get().unwrap(), [1 << 20; 4]);
        }

        // Processes that end before they have read what they were sent.
        std::fs::write(end_early, "").unwrap();
        for _ in 0..5 {
            assert!(
                Process::new(|text: String| text.len(), "x".repeat(10 << 20))
                    .start()
                    .and_then(|p| p.join())
                    .is_err()
            );
            assert!(Process::new(square, 3).start().and_then(|p| p.join()).is_err());
            let receiver = ipc::channel().unwrap().1;
            let p = Process::new(read_nothing, ("x".repeat(10 << 20), receiver));
            assert!(p.start().and_then(|p| p.join()).is_err());
        }
        drop(pool);
        println!("it lives");
    }

    #[test]
    fn k2_b56_a_closed_pipe_does_not_kill_a_program_that_leaves_that_signal_at_its_default() {
        let _careful = careful(60);
        let events = Events::new();
        let mut command = program("killed::signals::dies_of_closed_pipes");
        let run = testing::run_with(command.arg(events.place()), Duration::from_secs(40));
        assert_eq!(run.success().lines(), ["it lives"]);
    }

    /// Whatever cannot be had is an error.
    pub fn may_write_little() {
        common::init();
        let pool = Pool::new(2).and_then(|pool| pool.map(square, 0..100));
        match pool {
            Ok(results) => assert_eq!(results.len(), 100),
            Err(error) => println!("{error}"),
        }
        match Process::new(square, 3).start().and_then(|p| p.join()) {
            Ok(result) => assert_eq!(result, 9),
            Err(error) => println!("{error}"),
        }
        println!("it lives");
    }

    #[test]
    fn k3_b56_a_limit_for_files_does_not_kill_a_program() {
        let _careful = careful(60);
        for limit in ["0", "1", "16", "1000"] {
            for timeline in ["0", "1", "run.svg"] {
                let events = Events::new();
                let mut command = limited(&format!("ulimit -f {limit}"), "killed::signals::may_write_little");
                command.env("TIMELINE", timeline).current_dir(events.path());
                let run = testing::run_with(&mut command, Duration::from_secs(20));
                assert_eq!(
                    run.success().lines().last(),
                    Some(&"it lives"),
                    "{limit}, {timeline}: {run:?}"
                );
            }
        }
    }
}

/// Asks a pool for something when its thread ends.
struct Last(&'static Pool);

impl Drop for Last {
    fn drop(&mut self) {
        println!("{:?}", self.0.apply(square, 4));
    }
}

pub fn uses_a_pool_when_a_thread_ends() {
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    common::init();
    let pool: &Pool = Box::leak(Box::new(Pool::new(1).unwrap()));
    let thread = thread::spawn(|| {
        LAST.set(Some(Last(pool))); // before the pool's own thread-locals, which end first
        pool.apply(square, 3).unwrap()
    });
    assert_eq!(thread.join().unwrap(), 9);
}

#[test]
fn k4_b56_a_destructor_of_a_thread_local_may_use_a_pool() {
    let _careful = careful(30);
    let run = testing::run_with(
        &mut program("killed::uses_a_pool_when_a_thread_ends"),
        Duration::from_secs(20),
    );
    assert_eq!(run.success().lines(), ["Ok(16)"]);
}

/// With few descriptors left, or none.
#[cfg(unix)]
pub fn sends_much_without_descriptors() {
    common::init();
    let pool = Pool::new(1).unwrap();
    let null = || std::fs::File::open("/dev/null");
    let mut hog: Vec<_> = std::iter::repeat_with(null).map_while(Result::ok).collect();
    for free in 0..8 {
        let length = pool.apply(|bytes: Vec<u8>| bytes.len(), vec![7; 100_000]);
        assert_eq!(length.unwrap(), 100_000, "{free} descriptors");
        hog.pop();
    }
    drop(hog);
    // Not with an end of a channel in it.
    let hidden = (vec![7u8; 100_000], Some(ipc_channel::ipc::channel::<u32>().unwrap().0));
    let refused = pool.apply(|(bytes, _): (Vec<u8>, Option<IpcSender<u32>>)| bytes.len(), hidden);
    assert!(matches!(refused, Err(common::Error::Encode { .. })));
    let (sender, receiver) = ipc_channel::ipc::channel().unwrap();
    let p = Process::new(|sender: IpcSender<u32>| sender.send(1).unwrap(), sender);
    p.start().unwrap().join().unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
}

#[cfg(unix)]
#[test]
fn k5_b45_a_large_task_needs_no_descriptor() {
    let _careful = careful(60);
    let mut limited = limited("ulimit -n 64", "killed::sends_much_without_descriptors");
    testing::run_with(&mut limited, Duration::from_secs(40)).success();
}

/// As deep as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested(Option<Box<Nested>>);

fn nested(depth: usize) -> Nested {
    (0..depth).fold(Nested(None), |inner, _| Nested(Some(Box::new(inner))))
}

fn depth(mut value: &Nested) -> usize {
    let mut depth = 0;
    while let Some(inner) = &value.0 {
        value = inner;
        depth += 1;
    }
    depth
}

#[test]
fn k1_b56_a_deep_value_that_serde_can_encode_here_arrives() {
    let _careful = careful(60);
    const DEPTH: usize = 1_000;
    // As much as a thread of a test can stand: see that it can.
    assert_eq!(
        postcard::from_bytes::<Nested>(&postcard::to_stdvec(&nested(DEPTH)).unwrap()),
        Ok(nested(DEPTH))
    );
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply(|value: Nested| depth(&value), nested(DEPTH)).unwrap(), DEPTH);
    assert_eq!(depth(&pool.apply(nested, DEPTH).unwrap()), DEPTH);
    let both = pool.map(|value: Nested| value, [nested(DEPTH), nested(DEPTH)]).unwrap();
    assert!(both.iter().all(|value| depth(value) == DEPTH));
    let imap = pool.imap(|value: Nested| value, [nested(DEPTH)]).next().unwrap();
    assert_eq!(depth(&imap.unwrap()), DEPTH);
    let p = Process::new(|value: Nested| value, nested(DEPTH)).start().unwrap();
    assert_eq!(depth(&p.join().unwrap()), DEPTH);
    let pool = {
        pool.close().join().unwrap();
        let builder = Pool::builder().processes(1);
        builder
            .initializer(|value: Nested| assert_eq!(depth(&value), DEPTH), nested(DEPTH))
            .build()
            .unwrap()
    };
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    pool.close().join().unwrap();
}
