//! The table, its goals, and the same as JSON.

use crate::{COMMON, NAMES, RAW};
use std::fmt;

#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    /// Seconds for each task, start, pool.
    Time,
    Bytes,
    /// How many times faster than the same work without processes. More is better.
    SpeedUp,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::SpeedUp => format!("{value:.2}"),
            Unit::Bytes => format!("{value:.0} B"),
            Unit::Time if value < 1e-6 => format!("{:.0} ns", value * 1e9),
            Unit::Time if value < 1e-4 => format!("{:.2} us", value * 1e6),
            Unit::Time => format!("{:.2} ms", value * 1e3),
        }
    }
}

/// What `common` is to reach. The ratios are those of times.
#[derive(Clone, Copy)]
pub enum Goal {
    TimesFaster(usize, f64),
    /// At most so many times slower.
    TimesSlower(usize, f64),
    AtMost(f64),
    AtLeast(f64),
}

pub struct Measure {
    pub name: String,
    pub unit: Unit,
    pub what: &'static str,
    pub workers: usize,
    counts: [usize; 5],
    goals: Vec<Goal>,
}

impl Measure {
    /// `counts`: for `common` and the raw limit, Python, Python spawn, executor, procspawn.
    pub fn new(name: &str, unit: Unit, what: &'static str, workers: usize, counts: [usize; 5]) -> Measure {
        Measure {
            name: name.to_owned(),
            unit,
            what,
            workers,
            counts,
            goals: Vec::new(),
        }
    }

    pub fn goal(mut self, goal: Goal) -> Measure {
        self.goals.push(goal);
        self
    }

    pub fn count(&self, who: usize, quick: bool) -> usize {
        let count = self.counts[who.saturating_sub(1)];
        // A million stays a million: it is quick enough, and what it shows is the number's.
        if quick && count < 1_000_000 {
            count.div_ceil(5)
        } else {
            count
        }
    }
}

pub struct Row {
    pub measure: Measure,
    /// For each contestant, in each round.
    pub samples: [Vec<Option<f64>>; NAMES.len()],
}

/// The middle one of several values, and the outermost.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.retain(|value| !value.is_nan());
        values.sort_by(f64::total_cmp);
        let (&low, &high) = (values.first()?, values.last()?);
        Some(Spread {
            median: values[values.len() / 2],
            low,
            high,
        })
    }
}

impl Row {
    pub fn new(measure: Measure) -> Row {
        Row {
            measure,
            samples: Default::default(),
        }
    }

    fn absolute(&self, who: usize) -> Option<Spread> {
        Spread::of(self.samples[who].iter().flatten().copied().collect())
    }

    /// What somebody takes, in units of what `common` takes in the same round; above 1, `common` is better.
    fn ratio(&self, who: usize) -> Option<Spread> {
        let pairs = self.samples[who].iter().zip(&self.samples[COMMON]);
        let ratios = pairs.filter_map(|pair| match pair {
            (Some(other), Some(common)) if self.measure.unit == Unit::SpeedUp => Some(common / other),
            (Some(other), Some(common)) if *common > 0.0 => Some(other / common),
            _ => None,
        });
        Spread::of(ratios.collect())
    }

    /// The goal in words, what was reached, and whether that is enough. `None`: not measured.
    fn reached(&self, goal: Goal) -> Option<(String, String, bool)> {
        let show = |value| self.measure.unit.show(value);
        Some(match goal {
            Goal::TimesFaster(who, goal) => {
                let ratio = self.ratio(who)?.median;
                (
                    format!("{goal} times faster than {}", NAMES[who]),
                    format!("{ratio:.1}"),
                    ratio >= goal,
                )
            }
            Goal::TimesSlower(who, goal) => {
                let ratio = 1.0 / self.ratio(who)?.median;
                (
                    format!("at most {goal} times the {}", NAMES[who]),
                    format!("{ratio:.2}"),
                    ratio <= goal,
                )
            }
            Goal::AtMost(goal) => {
                let value = self.absolute(COMMON)?.median;
                (format!("at most {}", show(goal)), show(value), value <= goal)
            }
            Goal::AtLeast(goal) => {
                let value = self.absolute(COMMON)?.median;
                let limit = self.absolute(RAW).map_or(String::new(), |limit| {
                    format!(" (the raw limit: {})", show(limit.median))
                });
                (format!("at least {}", show(goal)), show(value) + &limit, value >= goal)
            }
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:<40}", self.measure.name)?;
        let show = |value| self.measure.unit.show(value);
        if let Some(Spread { median, low, high }) = self.absolute(COMMON) {
            write!(f, "{:>10}  ({} to {})", show(median), show(low), show(high))?;
        }
        for (who, name) in NAMES.iter().enumerate().skip(1) {
            if let Some(Spread { median, low, high }) = self.ratio(who) {
                write!(f, "\n    {name:<34}{median:>10.2}x ({low:.2} to {high:.2})")?;
            }
        }
        for (goal, reached, enough) in self.measure.goals.iter().filter_map(|&goal| self.reached(goal)) {
            let mark = if enough { "ok" } else { "FALLS SHORT" };
            write!(f, "\n    goal: {goal}: {reached} {mark}")?;
        }
        Ok(())
    }
}

/// The table of ratios, and what falls short.
pub fn summary(rows: &[Row]) {
    println!("\nHow much more the others take than common, in the same round: median (lowest to highest)\n");
    print!("{:<40}{:>10}", "", NAMES[COMMON]);
    NAMES.iter().skip(1).for_each(|name| print!("{name:>22}"));
    println!();
    let mut short = Vec::new();
    for row in rows {
        let common = row
            .absolute(COMMON)
            .map_or("-".to_owned(), |spread| row.measure.unit.show(spread.median));
        let reached: Vec<_> = row.measure.goals.iter().filter_map(|&goal| row.reached(goal)).collect();
        let misses = reached.iter().filter(|reached| !reached.2);
        let before = short.len();
        short.extend(misses.map(|(goal, reached, _)| format!("{}: {goal}; reached: {reached}", row.measure.name)));
        let mark = if short.len() > before { "! " } else { "  " };
        print!("{mark}{:<38}{common:>10}", row.measure.name);
        for who in 1..NAMES.len() {
            let text = row.ratio(who).map_or("-".to_owned(), |Spread { median, low, high }| {
                format!("{} ({}-{})", digits(median), digits(low), digits(high))
            });
            print!("{text:>22}");
        }
        println!();
    }
    println!();
    short.iter().for_each(|line| println!("! {line}"));
    if short.is_empty() && rows.iter().any(|row| !row.measure.goals.is_empty()) {
        println!("All goals are reached.");
    }
}

/// A ratio in about three digits.
fn digits(ratio: f64) -> String {
    let decimals = if ratio < 10.0 {
        2
    } else if ratio < 100.0 {
        1
    } else {
        0
    };
    format!("{ratio:.decimals$}")
}

pub fn json(rows: &[Row]) -> String {
    let rows: Vec<String> = rows.iter().map(row_as_json).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

fn row_as_json(row: &Row) -> String {
    let unit = match row.measure.unit {
        Unit::Time => "seconds",
        Unit::Bytes => "bytes",
        Unit::SpeedUp => "times",
    };
    let mut members = Vec::new();
    for (who, samples) in row
        .samples
        .iter()
        .enumerate()
        .filter(|(_, samples)| samples.iter().any(Option::is_some))
    {
        let samples: Vec<String> = samples
            .iter()
            .map(|sample| {
                sample
                    .filter(|s| s.is_finite())
                    .map_or("null".into(), |s| s.to_string())
            })
            .collect();
        let ratio = row
            .ratio(who)
            .filter(|ratio| ratio.high.is_finite())
            .map_or("null".to_owned(), |Spread { median, low, high }| {
                format!("{{\"median\": {median}, \"low\": {low}, \"high\": {high}}}")
            });
        members.push(format!(
            "    {:?}: {{\"samples\": [{}], \"ratio\": {ratio}}}",
            NAMES[who],
            samples.join(", ")
        ));
    }
    let goals: Vec<String> = (row.measure.goals.iter().filter_map(|&goal| row.reached(goal)))
        .map(|(goal, reached, ok)| format!("{{\"goal\": {goal:?}, \"reached\": {reached:?}, \"ok\": {ok}}}"))
        .collect();
    format!(
        "  {{\"name\": {:?}, \"unit\": \"{unit}\", \"goals\": [{}], \"who\": {{\n{}\n  }}}}",
        row.measure.name,
        goals.join(", "),
        members.join(",\n")
    )
}
