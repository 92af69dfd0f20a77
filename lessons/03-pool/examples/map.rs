//! Shows what a pool gains when there is something to compute: the same `map` with one worker, and
//! with one worker for each core. Without `--release` it takes longer, but gains about as much.
//!
//! `cargo run --release -p pool --example map`. See also: crash.rs.

use common::{Error, Pool};
use std::time::Instant;

const BLOCK: u32 = 10_000;
const BLOCKS: u32 = 200;

fn count_primes(block: u32) -> usize {
    let first = block * BLOCK;
    (first..first + BLOCK).filter(|&n| is_prime(n)).count()
}

fn is_prime(n: u32) -> bool {
    let mut divisor = 2;
    while divisor * divisor <= n {
        if n % divisor == 0 {
            return false;
        }
        divisor += 1;
    }
    n >= 2
}

fn measure(pool: Pool) -> Result<f64, Error> {
    let start = Instant::now();
    let primes: usize = pool.map(count_primes, 0..BLOCKS)?.iter().sum();
    let seconds = start.elapsed().as_secs_f64();
    println!("Workers: {}, primes: {primes}, {seconds:.2} seconds.", pool.processes());
    assert_eq!(primes, 148_933); // the number of primes below two million, known from elsewhere
    Ok(seconds)
}

fn main() -> Result<(), Error> {
    common::init();
    let one = measure(Pool::new(1)?)?;
    let pool = Pool::per_core()?;
    let cores = pool.processes();
    let all = measure(pool)?;
    println!(
        "Speed-up: {:.2}, at most {cores}; less if the machine has other work to do.",
        one / all
    );
    Ok(())
}
