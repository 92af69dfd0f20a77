//! Lanes as a picture that stands alone: one file, light or dark as its reader likes it, readable without colours.

use super::draw::MOST_LANES;
use super::lanes::{Bar, BarKind, Lane, Run, duration, period, thousands, ticks};
use std::fmt::{self, Display, Formatter, Write};

const WIDTH: f64 = 720.0;
/// Where the lanes begin and end.
const LEFT: f64 = 182.0;
const RIGHT: f64 = 708.0;
const TOP: f64 = 50.0;
const ROW: f64 = 24.0;
const BOX: f64 = 16.0;

const HEAD: &str = r#"<style>
svg { --paper: #ffffff; --ink: #1f2328; --faint: #818b98; --line: #d8dee4; --run: #b6dcfb; --edge: #0969da; --wait: #9a6700; --dead: #cf222e }
@media (prefers-color-scheme: dark) {
svg { --paper: #0d1117; --ink: #e6edf3; --faint: #8b949e; --line: #30363d; --run: #133d68; --edge: #58a6ff; --wait: #d29922; --dead: #ff7b72 }
}
text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: var(--ink) }
.paper { fill: var(--paper); stroke: var(--line) }
.faint { fill: var(--faint) }
.grid { stroke: var(--line) }
.alive { stroke: var(--faint); stroke-width: 2 }
.run { fill: var(--run); stroke: var(--edge) }
.many { fill: var(--edge); fill-opacity: .8 }
.wait { fill: url(#hatch); stroke: var(--wait); stroke-width: .6 }
.queue { fill: var(--wait); fill-opacity: .55 }
.dead { stroke: var(--dead); stroke-width: 2.5 }
text.dead { fill: var(--dead); stroke: none; font-weight: bold }
.left { text-anchor: end }
.back { fill: var(--paper); pointer-events: none }
.in { pointer-events: none }
</style>
<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="5" height="5" fill="var(--paper)"/><rect width="1.2" height="5" fill="var(--wait)"/></pattern></defs>
"#;

/// The whole picture.
pub(super) fn draw(run: &Run) -> String {
    let (lanes, rest) = run.lanes.split_at(run.lanes.len().min(MOST_LANES));
    let bottom = TOP + ROW * lanes.len() as f64;
    let height = bottom + if rest.is_empty() && run.lost == 0 { 36.0 } else { 56.0 };
    let mut svg = Svg {
        text: String::new(),
        scale: (RIGHT - LEFT) / run.length as f64,
        wait: false,
        dead: false,
    };
    svg.add(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">"#
    ));
    svg.add(format_args!(
        "<title>Timeline: {} lanes, {}</title>",
        run.lanes.len(),
        duration(run.length)
    ));
    svg.text += HEAD;
    let (paper_width, paper_height) = (WIDTH - 1.0, height - 1.0);
    svg.add(format_args!(
        r#"<rect class="paper" x=".5" y=".5" width="{paper_width}" height="{paper_height}" rx="6"/>"#
    ));
    svg.write_text(14.0, 26.0, "", &format!("timeline, {}", duration(run.length)));
    for (time, name) in ticks(run.length, 8) {
        let x = svg.x(time);
        let (top, bottom) = (TOP - 16.0, bottom + 2.0);
        svg.add(format_args!(r#"<path class="grid" d="M{x:.1} {top}V{bottom}"/>"#));
        if x < RIGHT - 30.0 {
            svg.write_text(x + 3.0, 26.0, "faint", &name);
        }
    }
    for (row, lane) in lanes.iter().enumerate() {
        svg.lane(lane, TOP + ROW * row as f64, run.length);
    }
    svg.legend(bottom + 20.0, lanes.iter().any(|lane| lane.longest_queue() > 0));
    let mut words = Vec::new();
    if !rest.is_empty() {
        let tasks: u64 = rest.iter().map(|lane| lane.work().0).sum();
        words.push(format!(
            "and {} lanes more, with {} tasks",
            thousands(rest.len() as u64),
            thousands(tasks)
        ));
    }
    if run.lost > 0 {
        words.push(format!(
            "{} records found no room, and are missing here",
            thousands(run.lost)
        ));
    }
    svg.write_text(14.0, bottom + 42.0, "", &words.join("; "));
    svg.text + "</svg>\n"
}

struct Svg {
    text: String,
    /// Pixels per nanosecond.
    scale: f64,
    /// What the legend has to explain.
    wait: bool,
    dead: bool,
}

impl Svg {
    fn add(&mut self, element: impl Display) {
        let _ = writeln!(self.text, "{element}"); // a String takes everything
    }

    fn x(&self, time: u64) -> f64 {
        LEFT + time as f64 * self.scale
    }

    fn write_text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        if !text.is_empty() {
            let text = Escaped(text);
            self.add(format_args!(
                r#"<text class="{class}" x="{x:.1}" y="{y}">{text}</text>"#
            ));
        }
    }

    fn lane(&mut self, lane: &Lane, y: f64, length: u64) {
        let middle = y + BOX / 2.0;
        let pid = lane.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
        let verdict = lane.verdict();
        let ended = verdict
            .as_ref()
            .map(|verdict| format!(", {verdict}"))
            .unwrap_or_default();
        let about = match lane.queue {
            Some(_) => format!("the queue: up to {} tasks wait", thousands(lane.longest_queue())),
            None => {
                let summary = if lane.bars.is_empty() {
                    String::new()
                } else {
                    format!(", {}", lane.summary())
                };
                format!("{}{pid}, {}{ended}{summary}", lane.name, period(lane.begin, lane.end))
            }
        };
        let indent = 14.0 + 12.0 * lane.depth as f64;
        let room = ((LEFT - indent - 8.0 * pid.len() as f64) / 7.0) as usize;
        let (name, pid) = (
            Escaped(&shorten(&lane.name, room)).to_string(),
            Escaped(&pid).to_string(),
        );
        self.add(format_args!(
            r#"<text x="{indent}" y="{}">{name}<tspan class="faint">{pid}</tspan><title>{}</title></text>"#,
            middle + 4.0,
            Escaped(&about)
        ));
        if lane.queue.is_some() {
            return self.queue(lane, y, length);
        }
        let (begin, end) = (self.x(lane.begin), self.x(lane.end));
        self.add(format_args!(
            r#"<path class="alive" d="M{begin:.1} {middle}H{end:.1}"><title>{}</title></path>"#,
            Escaped(&about)
        ));
        let mut labels = Vec::new();
        let mut bars = lane.bars.iter().enumerate().peekable();
        while let Some((index, first)) = bars.next() {
            // What is too small to see, together with its like beside it.
            let (mut count, mut last) = (1, first);
            if self.small(first) {
                let near = |bar: &Bar, last: &Bar| bar.begin.saturating_sub(last.end) as f64 * self.scale < 1.5;
                while let Some((_, bar)) = bars.next_if(|(_, bar)| self.small(bar) && near(bar, last)) {
                    count += 1;
                    last = if bar.end > last.end { bar } else { last };
                }
            }
            if count == 1 {
                self.bar(first, lane, y);
                labels.push(index);
            } else {
                self.many(first, last, count, y);
            }
        }
        for index in labels {
            self.label(&lane.bars, index, middle + 4.0);
        }
        if lane.failed() {
            self.dead = true;
            let (left, right, top, bottom) = (end - 5.0, end + 5.0, middle - 5.0, middle + 5.0);
            self.add(format_args!(
                r#"<path class="dead" d="M{left:.1} {top}L{right:.1} {bottom}M{left:.1} {bottom}L{right:.1} {top}"><title>{}</title></path>"#,
                Escaped(&about)
            ));
            // Beside the cross, on the side where there is room.
            let verdict = verdict.unwrap_or_default();
            let right = end + 10.0 + 7.0 * (verdict.len() as f64) < RIGHT;
            let (class, x) = if right {
                ("dead", end + 10.0)
            } else {
                ("dead left", end - 9.0)
            };
            self.write_text(x, middle + 4.0, class, &verdict);
        }
    }

    fn small(&self, bar: &Bar) -> bool {
        (bar.end - bar.begin) as f64 * self.scale < 3.0
    }

    fn bar(&mut self, bar: &Bar, lane: &Lane, y: f64) {
        let x = self.x(bar.begin);
        let width = (self.x(bar.end) - x).max(1.0);
        let wait = bar.kind == BarKind::Wait;
        let class = if wait { "wait" } else { "run" };
        self.wait |= wait;
        let broken = if bar.broken && lane.failed() {
            ", never finished"
        } else {
            ""
        };
        let about = format!("{}, {}{broken}", bar.title(), period(bar.begin, bar.end));
        let inset = if wait { 5.0 } else { (3.0 * bar.depth as f64).min(5.0) };
        let (top, height) = (y + inset, BOX - 2.0 * inset);
        self.add(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{top}" width="{width:.1}" height="{height}" rx="2"><title>{}</title></rect>"#,
            Escaped(&about)
        ));
    }

    /// A bar's label, where it is not covered by bars inside.
    fn label(&mut self, bars: &[Bar], index: usize, y: f64) {
        let bar = &bars[index];
        let inside = bars[index + 1..]
            .iter()
            .take_while(|inner| inner.begin < bar.end && inner.depth > bar.depth);
        let mut free = (bar.begin, bar.begin);
        let mut begin = bar.begin;
        for (next, end) in inside.map(|inner| (inner.begin, inner.end)).chain([(bar.end, bar.end)]) {
            if next.saturating_sub(begin) > free.1 - free.0 {
                free = (begin, next);
            }
            begin = begin.max(end);
        }
        let width = (free.1 - free.0) as f64 * self.scale;
        let room = ((width - 8.0) / 7.0) as usize;
        let whole = if bar.kind == BarKind::Wait {
            bar.title()
        } else {
            bar.label.clone()
        };
        let fits = whole.chars().count() <= room || (bar.kind == BarKind::Span && room > 3);
        if !fits {
            return;
        }
        if bar.kind != BarKind::Wait {
            return self.write_text(self.x(free.0) + 4.0, y, "in", &shorten(&bar.label, room));
        }
        // No letter can be read on a pattern.
        let (x, top, width) = (self.x(free.0) + 6.0, y - 10.0, 6.4 * whole.chars().count() as f64 + 4.0);
        self.add(format_args!(
            r#"<rect class="back" x="{x:.1}" y="{top}" width="{width:.1}" height="13"/>"#
        ));
        self.write_text(x + 3.0, y, "in", &whole);
    }

    /// Several bars as one.
    fn many(&mut self, first: &Bar, last: &Bar, count: u64, y: f64) {
        let x = self.x(first.begin);
        let width = (self.x(last.end) - x).max(1.5);
        let (what, class) = match first.kind {
            BarKind::Tasks(_) => ("pieces of work", "many"),
            BarKind::Span => ("spans", "many"),
            BarKind::Wait => ("waits", "wait"),
        };
        let inset = if first.kind == BarKind::Wait { 5.0 } else { 0.0 };
        let about = format!(
            "{} {what}, {} to {}, {}",
            thousands(count),
            first.label,
            last.label,
            period(first.begin, last.end)
        );
        self.add(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{}" width="{width:.1}" height="{}"><title>{}</title></rect>"#,
            y + inset,
            BOX - 2.0 * inset,
            Escaped(&about)
        ));
    }

    /// As high as the queue is long.
    fn queue(&mut self, lane: &Lane, y: f64, length: u64) {
        let columns = (RIGHT - LEFT) as usize;
        let counts = lane.queue_columns(columns, length);
        let most = lane.longest_queue().max(1) as f64;
        let mut begin = 0;
        for run in counts.chunk_by(|one, other| one == other) {
            let (count, x) = (run[0], LEFT + begin as f64);
            begin += run.len();
            if count > 0 {
                let height = (BOX * count as f64 / most).max(2.0);
                let (top, width) = (y + BOX - height, run.len());
                let wait = if count == 1 { "task waits" } else { "tasks wait" };
                let count = thousands(count);
                self.add(format_args!(
                    r#"<rect class="queue" x="{x}" y="{top:.1}" width="{width}" height="{height:.1}"><title>{count} {wait}</title></rect>"#
                ));
            }
        }
    }

    fn legend(&mut self, y: f64, queue: bool) {
        let parts = [
            (true, r#"<path class="alive" d="M0 6h18"/>"#, "alive"),
            (
                true,
                r#"<rect class="run" y="1" width="18" height="10" rx="2"/>"#,
                "runs",
            ),
            (
                self.wait,
                r#"<rect class="wait" y="3" width="18" height="6"/>"#,
                "waits",
            ),
            (
                queue,
                r#"<rect class="queue" y="1" width="18" height="10"/>"#,
                "tasks in the queue",
            ),
            (
                self.dead,
                r#"<path class="dead" d="M4 1l10 10M4 11l10 -10"/>"#,
                "killed or failed",
            ),
        ];
        let mut x = LEFT;
        for (_, sign, meaning) in parts.into_iter().filter(|part| part.0) {
            self.add(format_args!(r#"<g transform="translate({x} {})">{sign}</g>"#, y - 10.0));
            self.write_text(x + 24.0, y, "faint", meaning);
            x += 44.0 + 6.5 * meaning.len() as f64;
        }
    }
}

fn shorten(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut text: String = text.chars().take(room.saturating_sub(1)).collect();
    text.push('\u{2026}');
    text
}

/// Text as XML wants it.
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
