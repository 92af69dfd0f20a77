//! A worker that has gone wrong may write anything anywhere in its page, at any time. Whatever that is, the pool does not
//! panic, delivers no item twice, loses count of none, takes no more memory than came in; at most one item fails, and all others
//! are answered, by that worker or by the one that takes its place. Nothing of this touches what other workers do.

use super::world::{Item, World};
use super::{Rng, tries};
use crate::os::{CAPACITY, Page, Ring};
use crate::pool::ring::{INLINE, Kind, ResultHeader, words};
use crate::sync::{AtomicU32, AtomicU64};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;

/// Memory for what comes from two workers: two full rings and two large results, and again as much because vectors double.
const MEMORY: usize = 2 * 2 * (8 * CAPACITY as usize + 12_000 + 1000);

/// A number as it gets there by accident, or as the most cunning accident would have it.
fn number(rng: &mut Rng, old: u64) -> u64 {
    match rng.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => rng.next(),
        3 => old.wrapping_add(CAPACITY),
        4 => old ^ 1 << rng.below(64),
        5 => rng.below(100) as u64,
        6 => old.wrapping_sub(rng.below(20) as u64),
        _ => old.wrapping_add(rng.below(20) as u64),
    }
}

/// The largest length that a header can name.
const ENDLESS: u64 = (1 << 40) - 1;

/// The head of a result, as a worker could write it, but not now.
fn header(rng: &mut Rng, due: u64) -> u64 {
    let kind = rng.pick(&[
        Kind::Started,
        Kind::Ready,
        Kind::Fatal,
        Kind::Value,
        Kind::Value,
        Kind::Error,
    ]);
    let item = if rng.one_in(2) { due } else { number(rng, due) };
    let length = rng.pick(&[0, 8, 9, INLINE as u64, INLINE as u64 + 1, ENDLESS, ENDLESS, ENDLESS - 1]);
    ResultHeader::new(kind, item, length).to_word()
}

fn set(rng: &mut Rng, field: &AtomicU64) {
    field.store(number(rng, field.load(Relaxed)), Relaxed);
}

fn set_flag(rng: &mut Rng, flag: &AtomicU32) {
    flag.store(rng.pick(&[0, 0, 1, 2, u32::MAX]), Relaxed);
}

fn set_field(rng: &mut Rng, page: &Page) {
    let ring = rng.pick(&[&page.tasks, &page.results]);
    match rng.below(8) {
        0 | 1 => set(rng, &page.next),
        2 => set(rng, &ring.head),
        3 => set(rng, &ring.tail),
        4 => set(rng, &page.kept),
        5 => set_flag(rng, &ring.reader_asleep),
        6 => ring.start.store(
            rng.pick(&[0, 1, 8, u64::MAX, ring.start.load(Relaxed).wrapping_add(1)]),
            Relaxed,
        ),
        _ => set_flag(rng, &ring.writer_asleep),
    }
}

/// Some words near the place where a ring is in use.
fn set_words(rng: &mut Rng, ring: &Ring) {
    let from = rng
        .pick(&[&ring.head, &ring.tail])
        .load(Relaxed)
        .wrapping_sub(rng.below(4) as u64);
    for position in from..from.saturating_add(1 + rng.below(8) as u64) {
        let word = number(rng, ring.read(position));
        ring.write(position, word);
    }
}

/// A result that nobody has, with a length that may be absurd. It is seen at once, or with the next one that is published, or if
/// the worker dies.
fn forge_result(rng: &mut Rng, page: &Page) {
    let ring = &page.results;
    let tail = ring.tail.load(Relaxed);
    let head = header(rng, page.next.load(Relaxed).wrapping_sub(1));
    if rng.one_in(3) {
        page.kept.store(tail, Relaxed);
        ring.write(tail, head);
        ring.write(tail.wrapping_add(rng.below(4) as u64), rng.pick(&[0, 1, 4, 8, 255]));
        return;
    }
    let at = rng.pick(&[tail, ring.head.load(Relaxed)]);
    ring.write(at, head);
    let length = rng.pick(&[
        0,
        8,
        INLINE as u64,
        INLINE as u64 + 1,
        1 << 40,
        u64::MAX - 16,
        u64::MAX - 15,
        u64::MAX,
    ]);
    ring.write(at.wrapping_add(1), length);
    let end = tail
        .max(at)
        .wrapping_add(rng.pick(&[0, 1, 2, 3, 1 + INLINE as u64 / 8]));
    if !rng.one_in(3) {
        ring.tail.store(end, Relaxed);
    }
}

/// All of it.
fn fill(rng: &mut Rng, page: &Page) {
    let word = rng.pick(&[Some(0), Some(u64::MAX), None]);
    let mut word = || word.unwrap_or_else(|| rng.next());
    page.next.store(word(), Relaxed);
    page.kept.store(word(), Relaxed);
    for ring in [&page.tasks, &page.results] {
        (0..CAPACITY).for_each(|position| ring.write(position, word()));
        for field in [&ring.head, &ring.tail] {
            field.store(word(), Relaxed);
        }
        ring.start.store(word(), Relaxed);
        for flag in [&ring.reader_asleep, &ring.writer_asleep] {
            flag.store(word() as u32, Relaxed);
        }
    }
}

/// True: this was no accident.
fn damage(rng: &mut Rng, page: &Page) -> bool {
    match rng.below(100) {
        0 => fill(rng, page),
        1..=44 => set_field(rng, page),
        45..=59 => set_words(rng, &page.results),
        60..=74 => set_words(rng, &page.tasks),
        _ => {
            forge_result(rng, page);
            return true;
        }
    }
    false
}

#[derive(Default)]
struct Seen {
    unharmed: usize,
    replaced: usize,
    lost: usize,
    stuck: usize,
}

/// What has been sent to the first worker may be damaged.
fn taint(world: &World) {
    let sent = world.shared.queue().slot(0).unanswered();
    world.record.taint(sent);
}

fn check(world: &World) {
    let (pending, unanswered) = (world.shared.items_pending(), world.record.unanswered());
    assert_eq!(pending, unanswered, "an item is neither delivered nor waited for");
    assert!(world.memory() < MEMORY, "{} bytes", world.memory());
    world.shared.queue().assert_order();
}

fn run(seed: u64, seen: &mut Seen) {
    let mut rng = Rng(seed);
    let workers = 1 + rng.below(2);
    let in_task = rng.one_in(2); // else at any time, by another thread
    let mut may_hang = !in_task;
    let mut times = 1 + rng.below(3);
    let start = rng.below(30);
    let ahead = rng.pick(&[2, 64]);
    let mut world = World::new(rng, workers, u64::MAX, 60, ahead);
    let mut victim = false;
    for event in 0..60 {
        if world.rng.one_in(12) || event == 5 {
            world.submit();
            taint(&world);
        }
        if let Some(fake) = world.workers[0].as_mut().filter(|_| times > 0 && event >= start) {
            if (!in_task || fake.is_in_task()) && fake.damaged == victim {
                victim = true;
                times -= 1;
                fake.damage(|page| may_hang |= damage(&mut world.rng, page));
            }
        }
        let worker = world.rng.below(workers + 1);
        if worker == workers {
            world.collect();
        } else {
            world.advance(worker);
        }
        taint(&world);
        check(&world);
    }
    if !world.answer_all(|world| {
        taint(world);
        check(world);
    }) {
        seen.stuck += 1;
        assert!(
            may_hang,
            "everybody sleeps, and items are left: {:?}",
            world.record.items()
        );
        // A flag was lost while a worker slept. Its end is the end of that.
        world.workers[0]
            .as_mut()
            .filter(|fake| fake.damaged)
            .expect("another worker is stuck")
            .dead = true;
        assert!(world.answer_all(check), "items are left: {:?}", world.record.items());
    }
    let unharmed = world.workers[0].as_ref().is_some_and(|fake| fake.damaged == victim);
    seen.unharmed += usize::from(unharmed);
    seen.replaced += usize::from(!unharmed);
    let lost = world.record.items().iter().filter(|&&item| item == Item::Lost).count();
    assert!(lost <= 1, "{lost} items are lost");
    seen.lost += lost;
    if let Some(fake) = world.workers[0].as_mut().filter(|fake| fake.deaf) {
        assert!(may_hang);
        fake.dead = true;
    }
    world.finish();
}

#[test]
fn whatever_a_worker_writes_into_its_page_harms_at_most_one_item() {
    // More of them: GARBAGE_INPUTS=1000000 cargo test --release -p common --lib damage
    let inputs = tries("GARBAGE_INPUTS", if cfg!(debug_assertions) { 2_000 } else { 20_000 });
    let mut seen = Seen::default();
    for input in 0..inputs {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(input, &mut seen)));
        assert!(outcome.is_ok(), "input {input}");
    }
    let Seen {
        unharmed,
        replaced,
        lost,
        stuck,
    } = seen;
    println!("{unharmed} workers unharmed, {replaced} replaced, {lost} items lost, {stuck} stuck");
    let enough = inputs as usize / 100;
    assert!(
        unharmed > enough && replaced > enough && lost > enough,
        "{unharmed}, {replaced}, {lost}"
    );
}

/// A worker that is ready, and has begun the first of two items, if there is `something_due`.
fn worker_at_work(something_due: bool) -> World {
    worker_with(if something_due { &[2] } else { &[] })
}

/// How many tasks are sent ahead: enough for several to travel together.
const AHEAD: usize = 64;

/// A worker that is ready, and has begun the first of what was submitted together.
fn worker_with(jobs: &[usize]) -> World {
    let mut world = World::new(Rng(0), 1, u64::MAX, 60, AHEAD);
    while !world.shared.queue().slot(0).ready {
        world.advance(0);
        world.collect();
    }
    while world.collect() {}
    if !jobs.is_empty() {
        world.wake_collector();
        jobs.iter().for_each(|&count| world.submit_items(count));
        world.ring();
        while !world.workers[0].as_ref().unwrap().is_in_task() {
            world.advance(0);
        }
    }
    world
}

/// Was it ended because it had written these words as results?
fn is_ended_for(words: &[u64], something_due: bool) -> bool {
    is_ended(&mut worker_at_work(something_due), words)
}

fn is_ended(world: &mut World, words: &[u64]) -> bool {
    taint(world);
    let link = world.workers[0].as_ref().unwrap().link.clone();
    let ring = &link.page.results;
    let tail = ring.tail.load(Relaxed);
    (tail..).zip(words).for_each(|(at, &word)| ring.write(at, word));
    ring.tail.store(tail + words.len() as u64, Relaxed);
    world.ring();
    let ended = link.process.killed.load(Relaxed);
    assert!(!ended || world.answer_all(check) && world.record.unanswered() == 0);
    ended
}

#[test]
fn a_worker_that_answers_before_it_has_all_arguments_is_ended() {
    let mut world = World::new(Rng(0), 1, u64::MAX, 60, AHEAD);
    while !world.shared.queue().slot(0).ready {
        world.advance(0);
        world.collect();
    }
    while world.collect() {}
    world.submit_large(1, 100_000); // more than fits into a ring
    taint(&world);
    let link = world.workers[0].as_ref().unwrap().link.clone();
    let ring = &link.page.results;
    let tail = ring.tail.load(Relaxed);
    ring.write(tail, ResultHeader::new(Kind::Value, 0, 8).to_word());
    ring.write(tail + 1, 4);
    ring.tail.store(tail + 2, Relaxed);
    world.ring();
    assert!(link.process.killed.load(Relaxed));
    assert!(world.answer_all(check));
}

#[test]
fn a_worker_that_says_what_is_not_due_is_ended() {
    let reply = |kind, item, length: usize| ResultHeader::new(kind, item, length as u64).to_word();
    let value = reply(Kind::Value, 0, 8);
    assert!(!is_ended_for(&[value, 4], true), "the value that is due");
    assert!(!is_ended_for(&[value, 0], true), "both values that are due");
    let large = reply(Kind::Value, 0, INLINE + 1);
    let begun = [vec![large], vec![0; words(INLINE) as usize]].concat();
    assert!(!is_ended_for(&begun, true), "a large one, of which more is to come");
    for (what, words) in [
        ("a large one that nothing has come of", vec![large, 0]),
        ("another item's value", vec![reply(Kind::Value, 1, 8), 4]),
        ("the same value twice", vec![value, 4, value, 4]),
        (
            "more values than it was asked for",
            vec![reply(Kind::Value, 0, 12), 0, 0],
        ),
        ("values, and the beginning of one", vec![value, 5]),
        ("no value", vec![reply(Kind::Value, 0, 0)]),
        ("another item's large value", vec![reply(Kind::Value, 1, INLINE + 1)]),
        ("another item's error", vec![reply(Kind::Error, 1, 8), 0]),
        ("an error that says nothing", vec![reply(Kind::Error, 0, 0)]),
        ("a value that is not all there", vec![value]),
        ("an error that is not all there", vec![reply(Kind::Error, 0, 9), 0]),
        ("a kind that there is not", vec![7 << 60]),
        ("nothing", vec![0]),
        ("more than a ring holds", vec![value; CAPACITY as usize + 1]),
        ("that it begins", vec![reply(Kind::Started, 0, 0)]),
        ("that it is ready", vec![reply(Kind::Ready, 0, 0)]),
        ("that it ends, and not why", vec![reply(Kind::Fatal, 0, 0)]),
    ] {
        assert!(is_ended_for(&words, true), "it says {what}");
    }
    for kind in [Kind::Value, Kind::Error] {
        assert!(
            is_ended_for(&[reply(kind, 0, 0)], false),
            "{kind:?}, with nothing to do"
        );
    }
    // Tasks that travel together are no chunk. (The first ones do not yet.)
    let mut world = worker_with(&[1; 16]);
    while world.shared.queue().slot(0).unanswered()[0].len() < 2 {
        world.advance(0);
        world.ring();
    }
    let due = world.shared.queue().slot(0).unanswered()[0].start as u64;
    let two_at_once = [reply(Kind::Value, due, 8), 0];
    assert!(
        is_ended(&mut world, &two_at_once),
        "it answers two tasks in one message"
    );
    // At once, however much is announced: it would swallow what comes behind it.
    let endless = |kind| [reply(kind, 0, ENDLESS as usize), u64::MAX];
    for kind in [Kind::Started, Kind::Ready, Kind::Fatal] {
        assert!(is_ended_for(&endless(kind), true), "{kind:?} without an end, at work");
        assert!(is_ended_for(&endless(kind), false), "{kind:?} without an end");
    }
    for kind in [Kind::Value, Kind::Error] {
        assert!(
            is_ended_for(&endless(kind), false),
            "{kind:?} without an end, with nothing to do"
        );
    }
}
