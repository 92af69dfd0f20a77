//! What a program must be able to do however it was built, and also as a library of a program in another language.

use common::{Error, Pool, Process};

fn square(n: u64) -> u64 {
    n * n
}

fn leave(code: i32) {
    std::process::exit(code)
}

fn fail(why: String) {
    panic!("{why}")
}

/// In the middle of a chunk, others of which have their results already.
fn fail_at_three(n: u64) -> u64 {
    assert!(n != 3, "three is too many");
    n
}

/// The copy panics, which is no matter of the worker's.
fn panic_in_a_copy(n: u64) -> u64 {
    // SAFETY: a worker's other thread only waits, so the copy may do what it likes; and there is a place for the status.
    unsafe {
        match libc::fork() {
            0 => panic!("in a copy"),
            pid => assert_eq!(libc::waitpid(pid, &mut 0, 0), pid),
        }
    }
    n
}

/// What panics when its thread ends.
struct Clumsy;

impl Drop for Clumsy {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

fn square_clumsily(n: u64) -> u64 {
    thread_local! {
        static CLUMSY: Clumsy = const { Clumsy };
    }
    CLUMSY.with(|_| n * n)
}

pub fn run() -> Result<(), Error> {
    let pool = Pool::new(2)?;
    println!("squares: {}", pool.map(square, 0..1000)?.iter().sum::<u64>());
    println!("exit: {}", pool.apply(leave, 7).unwrap_err());
    println!(
        "panic: {}",
        pool.apply(fail, "the disk is full".to_string()).unwrap_err()
    );
    println!(
        "chunk: {}",
        pool.map_with_chunksize(fail_at_three, 0..6, 6).unwrap_err()
    );
    println!("copy: {}", pool.apply(panic_in_a_copy, 5)?);
    pool.close().join()?;
    println!("process: {}", Process::new(square, 12).start()?.join()?);
    println!("clumsy: {}", Process::new(square_clumsily, 13).start()?.join()?);
    Ok(())
}

/// The same, called from C. Returns an exit status.
#[unsafe(no_mangle)]
pub extern "C" fn run_shapes() -> i32 {
    common::init();
    match run() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("Error: {error}");
            1
        }
    }
}
