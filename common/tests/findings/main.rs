//! What was found wrong once, each kind under its letter and number, so that it stays mended: `f1_`, `h5_`, `w4_`, `k2_`;
//! and the behaviours 52 to 58, as `b52_`.
//!
//! `forks`: copies made by `fork`. `hangs`: what never ended, or got lost. `words`: wrong values, and errors that do not
//! say what is wrong. `killed`: what ended the caller.

#[macro_use]
#[path = "../programs/mod.rs"]
mod programs;

#[cfg(unix)]
mod forks;
mod hangs;
mod killed;
mod words;

use common::Error;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{panic, thread};

programs! {
    #[cfg(unix)] forks::calls_in_a_copy,
    #[cfg(unix)] forks::goes_on_with_an_imap_in_copies,
    #[cfg(unix)] forks::drops_in_a_copy,
    #[cfg(unix)] forks::drops_a_child_in_a_copy,
    #[cfg(unix)] forks::begins_anew_in_a_copy,
    #[cfg(unix)] forks::forks_while_it_starts,
    #[cfg(unix)] forks::starts_while_others_fork_and_set_variables,
    #[cfg(unix)] forks::has_a_stopped_worker,
    hangs::leaves_a_child,
    #[cfg(unix)] hangs::ends::is_short_of_descriptors,
    #[cfg(target_os = "linux")] hangs::ends::is_short_of_processes,
    #[cfg(target_os = "linux")] hangs::ends::channels::starts_with_channels,
    #[cfg(target_os = "linux")] hangs::ends::channels::is_interrupted,
    #[cfg(target_os = "linux")] hangs::memory::has_six_hundred_workers,
    #[cfg(target_os = "linux")] hangs::memory::is_damaged,
    #[cfg(target_os = "linux")] hangs::memory::is_sent_garbage,
    #[cfg(target_os = "linux")] hangs::memory::drops_daemons,
    killed::uses_a_pool_when_a_thread_ends,
    #[cfg(unix)] killed::sends_much_without_descriptors,
    #[cfg(unix)] killed::signals::dies_of_closed_pipes,
    #[cfg(unix)] killed::signals::may_write_little,
    #[cfg(unix)] words::surroundings::holds_a_lock,
    #[cfg(unix)] words::surroundings::interrupts_programs,
    #[cfg(unix)] words::surroundings::is_interruptible,
    #[cfg(unix)] words::surroundings::terminates,
    #[cfg(unix)] words::surroundings::dispatches_on_its_name,
    #[cfg(unix)] words::surroundings::wants_too_much,
    #[cfg(unix)] words::surroundings::may_not_send_signals,
    #[cfg(target_os = "linux")] words::surroundings::gives_up_its_rights,
    #[cfg(target_os = "linux")] words::surroundings::changes_its_root,
    #[cfg(target_os = "linux")] words::surroundings::counts_its_children_anew,
    #[cfg(target_os = "linux")] words::surroundings::has_few_threads,
}

fn square(x: u64) -> u64 {
    x * x
}

/// What an error says, and what its sources say.
fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        told.push_str(&format!(", because {error}"));
        source = error.source();
    }
    told
}

/// Does something that hangs where it is wrong: then it fails, and the other tests go on.
#[track_caller]
fn in_time<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = mpsc::channel();
    let working = thread::spawn(move || done.send(work()));
    match result.recv_timeout(Duration::from_secs(30 * programs::slowness())) {
        Ok(result) => {
            let _ = working.join();
            result
        }
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => panic::resume_unwind(working.join().expect_err("it sent nothing")),
    }
}
