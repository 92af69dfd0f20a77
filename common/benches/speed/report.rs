//! The table, its goals, and the same as JSON.

use crate::{COMMON, CROSSBEAM, NAMES, RAW};
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
    /// Slower by at most this factor.
    TimesSlower(usize, f64),
    AtMost(f64),
    /// Or so much of the raw limit.
    AtLeast(f64, f64),
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
    /// `counts`: for `common`, the raw limit, rayon and crossbeam; Python; Python spawn; executor; procspawn.
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
        let count = self.counts[who.saturating_sub(CROSSBEAM)];
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
    /// How often `common` rang per 1,000 tasks, in each round.
    pub doorbells: Vec<f64>,
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
            doorbells: Vec::new(),
        }
    }

    fn doorbells(&self) -> Option<f64> {
        Spread::of(self.doorbells.clone()).map(|spread| spread.median)
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
                    format!("at most {goal} times {}", NAMES[who]),
                    format!("{ratio:.2}"),
                    ratio <= goal,
                )
            }
            Goal::AtMost(goal) => {
                let value = self.absolute(COMMON)?.median;
                (format!("at most {}", show(goal)), show(value), value <= goal)
            }
            Goal::AtLeast(goal, of_limit) => {
                let value = self.absolute(COMMON)?.median;
                let ratio = self.ratio(RAW).map_or(f64::NAN, |ratio| ratio.median);
                (
                    format!("at least {}, or {of_limit} of the raw limit", show(goal)),
                    format!("{}, {ratio:.2}", show(value)),
                    value >= goal || ratio >= of_limit,
                )
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
        if let Some(doorbells) = self.doorbells() {
            write!(f, "\n    {:<34}{doorbells:>10.2}", "doorbells per 1,000 tasks")?;
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

/// The table of ratios, then what is to be reached beside what was.
pub fn summary(rows: &[Row]) {
    println!("\nHow much more the others take than common, in the same round: median (lowest to highest)");
    println!("bells: doorbells per 1,000 tasks of common\n");
    print!("{:<40}{:>10}{:>8}", "", NAMES[COMMON], "bells");
    NAMES.iter().skip(1).for_each(|name| print!("{name:>19}"));
    println!();
    for row in rows {
        let common = row
            .absolute(COMMON)
            .map_or("-".to_owned(), |spread| row.measure.unit.show(spread.median));
        let doorbells = row.doorbells().map_or("-".to_owned(), digits);
        print!("{:<40}{common:>10}{doorbells:>8}", row.measure.name);
        for who in 1..NAMES.len() {
            let text = row.ratio(who).map_or("-".to_owned(), |Spread { median, low, high }| {
                format!("{} ({}-{})", digits(median), digits(low), digits(high))
            });
            print!("{text:>19}");
        }
        println!();
    }
    println!("\n  {:<40}{:<44}reached", "", "to reach");
    for row in rows {
        for (goal, reached, enough) in row.measure.goals.iter().filter_map(|&goal| row.reached(goal)) {
            let mark = if enough { ' ' } else { '!' };
            println!("{mark} {:<40}{goal:<44}{reached}", row.measure.name);
        }
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
    let doorbells = row
        .doorbells()
        .map_or("null".to_owned(), |doorbells| doorbells.to_string());
    format!(
        "  {{\"name\": {:?}, \"unit\": \"{unit}\", \"doorbells\": {doorbells}, \"goals\": [{}], \"who\": {{\n{}\n  }}}}",
        row.measure.name,
        goals.join(", "),
        members.join(",\n")
    )
}
