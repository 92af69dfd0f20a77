//! Lesson 02: a child process is a function and its argument. `start` runs this program once more
//! and calls the function there; `join` waits for it to end and brings back what it returned.
//! Python: `Process(target=run_proc, args=('test',))`. `cargo run --bin 02-process` prints
//!
//!     Parent process <pid>.
//!     Child process will start.
//!     Run child process test (<pid>)...
//!     Child process end.
//!
//! See also: lesson 01 (the Unix way), the examples `exit_status`, `stop` and `process_by_hand`.

use common::Process;
use std::process;

// The child runs this function. It shares no memory with its parent.
fn run_proc(name: String) -> u32 {
    println!("Run child process {name} ({})...", process::id());
    process::id()
}

fn main() -> Result<(), common::Error> {
    // The counterpart of `if __name__ == '__main__':`. The child runs `main` up to this line; inside `init` it calls
    // `run_proc` and exits. Only the parent goes on.
    common::init();

    println!("Parent process {}.", process::id());
    let p = Process::new(run_proc, "test".to_string()); // a description: nothing has started yet
    println!("Child process will start.");
    let p = p.start()?; // now there are two processes, and only now does `p` have a `join`
    let pid = p.join()?; // waits for the child to end, and returns what `run_proc` returned
    println!("Child process end.");

    // There really were two processes.
    assert_eq!(pid, p.pid());
    assert_ne!(pid, process::id());
    Ok(())
}
