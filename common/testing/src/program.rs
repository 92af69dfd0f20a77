//! A program under way, and what it has printed so far.

use crate::{Run, left, slowness};
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A program without input that was started. Dropped before its end, it is killed, on Unix together with what it started
/// (it leads a process group of its own).
pub(crate) struct Program {
    child: Child,
    /// How it was called.
    pub command: String,
    limit: Duration,
    deadline: Instant,
    most_output: usize,
    /// Both pipes are emptied all the time, so that the program never waits for us.
    readers: Vec<JoinHandle<()>>,
    pieces: Receiver<(usize, Vec<u8>)>,
    output: [Vec<u8>; 2],
    /// Has either stream more to come?
    open: bool,
    status: Option<ExitStatus>,
    /// As long as somebody traces it, who would lose what is asked for here: its stops.
    pub traced: bool,
    _running: left::Running,
}

impl Program {
    /// It may run for `limit` (times [`slowness`]), and print `most_output` bytes.
    #[track_caller]
    pub fn start(command: &mut Command, limit: Duration, most_output: usize) -> Program {
        let _running = left::Running::new();
        let limit = limit * slowness() as u32;
        let deadline = Instant::now() + limit;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{:?} does not start: {error}", command.get_program()),
        };
        left::started(child.id());
        let (sender, pieces) = mpsc::channel();
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let readers = vec![
            thread::spawn({
                let sender = sender.clone();
                move || pass_on(out, 0, &sender)
            }),
            thread::spawn(move || pass_on(err, 1, &sender)),
        ];
        Program {
            child,
            command: format!("{command:?}"),
            limit,
            deadline,
            most_output,
            readers,
            pieces,
            output: [Vec::new(), Vec::new()],
            open: true,
            status: None,
            traced: false,
            _running,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed to its standard output and its standard error, with `\n` as line ends on every system.
    pub fn output(&self) -> [String; 2] {
        [0, 1].map(|stream| String::from_utf8_lossy(&self.output[stream]).replace("\r\n", "\n"))
    }

    /// Takes in what is printed until then, or until the program has ended and nobody can write to its output any more.
    /// Has it ended?
    ///
    /// The error says why the program is to be killed now: it runs for too long, or prints too much.
    pub fn listen(&mut self, until: Instant) -> Result<bool, String> {
        let until = until.min(self.deadline);
        while self.open {
            match self
                .pieces
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok((stream, piece)) => self.output[stream].extend(piece),
                Err(RecvTimeoutError::Disconnected) => self.close(),
                Err(RecvTimeoutError::Timeout) => break,
            }
            if self.output.iter().map(Vec::len).sum::<usize>() > self.most_output {
                let most = self.most_output / 1000;
                return Err(format!("the program printed more than {most} KB; it was killed"));
            }
        }
        // Both streams are closed; it remains to wait for the end, which as a rule has come.
        while !self.open && !self.traced && self.status.is_none() {
            self.status = self.child.try_wait().expect("the program was started here");
            if self.status.is_some() || Instant::now() >= until {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if self.status.is_none() && Instant::now() >= self.deadline {
            return Err(format!(
                "{} had not ended after {:?} (or something that it started holds its output open); it was killed",
                self.command, self.limit
            ));
        }
        Ok(self.status.is_some())
    }

    /// Both streams have come to their end.
    fn close(&mut self) {
        self.open = false;
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
    }

    /// Waits for the end.
    pub fn finish(&mut self) -> Result<Run, String> {
        while !self.listen(self.deadline)? {}
        let [stdout, stderr] = self.output();
        Ok(Run {
            status: self.status.expect("it has ended"),
            stdout,
            stderr,
            pid: self.pid(),
        })
    }

    /// Unless it has ended: kills the program and its descendants, as far as they can be reached, and takes in what they
    /// have printed.
    pub fn kill(&mut self) {
        if self.status.is_some() {
            return;
        }
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, killpg};
            // Not yet waited for, so the id is still the child's.
            let group = nix::unistd::Pid::from_raw(self.pid() as i32);
            let _ = killpg(group, Signal::SIGKILL);
        }
        #[cfg(windows)]
        {
            let pid = self.pid().to_string();
            let _ = Command::new("taskkill").args(["/T", "/F", "/PID", &pid]).output();
        }
        let _ = self.child.kill();
        self.status = self.child.wait().ok();
        // The readers come to the end at once; half a second for those who escaped from the group.
        while self.open {
            match self.pieces.recv_timeout(Duration::from_millis(500)) {
                Ok((stream, piece)) if self.output[stream].len() < self.most_output => {
                    self.output[stream].extend(piece)
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => self.close(),
                Err(RecvTimeoutError::Timeout) => self.open = false,
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends on what can be read, until the end.
fn pass_on(mut from: impl Read, stream: usize, to: &Sender<(usize, Vec<u8>)>) {
    let mut buffer = [0; 8192];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.send((stream, buffer[..n].to_vec())).is_err() {
            return; // nobody waits any more
        }
    }
}
