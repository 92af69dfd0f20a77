//! From records, in any order, to lanes in the order in which they are drawn.

use super::log::{Kind, Record};
use std::collections::BTreeMap;

/// A whole run. All times are nanoseconds from its begin.
pub(super) struct Run {
    pub lanes: Vec<Lane>,
    pub length: u64,
    /// So many records found no room.
    pub lost: u64,
}

/// A process, a thread, or a pool's queue.
pub(super) struct Lane {
    pub name: String,
    /// Of a process.
    pub pid: Option<u32>,
    /// How deep it is indented.
    pub depth: usize,
    pub begin: u64,
    pub end: u64,
    pub fate: Fate,
    /// Begun in this order; inner ones after those around them.
    pub bars: Vec<Bar>,
    /// Of a queue: from when on how many tasks waited in it.
    pub queue: Option<Vec<(u64, u64)>>,
}

/// How a lane came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has not, or nobody knows.
    Open,
    Code(i32),
    Signal(i32),
}

pub(super) struct Bar {
    pub kind: BarKind,
    pub label: String,
    pub begin: u64,
    pub end: u64,
    /// It lies in so many others.
    pub depth: usize,
    /// It never came to its own end: the lane did.
    pub broken: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BarKind {
    Span,
    Wait,
    /// Of so many tasks.
    Tasks(u64),
}

impl Bar {
    /// "task 3", or what a span calls itself.
    pub fn title(&self) -> String {
        match self.kind {
            BarKind::Tasks(1) => format!("task {}", self.label),
            BarKind::Tasks(_) => format!("tasks {}", self.label),
            BarKind::Wait => format!("waits: {}", self.label),
            BarKind::Span => self.label.clone(),
        }
    }
}

impl Lane {
    /// How many tasks it did, and how much of its time it was busy with something.
    pub fn work(&self) -> (u64, f64) {
        let mut tasks = 0;
        let mut busy = 0;
        for bar in &self.bars {
            if let BarKind::Tasks(count) = bar.kind {
                tasks += count;
            }
            if bar.kind != BarKind::Wait && bar.depth == 0 {
                busy += bar.end - bar.begin;
            }
        }
        (tasks, busy as f64 / (self.end - self.begin).max(1) as f64)
    }

    /// How a process ended, if that is worth a word: "SIGKILL in task 3", "exit code 3".
    pub fn verdict(&self) -> Option<String> {
        let verdict = match self.fate {
            _ if self.pid.is_none() => return None,
            Fate::Open | Fate::Code(0) => return None,
            Fate::Code(code) => format!("exit code {code}"),
            Fate::Signal(signal) => signal_name(signal),
        };
        let place = self.bars.iter().find(|bar| bar.broken && bar.kind != BarKind::Wait);
        Some(match place {
            Some(bar) => format!("{verdict} in {}", bar.title()),
            None => verdict,
        })
    }

    /// Did something else than its own will end it?
    pub fn failed(&self) -> bool {
        !matches!(self.fate, Fate::Open | Fate::Code(0))
    }

    /// "2,500 tasks, 98 % busy".
    pub fn summary(&self) -> String {
        let (tasks, busy) = self.work();
        let (count, what) = match tasks {
            0 => (self.bars.len() as u64, "span"),
            tasks => (tasks, "task"),
        };
        let plural = if count == 1 { "" } else { "s" };
        format!("{} {what}{plural}, {:.0} % busy", thousands(count), 100.0 * busy)
    }

    /// The most tasks that waited at the same time.
    pub fn longest_queue(&self) -> u64 {
        let counts = self.queue.iter().flatten().map(|&(_, count)| count);
        counts.max().unwrap_or(0)
    }

    /// For each of `columns` equal parts of the run: how many tasks waited, at most.
    pub fn queue_columns(&self, columns: usize, length: u64) -> Vec<u64> {
        let mut most = vec![0; columns];
        let steps = self.queue.as_deref().unwrap_or_default();
        let ends = steps.iter().skip(1).map(|step| step.0).chain([self.end]);
        for (&(begin, count), end) in steps.iter().zip(ends) {
            let (first, last) = (column(begin, columns, length), column(end, columns, length));
            for column in &mut most[first..=last] {
                *column = count.max(*column);
            }
        }
        most
    }
}

/// In which of `columns` equal parts of the run a time lies.
pub(super) fn column(time: u64, columns: usize, length: u64) -> usize {
    let column = u128::from(time) * columns as u128 / u128::from(length.max(1));
    (column as usize).min(columns - 1)
}

/// "10,000".
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1.25 s", "340 ms", "12 us": three digits or so.
pub(super) fn duration(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0 => return "0 s".to_owned(),
        1_000_000_000.. => (nanos as f64 / 1e9, "s"),
        1_000_000.. => (nanos as f64 / 1e6, "ms"),
        _ => (nanos as f64 / 1e3, "us"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// Where the axis has marks: round numbers, at most `most` of them; each with its name.
pub(super) fn ticks(length: u64, most: usize) -> Vec<(u64, String)> {
    let steps = (3..19).flat_map(|power| [1, 2, 5].map(|n| n * 10_u64.pow(power)));
    let fits = |step: &u64| length / step < most as u64;
    let step = steps.into_iter().find(fits).unwrap_or(u64::MAX);
    // One unit for all of them.
    let (unit, name) = match length {
        2_000_000_000.. => (1e9, "s"),
        2_000_000.. => (1e6, "ms"),
        _ => (1e3, "us"),
    };
    let digits = usize::from((step as f64) < unit);
    (0..=length / step)
        .map(|n| (n * step, format!("{:.digits$} {name}", (n * step) as f64 / unit)))
        .collect()
}

/// "0.52 s to 1.37 s (850 ms)".
pub(super) fn period(begin: u64, end: u64) -> String {
    format!("{} to {} ({})", duration(begin), duration(end), duration(end - begin))
}

impl Run {
    /// `end`: when it was over, by the same clock as the records.
    pub fn new(mut records: Vec<Record>, lost: u64, end: u64) -> Run {
        records.sort_by_key(|record| record.time);
        let start = records.first().map_or(end, |record| record.time);
        let length = end.saturating_sub(start).max(1);
        // What was written after the end, by somebody who goes on, is cut off.
        let since_start = |time: u64| time.saturating_sub(start).min(length);
        for record in &mut records {
            record.time = since_start(record.time);
            if matches!(record.kind, Kind::Thread | Kind::Span | Kind::Wait | Kind::Task) && record.number > 0 {
                record.number = since_start(record.number).max(1);
            }
        }
        let mut family = Family::default();
        records.iter().for_each(|record| family.take_birth(record));
        records.iter().for_each(|record| family.take_fact(record));
        family.close(length);
        records.iter().for_each(|record| family.take_bar(record));
        let lanes = family.line_up();
        Run { lanes, length, lost }
    }
}

/// A lane in the making.
struct Member {
    lane: Lane,
    /// Whose process or thread it is.
    parent: Option<usize>,
    /// It is a worker of this pool of its parent.
    pool: Option<u16>,
    /// When it was last heard of.
    heard: u64,
    left: Option<u64>,
    forked: bool,
}

#[derive(Default)]
struct Family {
    members: Vec<Member>,
    /// By pid and number of the lane. A number can be used again: then there are several, in the order of their begins.
    index: BTreeMap<(u32, u16), Vec<usize>>,
    /// By process and number: when how many tasks came (above 0) or were begun (below).
    pools: BTreeMap<(usize, u16), Vec<(u64, i64)>>,
}

impl Family {
    /// Who had this lane then.
    fn find(&self, pid: u32, lane: u16, time: u64) -> Option<usize> {
        let candidates = self.index.get(&(pid, lane))?;
        let before = candidates.partition_point(|&member| self.members[member].lane.begin <= time);
        Some(candidates[before.max(1) - 1])
    }

    fn take_birth(&mut self, record: &Record) {
        let (pid, parent) = match record.kind {
            Kind::Process | Kind::Fork => (Some(record.pid), self.find(record.number as u32, 0, record.time)),
            Kind::Thread => (None, self.find(record.pid, 0, record.time)),
            _ => return,
        };
        let lane = if pid.is_some() { 0 } else { record.lane };
        self.index
            .entry((record.pid, lane))
            .or_default()
            .push(self.members.len());
        self.members.push(Member {
            lane: Lane {
                name: record.text.clone(),
                pid,
                depth: 0,
                begin: record.time,
                end: record.time,
                fate: Fate::Open,
                bars: Vec::new(),
                queue: None,
            },
            parent,
            pool: None,
            heard: record.time,
            left: (pid.is_none() && record.number > 0).then_some(record.number),
            forked: record.kind == Kind::Fork,
        });
    }

    fn take_fact(&mut self, record: &Record) {
        let Some(process) = self.find(record.pid, 0, record.time) else {
            return;
        };
        let member = &mut self.members[process];
        member.heard = record.time;
        match record.kind {
            Kind::Member => member.pool = Some(record.lane),
            Kind::Left => member.left = Some(record.time),
            Kind::Ended => {
                let number = record.number as i32;
                member.lane.fate = match record.number >> 32 {
                    0 => Fate::Code(number),
                    1 => Fate::Signal(number),
                    _ => Fate::Open,
                };
                member.left = member.left.or(Some(record.time));
            }
            Kind::Submit => {
                let pool = self.pools.entry((process, record.lane)).or_default();
                pool.push((record.time, record.number as i64));
            }
            _ => {}
        }
    }

    /// Gives every lane its end.
    fn close(&mut self, length: u64) {
        for index in 0..self.members.len() {
            let member = &self.members[index];
            let (end, fate) = match (member.left, member.parent) {
                (Some(left), _) => (left, member.lane.fate),
                // A thread that did not end by itself ended with its process. That was born before, so it is closed.
                (None, Some(process)) if member.lane.pid.is_none() => {
                    let process = &self.members[process].lane;
                    (process.end, process.fate)
                }
                // Of a forked process nobody knows more.
                (None, _) if member.forked => (member.heard, Fate::Open),
                (None, _) => (length, Fate::Open),
            };
            let lane = &mut self.members[index].lane;
            lane.end = end.max(lane.begin);
            lane.fate = fate;
        }
    }

    /// What ran, or waited.
    fn take_bar(&mut self, record: &Record) {
        let (first, count) = (record.task.0, record.task.1.max(1));
        let (kind, lane) = match record.kind {
            Kind::Span => (BarKind::Span, record.lane),
            Kind::Wait => (BarKind::Wait, record.lane),
            Kind::Task => (BarKind::Tasks(count), 0),
            _ => return,
        };
        let Some(index) = self.find(record.pid, lane, record.time) else {
            return;
        };
        let member = &mut self.members[index];
        let label = match record.kind {
            Kind::Task if count == 1 => first.to_string(),
            Kind::Task => format!("{first}-{}", first + count - 1),
            _ => record.text.clone(),
        };
        let broken = record.number == 0;
        let end = if broken { member.lane.end } else { record.number };
        let begin = record.time.min(member.lane.end);
        member.lane.bars.push(Bar {
            kind,
            label,
            begin,
            end: end.clamp(begin, member.lane.end),
            depth: 0,
            broken,
        });
        if let (Kind::Task, Some(pool), Some(parent)) = (record.kind, member.pool, member.parent) {
            let pool = self.pools.entry((parent, pool)).or_default();
            pool.push((record.time, -(count as i64)));
        }
    }

    /// Everybody's lane, and below it what belongs to it.
    fn line_up(mut self) -> Vec<Lane> {
        let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            children.entry(member.parent).or_default().push(index);
            nest(&mut member.lane.bars);
        }
        let mut lanes = Vec::new();
        for root in children.remove(&None).unwrap_or_default() {
            self.line_up_below(root, 0, &mut children, &mut lanes);
        }
        lanes
    }

    fn line_up_below(
        &mut self,
        index: usize,
        depth: usize,
        children: &mut BTreeMap<Option<usize>, Vec<usize>>,
        lanes: &mut Vec<Lane>,
    ) {
        let lane = &mut self.members[index].lane;
        lanes.push(Lane {
            name: std::mem::take(&mut lane.name),
            bars: std::mem::take(&mut lane.bars),
            queue: None,
            depth,
            ..*lane
        });
        let mut below = children.remove(&Some(index)).unwrap_or_default();
        // Threads first, then each pool with its workers, then other processes.
        let rank = |&child: &usize| {
            let child = &self.members[child];
            let name = child.pool.map(|_| (child.lane.name.len(), child.lane.name.clone())); // -2 before -10
            (child.lane.pid.is_some(), child.pool.is_none(), child.pool, name)
        };
        below.sort_by_key(rank);
        let mut pool = None;
        for (place, &child) in below.iter().enumerate() {
            let its_pool = self.members[child].pool;
            if its_pool.is_some() && its_pool != pool {
                let workers = below[place..]
                    .iter()
                    .filter(|&&other| self.members[other].pool == its_pool);
                let workers = workers.map(|&worker| &self.members[worker].lane);
                let mut changes = self.pools.remove(&(index, its_pool.unwrap_or(0))).unwrap_or_default();
                lanes.push(queue(&mut changes, workers, depth + 1));
            }
            pool = its_pool;
            self.line_up_below(child, depth + 1, children, lanes);
        }
    }
}

/// Finds out which bars lie in which.
fn nest(bars: &mut [Bar]) {
    let mut around: Vec<u64> = Vec::new();
    for bar in bars {
        while around.last().is_some_and(|&end| end <= bar.begin) {
            around.pop();
        }
        bar.depth = around.len();
        around.push(bar.end);
    }
}

fn queue<'a>(changes: &mut [(u64, i64)], workers: impl Iterator<Item = &'a Lane>, depth: usize) -> Lane {
    changes.sort_by_key(|&(time, change)| (time, -change));
    let mut waiting = 0;
    let steps = changes.iter().map(|&(time, change)| {
        waiting = (waiting + change).max(0);
        (time, waiting as u64)
    });
    let steps: Vec<_> = steps.collect();
    let (begins, ends): (Vec<_>, Vec<_>) = workers.map(|lane| (lane.begin, lane.end)).unzip();
    Lane {
        name: "queue".to_owned(),
        pid: None,
        depth,
        begin: begins.into_iter().min().unwrap_or(0),
        end: ends.into_iter().max().unwrap_or(0),
        fate: Fate::Open,
        bars: Vec::new(),
        queue: Some(steps),
    }
}

/// "SIGKILL".
fn signal_name(signal: i32) -> String {
    #[cfg(unix)]
    if let Ok(known) = nix::sys::signal::Signal::try_from(signal) {
        return known.as_str().to_owned();
    }
    format!("signal {signal}")
}
