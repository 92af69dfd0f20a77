//! The lesson runs as its first lines say.

#[test]
fn everything_put_is_got_and_the_reader_ends_by_itself() {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(env!("CARGO_BIN_EXE_04-ipc"));
    run.success();
    assert_eq!(run.stderr, "");
    let text = testing::neutral(&run.stdout);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 16, "{text}");

    // What never changes: the last line, how often each line is printed, and the order of each writer's values. Everything
    // else may vary, because three processes run at the same time.
    assert_eq!(lines[15], "All subprocesses done.");
    let count = |line| lines.iter().filter(|&&l| l == line).count();
    assert_eq!(count("Process to read: <pid>"), 1, "{text}");
    assert_eq!(count("Process to write: <pid>"), 2, "{text}");
    let places = |word: &str, values: &str| -> Vec<usize> {
        let place = |value| {
            let start = format!("{word} {value} ");
            let found = lines.iter().position(|line| line.starts_with(&start));
            found.unwrap_or_else(|| panic!("no line {start:?} in\n{text}"))
        };
        values.chars().map(place).collect()
    };
    for values in ["ABC", "XYZ"] {
        assert!(places("Put", values).is_sorted(), "{text}");
        assert!(places("Get", values).is_sorted(), "{text}");
        for (put, get) in places("Put", values).iter().zip(places("Get", values)) {
            assert!(*put < get, "{text}");
        }
    }
}
