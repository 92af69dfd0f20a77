//! One worker as the pool sees it: what it was sent, what it has answered, and whether it can be believed.
//!
//! Nothing in the worker's page is trusted before it has been checked. Whatever violates the protocol is [`Damaged`]; the
//! worker is then expelled: killed, and never listened to again. All of this happens under the queue's lock.

use super::claim;
use super::depth::Depths;
use super::items::Packed;
use super::job::{InFlight, Job, Sent};
use super::output::Output;
use super::replies::{Replies, count_values};
use super::ring::{ASLEEP, AWAKE, fall_asleep, must_wake};
use super::ring::{Damaged, INLINE, Kind, TASK_WORDS, TaskHeader, Writer, words};
use super::system::Link;
use crate::error::{Error, RemoteError};
use crate::os::Exit;
use crate::timeline;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// How often a large job may be sent to workers that die before they begin it: it may need more memory than there is.
const MAX_DELIVERIES: u8 = 3;

#[derive(Default)]
pub(super) struct Slot {
    /// `None`: there is no worker just now, or none that can be trusted.
    pub link: Option<Arc<Link>>,
    /// A worker that has violated the protocol, and was killed.
    expelled: Option<Arc<Link>>,
    /// It has reached `init`.
    started: bool,
    pub ready: bool,
    /// It was stopped (SIGSTOP).
    pub stopped: bool,
    /// It was told to end.
    leaving: bool,
    /// Why it ends, in its own words.
    fatal: Option<RemoteError>,
    tasks: Writer,
    replies: Replies,
    pub in_flight: InFlight,
    /// It has nothing to do, and gets nothing until it has passed over everything that was taken back.
    paused: bool,
    /// How many bytes of the items of a large job were written. It had no other job when it was given this one, and gets none until
    /// all bytes are.
    upload: Option<usize>,
}

impl Slot {
    pub fn new(max_tasks: u64) -> Slot {
        let mut slot = Slot::default();
        slot.in_flight.tasks_left = max_tasks;
        slot
    }

    pub fn started(&mut self, link: Arc<Link>) {
        fall_asleep(&link.page.results.reader_asleep); // from its first word on, it rings
        self.link = Some(link);
    }

    pub fn can_take(&self) -> bool {
        let waits = self.paused || self.upload.is_some();
        let works = self.ready && self.link.is_some() && !self.leaving && !self.stopped;
        works && !waits && self.in_flight.tasks_left > 0
    }

    /// Do jobs that were submitted later start before one that waits here? (It is busy, or the system lets others run.) A job
    /// that was moved for this reason is moved again only when new jobs have overtaken it, so that it does not go round in
    /// circles. `newest`: the highest sequence number that any worker was sent. To be late by that many `places` does not
    /// matter.
    pub fn is_overtaken(&self, newest: u64, places: u64) -> bool {
        let Some(link) = &self.link else { return false };
        let started = link.page.next.load(Acquire);
        let waits = |sent: &&Sent| sent.first >= started || !sent.job.chunk && sent.unanswered().end > started;
        let waiting = self.in_flight.sent.iter().find(waits);
        let sequence = |sent: &Sent| sent.job.sequence + started.saturating_sub(sent.first);
        waiting.is_some_and(|it| newest > sequence(it) + places && newest > it.newest + 1)
    }

    /// Is there room for a job? If not, it takes no other one until there is.
    pub fn has_room(&mut self, job: &Job) -> bool {
        let Some(link) = &self.link else { return false };
        // There is always room for a shutdown. (A large payload follows later.)
        let needed = TASK_WORDS + words(job.items.len().min(INLINE)) + TASK_WORDS;
        let ring = &link.page.tasks;
        let idle = self.in_flight.sent.is_empty();
        let rewound = if idle { self.tasks.rewind(ring) } else { Ok(()) };
        let Ok(room) = rewound.and_then(|()| self.tasks.room(ring, needed)) else {
            self.expel();
            return false;
        };
        if room < needed {
            self.pause();
        }
        room >= needed
    }

    /// Writes a job, for which there is room. Returns what exceeds a `run` of tasks, or what the worker may still be given.
    /// `newest`: see [`Sent`].
    pub fn send(&mut self, mut job: Job, newest: u64, run: usize) -> Option<Job> {
        let run = if job.chunk { u64::MAX } else { run as u64 };
        let most = run.min(self.in_flight.tasks_left);
        let rest = (u64::from(job.count) > most).then(|| job.split_off(most as u32));
        let header = TaskHeader {
            first: self.in_flight.next,
            function: job.function,
            count: job.count,
            label: job.index as u32,
            chunk: job.chunk,
            length: job.items.len() as u64,
        };
        if let Some(link) = &self.link {
            header.write(&mut self.tasks, &link.page.tasks);
        }
        self.in_flight.push(job, newest);
        self.upload = Some(0);
        let _ = self.upload(); // if that fails, so will the next one, which is noticed
        rest
    }

    /// Writes as much of the last job's items as there is room for. Returns false if there was none.
    fn upload(&mut self) -> Result<bool, Damaged> {
        let (Some(link), Some(written), Some(sent)) = (&self.link, self.upload, self.in_flight.sent.back()) else {
            return Ok(false);
        };
        let rest = &sent.job.items[written..];
        let pushed = self.tasks.push_piece(&link.page.tasks, rest, TASK_WORDS)?;
        self.upload = (pushed < rest.len()).then_some(written + pushed);
        Ok(pushed > 0)
    }

    /// Lets it see what was written.
    pub fn publish(&mut self, out: &mut Output) {
        let unpublished = |link: &&Arc<Link>| !self.tasks.is_published(&link.page.tasks);
        if let Some(link) = self.link.as_ref().filter(unpublished) {
            self.tasks.publish(&link.page.tasks);
            if must_wake(&link.page.tasks.reader_asleep) {
                out.bells.push(link.clone());
            }
        }
    }

    /// Reads what the worker has written, and gives it what it waits for. Returns false if there was nothing.
    pub fn collect(&mut self, depths: &mut Depths, out: &mut Output) -> bool {
        let waits = self.upload.is_some() || self.paused;
        let Some(link) = self.link.as_ref().filter(|_| waits || self.has_written()).cloned() else {
            return false;
        };
        let (function, before) = (self.in_flight.function(), self.in_flight.load);
        let mut collect = || -> Result<bool, Damaged> {
            let read = self.read(&link, out)?;
            let written = self.upload()?;
            self.publish(out);
            let passed_over = self.paused && self.tasks.all_read(&link.page.tasks)?;
            self.paused &= !passed_over;
            Ok(read || written || passed_over)
        };
        let Ok(something) = collect() else {
            self.expel();
            return true;
        };
        let left = self.in_flight.load;
        if let Some(function) = function.filter(|_| left < before) {
            depths.adapt(function, before - left, left, &link.page.took);
        }
        if something && self.ready && self.in_flight.sent.is_empty() && self.in_flight.tasks_left == 0 {
            self.shut_down(out); // it has done its share: another one takes its place
        }
        something
    }

    /// Reads everything that it has written. Returns false if there was nothing.
    fn read(&mut self, link: &Arc<Link>, out: &mut Output) -> Result<bool, Damaged> {
        let ring = &link.page.results;
        let available = self.replies.results.available(ring)?;
        let mut left = available;
        while left > 0 {
            let due = self.ready.then(|| self.in_flight.due());
            if let Some((kind, content)) = self.replies.next(ring, &mut left, due)? {
                self.take_in(link, kind, content, out)?;
            }
        }
        if available > 0 {
            self.replies.results.release(ring);
            if must_wake(&ring.writer_asleep) {
                out.bells.push(link.clone());
            }
        }
        Ok(available > 0)
    }

    /// Records the outcome of the items that are due.
    fn answer(&mut self, count: u32, outcome: Result<Packed, Box<Error>>, out: &mut Output) -> Result<(), Damaged> {
        if self.upload.is_some() {
            return Err(Damaged); // it cannot have all of the items yet
        }
        let (handler, index) = self.in_flight.answer(count)?;
        out.completions.push((handler, index, count, outcome));
        Ok(())
    }

    fn take_in(&mut self, link: &Link, kind: Kind, content: Packed, out: &mut Output) -> Result<(), Damaged> {
        match kind {
            Kind::Started => self.started = true,
            Kind::Ready => self.ready = true,
            Kind::Fatal => self.fatal = Some(postcard::from_bytes(&content).map_err(|_| Damaged)?),
            Kind::Error => {
                let error: RemoteError = postcard::from_bytes(&content).map_err(|_| Damaged)?;
                let error = Error::remote(error, &format!("a task of {}", link.name));
                self.answer(1, Err(error.into()), out)?;
            }
            Kind::Value => {
                let count = count_values(&content, self.in_flight.due())?;
                self.answer(count, Ok(content), out)?;
            }
        }
        Ok(())
    }

    /// Takes back the jobs that it has not started; but nothing while a large one is on its way to it.
    pub fn recall(&mut self) -> Vec<Job> {
        let end = self.in_flight.next;
        let link = self.link.as_ref().filter(|_| self.upload.is_none());
        let first = link.map_or(end, |link| claim::recall(&link.page.next, end));
        self.in_flight.take_back(first).unwrap_or_else(|Damaged| {
            self.expel();
            Vec::new()
        })
    }

    /// The worker is not running at the moment: it gets nothing more until it has read further.
    pub fn pause(&mut self) {
        self.paused = self.in_flight.sent.is_empty();
    }

    /// Before the collector `sleeps`: from here on, it rings when it writes. After that: it need not.
    pub fn watch(&self, sleeps: bool) {
        match self.link.as_ref().map(|link| &link.page.results.reader_asleep) {
            Some(flag) if sleeps => fall_asleep(flag),
            Some(flag) => flag.store(AWAKE, Relaxed),
            None => {}
        }
    }

    /// Has it written something (or damaged the positions that show it)?
    pub fn has_written(&self) -> bool {
        let nothing = |link: &Arc<Link>| matches!(self.replies.results.available(&link.page.results), Ok(0));
        self.link.as_ref().is_some_and(|link| !nothing(link))
    }

    /// If it has read everything, sleeps, and still owes results, it has skipped items that it should have done. If the ring's
    /// tail is not where the pool left it, the worker may be waiting for tasks that it cannot see.
    pub fn expel_idler(&mut self) {
        let owes = !self.in_flight.sent.is_empty();
        let Some(link) = self.link.as_ref().filter(|_| owes).cloned() else {
            return;
        };
        let ring = &link.page.tasks;
        let all_read = self.tasks.all_read(ring).unwrap_or(true);
        let idle =
            all_read && self.upload.is_none() && ring.reader_asleep.load(Acquire) == ASLEEP && !self.has_written();
        if idle || !self.tasks.is_published(ring) {
            self.expel();
        }
    }

    /// It violated the protocol.
    pub fn expel(&mut self) {
        if let Some(link) = self.link.take() {
            let _ = link.process.kill(); // fails if it has ended, or if this process has given up the right to
            self.expelled = Some(link);
        }
    }

    /// Tells it to end. It has nothing to do, and there is room.
    pub fn shut_down(&mut self, out: &mut Output) {
        if let Some(link) = self.link.as_ref().filter(|_| !self.leaving).cloned() {
            self.leaving = true;
            timeline::planned_end(link.process.pid());
            TaskHeader::default().write(&mut self.tasks, &link.page.tasks); // no items: the last one
            self.publish(out);
        }
    }

    /// Ends it now, with its pool.
    pub fn terminate(&mut self, out: &mut Output) {
        self.shut_down(out); // should it not be possible to kill it
        self.expel(); // nothing that comes from it counts any more
    }

    /// It has ended. Returns the jobs that it had not started, the one that it was doing, and why that fails; and whether, if it
    /// never was ready, that is its own fault.
    pub fn exited(&mut self, exit: Exit) -> Option<(Vec<Job>, Error, bool)> {
        let link = self.link.clone().or(self.expelled.clone())?;
        let (error, own_fault) = self.why_it_ended(&link.name, exit);
        // Items are answered before the next one is claimed: so only the first can have been started.
        let first = self.in_flight.due().start;
        let mut begun = self.expelled.is_some() || link.page.next.load(Acquire) != first;
        // Did they need more memory than the worker had?
        let large = |sent: &&mut Sent| sent.answered == 0 && sent.job.items.len() > INLINE;
        if let Some(sent) = self.in_flight.sent.front_mut().filter(large).filter(|_| !begun) {
            sent.job.deliveries = sent.job.deliveries.saturating_add(1);
            begun = sent.job.deliveries >= MAX_DELIVERIES;
        }
        let jobs = self.in_flight.take_back(first + u64::from(begun)).unwrap_or_default();
        Some((jobs, error, own_fault))
    }

    /// Why it ended; and, if it was never ready, whether that is its own fault.
    fn why_it_ended(&mut self, name: &str, exit: Exit) -> (Error, bool) {
        match self.fatal.take() {
            _ if self.expelled.is_some() => (Error::ProtocolViolation { name: name.to_owned() }, true),
            Some(error) => {
                let own_fault = !matches!(error, RemoteError::Setup(_)); // the system had nothing to give
                let what = if self.ready { "a task" } else { "the initializer" };
                (Error::remote(error, &format!("{what} of {name}")), own_fault)
            }
            None => {
                let own_fault = !self.started || !exit.comes_from_outside();
                (Error::ended(name, exit, self.started), own_fault)
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/slot_hooks.rs"]
mod hooks;
