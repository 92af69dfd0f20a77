//! Where there is no `fork`, the lesson and its examples say so, point to the next lesson, and all is well.
#![cfg(not(unix))]

#[test]
fn lesson_and_examples_say_that_there_is_no_fork_and_where_to_go_on() {
    let example = |name| testing::example(env!("CARGO_MANIFEST_DIR"), name);
    let lesson = env!("CARGO_BIN_EXE_01-fork").into();
    let examples = ["memory", "buffer", "zombie", "orphan"].map(example);
    for program in [lesson].into_iter().chain(examples) {
        let run = testing::run(&program);
        let text = &run.success().stdout;
        assert!(text.contains("no fork()"), "{}: {text}", program.display());
        assert!(
            text.contains("cargo run --bin 02-process"),
            "{}: {text}",
            program.display()
        );
        assert_eq!(run.stderr, "", "{}", program.display());
    }
}
