//! A run as it is drawn: lanes, and what is in them. All times are nanoseconds from the beginning of the run.

use crate::log::Record;
use crate::os;
use crate::tree::LaneTree;
use crate::units::{counted, thousands};

/// More lanes than this are counted, not drawn.
const MAX_LANES: usize = 200;

pub(crate) struct Run {
    /// In the order in which they are drawn, top to bottom.
    pub lanes: Vec<Lane>,
    pub length: u64,
    /// What the picture leaves out, a sentence each.
    pub omitted: Vec<String>,
}

impl Run {
    /// `lost`: the number of records for which there was no room; `end`: when the run ended, by the records' clock.
    pub fn new(mut records: Vec<Record>, lost: u64, end: u64) -> Run {
        records.sort_by_key(|record| (record.time, record.kind));
        let start = records.first().map_or(end, |record| record.time);
        let length = end.saturating_sub(start).max(1);
        let mut tree = LaneTree::default();
        for record in &mut records {
            // What a process that goes on writes after the end is cut off.
            let since_start = |time: u64| time.saturating_sub(start).min(length);
            record.time = since_start(record.time);
            if record.has_end() && record.number > 0 {
                record.number = since_start(record.number).max(1);
            }
            tree.add(record);
        }
        let mut lanes = tree.finish(length);
        let mut omitted = Vec::new();
        if lanes.len() > MAX_LANES {
            let rest = lanes.split_off(MAX_LANES);
            let tasks = rest.iter().map(|lane| lane.work().0).sum();
            let (lanes, tasks) = (counted(rest.len() as u64, "more lane"), counted(tasks, "task"));
            omitted.push(format!("... and {lanes}, with {tasks}"));
        }
        if lost > 0 {
            let records = counted(lost, "record");
            omitted.push(format!("{records} for which there was no room are missing here"));
        }
        Run { lanes, length, omitted }
    }
}

/// A process, a thread, or the queue of a pool.
#[derive(Default)]
pub(crate) struct Lane {
    pub name: String,
    /// Of a process.
    pub pid: Option<u32>,
    /// How far it is indented.
    pub depth: usize,
    pub begin: u64,
    pub end: u64,
    /// Of a process, if it is known; below 0 is a signal.
    pub exitcode: Option<i32>,
    /// The process that started it ended it, and meant to.
    pub planned_end: bool,
    /// In the order in which they begin; an inner one after the one around it.
    pub bars: Vec<Bar>,
    /// Of a queue: from when on how many tasks wait in it.
    pub queue: Option<Vec<(u64, u64)>>,
}

/// A span in a lane.
#[derive(Clone)]
pub(crate) struct Bar {
    pub kind: BarKind,
    /// Empty if it stands for several.
    pub label: String,
    pub begin: u64,
    pub end: u64,
    /// The number of bars around it.
    pub depth: usize,
    /// It did not end by itself: the lane did.
    pub unfinished: bool,
    /// The number of bars that it stands for.
    pub count: u64,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum BarKind {
    Span,
    Blocked,
    /// This many tasks.
    Tasks(u64),
}

impl Bar {
    /// "task 3", or the label of a span.
    pub fn title(&self) -> String {
        match self.kind {
            _ if self.count > 1 => counted(self.count, "short span"),
            BarKind::Tasks(1) => format!("task {}", self.label),
            BarKind::Tasks(_) => format!("tasks {}", self.label),
            BarKind::Blocked => format!("waits: {}", self.label),
            BarKind::Span => self.label.clone(),
        }
    }

    pub fn is_blocked(&self) -> bool {
        self.kind == BarKind::Blocked
    }

    fn length(&self) -> u64 {
        self.end - self.begin
    }
}

impl Lane {
    /// Did its process end in a way that was not intended?
    pub fn failed(&self) -> bool {
        !self.planned_end && self.exitcode.is_some_and(|code| code != 0)
    }

    /// Was it ended by a signal or a fault?
    pub fn killed(&self) -> bool {
        self.failed() && self.exitcode < Some(0)
    }

    /// How a process failed, and in what: "SIGKILL in task 3", "exit code 3".
    pub fn outcome(&self) -> Option<String> {
        let exit = os::describe_exit(self.exitcode.filter(|_| self.failed() && self.pid.is_some())?);
        let mut unfinished = self.bars.iter().filter(|bar| bar.unfinished && !bar.is_blocked());
        Some(match unfinished.next() {
            Some(bar) => format!("{exit} in {}", bar.title()),
            None => exit,
        })
    }

    /// What it was still waiting for when it ended.
    pub fn waits_for(&self) -> Option<&Bar> {
        let last = self.bars.last().filter(|_| !self.planned_end);
        last.filter(|bar| bar.unfinished && bar.is_blocked())
    }

    /// How many tasks it did, and the part of its time that it was busy.
    pub fn work(&self) -> (u64, f64) {
        let mut tasks = 0;
        let mut busy = 0;
        for bar in &self.bars {
            if let BarKind::Tasks(count) = bar.kind {
                tasks += count;
            }
            if !bar.is_blocked() && bar.depth == 0 {
                busy += bar.length();
            }
        }
        (tasks, busy as f64 / (self.end - self.begin).max(1) as f64)
    }

    /// "2,500 tasks, 98 % busy".
    pub fn summary(&self) -> String {
        let (tasks, busy) = self.work();
        let spans = match tasks {
            0 => counted(self.bars.len() as u64, "span"),
            tasks => counted(tasks, "task"),
        };
        format!("{spans}, {:.0} % busy", 100.0 * busy)
    }

    /// The bars, with neighbouring ones merged if they are shorter than `shortest` and the gap between them is too.
    pub fn merged_bars(&self, shortest: u64) -> Vec<Bar> {
        let mut merged: Vec<Bar> = Vec::new();
        for bar in &self.bars {
            match merged.last_mut() {
                Some(last)
                    if bar.length() < shortest
                        && (last.length() < shortest || last.count > 1)
                        && bar.begin.saturating_sub(last.end) < shortest
                        && !last.unfinished
                        && !bar.unfinished =>
                {
                    last.label.clear();
                    last.count += 1;
                    last.end = bar.end.max(last.end);
                    if last.kind != bar.kind && (last.is_blocked() || bar.is_blocked()) {
                        last.kind = BarKind::Span;
                    }
                }
                _ => merged.push(bar.clone()),
            }
        }
        merged
    }

    /// The most tasks that waited at the same time; 0 if it is no queue.
    pub fn longest_queue(&self) -> u64 {
        let counts = self.queue.iter().flatten().map(|&(_, count)| count);
        counts.max().unwrap_or(0)
    }

    /// For each of `columns` equal parts of the run: the most tasks that waited.
    pub fn queue_columns(&self, columns: usize, length: u64) -> Vec<u64> {
        let mut most = vec![0; columns];
        let steps = self.queue.as_deref().unwrap_or_default();
        let ends = steps.iter().skip(1).map(|step| step.0).chain([self.end]);
        for (&(begin, count), end) in steps.iter().zip(ends) {
            let (first, last) = (column(begin, columns, length), column(end, columns, length));
            for column in &mut most[first..=last.max(first)] {
                *column = count.max(*column);
            }
        }
        most
    }

    /// "up to 2,500 tasks", of a queue that was too long to be shown by one digit.
    pub fn queue_note(&self) -> Option<String> {
        let most = self.longest_queue();
        (most > 9).then(|| format!("up to {}", thousands(most)))
    }
}

/// In which of `columns` equal parts of the run a time lies.
pub(crate) fn column(time: u64, columns: usize, length: u64) -> usize {
    let column = u128::from(time) * columns as u128 / u128::from(length.max(1));
    (column as usize).min(columns - 1)
}
