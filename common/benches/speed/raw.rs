//! The limits: what the same work takes by hand, with nothing around it.
//!
//! A start is `std::process::Command` running this program again, which ends at once. A pool is pipes with a thread for each
//! worker, up to 16 tasks out, each result written at once: no errors, no handles, no deaths.

use crate::Contestant;
use crate::ours::{Bytes, calibrate, compute, next, quantile, seconds, touched_gibibyte};
use std::collections::VecDeque;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of tasks in flight to each worker.
const OUT: usize = 16;

/// The environment variable that tells this program what it is.
const ROLE: &str = "SPEED_RAW_ROLE";

fn this_program(role: &str) -> Command {
    // What `common` runs too: on Linux, a name that needs no look-up.
    let program = if cfg!(target_os = "linux") {
        "/proc/self/exe".into()
    } else {
        std::env::current_exe().expect("a name")
    };
    let mut command = Command::new(program);
    command.env(ROLE, role);
    command
}

/// Does what a child is there for. False: this is no child.
pub fn run_child() -> bool {
    let Ok(role) = std::env::var(ROLE) else { return false };
    // An error is a parent that has ended.
    let _ = match role.as_str() {
        "exit" => Ok(()),
        "next" => work(next),
        "compute" => work(compute),
        _ => echo(),
    };
    true
}

/// Standard input and output without a buffer.
fn streams() -> io::Result<(File, File)> {
    #[cfg(unix)]
    use std::os::fd::AsFd;
    #[cfg(windows)]
    use std::os::windows::io::AsHandle;
    #[cfg(unix)]
    let (input, output) = (
        io::stdin().as_fd().try_clone_to_owned()?,
        io::stdout().as_fd().try_clone_to_owned()?,
    );
    #[cfg(windows)]
    let (input, output) = (
        io::stdin().as_handle().try_clone_to_owned()?,
        io::stdout().as_handle().try_clone_to_owned()?,
    );
    Ok((input.into(), output.into()))
}

fn work(task: fn(u64) -> u64) -> io::Result<()> {
    let (input, mut output) = streams()?;
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut number = [0; 8];
    loop {
        input.read_exact(&mut number)?;
        output.write_all(&task(u64::from_le_bytes(number)).to_le_bytes())?;
    }
}

fn echo() -> io::Result<()> {
    let (mut input, mut output) = streams()?;
    let mut block = Vec::new();
    loop {
        let bytes = read_bytes(&mut input, &mut block)?;
        write_bytes(&mut output, &bytes, &mut block)?;
    }
}

/// As postcard has them, in one write, with the length before them. `block` is memory that is used again.
fn write_bytes(to: &mut impl Write, bytes: &Bytes, block: &mut Vec<u8>) -> io::Result<()> {
    block.clear();
    block.extend_from_slice(&[0; 8]);
    *block = postcard::to_extend(bytes, std::mem::take(block)).expect("bytes can be encoded");
    let length = block.len() as u64 - 8;
    block[..8].copy_from_slice(&length.to_le_bytes());
    to.write_all(block)
}

fn read_bytes(from: &mut impl Read, block: &mut Vec<u8>) -> io::Result<Bytes> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    block.resize(u64::from_le_bytes(length) as usize, 0);
    from.read_exact(block)?;
    Ok(postcard::from_bytes(block).expect("bytes can be decoded"))
}

struct Worker {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
}

struct Pool(Vec<Worker>);

impl Pool {
    fn new(workers: usize, role: &str) -> Pool {
        let start = |_| {
            let mut command = this_program(role);
            let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut process = process.expect("it starts");
            let (input, output) = (
                process.stdin.take().expect("piped"),
                process.stdout.take().expect("piped"),
            );
            Worker { process, input, output }
        };
        Pool((0..workers).map(start).collect())
    }

    /// The results for the arguments `argument(0)`, `argument(1)` ..., in order.
    fn run(&mut self, count: u64, out: usize, argument: impl Fn(u64) -> u64 + Sync) -> Vec<u64> {
        let (next, argument) = (&AtomicU64::new(0), &argument);
        let parts: Vec<Vec<(u64, u64)>> = std::thread::scope(|scope| {
            let serve = |worker| scope.spawn(move || serve(worker, next, count, out, argument).expect("it lives"));
            let threads: Vec<_> = self.0.iter_mut().map(serve).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("it does not panic"))
                .collect()
        });
        let mut results = vec![0; count as usize];
        for (task, result) in parts.into_iter().flatten() {
            results[task as usize] = result;
        }
        results
    }

    fn end(self) {
        for Worker {
            mut process,
            input,
            output,
        } in self.0
        {
            drop((input, output));
            process.wait().expect("it is our child");
        }
    }
}

/// One thread's part: keeps its worker busy, reads whatever is there.
fn serve(
    worker: &mut Worker,
    next: &AtomicU64,
    count: u64,
    out: usize,
    argument: &impl Fn(u64) -> u64,
) -> io::Result<Vec<(u64, u64)>> {
    let (mut results, mut sent, mut message) = (Vec::new(), VecDeque::new(), Vec::new());
    let mut bytes = [0; 8 * 1024];
    let mut length = 0;
    loop {
        message.clear();
        while sent.len() < out {
            let task = next.fetch_add(1, Relaxed);
            if task >= count {
                break;
            }
            sent.push_back(task);
            message.extend_from_slice(&argument(task).to_le_bytes());
        }
        if !message.is_empty() {
            worker.input.write_all(&message)?;
        }
        if sent.is_empty() {
            return Ok(results);
        }
        length += worker.output.read(&mut bytes[length..])?;
        let used = length / 8 * 8;
        for result in bytes[..used].chunks_exact(8) {
            let result = u64::from_le_bytes(result.try_into().expect("eight bytes"));
            results.push((sent.pop_front().expect("it was asked for"), result));
        }
        bytes.copy_within(used..length, 0);
        length -= used;
    }
}

fn check(results: Vec<u64>, count: u64) {
    assert!(results.into_iter().eq(1..=count), "a wrong result");
}

fn start_and_wait(count: usize) {
    for _ in 0..count {
        assert!(this_program("exit").status().expect("it starts").success());
    }
}

/// With an argument and a result, through pipes: what a start needs that brings something back.
fn start_with_pipes(count: u64) {
    for i in 0..count {
        let mut command = this_program("next");
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.expect("it starts");
        let mut input = process.stdin.take().expect("piped");
        input.write_all(&i.to_le_bytes()).expect("it reads");
        drop(input);
        let mut result = [0; 8];
        let mut output = process.stdout.take().expect("piped");
        output.read_exact(&mut result).expect("it answers");
        assert_eq!(u64::from_le_bytes(result), i + 1);
        process.wait().expect("it ends");
    }
}

pub struct Raw;

impl Contestant for Raw {
    fn measure(&mut self, what: &str, workers: usize, count: usize) -> Option<f64> {
        let tasks = count as u64;
        let each = |seconds: f64| Some(seconds / count as f64);
        match what {
            "start_bare" => each(seconds(|| start_and_wait(count))),
            "start" => each(seconds(|| start_with_pipes(tasks))),
            "start_large" => {
                let memory = touched_gibibyte();
                let time = seconds(|| start_with_pipes(tasks));
                drop(black_box(memory));
                each(time)
            }
            "make" => each(seconds(|| {
                for _ in 0..count {
                    let mut pool = Pool::new(workers, "next");
                    check(pool.run(workers as u64, OUT, |i| i), workers as u64);
                    pool.end();
                }
            })),
            "apply_async" | "imap" | "imap_unordered" | "map_single" => {
                let mut pool = Pool::new(workers, "next");
                check(pool.run(100, OUT, |i| i), 100);
                let time = seconds(|| check(pool.run(tasks, OUT, |i| i), tasks));
                pool.end();
                each(time)
            }
            "speed_up" => {
                let mut pool = Pool::new(workers, "compute");
                let rounds = calibrate();
                let expected = compute(rounds);
                let alone = seconds(|| (0..count).for_each(|_| assert_eq!(compute(black_box(rounds)), expected)));
                let together =
                    seconds(|| assert!(pool.run(tasks, 1, |_| rounds).iter().all(|&result| result == expected)));
                pool.end();
                Some(alone / together)
            }
            "apply_median" | "apply_99th" => {
                let mut pool = Pool::new(1, "next");
                let worker = &mut pool.0[0];
                let mut ping = |i: u64| {
                    let mut answer = [0; 8];
                    worker.input.write_all(&i.to_le_bytes())?;
                    worker.output.read_exact(&mut answer)?;
                    assert_eq!(u64::from_le_bytes(answer), i + 1);
                    io::Result::Ok(())
                };
                ping(0).expect("it lives");
                let times = (0..tasks).map(|i| seconds(|| ping(i).expect("it lives"))).collect();
                pool.end();
                Some(quantile(times, what))
            }
            _ => {
                let sample = Bytes::sample(what.strip_prefix("echo_")?.parse().expect("a size"));
                let mut pool = Pool::new(1, "echo");
                let Worker { input, output, .. } = &mut pool.0[0];
                let time = seconds(|| {
                    std::thread::scope(|scope| {
                        let (sample, mut block) = (&sample, Vec::new());
                        scope.spawn(move || {
                            for _ in 0..count {
                                write_bytes(input, sample, &mut block).expect("it lives");
                            }
                        });
                        let mut block = Vec::new();
                        for _ in 0..count {
                            let back = read_bytes(output, &mut block).expect("it lives");
                            assert!(back == *sample, "a wrong result");
                        }
                    });
                });
                pool.end();
                each(time)
            }
        }
    }
}
