//! Function pointers as numbers that another run of this program understands.
//!
//! The system loads a program anywhere it likes (ASLR), so an address means nothing in another process; a function's distance
//! from the start of the program's code is the same in every run of the same file. Only functions that lie in the code of the
//! file that contains `common` have such a number: a function in another dynamic library, or one that was made at run time,
//! is refused.

use super::{Code, code_around};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

/// A function pointer of type `fn(A) -> R` beside the function that decodes its argument, calls it, and encodes its result:
/// two distances from the start of the code, the caller's in the upper half of the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct CodeRef(pub u64);

/// Decodes the argument from the first slice, calls the function at the address, appends the encoded result.
///
/// # Safety
///
/// The address is that of a function of the type that this caller was made for.
pub(crate) type Caller<E> = unsafe fn(usize, &[u8], &mut Vec<u8>) -> Result<(), E>;

impl CodeRef {
    /// `target` is the address of a function. `None`: one of the two does not lie in this program's code.
    pub fn new<E>(caller: Caller<E>, target: usize) -> Option<CodeRef> {
        let caller = distance(caller as *const () as usize)?;
        Some(CodeRef(u64::from(caller) << 32 | u64::from(distance(target)?)))
    }

    /// Calls the function. `None`: the numbers do not lead into this program's code.
    ///
    /// # Safety
    ///
    /// The numbers are those of a [`CodeRef::new`] with the same `E`, of a function and a caller that was made for its type, in
    /// a process that runs the same program file.
    pub unsafe fn call<E>(self, args: &[u8], result: &mut Vec<u8>) -> Option<Result<(), E>> {
        let (caller, target) = (address((self.0 >> 32) as u32)?, address(self.0 as u32)?);
        // SAFETY: at the same distance in the same file lies the same function, of the same type, as the caller promises.
        let caller = unsafe { std::mem::transmute::<usize, Caller<E>>(caller) };
        // SAFETY: `new` took both together.
        Some(unsafe { caller(target, args, result) })
    }
}

/// Looked up once. Empty if the system does not report it.
fn code() -> &'static Code {
    static CODE: OnceLock<Code> = OnceLock::new();
    CODE.get_or_init(|| code_around(code as *const () as usize).unwrap_or_default())
}

/// Which file the code came from: by its size and date. Parent and child compare theirs, since the same distance leads
/// elsewhere in another file.
///
/// 0 for the program itself on Linux with glibc: the same file runs again there, whatever lies at its path now. (musl names it by
/// its place in `/proc`, which is that same file.)
pub(crate) fn fingerprint() -> u64 {
    std::fs::metadata(&code().file).map_or(0, |file| {
        let mut hasher = DefaultHasher::new();
        (file.len(), file.modified().ok()).hash(&mut hasher);
        hasher.finish()
    })
}

fn distance(address: usize) -> Option<u32> {
    let segment = &code().segment;
    let distance = address.checked_sub(segment.start).filter(|_| address < segment.end)?;
    u32::try_from(distance).ok()
}

fn address(distance: u32) -> Option<usize> {
    let segment = &code().segment;
    Some(segment.start + distance as usize).filter(|address| segment.contains(address))
}
