//! Lanes as text: plain ASCII, so that they look the same in every terminal and file.

use crate::run::{Bar, BarKind, Lane, Run, column};
use crate::units::{duration, ticks};

/// The whole picture, `width` columns wide.
pub(crate) fn draw(run: &Run, width: usize, colour: bool) -> String {
    let pids = run.lanes.iter().filter_map(|lane| Some(lane.pid?.to_string().len()));
    let pid_width = pids.max().unwrap_or(0);
    let names: Vec<String> = run
        .lanes
        .iter()
        .map(|lane| "  ".repeat(lane.depth) + &ascii(&lane.name))
        .collect();
    let title = format!("timeline, {}", duration(run.length));
    let name_width = names.iter().map(String::len).max().unwrap_or(0).min(width / 4);
    let name_width = name_width.max((title.len() + 1).saturating_sub(pid_width + 4));
    let left = name_width + pid_width + 4;

    // What is noted right of the lanes depends on what there is room for in them, and the room depends on the notes. So the
    // first try is without notes, and each further one has fewer columns.
    let rows = |columns| -> Vec<Row> {
        let rows = run.lanes.iter().map(|lane| Row::new(lane, columns, run.length));
        rows.collect()
    };
    let most = width.saturating_sub(left).max(10);
    let (mut columns, mut rows_now) = (most, rows(most));
    loop {
        let note_width = rows_now.iter().map(|row| row.note.len()).max().unwrap_or(0);
        let fewer = width.saturating_sub(left + note_width + 1).max(most / 2);
        if note_width == 0 || fewer >= columns {
            break;
        }
        (columns, rows_now) = (fewer, rows(fewer));
    }

    let mut text = format!("\n{title:left$}{}\n", axis(run.length, columns));
    for ((lane, name), row) in run.lanes.iter().zip(&names).zip(&rows_now) {
        let pid = lane.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let head = format!("{:name_width$}  {pid:>pid_width$}  ", cut(name, name_width));
        let room = width.saturating_sub(left + columns + 1);
        let line = format!("{head}{} {}", row.to_text(colour), cut(&row.note, room));
        text += line.trim_end();
        text.push('\n');
    }
    for sentence in &run.omitted {
        text += &format!("{sentence}\n");
    }
    text + &legend(&rows_now, &run.lanes, width)
}

/// A character, and what it means: the colour says the same once more.
type Cell = (char, Style);

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Alive,
    Busy,
    Blocked,
    Failed,
}

impl Style {
    fn escape(self) -> &'static str {
        match self {
            Style::Plain => "\x1b[0m",
            Style::Alive => "\x1b[0;2m",
            Style::Busy => "\x1b[0;36m",
            Style::Blocked => "\x1b[0;33m",
            Style::Failed => "\x1b[0;1;31m",
        }
    }
}

/// A lane's cells, and what is written right of them.
struct Row {
    cells: Vec<Cell>,
    note: String,
}

impl Row {
    fn new(lane: &Lane, columns: usize, length: u64) -> Row {
        match lane.queue {
            Some(_) => Row::of_queue(lane, columns, length),
            None => Row::of_bars(lane, columns, length),
        }
    }

    fn of_queue(lane: &Lane, columns: usize, length: u64) -> Row {
        let digit = |count| match count {
            0 => ' ',
            1..=9 => char::from(b'0' + count as u8),
            _ => '+',
        };
        let counts = lane.queue_columns(columns, length).into_iter();
        Row {
            cells: counts.map(|count| (digit(count), Style::Blocked)).collect(),
            note: lane.queue_note().unwrap_or_default(),
        }
    }

    fn of_bars(lane: &Lane, columns: usize, length: u64) -> Row {
        let mut cells = vec![(' ', Style::Plain); columns];
        let (first, last) = (column(lane.begin, columns, length), column(lane.end, columns, length));
        cells[first..=last].fill(('-', Style::Alive));
        let (cell, half_cell) = (length / columns as u64, length / columns as u64 / 2);
        let bars = lane.merged_bars(cell);
        // Which bar a cell shows. For each depth: the first cell that is free.
        let mut owners = vec![None; columns];
        let mut free: Vec<usize> = Vec::new();
        for (index, bar) in bars.iter().enumerate() {
            // A wait shows in the cells of which it fills at least half; anything else has at least one cell.
            let shift = if bar.is_blocked() { half_cell } else { 0 };
            let mut begin = column(bar.begin + shift, columns, length).min(last);
            let mut end = match bar.unfinished || bar.end + shift >= length {
                true => last + 1,
                false => column(bar.end + shift, columns, length).min(last + 1),
            };
            if bar.is_blocked() {
                let closed = (begin..end).skip(1).find(|&column| cells[column].0 == ']');
                for column in begin..closed.unwrap_or(end) {
                    if !matches!(cells[column].0, '[' | ']') {
                        cells[column] = ('.', Style::Blocked);
                        owners[column] = Some(index);
                    }
                }
            } else {
                free.resize(bar.depth + 1, 0);
                begin = begin.max(free[bar.depth]).min(last);
                end = end.max(begin + 1);
                free[bar.depth] = end;
                outline(bar, &mut cells[begin..end]);
                owners[begin..end].fill(Some(index));
            }
        }
        let labelled = write_labels(&bars, &owners, &mut cells);
        if lane.failed() {
            cells[last] = (if lane.killed() { 'X' } else { '!' }, Style::Failed);
        }
        let waits_for = lane.waits_for().filter(|_| !labelled.contains(&(bars.len() - 1)));
        let merged = bars.iter().any(|bar| bar.count > 1 && !bar.is_blocked());
        let notes = [
            lane.outcome(),
            waits_for.map(Bar::title),
            merged.then(|| lane.summary()),
        ];
        Row {
            cells,
            note: ascii(&notes.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        }
    }

    fn to_text(&self, colour: bool) -> String {
        let mut text = String::new();
        let mut now = Style::Plain;
        for &(letter, style) in &self.cells {
            if colour && style != now {
                text += style.escape();
                now = style;
            }
            text.push(letter);
        }
        if now != Style::Plain {
            text += Style::Plain.escape();
        }
        text
    }
}

/// `[======]`, `|`, or `###`.
fn outline(bar: &Bar, cells: &mut [Cell]) {
    if bar.count > 1 {
        return cells.fill(('#', Style::Busy));
    }
    cells.fill(('=', Style::Busy));
    let last = cells.len() - 1;
    cells[0].0 = if last > 0 { '[' } else { '|' };
    if last > 0 && !bar.unfinished {
        cells[last].0 = ']';
    }
}

/// `[label=]`, `.label...`, as far as there is room that nothing else takes. Returns the bars whose labels are there.
fn write_labels(bars: &[Bar], owners: &[Option<usize>], cells: &mut [Cell]) -> Vec<usize> {
    let mut done = Vec::new();
    let mut begin = 0;
    let free = |column: usize, cells: &[Cell]| matches!(cells[column].0, '=' | '.').then_some(owners[column]).flatten();
    while begin < cells.len() {
        let owner = free(begin, cells);
        let more = (begin + 1..cells.len()).find(|&column| free(column, cells) != owner);
        let end = more.unwrap_or(cells.len());
        let mut room = &mut cells[begin..end];
        begin = end;
        let Some(index) = owner.filter(|owner| !done.contains(owner)) else {
            continue;
        };
        let (bar, label) = (&bars[index], ascii(&bars[index].label));
        let mut whole = label.len() <= room.len();
        if bar.is_blocked() {
            whole = label.len() + 2 <= room.len(); // a dot on each side
            room = &mut room[1..];
        }
        // Half a number would be another number.
        if whole || (bar.kind == BarKind::Span && room.len() >= 3) {
            room.iter_mut()
                .zip(label.chars())
                .for_each(|(cell, letter)| cell.0 = letter);
            done.push(index);
        }
    }
    done
}

/// `|0 s       |1 s       |2 s`
fn axis(length: u64, columns: usize) -> String {
    let mut cells = vec![' '; columns];
    for (time, name) in ticks(length, columns / 10) {
        let begin = column(time, columns, length);
        let mark = format!("|{name}");
        if begin + mark.len() <= columns {
            cells[begin..][..mark.len()].copy_from_slice(&mark.chars().collect::<Vec<_>>());
        }
    }
    let axis: String = cells.into_iter().collect();
    axis.trim_end().to_owned()
}

/// Explains the characters that were used.
fn legend(rows: &[Row], lanes: &[Lane], width: usize) -> String {
    let used = |cell: Cell| rows.iter().any(|row| row.cells.contains(&cell));
    let signs = [
        (('-', Style::Alive), "- alive"),
        (('[', Style::Busy), "[==] task or span"),
        (('|', Style::Busy), "| short"),
        (('#', Style::Busy), "# many short"),
        (('.', Style::Blocked), ". waits"),
        (('X', Style::Failed), "X killed"),
        (('!', Style::Failed), "! failed"),
    ];
    let mut parts: Vec<&str> = signs.iter().filter(|sign| used(sign.0)).map(|sign| sign.1).collect();
    match lanes.iter().map(Lane::longest_queue).max().unwrap_or(0) {
        0 => {}
        1..=9 => parts.push("1-9 tasks in the queue"),
        _ => parts.push("1-9 + tasks in the queue"),
    }
    let mut text = String::new();
    let mut used = 0;
    for part in parts {
        if used > 0 {
            let fits = used + 3 + part.len() <= width;
            text += if fits { "   " } else { "\n" };
            used = if fits { used + 3 } else { 0 };
        }
        text += part;
        used += part.len();
    }
    text + "\n"
}

/// Letters of other scripts would shift the columns, and control characters would disturb the terminal.
fn ascii(text: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_graphic() || letter == ' ' {
            letter
        } else {
            '?'
        }
    };
    text.chars().map(plain).collect()
}

fn cut(text: &str, room: usize) -> String {
    match text.get(..room.saturating_sub(2)) {
        Some(start) if text.len() > room => format!("{start}{}", &".."[..room.min(2)]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Kind;
    use crate::samples::{self, draw_with, record};

    fn picture(records: Vec<crate::log::Record>, width: usize) -> String {
        draw_with(records, |run| draw(run, width, false))
    }

    #[cfg(unix)]
    #[test]
    fn lanes_say_who_did_what_waited_and_was_killed() {
        let expected = "
timeline, 100 ms    |0 ms                     |50 ms
MainProcess      1  ----------.join................................-----
  queue                  3111111111111111
  PoolWorker-1  10    ---[0============][2=========X                     SIGKILL in task 2
  PoolWorker-2  11    ---[1============================]---------
- alive   [==] task or span   . waits   X killed   1-9 tasks in the queue
";
        assert_eq!(picture(samples::killed(), 90), expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_deadlock_says_what_is_waited_for() {
        let expected = "
timeline, 100 ms  |0 ms                      |50 ms
MainProcess    1  ---.Process-1......................................---
  Process-1   10   [target===========================================X   SIGKILL in target
    thread A        -.right, and holds left..........................X
    thread B        -.left, and holds right..........................X
- alive   [==] task or span   . waits   X killed
";
        assert_eq!(picture(samples::deadlock(), 90), expected);
        let narrow = picture(samples::deadlock(), 50);
        let waits: Vec<_> = narrow.lines().filter(|line| line.contains("waits: ")).collect();
        assert!(waits.len() == 2 && waits[0].contains("X waits: right,"), "{narrow}");
        // Wherever the wait begins: what has no room in the lanes is noted, which leaves the lanes less room.
        for begin in 1005..1095 {
            let mut records = samples::deadlock();
            let threads = records.iter_mut().filter(|record| record.lane > 0);
            threads.for_each(|record| record.time = begin * 1_000_000);
            let picture = picture(records, 80);
            let said = ["right, and holds left", "left, and holds right"].map(|label| picture.contains(label));
            assert_eq!(said, [true; 2], "{picture}");
        }
    }

    #[test]
    fn a_planned_end_is_no_failure() {
        let expected = "
timeline, 100 ms    |0 ms                    |50 ms
MainProcess      1  --------------------------------------------------
  queue             33333222222222211111111111
  PoolWorker-1  10    --[0======]-[1==========
  PoolWorker-2  11    ------------------------
- alive   [==] task or span   1-9 tasks in the queue
";
        assert_eq!(picture(samples::terminated(), 70), expected);
    }

    #[test]
    fn colours_change_nothing_else() {
        let plain = picture(samples::killed(), 90);
        let mut coloured = draw_with(samples::killed(), |run| draw(run, 90, true));
        assert!(coloured.contains("\x1b[0;1;31mX"), "{coloured}");
        for escape in ["\x1b[0m", "\x1b[0;2m", "\x1b[0;36m", "\x1b[0;33m", "\x1b[0;1;31m"] {
            coloured = coloured.replace(escape, "");
        }
        let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(trimmed(&coloured), trimmed(&plain));
    }

    #[test]
    fn what_is_too_short_is_merged_and_counted() {
        let picture = picture(samples::many(10_000), 80);
        assert!(
            picture.contains("#######") && picture.contains("10,000 tasks, 80 % busy"),
            "{picture}"
        );
        assert!(picture.lines().all(|line| line.len() <= 80), "{picture}");
    }

    #[test]
    fn more_lanes_than_can_be_read_are_counted() {
        let mut records = vec![record(Kind::Process, 1, 1000, 0, "MainProcess")];
        records.extend((2..502).map(|pid| record(Kind::Process, pid, 1001, 1, "Process")));
        let picture = picture(records, 80);
        assert!(picture.contains("... and 301 more lanes, with 0 tasks"), "{picture}");
    }

    #[test]
    fn a_wait_inside_a_span_is_no_work() {
        let records = vec![
            record(Kind::Process, 1, 1000, 0, "MainProcess"),
            record(Kind::Span, 1, 1000, 1100, "reader"),
            record(Kind::Blocked, 1, 1020, 1080, "recv"),
        ];
        let picture = picture(records, 70);
        assert!(
            picture.contains("  [reader====.recv..........................==========]"),
            "{picture}"
        );
    }

    #[test]
    fn a_box_has_a_name() {
        let records = vec![
            record(Kind::Process, 1, 1000, 0, "MainProcess"),
            record(Kind::Span, 1, 1000, 1100, ""),
        ];
        assert!(picture(records, 80).contains("[unnamed==="));
    }

    #[test]
    fn the_shortest_run_and_the_narrowest_terminal_are_drawn() {
        for width in [0, 1, 20] {
            let text = picture(samples::killed(), width);
            assert!(text.contains("timeline"), "{text}");
        }
        let empty = draw(&Run::new(Vec::new(), 3, 0), 80, false);
        assert!(empty.contains("3 records for which there was no room"), "{empty}");
        let short = vec![
            record(Kind::Process, 1, 1100, 0, "MainProcess"),
            samples::task(1, 0, 1100, 1100),
        ];
        assert!(picture(short, 80).contains("MainProcess"));
    }
}
