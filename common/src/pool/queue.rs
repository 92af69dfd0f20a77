//! Which item is where. Everything here happens under one lock, and nothing here waits.
//!
//! ```text
//!              submit                        dispatch                           collect
//!   caller ─────────────▶ queue of jobs ─────────────────▶ sent to a worker ─────────────▶ its handler
//!                              ▲                                   │
//!                              └──────── recall, death ────────────┘
//! ```
//!
//! **In order.** Jobs go out one by one, in the order in which they were submitted, each to the worker with the fewest jobs in
//! flight. What is taken back goes to the front again; and it is taken back when later jobs overtake it.
//!
//! **Ahead, as far as it pays.** Waking a process costs more than a small task, so a worker may have several jobs in flight. How
//! many adapts (`slot`): it doubles when all of them come back quickly, and halves when one comes while others wait behind it.
//!
//! **Nobody waits behind another one while a worker is idle.** That can happen in two places only. Dispatching: there, idle
//! workers come first, and a chunk is split among them. And a worker that runs dry while there is nothing to dispatch: then what
//! the others have not started is recalled (`claim`), and all of it is dispatched anew ([`Queue::rebalance`]).
//!
//! **A death costs one item**: see `ring`.

use super::handles::{Failure, Unobserved};
use super::job::{Job, Sent};
use super::output::{Completed, Output};
use super::ring::{Damaged, INLINE};
use super::slot::{Link, MIN_IN_FLIGHT, Slot};
use crate::error::Error;
use crate::os::Exit;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Strikes for a worker that does not get ready by its own fault. One that was killed meanwhile, or that the system does not let
/// start, gets one. When all workers have [`STRIKES`], and none got ready in between, the pool gives up.
const STRIKES_FOR_OWN_FAULT: u32 = 20;
const STRIKES: u32 = 120;

/// The load of a worker that cannot take a job.
const CANNOT_TAKE: u32 = u32::MAX;

pub(super) struct Queue {
    jobs: VecDeque<Job>,
    slots: Vec<Slot>,
    /// For each worker, how many jobs are in flight. (In one place, since the least is looked for each time.)
    loads: Vec<u32>,
    /// For each worker, its strikes since one was ready last.
    strikes: Vec<u32>,
    max_tasks: u64,
    /// How many jobs may be in flight per worker at first.
    least: usize,
    unobserved: Arc<Unobserved>,
    /// No worker is started any more: nothing is left to do, or nothing shall be done.
    pub shutting_down: bool,
    /// Why no worker can be had.
    pub failed: Option<Error>,
    /// Why the last worker that could not be made ready failed, while none was ready.
    pub never_ready: Option<Error>,
}

impl Queue {
    pub fn new(workers: usize, max_tasks: u64, unobserved: Arc<Unobserved>) -> Queue {
        Queue {
            jobs: VecDeque::new(),
            slots: (0..workers).map(|_| Slot::new(max_tasks, MIN_IN_FLIGHT)).collect(),
            loads: vec![CANNOT_TAKE; workers],
            strikes: vec![0; workers],
            max_tasks,
            least: MIN_IN_FLIGHT,
            unobserved,
            shutting_down: false,
            failed: None,
            never_ready: None,
        }
    }

    /// Takes jobs in. They are dispatched later.
    pub fn push(&mut self, jobs: impl IntoIterator<Item = Job>, out: &mut Output) {
        self.jobs.extend(jobs);
        let over = self.shutting_down.then_some(Error::Terminated);
        if let Some(error) = self.failed.clone().or(over) {
            self.fail_all(&error, out);
        }
    }

    /// There are more workers than processors: while one wakes up, others run. So nothing need be sent ahead at first, which keeps
    /// tasks in order.
    pub fn send_nothing_ahead(&mut self) {
        self.least = 1;
        self.slots.fill_with(|| Slot::new(self.max_tasks, 1));
    }

    /// Has every job been dispatched?
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Gives jobs to workers, to each at most `ahead` ahead.
    pub fn dispatch(&mut self, ahead: usize, out: &mut Output) {
        let mut unpublished = Vec::new();
        loop {
            if self.jobs.front().is_some_and(|job| job.count > 1) {
                self.split_jobs(self.idle());
            }
            let Some(large) = self.jobs.front().map(|job| job.items.len() > INLINE) else {
                break;
            };
            let Some(worker) = self.choose(ahead, large) else { break };
            let Some(job) = self.jobs.pop_front() else { break };
            match self.slots[worker].send(job) {
                Ok(rest) => rest.into_iter().for_each(|job| self.jobs.push_front(job)),
                Err((job, Damaged)) => {
                    self.jobs.push_front(job);
                    self.slots[worker].expel();
                }
            }
            self.update_load(worker);
            if !unpublished.contains(&worker) {
                unpublished.push(worker);
            }
        }
        for worker in unpublished {
            self.slots[worker].publish(out);
        }
    }

    fn idle(&self) -> usize {
        self.loads.iter().filter(|&&load| load == 0).count()
    }

    /// The worker with the fewest jobs in flight, if it may have another one.
    fn choose(&self, ahead: usize, large: bool) -> Option<usize> {
        let (worker, &load) = self.loads.iter().enumerate().min_by_key(|&(_, load)| load)?;
        let limit = if large { 1 } else { ahead.min(self.slots[worker].depth) };
        ((load as usize) < limit).then_some(worker)
    }

    fn update_load(&mut self, worker: usize) {
        let slot = &self.slots[worker];
        self.loads[worker] = if slot.can_take() {
            slot.sent.len() as u32
        } else {
            CANNOT_TAKE
        };
    }

    /// Takes in what all workers have written. False: there was nothing.
    pub fn collect_all(&mut self, out: &mut Output) -> bool {
        let mut something = false;
        for worker in 0..self.slots.len() {
            something |= self.collect(worker, out);
        }
        something
    }

    fn collect(&mut self, worker: usize, out: &mut Output) -> bool {
        let slot = &mut self.slots[worker];
        let was_ready = slot.ready;
        let something = slot.collect(&self.unobserved, out);
        if something {
            if slot.ready && !was_ready {
                self.is_ready();
            }
            self.update_load(worker);
        }
        something
    }

    /// A worker has become ready. Earlier jobs may wait behind others: they are its.
    fn is_ready(&mut self) {
        self.strikes.fill(0);
        self.never_ready = None;
        for worker in 0..self.slots.len() {
            if self.slots[worker].in_flight > 1 {
                self.recall(worker);
            }
        }
    }

    /// Dispatches what there is; if then a worker is idle, it gets what others have not started.
    pub fn rebalance(&mut self, out: &mut Output) {
        for worker in 0..self.slots.len() {
            if self.is_overtaken(worker) && self.recall(worker) {
                self.slots[worker].pause();
                self.update_load(worker);
            }
        }
        self.dispatch(usize::MAX, out);
        let idle = self.idle();
        if idle == 0 || !self.jobs.is_empty() {
            return;
        }
        let mut parts = idle;
        for worker in 0..self.slots.len() {
            // A single item will be started at once.
            parts += usize::from(self.slots[worker].in_flight > 1 && self.recall(worker));
        }
        if parts > idle {
            self.split_jobs(parts);
            self.dispatch(usize::MAX, out);
        }
    }

    /// Do jobs that come later start before one that waits here? (The worker is busy, or the system lets others run.)
    fn is_overtaken(&self, worker: usize) -> bool {
        let Some(next) = self.jobs.front() else { return false };
        let slot = &self.slots[worker];
        let places = (MIN_IN_FLIGHT * self.slots.len()) as u64;
        let few = (1..=MIN_IN_FLIGHT).contains(&slot.sent.len()); // many are sent back in no time
        few && slot
            .first_waiting()
            .is_some_and(|waiting| waiting.sequence + places < next.sequence)
    }

    /// Takes back what a worker has not started. True: there was some.
    fn recall(&mut self, worker: usize) -> bool {
        let jobs = self.slots[worker].recall();
        self.update_load(worker);
        let some = !jobs.is_empty();
        self.take_back(jobs);
        some
    }

    fn take_back(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            let place = self.jobs.partition_point(|other| other.order() < job.order());
            self.jobs.insert(place, job);
        }
    }

    /// Halves the longest job until there are as many as `parts`, if there are items enough.
    fn split_jobs(&mut self, parts: usize) {
        while self.jobs.len() < parts {
            let longest = (0..self.jobs.len()).max_by_key(|&job| self.jobs[job].count);
            let Some(longest) = longest.filter(|&job| self.jobs[job].count > 1) else {
                return;
            };
            let job = &mut self.jobs[longest];
            let half = job.split_off(job.count.div_ceil(2));
            self.jobs.insert(longest + 1, half);
        }
    }

    /// Before the collector sleeps: from here on, every worker that writes rings. True: one has written already.
    pub fn fall_asleep(&mut self) -> bool {
        self.slots.iter().for_each(Slot::watch);
        let written = self.slots.iter().any(Slot::has_written);
        self.slots.iter_mut().for_each(Slot::expel_idler);
        written
    }

    /// The collector has woken up.
    pub fn wake_up(&self) {
        self.slots.iter().for_each(Slot::unwatch);
    }

    /// A worker was started; it has to get ready yet. False: too late, the pool ends.
    pub fn started(&mut self, worker: usize, link: &Arc<Link>, out: &mut Output) -> bool {
        if self.shutting_down {
            return false;
        }
        self.slots[worker].started(link.clone());
        self.collect(worker, out); // it may have rung before anybody knew of it
        true
    }

    /// A worker was stopped, or goes on: what it has not started is not for it meanwhile.
    pub fn stopped(&mut self, worker: usize, stopped: bool) {
        self.slots[worker].stopped = stopped;
        if stopped {
            self.recall(worker);
        }
        self.update_load(worker);
    }

    /// A worker has ended. What it had not started goes back to the queue; what it was doing fails. If it never was ready, returns
    /// why, and whether by its own fault.
    pub fn exited(&mut self, worker: usize, exit: Exit, out: &mut Output) -> Option<(Error, bool)> {
        let slot = &mut self.slots[worker];
        let (jobs, error, own_fault) = slot.exited(exit, &self.unobserved, out)?;
        let slot = std::mem::replace(slot, Slot::new(self.max_tasks, self.least));
        self.loads[worker] = CANNOT_TAKE;
        self.take_back(jobs);
        for sent in slot.sent {
            self.fail(sent, &error, out);
        }
        (!slot.ready).then_some((error, own_fault))
    }

    /// A worker could not be started, or has ended before it was ready. Returns how long to wait before the next try, or `None`
    /// if the pool gives up.
    pub fn start_failed(&mut self, worker: usize, error: Error, own_fault: bool, out: &mut Output) -> Option<Duration> {
        let strikes = if own_fault { STRIKES_FOR_OWN_FAULT } else { 1 };
        self.strikes[worker] += strikes;
        let error = Error::Initializer(Arc::new(error));
        if self.strikes.iter().all(|&strikes| strikes >= STRIKES) {
            self.failed = Some(error.clone());
            self.shutting_down = true;
            self.fail_all(&error, out);
            return None;
        }
        if !self.slots.iter().any(|slot| slot.ready) {
            self.never_ready = Some(error);
        }
        Some(Duration::from_millis(5 << (self.strikes[worker] / strikes).min(6)))
    }

    /// Nothing more is to be done: the workers end by themselves.
    pub fn finish(&mut self, out: &mut Output) {
        self.shutting_down = true;
        for worker in 0..self.slots.len() {
            self.slots[worker].shut_down(out);
            self.update_load(worker);
        }
    }

    /// Ends everything now.
    pub fn terminate(&mut self, out: &mut Output) {
        self.shutting_down = true;
        for worker in 0..self.slots.len() {
            self.slots[worker].terminate();
            self.update_load(worker);
        }
        self.fail_all(&Error::Terminated, out);
    }

    /// Fails everything that is not answered.
    fn fail_all(&mut self, error: &Error, out: &mut Output) {
        for worker in 0..self.slots.len() {
            for sent in std::mem::take(&mut self.slots[worker].sent) {
                self.fail(sent, error, out);
            }
        }
        for job in std::mem::take(&mut self.jobs) {
            let sent = Sent {
                job,
                first: 0,
                answered: 0,
            };
            self.fail(sent, error, out);
        }
    }

    fn fail(&self, sent: Sent, error: &Error, out: &mut Output) {
        for answered in sent.answered..sent.job.count {
            let failure = Failure::new(error.clone(), &self.unobserved);
            let index = sent.job.index + answered as usize;
            out.push(sent.job.handler.clone(), index, Completed::Failed(failure));
        }
    }
}

#[cfg(test)]
#[path = "tests/queue_hooks.rs"]
mod hooks;
