//! `cargo bench -p common`: how fast is it, beside the raw limits, Python's multiprocessing, procspawn, and threads?
//!
//! Everything is measured in one run, in rounds: in each round, everybody in turn. So whatever else the machine does hits all
//! alike, and what counts is the ratio within a round. Every result is checked.
//!
//! ```text
//! cargo bench -p common                             # everything, about three minutes
//! cargo bench -p common -- apply --quick            # what has `apply` in its name, fewer and shorter rounds
//! cargo bench -p common -- --json /tmp/speed.json   # all numbers (Cargo runs this in the folder `common`)
//! ```

mod ours;
mod peer;
mod raw;
mod report;

use report::{Goal, Measure, Row, Unit};

/// Somebody who can be measured.
///
/// What is measured has the same name everywhere; see [`measures`]. `None`: he has no such thing.
trait Contestant {
    fn measure(&mut self, what: &str, workers: usize, count: usize) -> Option<f64>;

    /// How many doorbells were rung per 1,000 tasks of the last measure, if that is known.
    fn doorbells(&self) -> Option<f64> {
        None
    }
}

/// The contestants, in the table's order. `common` is the first.
const NAMES: [&str; 8] = [
    "common",
    "raw limit",
    "rayon",
    "crossbeam",
    "Python",
    "Python spawn",
    "executor",
    "procspawn",
];
const COMMON: usize = 0;
const RAW: usize = 1;
const RAYON: usize = 2;
const CROSSBEAM: usize = 3;
const PYTHON: usize = 4;
const PROCSPAWN: usize = 7;

fn main() {
    if raw::run_child() {
        return;
    }
    common::init();
    let options = Options::from_args();
    if let Some(count) = options.queue_alone {
        ours::queue_alone(count);
        return;
    }
    if !options.bench {
        println!("this is measured by `cargo bench -p common`, not by `cargo test`");
        return;
    }
    let other_crates = peer::build();
    let other_crate = |name| peer::other_crate(name, other_crates.as_deref());
    let mut contestants: [Option<Box<dyn Contestant>>; NAMES.len()] = [
        Some(Box::new(ours::Common::default())),
        Some(Box::new(raw::Raw)),
        other_crate("rayon"),
        other_crate("crossbeam"),
        peer::python("pool"),
        peer::python("spawn"),
        peer::python("executor"),
        other_crate("procspawn"),
    ];
    let rounds = if options.quick { 3 } else { 5 };
    let mut rows = Vec::new();
    for measure in measures().into_iter().filter(|measure| options.wants(&measure.name)) {
        eprintln!("{} ...", measure.name);
        let mut row = Row::new(measure);
        for round in 0..rounds {
            for place in 0..NAMES.len() {
                let who = (place + round) % NAMES.len(); // nobody is always the first
                let Measure { what, workers, .. } = row.measure;
                let count = row.measure.count(who, options.quick);
                let value = match &mut contestants[who] {
                    Some(contestant) if count > 0 => contestant.measure(what, workers, count),
                    _ => None,
                };
                row.samples[who].push(value);
                if who == COMMON {
                    row.doorbells
                        .extend(contestants[COMMON].as_ref().and_then(|common| common.doorbells()));
                }
            }
        }
        println!("{row}");
        rows.push(row);
    }
    report::summary(&rows);
    if let Some(file) = options.json {
        std::fs::write(&file, report::json(&rows)).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

#[derive(Default)]
struct Options {
    words: Vec<String>,
    /// Said by `cargo bench`, and by nobody else.
    bench: bool,
    quick: bool,
    json: Option<String>,
    /// Only fill a queue, for who measures the memory that it takes.
    queue_alone: Option<usize>,
}

impl Options {
    fn from_args() -> Options {
        let mut options = Options::default();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--bench" => options.bench = true,
                "--quick" => options.quick = true,
                "--json" => options.json = Some(args.next().expect("--json FILE")),
                "--queue-alone" => options.queue_alone = args.next().and_then(|count| count.parse().ok()),
                word if !word.starts_with('-') => options.words.push(word.to_owned()),
                _ => {
                    eprintln!("usage: cargo bench -p common -- [WORD] [--quick] [--json FILE]");
                    std::process::exit(2);
                }
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Everything that is measured. The numbers of tasks are for `common`, the raw limits and threads; for Python, Python spawn,
/// the executor, and procspawn: everybody gets what takes him a fraction of a second. 0: not asked.
fn measures() -> Vec<Measure> {
    use Goal::{AtLeast, AtMost, TimesFaster, TimesSlower};
    use Unit::{Bytes, SpeedUp, Time};
    let new = Measure::new;
    let mut all = vec![
        new("Process start and join", Time, "start", 1, [100, 50, 10, 0, 50]).goal(TimesSlower(RAW, 1.05)),
        new(
            "Process start and join, raw without pipes",
            Time,
            "start_bare",
            1,
            [100, 0, 0, 0, 0],
        ),
        new(
            "Process start and join, 1 GiB touched",
            Time,
            "start_large",
            1,
            [100, 0, 0, 0, 0],
        )
        .goal(TimesSlower(RAW, 1.05)),
        new(
            "apply_async, 2 workers",
            Time,
            "apply_async",
            2,
            [100_000, 20_000, 0, 3_000, 6_000],
        )
        .goal(TimesSlower(RAYON, 1.0))
        .goal(TimesFaster(PYTHON, 90.0))
        .goal(TimesFaster(PROCSPAWN, 100.0)),
    ];
    for workers in [4, 16, 64] {
        let name = format!("apply_async, {workers} workers");
        all.push(new(&name, Time, "apply_async", workers, [100_000, 10_000, 0, 0, 0]).goal(TimesSlower(RAYON, 1.0)));
    }
    all.extend([
        new("imap, 2 workers", Time, "imap", 2, [100_000, 20_000, 0, 0, 0]).goal(TimesFaster(PYTHON, 40.0)),
        new(
            "imap_unordered, 2 workers",
            Time,
            "imap_unordered",
            2,
            [100_000, 20_000, 0, 0, 0],
        )
        .goal(TimesFaster(PYTHON, 40.0)),
        new(
            "map, own chunks, 100,000 items",
            Time,
            "map",
            2,
            [100_000, 100_000, 0, 100_000, 0],
        )
        .goal(TimesFaster(PYTHON, 7.0)),
        new(
            "map, own chunks, 1,000,000 items",
            Time,
            "map",
            2,
            [1_000_000, 1_000_000, 0, 0, 0],
        )
        .goal(TimesFaster(PYTHON, 7.0)),
        new(
            "map, single items",
            Time,
            "map_single",
            2,
            [100_000, 20_000, 0, 3_000, 0],
        ),
        new(
            "speed-up, tasks of 1 ms, 2 workers",
            SpeedUp,
            "speed_up",
            2,
            [300, 300, 0, 0, 300],
        )
        .goal(AtLeast(1.95, 0.99)),
        new("making and ending a pool of 2", Time, "make", 2, [20, 10, 2, 10, 10]).goal(TimesFaster(PYTHON, 2.5)),
        new("making and ending a pool of 16", Time, "make", 16, [5, 3, 0, 3, 3]).goal(TimesFaster(PYTHON, 2.5)),
        new(
            "a queued task, time",
            Time,
            "queue_time",
            2,
            [1_000_000, 50_000, 0, 0, 0],
        ),
        new(
            "a queued task, memory",
            Bytes,
            "queue_bytes",
            2,
            [1_000_000, 50_000, 0, 0, 0],
        )
        .goal(AtMost(144.0)),
        new("idle pool of 2, CPU time in a second", Time, "idle", 2, [1, 1, 0, 0, 0]).goal(AtMost(1e-4)),
        new("apply, median", Time, "apply_median", 2, [3_000, 1_000, 0, 300, 1_000]).goal(TimesFaster(PYTHON, 2.5)),
        new(
            "apply, 99th percentile",
            Time,
            "apply_99th",
            2,
            [3_000, 1_000, 0, 300, 1_000],
        ),
    ]);
    for (size, what, count, for_python, goal) in [
        ("64 B", "echo_64", 20_000, 10_000, TimesFaster(PYTHON, 5.0)),
        ("4 KB", "echo_4096", 10_000, 5_000, TimesFaster(PYTHON, 5.0)),
        ("64 KB", "echo_65536", 2_000, 1_000, TimesSlower(RAW, 2.0)),
        ("1 MB", "echo_1048576", 100, 50, TimesSlower(RAW, 2.0)),
        ("64 MB", "echo_67108864", 3, 1, TimesSlower(RAW, 2.0)),
    ] {
        let name = format!("{size} there and back, many under way");
        all.push(new(&name, Time, what, 1, [count, for_python, 0, 0, 0]).goal(goal));
    }
    all.push(new(
        "apply_async, growth, 1 worker",
        Time,
        "apply_async",
        1,
        [50_000, 10_000, 0, 0, 0],
    ));
    for count in [1_000, 10_000, 1_000_000] {
        let name = format!("apply_async, growth, {count} tasks");
        all.push(new(&name, Time, "apply_async", 2, [count, count.min(10_000), 0, 0, 0]));
    }
    all
}
