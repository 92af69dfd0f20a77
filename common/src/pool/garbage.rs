//! What a worker sends is not trusted to be whole: messages that are cut, flipped, repeated or made up. Whatever comes, the
//! pool does not panic, counts no item twice, takes no more memory than came in, and what it believed is delivered.

use super::queue::{Job, Queue};
use super::results::{Answer, Sink};
use super::service::{End, Session, Shared};
use super::simulation::{Chance, pipe};
use super::wire::{Kind, ResultHeader, push_item, skip_items, split_item};
use crate::sys::{CodeRef, SharedMemory};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ITEMS: usize = 8;

/// Counts what is delivered for each item.
#[derive(Default)]
struct Counter([AtomicUsize; ITEMS]);

impl Sink for Counter {
    fn deliver(&self, index: usize, answer: Answer) -> bool {
        let count = if let Answer::Values { count, .. } = answer {
            count as usize
        } else {
            1
        };
        for item in &self.0[index..index + count] {
            assert_eq!(item.fetch_add(1, Ordering::Relaxed), 0, "an item is answered twice");
        }
        false
    }
    fn wake(&self) {}
}

/// A pool of one worker that was sent a chunk of [`ITEMS`] items.
fn pool(sink: &Arc<Counter>) -> Shared {
    let (memory, handle) = SharedMemory::new(1).unwrap();
    let mut queue = Queue::new(1, 1, memory, u64::MAX);
    queue.ready(0, pipe(), &mut Vec::new());
    queue.feed(0, &mut Vec::new());
    let shared = Shared::new(queue, handle, 1, None);
    let items = vec![0; ITEMS].into(); // empty items: a length of 0 each
    shared.submit([Job {
        items,
        sink: sink.clone(),
        entry: CodeRef::NONE,
        index: 0,
        count: ITEMS as u32,
    }]);
    shared
}

/// A message as a worker could send it.
fn message(chance: &mut Chance) -> Vec<u8> {
    let kind = [
        Kind::Ready,
        Kind::NotReady,
        Kind::Here,
        Kind::Values,
        Kind::Values,
        Kind::Values,
        Kind::Fault,
    ];
    let kind = kind[chance.below(kind.len())];
    let count = 1 + chance.below(3);
    let mut payload = Vec::new();
    match kind {
        Kind::Values => {
            for _ in 0..count {
                let length = [0, 1, 200, 300][chance.below(4)];
                let fill = |bytes: &mut Vec<u8>| {
                    bytes.resize(bytes.len() + length, 7);
                    Ok::<(), ()>(())
                };
                push_item(&mut payload, fill).unwrap();
            }
        }
        Kind::Fault | Kind::NotReady => {
            let fault = crate::function::Fault::Panic("message".to_owned(), None);
            payload = postcard::to_stdvec(&fault).unwrap();
        }
        _ => {}
    }
    let count = if kind == Kind::Values { count as u32 } else { 1 };
    let header = ResultHeader {
        kind,
        count,
        first: chance.below(ITEMS) as u64,
        length: payload.len() as u64,
    };
    [&header.to_bytes()[..], &payload].concat()
}

/// Damages bytes in one of the ways in which they get damaged.
fn damage(bytes: &mut Vec<u8>, chance: &mut Chance) {
    match chance.below(5) {
        0 => bytes.truncate(chance.below(bytes.len() + 1)),
        1 => {
            let place = chance.below(bytes.len().max(1));
            bytes
                .iter_mut()
                .skip(place)
                .take(1)
                .for_each(|byte| *byte ^= 1 << chance.below(8));
        }
        2 => bytes.iter_mut().for_each(|byte| *byte = chance.below(256) as u8),
        3 => {
            let place = chance.below(bytes.len() + 1);
            bytes.splice(
                place..place,
                (0..9).map(|_| chance.below(256) as u8).collect::<Vec<_>>(),
            );
        }
        _ => {} // a true message, perhaps in a wrong place
    }
}

#[test]
fn whatever_comes_from_a_worker_nothing_is_believed_twice() {
    // More of them: GARBAGE_INPUTS=1000000 cargo test --release -p common --lib garbage
    let inputs = std::env::var("GARBAGE_INPUTS")
        .ok()
        .and_then(|inputs| inputs.parse().ok())
        .unwrap_or(20_000);
    let mut chance = Chance(42);
    let (mut believed, mut ended) = (0, 0);
    for _ in 0..inputs {
        let sink = Arc::new(Counter::default());
        let shared = pool(&sink);
        let mut session = Session::new(&shared, 0, "PoolWorker-1", pipe());
        let mut bytes = Vec::new();
        for _ in 0..1 + chance.below(3) {
            let mut next = message(&mut chance);
            damage(&mut next, &mut chance);
            bytes.extend_from_slice(&next);
        }
        assert!(session.understand(&bytes) <= bytes.len());
        ended += usize::from(matches!(session.end, End::Garbage));
        let answered = sink.0.iter().filter(|item| item.load(Ordering::Relaxed) == 1).count();
        believed += answered;
        assert_eq!(
            shared.pending(),
            ITEMS - answered,
            "an item is neither delivered nor waited for"
        );
    }
    assert!(
        believed > inputs / 100 && ended > inputs / 100,
        "{believed} items believed, {ended} workers ended"
    );
}

#[test]
fn made_up_lengths_cost_nothing() {
    let mut chance = Chance(43);
    for _ in 0..100_000 {
        let bytes: Vec<u8> = (0..chance.below(40))
            .map(|_| [0, 1, 254, 255][chance.below(4)])
            .collect();
        if let Some((item, rest)) = split_item(&bytes) {
            assert!(item.len() + rest.len() < bytes.len());
        }
        skip_items(&bytes, u32::MAX - chance.below(3) as u32);
    }
}
