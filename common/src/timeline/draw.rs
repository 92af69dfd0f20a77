//! Lanes as text: plain ASCII, at home in any terminal and any file.

use super::lanes::{Bar, BarKind, Fate, Lane, Run, column, duration, thousands, ticks};

/// More lanes than this are counted, not drawn.
pub(super) const MOST_LANES: usize = 200;

/// The whole picture, `width` columns wide.
pub(super) fn draw(run: &Run, width: usize, colour: bool) -> String {
    let (lanes, rest) = run.lanes.split_at(run.lanes.len().min(MOST_LANES));
    let pid_width = lanes.iter().filter_map(|lane| Some(lane.pid?.to_string().len())).max();
    let pid_width = pid_width.unwrap_or(0);
    let names: Vec<String> = lanes
        .iter()
        .map(|lane| "  ".repeat(lane.depth) + &ascii(&lane.name))
        .collect();
    let name_width = names.iter().map(String::len).max().unwrap_or(0).min(width / 4);

    // What is written right of the lanes depends on what there is room for in them. So: a first try without.
    let left = name_width + pid_width + 4;
    let try_out = |columns: usize| {
        lanes
            .iter()
            .map(|lane| Line::new(lane, columns, run.length))
            .collect::<Vec<_>>()
    };
    let most = width.saturating_sub(left).max(10);
    let note_width = try_out(most).iter().map(|line| line.note.len()).max().unwrap_or(0);
    let columns = match note_width {
        0 => most,
        note => width.saturating_sub(left + note + 1).max(most / 2),
    };
    let lines = try_out(columns);

    let mut text = format!(
        "\n{:left$}{}\n",
        format!("timeline, {}", duration(run.length)),
        axis(run.length, columns)
    );
    for ((lane, name), line) in lanes.iter().zip(&names).zip(&lines) {
        let pid = lane.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let head = format!("{:name_width$}  {pid:>pid_width$}  ", cut(name, name_width));
        let room = width.saturating_sub(left + columns + 1);
        let body = format!("{head}{} {}", line.to_text(colour), cut(&line.note, room));
        text += body.trim_end();
        text.push('\n');
    }
    if !rest.is_empty() {
        let tasks: u64 = rest.iter().map(|lane| lane.work().0).sum();
        let (rest, tasks) = (thousands(rest.len() as u64), thousands(tasks));
        text += &format!("... and {rest} lanes more, with {tasks} tasks\n");
    }
    text += &legend(&lines, lanes, width);
    if run.lost > 0 {
        text += &format!("{} records found no room, and are missing here\n", thousands(run.lost));
    }
    text
}

/// A sign, and what it is about: the colour says the same, for those who see it.
type Cell = (char, Ink);

#[derive(Clone, Copy, PartialEq)]
enum Ink {
    Nothing,
    Alive,
    Runs,
    Waits,
    Killed,
}

impl Ink {
    fn escape(self) -> &'static str {
        match self {
            Ink::Nothing => "\x1b[0m",
            Ink::Alive => "\x1b[0;2m",
            Ink::Runs => "\x1b[0;36m",
            Ink::Waits => "\x1b[0;33m",
            Ink::Killed => "\x1b[0;1;31m",
        }
    }
}

/// A lane's cells, and what is written right of them.
struct Line {
    cells: Vec<Cell>,
    note: String,
}

impl Line {
    fn new(lane: &Lane, columns: usize, length: u64) -> Line {
        match lane.queue {
            Some(_) => Line::of_queue(lane, columns, length),
            None => Line::of_bars(lane, columns, length),
        }
    }

    fn of_queue(lane: &Lane, columns: usize, length: u64) -> Line {
        let sign = |count| match count {
            0 => ' ',
            1..=9 => char::from(b'0' + count as u8),
            _ => '+',
        };
        let counts = lane.queue_columns(columns, length).into_iter();
        let most = lane.longest_queue();
        Line {
            cells: counts.map(|count| (sign(count), Ink::Waits)).collect(),
            note: if most > 9 {
                format!("up to {}", thousands(most))
            } else {
                String::new()
            },
        }
    }

    fn of_bars(lane: &Lane, columns: usize, length: u64) -> Line {
        let column = |time| column(time, columns, length);
        let mut cells = vec![(' ', Ink::Nothing); columns];
        let (first, last) = (column(lane.begin), column(lane.end));
        cells[first..=last].fill(('-', Ink::Alive));
        // Which bar is seen in a cell, and how much of it was spent waiting.
        let mut owners = vec![None; columns];
        let mut waited = vec![0.0; columns];
        // For each depth, up to where it is taken. A bar that finds no cell of its own shares the last one.
        let mut taken: Vec<usize> = Vec::new();
        let mut merged = false;
        for (index, bar) in lane.bars.iter().enumerate() {
            if bar.kind == BarKind::Wait {
                add_wait(bar, &mut waited, length);
                continue;
            }
            taken.resize(bar.depth + 1, 0);
            let begin = column(bar.begin);
            let end = if bar.broken {
                last + 1
            } else {
                column(bar.end).max(begin + 1)
            };
            let begin = begin.max(taken[bar.depth]);
            if begin < end {
                outline(bar, &mut cells[begin..end]);
                owners[begin..end].fill(Some(index));
            } else {
                cells[end - 1] = ('#', Ink::Runs);
                merged = true;
            }
            taken[bar.depth] = begin.max(end);
        }
        for (cell, _) in cells
            .iter_mut()
            .zip(waited)
            .filter(|(cell, waited)| *waited >= 0.5 && cell.0 != '[')
        {
            *cell = ('.', Ink::Waits);
        }
        write_labels(&lane.bars, &owners, &mut cells);
        if lane.failed() {
            let sign = if matches!(lane.fate, Fate::Signal(_)) { 'X' } else { '!' };
            cells[last] = (sign, Ink::Killed);
        }
        let note: Vec<String> = lane
            .verdict()
            .into_iter()
            .chain(merged.then(|| lane.summary()))
            .collect();
        Line {
            cells,
            note: note.join(", "),
        }
    }

    fn to_text(&self, colour: bool) -> String {
        let mut text = String::new();
        let mut now = Ink::Nothing;
        for &(sign, ink) in &self.cells {
            if colour && ink != now {
                text += ink.escape();
                now = ink;
            }
            text.push(sign);
        }
        if now != Ink::Nothing {
            text += Ink::Nothing.escape();
        }
        text
    }
}

/// `[======]`
fn outline(bar: &Bar, cells: &mut [Cell]) {
    cells.fill(('=', Ink::Runs));
    let last = cells.len() - 1;
    cells[0].0 = if last > 0 { '[' } else { '|' };
    if last > 0 && !bar.broken {
        cells[last].0 = ']';
    }
}

/// Adds what part of each column this wait takes.
fn add_wait(wait: &Bar, waited: &mut [f64], length: u64) {
    let scale = waited.len() as f64 / length as f64;
    let (begin, end) = (wait.begin as f64 * scale, wait.end as f64 * scale);
    let columns = waited
        .iter_mut()
        .enumerate()
        .skip(begin as usize)
        .take_while(|(column, _)| (*column as f64) < end);
    for (column, waited) in columns {
        *waited += end.min(column as f64 + 1.0) - begin.max(column as f64);
    }
}

/// `[label=]`, as far as there is room that nothing else takes.
fn write_labels(bars: &[Bar], owners: &[Option<usize>], cells: &mut [Cell]) {
    let mut begin = 0;
    let mut done = None;
    let free = |column: usize, cells: &[Cell]| (cells[column].0 == '=').then_some(owners[column]).flatten();
    while begin < cells.len() {
        let owner = free(begin, cells);
        let end = (begin + 1..cells.len())
            .find(|&column| free(column, cells) != owner)
            .unwrap_or(cells.len());
        let room = &mut cells[begin..end];
        begin = end;
        let Some(bar) = owner.filter(|_| owner != done).map(|owner| &bars[owner]) else {
            continue;
        };
        let label = ascii(&bar.label);
        // Half a number would be another number.
        if label.len() <= room.len() || (room.len() >= 3 && bar.kind == BarKind::Span) {
            room.iter_mut()
                .zip(label.chars())
                .for_each(|(cell, letter)| cell.0 = letter);
            done = owner;
        }
    }
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

/// Explains the signs that were used.
fn legend(lines: &[Line], lanes: &[Lane], width: usize) -> String {
    let used = |cell: Cell| lines.iter().any(|line| line.cells.contains(&cell));
    let signs = [
        (('-', Ink::Alive), "-", "alive"),
        (('[', Ink::Runs), "[==]", "runs"),
        (('|', Ink::Runs), "|", "runs, briefly"),
        (('#', Ink::Runs), "#", "several"),
        (('.', Ink::Waits), ".", "waits"),
        (('X', Ink::Killed), "X", "killed"),
        (('!', Ink::Killed), "!", "failed"),
    ];
    let mut parts: Vec<String> = Vec::new();
    parts.extend(
        signs
            .iter()
            .filter(|(cell, ..)| used(*cell))
            .map(|(_, sign, meaning)| format!("{sign} {meaning}")),
    );
    match lanes.iter().map(Lane::longest_queue).max().unwrap_or(0) {
        0 => {}
        1..=9 => parts.push("1-9 tasks in the queue".to_owned()),
        _ => parts.push("1-9 + tasks in the queue".to_owned()),
    }
    let mut text = String::new();
    let mut room = width;
    for part in parts {
        if room < width && room < part.len() + 3 {
            text.push('\n');
            room = width;
        }
        if room < width {
            text += "   ";
        }
        text += &part;
        room = room.saturating_sub(part.len() + 3);
    }
    text + "\n"
}

/// Letters of other alphabets would disturb the columns, and control characters the terminal.
fn ascii(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_ascii_graphic() || letter == ' ' {
                letter
            } else {
                '?'
            }
        })
        .collect()
}

fn cut(text: &str, room: usize) -> String {
    match text.get(..room.saturating_sub(2)) {
        Some(start) if text.len() > room => format!("{start}{}", &".."[..room.min(2)]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Run;
    use super::super::log::{Kind, Record};
    use super::draw;

    /// A record of the process 1, 2 ..., times in milliseconds.
    fn record(kind: Kind, pid: u32, time: u64, number: u64, text: &str) -> Record {
        let timed = matches!(kind, Kind::Thread | Kind::Span | Kind::Wait | Kind::Task);
        Record {
            kind,
            pid,
            lane: 0,
            time: time * 1_000_000,
            number: if timed { number * 1_000_000 } else { number },
            text: text.to_owned(),
            task: (0, 0),
        }
    }

    fn task(pid: u32, number: u64, begin: u64, end: u64) -> Record {
        let mut record = record(Kind::Task, pid, begin, end, "");
        record.task = (number, 0);
        record
    }

    /// A pool of two, of which one is killed in task 2.
    fn killed() -> Vec<Record> {
        let mut records = vec![
            record(Kind::Process, 1, 1000, 0, "MainProcess"),
            record(Kind::Wait, 1, 1020, 1090, "join"),
            record(Kind::Submit, 1, 1010, 3, ""),
        ];
        for (pid, name) in [(10, "PoolWorker-1"), (11, "PoolWorker-2")] {
            records.push(record(Kind::Process, pid, 1005, 1, name));
            records.push(record(Kind::Member, pid, 1006, 0, ""));
        }
        records.extend([task(10, 0, 1010, 1040), task(11, 1, 1010, 1070), task(10, 2, 1040, 0)]);
        records.push(record(Kind::Ended, 10, 1060, 1 << 32 | 9, ""));
        records.push(record(Kind::Left, 11, 1085, 0, ""));
        records.push(record(Kind::Ended, 11, 1090, 0, ""));
        records
    }

    fn picture(records: Vec<Record>, width: usize, colour: bool) -> String {
        draw(&Run::new(records, 0, 1_100_000_000), width, colour)
    }

    #[cfg(unix)]
    #[test]
    fn lanes_say_who_ran_what_waited_and_was_killed() {
        let expected = "
timeline, 100 ms    |0 ms                     |50 ms
MainProcess      1  ----------.....................................-----
  queue                  3111111111111111
  PoolWorker-1  10    ---[0============][2=========X                     SIGKILL in task 2
  PoolWorker-2  11    ---[1============================]---------
- alive   [==] runs   . waits   X killed   1-9 tasks in the queue
";
        assert_eq!(picture(killed(), 90, false), expected);
    }

    #[test]
    fn colours_change_nothing_else() {
        let (plain, mut coloured) = (picture(killed(), 90, false), picture(killed(), 90, true));
        assert!(coloured.contains("\x1b[0;1;31mX"), "{coloured}");
        for escape in ["\x1b[0m", "\x1b[0;2m", "\x1b[0;36m", "\x1b[0;33m", "\x1b[0;1;31m"] {
            coloured = coloured.replace(escape, "");
        }
        assert_eq!(trimmed(&coloured), trimmed(&plain));
    }

    fn trimmed(text: &str) -> Vec<&str> {
        text.lines().map(str::trim_end).collect()
    }

    #[test]
    fn what_is_too_small_is_merged_and_counted() {
        let mut records = vec![
            record(Kind::Process, 1, 1000, 0, "MainProcess"),
            record(Kind::Process, 2, 1000, 1, "PoolWorker-1"),
        ];
        let tasks = (0..10_000).map(|number| {
            let mut record = task(2, number, 1010, 1011);
            record.time = 1_010_000_000 + number * 8000;
            record.number = record.time + 8000;
            record
        });
        records.extend(tasks);
        let picture = picture(records, 80, false);
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
        assert!(picture(records, 80, false).contains("... and 301 lanes more"));
    }

    #[test]
    fn a_pid_that_is_used_again_is_another_process() {
        let mut records = vec![record(Kind::Process, 1, 1000, 0, "MainProcess")];
        for (name, begin) in [("first", 1010), ("second", 1050)] {
            records.push(record(Kind::Process, 7, begin, 1, name));
            records.push(record(Kind::Span, 7, begin + 5, begin + 30, "work"));
            records.push(record(Kind::Ended, 7, begin + 35, 0, ""));
        }
        let picture = picture(records, 80, false);
        let lanes: Vec<_> = picture.lines().filter(|line| line.contains("[work")).collect();
        assert!(
            lanes.len() == 2 && lanes[0].contains("first") && lanes[1].contains("second"),
            "{picture}"
        );
    }

    #[test]
    fn the_shortest_run_and_the_narrowest_terminal_are_drawn() {
        for width in [0, 1, 20] {
            let text = picture(killed(), width, true);
            assert!(text.contains("timeline"), "{text}");
        }
        let empty = draw(&Run::new(Vec::new(), 3, 0), 80, false);
        assert!(empty.contains("3 records found no room"), "{empty}");
    }
}
