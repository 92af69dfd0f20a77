//! Tasks that meddle with descriptors that are not theirs: they write into them, pass them on, or put others in their places.

use super::squares;
use crate::programs::{Events, careful, signal, slowness, soon, workers};
use crate::{in_time, square};
use common::{Error, Pool, Process};
use nix::libc;
use nix::sys::signal::Signal;
use std::fs;
use std::os::fd::IntoRawFd;
use std::process::{self, Command, Stdio};
use std::time::Duration;

/// The pipes and sockets that this process did not open itself, as far as they close themselves: what does not came from
/// outside, such as the pipe by which `make` counts its jobs.
fn pipes() -> Vec<i32> {
    let is_one = |&descriptor: &i32| {
        // SAFETY: only looked at; a number that is no descriptor's is an error.
        unsafe {
            let flags = libc::fcntl(descriptor, libc::F_GETFD);
            let mut stat = std::mem::zeroed();
            let kind = if libc::fstat(descriptor, &mut stat) == 0 {
                stat.st_mode & libc::S_IFMT
            } else {
                0
            };
            flags & libc::FD_CLOEXEC != 0 && flags >= 0 && (kind == libc::S_IFIFO || kind == libc::S_IFSOCK)
        }
    };
    (3..256).filter(is_one).collect()
}

/// What is taken for a length, or for the beginning of something.
fn garbage(kind: usize) -> Vec<u8> {
    match kind {
        0 => vec![0; 8],
        1 => vec![0xff; 8],
        2 => 1_000_u64.to_le_bytes().to_vec(),
        3 => (1_u64 << 40).to_le_bytes().to_vec(),
        4 => 16_u64.to_le_bytes().iter().copied().chain([0; 16]).collect(),
        5 => vec![0; 7],
        6 => vec![1; 25],
        _ => Vec::new(),
    }
}
const KINDS: usize = 7;

const LARGE: usize = 400_000;

fn write_everywhere_then_return(kind: usize) -> Vec<u8> {
    for descriptor in pipes() {
        let bytes = garbage(kind);
        // SAFETY: the bytes are read; what cannot be written to is an error.
        unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
    }
    vec![7; LARGE]
}

/// All of the result, or an error.
#[track_caller]
fn whole_or_error(kind: usize, outcome: Result<Vec<u8>, Error>) -> u32 {
    match outcome {
        Ok(bytes) => {
            assert!(bytes == vec![7; LARGE], "garbage {kind}: {} bytes", bytes.len());
            0
        }
        Err(error) => {
            assert!(!error.is_timeout(), "garbage {kind}: {error}");
            1
        }
    }
}

#[test]
fn h11_garbage_before_a_large_result_of_a_process_does_not_make_its_parent_wait() {
    let _careful = careful(60);
    for kind in 0..=KINDS {
        in_time(move || {
            let p = Process::new(write_everywhere_then_return, kind).start().unwrap();
            whole_or_error(kind, p.join_timeout(soon()));
            let errors = [whole_or_error(kind, p.join()), whole_or_error(kind, p.join())];
            assert_eq!(errors[0], errors[1], "it says the same again");
            let p = Process::new(write_everywhere_then_return, kind)
                .daemon(true)
                .start()
                .unwrap();
            let errors = whole_or_error(kind, p.join());
            assert!(errors == 0 || kind < KINDS, "without garbage there is no error");
        });
    }
}

#[test]
fn h11_garbage_between_large_results_of_a_worker_costs_one_task_at_most() {
    let _careful = careful(60);
    for kind in 0..KINDS {
        in_time(move || {
            for workers in [1, 2] {
                let pool = Pool::new(workers).unwrap();
                let kinds = (0..12).map(|i| if i == 5 { kind } else { KINDS });
                let tasks: Vec<_> = kinds
                    .map(|kind| pool.apply_async(write_everywhere_then_return, kind))
                    .collect();
                let errors = tasks.iter().map(|task| whole_or_error(kind, task.get_timeout(soon())));
                assert!(errors.sum::<u32>() <= 1, "garbage {kind}");
                assert_eq!(pool.map(square, 0..100).unwrap(), squares(100));
                pool.close().join().unwrap();
            }
        });
    }
}

// A program that a task started has every descriptor, for as long as it likes.

/// It runs until the event `go`, or as long as the place is there.
#[expect(clippy::zombie_processes, reason = "it may outlive this process")]
fn start_a_holder(place: &str) {
    for descriptor in 3..256 {
        // SAFETY: only a flag is changed; a number that is no descriptor's is an error.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) };
    }
    let life = "until [ -e \"$0/go\" ] || ! [ -e \"$0\" ]; do sleep 0.02; done; : > \"$0/gone\"";
    let mut holder = Command::new("sh");
    let holder = holder
        .args(["-c", life, place])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    holder.stderr(Stdio::null()).spawn().unwrap();
}

fn start_a_holder_and((place, how): (String, String)) -> u64 {
    start_a_holder(&place);
    match &how[..] {
        "abort" => process::abort(),
        "exit" => process::exit(3),
        "kill" => signal(process::id(), Signal::SIGKILL),
        _ => {}
    }
    7
}

fn is_right(how: &str, error: &Error) -> bool {
    match how {
        "kill" => matches!(error, Error::Signaled { signal: 9, .. }),
        "abort" => matches!(error, Error::Signaled { signal: 6, .. }),
        _ => matches!(error, Error::Exited { code: 3, .. }),
    }
}

fn let_go(events: &Events) {
    events.happen("go");
    events.wait_for("gone");
}

#[test]
fn h12_b55_a_death_is_seen_within_a_second_whoever_holds_the_pipes() {
    let _careful = careful(60);
    let second = Duration::from_secs(slowness());
    for how in ["kill", "abort", "exit"] {
        let pool = Pool::new(2).unwrap();
        for _ in 0..2 {
            let events = Events::new();
            let task = pool.apply_async(start_a_holder_and, (events.place(), how.to_owned()));
            let error = task.get_timeout(second).unwrap_err();
            assert!(is_right(how, &error), "{error}");
            assert_eq!(
                pool.map_async(square, 0..100).get_timeout(soon()).unwrap(),
                squares(100)
            );
            let_go(&events);
        }
        for daemon in [false, true] {
            let events = Events::new();
            let p = Process::new(start_a_holder_and, (events.place(), how.to_owned())).daemon(daemon);
            let error = p.start().unwrap().join_timeout(second).unwrap_err();
            assert!(is_right(how, &error), "{error}");
            let_go(&events);
        }
        in_time(|| pool.close().join().unwrap());
    }
}

#[test]
fn h12_pools_and_processes_end_whoever_holds_the_pipes() {
    let _careful = careful(60);
    type End = fn(Pool);
    let ends: [(&str, End); 4] = [
        ("join", |pool| pool.close().join().unwrap()),
        ("drop", drop),
        ("terminate", Pool::terminate),
        ("drop of a closed one", |pool| drop(pool.close())),
    ];
    for (what, end) in ends {
        let events = Events::new();
        let place = events.place();
        in_time(move || {
            let pool = Pool::new(2).unwrap();
            assert_eq!(
                pool.apply(start_a_holder_and, (place, String::new())).unwrap(),
                7,
                "{what}"
            );
            end(pool);
        });
        let_go(&events);
    }
    for joined in [true, false] {
        let events = Events::new();
        let place = events.place();
        in_time(move || {
            let p = Process::new(start_a_holder_and, (place, String::new()))
                .start()
                .unwrap();
            if joined {
                assert_eq!(p.join_timeout(soon()).unwrap(), 7);
                assert_eq!((p.join().unwrap(), p.exitcode()), (7, Some(0)));
            }
        });
        let_go(&events);
    }
}

#[test]
fn h12_b55_an_idle_worker_whose_pipes_are_held_is_missed_when_it_is_killed() {
    let _careful = careful(60);
    let events = Events::new();
    let place = events.place();
    in_time(move || {
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.apply(start_a_holder_and, (place, String::new())).unwrap(), 7);
        let pid = *workers(&pool).first().unwrap();
        signal(pid, Signal::SIGKILL);
        for i in 0..20 {
            assert_eq!(pool.apply(square, i).unwrap(), i * i);
        }
        assert!(!workers(&pool).contains(&pid));
        pool.close().join().unwrap();
    });
    let_go(&events);
}

/// Ends this thread, and leaves the process to its other ones. (Of that, musl tells nobody: see `os::exit_without_this_thread`.)
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn end_the_thread(_: ()) {
    // SAFETY: it never returns, and nobody waits for what lies on this stack.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn end_the_thread_with(_: ipc_channel::ipc::IpcSender<()>) {
    end_the_thread(())
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn h12_a_target_that_ends_its_thread_only_is_an_error() {
    let _careful = careful(60);
    in_time(|| {
        let pool = Pool::new(1).unwrap();
        let error = pool.apply_async(end_the_thread, ()).get_timeout(soon()).unwrap_err();
        assert!(!error.is_timeout(), "{error}");
        assert_eq!(
            pool.map_async(square, 0..100).get_timeout(soon()).unwrap(),
            squares(100)
        );
        pool.close().join().unwrap();
        for daemon in [false, true] {
            let p = Process::new(end_the_thread, ()).daemon(daemon).start().unwrap();
            let error = p.join_timeout(soon()).unwrap_err();
            assert!(!error.is_timeout(), "{error}");
            let sender = ipc_channel::ipc::channel().unwrap().0;
            let p = Process::new(end_the_thread_with, sender)
                .daemon(daemon)
                .start()
                .unwrap();
            let error = p.join_timeout(soon()).unwrap_err();
            assert!(!error.is_timeout(), "{error}");
        }
    });
}

// Descriptors that are not there any more, or not what they were.

/// Puts something in the places of all descriptors that are not open for somebody outside.
fn replace_descriptors(with: String) -> u64 {
    if with.is_empty() {
        return 7;
    }
    let (reader, writer) = os_pipe::pipe().unwrap();
    let other = match &with[..] {
        "a pipe to read" => reader.into_raw_fd(),
        "a pipe to write" => writer.into_raw_fd(),
        path => fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
            .into_raw_fd(),
    };
    for descriptor in (3..=50).filter(|&descriptor| descriptor != other) {
        // SAFETY: what is tested is that this harms nobody else.
        unsafe { libc::dup2(other, descriptor) };
    }
    7
}

#[test]
fn h16_a_task_that_replaces_descriptors_costs_one_task_at_most() {
    let _careful = careful(60);
    for with in ["/dev/null", "/dev/zero", "a pipe to read", "a pipe to write"] {
        in_time(move || {
            let pool = Pool::new(2).unwrap();
            let with = |i| {
                if [20, 90, 150].contains(&i) {
                    with.to_owned()
                } else {
                    String::new()
                }
            };
            let tasks: Vec<_> = (0..200)
                .map(|i| pool.apply_async(replace_descriptors, with(i)))
                .collect();
            let outcomes: Vec<_> = tasks.iter().map(|task| task.get_timeout(soon())).collect();
            assert!(outcomes.iter().flatten().all(|&value| value == 7));
            let errors: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
            assert!(errors.len() <= 3, "{} errors: {errors:?}", errors.len());
            assert_eq!(pool.map(square, 0..100).unwrap(), squares(100));
            pool.close().join().unwrap();
        });
    }
}
