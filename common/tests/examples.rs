//! The examples of `common` run.

/// Every price is there, and each lies between its quartiles' units: a number with a unit of time.
#[test]
fn prices_names_what_each_thing_costs() {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(testing::example(env!("CARGO_MANIFEST_DIR"), "prices"));
    run.success();
    for what in ["lock", "thread,", "process,", "pipe", "task", "item of a map"] {
        let line = run.lines().into_iter().find(|line| line.contains(what));
        let line = line.unwrap_or_else(|| panic!("no price of a {what} in\n{}", run.stdout));
        let words = line.split_whitespace();
        let prices = words
            .filter(|word| word.trim_matches(['(', ')']).ends_with('s') && word.contains('.'))
            .count();
        assert_eq!(prices, 3, "median and two quartiles in {line:?}");
    }
}
