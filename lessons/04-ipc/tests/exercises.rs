//! The checks of the exercises in README.md. `cargo test exercise_1 -- --ignored` runs the first.

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;
use testing::{Exercise, Message, Run, Tracee};

/// What a run of the program showed.
struct Seen {
    run: Run,
    /// The processes that it started; none where they cannot be watched.
    processes: Vec<Tracee>,
    /// What these have sent, if it was recorded.
    messages: Vec<Message>,
}

impl Seen {
    #[track_caller]
    fn new(exercise: &Exercise) -> Seen {
        let seen = exercise.observe();
        Seen::of(exercise, seen.map(|(run, tracees)| (run, tracees, Vec::new())))
    }

    /// Messages are recorded, too.
    #[track_caller]
    fn with_messages(exercise: &Exercise) -> Seen {
        Seen::of(exercise, exercise.observe_messages())
    }

    #[track_caller]
    fn of(exercise: &Exercise, seen: Option<(Run, Vec<Tracee>, Vec<Message>)>) -> Seen {
        let (run, mut processes, messages) = seen.unwrap_or_else(|| (exercise.run(), Vec::new(), Vec::new()));
        processes.retain(|it| !it.is_thread);
        Seen {
            run,
            processes,
            messages,
        }
    }

    /// What follows `start` in each line that begins so.
    fn after(&self, start: &str) -> Vec<&str> {
        let lines = self.run.lines().into_iter();
        lines.filter_map(|line| line.strip_prefix(start)).collect()
    }

    /// Where the only line of that text stands.
    #[track_caller]
    fn position(&self, text: &str) -> usize {
        let lines = self.run.lines().into_iter().enumerate();
        let found: Vec<_> = lines.filter(|(_, line)| *line == text).collect();
        let [(position, _)] = found[..] else {
            panic!("the line `{text}` should be there once, not {} times", found.len());
        };
        position
    }

    /// Every process ended by itself, with exit code 0.
    #[track_caller]
    fn everybody_ends(&self) {
        for process in &self.processes {
            let (id, exitcode) = (process.id, process.exitcode);
            assert_eq!(
                exitcode,
                Some(0),
                "process {id} should end by itself, with exit code 0 (-15 and -9: it was killed)"
            );
        }
    }

    /// Each value was put into the queue once, and then taken out once.
    #[track_caller]
    fn passes_through(&self, values: &str, changed: impl Fn(char) -> char) {
        for value in values.chars() {
            let put = self.position(&format!("Put {value} to queue..."));
            let got = self.position(&format!("Get {} from queue.", changed(value)));
            assert!(put < got, "{value} was taken out of the queue before it was put in");
        }
    }

    /// What a process sent besides these values: for each message that contains one of them, its queue and the rest of its
    /// bytes.
    fn sent_beside(&self, values: &str, pid: &str) -> HashSet<(&str, Vec<u8>)> {
        let messages = self.messages.iter().filter(|it| it.by.to_string() == pid);
        let without = |message: &Message, value: u8| -> Vec<u8> {
            let bytes = message.bytes.iter();
            bytes.map(|&it| if it == value { b'?' } else { it }).collect()
        };
        let pairs = messages.flat_map(|it| values.bytes().map(move |value| (it, value)));
        let sent = pairs.filter(|(message, value)| message.bytes.contains(value));
        sent.map(|(message, value)| (message.to.as_str(), without(message, value)))
            .collect()
    }

    /// Fails unless this process has sent each value in lower case, after another one has sent it as it is.
    #[track_caller]
    fn is_changed_by(&self, changer: &str, values: &str) {
        if self.messages.is_empty() {
            return; // they are not seen here
        }
        for value in values.chars() {
            let changed = value.to_ascii_lowercase();
            let contains = |it: &Message, value: char| it.bytes.contains(&(value as u8));
            let by_changer = |it: &Message| it.by.to_string() == changer;
            let mut messages = self.messages.iter();
            // Bytes that are not letters may look like one; the first message of the writer and the last one of the changer
            // are safe from that.
            let put = messages.clone().position(|it| !by_changer(it) && contains(it, value));
            let passed_on = messages.rposition(|it| by_changer(it) && contains(it, changed));
            assert!(put.is_some(), "no writer has put {value} into a queue");
            assert!(
                put < passed_on,
                "process {changer} has not put {changed} into a queue after {value} was put: this process has to do that work itself"
            );
        }
    }

    /// Fails if no process that the program started has this id.
    #[track_caller]
    fn is_a_process(&self, pid: &str) {
        let mut ids = self.processes.iter().map(|it| it.id.to_string());
        assert!(
            self.processes.is_empty() || ids.any(|id| id == pid),
            "the program started no process with the id {pid}"
        );
    }
}

/// Stops the process that says `says` and its id, as soon as it says so, until `until` is true of the output. Meanwhile
/// the `values` must not come out of the queue.
#[track_caller]
fn is_needed(exercise: &Exercise, says: &str, until: impl Fn(&str) -> bool, values: &str) {
    // Did a value come out while the process was stopped? `None`: it was stopped too late, as may happen on a busy machine.
    let came_anyway = || {
        let mut program = exercise.start();
        program.wait_until(&format!("no process printed `{says}<pid>`"), |output| {
            output.contains(says)
        });
        let output = program.stdout();
        let (_, pid) = output.split_once(says).unwrap();
        let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
        let stopped = Command::new("kill").args(["-STOP", &pid]).output();
        if !stopped.is_ok_and(|kill| kill.status.success()) {
            return None;
        }
        program.listen(Duration::from_millis(20));
        let came = |output: &str| values.chars().any(|value| gets(output, value));
        if came(&program.stdout()) {
            return None;
        }
        program.wait_until("not all values were put", &until);
        program.listen(Duration::from_millis(50)); // whoever has a value knows it by now
        Some(came(&program.stdout()))
    };
    if cfg!(windows) {
        return;
    }
    let mut stopped = 0;
    for came in (0..8).filter_map(|_| came_anyway()).take(3) {
        if !came {
            return;
        }
        stopped += 1;
    }
    assert_ne!(
        stopped, 0,
        "the line `{says}<pid>` does not name a process that can be stopped, or that process had already done its work"
    );
    panic!("the work of the process that prints `{says}<pid>` is done even while that process is stopped");
}

/// Has the value come out of the queue?
fn gets(output: &str, value: char) -> bool {
    let start = format!("Get {value} from queue");
    output.lines().any(|line| line.starts_with(&start))
}

/// Have all of these been put?
fn put(values: &str) -> impl Fn(&str) -> bool {
    |output| {
        let mut lines = values.chars().map(|value| format!("Put {value} to queue..."));
        lines.all(|line| output.contains(&line))
    }
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_04-ipc"),
        "start `write` once more, in a process of its own and with a sender of its own: `sender.clone()`. The last\n\
         writer takes `sender` itself. While any sender is open, in `main` for example, the program does not end.\n\
         The assertion at the end of `main` counts the values: there are nine now.",
    );
    let seen = Seen::new(&exercise);
    seen.passes_through("ABCXYZPQR", |value| value);
    let writers: HashSet<_> = seen.after("Process to write: ").into_iter().collect();
    assert_eq!(
        writers.len(),
        3,
        "three different processes should say `Process to write: <pid>`"
    );
    writers.into_iter().for_each(|pid| seen.is_a_process(pid));
    seen.everybody_ends();
    is_needed(&exercise, "Process to read: ", put("ABCXYZPQR"), "CZR");
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_04-ipc"),
        "only the writer knows its id, so the id has to travel with each value. Let the queue carry pairs,\n\
         `IpcSender<(u32, char)>` and `IpcReceiver<(u32, char)>`; the writer's id is `process::id()`.",
    );
    let seen = Seen::with_messages(&exercise);
    let writers: HashSet<_> = seen.after("Process to write: ").into_iter().collect();
    assert_eq!(
        writers.len(),
        2,
        "two different processes should say `Process to write: <pid>`"
    );
    let mut named = HashSet::new();
    let mut sent = Vec::new();
    for values in ["ABC", "XYZ"] {
        let mut by = HashSet::new();
        for value in values.chars() {
            let start = format!("Get {value} from queue, put by ");
            let found = seen.after(&start);
            let [rest] = found[..] else {
                panic!("one line `{start}<pid>.` was expected, not {}", found.len());
            };
            let pid = rest.strip_suffix('.').unwrap_or(rest);
            assert!(
                writers.contains(pid),
                "{value} was not put by {pid}: that is no writer's id"
            );
            by.insert(pid);
        }
        assert_eq!(by.len(), 1, "{values} were all put by the same writer");
        sent.push(seen.sent_beside(values, by.iter().next().unwrap()));
        named.extend(by);
    }
    assert_eq!(named.len(), 2, "ABC and XYZ were put by two different writers");
    assert!(
        sent[0].is_empty() || sent[0] != sent[1],
        "what the two writers put differs in nothing but the letter: the reader cannot tell from it who put it"
    );
    named.into_iter().for_each(|pid| seen.is_a_process(pid));
    is_needed(&exercise, "Get A from queue, put by ", |output| gets(output, 'Z'), "C");
    is_needed(&exercise, "Get X from queue, put by ", |output| gets(output, 'C'), "Z");
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let exercise = Exercise::new(
        env!("CARGO_BIN_EXE_04-ipc"),
        "call `ipc::channel()` a second time. The process in the middle owns the receiver of the first queue and the\n\
         sender of the second one; `char::to_ascii_lowercase` changes a letter. It ends as the reader does: its loop\n\
         stops when `recv` returns an error. If the program does not end, somebody still holds a sender.\n\
         The assertion at the end of `main` compares with the letters that were put, which are upper case.",
    );
    let seen = Seen::with_messages(&exercise);
    seen.passes_through("ABCXYZ", |value| value.to_ascii_lowercase());
    let found = seen.after("Process to change: ");
    let [changer] = found[..] else {
        panic!("one line `Process to change: <pid>` was expected, not {}", found.len());
    };
    for other in ["Process to write: ", "Process to read: "] {
        assert!(
            !seen.after(other).contains(&changer),
            "a separate process should print `Process to change: <pid>`, but {changer} also printed `{other}{changer}`"
        );
    }
    seen.is_a_process(changer);
    seen.everybody_ends();
    seen.is_changed_by(changer, "ABCXYZ");
    is_needed(&exercise, "Process to change: ", put("ABCXYZ"), "cz");
    is_needed(&exercise, "Process to read: ", put("ABCXYZ"), "cz");
}
