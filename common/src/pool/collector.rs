//! What a pool's handle and its threads share, and the thread that collects the results.
//!
//! **Submitters do not wait for the collector.** They leave jobs in the inbox. While the collector is awake, it takes them out
//! in each of its rounds, and dispatches them. While it sleeps, the submitter does that. Before its last round, the collector
//! notes that it will sleep, and then looks into the inbox; a submitter adds its job, and then looks for that note. Both do so
//! under the inbox's lock, so one of the two comes first: either the collector finds the job, or the submitter finds the note.
//!
//! **Nothing is delivered under the lock.** What has to be done when it is free again gathers in an [`Output`].

use super::handles::Unobserved;
use super::job::Job;
use super::output::Output;
use super::queue::Queue;
use super::slot::Slot;
use super::system::{Ringer, Sleeper};
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard, yield_now};
use crate::timeline;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct Inbox {
    jobs: VecDeque<Job>,
    /// How many tasks and chunks were accepted.
    sequence: u64,
    /// The collector sleeps, or will after one more look.
    collector_sleeps: bool,
}

/// What a pool's handle and its threads share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    inbox: Mutex<Inbox>,
    pub unobserved: Unobserved,
    /// A start takes a dozen descriptors for a moment: one start at a time.
    pub starting: std::sync::Mutex<()>,
    /// Every worker rings for the collector.
    pub bell: Ringer,
    sleeper: Sleeper,
    /// Its number in the timeline.
    pub number: u16,
}

impl Shared {
    /// See [`Queue::new`].
    pub fn new(workers: usize, max_tasks: u64, least: usize, (bell, sleeper): (Ringer, Sleeper)) -> Shared {
        Shared {
            queue: Mutex::new(Queue::new(workers, max_tasks, least)),
            inbox: Mutex::new(Inbox::default()),
            unobserved: Unobserved::default(),
            starting: std::sync::Mutex::new(()),
            bell,
            sleeper,
            number: timeline::new_pool(),
        }
    }

    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job in.
    pub fn submit(&self, mut job: Job) {
        timeline::submitted(self.number, job.count);
        let mut inbox = self.lock_inbox();
        job.sequence = inbox.sequence;
        inbox.sequence += 1;
        job.push_to(&mut inbox.jobs);
        let collector_sleeps = inbox.collector_sleeps;
        drop(inbox);
        if collector_sleeps {
            self.change(&mut Output::default(), |queue, _, out| queue.dispatch(out));
        }
    }

    /// Empties the inbox into the queue, and changes the queue. `change` learns whether there was a job. What gathers in `out` is
    /// done when the queue is free again.
    fn change<T>(&self, out: &mut Output, change: impl FnOnce(&mut Queue, bool, &mut Output) -> T) -> T {
        let mut queue = self.queue();
        let some = queue.push(&mut self.lock_inbox().jobs, out);
        let outcome = change(&mut queue, some, out);
        drop(queue);
        out.flush(&self.unobserved);
        outcome
    }

    /// Changes the queue, and dispatches what became possible by it.
    pub fn with_queue<T>(&self, change: impl FnOnce(&mut Queue, &mut Output) -> T) -> T {
        self.change(&mut Output::default(), |queue, _, out| {
            let outcome = change(queue, out);
            queue.rebalance(out);
            outcome
        })
    }

    /// Takes no more jobs, and ends the workers: when every item is answered, or now.
    pub fn end(&self, closed: bool) {
        self.with_queue(|queue, out| match closed {
            true => queue.closed = true,
            false => queue.terminate(out),
        });
    }

    /// What `join` says when every worker has ended.
    pub fn result(&self) -> Result<(), Error> {
        let queue = self.queue();
        let unobserved = self.unobserved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let unobserved = unobserved.map(|(count, first)| Error::UnobservedFailures {
            count,
            first: Arc::new(first),
        });
        let error = queue.failed.clone().or(queue.never_ready.clone()).or(unobserved);
        error.map_or(Ok(()), Err)
    }

    /// The loop of the collector: it collects results, dispatches jobs, and delivers, until no worker is left. (From then on
    /// jobs fail, by those who submit them: it is as if it slept.)
    pub fn collect(&self) {
        let mut out = Output::default();
        let mut round = |last| self.round(last, &mut out);
        loop {
            if round(false) {
                continue;
            }
            yield_now();
            if round(false) || round(true) {
                continue;
            }
            if self.queue().is_over() {
                return;
            }
            if self.sleeper.wait().is_err() {
                std::thread::sleep(Duration::from_millis(1)); // the bell was closed: look without it
            }
        }
    }

    /// Returns false if there was nothing to do. `last`: then the collector sleeps.
    fn round(&self, last: bool, out: &mut Output) -> bool {
        let slept = std::mem::replace(&mut self.lock_inbox().collector_sleeps, last);
        self.change(out, |queue, some, out| {
            if last != slept {
                queue.slots.iter().for_each(|slot| slot.watch(last));
            }
            let something = queue.collect_all(out) || some;
            if something {
                queue.rebalance(out);
            }
            if last {
                queue.slots.iter_mut().for_each(Slot::expel_idler);
            }
            something
        })
    }
}

#[cfg(test)]
#[path = "tests/shared_hooks.rs"]
mod hooks;
