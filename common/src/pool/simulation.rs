//! The queue under every order of events that chance comes upon: workers that claim, answer, die at any moment, letters that
//! arrive late, chunks that are cut. Nothing here is a process or a thread, so a million events take a second, and a failure
//! can be repeated: it names its seed.
//!
//! What is held after every event: no item is done twice or lost; only an item that was being done fails; no worker is idle
//! while another one has items that it cannot start.

use super::queue::{Delivery, Job, Letter, Pipe, Queue};
use super::results::{Answer, Sink};
use super::ticket;
use super::wire::{TASK_HEADER, TaskHeader, push_item};
use crate::sync::Mutex;
use crate::sys::{CodeRef, SharedMemory};
use std::collections::VecDeque;
use std::sync::Arc;

/// Small numbers from a seed (splitmix64).
pub(super) struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

/// To a worker that is not there.
pub(super) fn pipe() -> Pipe {
    Arc::new(Mutex::new(os_pipe::pipe().unwrap().1))
}

struct NoSink;

impl Sink for NoSink {
    fn deliver(&self, _: usize, _: Answer) -> bool {
        false
    }
    fn wake(&self) {}
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Waiting,
    Running,
    Done,
    Lost,
}

/// A worker without a process.
#[derive(Default)]
struct Puppet {
    /// Messages on their way to it, then those that it has read.
    letters: VecDeque<TaskHeader>,
    inbox: VecDeque<TaskHeader>,
    /// How far it is in the first message of its inbox.
    at: u32,
    running: bool,
    /// Answered items that the pool has not heard of.
    results: VecDeque<u64>,
    called: bool,
}

struct World {
    chance: Chance,
    queue: Queue,
    puppets: Vec<Puppet>,
    pipes: Vec<Pipe>,
    /// By place in the one sink.
    items: Vec<Item>,
    /// Which place each worker's item number has.
    places: Vec<Vec<usize>>,
    in_transit: Vec<(usize, Box<[u8]>)>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let workers = 1 + chance.below(4);
        let max_tasks = if chance.below(3) == 0 {
            1 + chance.below(5) as u64
        } else {
            u64::MAX
        };
        let (memory, _) = SharedMemory::new(workers).unwrap();
        let crowd = 1 + chance.below(4);
        let queue = Queue::new(workers, crowd, memory, max_tasks);
        let mut world = World {
            chance,
            queue,
            puppets: Vec::new(),
            pipes: Vec::new(),
            items: Vec::new(),
            places: vec![Vec::new(); workers],
            in_transit: Vec::new(),
        };
        for worker in 0..workers {
            world.puppets.push(Puppet::default());
            world.pipes.push(pipe());
            world.arrive(worker);
        }
        world
    }

    /// A new worker gets ready.
    fn arrive(&mut self, worker: usize) {
        self.puppets[worker] = Puppet::default();
        self.places[worker].clear();
        let pipe = pipe();
        let mut letters = Vec::new();
        self.pipes[worker] = pipe.clone();
        self.queue.ready(worker, pipe, &mut letters);
        self.queue.feed(worker, &mut letters);
        self.post(letters);
    }

    fn submit(&mut self) {
        let count = if self.chance.below(2) == 0 {
            1
        } else {
            1 + self.chance.below(12)
        };
        // Now and then items of which few or none can be sent ahead.
        let size = [3, 3, 3, 3, 3, 3, 5_000, 40_000][self.chance.below(8)];
        let job = job(self.items.len(), count, size);
        self.items.extend(std::iter::repeat_n(Item::Waiting, count));
        assert!(self.queue.push(job).is_ok());
        let mut letters = Vec::new();
        self.queue.rebalance(&mut letters);
        self.post(letters);
    }

    fn post(&mut self, letters: Vec<Letter>) {
        for letter in letters {
            let worker = self
                .pipes
                .iter()
                .position(|pipe| Arc::ptr_eq(pipe, &letter.pipe))
                .expect("a living worker");
            let mut bytes = &letter.bytes[..];
            while let Some((head, rest)) = bytes.split_first_chunk::<TASK_HEADER>() {
                let header = TaskHeader::from_bytes(head);
                bytes = if letter.large.is_some() {
                    rest
                } else {
                    &rest[header.length as usize..]
                };
                self.puppets[worker].letters.push_back(header);
            }
            if let Some(items) = letter.large {
                self.in_transit.push((worker, items));
            }
        }
    }

    /// One event at one worker.
    fn step(&mut self, worker: usize) {
        match self.chance.below(8) {
            0 => self.receive(worker),
            1..=3 => self.work(worker),
            4..=5 => self.hear(worker),
            6 => self.deliver_large(worker),
            _ if self.chance.below(4) == 0 => self.tick(),
            _ if self.chance.below(40) == 0 => self.die(worker),
            _ => {}
        }
    }

    fn receive(&mut self, worker: usize) {
        if self.in_transit.iter().all(|(other, _)| *other != worker) {
            let puppet = &mut self.puppets[worker];
            puppet.inbox.extend(puppet.letters.pop_front());
        }
    }

    /// A tick has passed, if somebody counts them.
    fn tick(&mut self) {
        if self.queue.held {
            let mut letters = Vec::new();
            self.queue.look_again(&mut letters);
            self.post(letters);
        }
    }

    /// The end of writing a large job.
    fn deliver_large(&mut self, worker: usize) {
        if let Some(at) = self.in_transit.iter().position(|(other, _)| *other == worker) {
            let (_, items) = self.in_transit.remove(at);
            let mut letters = Vec::new();
            self.queue.sent_large(worker, items, &mut letters);
            self.post(letters);
        }
    }

    fn work(&mut self, worker: usize) {
        let puppet = &mut self.puppets[worker];
        let Some(task) = puppet.inbox.front().copied() else {
            return;
        };
        let item = task.first + u64::from(puppet.at);
        if task.count == 0 {
            puppet.called = true;
            puppet.inbox.pop_front();
        } else if puppet.running {
            puppet.running = false;
            puppet.at += 1;
            puppet.results.push_back(item);
            if puppet.at == task.count {
                puppet.at = 0;
                puppet.inbox.pop_front();
            }
        } else if ticket::claim(&self.queue.board(worker).next, item) {
            puppet.running = true;
            let place = self.queue.place(worker, item).expect("a claimed item is the worker's");
            assert_eq!(self.items[place], Item::Waiting, "item {place} is done twice");
            self.items[place] = Item::Running;
        } else {
            puppet.at = 0;
            puppet.inbox.pop_front();
        }
    }

    /// The pool reads what a worker wrote.
    fn hear(&mut self, worker: usize) {
        let mut letters = Vec::new();
        if std::mem::take(&mut self.puppets[worker].called) {
            self.queue.feed(worker, &mut letters);
        }
        if let Some(item) = self.puppets[worker].results.pop_front() {
            let delivery = self.queue.answered(worker, item, 1).expect("a true answer");
            self.settle(&delivery, Item::Done);
            self.queue.feed(worker, &mut letters);
        }
        self.post(letters);
        self.replace_if_retired(worker);
    }

    /// After its last task, a worker's pipe is closed, and it ends.
    fn replace_if_retired(&mut self, worker: usize) {
        if self.queue.pipe(worker).is_none() {
            self.die(worker);
        }
    }

    fn die(&mut self, worker: usize) {
        self.deliver_large(worker); // its thread finds the pipe broken first
        let was_running = self.puppets[worker].running;
        while let Some(item) = self.puppets[worker].results.pop_front() {
            let delivery = self.queue.answered(worker, item, 1).expect("a true answer");
            self.settle(&delivery, Item::Done);
        }
        let mut letters = Vec::new();
        let lost = self.queue.died(worker, &mut letters);
        let failed: u32 = lost.iter().map(|delivery| delivery.count).sum();
        assert!(failed <= 1, "a death costs {failed} items");
        for delivery in lost {
            let place = delivery.index;
            assert!(
                self.items[place] == Item::Running || !was_running,
                "item {place} was not being done"
            );
            self.settle(&delivery, Item::Lost);
        }
        self.post(letters);
        self.arrive(worker);
    }

    fn settle(&mut self, delivery: &Delivery, end: Item) {
        for place in delivery.index..delivery.index + delivery.count as usize {
            assert!(
                matches!(self.items[place], Item::Running | Item::Waiting),
                "item {place} is answered twice"
            );
            self.items[place] = end;
        }
    }

    fn run(&mut self) {
        for _ in 0..400 {
            if self.chance.below(6) == 0 {
                self.submit();
            }
            let worker = self.chance.below(self.puppets.len());
            self.step(worker);
            self.queue.assert_nobody_idles();
        }
        for _ in 0..1_000_000 {
            if self.items.iter().all(|item| matches!(item, Item::Done | Item::Lost)) {
                return;
            }
            let worker = self.chance.below(self.puppets.len());
            for act in [World::deliver_large, World::receive, World::work, World::hear] {
                act(self, worker);
            }
            self.tick();
            self.queue.assert_nobody_idles();
        }
        panic!("items are left: {:?}", self.items);
    }
}

/// So many items of so many bytes each.
fn job(index: usize, count: usize, size: usize) -> Job {
    let mut items = Vec::new();
    for _ in 0..count {
        let encode = |bytes: &mut Vec<u8>| {
            bytes.extend(std::iter::repeat_n(0, size));
            Ok::<(), ()>(())
        };
        push_item(&mut items, encode).unwrap();
    }
    Job {
        items: items.into(),
        sink: Arc::new(NoSink),
        entry: CodeRef::NONE,
        index,
        count: count as u32,
    }
}

/// A queue whose workers are ready, of whom so many may be at work at a time.
fn queue(workers: usize, crowd: usize) -> Queue {
    let (memory, _) = SharedMemory::new(workers).unwrap();
    let mut queue = Queue::new(workers, crowd, memory, u64::MAX);
    for worker in 0..workers {
        get_ready(&mut queue, worker);
    }
    queue
}

/// Returns how many letters it gets at once.
fn get_ready(queue: &mut Queue, worker: usize) -> usize {
    let mut letters = Vec::new();
    queue.ready(worker, pipe(), &mut letters);
    queue.feed(worker, &mut letters);
    letters.len()
}

#[test]
fn idle_workers_are_held_back_until_whoever_is_at_work_is_asleep() {
    let mut queue = queue(3, 1);
    let mut letters = Vec::new();
    for index in 0..3 {
        assert!(queue.push(job(index, 1, 3)).is_ok());
        queue.rebalance(&mut letters);
    }
    assert_eq!((letters.len(), queue.held), (1, true));
    let at_work = (0..3).find(|&worker| queue.place(worker, 0).is_some()).unwrap();
    let look = |queue: &mut Queue| {
        let mut letters = Vec::new();
        queue.look_again(&mut letters);
        letters.len()
    };
    assert_eq!(look(&mut queue), 0);
    assert!(ticket::claim(&queue.board(at_work).next, 0));
    assert_eq!(look(&mut queue), 0, "it has started an item meanwhile");
    assert_eq!(look(&mut queue), 2, "it has not");
    assert!(!queue.held);
}

#[test]
fn a_job_is_given_up_when_three_workers_died_before_they_started_it() {
    let mut queue = queue(1, 1);
    for job in [job(6, 1, 3), job(7, 2, 3)] {
        assert!(queue.push(job).is_ok());
        queue.rebalance(&mut Vec::new());
    }
    // What fails, and how many letters the next worker gets.
    let die = |queue: &mut Queue| {
        let lost = queue.died(0, &mut Vec::new());
        let letters = get_ready(queue, 0);
        (lost.iter().map(|lost| (lost.index, lost.count)).collect(), letters)
    };
    assert!(ticket::claim(&queue.board(0).next, 0));
    let expected: [(Vec<(usize, u32)>, usize); 8] = [
        (vec![(6, 1)], 1), // it was being done: that says nothing about the others
        (vec![], 1),
        (vec![], 1),
        (vec![(7, 1)], 1), // the first item of the chunk; the other one has its own three tries
        (vec![], 1),
        (vec![], 1),
        (vec![(8, 1)], 0),
        (vec![], 0),
    ];
    assert_eq!([(); 8].map(|()| die(&mut queue)), expected);
}

#[test]
fn whatever_is_not_answered_fails_when_a_pool_is_terminated() {
    let mut queue = queue(1, 1);
    for job in [job(10, 4, 3), job(20, 5, 3)] {
        assert!(queue.push(job).is_ok());
        queue.rebalance(&mut Vec::new());
    }
    assert!(ticket::claim(&queue.board(0).next, 0));
    assert!(queue.answered(0, 0, 1).is_some());
    let lost = queue.terminate();
    let lost: Vec<_> = lost.iter().map(|lost| (lost.index, lost.count)).collect();
    assert_eq!(lost, [(11, 3), (20, 5)]);
}

#[test]
fn every_item_is_done_once_whatever_the_order_of_events() {
    // More of them: SIMULATION_SEEDS=100000 cargo test --release -p common --lib simulation
    let seeds = std::env::var("SIMULATION_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(300);
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| World::new(seed).run());
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
