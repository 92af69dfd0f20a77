//! What a pool's handle and its threads share, and the thread that collects the results.
//!
//! **Submitters never wait.** They leave jobs in the inbox. If a worker is *hungry* (it has next to nothing to do), and no
//! thread holds the queue, they dispatch the jobs themselves. A thread that holds the queue notes before it releases it
//! whether a worker is hungry, and if so, looks into the inbox afterwards. Both sides do this under the inbox's lock, so one
//! of the two comes first: either the submitter finds the queue free, or the holder finds the job. If nobody is hungry, every
//! worker has something to do, or can take nothing just now; the next thing that happens to any of them is noticed by the
//! collector or a supervisor, who look into the inbox then.
//!
//! **Nothing is delivered under the lock.** What has to be done when it is free again gathers in an [`Output`].

use super::handles::Unobserved;
use super::job::Job;
use super::output::Output;
use super::queue::Queue;
use super::system::{Ringer, Sleeper};
use crate::error::Error;
use crate::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, MutexGuard, yield_now};
use crate::timeline;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct Inbox {
    jobs: VecDeque<Job>,
    /// How many jobs, and how many items, were accepted.
    sequence: u64,
    items: usize,
    /// See [`Queue::is_hungry`].
    hungry: bool,
}

/// What a pool's handle and its threads share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    inbox: Mutex<Inbox>,
    /// Something changed that a waiting thread may care about: the last item was answered, or the pool ends. Used with the
    /// inbox's lock: a thread that holds the queue's lock has to look into the inbox afterwards.
    changed: Condvar,
    /// No worker is started any more.
    shutting_down: AtomicBool,
    /// How many items were delivered.
    delivered: AtomicUsize,
    pub unobserved: Arc<Unobserved>,
    /// A start takes a dozen descriptors for a moment: one start at a time.
    pub starting: std::sync::Mutex<()>,
    /// Every worker rings for the collector.
    pub bell: Ringer,
    sleeper: Sleeper,
    /// The collector is to end.
    over: AtomicBool,
    /// Its number in the timeline.
    pub number: u16,
}

impl Shared {
    /// See [`Queue::new`].
    pub fn new(workers: usize, max_tasks: u64, least: usize, (bell, sleeper): (Ringer, Sleeper)) -> Shared {
        let unobserved = Arc::new(Unobserved::default());
        Shared {
            queue: Mutex::new(Queue::new(workers, max_tasks, least)),
            inbox: Mutex::new(Inbox::default()),
            changed: Condvar::new(),
            shutting_down: AtomicBool::new(false),
            delivered: AtomicUsize::new(0),
            unobserved,
            starting: std::sync::Mutex::new(()),
            bell,
            sleeper,
            over: AtomicBool::new(false),
            number: timeline::new_pool(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
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
        inbox.items += job.count as usize;
        inbox.jobs.push_back(job);
        let hungry = inbox.hungry;
        drop(inbox);
        if hungry {
            let mut out = Output::default();
            if let Some(queue) = self.try_dispatch(&mut out) {
                self.release(queue, &mut out);
            }
        }
    }

    fn take_inbox(&self, queue: &mut Queue, out: &mut Output) -> bool {
        let mut inbox = self.lock_inbox();
        let some = !inbox.jobs.is_empty();
        queue.push(&mut inbox.jobs, out);
        some
    }

    /// Dispatches what is in the inbox. `None`: another thread holds the queue, and will look into the inbox.
    fn try_dispatch(&self, out: &mut Output) -> Option<MutexGuard<'_, Queue>> {
        let mut queue = self.queue.try_lock().ok()?;
        self.take_inbox(&mut queue, out);
        queue.dispatch(out);
        Some(queue)
    }

    /// Releases the queue, and does what has to be done afterwards; once more, if a submitter has relied on that in the
    /// meantime.
    fn release<'a>(&'a self, queue: MutexGuard<'a, Queue>, out: &mut Output) {
        let mut held = Some(queue);
        while let Some(mut queue) = held {
            let hungry = queue.is_hungry();
            if hungry != std::mem::replace(&mut queue.told_hungry, hungry) {
                self.lock_inbox().hungry = hungry;
            }
            if queue.shutting_down {
                self.shutting_down.store(true, SeqCst);
            }
            drop(queue);
            let delivered = out.flush(&self.unobserved);
            // Handlers are dropped by now: `join` knows of failures that nobody will ask for.
            self.delivered.fetch_add(delivered, SeqCst);
            if delivered > 0 {
                self.tell();
            }
            let relied_on = hungry && !self.lock_inbox().jobs.is_empty();
            held = relied_on.then(|| self.try_dispatch(out)).flatten();
        }
    }

    /// Wakes those who wait for a change.
    fn tell(&self) {
        drop(self.lock_inbox()); // a thread that was about to wait is waiting now
        self.changed.notify_all();
    }

    /// Items that were accepted and are not delivered yet.
    fn pending(&self, inbox: &Inbox) -> usize {
        inbox.items - self.delivered.load(SeqCst)
    }

    /// Changes the queue, and dispatches what became possible by it.
    pub fn with_queue<T>(&self, change: impl FnOnce(&mut Queue, &mut Output) -> T) -> T {
        let mut out = Output::default();
        let mut queue = self.lock();
        let outcome = change(&mut queue, &mut out);
        self.take_inbox(&mut queue, &mut out);
        queue.rebalance(&mut out);
        self.release(queue, &mut out);
        self.tell();
        outcome
    }

    /// Waits until every accepted item is answered, then lets the workers end.
    pub fn finish(&self) {
        let mut inbox = self.lock_inbox();
        while self.pending(&inbox) > 0 {
            inbox = self.changed.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
        drop(inbox);
        self.with_queue(|queue, out| queue.finish(out));
    }

    /// What `join` says when every worker has ended.
    pub fn result(&self) -> Result<(), Error> {
        let queue = self.lock();
        match queue.failed.clone().or(queue.never_ready.clone()) {
            Some(error) => Err(error),
            None => self.unobserved.result(),
        }
    }

    /// Ends everything now.
    pub fn terminate(&self) {
        self.with_queue(|queue, out| queue.terminate(out));
    }

    /// Waits before a worker is started again, if it is to be: see [`Queue::start_failed`].
    pub fn start_failed(&self, worker: usize, error: Error, own_fault: bool) {
        if let Some(pause) = self.with_queue(|queue, out| queue.start_failed(worker, error, own_fault, out)) {
            let goes_on = |_: &mut Inbox| !self.is_shutting_down();
            drop(self.changed.wait_timeout_while(self.lock_inbox(), pause, goes_on));
        }
    }

    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(SeqCst)
    }

    /// The loop of the collector: it collects results, dispatches jobs, and delivers.
    pub fn collect(&self) {
        let mut out = Output::default();
        while !self.over.load(SeqCst) {
            if self.round(&mut out) {
                continue;
            }
            yield_now();
            if self.round(&mut out) {
                continue;
            }
            let awake = self.last_round(&mut out);
            if !awake && !self.over.load(SeqCst) && self.sleeper.wait().is_err() {
                std::thread::sleep(Duration::from_millis(1)); // somebody closed the bell: look without it
            }
            self.lock().unwatch();
        }
    }

    /// False: there was nothing to do.
    fn round(&self, out: &mut Output) -> bool {
        let mut queue = self.lock();
        let something = self.take_in(&mut queue, out);
        self.release(queue, out);
        something
    }

    /// As [`round`](Shared::round), before the collector sleeps.
    fn last_round(&self, out: &mut Output) -> bool {
        let mut queue = self.lock();
        queue.watch();
        let something = self.take_in(&mut queue, out);
        queue.expel_idlers();
        self.release(queue, out);
        something
    }

    fn take_in(&self, queue: &mut Queue, out: &mut Output) -> bool {
        let collected = queue.collect_all(out);
        let something = self.take_inbox(queue, out) || collected;
        if something {
            queue.rebalance(out);
        }
        something
    }

    /// Lets the collector end.
    pub fn end_collector(&self) {
        self.over.store(true, SeqCst);
        let _ = self.bell.ring(); // it cannot be closed: it is ours
    }
}

#[cfg(test)]
#[path = "tests/shared_hooks.rs"]
mod hooks;
