//! What a pool's threads do: one for each worker, which starts it, listens to it, and buries it.

use super::queue::{Delivery, Letter, Outlet, Pipe, Queue, TICK};
use super::results::{Answer, Sink};
use super::wire::{KEPT, Kind, RESULT_HEADER, ResultHeader, skip_items};
use super::worker::Orders;
use crate::child::{self, Greeting};
use crate::error::Error;
use crate::function::Fault;
use crate::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, MutexGuard};
use crate::sys::{CodeRef, Exit, OwnedHandle, Proc};
use crate::timeline;
use os_pipe::{PipeReader, PipeWriter};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// What a pool's handle and its threads share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Something changed that a waiting thread may care about: the last item was answered, or the pool is over.
    changed: Condvar,
    /// Items that were accepted and are not delivered yet.
    pending: AtomicUsize,
    /// Somebody waits for `pending` to become 0.
    joining: AtomicBool,
    /// Failures that nobody will ask for.
    uncollected: Mutex<Option<(usize, Error)>>,
    memory: OwnedHandle,
    workers: usize,
    initializer: Option<(CodeRef, Vec<u8>)>,
    /// Its number in the timeline.
    number: u16,
}

impl Shared {
    pub fn new(queue: Queue, memory: OwnedHandle, workers: usize, initializer: Option<(CodeRef, Vec<u8>)>) -> Shared {
        Shared {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            pending: AtomicUsize::new(0),
            joining: AtomicBool::new(false),
            uncollected: Mutex::new(None),
            memory,
            workers,
            initializer,
            number: timeline::new_pool(),
        }
    }

    #[cfg(test)]
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    pub fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap()
    }

    /// Takes jobs in, and hands out what can be handed out at once.
    pub fn submit(&self, jobs: impl IntoIterator<Item = super::queue::Job>) {
        let mut letters = Vec::new();
        let mut refused = Vec::new();
        let mut queue = self.lock();
        for job in jobs {
            let count = job.count;
            timeline::submitted(self.number, count);
            self.pending.fetch_add(count as usize, Ordering::Relaxed);
            if let Err((job, error)) = queue.push(job) {
                refused.push((
                    Delivery {
                        sink: job.sink,
                        index: job.index,
                        count,
                    },
                    error,
                ));
            }
        }
        queue.rebalance(&mut letters);
        drop(queue);
        self.post(letters);
        for (delivery, error) in refused {
            self.fail(vec![delivery], &error);
        }
    }

    /// Writes letters that are small enough never to wait.
    fn post(&self, letters: Vec<Letter>) {
        for letter in letters {
            // A worker that is dead: its thread sees it, and sends the items elsewhere.
            let _ = letter.pipe.lock().unwrap().write_all(&letter.bytes);
        }
    }

    /// Delivers one error to every item.
    fn fail(&self, deliveries: Vec<Delivery>, error: &Error) {
        for delivery in deliveries {
            let mut wake = false;
            for place in 0..delivery.count as usize {
                wake |= delivery
                    .sink
                    .deliver(delivery.index + place, Answer::Failed(error.clone()));
            }
            self.note_uncollected(&delivery.sink, error);
            self.settle(delivery.count as usize, wake.then_some(&*delivery.sink));
        }
    }

    /// A failure that nobody holds a handle for is told by `join`.
    fn note_uncollected(&self, sink: &Arc<dyn Sink>, error: &Error) {
        if Arc::strong_count(sink) == 1 && !matches!(error, Error::Terminated) {
            let mut uncollected = self.uncollected.lock().unwrap();
            match &mut *uncollected {
                Some((count, _)) => *count += 1,
                none => *none = Some((1, error.clone())),
            }
        }
    }

    /// `count` items are delivered.
    fn settle<'a>(&self, count: usize, wake: impl IntoIterator<Item = &'a (dyn Sink + 'a)>) {
        for sink in wake {
            sink.wake();
        }
        if self.pending.fetch_sub(count, Ordering::SeqCst) == count && self.joining.load(Ordering::SeqCst) {
            drop(self.lock()); // whoever is about to wait is waiting now
            self.changed.notify_all();
        }
    }

    /// Waits until every accepted item is answered, then lets the workers end.
    pub fn finish(&self) -> Result<(), Error> {
        self.joining.store(true, Ordering::SeqCst);
        let mut queue = self.lock();
        while self.pending.load(Ordering::SeqCst) > 0 {
            queue = self.changed.wait(queue).unwrap();
        }
        let mut farewells = Vec::new();
        queue.finish(&mut farewells);
        let broken = queue.broken.clone();
        drop(queue);
        self.post(farewells);
        self.changed.notify_all();
        let uncollected = self.uncollected.lock().unwrap().take();
        match (broken, uncollected) {
            (Some(error), _) => Err(error),
            (None, Some((count, first))) => Err(Error::Uncollected {
                count,
                first: Arc::new(first),
            }),
            (None, None) => Ok(()),
        }
    }

    /// Ends everything now.
    pub fn terminate(&self) {
        let lost = self.lock().terminate();
        self.changed.notify_all();
        self.fail(lost, &Error::Terminated);
    }
}

/// The life of a worker's thread. `first` is told whether the first start succeeded.
pub(super) fn serve<To: Outlet + 'static, From: Read>(
    shared: &Shared,
    worker: usize,
    first: mpsc::Sender<Result<(), Error>>,
    start: impl Fn(&Shared, usize, &str) -> Result<Option<Line<To, From>>, Error>,
) {
    let mut first = Some(first);
    loop {
        let name = child::next_name("PoolWorker");
        let started = start(shared, worker, &name);
        let failed = match started {
            Ok(None) => return,
            Ok(Some((process, to_child, from_child))) => {
                if let Some(first) = first.take() {
                    let _ = first.send(Ok(()));
                }
                let mut session = Session::new(shared, worker, &name, Arc::new(Mutex::new(to_child)));
                session.listen(from_child, &process);
                session.bury(&process)
            }
            Err(error) => {
                if let Some(first) = first.take() {
                    let _ = first.send(Err(error));
                    return;
                }
                Some(error)
            }
        };
        let mut queue = shared.lock();
        if let Some(error) = failed.filter(|_| !queue.over) {
            let lost = queue.start_failed(&error);
            let broken = queue.broken.clone();
            let patience = queue.patience();
            if let Some(broken) = broken {
                drop(queue);
                shared.fail(lost, &broken);
                shared.changed.notify_all();
                return;
            }
            queue = shared
                .changed
                .wait_timeout_while(queue, patience, |queue| !queue.over)
                .unwrap()
                .0;
        }
        if queue.over {
            return;
        }
    }
}

/// The life of the thread that looks after what a pool with more workers than processors holds back.
pub(super) fn watch(shared: &Shared) {
    shared.lock().watcher = Some(std::thread::current());
    loop {
        let mut letters = Vec::new();
        let mut queue = shared.lock();
        if queue.over {
            return;
        }
        queue.look_again(&mut letters);
        let held = queue.held;
        drop(queue);
        shared.post(letters);
        if held {
            std::thread::park_timeout(TICK);
        } else {
            std::thread::park();
        }
    }
}

/// A worker, what leads to it, and what comes from it.
pub(super) type Line<To, From> = (Arc<Proc>, To, From);

/// Starts a worker. `None`: the pool is over.
pub(super) fn start(shared: &Shared, worker: usize, name: &str) -> Result<Option<Line<PipeWriter, PipeReader>>, Error> {
    let orders = Orders {
        greeting: Greeting::to(name),
        board: worker,
        boards: shared.workers,
        initializer: shared.initializer.clone(),
    };
    let orders =
        postcard::to_stdvec(&orders).map_err(|error| Error::encode(format!("the orders for {name}"), error))?;
    let stdin = std::fs::File::open(NULL_DEVICE).map_err(|error| Error::start(name, error))?;
    let mut started = child::start("worker", name, Some(&shared.memory), &[Some(stdin.into()), None, None])?;
    let process = Arc::new(started.process);
    timeline::member(process.pid(), shared.number);
    if !shared.lock().started(worker, process.clone()) {
        let _ = process.kill();
        process.wait();
        return Ok(None);
    }
    // A worker that is dead already is noticed when its results end.
    let _ = child::write_block(&mut started.to_child, &[&orders]);
    Ok(Some((process, started.to_child, started.from_child)))
}

/// A worker does not read the terminal: it would take turns with its parent.
const NULL_DEVICE: &str = if cfg!(windows) { "NUL" } else { "/dev/null" };

/// Why a worker's results come to an end.
#[derive(Default)]
pub(super) enum End {
    /// The worker ends by itself, or somebody killed it.
    #[default]
    Closed,
    /// Its initializer failed.
    NotReady(Fault),
    /// Something that is no message came among its results: it is killed.
    Garbage,
}

/// One worker's results, from its start to its end.
pub(super) struct Session<'a> {
    shared: &'a Shared,
    worker: usize,
    name: &'a str,
    /// Until the worker is ready; then the queue has it, and decides when it is closed.
    pipe: Option<Pipe>,
    ready: bool,
    pub end: End,
    letters: Vec<Letter>,
    answers: Vec<(Delivery, Kind, Range<usize>)>,
}

impl<'a> Session<'a> {
    pub fn new(shared: &'a Shared, worker: usize, name: &'a str, pipe: Pipe) -> Session<'a> {
        Session {
            shared,
            worker,
            name,
            pipe: Some(pipe),
            ready: false,
            end: End::default(),
            letters: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Listens until the worker's end.
    fn listen(&mut self, mut results: impl Read, process: &Proc) {
        let mut bytes = Vec::new();
        while let Ok(1..) = read_some(&mut results, &mut bytes) {
            let used = self.understand(&bytes);
            bytes.drain(..used);
            if matches!(self.end, End::Garbage) {
                let _ = process.kill(); // what it sent before is read on
            }
            if bytes.is_empty() && bytes.capacity() > KEPT {
                bytes = Vec::new(); // the memory of a huge result is not kept
            }
        }
    }

    /// Takes whole messages from `bytes`, and passes over what is none; returns how many bytes that were.
    pub fn understand(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        let mut queue = self.shared.lock();
        loop {
            match message(&bytes[used..]) {
                Ok(None) => break,
                Ok(Some((header, payload))) => {
                    let payload = used + payload.start..used + payload.end;
                    if self.take(&mut queue, header, bytes, payload.clone()) {
                        used = payload.end;
                        continue;
                    }
                }
                Err(()) => {}
            }
            self.end = End::Garbage;
            used += garbage(&bytes[used..]);
        }
        if !matches!(self.end, End::Garbage) {
            queue.feed(self.worker, &mut self.letters);
        }
        drop(queue);
        self.post();
        self.deliver(bytes);
        used
    }

    /// Takes one message; its payload lies at `payload` in `bytes`. False: the worker cannot have meant that.
    fn take(&mut self, queue: &mut Queue, header: ResultHeader, bytes: &[u8], payload: Range<usize>) -> bool {
        let content = &bytes[payload.clone()];
        let sound = match header.kind {
            Kind::Here => return true,
            Kind::Ready => {
                self.ready = true;
                if let Some(pipe) = self.pipe.take() {
                    queue.ready(self.worker, pipe, &mut self.letters);
                }
                return true;
            }
            Kind::NotReady => {
                self.end = postcard::from_bytes(content).map_or(End::Garbage, End::NotReady);
                return true;
            }
            Kind::Values => skip_items(content, header.count).is_some_and(<[u8]>::is_empty),
            Kind::Fault => header.count == 1,
        };
        if !sound {
            return false;
        }
        let answered = queue.answered(self.worker, header.first, header.count);
        let known = answered.is_some() || queue.over; // then its tasks are settled already
        self.answers
            .extend(answered.map(|delivery| (delivery, header.kind, payload)));
        known
    }

    /// The worker comes first: it may be idle.
    fn post(&mut self) {
        while let Some(letter) = self.letters.pop() {
            let mut pipe = letter.pipe.lock().unwrap();
            // A worker that is dead: its thread sees it, and sends the items elsewhere.
            let head = pipe.write_all(&letter.bytes);
            if let Some(items) = letter.large {
                let _ = head.and_then(|()| pipe.write_all(&items));
                drop(pipe);
                self.shared.lock().sent_large(self.worker, items, &mut self.letters);
            }
        }
    }

    /// The worker is dead, or will be soon. Returns an error if it never was ready.
    fn bury(&mut self, process: &Proc) -> Option<Error> {
        self.pipe = None;
        let exit = reap(process);
        let error = match std::mem::take(&mut self.end) {
            End::NotReady(fault) => Error::fault(fault, &format!("the initializer of {}", self.name)),
            End::Garbage => Error::Garbled {
                name: self.name.to_owned(),
            },
            End::Closed if self.ready => Error::ended(self.name, exit),
            End::Closed => Error::never_ready(self.name, exit),
        };
        let mut queue = self.shared.lock();
        let rescued = self.rescue(&mut queue);
        let lost = queue.died(self.worker, &mut self.letters);
        drop(queue);
        self.post();
        self.deliver(&rescued);
        self.shared.fail(lost, &error);
        (!self.ready).then_some(error)
    }

    /// The results of a dead worker that had not left yet.
    fn rescue(&mut self, queue: &mut Queue) -> Vec<u8> {
        let board = queue.board(self.worker);
        let count = board.published.load(Ordering::Acquire) >> 32;
        let first = board.first.load(Ordering::Acquire);
        let results = board.results().to_vec();
        // If it died just after it had sent them, some or all are answered already.
        let Some(unanswered) = queue.first_unanswered(self.worker) else {
            return results;
        };
        let Some(known) = unanswered.checked_sub(first).filter(|&known| known < count) else {
            return results;
        };
        if let Some(rest) = skip_items(&results, known as u32) {
            let count = (count - known) as u32;
            if skip_items(rest, count).is_some_and(<[u8]>::is_empty) {
                if let Some(delivery) = queue.answered(self.worker, unanswered, count) {
                    self.answers
                        .push((delivery, Kind::Values, results.len() - rest.len()..results.len()));
                }
            }
        }
        results
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let mut delivered = 0;
        let mut wake: Vec<Arc<dyn Sink>> = Vec::new();
        for (delivery, kind, payload) in self.answers.drain(..) {
            let Delivery { sink, index, count } = delivery;
            delivered += count as usize;
            let answer = if kind == Kind::Values {
                Answer::Values {
                    count,
                    bytes: &bytes[payload],
                }
            } else {
                let fault = postcard::from_bytes(&bytes[payload]);
                let error = fault.map_or_else(
                    |error| Error::decode(format!("a fault from {}", self.name), error),
                    |fault| Error::fault(fault, &format!("a task of {}", self.name)),
                );
                self.shared.note_uncollected(&sink, &error);
                Answer::Failed(error)
            };
            if sink.deliver(index, answer) && !wake.last().is_some_and(|last| Arc::ptr_eq(last, &sink)) {
                wake.push(sink);
            }
        }
        if delivered > 0 {
            self.shared.settle(delivered, wake.iter().map(|sink| &**sink));
        }
    }
}

/// Takes a worker out of the process table. Its results have ended, so it is about to end; if not, it has closed a pipe that
/// is not its own.
fn reap(process: &Proc) -> Exit {
    let deadline = Instant::now() + Duration::from_millis(500);
    let mut pause = Duration::from_micros(20);
    while Instant::now() < deadline {
        if let Some(exit) = process.try_wait() {
            return exit;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    let _ = process.kill();
    process.wait()
}

/// Appends what there is to read, but at least one byte. 0: the end.
fn read_some(results: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 1 << 14];
    if let Some(header) = bytes.first_chunk().and_then(ResultHeader::from_bytes) {
        // The rest of a large result. Memory is taken as it comes in.
        let missing = (header.length + RESULT_HEADER as u64).saturating_sub(bytes.len() as u64);
        if missing > piece.len() as u64 {
            bytes.reserve(missing.min(1 << 20) as usize);
            return results.take(missing).read_to_end(bytes);
        }
    }
    loop {
        match results.read(&mut piece) {
            Ok(length) => {
                bytes.extend_from_slice(&piece[..length]);
                return Ok(length);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The first message in `bytes`: its header, and where the rest of it lies. `None`: it is not whole yet.
fn message(bytes: &[u8]) -> Result<Option<(ResultHeader, Range<usize>)>, ()> {
    let Some(header) = bytes.first_chunk() else {
        return Ok(None);
    };
    let header = ResultHeader::from_bytes(header).ok_or(())?;
    let length = usize::try_from(header.length).map_err(|_| ())?;
    let end = RESULT_HEADER.checked_add(length).ok_or(())?;
    Ok((bytes.len() >= end).then_some((header, RESULT_HEADER..end)))
}

/// How many bytes to pass over, from one that begins no message to one that may begin the next.
fn garbage(bytes: &[u8]) -> usize {
    let begins = |at: &usize| {
        bytes[*at..]
            .first_chunk()
            .is_none_or(|header| ResultHeader::from_bytes(header).is_some())
    };
    (1..bytes.len()).find(begins).unwrap_or(bytes.len())
}
