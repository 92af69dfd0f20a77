//! Lesson 02: a child process is a function with its arguments. Shows that `start` runs this
//! program once more and calls the function there, and that `join` waits and brings its result back.
//! Python: `Process(target=run_proc, args=('test',))`. `cargo run --bin 02-process` prints
//!
//!     Parent process <pid>.
//!     Child process will start.
//!     Run child process test (<pid>)...
//!     Child process end.
//!
//! See also: 01-fork (the Unix way), examples/exit_status.rs, examples/stop.rs.

use common::Process;
use std::process;

// The child runs this, and nothing else: it shares no memory with its parent.
fn run_proc(name: String) -> u32 {
    println!("Run child process {name} ({})...", process::id());
    process::id()
}

fn main() -> Result<(), common::Error> {
    // The twin of `if __name__ == '__main__':`. The child gets as far as here and turns off into
    // `run_proc`; only the parent goes on.
    common::init();

    println!("Parent process {}.", process::id());
    let p = Process::new(run_proc, "test".to_string()); // described, not yet started
    println!("Child process will start.");
    let p = p.start()?; // now there are two processes, and only now `p` has a pid and a `join`
    let pid = p.join()?; // waits for the end of the child
    println!("Child process end.");

    // Two processes, not two names for one.
    assert_eq!(pid, p.pid());
    assert_ne!(pid, process::id());
    Ok(())
}
