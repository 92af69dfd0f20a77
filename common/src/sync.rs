//! What a pool's threads and workers share: locks and numbers of the standard library, or, where `pool::model` checks the
//! pool, of loom, which tries the orders in which they can be used.

#[cfg(not(all(test, model)))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize},
};

#[cfg(all(test, model))]
pub(crate) use checked::*;

#[cfg(all(test, model))]
pub(crate) mod checked {
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    use std::cell::Cell;
    use std::ops::Deref;
    use std::sync::LockResult;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    loom::thread_local! {
        /// So many steps more are left to a worker that is to die.
        pub(crate) static STEPS: Cell<usize> = Cell::new(usize::MAX);
    }

    /// The end of a thread that is a worker.
    pub(crate) struct Death;

    /// A worker is about to do what others can see: here it can die.
    pub(crate) fn step() {
        let left = STEPS.with(Cell::get);
        if left == 0 {
            STEPS.with(|steps| steps.set(usize::MAX));
            std::panic::resume_unwind(Box::new(Death));
        }
        STEPS.with(|steps| steps.set(left - 1));
    }

    macro_rules! atomics {
        ($($name:ident of $value:ty;)*) => {$(
            pub(crate) struct $name(loom::sync::atomic::$name);

            impl $name {
                pub fn new(value: $value) -> $name {
                    $name(loom::sync::atomic::$name::new(value))
                }

                /// loom takes `SeqCst` for `AcqRel`. A fence before each such load makes up for it.
                pub fn load(&self, order: Ordering) -> $value {
                    if order == Ordering::SeqCst {
                        loom::sync::atomic::fence(order);
                    }
                    (**self).load(order)
                }
            }

            impl Deref for $name {
                type Target = loom::sync::atomic::$name;

                fn deref(&self) -> &Self::Target {
                    step();
                    &self.0
                }
            }
        )*};
    }

    atomics! {
        AtomicBool of bool;
        AtomicU64 of u64;
        AtomicUsize of usize;
    }

    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub fn new() -> Condvar {
            Condvar(loom::sync::Condvar::new())
        }

        /// Time passes at once.
        pub fn wait_timeout_while<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _: Duration,
            _: impl FnMut(&mut T) -> bool,
        ) -> LockResult<(MutexGuard<'a, T>, ())> {
            Ok((guard, ()))
        }
    }

    impl Deref for Condvar {
        type Target = loom::sync::Condvar;

        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }
}
