//! What a pool's handle and its threads share, and the thread that takes results in.
//!
//! **Submitters never wait.** They leave jobs in the inbox. If the queue is *hungry* (it has nothing to dispatch), and nobody
//! holds it, they dispatch by themselves; the thread that holds it looks into the inbox again afterwards. Here too each side has a fence
//! between its two steps: the submitter leaves a job, then looks whether the queue is hungry; the holder says so, then looks
//! into the inbox. If the queue is not hungry, workers have enough to do, and the collector will look into the inbox when one
//! answers.
//!
//! **Nothing is delivered under the lock.** What has to be done when it is free again gathers in an [`Output`].

use super::handles::Unobserved;
use super::job::Job;
use super::output::Output;
use super::queue::Queue;
use super::slot::Link;
use super::system::{Ringer, Sleeper};
use crate::error::Error;
use crate::os::Exit;
use crate::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, MutexGuard, fence, yield_now};
use crate::timeline;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How many jobs a submitter sends ahead to a worker. The collector sends more.
const SUBMITTERS_AHEAD: usize = 64;

#[derive(Default)]
struct Inbox {
    jobs: Vec<Job>,
    sequence: u64,
}

/// What a pool's handle and its threads share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    inbox: Mutex<Inbox>,
    /// There is nothing to dispatch.
    hungry: AtomicBool,
    /// Something changed that a waiting thread may care about: the last item was answered, or the pool ends. (Not with the
    /// queue's lock: who holds that has to look into the inbox afterwards.)
    changed: Condvar,
    gate: Mutex<()>,
    /// No worker is started any more.
    shutting_down: AtomicBool,
    /// Items that were accepted and are not delivered yet.
    pending: AtomicUsize,
    /// Somebody waits for `pending` to become 0.
    joining: AtomicBool,
    pub unobserved: Arc<Unobserved>,
    /// A start takes a dozen descriptors for a moment: two starts at a time are enough.
    pub starting: [std::sync::Mutex<()>; 2],
    /// Every worker rings for the collector.
    pub bell: Ringer,
    sleeper: Sleeper,
    /// The collector is to end.
    over: AtomicBool,
    /// Its number in the timeline.
    pub number: u16,
}

impl Shared {
    pub fn new(workers: usize, max_tasks: u64, (bell, sleeper): (Ringer, Sleeper)) -> Shared {
        let unobserved = Arc::new(Unobserved::default());
        Shared {
            queue: Mutex::new(Queue::new(workers, max_tasks, unobserved.clone())),
            inbox: Mutex::new(Inbox::default()),
            hungry: AtomicBool::new(true),
            changed: Condvar::new(),
            gate: Mutex::new(()),
            shutting_down: AtomicBool::new(false),
            pending: AtomicUsize::new(0),
            joining: AtomicBool::new(false),
            unobserved,
            starting: Default::default(),
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
        self.pending.fetch_add(job.count as usize, Relaxed);
        let mut inbox = self.lock_inbox();
        job.sequence = inbox.sequence;
        inbox.sequence += 1;
        inbox.jobs.push(job);
        drop(inbox);
        fence(SeqCst);
        if self.hungry.load(Relaxed) {
            self.empty_inbox(&mut Output::default());
        }
    }

    /// Dispatches what is in the inbox, until it is empty or another thread holds the queue, which will look.
    fn empty_inbox(&self, out: &mut Output) {
        while let Ok(mut queue) = self.queue.try_lock() {
            self.take_inbox(&mut queue, out);
            queue.dispatch(SUBMITTERS_AHEAD, out);
            self.release(queue, out);
            if !self.is_wanted() {
                return;
            }
        }
    }

    fn take_inbox(&self, queue: &mut Queue, out: &mut Output) -> bool {
        let jobs = std::mem::take(&mut self.lock_inbox().jobs);
        let some = !jobs.is_empty();
        queue.push(jobs, out);
        some
    }

    /// Lets the queue go, then does what is to be done.
    fn release(&self, queue: MutexGuard<Queue>, out: &mut Output) {
        let hungry = queue.is_empty();
        if hungry != self.hungry.load(Relaxed) {
            self.hungry.store(hungry, Relaxed);
        }
        if queue.shutting_down {
            self.shutting_down.store(true, SeqCst);
        }
        drop(queue);
        self.flush(out);
        fence(SeqCst);
    }

    /// Wakes those who wait for a change.
    fn tell(&self) {
        drop(self.lock_gate()); // a thread that was about to wait is waiting now
        self.changed.notify_all();
    }

    fn lock_gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Did a submitter leave something that nobody else will look at?
    fn is_wanted(&self) -> bool {
        self.hungry.load(Relaxed) && !self.lock_inbox().jobs.is_empty()
    }

    /// Changes the queue, and dispatches what became possible by it.
    fn with_queue<T>(&self, change: impl FnOnce(&mut Queue, &mut Output) -> T) -> T {
        let mut out = Output::default();
        let mut queue = self.lock();
        let outcome = change(&mut queue, &mut out);
        self.take_inbox(&mut queue, &mut out);
        queue.rebalance(&mut out);
        self.release(queue, &mut out);
        if self.is_wanted() {
            self.empty_inbox(&mut out);
        }
        self.tell();
        outcome
    }

    fn flush(&self, out: &mut Output) {
        let delivered = out.flush();
        // Handlers are dropped by now: `join` knows of failures that nobody will ask for.
        if delivered > 0 && self.pending.fetch_sub(delivered, SeqCst) == delivered && self.joining.load(SeqCst) {
            self.tell();
        }
    }

    /// Waits until every accepted item is answered, then lets the workers end.
    pub fn finish(&self) {
        self.joining.store(true, SeqCst);
        let mut gate = self.lock_gate();
        while self.pending.load(SeqCst) > 0 {
            gate = self.changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        drop(gate);
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

    /// See [`Queue::send_nothing_ahead`].
    pub fn send_nothing_ahead(&self) {
        self.with_queue(|queue, _| queue.send_nothing_ahead());
    }

    /// See [`Queue::started`].
    pub fn started(&self, worker: usize, link: &Arc<Link>) -> bool {
        self.with_queue(|queue, out| queue.started(worker, link, out))
    }

    /// See [`Queue::stopped`].
    pub fn stopped(&self, worker: usize, stopped: bool) {
        self.with_queue(|queue, _| queue.stopped(worker, stopped));
    }

    /// See [`Queue::exited`].
    pub fn exited(&self, worker: usize, exit: Exit) -> Option<(Error, bool)> {
        self.with_queue(|queue, out| queue.exited(worker, exit, out))
    }

    /// Waits before a worker is started again, if it is to be: see [`Queue::start_failed`].
    pub fn start_failed(&self, worker: usize, error: Error, own_fault: bool) {
        if let Some(pause) = self.with_queue(|queue, out| queue.start_failed(worker, error, own_fault, out)) {
            let gate = self.lock_gate();
            drop(
                self.changed
                    .wait_timeout_while(gate, pause, |()| !self.is_shutting_down()),
            );
        }
    }

    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(SeqCst)
    }

    /// The life of the collector: takes results in, dispatches, delivers.
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
            let mut queue = self.lock();
            let awake = queue.fall_asleep();
            self.release(queue, &mut out);
            if !awake && !self.is_wanted() && !self.over.load(SeqCst) && self.sleeper.wait().is_err() {
                std::thread::sleep(Duration::from_millis(1)); // somebody closed the bell: look without it
            }
            self.lock().wake_up();
        }
    }

    /// False: there was nothing to do.
    fn round(&self, out: &mut Output) -> bool {
        let mut queue = self.lock();
        let collected = queue.collect_all(out);
        let something = self.take_inbox(&mut queue, out) || collected;
        if something {
            queue.rebalance(out);
        }
        self.release(queue, out);
        something || self.is_wanted()
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
