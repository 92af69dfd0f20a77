//! The checks of the exercises in README.md. They fail until the lesson does what is asked for:
//! `cargo test exercise_1 -- --ignored`

/// What the lesson prints as it stands now.
fn output() -> String {
    let run = testing::run(env!("CARGO_BIN_EXE_06-lock"));
    run.success();
    run.stdout.clone()
}

#[test]
#[ignore = "exercise 1"]
fn exercise_1() {
    let output = output();
    for stage in ["acquire and release", "guard"] {
        let line = format!("{stage}: balance = 0, changes = 200000");
        assert!(
            output.lines().any(|l| l == line),
            "the line `{line}` was expected.\n\
             Hint: what is to change together belongs under one lock. Make it a \
             `Mutex<Account>` with `balance` and `changes` in the struct.\n\
             The output was:\n{output}"
        );
    }
}

#[test]
#[ignore = "exercise 2"]
fn exercise_2() {
    let output = output();
    assert!(
        output.lines().any(|l| l == "poisoned: balance = 5"),
        "the line `poisoned: balance = 5` was expected.\n\
         Hint: spawn a thread that adds 5 to the balance and panics before it takes it off again. \
         `join` it, look at what `lock()` now returns, and take the guard out of the error with \
         `into_inner`. A panic in a scope makes the scope itself an `Err`, unless the thread has \
         been joined.\nThe output was:\n{output}"
    );
}

#[test]
#[ignore = "exercise 3"]
fn exercise_3() {
    let output = output();
    assert!(
        output.lines().any(|l| l == "own lock: counter = 200000"),
        "the line `own lock: counter = 200000` was expected.\n\
         Hint: the counter is an `AtomicU64` that is loaded and stored as in the example `race`, \
         under a lock of your own: an `AtomicBool`, false while free. `acquire` changes it from \
         false to true by `compare_exchange` and tries again, after `thread::yield_now`, as long \
         as that fails (`Acquire`, and `Release` when you store false). Then give `acquire` a \
         guard to return, and release in its `Drop`.\nThe output was:\n{output}"
    );
}
