//! Wrong values, and errors that do not say what is wrong.

#[cfg(unix)]
pub mod surroundings;
mod travel;

use crate::programs::{Events, await_event, careful, eventually};
use crate::{in_time, square, told};
use common::{
    AsyncResult, Child, ClosedPool, Error, Imap, MapResult, Pool, PoolBuilder, Process, ProcessInfo, current_process,
};
use ipc_channel::ipc::{self, IpcSender};
use std::fmt::Debug;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::panic::{catch_unwind, resume_unwind};
use std::time::Duration;
use std::{process, thread};

// Ends, and what is said of them.

#[cfg(target_os = "linux")] // where there are such signals
fn raise(signal: i32) {
    // SAFETY: it ends this process, or does nothing.
    unsafe { nix::libc::raise(signal) };
}

#[cfg(target_os = "linux")]
#[test]
fn w4_a_real_time_signal_is_told_with_its_number() {
    let _careful = careful(30);
    let pool = Pool::new(1).unwrap();
    for number in [nix::libc::SIGRTMIN(), nix::libc::SIGRTMIN() + 5, nix::libc::SIGRTMAX()] {
        let is_right = |error: &Error| {
            let told = matches!(error, Error::Signaled { signal, .. } if *signal == number);
            told && error.to_string().contains(&number.to_string())
        };
        for daemon in [false, true] {
            let p = Process::new(raise, number).daemon(daemon).start().unwrap();
            let error = p.join().unwrap_err();
            assert!(is_right(&error), "{number}: {error}");
            assert_eq!(p.exitcode(), Some(-number));
        }
        let error = pool.apply(raise, number).unwrap_err();
        assert!(is_right(&error), "{number}: {error}");
        let error = pool.map(raise, [number]).unwrap_err();
        assert!(
            matches!(&error, Error::Item { source, .. } if is_right(source)),
            "{number}: {error}"
        );
    }
    pool.close().join().unwrap();
}

fn catch_one_then(what: String) {
    let caught = catch_unwind(|| panic!("the first one"));
    assert!(caught.is_err());
    go_on(what);
}
const FIRST: u32 = line!() - 4;

fn go_on(what: String) {
    match &what[..] {
        "resume" => resume_unwind(Box::new("the second one")),
        "a thread" => {
            let thread = thread::spawn(|| panic!("the second one"));
            resume_unwind(thread.join().unwrap_err());
        }
        "another hook" => {
            std::panic::set_hook(Box::new(|_| {}));
            panic!("the second one");
        }
        "panic" => panic!("the second one"),
        _ => {}
    }
}
const SECOND: u32 = line!() - 4;

#[test]
fn w5_the_place_of_a_panic_is_not_that_of_one_that_was_caught() {
    let _careful = careful(30);
    let ends = |place: &Option<String>, line| {
        place
            .as_ref()
            .is_some_and(|place| place.ends_with(&format!("words.rs:{line}")))
    };
    let is_right = |what: &str, error: Error| match error {
        Error::Panicked { message, location, .. } => {
            assert_eq!(message, "the second one");
            assert!(!ends(&location, FIRST), "{what}: {location:?}");
            assert!(what != "panic" || ends(&location, SECOND), "{what}: {location:?}");
        }
        error => panic!("{what}: {error}"),
    };
    let p = Process::new(catch_one_then, "another hook".to_owned()).start().unwrap();
    is_right("another hook", p.join().unwrap_err());
    let pool = Pool::new(1).unwrap();
    for what in ["resume", "a thread", "panic"] {
        is_right(
            what,
            Process::new(catch_one_then, what.to_owned())
                .start()
                .unwrap()
                .join()
                .unwrap_err(),
        );
        is_right(what, pool.apply(catch_one_then, what.to_owned()).unwrap_err());
        // Caught in a task before it.
        pool.apply(catch_one_then, String::new()).unwrap();
        is_right(what, pool.apply(go_on, what.to_owned()).unwrap_err());
        // Or told of one.
        assert!(pool.apply(go_on, "panic".to_owned()).is_err());
        is_right(what, pool.apply(catch_one_then, what.to_owned()).unwrap_err());
    }
    pool.close().join().unwrap();
}

/// Panics once more after a first panic, whose place must not be told.
fn panic_again(how: u8) {
    const LONG: usize = 20;
    let first: fn() = match how {
        0 => || std::panic::panic_any(1),
        1 => || panic!("{}", "x".repeat(LONG)),
        _ => || panic!("{}", "y".repeat(LONG)),
    };
    let caught = catch_unwind(first);
    match how {
        0 => resume_unwind(Box::new(2)),
        1 => drop(caught), // the second text may lie where the first one did
        _ => {}
    }
    resume_unwind(Box::new("y".repeat(LONG)))
}

#[test]
fn w5_nor_if_there_is_no_text_or_it_lies_in_the_same_place_or_is_the_same() {
    let _careful = careful(30);
    let pool = Pool::new(1).unwrap();
    for how in 0..3 {
        let process = Process::new(panic_again, how).start().unwrap().join();
        for outcome in [process, pool.apply(panic_again, how)] {
            let is_right = matches!(outcome, Err(Error::Panicked { location: None, .. }));
            assert!(is_right, "{how}: {outcome:?}");
        }
    }
    pool.close().join().unwrap();
}

fn tell_and_wait((sender, place): (IpcSender<ProcessInfo>, String)) {
    sender.send(current_process()).unwrap();
    await_event(&place, "go");
}

fn leave(code: i32) {
    process::exit(code);
}

#[test]
fn w6_whether_a_process_is_alive_is_right_whoever_asks() {
    let _careful = careful(30);
    // A child, asked by its parent; and the parent, by a child.
    let events = Events::new();
    let (sender, receiver) = ipc::channel().unwrap();
    let p = Process::new(tell_and_wait, (sender, events.place()))
        .name("told")
        .start()
        .unwrap();
    let child = receiver.try_recv_timeout(Duration::from_secs(10)).unwrap();
    let alive = child.is_alive();
    events.happen("go");
    p.join().unwrap();
    assert_eq!((child.pid(), child.name()), (p.pid(), "told"));
    assert_eq!((alive, child.is_alive()), (true, false));
    let me = Process::new(|info: ProcessInfo| info.is_alive(), current_process());
    assert!(me.start().unwrap().join().unwrap());

    // Workers, asked by their parent and by each other.
    let pool = Pool::new(1).unwrap();
    let other = Pool::new(1).unwrap();
    let worker = pool.apply(|()| current_process(), ()).unwrap();
    assert!(worker.is_alive());
    assert!(
        other
            .apply(|info: ProcessInfo| info.is_alive(), worker.clone())
            .unwrap()
    );
    assert!(pool.apply(leave, 3).is_err());
    eventually("the worker has ended", || !worker.is_alive());
    assert!(!other.apply(|info: ProcessInfo| info.is_alive(), worker).unwrap());
    let worker = pool.apply(|()| current_process(), ()).unwrap();
    assert!(worker.is_alive());
    pool.close().join().unwrap();
    assert!(!worker.is_alive());

    // A child's child, which has ended when it is asked.
    let grandchild = other.apply(
        |()| {
            Process::new(|()| current_process(), ())
                .start()
                .unwrap()
                .join()
                .unwrap()
        },
        (),
    );
    assert!(!grandchild.unwrap().is_alive());
    other.close().join().unwrap();
}

#[test]
fn w9_a_worker_that_may_do_no_task_is_an_error_as_a_pool_of_no_worker_is() {
    let _careful = careful(30);
    match Pool::builder().processes(2).maxtasksperchild(0).build() {
        Ok(_) => panic!("0 counts as something else"),
        Err(error) => assert!(told(&error).contains("task"), "{error}"),
    }
    let pool = Pool::builder()
        .processes(2)
        .maxtasksperchild(usize::MAX)
        .build()
        .unwrap();
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    pool.close().join().unwrap();
}

fn no_tea(_: ()) {
    panic!("no tea");
}

/// What an error says, and then what its causes say.
#[track_caller]
fn says_nothing_twice(error: &dyn std::error::Error) {
    let mut error = error;
    while let Some(cause) = error.source() {
        let (said, again) = (error.to_string(), cause.to_string());
        assert!(!said.contains(&again), "{said:?}, because {again:?}");
        error = cause;
    }
}

#[test]
fn w11_an_error_and_its_source_do_not_say_the_same() {
    let _careful = careful(30);
    let pool = Pool::new(1).unwrap();
    let item = pool.map(no_tea, [()]).unwrap_err();
    assert!(matches!(item, Error::Item { .. }));
    says_nothing_twice(&item);
    says_nothing_twice(&pool.apply(no_tea, ()).unwrap_err());
    drop(pool.apply_async(no_tea, ()));
    says_nothing_twice(&pool.close().join().unwrap_err());
    let pool = Pool::builder().processes(1).initializer(no_tea, ()).build();
    let error = in_time(|| pool.and_then(|pool| pool.apply(square, 3)).unwrap_err());
    assert!(matches!(error, Error::Initializer(_)));
    says_nothing_twice(&error);
}

/// Does a type have what others take for granted? A method of the type itself comes before one of a trait.
struct Asked<T>(PhantomData<T>);

#[allow(dead_code)] // the one or the other
trait Otherwise {
    fn has_debug(&self) -> bool {
        false
    }
    fn is_fused(&self) -> bool {
        false
    }
}

impl<T> Otherwise for Asked<T> {}

#[allow(dead_code)]
impl<T: Debug> Asked<T> {
    fn has_debug(&self) -> bool {
        true
    }
}

#[allow(dead_code)]
impl<T: FusedIterator> Asked<T> {
    fn is_fused(&self) -> bool {
        true
    }
}

fn leave_with(code: i32) {
    process::exit(code);
}

#[test]
fn w21_any_exit_code_of_a_task_is_told() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    for code in [0, 1, 2, 70, 101, 113, 255] {
        let error = pool.apply(leave_with, code).unwrap_err();
        assert!(
            matches!(error, Error::Exited { code: told, .. } if told == code),
            "{code}: {error}"
        );
    }
}

/// What it returns cannot be sent.
fn returns_a_sender(_: ()) -> IpcSender<u32> {
    ipc::channel().unwrap().0
}

#[test]
fn w22_what_an_initializer_returns_is_ignored_whatever_it_is() {
    let _careful = careful(30);
    let pool = Pool::builder()
        .processes(2)
        .initializer(returns_a_sender, ())
        .build()
        .unwrap();
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    pool.close().join().unwrap();
}

#[test]
fn w18_every_public_type_can_be_shown() {
    type Results = Imap<'static, u64, u64, std::ops::Range<u64>>;
    let asked = [
        ("Pool", Asked::<Pool>(PhantomData).has_debug()),
        ("PoolBuilder", Asked::<PoolBuilder>(PhantomData).has_debug()),
        ("ClosedPool", Asked::<ClosedPool>(PhantomData).has_debug()),
        ("AsyncResult", Asked::<AsyncResult<u64>>(PhantomData).has_debug()),
        ("MapResult", Asked::<MapResult<u64>>(PhantomData).has_debug()),
        ("Imap", Asked::<Results>(PhantomData).has_debug()),
        ("Process", Asked::<Process<u64>>(PhantomData).has_debug()),
        ("Child", Asked::<Child<u64>>(PhantomData).has_debug()),
        ("ProcessInfo", Asked::<ProcessInfo>(PhantomData).has_debug()),
        ("Error", Asked::<Error>(PhantomData).has_debug()),
        // Whatever is in it: nobody shows a result.
        (
            "AsyncResult of what cannot",
            Asked::<AsyncResult<Untold>>(PhantomData).has_debug(),
        ),
        ("Child of what cannot", Asked::<Child<Untold>>(PhantomData).has_debug()),
        ("the end of Imap", Asked::<Results>(PhantomData).is_fused()),
    ];
    let missing: Vec<_> = asked.iter().filter(|(_, has)| !has).map(|(what, _)| what).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

struct Untold;
