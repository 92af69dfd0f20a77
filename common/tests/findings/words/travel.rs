//! What travels: left-over bytes, channels' ends, and code of serde's that fails on the way.

use crate::hangs::said;
use crate::programs::{careful, workers};
use crate::{in_time, square, told};
use common::{Error, Pool, Process};
use ipc_channel::ipc::{self, IpcBytesSender, IpcReceiver, IpcSender, IpcSharedMemory};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use std::{fs, process};

/// Every way in which an argument travels: what became of the call.
fn as_argument<A: common::Message + Send + Clone>(take: fn(A) -> u8, bad: A) -> Vec<(&'static str, Result<(), Error>)> {
    let pool = Pool::new(1).unwrap();
    let pids = workers(&pool);
    let process = Process::new(take, bad.clone()).start().and_then(|p| p.join()).map(drop);
    let daemon = Process::new(take, bad.clone())
        .daemon(true)
        .start()
        .and_then(|p| p.join())
        .map(drop);
    let one = || [bad.clone()];
    let outcomes = vec![
        ("Process", process),
        ("a daemon", daemon),
        ("apply", pool.apply(take, bad.clone()).map(drop)),
        ("apply_async", pool.apply_async(take, bad.clone()).get().map(drop)),
        ("map", pool.map(take, one()).map(drop)),
        ("map_async", pool.map_async(take, one()).get().map(drop)),
        ("map_with_chunksize", pool.map_with_chunksize(take, one(), 1).map(drop)),
        ("imap", pool.imap(take, one()).next().unwrap().map(drop)),
        (
            "imap_unordered",
            pool.imap_unordered(take, one()).next().unwrap().map(drop),
        ),
    ];
    assert_eq!(workers(&pool), pids, "no worker was lost");
    pool.close().join().unwrap();
    outcomes
}

/// Every way in which a result travels.
fn as_result<R: common::Message>(give: fn(()) -> R) -> Vec<(&'static str, Result<(), Error>)> {
    let pool = Pool::new(1).unwrap();
    let pids = workers(&pool);
    let process = Process::new(give, ()).start().unwrap();
    let outcomes = vec![
        ("Process", process.join().map(drop)),
        ("Process again", process.join_timeout(Duration::from_secs(60)).map(drop)),
        ("apply", pool.apply(give, ()).map(drop)),
        ("apply_async", pool.apply_async(give, ()).get().map(drop)),
        ("map", pool.map(give, [()]).map(drop)),
        ("map_async", pool.map_async(give, [()]).get().map(drop)),
        ("map_with_chunksize", pool.map_with_chunksize(give, [()], 1).map(drop)),
        ("imap", pool.imap(give, [()]).next().unwrap().map(drop)),
        (
            "imap_unordered",
            pool.imap_unordered(give, [()]).next().unwrap().map(drop),
        ),
    ];
    assert_eq!(workers(&pool), pids, "no worker was lost");
    pool.close().join().unwrap();
    outcomes
}

#[track_caller]
fn all_refused(what: &str, outcomes: Vec<(&str, Result<(), Error>)>, word: &str) {
    for (way, outcome) in outcomes {
        match outcome {
            Ok(()) => panic!("{what}: {way} said nothing"),
            Err(error) => assert!(told(&error).contains(word), "{what}: {way}: {}", told(&error)),
        }
    }
}

// Bytes that are left over.

/// Without a quality, the bytes of the others are taken for it, and some are left over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Picture {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    quality: Option<u8>,
    level: u8,
    name: String,
}

fn picture(quality: Option<u8>) -> Picture {
    Picture {
        quality,
        level: 1,
        name: "0\0abc".to_owned(),
    }
}

/// Writes two bytes and reads one.
#[derive(Clone, Debug, PartialEq)]
struct HalfRead;

impl Serialize for HalfRead {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (1_u8, 2_u8).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for HalfRead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HalfRead, D::Error> {
        u8::deserialize(deserializer).map(|_| HalfRead)
    }
}

#[test]
fn w1_what_is_left_over_after_decoding_is_an_error() {
    let _careful = careful(60);
    assert!(
        as_argument(|p: Picture| p.level, picture(Some(5)))
            .iter()
            .all(|(_, outcome)| outcome.is_ok())
    );
    assert!(
        as_result(|()| picture(Some(5)))
            .iter()
            .all(|(_, outcome)| outcome.is_ok())
    );
    all_refused(
        "a picture",
        as_argument(|p: Picture| p.level, picture(None)),
        "argument",
    );
    all_refused("a picture", as_result(|()| picture(None)), "result");
    all_refused("half", as_argument(|_: HalfRead| 1, HalfRead), "argument");
    all_refused("half", as_result(|()| HalfRead), "result");
}

#[test]
fn w1_an_item_with_bytes_left_over_is_an_error_in_its_place() {
    let _careful = careful(60);
    let pool = Pool::new(2).unwrap();
    let quality = |i| if i == 4 { None } else { Some(i) };
    let error = pool
        .map_with_chunksize(
            |p: Picture| p.quality.unwrap(),
            (0..10).map(|i| picture(quality(i))),
            10,
        )
        .unwrap_err();
    assert!(matches!(error, Error::Item { index: 4, .. }), "{error}");
    let error = pool
        .map_with_chunksize(|i| picture((i != 4).then_some(i)), 0..10, 10)
        .unwrap_err();
    assert!(matches!(error, Error::Item { index: 4, .. }), "{error}");
    for (i, result) in (0..).zip(pool.imap(|p: Picture| p.quality.unwrap(), (0..10).map(|i| picture(quality(i))))) {
        assert!(
            result.as_ref().map_or(i == 4, |&value| value == i && i != 4),
            "{i}: {result:?}"
        );
    }
    for (i, result) in (0..).zip(pool.imap(|i| picture((i != 4).then_some(i)), 0..10)) {
        assert!(
            result.as_ref().map_or(i == 4, |value| *value == picture(Some(i))),
            "{i}: {result:?}"
        );
    }
    pool.close().join().unwrap();
}

#[test]
fn w1_left_over_bytes_of_an_initializers_argument_are_an_error_of_the_pool() {
    let _careful = careful(60);
    in_time(|| {
        let pool = Pool::builder()
            .processes(1)
            .initializer(|_: Picture| (), picture(None))
            .build();
        let error = pool.and_then(|pool| pool.apply(square, 3)).unwrap_err();
        assert!(told(&error).contains("argument"), "{error}");
    });
}

// Ends of channels.

#[derive(Serialize, Deserialize)]
struct Holds {
    name: String,
    sender: Option<IpcSender<u32>>,
}

fn sender() -> IpcSender<u32> {
    ipc::channel().unwrap().0
}

fn receiver() -> IpcReceiver<u32> {
    ipc::channel().unwrap().1
}

fn holds() -> Holds {
    Holds {
        name: "it holds one".to_owned(),
        sender: Some(sender()),
    }
}

/// The descriptors that are open in this process, if that can be seen. Not on Windows: there `ipc-channel` keeps a handle of
/// each end that arrived or was refused (and what Wine shows as `/dev/fd` is what all its processes together have open).
fn descriptors() -> usize {
    if cfg!(windows) {
        return 0;
    }
    fs::read_dir("/dev/fd").map_or(0, |entries| entries.count())
}

#[track_caller]
fn says_channel<R>(what: &str, outcome: Result<R, Error>) {
    match outcome {
        Ok(_) => panic!("{what}: it arrived"),
        Err(error) => {
            let said = told(&error);
            assert!(
                said.contains("channel") || said.contains("shared memory"),
                "{what}: {said}"
            );
        }
    }
}

/// What this thread sends next is only what it is.
fn nothing_stray_travels() {
    let (sender, receiver) = ipc::channel::<u32>().unwrap();
    sender.send(5).unwrap();
    assert_eq!(receiver.recv().unwrap(), 5);
    let ((sender, a), (b, receiver)) = (ipc::channel::<u32>().unwrap(), ipc::channel::<u32>().unwrap());
    sender.send(5).unwrap();
    let add = |(a, b): (IpcReceiver<u32>, IpcSender<u32>)| b.send(a.recv().unwrap() + 1).unwrap();
    Process::new(add, (a, b)).start().unwrap().join().unwrap();
    assert_eq!(receiver.recv().unwrap(), 6);
}

#[test]
fn w2_b57_a_channels_end_in_the_argument_of_a_task_is_a_clear_error() {
    let _careful = careful(60);
    let pool = Pool::new(1).unwrap();
    let pids = workers(&pool);
    let before = (descriptors(), pool.apply(|()| descriptors(), ()).unwrap());
    for _ in 0..50 {
        says_channel("a sender", pool.apply(|_: IpcSender<u32>| (), sender()));
        says_channel("a receiver", pool.apply(|_: IpcReceiver<u32>| (), receiver()));
        says_channel(
            "bytes",
            pool.apply(|_: IpcBytesSender| (), ipc::bytes_channel().unwrap().0),
        );
        says_channel(
            "memory",
            pool.apply(|_: IpcSharedMemory| (), IpcSharedMemory::from_byte(1, 9)),
        );
        says_channel("a struct", pool.apply_async(|_: Holds| (), holds()).get());
        let several = || vec![sender(), sender()];
        says_channel("several", pool.map(|_: (u8, Vec<IpcSender<u32>>)| (), [(1, several())]));
        says_channel("imap", pool.imap(|_: Holds| (), [holds()]).next().unwrap());
        says_channel(
            "imap_unordered",
            pool.imap_unordered(|_: Holds| (), [holds()]).next().unwrap(),
        );
    }
    assert_eq!((descriptors(), pool.apply(|()| descriptors(), ()).unwrap()), before);
    nothing_stray_travels();
    // In the middle of a chunk.
    let item = |i| (i, if i == 4 { vec![sender()] } else { Vec::new() });
    let error = pool
        .map_with_chunksize(|(i, _): (u8, Vec<IpcSender<u32>>)| i, (0..10).map(item), 10)
        .unwrap_err();
    assert!(matches!(error, Error::Item { index: 4, .. }), "{error}");
    nothing_stray_travels();
    assert_eq!(workers(&pool), pids);
    pool.close().join().unwrap();
}

#[test]
fn w2_b57_a_channels_end_in_a_result_is_a_clear_error() {
    let _careful = careful(60);
    let pool = Pool::new(1).unwrap();
    let pids = workers(&pool);
    let before = (descriptors(), pool.apply(|()| descriptors(), ()).unwrap());
    for _ in 0..50 {
        says_channel("a sender", pool.apply(|()| sender(), ()));
        says_channel("a receiver", pool.apply(|()| receiver(), ()));
        says_channel("bytes", pool.apply(|()| ipc::bytes_channel().unwrap().0, ()));
        says_channel("memory", pool.apply(|()| IpcSharedMemory::from_byte(1, 9), ()));
        says_channel("a struct", pool.apply_async(|()| holds(), ()).get());
        says_channel("map", pool.map(|i: u8| (i, vec![sender(), sender()]), [1, 2]));
        says_channel("imap", pool.imap(|()| holds(), [()]).next().unwrap());
        says_channel(
            "imap_unordered",
            pool.imap_unordered(|()| holds(), [()]).next().unwrap(),
        );
    }
    // A worker sends as its next message only what it is, too.
    pool.apply(|()| nothing_stray_travels(), ()).unwrap();
    assert_eq!((descriptors(), pool.apply(|()| descriptors(), ()).unwrap()), before);
    nothing_stray_travels();
    assert_eq!(workers(&pool), pids);
    pool.close().join().unwrap();
}

#[test]
fn w2_b57_a_channels_end_in_the_result_of_a_process_is_a_clear_error() {
    let _careful = careful(60);
    let before = descriptors();
    for _ in 0..17 {
        let p = Process::new(|()| sender(), ()).start().unwrap();
        says_channel("a sender", p.join());
        says_channel("a sender again", p.join());
        says_channel("a receiver", Process::new(|()| receiver(), ()).start().unwrap().join());
        says_channel(
            "a struct",
            Process::new(|()| holds(), ()).daemon(true).start().unwrap().join(),
        );
    }
    assert_eq!(descriptors(), before);
    // With channels among the arguments, too.
    let (sender, receiver) = ipc::channel::<u32>().unwrap();
    says_channel(
        "given back",
        Process::new(|sender: IpcSender<u32>| sender, sender)
            .start()
            .unwrap()
            .join(),
    );
    assert!(receiver.recv().is_err(), "nobody has the other end");
    nothing_stray_travels();
}

static SENDER: OnceLock<(Mutex<IpcSender<u32>>, Vec<u8>)> = OnceLock::new();

fn prepare((sender, memory): (IpcSender<u32>, IpcSharedMemory)) {
    assert!(
        SENDER.set((Mutex::new(sender), memory.to_vec())).is_ok(),
        "once in each worker"
    );
}

fn send_own_pid(_: ()) {
    let (sender, memory) = SENDER.get().unwrap();
    assert_eq!(memory, &[7; 99]);
    sender.lock().unwrap().send(process::id()).unwrap();
}

#[test]
fn b57_a_channels_end_arrives_in_every_worker_through_the_initializer_also_in_one_that_replaces_another() {
    let _careful = careful(60);
    for tasks in [None, Some(2)] {
        let (sender, receiver) = ipc::channel().unwrap();
        let received = |count: usize| -> Vec<u32> {
            let next = |_| {
                receiver
                    .try_recv_timeout(Duration::from_secs(20))
                    .expect("a number comes")
            };
            (0..count).map(next).collect()
        };
        let builder = Pool::builder().processes(2);
        let builder = tasks
            .into_iter()
            .fold(builder, |builder, tasks| builder.maxtasksperchild(tasks));
        let builder = builder.initializer(prepare, (sender, IpcSharedMemory::from_byte(7, 99)));
        let pool = builder.build().unwrap();
        if tasks.is_none() {
            let pids = workers(&pool);
            pool.map_with_chunksize(send_own_pid, [(); 20], 1).unwrap();
            assert!(received(20).iter().all(|pid| pids.contains(pid)));
            for _ in 0..3 {
                assert!(
                    pool.apply(|code| process::exit(code), 3)
                        .map(|value: u8| value)
                        .is_err()
                );
            }
            let later = workers(&pool);
            assert!(!later.is_subset(&pids));
            pool.map_with_chunksize(send_own_pid, [(); 20], 1).unwrap();
            assert!(received(20).iter().all(|pid| later.contains(pid)));
        } else {
            pool.map_with_chunksize(send_own_pid, [(); 20], 1).unwrap();
            let different: std::collections::BTreeSet<_> = received(20).into_iter().collect();
            assert!(different.len() >= 10, "{different:?}");
        }
        pool.close().join().unwrap();
        assert!(receiver.recv().is_err(), "nobody has the other end any more");
    }
    nothing_stray_travels();
}

/// So many channels' ends and regions of shared memory.
fn ends_and_regions(ends: usize, regions: usize) -> (Vec<IpcSender<u32>>, Vec<IpcSharedMemory>) {
    let memory = |number| IpcSharedMemory::from_byte(number as u8, 9);
    (
        (0..ends).map(|_| sender()).collect(),
        (0..regions).map(memory).collect(),
    )
}

fn check((ends, regions): (Vec<IpcSender<u32>>, Vec<IpcSharedMemory>)) {
    assert!(ends.iter().all(|end| end.send(5).is_err()), "nobody receives");
    for (number, memory) in regions.iter().enumerate() {
        assert_eq!(memory[..], [number as u8; 9]);
    }
}

#[test]
fn b57_more_ends_and_regions_than_a_message_can_hold_are_a_clear_error_for_a_process_and_for_a_pool() {
    let _careful = careful(60);
    in_time(|| {
        let before = descriptors();
        let regions = [20, 32, 40, 62, 63, 100].map(|regions| (0, regions));
        for (ends, regions) in regions
            .into_iter()
            .chain([(31, 31), (40, 30), (62, 0), (63, 0), (100, 100)])
        {
            let what = format!("{ends} ends, {regions} regions");
            let started = Process::new(check, ends_and_regions(ends, regions)).start();
            let joined = started.and_then(|p| p.join());
            let pool = Pool::builder()
                .processes(2)
                .initializer(check, ends_and_regions(ends, regions))
                .build();
            let squared = pool.and_then(|pool| pool.apply(square, 3));
            if joined.is_ok() {
                assert!(matches!(squared, Ok(9)), "{what}: {squared:?}");
            } else {
                says_channel(&what, joined);
                says_channel(&what, squared);
                // Other systems may have no limit.
                assert!(ends + regions > 62, "{what}");
            }
        }
        nothing_stray_travels();
        assert_eq!(descriptors(), before);
    });
}

// Code of serde's that fails, or panics.

/// Panics on its way there, or, with a `true`, on its arrival.
#[derive(Clone, Copy, Debug)]
struct Explodes(bool);

impl Serialize for Explodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0, "boom");
        serializer.serialize_u8(9)
    }
}

impl<'de> Deserialize<'de> for Explodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Explodes, D::Error> {
        u8::deserialize(deserializer)?;
        panic!("boom")
    }
}

/// What a call says that gives no value, be it as an error or as a panic.
#[track_caller]
fn says<R>(call: impl FnOnce() -> Result<R, Error>) -> String {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(_)) => panic!("there is a value"),
        Ok(Err(error)) => told(&error),
        Err(payload) => said(&*payload),
    }
}

#[test]
fn w3_a_result_whose_decoding_panics_says_the_same_again() {
    let _careful = careful(60);
    in_time(|| {
        let pool = Pool::new(1).unwrap();
        let pids = workers(&pool);
        let minute = Duration::from_secs(60);
        let task = pool.apply_async(Explodes, true);
        let map = pool.map_async(Explodes, [true, true]);
        let p = Process::new(Explodes, true).start().unwrap();
        let calls: [(&str, &dyn Fn() -> String); 6] = [
            ("get", &|| says(|| task.get())),
            ("get_timeout", &|| says(|| task.get_timeout(minute))),
            ("get of a map", &|| says(|| map.get())),
            ("get_timeout of a map", &|| says(|| map.get_timeout(minute))),
            ("join", &|| says(|| p.join())),
            ("join_timeout", &|| says(|| p.join_timeout(minute))),
        ];
        for (what, call) in calls {
            let three = [(); 3].map(|()| call());
            assert!(
                three[0].contains("boom") && three.iter().all(|said| *said == three[0]),
                "{what}: {three:?}"
            );
        }
        assert!(task.ready() && map.ready());
        assert_eq!((p.is_alive(), p.exitcode()), (false, Some(0)));

        // In the midst of others, which follow.
        for ordered in [true, false] {
            let imap = if ordered { Pool::imap } else { Pool::imap_unordered };
            let mut results = imap(&pool, |i: u8| (i == 2).then_some(Explodes(true)), 0..5);
            let said: Vec<_> = (0..5)
                .map(|_| catch_unwind(AssertUnwindSafe(|| results.next().unwrap())).map_err(|payload| said(&*payload)))
                .collect();
            assert!(catch_unwind(AssertUnwindSafe(|| results.next())).is_ok_and(|end| end.is_none()));
            let fine = said.iter().filter(|outcome| matches!(outcome, Ok(Ok(None)))).count();
            assert_eq!(fine, 4, "{said:?}");
            let exploded = match &said[2] {
                Ok(Err(error)) => told(error),
                Err(said) => said.clone(),
                Ok(Ok(_)) if !ordered => "boom".to_owned(),
                Ok(Ok(_)) => String::new(),
            };
            assert!(exploded.contains("boom"), "{said:?}");
        }
        assert_eq!(workers(&pool), pids);
        pool.close().join().unwrap();
    });
}

#[test]
fn w3_what_panics_elsewhere_on_its_way_is_told_and_harms_nobody() {
    let _careful = careful(60);
    in_time(|| {
        let pool = Pool::new(1).unwrap();
        let pids = workers(&pool);
        let take = |_: Explodes| 5_u8;
        for _ in 0..10 {
            for arrives in [false, true] {
                let said = [
                    says(|| pool.apply(take, Explodes(arrives))),
                    says(|| pool.map(take, [Explodes(arrives)])),
                    says(|| pool.imap(take, [Explodes(arrives)]).next().unwrap()),
                    says(|| pool.imap_unordered(take, [Explodes(arrives)]).next().unwrap()),
                    says(|| pool.apply(Explodes, arrives)),
                    says(|| pool.map(Explodes, [arrives])),
                    says(|| pool.imap(Explodes, [arrives]).next().unwrap()),
                ];
                assert!(said.iter().all(|said| said.contains("boom")), "{said:?}");
            }
            assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
        }
        assert_eq!(workers(&pool), pids);
        pool.close().join().unwrap();
        for arrives in [false, true] {
            let argument = says(|| Process::new(take, Explodes(arrives)).start().and_then(|p| p.join()));
            let result = says(|| Process::new(Explodes, arrives).start().and_then(|p| p.join()));
            let initializer = says(|| {
                let pool = Pool::builder()
                    .processes(1)
                    .initializer(take, Explodes(arrives))
                    .build();
                pool.and_then(|pool| pool.apply(square, 3))
            });
            for said in [argument, result, initializer] {
                assert!(said.contains("boom"), "{said}");
            }
        }
    });
}

/// The value of a panic. When it is dropped, there is another panic, with the next such value.
struct Fuse(u8);

impl Drop for Fuse {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Fuse(self.0 - 1))
        }
    }
}

/// Panics with such a value on its way.
#[derive(Deserialize)]
struct Lights(u8);

impl Serialize for Lights {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic_any(Fuse(self.0))
    }
}

#[test]
fn w3_a_panic_whose_value_panics_when_it_is_dropped_is_told_and_harms_nobody() {
    let _careful = careful(60);
    let explode = |fuse: u8| -> () { panic_any(Fuse(fuse)) };
    let pool = Pool::new(1).unwrap();
    let pids = workers(&pool);
    for fuse in 0..4 {
        let process = Process::new(explode, fuse).start().unwrap().join();
        for outcome in [process, pool.apply(explode, fuse)] {
            assert!(matches!(outcome, Err(Error::Panicked { .. })), "{fuse}: {outcome:?}");
        }
        let argument = Process::new(|_: Lights| (), Lights(fuse)).start();
        assert!(matches!(argument, Err(Error::Encode { .. })), "{fuse}: {argument:?}");
    }
    assert_eq!(workers(&pool), pids);
    pool.close().join().unwrap();
}
