//! loom's locks and numbers, as the pool uses them; and the places where a worker can die.

use super::record;
pub(crate) use loom::sync::{Mutex, MutexGuard};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{LockResult, PoisonError};
use std::time::Duration;

loom::thread_local! {
    /// How many steps are left to the worker whose thread this is.
    pub(super) static STEPS: Cell<Option<usize>> = Cell::new(None);
}

/// The end of a worker, as a panic.
pub(super) struct Death;

/// A worker is about to do what others can see: here it can die.
pub(super) fn step() {
    let (counting, killed) = record(|record| (!record.warming_up, record.killed));
    STEPS.with(|steps| match steps.take() {
        None => {}
        Some(left) if left > 0 && !killed => steps.set(Some(left - usize::from(counting))),
        Some(_) => std::panic::resume_unwind(Box::new(Death)),
    });
}

thread_local! {
    /// The numbers of this execution. (loom runs all threads of a model on one thread of the system's.)
    static NUMBERS: RefCell<Vec<Box<dyn Any>>> = RefCell::default();
}

/// Before each execution.
pub(super) fn forget_numbers() {
    NUMBERS.take();
}

macro_rules! atomics {
    ($($name:ident of $value:ty;)*) => {$(
        /// Where memory is zero, as in a new page, this is 0: loom's number is made when it is used first.
        pub(crate) struct $name(AtomicPtr<loom::sync::atomic::$name>);

        impl $name {
            pub fn new(value: $value) -> $name {
                let number = Box::new(loom::sync::atomic::$name::new(value));
                let place = (&raw const *number).cast_mut();
                NUMBERS.with_borrow_mut(|numbers| numbers.push(number));
                $name(AtomicPtr::new(place))
            }

            fn number(&self) -> &loom::sync::atomic::$name {
                if self.0.load(Ordering::Relaxed).is_null() {
                    self.0.store($name::new(<$value>::default()).0.into_inner(), Ordering::Relaxed);
                }
                // SAFETY: it lives as long as this execution, as `self` does.
                unsafe { &*self.0.load(Ordering::Relaxed) }
            }

            /// A worker that dies before it looks is one that dies before its next step.
            pub fn load(&self, order: Ordering) -> $value {
                self.number().load(order)
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                step();
                self.number()
            }
        }
    )*};
}

atomics! {
    AtomicU32 of u32;
    AtomicU64 of u64;
}

pub(crate) use loom::sync::atomic::fence;

/// Nothing: a thread that goes on at once is one of the orders, too.
pub(crate) fn yield_now() {}

/// A pause is over at once.
pub(crate) fn park_timeout(_: Duration) {}

/// Time stands still: whatever a worker does, it is quick.
#[derive(Clone, Copy)]
pub(crate) struct Instant;

impl Instant {
    pub fn now() -> Instant {
        Instant
    }

    pub fn elapsed(self) -> Duration {
        Duration::ZERO
    }

    pub fn duration_since(self, _: Instant) -> Duration {
        Duration::ZERO
    }
}

pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub fn new() -> Condvar {
        Condvar(loom::sync::Condvar::new())
    }

    /// A limit is over at once; a thread that waits without one waits.
    pub fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, TimedOut)> {
        while condition(&mut guard) {
            if limit < Duration::MAX {
                return Ok((guard, TimedOut(true)));
            }
            guard = self.0.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        Ok((guard, TimedOut(false)))
    }
}

pub(crate) struct TimedOut(bool);

impl TimedOut {
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Deref for Condvar {
    type Target = loom::sync::Condvar;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
