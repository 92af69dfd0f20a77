//! What a pool takes from the system: processes and bells. Where tests look inside, something else.

#[cfg(not(test))]
pub(super) use crate::os::Process;
#[cfg(not(all(test, model)))]
pub(super) use crate::os::{Ringer, Sleeper, bell};
#[cfg(all(test, not(model)))]
pub(super) use crate::pool::tests::Process;
#[cfg(all(test, model))]
pub(super) use crate::pool::tests::model::system::{Process, Ringer, Sleeper, bell};
