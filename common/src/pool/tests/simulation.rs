//! The pool under every order of events that chance comes upon: workers that start, claim, answer, die at any moment; jobs of
//! one item and of many, large ones, large results. Nothing here is a process or a thread, so a million events take seconds,
//! and a failure can be repeated: it names its seed.
//!
//! What holds after every event: no item is done twice or lost; a death costs at most one item, and only one that was started;
//! no worker is idle while another one holds items that it has not started.

use super::world::{Item, World};
use super::{Rng, tries};
use crate::error::Error;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn check(world: &World) {
    let queue = world.shared.queue();
    queue.assert_order();
    queue.assert_nobody_idles();
    for fake in world.workers.iter().flatten() {
        assert!(
            !fake.link.process.killed.load(Relaxed),
            "a worker was killed that did nothing wrong"
        );
    }
}

fn run(seed: u64) {
    let mut rng = Rng(seed);
    let workers = 1 + rng.below(4);
    let max_tasks = if rng.one_in(3) {
        1 + rng.below(5) as u64
    } else {
        u64::MAX
    };
    let load = rng.pick(&[6, 20, 60]); // much to do, or little
    let ahead = rng.pick(&[2, 64]); // with more, several travel together
    let mut world = World::new(rng, workers, max_tasks, 12, ahead);
    for _ in 0..400 {
        let worker = world.rng.below(workers);
        if world.rng.one_in(load) {
            world.submit();
        } else if world.rng.one_in(4) {
            world.collect();
        } else if world.rng.one_in(50) {
            assert!(
                (0..20).any(|_| !world.collect()),
                "the collector does not sleep although nothing happens"
            );
        } else if world.rng.one_in(100) {
            if let Some(fake) = &mut world.workers[worker] {
                fake.dead = true; // the pool hears of it later
            }
        } else {
            if let Some(fake) = world.workers[worker].as_mut().filter(|_| world.rng.one_in(60)) {
                fake.paused = !fake.paused;
            }
            world.advance(worker);
        }
        check(&world);
    }
    assert!(world.answer_all(check), "items are left: {:?}", world.record.items());
    assert!(
        world
            .record
            .items()
            .iter()
            .all(|item| matches!(item, Item::Delivered | Item::Lost))
    );
    world.finish();
}

#[test]
fn every_item_is_done_once_whatever_the_order_of_events() {
    // More of them: SIMULATION_SEEDS=100000 cargo test --release -p common --lib simulation
    for seed in 0..tries("SIMULATION_SEEDS", 300) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

/// A pool of workers that are ready, whose collector sleeps.
fn world(workers: usize) -> World {
    let mut world = World::new(Rng(0), workers, u64::MAX, 12, 2);
    (0..workers).for_each(|worker| get_ready(&mut world, worker));
    while world.collect() {}
    world
}

fn get_ready(world: &mut World, worker: usize) {
    while !world.shared.queue().slot(worker).ready {
        world.advance(worker);
        world.collect();
    }
}

/// The worker goes on until it has started an item.
fn start_item(world: &mut World, worker: usize) -> usize {
    loop {
        match &world.workers[worker] {
            Some(fake) if fake.is_in_task() => return fake.current.unwrap(),
            _ => assert!(world.advance(worker), "there is nothing to start"),
        }
    }
}

/// The worker has started an item, and finishes it.
fn finish_item(world: &mut World, worker: usize) {
    while world.workers[worker].as_ref().unwrap().current.is_some() {
        world.advance(worker);
    }
}

fn kill(world: &mut World, worker: usize) {
    world.workers[worker].as_mut().unwrap().dead = true;
    assert!(world.advance(worker));
}

/// The indices of what each worker was sent, and of what waits.
fn places(world: &World) -> (Vec<Vec<usize>>, Vec<usize>) {
    let queue = world.shared.queue();
    let flat = |ranges: Vec<Range<usize>>| ranges.into_iter().flatten().collect();
    let sent = (0..world.workers.len()).map(|worker| flat(queue.slot(worker).unanswered()));
    (sent.collect(), flat(queue.waiting()))
}

#[test]
fn tasks_are_dispatched_in_order_and_what_comes_back_goes_to_the_front() {
    let mut world = world(2);
    for count in [1, 1, 1, 1, 1, 3] {
        world.submit_items(count);
    }
    assert_eq!([0, 1].map(|worker| start_item(&mut world, worker)), [0, 1]);
    while world.collect() {}
    assert_eq!(places(&world), (vec![vec![0, 2], vec![1, 3]], vec![4, 5, 6, 7]));
    kill(&mut world, 0);
    assert_eq!(world.record.items()[0], Item::Lost);
    assert_eq!(places(&world), (vec![vec![], vec![1, 3]], vec![2, 4, 5, 6, 7]));
    // Another one takes its place, and what waits behind an item elsewhere is taken back for it.
    get_ready(&mut world, 0);
    assert_eq!(places(&world), (vec![vec![2, 3], vec![1, 4]], vec![5, 6, 7]));
    assert_eq!(start_item(&mut world, 0), 2);
    finish_item(&mut world, 0);
    assert_eq!(start_item(&mut world, 0), 3);
    finish_item(&mut world, 1);
    assert_eq!(start_item(&mut world, 1), 4);
    while world.collect() {}
    assert_eq!(places(&world), (vec![vec![3, 5, 6, 7], vec![4]], vec![]));
    // A worker runs dry: what the other one has not started is divided between them.
    finish_item(&mut world, 1);
    while world.collect() {}
    assert_eq!(places(&world), (vec![vec![3, 7], vec![5, 6]], vec![]));
    assert!(world.answer_all(check));
    world.finish();
}

#[test]
fn short_tasks_travel_together_and_remain_tasks_of_their_own() {
    let mut world = world(1);
    for count in [1, 1, 1, 2] {
        world.wake_collector();
        (0..count).for_each(|_| world.submit_items(1));
        world.ring();
    }
    let queue = world.shared.queue();
    assert_eq!(queue.slot(0).unanswered(), [0..1, 1..2]);
    assert_eq!(queue.waiting(), vec![2..5; 1], "one job, to which others were added");
    drop(queue);
    for item in 0..5 {
        assert_eq!(start_item(&mut world, 0), item);
        finish_item(&mut world, 0);
        world.ring();
        assert_eq!(world.record.items()[item], Item::Delivered, "as soon as it is done");
    }
    world.finish();
}

/// What is sent to the other worker after a task that has become slow, and has one of the same `size` behind it.
fn behind_a_slow_task(size: usize) -> Vec<usize> {
    let mut world = world(2);
    world.shared.queue().learn(true);
    world.wake_collector();
    (0..8).for_each(|_| world.submit_large(1, size));
    world.ring();
    assert!(places(&world).0[1].ends_with(&[6, 7]));
    for (worker, done, slow) in [(1, vec![1, 3], 6), (0, vec![0, 2, 4], 5)] {
        for item in done {
            assert_eq!(start_item(&mut world, worker), item);
            finish_item(&mut world, worker);
        }
        assert_eq!(start_item(&mut world, worker), slow);
    }
    world.ring();
    world.shared.queue().learn(false);
    (0..20).for_each(|_| world.submit_large(1, size));
    world.ring();
    for _ in 0..10 {
        finish_item(&mut world, 0);
        world.ring();
        start_item(&mut world, 0);
    }
    places(&world).0[1].clone()
}

#[test]
fn a_task_that_later_ones_overtake_is_moved_even_from_the_middle_of_a_job() {
    for (size, what) in [(40, "alone"), (3, "together with that")] {
        let left = behind_a_slow_task(size);
        assert!(!left.contains(&7), "{what}, 7 waits behind 6: {left:?}");
    }
}

#[test]
fn whatever_is_not_answered_fails_when_a_pool_is_terminated() {
    let mut world = world(1);
    world.submit_items(1);
    start_item(&mut world, 0);
    finish_item(&mut world, 0);
    while world.collect() {}
    for count in [4, 5] {
        world.submit_items(count);
    }
    start_item(&mut world, 0);
    world.shared.end(false);
    world.submit_items(1);
    let items = world.record.items();
    assert_eq!(items[0], Item::Delivered);
    assert_eq!(items[1..], [Item::Terminated; 10]);
    assert_eq!(world.shared.items_pending(), 0);
    assert!(world.workers[0].as_ref().unwrap().link.process.killed.load(Relaxed));
    assert!(world.shared.queue().shutting_down && world.shared.result().is_ok());
}

#[test]
fn a_pool_whose_workers_never_get_ready_gives_up() {
    let mut world = World::new(Rng(0), 2, u64::MAX, 12, 2);
    world.submit_items(3);
    let error = || Error::Terminated; // whatever it is
    let mut pauses = Vec::new();
    // One that cannot be started is tried longer than one that ends at once.
    for _ in 0..119 {
        assert!(world.shared.strike(0, error(), false).is_some());
    }
    for _ in 0..7 {
        pauses.extend(
            world
                .shared
                .strike(1, error(), true)
                .map(|pause: Duration| pause.as_millis()),
        );
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 320]);
    // A worker that gets ready forgives all of them.
    get_ready(&mut world, 1);
    for _ in 0..119 {
        assert!(world.shared.strike(0, error(), false).is_some());
    }
    kill(&mut world, 1);
    for _ in 0..7 {
        assert!(world.shared.strike(1, error(), true).is_some());
    }
    assert!(!world.shared.queue().shutting_down && world.shared.items_pending() == 3);
    assert!(world.shared.strike(0, error(), false).is_none(), "that is enough");
    assert!(world.shared.queue().shutting_down && world.shared.items_pending() == 0);
    assert_eq!(world.record.items(), [Item::Failed; 3]);
    assert!(matches!(world.shared.result(), Err(Error::Initializer(_))));
    world.submit_items(1);
    while world.collect() {}
    assert_eq!(world.record.items()[3], Item::Failed);
}

#[test]
fn a_large_job_is_given_up_when_three_workers_died_before_they_had_all_of_it() {
    let mut world = world(1);
    let size = 100_000; // more than fits into a ring
    world.submit_large(2, size);
    for expected in [Item::Waiting, Item::Waiting, Item::Lost] {
        get_ready(&mut world, 0);
        while !world.workers[0].as_ref().unwrap().is_reading() {
            world.advance(0);
            world.collect();
        }
        kill(&mut world, 0);
        assert_eq!(world.record.items(), [expected, Item::Waiting]);
    }
    // The other item has its own three tries.
    get_ready(&mut world, 0);
    while !world.workers[0].as_ref().unwrap().is_in_task() {
        world.advance(0);
        world.collect();
    }
    assert!(world.answer_all(check));
    assert_eq!(world.record.items(), [Item::Lost, Item::Delivered]);
    world.finish();
}

#[test]
fn a_large_job_that_no_worker_survives_fails_item_by_item() {
    let mut world = world(1);
    let items = 600;
    world.submit_large(items, 20);
    let deaths = 300; // more than a byte can count
    for death in 1..=deaths {
        get_ready(&mut world, 0);
        while !world.workers[0].as_ref().unwrap().is_reading() {
            assert!(world.advance(0) || world.collect());
        }
        kill(&mut world, 0);
        assert_eq!(world.record.unanswered(), items - death.max(2) + 2);
    }
    assert!(world.answer_all(check));
    world.finish();
}

#[test]
fn what_a_stopped_worker_has_not_started_is_done_by_others() {
    let mut world = world(2);
    world.submit_items(6);
    assert_eq!([0, 1].map(|worker| start_item(&mut world, worker)), [0, 3]);
    world.workers[0].as_mut().unwrap().paused = true;
    assert!(world.advance(0));
    assert_eq!(places(&world), (vec![vec![0], vec![3, 4, 5, 1, 2]], vec![]));
    while world.record.unanswered() > 1 {
        assert!(world.advance(1) | world.collect());
    }
    assert_eq!(world.record.items()[0], Item::Running);
    assert!(world.answer_all(check));
    world.finish();
}
