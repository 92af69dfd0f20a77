//! What is to be done: calls of one function, with consecutive items.
//!
//! Short tasks that are submitted in a row travel together, so that what moves between caller, queue and worker is a few bytes
//! for each. Apart from that they remain tasks of their own: any of them may be sent to another worker, and each is answered at
//! once.

use super::handles::ResultHandler;
use super::items::{Items, Packed};
use super::ring::Damaged;
use crate::os::CodeRef;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Arguments. There is room for some short ones, so that tasks can be added.
pub(super) type Args = Packed<46>;

/// Calls whose results go to one handler: tasks, or a chunk of a `map`.
pub(super) struct Job {
    /// The number of the chunk, or of the first task: tasks and chunks are started in the order in which they were submitted.
    pub sequence: u64,
    pub function: CodeRef,
    pub items: Args,
    pub handler: Arc<ResultHandler>,
    /// The first item's place in the handler.
    pub index: usize,
    pub count: u32,
    /// A chunk's results come together. Otherwise these are tasks.
    pub chunk: bool,
    /// How many workers have died before they began this job, or the job that it was split from, if it is large: see `slot`.
    pub deliveries: u8,
}

impl Job {
    /// Puts it behind `jobs`, or adds its tasks to those of the last one.
    pub fn push_to(self, jobs: &mut VecDeque<Job>) {
        if !jobs.back_mut().is_some_and(|last| last.add(&self)) {
            jobs.push_back(self);
        }
    }

    /// Adds tasks that were submitted right after these, if they are alike and short.
    fn add(&mut self, next: &Job) -> bool {
        let follows = self.index + self.count as usize == next.index && Arc::ptr_eq(&self.handler, &next.handler);
        let alike = self.function == next.function && !self.chunk && !next.chunk;
        let added = follows && alike && self.items.append(&next.items);
        self.count += if added { next.count } else { 0 };
        added
    }

    /// Keeps the first `count` items; returns the others.
    pub fn split_off(&mut self, count: u32) -> Job {
        let mut rest = Items(&self.items);
        rest.by_ref().take(count as usize).for_each(drop);
        let kept = self.items.len() - rest.0.len();
        let others = Job {
            sequence: self.sequence + if self.chunk { 0 } else { u64::from(count) },
            items: rest.0.into(),
            handler: self.handler.clone(),
            index: self.index + count as usize,
            count: self.count - count,
            ..*self
        };
        self.items = self.items[..kept].into();
        self.count = count;
        others
    }

    pub fn order(&self) -> (u64, usize) {
        (self.sequence, self.index)
    }
}

/// A job that a worker was sent.
pub(super) struct Sent {
    pub job: Job,
    /// Its first item's number at this worker.
    pub first: u64,
    /// The highest sequence number of the jobs that any worker had been sent by then.
    pub newest: u64,
    /// How many of its items are answered.
    pub answered: u32,
}

impl Sent {
    /// How many tasks are not answered. A chunk counts as one.
    fn load(&self) -> usize {
        let most = if self.job.chunk { 1 } else { self.job.count };
        (self.job.count - self.answered).min(most) as usize
    }

    pub fn unanswered(&self) -> Range<u64> {
        self.first + u64::from(self.answered)..self.first + u64::from(self.job.count)
    }
}

/// What one worker was sent and has not answered.
#[derive(Default)]
pub(super) struct InFlight {
    /// In the order in which they were sent; the worker does them in that order.
    pub sent: VecDeque<Sent>,
    /// How many tasks that is. A chunk counts as one.
    pub load: usize,
    /// The number of the next item to be sent.
    pub next: u64,
    /// How many items it may still be sent (`maxtasksperchild`).
    pub tasks_left: u64,
}

impl InFlight {
    pub fn push(&mut self, job: Job, newest: u64) {
        let (first, count) = (self.next, u64::from(job.count));
        self.next += count;
        self.tasks_left -= count;
        let sent = Sent {
            job,
            first,
            newest,
            answered: 0,
        };
        self.load += sent.load();
        self.sent.push_back(sent);
    }

    /// How many items it has not answered.
    pub fn items(&self) -> u64 {
        self.sent.iter().map(|sent| sent.unanswered().count() as u64).sum()
    }

    /// What it is to call next.
    pub fn function(&self) -> Option<CodeRef> {
        self.sent.front().map(|sent| sent.job.function)
    }

    /// What it has to answer next: items of one job.
    pub fn due(&self) -> Range<u64> {
        self.sent.front().map_or(self.next..self.next, Sent::unanswered)
    }

    /// The first unanswered items, all of one job, are answered. Returns where their results go.
    pub fn answer(&mut self, count: u32) -> Result<(Arc<ResultHandler>, usize), Damaged> {
        let sent = self.sent.front_mut().ok_or(Damaged)?;
        if !sent.job.chunk && count > 1 {
            return Err(Damaged); // each task is answered by itself
        }
        let (index, load) = (sent.job.index + sent.answered as usize, sent.load());
        sent.answered += count;
        self.load -= load - sent.load();
        if sent.answered < sent.job.count {
            return Ok((sent.job.handler.clone(), index));
        }
        let finished = self.sent.pop_front().ok_or(Damaged)?;
        Ok((finished.job.handler, index))
    }

    /// Takes back the jobs from item number `first` on, which must be one that was sent and is not answered, or the next one.
    pub fn take_back(&mut self, first: u64) -> Result<Vec<Job>, Damaged> {
        let possible = self.due().start..=self.next;
        possible.contains(&first).then_some(()).ok_or(Damaged)?;
        let begun = self.sent.partition_point(|sent| sent.first < first);
        let mut jobs: Vec<Job> = self.sent.drain(begun..).map(|sent| sent.job).collect();
        if let Some(sent) = self.sent.back_mut().filter(|sent| sent.unanswered().end > first) {
            jobs.push(sent.job.split_off((first - sent.first) as u32));
            if sent.unanswered().is_empty() {
                self.sent.pop_back();
            }
        }
        self.load = self.sent.iter().map(Sent::load).sum();
        self.tasks_left += jobs.iter().map(|job| u64::from(job.count)).sum::<u64>();
        Ok(jobs)
    }
}
