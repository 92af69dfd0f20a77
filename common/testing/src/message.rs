//! The messages that a traced process sends, read out of its memory when it is about to send them.

/// A message that a process sent over a socket. So do the queues of `ipc-channel`.
#[derive(Debug)]
pub struct Message {
    /// The process's id.
    pub by: u32,
    /// The socket, by the name that it has in whatever process: `socket:[4711]`.
    pub to: String,
    /// Its bytes, the queue's header among them.
    pub bytes: Vec<u8>,
}

#[cfg(target_os = "linux")]
pub(crate) use linux::about_to_send;

#[cfg(target_os = "linux")]
mod linux {
    use super::Message;
    use nix::sys::ptrace;
    use nix::unistd::Pid;
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    /// No letter of an exercise lies further back in a message.
    const MOST: usize = 4096;

    /// What a thread of process `by` is about to send, if it has stopped for that: at the beginning of a call of `sendmsg`.
    pub(crate) fn about_to_send(by: Pid, thread: Pid) -> Option<Message> {
        let [socket, header] = sendmsg(thread)?;
        let memory = File::open(format!("/proc/{by}/mem")).ok()?;
        let read = |from: u64, length: u64| {
            let mut bytes = vec![0; MOST.min(length as usize)];
            memory.read_exact_at(&mut bytes, from).ok().map(|()| bytes)
        };
        let read_places = |from: u64, count: u64| {
            let bytes = read(from, count.saturating_mul(16))?;
            let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("8 bytes"));
            let places = bytes.chunks_exact(16).map(|it| (word(&it[..8]), word(&it[8..])));
            Some(places.collect::<Vec<_>>())
        };
        // `struct msghdr` begins with two addresses, each with a length: the receiver's, and that of the parts (`struct iovec`),
        // which are addresses with a length, too.
        let (parts, count) = read_places(header, 2)?[1];
        let parts = read_places(parts, count)?;
        let parts: Option<Vec<_>> = parts.into_iter().map(|(from, length)| read(from, length)).collect();
        let to = fs::read_link(format!("/proc/{by}/fd/{socket}")).ok()?;
        Some(Message {
            by: by.as_raw() as u32,
            to: to.to_string_lossy().into_owned(),
            bytes: parts?.concat(),
        })
    }

    /// The first two arguments, if a call of `sendmsg` begins: the descriptor, and where the message's header lies.
    #[cfg(target_arch = "x86_64")]
    fn sendmsg(thread: Pid) -> Option<[u64; 2]> {
        let registers = ptrace::getregs(thread).ok()?;
        let begins = registers.rax as i64 == -i64::from(nix::libc::ENOSYS); // nothing is returned yet
        (begins && registers.orig_rax as i64 == nix::libc::SYS_sendmsg).then_some([registers.rdi, registers.rsi])
    }

    #[cfg(target_arch = "aarch64")]
    fn sendmsg(thread: Pid) -> Option<[u64; 2]> {
        let registers = ptrace::getregs(thread).ok()?.regs;
        let begins = registers[7] == 0; // so says the kernel, at such stops only
        (begins && registers[8] as i64 == nix::libc::SYS_sendmsg).then_some([registers[0], registers[1]])
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn sendmsg(_: Pid) -> Option<[u64; 2]> {
        None
    }
}
