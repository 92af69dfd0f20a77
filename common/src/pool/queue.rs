//! Which item is where. Everything here happens under one lock, and nothing here waits.
//!
//! ```text
//!              submit                        dispatch                           collect
//!   caller ─────────────▶ queue of jobs ─────────────────▶ sent to a worker ─────────────▶ its handler
//!                              ▲                                   │
//!                              └──────── recall, death ────────────┘
//! ```
//!
//! **In order.** Jobs go out in the order in which they were submitted, each to the worker with the fewest jobs in flight (if
//! it already has many, several in a row). Jobs that are taken back go to the front again; a job is taken back, for example,
//! when later jobs overtake it.
//!
//! **Ahead, as far as it pays.** Waking a process costs more than a small task, so a worker may have several jobs in flight; how
//! many is learned for each function (`depth`).
//!
//! **No job waits behind another one while a worker is idle.** This could go wrong in two places only. The first is
//! dispatching: there, idle workers come first, and a chunk is split among them. The second is a worker that runs out of jobs
//! while there is nothing to dispatch: then jobs that the busiest workers have not started are recalled (`claim`), as many as
//! are needed, and dispatched again ([`Queue::rebalance`]).
//!
//! **A death costs one item**: see `ring`.

use super::depth::{Depths, FEW};
use super::job::Job;
use super::output::Output;
use super::ring::INLINE;
use super::slot::Slot;
use super::system::Link;
use crate::error::Error;
use crate::os::Exit;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Strikes for a worker that does not get ready by its own fault. One that was killed meanwhile, or that the system does not let
/// start, gets one. When all workers have [`STRIKES`], and none got ready in between, the pool gives up.
const STRIKES_FOR_OWN_FAULT: u32 = 20;
const STRIKES: u32 = 120;

/// Before a worker is replaced that has ended without a task, though it was ready.
const PAUSE_AFTER_NOTHING: Duration = Duration::from_millis(100);

/// A worker whose depth is n times this gets n tasks in a row, because they are neighbours in memory.
const RUN: usize = 16;

/// The load of a worker that cannot take a job.
const CANNOT_TAKE: usize = usize::MAX;

#[derive(Default)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    pub slots: Vec<Slot>,
    /// While jobs are dispatched: for each worker, how many tasks are in flight. (In one place, since the least is looked for each time.)
    loads: Vec<usize>,
    /// For each worker, its strikes since one was ready last.
    strikes: Vec<u32>,
    /// The highest sequence number of a job that was sent to a worker.
    newest: u64,
    max_tasks: u64,
    depths: Depths,
    /// The pool takes no more jobs: when all are answered, the workers end.
    pub closed: bool,
    /// No worker is started any more: nothing is left to do, or the pool was terminated.
    pub shutting_down: bool,
    /// Why no worker can be had.
    pub failed: Option<Error>,
    /// Why the last worker that could not be made ready failed, if none ever was ready.
    pub never_ready: Option<Error>,
    was_ready: bool,
}

impl Queue {
    pub fn new(workers: usize, max_tasks: u64, least: usize) -> Queue {
        Queue {
            slots: (0..workers).map(|_| Slot::new(max_tasks)).collect(),
            depths: Depths::new(least),
            strikes: vec![0; workers],
            max_tasks,
            ..Queue::default()
        }
    }

    /// Takes jobs in, which are dispatched later. Returns false if there are none.
    pub fn push(&mut self, jobs: &mut VecDeque<Job>, out: &mut Output) -> bool {
        let some = !jobs.is_empty();
        if self.jobs.is_empty() {
            std::mem::swap(&mut self.jobs, jobs);
        } else {
            jobs.drain(..).for_each(|job| job.push_to(&mut self.jobs));
        }
        let over = self.shutting_down.then_some(Error::Terminated);
        if let Some(error) = self.failed.clone().or(over) {
            self.fail_all(&error, out);
        }
        some
    }

    /// Gives jobs to workers.
    pub fn dispatch(&mut self, out: &mut Output) {
        if self.jobs.is_empty() {
            return;
        }
        self.loads.clear();
        self.loads.extend(self.slots.iter().map(load));
        while let Some(job) = self.jobs.front() {
            let function = job.function;
            if job.chunk {
                self.split_jobs(self.idle());
            }
            let Some((worker, full)) = self.choose() else { break };
            let slot = &mut self.slots[worker];
            loop {
                self.loads[worker] = CANNOT_TAKE;
                if !slot.can_take() || !self.jobs.front().is_some_and(|job| slot.has_room(job)) {
                    break;
                }
                let Some(job) = self.jobs.pop_front() else { break };
                self.newest = self.newest.max(job.sequence);
                let rest = slot.send(job, self.newest, full - slot.in_flight.load);
                rest.into_iter().for_each(|job| self.jobs.push_front(job));
                self.loads[worker] = load(slot);
                let alike = |job: &Job| job.function == function && job.items.len() <= INLINE;
                if slot.in_flight.load >= full || !self.jobs.front().is_some_and(alike) {
                    break;
                }
            }
            slot.publish(out);
        }
    }

    fn idle(&self) -> usize {
        self.slots.iter().filter(|slot| load(slot) == 0).count()
    }

    /// The worker with the fewest tasks in flight, if it may have more, and how many it is to have then: some more, if these are
    /// many already.
    fn choose(&self) -> Option<(usize, usize)> {
        let (worker, &load) = self.loads.iter().enumerate().min_by_key(|&(_, load)| load)?;
        let job = self.jobs.front()?;
        let first = self.slots[worker].in_flight.function().unwrap_or(job.function);
        let depth = self.depths.get(job.function).min(self.depths.get(first));
        let limit = if job.items.len() <= INLINE { depth } else { 1 };
        if load >= limit {
            return None;
        }
        Some((worker, load + (limit / RUN).clamp(1, load.clamp(1, limit - load))))
    }

    /// Reads what all workers have written. Returns false if there was nothing.
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
        let something = slot.collect(&mut self.depths, out);
        if slot.ready && !was_ready {
            self.is_ready();
        }
        something
    }

    /// A worker has become ready. Jobs that wait behind others are recalled, so that it can get them.
    fn is_ready(&mut self) {
        self.strikes.fill(0);
        self.never_ready = None;
        self.was_ready = true;
        let busy = self.slots.iter_mut().filter(|slot| slot.in_flight.items() > 1);
        let jobs = busy.flat_map(Slot::recall).collect();
        self.take_back(jobs);
    }

    /// Dispatches what there is; if then a worker is idle, it gets what others have not started.
    pub fn rebalance(&mut self, out: &mut Output) {
        self.recall_delayed();
        self.dispatch(out);
        let idle = self.idle();
        if idle > 0 && self.jobs.is_empty() && self.recall_for(idle) {
            self.dispatch(out);
        }
        if self.closed && self.jobs.is_empty() && self.slots.iter().all(|slot| slot.in_flight.sent.is_empty()) {
            self.shutting_down = true;
            self.slots.iter_mut().for_each(|slot| slot.shut_down(out));
        }
    }

    /// Takes back what would start too late: jobs that later ones overtake, and those of a function that takes longer than it did.
    fn recall_delayed(&mut self) {
        let (newest, places) = (self.newest, self.slots.len() as u64);
        let mut jobs = Vec::new();
        for slot in &mut self.slots {
            let Some(function) = slot.in_flight.function() else {
                continue;
            };
            let depth = self.depths.get(function);
            // What is done in no time need not be moved.
            if slot.in_flight.load > depth || depth <= FEW && slot.is_overtaken(newest, places) {
                jobs.append(&mut slot.recall());
                slot.pause();
            }
        }
        self.take_back(jobs);
    }

    /// Takes back work for idle workers from the busiest ones, as much as is needed. Returns false if there is none.
    fn recall_for(&mut self, idle: usize) -> bool {
        let work = |slot: &&mut Slot| slot.in_flight.items();
        // A single item will be started at once.
        let mut busy: Vec<&mut Slot> = self.slots.iter_mut().filter(|slot| work(slot) > 1).collect();
        busy.sort_by_key(|slot| Reverse(work(slot)));
        let (mut parts, mut items, mut jobs) = (idle, 0, Vec::new());
        for slot in busy {
            let recalled = slot.recall();
            parts += usize::from(!recalled.is_empty());
            items += recalled.iter().map(|job| job.count as usize).sum::<usize>();
            jobs.extend(recalled);
            if items >= parts {
                break;
            }
        }
        self.take_back(jobs);
        self.split_jobs(parts);
        parts > idle
    }

    /// Puts jobs back among those that wait, nearly all of which are later ones.
    fn take_back(&mut self, mut jobs: Vec<Job>) {
        let last = jobs.iter().map(Job::order).max();
        let earlier = self.jobs.partition_point(|job| Some(job.order()) < last);
        jobs.extend(self.jobs.drain(..earlier));
        jobs.sort_unstable_by_key(Job::order);
        jobs.into_iter().rev().for_each(|job| self.jobs.push_front(job));
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

    /// A worker was started, and will become ready. Returns false if it is too late, because the pool ends.
    pub fn started(&mut self, worker: usize, link: &Arc<Link>, out: &mut Output) -> bool {
        if self.shutting_down {
            return false;
        }
        self.slots[worker].started(link.clone());
        self.collect(worker, out); // it may have rung before anybody knew of it
        true
    }

    /// A worker was stopped or continued. What a stopped worker has not started is given to others (unless it is a large job
    /// that is still being sent).
    pub fn stopped(&mut self, worker: usize, stopped: bool) {
        self.slots[worker].stopped = stopped;
        if stopped {
            let jobs = self.slots[worker].recall();
            self.take_back(jobs);
        }
    }

    /// A worker has ended. What it had not started goes back to the queue; what it was doing fails. If it never was ready, see
    /// [`start_failed`](Queue::start_failed).
    pub fn exited(&mut self, worker: usize, exit: Exit, out: &mut Output) -> Option<Duration> {
        self.collect(worker, out);
        let slot = &mut self.slots[worker];
        let (jobs, error, own_fault) = slot.exited(exit)?;
        let slot = std::mem::replace(slot, Slot::new(self.max_tasks));
        self.take_back(jobs);
        for sent in slot.in_flight.sent {
            fail(sent.job, sent.answered, &error, out);
        }
        match slot.ready {
            false => self.start_failed(worker, error, own_fault, out),
            // The next one may end as soon.
            true => (slot.in_flight.next == 0).then_some(PAUSE_AFTER_NOTHING),
        }
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
        if !self.was_ready {
            self.never_ready = Some(error);
        }
        Some(Duration::from_millis(5 << (self.strikes[worker] / strikes).min(6)))
    }

    /// No worker is left, and none will be started.
    pub fn is_over(&self) -> bool {
        self.shutting_down && self.slots.iter().all(|slot| slot.link.is_none())
    }

    /// Ends everything now.
    pub fn terminate(&mut self, out: &mut Output) {
        self.shutting_down = true;
        self.slots.iter_mut().for_each(|slot| slot.terminate(out));
        self.fail_all(&Error::Terminated, out);
    }

    /// Fails everything that is not answered.
    fn fail_all(&mut self, error: &Error, out: &mut Output) {
        for slot in &mut self.slots {
            let sent = slot.in_flight.sent.drain(..);
            sent.for_each(|sent| fail(sent.job, sent.answered, error, out));
        }
        self.jobs.drain(..).for_each(|job| fail(job, 0, error, out));
    }
}

/// Fails the items of a job that are not `answered`.
fn fail(job: Job, answered: u32, error: &Error, out: &mut Output) {
    let each = if job.chunk { job.count - answered } else { 1 };
    for number in (answered..job.count).step_by(each.max(1) as usize) {
        let index = job.index + number as usize;
        out.completions
            .push((job.handler.clone(), index, each, Err(error.clone().into())));
    }
}

/// How many tasks are in flight to a worker that can take more. (A chunk counts as one.)
fn load(slot: &Slot) -> usize {
    if slot.can_take() {
        slot.in_flight.load
    } else {
        CANNOT_TAKE
    }
}

#[cfg(test)]
#[path = "tests/queue_hooks.rs"]
mod hooks;
