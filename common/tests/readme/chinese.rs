//! What a machine can see of good Chinese: punctuation and spaces as 《中文文案排版指北》 wants them, a paragraph on each line, the
//! glossary's terms, no English in diagrams.

use super::{Block, Readme, folders, is_item, is_row, none};

/// What stands for inline code in [`pieces`]: a word that is not Chinese.
const CODE: char = '\u{1}';

fn is_chinese(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}

fn is_full_width(c: char) -> bool {
    "，。；：、？！（）「」『』《》“”‘’…".contains(c)
}

fn is_latin(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == CODE
}

fn chinese_readmes() -> impl Iterator<Item = (Readme, Readme)> {
    let both = |folder: String| {
        (
            Readme::new(&folder, "README.md"),
            Readme::new(&folder, "README.zh-CN.md"),
        )
    };
    folders().into_iter().map(both)
}

/// A paragraph, an item of a list, a heading or a cell of a table, as it is read: without marks, with `CODE` for code.
struct Piece {
    text: String,
    /// A whole sentence or more is wanted here.
    is_prose: bool,
}

fn pieces(readme: &Readme) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for line in readme.text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if is_row(line) {
            let cells = line.trim_matches('|').split(" | ").flat_map(|cell| cell.split("<br>"));
            pieces.extend(cells.map(|cell| Piece {
                text: plain(cell),
                is_prose: false,
            }));
        } else {
            let marks = ["#", "!", "[English]"];
            pieces.push(Piece {
                text: plain(line),
                is_prose: !marks.iter().any(|mark| line.starts_with(mark)),
            });
        }
    }
    pieces.retain(|piece| piece.text.chars().any(is_chinese));
    pieces
}

/// A line with `CODE` for each piece of code.
fn masked(line: &str) -> String {
    let line = line.replace("<code>", "`").replace("</code>", "`");
    let pieces = line.split('`').enumerate();
    pieces
        .map(|(n, piece)| if n % 2 == 0 { piece } else { "\u{1}" })
        .collect()
}

/// A line without its marks.
fn plain(line: &str) -> String {
    let text = without(&without(&masked(line), "<", ">"), "&", ";");
    // Where bold ends with a full stop, Markdown wants a space.
    let text = without(&text, "](", ")")
        .replace("。** ", "。")
        .replace(['[', ']', '*'], "");
    let text = text.trim_start_matches(['#', '-', '!', '>', ' ']);
    match text.split_once(". ") {
        Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => rest.trim().to_owned(),
        _ => text.trim().to_owned(),
    }
}

/// The text without all that stands between two marks.
fn without(text: &str, begin: &str, end: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(begin) {
        result += before;
        rest = after.split_once(end).map_or("", |(_, rest)| rest);
    }
    result + rest
}

/// Where bold neither begins nor ends although it should: a `**` between a letter and punctuation, on the wrong side.
fn broken_bold(line: &str) -> Option<String> {
    let text = masked(line);
    let letter = |c: Option<char>| c.is_some_and(|c| is_chinese(c) || is_latin(c));
    let mark = |c: Option<char>| c.is_some_and(|c| is_full_width(c) || c == CODE);
    let broken = text.match_indices("**").enumerate().find(|(n, (at, _))| {
        let (before, after) = (text[..*at].chars().next_back(), text[at + 2..].chars().next());
        match n % 2 {
            0 => letter(before) && mark(after),
            _ => mark(before) && letter(after),
        }
    });
    broken.map(|(_, (at, _))| text[at..].chars().take(12).collect())
}

/// What is wrong between two characters that follow each other.
fn between(left: char, right: char) -> Option<&'static str> {
    match (left, right) {
        (' ', c) | (c, ' ') if is_full_width(c) => Some("a space beside full-width punctuation"),
        (c, ',' | ';' | ':' | '?' | '!' | '.' | '(' | ')') if is_chinese(c) => {
            Some("half-width punctuation after Chinese")
        }
        ('(' | ')' | ',' | ';', c) if is_chinese(c) => Some("half-width punctuation before Chinese"),
        (CODE, ',' | ';' | ':' | '(' | '.') => Some("half-width punctuation after code"),
        (a, b) if is_chinese(a) && is_latin(b) || is_latin(a) && is_chinese(b) => {
            Some("no space between Chinese and what is not Chinese")
        }
        _ => None,
    }
}

#[test]
fn punctuation_and_spaces_are_chinese() {
    let mut problems = Vec::new();
    for (_, readme) in chinese_readmes() {
        for piece in pieces(&readme) {
            let mut complain = |what: &str, at: &str| {
                let at = at.replace(CODE, "`…`");
                problems.push(format!("{}: {what}: {at}", readme.name));
            };
            let characters: Vec<char> = piece.text.chars().collect();
            for (n, pair) in characters.windows(2).enumerate() {
                let around = || {
                    let (from, to) = (n.saturating_sub(8), (n + 10).min(characters.len()));
                    characters[from..to].iter().collect::<String>()
                };
                if let Some(what) = between(pair[0], pair[1]) {
                    complain(what, &around());
                }
            }
            for three in characters.windows(3) {
                if is_chinese(three[0]) && three[1] == ' ' && is_chinese(three[2]) {
                    complain("a space between Chinese characters", &three.iter().collect::<String>());
                }
            }
            if piece.text.contains('"') {
                complain("straight quotes (a message belongs between backticks)", &piece.text);
            }
            if piece.is_prose && piece.text.ends_with(|c| is_chinese(c) || is_latin(c)) {
                complain("a sentence without an end", &piece.text);
            }
        }
    }
    none(problems);
}

#[test]
fn bold_is_bold() {
    let mut problems = Vec::new();
    for (_, readme) in chinese_readmes() {
        for broken in readme.text.lines().filter_map(broken_bold) {
            problems.push(format!("{}: the asterisks show: {broken}", readme.name));
        }
    }
    none(problems);
}

#[test]
fn a_paragraph_is_a_line() {
    let mut problems = Vec::new();
    for (_, readme) in chinese_readmes() {
        let mut before = "";
        for line in readme.text.lines() {
            let text = line.trim();
            let begins = text.is_empty() || is_item(text) || is_row(text) || text.starts_with('#');
            if !begins && !before.is_empty() && !before.starts_with('#') {
                problems.push(format!(
                    "{}: the line before this one goes on here: {text}",
                    readme.name
                ));
            }
            before = text;
        }
    }
    none(problems);
}

/// English and Chinese terms of the glossary; those in one row go together.
fn glossary() -> Vec<(Vec<String>, Vec<String>)> {
    let readme = Readme::new("", "README.zh-CN.md");
    let rows = readme
        .text
        .lines()
        .skip_while(|line| !line.starts_with("| English | 中文 |"))
        .skip(2);
    let rows = rows.take_while(|line| is_row(line)).map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let english = cells.next().unwrap().split(", ").map(String::from).collect();
        let chinese = cells.next().unwrap().split('，').map(String::from).collect();
        (english, chinese)
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 20, "{rows:?}");
    rows
}

/// Words that stand in no README, and what is said instead.
const WORDS: [(&str, &str); 8] = [
    ("写者", "写进程"),
    ("读者", "读进程"),
    ("主人", "所有者"),
    ("目标函数", "要执行的函数"),
    ("睡在", "阻塞在"),
    ("被拿着", "被持有"),
    ("free-threaded", "自由线程"),
    ("没有人等", "没有被回收"),
];

#[test]
fn the_terms_are_those_of_the_glossary() {
    let glossary = glossary();
    let mut problems = Vec::new();
    let english = Readme::new("", "README.md");
    for (ours, theirs) in &glossary {
        let row = format!("| {} | {} |", ours.join(", "), theirs.join("，"));
        if !english.text.contains(&row) {
            problems.push(format!("README.md: the glossary has no row {row}"));
        }
    }
    for (_, readme) in chinese_readmes() {
        for (word, better) in WORDS {
            if readme.text.contains(word) {
                problems.push(format!("{}: {word} should be {better}", readme.name));
            }
        }
        // "竞态" alone, and a descriptor of nothing.
        for (part, whole, better) in [("竞态", "竞态条件", "竞态条件"), ("描述符", "文件描述符", "文件描述符")]
        {
            if readme.text.matches(part).count() != readme.text.matches(whole).count() {
                problems.push(format!("{}: {part} should be {better}", readme.name));
            }
        }
        // **进程池**（pool，…）
        for (at, _) in readme.text.match_indices("**（") {
            let chinese = readme.text[..at].rsplit("**").next().unwrap();
            let rest = &readme.text[at + "**（".len()..];
            let word = rest.split(['，', '）', '；']).next().unwrap();
            let row = glossary.iter().find(|(english, _)| english.iter().any(|it| it == word));
            if let Some((_, terms)) = row
                && !terms.iter().any(|term| term.split('（').next() == Some(chinese))
            {
                problems.push(format!(
                    "{}: {word} is {} in the glossary, not {chinese}",
                    readme.name,
                    terms.join("，")
                ));
            }
        }
    }
    none(problems);
}

/// The words of Mermaid.
const MERMAID: [&str; 27] = [
    "sequenceDiagram",
    "participant",
    "actor",
    "as",
    "Note",
    "over",
    "left",
    "right",
    "of",
    "loop",
    "alt",
    "else",
    "opt",
    "par",
    "and",
    "end",
    "activate",
    "deactivate",
    "flowchart",
    "graph",
    "subgraph",
    "LR",
    "TD",
    "TB",
    "stateDiagram",
    "state",
    "br",
];

#[test]
fn diagrams_speak_chinese() {
    let mut problems = Vec::new();
    for (english, readme) in chinese_readmes() {
        // What is code in one of the two texts is code in a diagram too.
        let code: Vec<String> = [&english, &readme]
            .iter()
            .flat_map(|readme| readme.inline_code())
            .collect();
        for block in readme.blocks.iter().filter(|block| block.language() == "mermaid") {
            for word in words(block) {
                let is_code = code.iter().any(|code| names(code).any(|name| name == word));
                if !is_code && !MERMAID.contains(&word) {
                    problems.push(format!(
                        "{}: {word:?} in a diagram is neither Chinese nor code",
                        readme.name
                    ));
                }
            }
        }
    }
    none(problems);
}

/// The names that a piece of code consists of.
fn names(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|name| !name.is_empty())
}

/// The Latin words of a diagram, without those that are plainly code: calls, constants, the diagram's own short names.
fn words(block: &Block) -> Vec<&str> {
    let mut words = Vec::new();
    for line in &block.lines {
        for word in names(line) {
            let after = &line[word.as_ptr() as usize - line.as_ptr() as usize + word.len()..];
            let is_code = after.starts_with('(') || word.contains('_') || !word.bytes().any(|b| b.is_ascii_lowercase());
            if !is_code && word.len() > 1 {
                words.push(word);
            }
        }
    }
    words
}

#[test]
fn what_is_wrong_is_seen() {
    assert!(broken_bold("**5 分钟。**给子进程编号").is_some() && broken_bold("**5 分钟。** 给**`x`**").is_some());
    assert!(broken_bold("**5 分钟**：给**子进程**（child）编号").is_none());
    let wrong = |text: &str| {
        let characters: Vec<char> = plain(text).chars().collect();
        characters.windows(2).any(|pair| between(pair[0], pair[1]).is_some())
    };
    for text in [
        "它 ，",
        "“Waiting” 之前",
        "它,",
        "它(x)",
        "`x`, `y` 和",
        "第03 课",
        "用`x`",
    ] {
        assert!(wrong(text), "{text}");
    }
    for text in [
        "- 它，`x`、y（z）",
        "第 [03 课](../a.md)。",
        "1. **5 分钟。** 它",
        "用 <code>x, y</code>。",
        "a 的 100%",
    ] {
        assert!(!wrong(text), "{text}");
    }
}
