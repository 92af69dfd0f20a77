//! Runs for tests. Times are milliseconds; a run begins at 1000 and ends at 1100.

use crate::log::{Kind, Record};
use crate::run::Run;

pub(crate) fn draw_with<T>(records: Vec<Record>, draw: impl FnOnce(&Run) -> T) -> T {
    draw(&Run::new(records, 0, 1_100_000_000))
}

/// A record of a process's own lane.
pub(crate) fn record(kind: Kind, pid: u32, time: u64, number: u64, text: &str) -> Record {
    let mut record = Record {
        kind,
        pid,
        lane: 0,
        time: time * 1_000_000,
        number,
        text: text.to_owned(),
        begun: 0,
    };
    if record.has_end() {
        record.number *= 1_000_000;
    }
    record
}

pub(crate) fn task(pid: u32, number: u64, begin: u64, end: u64) -> Record {
    record(Kind::Task, pid, begin, end, &number.to_string())
}

/// The end of a process by SIGKILL.
fn kill(pid: u32, time: u64) -> Record {
    record(Kind::Ended, pid, time, u64::from(-9_i32 as u32), "")
}

fn pool() -> Vec<Record> {
    let mut records = vec![record(Kind::Process, 1, 1000, 0, "MainProcess")];
    for (pid, name) in [(10, "PoolWorker-1"), (11, "PoolWorker-2")] {
        records.push(record(Kind::Process, pid, 1005, 1, name));
        records.push(record(Kind::Member, pid, 1006, 0, ""));
    }
    records
}

/// A pool of two, of which one is killed in task 2.
pub(crate) fn killed() -> Vec<Record> {
    let mut records = pool();
    records.push(record(Kind::Blocked, 1, 1020, 1090, "join"));
    records.push(record(Kind::Submit, 1, 1010, 3, ""));
    records.extend([task(10, 0, 1010, 1040), task(11, 1, 1010, 1070), task(10, 2, 1040, 0)]);
    records.push(kill(10, 1060));
    records.push(record(Kind::Exit, 11, 1085, 0, ""));
    records.push(record(Kind::Ended, 11, 1090, 0, ""));
    records
}

/// A pool that was terminated while one of two workers did something, and a task waited.
pub(crate) fn terminated() -> Vec<Record> {
    let mut records = pool();
    records.push(record(Kind::Submit, 1, 1000, 3, ""));
    records.extend([task(10, 0, 1008, 1026), task(10, 1, 1028, 0)]);
    for pid in [10, 11] {
        records.push(record(Kind::PlannedEnd, pid, 1050, 0, ""));
        records.push(kill(pid, 1050));
    }
    records
}

/// Two threads of a process that is killed, each waiting for a lock of the other one.
pub(crate) fn deadlock() -> Vec<Record> {
    let mut records = vec![
        record(Kind::Process, 1, 1000, 0, "MainProcess"),
        record(Kind::Blocked, 1, 1005, 1095, "Process-1"),
        record(Kind::Process, 10, 1002, 1, "Process-1"),
        record(Kind::Span, 10, 1003, 0, "target"),
    ];
    for (lane, name, label) in [
        (1, "thread A", "right, and holds left"),
        (2, "thread B", "left, and holds right"),
    ] {
        for (kind, text) in [(Kind::Thread, name), (Kind::Blocked, label)] {
            records.push(Record {
                lane,
                ..record(kind, 10, 1005, 0, text)
            });
        }
    }
    records.push(kill(10, 1096));
    records
}

/// A worker with this many tasks of 8 us.
pub(crate) fn many(tasks: u64) -> Vec<Record> {
    let mut records = vec![
        record(Kind::Process, 1, 1000, 0, "MainProcess"),
        record(Kind::Process, 2, 1000, 1, "PoolWorker-1"),
        record(Kind::Member, 2, 1000, 0, ""),
        record(Kind::Submit, 1, 1001, tasks, ""),
    ];
    records.extend((0..tasks).map(|number| {
        let mut record = task(2, number, 1010, 1011);
        record.time = 1_010_000_000 + number * 8000;
        record.number = record.time + 8000;
        record
    }));
    records
}

/// Long names of lanes and labels, some in Chinese, spans in spans, waits that are too short for their labels, and failures
/// at every place of the picture.
fn crowded() -> Vec<Record> {
    let mut records = vec![
        record(Kind::Process, 1, 1000, 0, "MainProcess"),
        record(Kind::Span, 1, 1000, 0, "the outermost span of all, a long one"),
        record(Kind::Span, 1, 1010, 1040, "an inner one"),
        record(Kind::Blocked, 1, 1012, 1038, "something"),
        record(Kind::Span, 1, 1050, 1099, "进程池里的任务"),
        record(Kind::Span, 1, 1060, 1062, "short"),
        record(Kind::Blocked, 1, 1098, 0, "what never comes, however long one waits"),
    ];
    for n in 0..20 {
        let (pid, name) = (
            1_000_000 + n as u32,
            ["a process whose name is far too long to be shown", "进程"][n as usize % 2],
        );
        records.push(record(Kind::Process, pid, 1000 + n, 1, name));
        records.push(record(Kind::Span, pid, 1000 + n, 0, "a target"));
        records.push(record(Kind::Span, pid, 1001 + n, 1002 + 2 * n, "a span"));
        records.push(record(
            Kind::Ended,
            pid,
            1004 + 5 * n,
            [3, u64::from(-11_i32 as u32)][n as usize % 2],
            "",
        ));
    }
    records
}

pub(crate) fn all() -> [(&'static str, Vec<Record>); 6] {
    [
        ("killed", killed()),
        ("terminated", terminated()),
        ("deadlock", deadlock()),
        ("many", many(10_000)),
        ("few", many(5)),
        ("crowded", crowded()),
    ]
}
