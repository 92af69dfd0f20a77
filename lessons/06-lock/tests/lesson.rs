//! The balance is 0, both times, in every run.

#[test]
fn the_balance_is_zero_every_time() {
    let _nothing_left = testing::NothingLeft::new();
    for _ in 0..5 {
        let run = testing::run(env!("CARGO_BIN_EXE_06-lock"));
        run.success();
        assert_eq!(run.lines(), ["acquire and release: balance = 0", "guard: balance = 0"]);
    }
}
