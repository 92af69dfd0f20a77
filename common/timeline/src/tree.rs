//! From records to lanes: below each process its threads, its pools with their workers, and the other processes that it
//! started.

use crate::log::{Kind, Record, UNKNOWN};
use crate::run::{Bar, BarKind, Lane};
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct LaneTree {
    nodes: Vec<Node>,
    /// The latest process or thread with this pid and number of the lane.
    index: BTreeMap<(u32, u16), usize>,
    /// By process and number of the pool.
    queues: BTreeMap<(usize, u16), usize>,
}

/// A lane in the making.
#[derive(Default)]
struct Node {
    lane: Lane,
    /// Whose process, thread or pool it is.
    parent: Option<usize>,
    /// Of a queue or a worker: the number of its parent's pool.
    pool: Option<u16>,
    /// Of a queue: when tasks came (above 0) or were begun (below 0).
    changes: Vec<(u64, i64)>,
    /// When it ended, if that was recorded.
    end: Option<u64>,
    forked: bool,
    /// The last time that is recorded of it.
    heard: u64,
}

impl LaneTree {
    /// Records must come in the order of their times.
    pub fn add(&mut self, record: &Record) {
        let process = self.find(record.pid, 0);
        match record.kind {
            Kind::Process | Kind::Fork => {
                let parent = self.find(record.number as u32, 0);
                self.begin_lane(record, Some(record.pid), parent);
            }
            Kind::Thread => self.begin_lane(record, None, process),
            _ => {
                if let Some(process) = process {
                    self.add_event(record, process);
                }
            }
        }
    }

    fn find(&self, pid: u32, lane: u16) -> Option<usize> {
        self.index.get(&(pid, lane)).copied()
    }

    fn begin_lane(&mut self, record: &Record, pid: Option<u32>, parent: Option<usize>) {
        let number = if pid.is_some() { 0 } else { record.lane };
        let node = self.push(record.text.clone(), record.time, parent);
        self.index.insert((record.pid, number), node);
        let node = &mut self.nodes[node];
        node.lane.pid = pid;
        node.forked = record.kind == Kind::Fork;
        node.end = (record.has_end() && record.number > 0).then_some(record.number);
    }

    fn push(&mut self, name: String, begin: u64, parent: Option<usize>) -> usize {
        let mut node = Node::default();
        (node.parent, node.heard) = (parent, begin);
        (node.lane.name, node.lane.begin) = (name, begin);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn queue(&mut self, process: usize, pool: u16) -> &mut Node {
        let queue = self.queues.get(&(process, pool)).copied().unwrap_or_else(|| {
            let queue = self.push("queue".to_owned(), 0, Some(process));
            self.nodes[queue].pool = Some(pool);
            self.nodes[queue].lane.queue = Some(Vec::new());
            self.queues.insert((process, pool), queue);
            queue
        });
        &mut self.nodes[queue]
    }

    fn add_event(&mut self, record: &Record, process: usize) {
        let node = &mut self.nodes[process];
        node.heard = node.heard.max(record.time);
        match record.kind {
            Kind::Member => node.pool = Some(record.lane),
            Kind::PlannedEnd => node.lane.planned_end = node.end.is_none(),
            Kind::Exit => node.end = Some(record.time),
            Kind::Ended => {
                node.lane.exitcode = (record.number < UNKNOWN).then_some(record.number as u32 as i32);
                node.end.get_or_insert(record.time);
            }
            Kind::Submit => {
                let queue = self.queue(process, record.lane);
                queue.changes.push((record.time, record.number as i64));
            }
            _ => {
                node.heard = node.heard.max(record.number);
                if let Some(lane) = self.find(record.pid, record.lane) {
                    self.nodes[lane].lane.bars.push(bar(record));
                }
            }
        }
    }

    /// The lanes of a run of this length in the order in which they are drawn.
    pub fn finish(mut self, length: u64) -> Vec<Lane> {
        for node in 0..self.nodes.len() {
            self.end_lane(node, length);
            self.enqueue_tasks(node);
        }
        let mut keys: Vec<Vec<Key>> = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.lane.queue.is_some() {
                node.lane.queue = Some(steps(&mut node.changes));
            }
            let mut key = node.parent.map_or(Vec::new(), |parent| keys[parent].clone());
            node.lane.depth = key.len();
            key.push(self::key(node, index));
            keys.push(key);
        }
        let mut lanes: Vec<_> = keys.into_iter().zip(self.nodes).collect();
        lanes.sort_by(|one, other| one.0.cmp(&other.0));
        lanes.into_iter().map(|(_, node)| node.lane).collect()
    }

    fn end_lane(&mut self, index: usize, length: u64) {
        let node = &self.nodes[index];
        if node.lane.queue.is_some() {
            return; // it ends with its workers
        }
        // A thread that did not end by itself ended with its process, which began before it and has its end already.
        let process = node.parent.filter(|_| node.end.is_none() && node.lane.pid.is_none());
        let ended_by = process.map(|process| &self.nodes[process].lane);
        let ended_by = ended_by.map(|lane| (lane.end, lane.exitcode, lane.planned_end));
        let node = &mut self.nodes[index];
        // Nobody but itself reports what becomes of a forked process.
        let otherwise = if node.forked { node.heard } else { length };
        let lane = &mut node.lane;
        (lane.end, lane.exitcode, lane.planned_end) =
            ended_by.unwrap_or((node.end.unwrap_or(otherwise), lane.exitcode, lane.planned_end));
        lane.end = lane.end.max(lane.begin);
        for bar in &mut lane.bars {
            bar.begin = bar.begin.min(lane.end);
            bar.end = bar.end.clamp(bar.begin, lane.end);
        }
        nest(&mut lane.bars);
    }

    /// A worker's tasks have left the queue of its pool when they begin.
    fn enqueue_tasks(&mut self, index: usize) {
        let node = &self.nodes[index];
        let (Some(parent), Some(pool), Some(_)) = (node.parent, node.pool, node.lane.pid) else {
            return;
        };
        let end = node.lane.end;
        let begun = node.lane.bars.iter().filter_map(|bar| match bar.kind {
            BarKind::Tasks(count) => Some((bar.begin, -(count as i64))),
            _ => None,
        });
        let begun: Vec<_> = begun.collect();
        let queue = self.queue(parent, pool);
        queue.changes.extend(begun);
        queue.lane.end = queue.lane.end.max(end);
    }
}

/// Where a lane is drawn among those with the same parent: threads first, then each pool's queue and its workers by name
/// (2 before 10), then other processes.
type Key = (bool, Option<u16>, Option<(usize, String)>, usize);

fn key(node: &Node, index: usize) -> Key {
    let name = &node.lane.name;
    let worker = node.pool.and(node.lane.pid).map(|_| (name.len(), name.clone()));
    (node.pool.is_none() && node.lane.pid.is_some(), node.pool, worker, index)
}

fn bar(record: &Record) -> Bar {
    let count = record.begun.max(1);
    let (kind, label) = match record.kind {
        Kind::Blocked => (BarKind::Blocked, record.text.clone()),
        Kind::Span => (BarKind::Span, record.text.clone()),
        _ => match record.text.parse::<u64>() {
            Ok(first) if count > 1 => (BarKind::Tasks(count), format!("{first}-{}", first + count - 1)),
            _ => (BarKind::Tasks(1), record.text.clone()),
        },
    };
    let unfinished = record.number == 0;
    Bar {
        kind,
        label: if label.is_empty() { "unnamed".to_owned() } else { label },
        begin: record.time,
        end: if unfinished { u64::MAX } else { record.number }, // that is, until the lane ends
        depth: 0,
        unfinished,
        count: 1,
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

/// From when on how many tasks wait.
fn steps(changes: &mut [(u64, i64)]) -> Vec<(u64, u64)> {
    changes.sort_by_key(|&(time, change)| (time, -change));
    let mut waiting = 0;
    let steps = changes.iter().map(|&(time, change)| {
        waiting = (waiting + change).max(0);
        (time, waiting as u64)
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use crate::log::{Kind, Record};
    use crate::run::Run;
    use crate::samples::{draw_with, record};

    /// Name, depth and begin (milliseconds) of each lane.
    fn lanes(records: Vec<Record>) -> Vec<(String, usize, u64)> {
        let lanes = |run: &Run| {
            let lanes = run.lanes.iter();
            lanes
                .map(|lane| (lane.name.clone(), lane.depth, lane.begin / 1_000_000))
                .collect()
        };
        draw_with(records, lanes)
    }

    #[test]
    fn threads_come_before_pools_and_pools_before_processes() {
        let mut records = vec![
            record(Kind::Process, 1, 1000, 0, "MainProcess"),
            record(Kind::Process, 2, 1001, 1, "Process-1"),
        ];
        for (pid, name) in [(30, "PoolWorker-10"), (31, "PoolWorker-2")] {
            records.push(record(Kind::Process, pid, 1005, 1, name));
            records.push(Record {
                lane: 4,
                ..record(Kind::Member, pid, 1006, 0, "")
            });
        }
        records.push(Record {
            lane: 9,
            ..record(Kind::Thread, 1, 1030, 0, "thread A")
        });
        records.push(record(Kind::Process, 5, 1040, 2, "Process-2"));
        let expected = [
            ("MainProcess", 0, 0),
            ("thread A", 1, 30),
            ("queue", 1, 0),
            ("PoolWorker-2", 1, 5),
            ("PoolWorker-10", 1, 5),
            ("Process-1", 1, 1),
            ("Process-2", 2, 40),
        ];
        assert_eq!(
            lanes(records),
            expected.map(|(name, depth, begin)| (name.to_owned(), depth, begin))
        );
    }

    #[test]
    fn a_pid_that_is_reused_is_another_process() {
        let mut records = vec![record(Kind::Process, 1, 1000, 0, "MainProcess")];
        for (name, begin) in [("first", 1010), ("second", 1050)] {
            records.push(record(Kind::Process, 7, begin, 1, name));
            records.push(record(Kind::Span, 7, begin + 5, begin + 30, "work"));
            records.push(record(Kind::Ended, 7, begin + 35, 0, ""));
        }
        let spans = draw_with(records, |run| {
            let lanes = run.lanes.iter();
            lanes
                .map(|lane| (lane.name.clone(), lane.bars.len(), lane.end / 1_000_000))
                .collect::<Vec<_>>()
        });
        assert_eq!(spans[1..], [("first".to_owned(), 1, 45), ("second".to_owned(), 1, 85)]);
    }

    #[test]
    fn a_plan_comes_before_the_end() {
        let failed = |plan: u64, end: u64| {
            let records = vec![
                record(Kind::Process, 1, 1000, 0, "MainProcess"),
                record(Kind::Process, 2, 1000, 1, "PoolWorker-1"),
                record(Kind::PlannedEnd, 2, plan, 0, ""),
                record(Kind::Ended, 2, end, 3, ""),
            ];
            draw_with(records, |run| run.lanes[1].failed())
        };
        assert!(!failed(1010, 1020) && failed(1020, 1010));
    }

    #[test]
    fn a_forked_process_that_says_no_more_ends_where_it_was_last_heard_of() {
        let records = vec![
            record(Kind::Process, 1, 1000, 0, "MainProcess"),
            record(Kind::Fork, 2, 1010, 1, "fork"),
            record(Kind::Span, 2, 1020, 1030, "work"),
        ];
        assert_eq!(draw_with(records, |run| run.lanes[1].end / 1_000_000), 30);
    }
}
