//! Lanes as a self-contained picture: one file, light or dark as its reader prefers, readable without colours.
//!
//! No word lies over another one or over a bar: the letters have a fixed width, so it is known how much room a text takes. A
//! label is left out if it does not fit into its bar (a pointer on the bar shows it); what is noted about a lane has a column
//! of its own.

use crate::run::{Bar, BarKind, Lane, Run};
use crate::units::{counted, duration, period, ticks};
use std::fmt::{self, Display, Formatter, Write};

/// All lengths are pixels.
const WIDTH: f64 = 720.0;
const MARGIN: f64 = 14.0;
/// Lanes are at least this long, even if the picture becomes wider.
const MIN_LANES: f64 = 460.0;
const TOP: f64 = 50.0;
const ROW: f64 = 24.0;
const BOX: f64 = 16.0;
/// Of a letter at the font size in [`HEAD`], rounded up.
const LETTER: f64 = 6.8;
/// More letters of a name or a note are not shown.
const MAX_LETTERS: usize = 34;

const HEAD: &str = r#"<style>
svg { --paper: #ffffff; --ink: #1f2328; --faint: #68717b; --line: #d8dee4; --busy: #b6dcfb; --edge: #0969da; --wait: #9a6700; --failed: #cf222e }
@media (prefers-color-scheme: dark) {
svg { --paper: #0d1117; --ink: #e6edf3; --faint: #8b949e; --line: #30363d; --busy: #133d68; --edge: #58a6ff; --wait: #d29922; --failed: #ff7b72 }
}
text { font: 11px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink) }
.paper { fill: var(--paper); stroke: var(--line) }
.faint { fill: var(--faint) }
.grid { stroke: var(--line) }
.alive { stroke: var(--faint); stroke-width: 2 }
.busy { fill: var(--busy); stroke: var(--edge) }
.many { fill: var(--edge); fill-opacity: .8 }
.wait { fill: url(#hatch); stroke: var(--wait); stroke-width: .6 }
.queue { fill: var(--wait); fill-opacity: .55 }
.failed { stroke: var(--failed); stroke-width: 2.5 }
text.failed { fill: var(--failed); stroke: none }
.back { fill: var(--paper); pointer-events: none }
.in { pointer-events: none }
</style>
<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="5" height="5" fill="var(--paper)"/><rect width="1.2" height="5" fill="var(--wait)"/></pattern></defs>
"#;

/// Class, sign, and meaning.
const LEGEND: [(&str, &str, &str); 6] = [
    ("alive", r#"<path d="M0 6h18"/>"#, "alive"),
    ("busy", r#"<path d="M0 1h18v10h-18z"/>"#, "task or span"),
    ("many", r#"<path d="M0 1h18v10h-18z"/>"#, "many short"),
    ("wait", r#"<path d="M0 3h18v6h-18z"/>"#, "waits"),
    ("queue", r#"<path d="M0 1h18v10h-18z"/>"#, "tasks in the queue"),
    ("failed", r#"<path d="M4 1l10 10M4 11l10 -10"/>"#, "killed or failed"),
];

/// The whole picture.
pub(crate) fn draw(run: &Run) -> String {
    let title = format!("timeline, {}", duration(run.length));
    let heads = run
        .lanes
        .iter()
        .map(|lane| indent(lane) + width(&name(lane)) + width(&pid(lane)));
    let left = heads.fold(MARGIN + width(&title), f64::max) + 12.0;
    let notes: Vec<String> = run.lanes.iter().map(|lane| note(lane, run.length)).collect();
    let note_width = notes.iter().map(|note| width(note)).fold(0.0, f64::max);
    let margin = if note_width > 0.0 {
        note_width + 12.0 + MARGIN
    } else {
        MARGIN
    };
    let right = (WIDTH - margin).max(left + MIN_LANES);
    let bottom = TOP + ROW * run.lanes.len() as f64;
    let (full_width, height) = (right + margin, bottom + 36.0 + 20.0 * run.omitted.len() as f64);

    let mut svg = Svg {
        text: String::new(),
        left,
        right,
        length: run.length,
    };
    svg.add(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full_width:.0} {height}" width="{full_width:.0}" height="{height}" role="img">"#
    ));
    let lanes = counted(run.lanes.len() as u64, "lane");
    svg.add(format_args!(
        "<title>Timeline: {lanes}, {}</title>",
        duration(run.length)
    ));
    svg.text += HEAD;
    svg.add(format_args!(
        r#"<rect class="paper" x=".5" y=".5" width="{:.0}" height="{}" rx="6"/>"#,
        full_width - 1.0,
        height - 1.0
    ));
    svg.write(MARGIN, 26.0, "", &title);
    for (time, name) in ticks(run.length, 8) {
        let x = svg.x(time);
        svg.add(format_args!(
            r#"<path class="grid" d="M{x:.1} {}V{}"/>"#,
            TOP - 16.0,
            bottom + 2.0
        ));
        if x + 3.0 + width(&name) < right {
            svg.write(x + 3.0, 26.0, "faint", &name);
        }
    }
    for (row, (lane, note)) in run.lanes.iter().zip(&notes).enumerate() {
        let y = TOP + ROW * row as f64;
        svg.lane(lane, y);
        let class = if lane.failed() { "failed" } else { "" };
        svg.write(right + 12.0, y + BOX / 2.0 + 4.0, class, note);
    }
    svg.legend(bottom + 20.0);
    for (row, sentence) in run.omitted.iter().enumerate() {
        svg.write(MARGIN, bottom + 42.0 + 20.0 * row as f64, "", sentence);
    }
    svg.text + "</svg>\n"
}

fn indent(lane: &Lane) -> f64 {
    MARGIN + 12.0 * lane.depth as f64
}

fn name(lane: &Lane) -> String {
    shortened(&lane.name, MAX_LETTERS)
}

fn pid(lane: &Lane) -> String {
    lane.pid.map(|pid| format!(" {pid}")).unwrap_or_default()
}

/// What is written right of a lane in a run of this length.
fn note(lane: &Lane, length: u64) -> String {
    let fits = |wait: &Bar| width(&wait.title()) + 20.0 <= (wait.end - wait.begin) as f64 * MIN_LANES / length as f64;
    let waits_for = lane.waits_for().filter(|wait| !fits(wait));
    let notes = [lane.outcome(), waits_for.map(Bar::title), lane.queue_note()];
    shortened(&notes.into_iter().flatten().collect::<Vec<_>>().join(", "), MAX_LETTERS)
}

struct Svg {
    text: String,
    /// Where lanes begin and end.
    left: f64,
    right: f64,
    /// Of the run.
    length: u64,
}

impl Svg {
    fn add(&mut self, element: impl Display) {
        let _ = writeln!(self.text, "{element}"); // a String takes everything
    }

    fn x(&self, time: u64) -> f64 {
        self.left + self.pixels(time)
    }

    fn pixels(&self, time: u64) -> f64 {
        time as f64 * (self.right - self.left) / self.length as f64
    }

    fn write(&mut self, x: f64, y: f64, class: &str, text: &str) {
        if !text.is_empty() {
            let text = Escaped(text);
            self.add(format_args!(
                r#"<text class="{class}" x="{x:.1}" y="{y}">{text}</text>"#
            ));
        }
    }

    fn lane(&mut self, lane: &Lane, y: f64) {
        let middle = y + BOX / 2.0;
        let about = about(lane);
        let about = Escaped(&about);
        let (indent, name, pid) = (indent(lane), name(lane), pid(lane));
        self.add(format_args!(
            r#"<text x="{indent}" y="{}">{}<tspan class="faint">{pid}</tspan><title>{about}</title></text>"#,
            middle + 4.0,
            Escaped(&name),
        ));
        if lane.queue.is_some() {
            return self.queue(lane, y, &about);
        }
        let (begin, end) = (self.x(lane.begin), self.x(lane.end));
        self.add(format_args!(
            r#"<path class="alive" d="M{begin:.1} {middle}H{end:.1}"><title>{about}</title></path>"#
        ));
        let shortest = 3.0 * self.length as f64 / (self.right - self.left);
        let bars = lane.merged_bars(shortest as u64);
        for bar in &bars {
            self.bar(bar, y);
        }
        for index in 0..bars.len() {
            self.label(&bars, index, middle + 4.0, lane.failed());
        }
        if lane.failed() {
            let (left, right, top, bottom) = (end - CROSS, end + CROSS, middle - CROSS, middle + CROSS);
            self.add(format_args!(
                r#"<path class="failed" d="M{left:.1} {top}L{right:.1} {bottom}M{left:.1} {bottom}L{right:.1} {top}"><title>{about}</title></path>"#
            ));
        }
    }

    fn bar(&mut self, bar: &Bar, y: f64) {
        let (class, inset) = match bar.kind {
            BarKind::Blocked => ("wait", 5.0),
            _ if bar.count > 1 => ("many", 0.0),
            _ => ("busy", (3.0 * bar.depth as f64).min(5.0)),
        };
        let finished = if bar.unfinished { ", never finished" } else { "" };
        let about = format!("{}, {}{finished}", bar.title(), period(bar.begin, bar.end));
        let (x, width) = (self.x(bar.begin), self.pixels(bar.end - bar.begin).max(1.5));
        let (top, height) = (y + inset, BOX - 2.0 * inset);
        self.add(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{top}" width="{width:.1}" height="{height}"><title>{}</title></rect>"#,
            Escaped(&about)
        ));
    }

    /// A bar's label, where no bar inside covers it.
    fn label(&mut self, bars: &[Bar], index: usize, y: f64, failed: bool) {
        let bar = &bars[index];
        if bar.count > 1 {
            return;
        }
        let inside = bars[index + 1..].iter().take_while(|inner| inner.begin < bar.end);
        let mut free = (bar.begin, bar.begin);
        let mut begin = bar.begin;
        for (next, end) in inside.map(|inner| (inner.begin, inner.end)).chain([(bar.end, bar.end)]) {
            if next.saturating_sub(begin) > free.1 - free.0 {
                free = (begin, next);
            }
            begin = begin.max(end);
        }
        let x = self.x(free.0) + 5.0;
        let cross = if failed && bar.unfinished { CROSS } else { 0.0 };
        let room = self.pixels(free.1 - free.0) - 8.0 - cross;
        if !bar.is_blocked() {
            let label = shortened(&bar.label, (room / LETTER) as usize);
            // Half a number would be another number.
            if label == bar.label || (bar.kind == BarKind::Span && room >= 3.0 * LETTER) {
                self.write(x, y, "in", &label);
            }
            return;
        }
        let label = shortened(&bar.title(), ((room - 6.0) / LETTER) as usize);
        // A few letters would say no more than the pattern does.
        if label == bar.title() || label.chars().count() >= "waits: four…".chars().count() {
            // No letter can be read on a pattern.
            let (top, back) = (y - 10.0, width(&label) + 6.0);
            self.add(format_args!(
                r#"<rect class="back" x="{x:.1}" y="{top}" width="{back:.1}" height="13"/>"#
            ));
            self.write(x + 3.0, y, "in", &label);
        }
    }

    /// An area as high as the queue is long.
    fn queue(&mut self, lane: &Lane, y: f64, about: &Escaped) {
        let bottom = y + BOX;
        let scale = BOX / lane.longest_queue().max(1) as f64;
        let columns = lane.queue_columns((self.right - self.left) as usize, self.length);
        let mut path = format!("M{:.1} {bottom}", self.left);
        for same in columns.chunk_by(|one, other| one == other) {
            path += &format!("V{:.1}h{}", bottom - same[0] as f64 * scale, same.len());
        }
        self.add(format_args!(
            r#"<path class="queue" d="{path}V{bottom}z"><title>{about}</title></path>"#
        ));
    }

    /// Explains the signs that were used.
    fn legend(&mut self, y: f64) {
        let mut x = MARGIN;
        for (class, sign, meaning) in LEGEND {
            if self.text.contains(&format!(r#"class="{class}""#)) {
                let top = y - 10.0;
                self.add(format_args!(
                    r#"<g class="{class}" transform="translate({x:.1} {top})">{sign}</g>"#
                ));
                self.write(x + 24.0, y, "faint", meaning);
                x += 40.0 + width(meaning);
            }
        }
    }
}

/// Half the width of the cross at a lane's end.
const CROSS: f64 = 5.0;

/// What a pointer on the lane shows.
fn about(lane: &Lane) -> String {
    if lane.queue.is_some() {
        return format!("the queue: up to {}", counted(lane.longest_queue(), "task"));
    }
    let mut parts = vec![lane.name.clone() + &pid(lane), period(lane.begin, lane.end)];
    parts.extend(lane.outcome());
    if !lane.bars.is_empty() {
        parts.push(lane.summary());
    }
    parts.join(", ")
}

/// The room that a text takes. Letters outside of the Latin, Greek and Cyrillic scripts may be twice as wide.
fn width(text: &str) -> f64 {
    let letters = text
        .chars()
        .map(|letter| if letter < '\u{1100}' || letter == '…' { 1 } else { 2 });
    LETTER * letters.sum::<u32>() as f64
}

/// At most as wide as `letters` Latin letters.
fn shortened(text: &str, letters: usize) -> String {
    let room = LETTER * letters as f64 + 0.1;
    if width(text) <= room {
        return text.to_owned();
    }
    let mut text = text.to_owned();
    while !text.is_empty() && width(&text) + LETTER > room {
        text.pop();
    }
    text + "…"
}

/// Text as XML requires it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // XML 1.0 has no place for them, not even escaped.
                '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => f.write_str("?")?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, draw_with};

    #[test]
    fn no_word_lies_over_another_or_over_a_bar() {
        for (name, records) in samples::all() {
            let picture = draw_with(records, draw);
            assert_eq!(testing::overlaps(&picture), [""; 0], "{name}: {picture}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_failure_is_red_and_a_planned_end_is_not() {
        let red = |picture: &str| picture.matches("class=\"failed\"").count();
        let failed = draw_with(samples::killed(), draw);
        assert!(failed.contains(">SIGKILL in task 2</text>"), "{failed}");
        assert_eq!(red(&failed), 3, "{failed}"); // a cross, a note, and the legend
        let planned = draw_with(samples::terminated(), draw);
        assert!(
            planned.contains("<title>task 1, 28.0 ms to 50.0 ms (22.0 ms), never finished"),
            "{planned}"
        );
        assert_eq!(red(&planned), 0, "{planned}");
    }

    #[test]
    fn a_text_is_cut_to_the_room_that_there_is() {
        assert_eq!(shortened("12345", 5), "12345");
        assert_eq!(shortened("123456", 5), "1234…");
        assert_eq!(shortened("进程进程", 5), "进程…");
        assert_eq!(shortened("12", 0), "…");
    }
}
