//! Which processes and threads a program starts, and how each of them ends: seen from outside, by `ptrace`.
//!
//! So a check can tell what a program does from what it prints. It works on Linux; elsewhere, and where tracing is not allowed,
//! nothing is seen.

use std::time::Instant;

/// A process or a thread that a traced program has started.
#[derive(Debug)]
pub struct Tracee {
    /// The process's id, or the thread's.
    pub id: u32,
    /// The process (or thread) that has started it.
    pub parent: u32,
    /// A thread, not a process?
    pub is_thread: bool,
    /// A thread's name, which it has soon after it was started.
    pub name: String,
    /// When it was started.
    pub started: Instant,
    /// When it ended, if it has.
    pub ended: Option<Instant>,
    /// As in Python: its exit code, or minus the signal that killed it.
    pub exitcode: Option<i32>,
    /// Has its parent waited for it before it ended itself?
    pub waited_for: bool,
}

impl Tracee {
    /// Were both alive at the same time?
    pub fn overlaps(&self, other: &Tracee) -> bool {
        let before = |a: &Tracee, b: &Tracee| a.ended.is_some_and(|ended| ended <= b.started);
        !before(self, other) && !before(other, self)
    }
}

/// Starts a shell that stops itself, and once it is let go becomes the program: so nothing of the program is missed.
#[cfg(target_os = "linux")]
pub(crate) fn command(program: &std::path::Path) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "kill -STOP $$; exec \"$0\""]).arg(program);
    command
}

#[cfg(target_os = "linux")]
pub(crate) use linux::{Absent, Tracer};

#[cfg(target_os = "linux")]
mod linux {
    use super::Tracee;
    use crate::message::{Message, about_to_send};
    use crate::program::Program;
    use nix::errno::Errno;
    use nix::sys::ptrace::{self, Options};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    use nix::unistd::Pid;
    use std::path::Path;
    use std::time::{Duration, Instant};

    // Of `ptrace(2)`; the numbers of PTRACE_EVENT_….
    const FORK: i32 = 1;
    const VFORK: i32 = 2;
    const CLONE: i32 = 3;
    const EXEC: i32 = 4;
    const EXIT: i32 = 6;
    const STOP: i32 = 128;

    /// Watches a program. To be used by one thread only, as the kernel wants it.
    pub(crate) struct Tracer {
        root: Pid,
        /// Everything that was started, in that order.
        tracees: Vec<Tracee>,
        /// What is watched now.
        watched: Vec<Pid>,
        /// Started by `vfork`, so that they run in their parent's memory until they `exec`.
        in_vfork: Vec<Pid>,
        /// Who is not to do anything.
        absent: Absent,
        /// What was sent, in that order, unless by the program's first process. `None`: nobody wants to know.
        messages: Option<Vec<Message>>,
    }

    /// Of the processes or threads that a program starts, the one with this number (from 1 on) does nothing.
    pub(crate) enum Absent {
        Nobody,
        /// The process ends before it has done anything.
        Process(usize),
        /// The thread does not begin until enough is seen.
        Thread(usize),
    }

    impl Tracer {
        /// Begins with a program started by [`command`](super::command). `None`: tracing is not allowed here.
        pub fn attach(program: &mut Program, absent: Absent) -> Option<Tracer> {
            let root = Pid::from_raw(program.pid() as i32);
            let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            while !matches!(waitid(Id::Pid(root), flags), Ok(WaitStatus::Stopped(..))) {
                if program.listen(Instant::now() + Duration::from_millis(1)) != Ok(false) {
                    return None; // no shell that stops itself
                }
            }
            let events = Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_TRACEEXIT
                | Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_EXITKILL;
            ptrace::seize(root, events).ok()?;
            program.traced = true;
            kill(root, Signal::SIGCONT).ok()?;
            Some(Tracer {
                root,
                tracees: Vec::new(),
                watched: vec![root],
                in_vfork: Vec::new(),
                absent,
                messages: None,
            })
        }

        /// Records messages from now on. Processes that the program starts are slower then: they stop at each system call.
        pub fn record_messages(&mut self) {
            self.messages = Some(Vec::new());
        }

        /// Watches until the program has ended, or until then. Has it ended? When enough is seen, nobody is held any more.
        pub fn watch(
            &mut self,
            program: &mut Program,
            until: Instant,
            enough: impl Fn(&str) -> bool,
        ) -> Result<bool, String> {
            while Instant::now() < until {
                program.traced = self.watched.contains(&self.root);
                let happened = self.step();
                if !happened {
                    // Threads that the end of the program ends do not tell of it.
                    self.tracees
                        .iter_mut()
                        .filter(|it| it.ended.is_none())
                        .for_each(read_name);
                }
                if matches!(self.absent, Absent::Thread(_)) && enough(&program.output()[0]) {
                    let held = self.watched.iter().copied().find(|it| self.is_held(*it));
                    self.absent = Absent::Nobody;
                    held.into_iter().for_each(|it| self.resume(it, None));
                }
                let wait = Duration::from_millis(if happened { 0 } else { 1 });
                if program.listen(Instant::now() + wait)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }

        /// Looks once at everything that is watched. Has anything happened?
        fn step(&mut self) -> bool {
            let mut happened = false;
            for pid in self.watched.clone() {
                let mut flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
                if pid != self.root {
                    flags |= WaitPidFlag::WEXITED; // its parent is told after us; the root's end is for `Program`
                }
                match waitid(Id::Pid(pid), flags) {
                    Ok(WaitStatus::StillAlive) => continue,
                    Ok(WaitStatus::PtraceEvent(_, signal, event)) => self.stopped(pid, signal, event),
                    Ok(WaitStatus::PtraceSyscall(_)) => self.calls(pid),
                    Ok(WaitStatus::Exited(_, code)) => self.ended(pid, code),
                    Ok(WaitStatus::Signaled(_, signal, _)) => self.ended(pid, -(signal as i32)),
                    Ok(_) => self.resume(pid, None),
                    Err(Errno::ECHILD) => self.watched.retain(|it| *it != pid), // it has ended
                    Err(_) => self.resume(pid, None), // stopped by a signal that `nix` does not know
                }
                happened = true;
            }
            happened
        }

        /// Has the program's first process more than one thread? Until they are waited for, it cannot be.
        fn has_threads(&mut self) -> bool {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.root));
            let ids = tasks.into_iter().flatten().flatten();
            let ids = ids.filter_map(|task| Some(Pid::from_raw(task.file_name().to_str()?.parse().ok()?)));
            let threads: Vec<_> = ids.filter(|id| *id != self.root).collect();
            // One that was just about to be started when it was killed is not known yet.
            let unknown: Vec<_> = threads
                .iter()
                .copied()
                .filter(|id| !self.watched.contains(id))
                .collect();
            self.watched.extend(unknown);
            !threads.is_empty()
        }

        fn stopped(&mut self, pid: Pid, signal: Signal, event: i32) {
            match event {
                FORK | VFORK | CLONE => {
                    let id = Pid::from_raw(ptrace::getevent(pid).unwrap_or(0) as i32);
                    self.watched.push(id);
                    self.in_vfork.extend((event == VFORK).then_some(id));
                    self.tracees.push(Tracee {
                        id: id.as_raw() as u32,
                        parent: pid.as_raw() as u32,
                        is_thread: event == CLONE,
                        name: String::new(),
                        started: Instant::now(),
                        ended: None,
                        exitcode: None,
                        waited_for: true,
                    });
                    self.resume(pid, None);
                }
                // A new program. Before that (`vfork`) it has borrowed its parent's memory, which would suffer.
                EXEC if self.is_victim(pid) => {
                    let _ = kill(pid, Signal::SIGKILL);
                }
                STOP if self.is_held(pid) => {} // it is not resumed
                // A copy by `fork`.
                STOP if self.is_victim(pid) && !self.is_in_vfork(pid) => {
                    let _ = exit_at_once(pid).or_else(|_| kill(pid, Signal::SIGKILL));
                    self.resume(pid, None);
                }
                EXIT => {
                    let is_thread = self.tracee(pid).is_some_and(|tracee| {
                        tracee.ended.get_or_insert(Instant::now());
                        read_name(tracee);
                        tracee.is_thread
                    });
                    if !is_thread {
                        self.look_at_children(pid);
                    }
                    self.resume(pid, None);
                }
                0 => self.resume(pid, Some(signal)),
                _ => self.resume(pid, None),
            }
        }

        /// A process is about to end: which of its children has it waited for? The others are still there, alive or zombies.
        fn look_at_children(&mut self, parent: Pid) {
            for child in self.tracees.iter_mut().filter(|it| it.parent == parent.as_raw() as u32) {
                child.waited_for = !Path::new(&format!("/proc/{}", child.id)).exists();
            }
        }

        fn is_victim(&self, pid: Pid) -> bool {
            matches!(self.absent, Absent::Process(n) if self.is_number(n, pid, false))
        }

        fn is_held(&self, pid: Pid) -> bool {
            matches!(self.absent, Absent::Thread(n) if self.is_number(n, pid, true))
        }

        /// Is that the `n`th process, or thread?
        fn is_number(&self, n: usize, pid: Pid, is_thread: bool) -> bool {
            let mut tracees = self.tracees.iter().filter(|tracee| tracee.is_thread == is_thread);
            tracees
                .nth(n - 1)
                .is_some_and(|tracee| tracee.id == pid.as_raw() as u32)
        }

        fn is_in_vfork(&self, pid: Pid) -> bool {
            self.in_vfork.contains(&pid)
        }

        fn tracee(&mut self, pid: Pid) -> Option<&mut Tracee> {
            // An id may be given again: the last one that bore it.
            self.tracees.iter_mut().rev().find(|it| it.id == pid.as_raw() as u32)
        }

        fn ended(&mut self, pid: Pid, exitcode: i32) {
            self.watched.retain(|it| *it != pid);
            if let Some(tracee) = self.tracee(pid) {
                tracee.ended.get_or_insert(Instant::now());
                tracee.exitcode = Some(exitcode);
            }
        }

        /// A system call begins or ends. Until it is resumed, nobody gets the message: so messages are in order.
        fn calls(&mut self, pid: Pid) {
            let message = about_to_send(self.process(pid), pid);
            if let Some(messages) = &mut self.messages {
                messages.extend(message);
            }
            self.resume(pid, None);
        }

        /// The process that this is a thread of.
        fn process(&mut self, mut id: Pid) -> Pid {
            while let Some(thread) = self.tracee(id).filter(|it| it.is_thread) {
                id = Pid::from_raw(thread.parent as i32);
            }
            id
        }

        fn resume(&mut self, pid: Pid, signal: Option<Signal>) {
            let is_recorded = self.messages.is_some() && self.process(pid) != self.root;
            let resume: fn(_, _) -> _ = if is_recorded { ptrace::syscall } else { ptrace::cont };
            let _ = resume(pid, signal); // if it has ended meanwhile, that will be seen
        }

        /// Kills what is left, and tells what has been seen.
        pub fn finish(mut self, program: &mut Program) -> (Vec<Tracee>, Vec<Message>) {
            for pid in &self.watched {
                let _ = kill(*pid, Signal::SIGKILL);
            }
            let until = Instant::now() + Duration::from_secs(1);
            while (self.has_threads() || self.watched.len() > 1) && Instant::now() < until {
                if !self.step() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            program.traced = false;
            (self.tracees, self.messages.unwrap_or_default())
        }
    }

    /// Lets a process that has just been forked call `exit(0)` instead of returning from `fork`.
    #[cfg(target_arch = "x86_64")]
    fn exit_at_once(pid: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(pid)?;
        registers.rip -= 2; // where the `syscall` instruction is
        registers.orig_rax = u64::MAX;
        registers.rax = nix::libc::SYS_exit_group as u64;
        registers.rdi = 0;
        ptrace::setregs(pid, registers)
    }

    #[cfg(target_arch = "aarch64")]
    fn exit_at_once(pid: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(pid)?;
        registers.pc -= 4; // where the `svc` instruction is
        registers.regs[8] = nix::libc::SYS_exit_group as u64;
        registers.regs[0] = 0;
        ptrace::setregs(pid, registers)
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn exit_at_once(_: Pid) -> nix::Result<()> {
        Err(nix::errno::Errno::ENOSYS)
    }

    fn read_name(tracee: &mut Tracee) {
        if let Ok(name) = std::fs::read_to_string(format!("/proc/{}/comm", tracee.id)) {
            tracee.name = name.trim_end().to_owned();
        }
    }
}
