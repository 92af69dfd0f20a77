//! Tests of the inside. A worker is no process here, and so every order of events can be brought about, and a failure repeated.

#[cfg(not(model))]
mod damage;
#[cfg(model)]
pub(crate) mod model;
#[cfg(not(model))]
mod simulation;
#[cfg(not(model))]
mod world;

use crate::os::{self, Exit};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A worker's process that is none, unless one was really started.
#[derive(Default)]
pub(crate) struct Process {
    real: Option<os::Process>,
    pub killed: AtomicBool,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.real.as_ref().map_or(0, os::Process::pid)
    }

    pub fn kill(&self) -> std::io::Result<()> {
        self.killed.store(true, Relaxed);
        self.real.as_ref().map_or(Ok(()), os::Process::kill)
    }

    pub fn wait(&self) {
        self.wait_and_report(|_| {});
    }

    pub fn wait_and_report(&self, report: impl Fn(bool)) -> Exit {
        let real = self.real.as_ref().expect("nobody supervises another one");
        real.wait_and_report(report)
    }
}

impl From<os::Process> for Process {
    fn from(process: os::Process) -> Process {
        Process {
            real: Some(process),
            ..Process::default()
        }
    }
}

/// How often something is tried: the environment says so, or `otherwise`.
#[cfg(not(model))]
fn tries(variable: &str, otherwise: u64) -> u64 {
    let told = std::env::var(variable).ok();
    told.and_then(|tries| tries.parse().ok()).unwrap_or(otherwise)
}

/// Small random numbers from a seed (splitmix64).
pub(super) struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Once in `times` on average.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
