//! What a pool uses of the system: processes and bells. In the tests, replacements for them.

use crate::os::SharedPage;

#[cfg(not(test))]
pub(super) use crate::os::Process;
#[cfg(not(all(test, model)))]
pub(super) use crate::os::{Ringer, Sleeper, bell};
#[cfg(all(test, not(model)))]
pub(super) use crate::pool::tests::Process;
#[cfg(all(test, model))]
pub(super) use crate::pool::tests::model::system::{Process, Ringer, Sleeper, bell};

/// A worker's process, and what leads to it.
pub(super) struct Link {
    pub name: String,
    pub page: SharedPage,
    pub bell: Ringer,
    /// Its end of the bell is open here too: so that ringing for a dead worker is not a broken pipe.
    pub _sleeper: Sleeper,
    pub process: Process,
}
