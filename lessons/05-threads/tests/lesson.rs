//! The lesson prints a report, five rounds and a sum, all of it between main's two lines.

#[test]
fn every_thread_speaks_and_is_waited_for() {
    let _nothing_left = testing::NothingLeft::new();
    let run = testing::run(env!("CARGO_BIN_EXE_05-threads"));
    run.success();
    // Only the two scoped threads run at the same time, and they print the same line: the output never changes.
    let expected = "\
thread main is running...
detached thread: I am done.
thread LoopThread is running...
thread LoopThread >>> 1
thread LoopThread >>> 2
thread LoopThread >>> 3
thread LoopThread >>> 4
thread LoopThread >>> 5
thread LoopThread ended.
scoped thread: I add 500 numbers.
scoped thread: I add 500 numbers.
sum of 1000 numbers: 500500.
thread main ended.";
    assert_eq!(run.lines(), expected.lines().collect::<Vec<_>>());
}
