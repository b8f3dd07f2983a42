//! Streams whose sealed blocks are all on disk and leave memory at once answer as those in memory do.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use cauce_engine::stream::{BlockFile, BlockFiles, BlockPlace, BlockSpot};
use cauce_engine::{BlockStore, Engine, Outcome, Outputs, SessionId, Settings};
use proptest::prelude::*;

use crate::streams_replay::command;
use crate::support::World;

thread_local! {
    /// Whether blocks may be read now: else a command reads what it has not asked for.
    static READABLE: Cell<bool> = const { Cell::new(false) };
}

fn reading<T>(work: impl FnOnce() -> T) -> T {
    let before = READABLE.replace(true);
    let result = work();
    READABLE.set(before);
    result
}

/// A disk with one file.
#[derive(Debug, Default)]
struct Disk {
    bytes: Mutex<Vec<u8>>,
    broken: Mutex<HashSet<u64>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}

impl BlockFile for Disk {
    fn number(&self) -> u64 {
        1
    }

    fn read(&self, spot: BlockSpot) -> io::Result<Arc<[u8]>> {
        assert!(READABLE.get(), "a command reads a block that it has not asked for");
        if held(&self.broken).contains(&spot.offset) {
            return Err(io::Error::other("it is broken"));
        }
        let from = spot.offset as usize;
        Ok(held(&self.bytes)[from..from + spot.len as usize].into())
    }
}

struct Store(Arc<Disk>);

impl BlockStore for Store {
    type Error = Infallible;

    fn put(&mut self, block: &[u8]) -> Result<BlockPlace, Infallible> {
        let mut bytes = held(&self.0.bytes);
        let spot = BlockSpot { offset: bytes.len() as u64, len: block.len() as u32, sum: 0 };
        bytes.extend_from_slice(block);
        Ok(BlockPlace { file: Arc::clone(&self.0) as _, spot })
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct OneFile(Arc<Disk>);

impl BlockFiles for OneFile {
    fn find(&self, number: u64) -> Option<Arc<dyn BlockFile>> {
        (number == 1).then(|| Arc::clone(&self.0) as _)
    }
}

/// A world that keeps as little of streams in memory as it can.
struct OnDisk {
    world: World,
    disk: Arc<Disk>,
    /// How often a command had to be run again.
    rounds: usize,
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.stream_node_max_entries = 3;
    settings.stream_memory = 1;
    settings
}

impl OnDisk {
    fn new() -> Self {
        Self { world: World::with(settings()), disk: Arc::default(), rounds: 0 }
    }

    fn store(&mut self) {
        let bytes = self.world.engine.snapshot().store_blocks(&mut Store(Arc::clone(&self.disk)));
        let Ok(bytes) = bytes;
        self.world.engine.stored(bytes);
    }

    /// Runs a command to its end; `free` lets it read what it has not asked for.
    fn run(&mut self, session: u64, command: &str, free: bool) -> (Outcome, String) {
        self.store();
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        READABLE.set(free);
        let mut ran = self.world.run_args(session, &args);
        let mut again = 0;
        while ran.0 == Outcome::NeedsBlocks {
            again += 1;
            assert!(again <= 2, "{command}: everything is asked for at once");
            assert_eq!(ran.1, "", "no reply is given twice");
            ran = self.resume(session);
        }
        self.rounds += again;
        READABLE.set(false);
        ran
    }

    /// Runs a command whose answer is as expected.
    fn tell(&mut self, session: u64, command: &str, free: bool) {
        let (outcome, reply) = self.run(session, command, free);
        assert!(outcome == Outcome::Replied && !reply.starts_with('-'), "{command}: {reply}");
    }

    fn resume(&mut self, session: u64) -> (Outcome, String) {
        let absent = std::mem::take(&mut self.world.out.absent);
        assert!(!absent.is_empty());
        for block in &absent {
            let bytes = reading(|| block.place().read()).expect("it was written");
            self.world.engine.supply(block, &bytes);
        }
        self.world.resume(session, None)
    }

    fn tick(&mut self) {
        reading(|| self.world.tick());
    }
}

/// Runs the same commands in memory and on disk.
fn compare(commands: &[(u64, String, u64)]) -> usize {
    let mut memory = World::with(settings());
    let mut disk = OnDisk::new();
    let mut waiting = HashSet::new();
    for (session, command, ms) in commands {
        if !waiting.contains(session) {
            let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            let expected = memory.run_args(*session, &args);
            // Who waited may be served, and a transaction runs, without being run again; and how far a trimming goes that
            // passes over what groups need is not known before.
            let free = !waiting.is_empty() || command == "EXEC" || command.contains("ACKED");
            let found = disk.run(*session, command, free);
            assert_eq!(found, expected, "{command}");
            assert_eq!(disk.world.delivered(), memory.delivered(), "{command}");
            if expected.0 == Outcome::Blocked {
                waiting.insert(*session);
            }
        }
        for delivery in &memory.out.deliveries {
            waiting.retain(|&id| delivery.to != SessionId::new(id));
        }
        memory.advance_ms(*ms);
        disk.world.advance_ms(*ms);
        memory.tick();
        disk.tick();
        assert_eq!(disk.world.delivered(), memory.delivered(), "as time goes on");
        for delivery in &memory.out.deliveries {
            waiting.retain(|&id| delivery.to != SessionId::new(id));
        }
    }
    assert!(reading(|| disk.world.engine.dump()) == memory.engine.dump(), "the state is another one");
    assert_eq!(disk.world.records, memory.records);
    assert_recovers(&mut disk);
    disk.rounds
}

/// The state comes back from where its blocks are, and from that and the records behind it.
fn assert_recovers(disk: &mut OnDisk) {
    disk.store();
    let dump = reading(|| disk.world.engine.dump());
    for snapshot in disk.world.snapshots.iter().chain([&disk.world.engine.snapshot()]) {
        let mut engine = Engine::new(settings());
        engine.set_block_files(Box::new(OneFile(Arc::clone(&disk.disk))));
        snapshot.write(|record| engine.restore(record)).expect("a snapshot can be taken in");
        engine.restored(snapshot.position());
        let position = engine.position().0 as usize;
        reading(|| {
            let mut records = disk.world.records[position..].iter();
            records.try_for_each(|record| engine.replay(record)).expect("the records fit");
            assert!(engine.dump() == dump, "the state came back as another one");
        });
    }
}

proptest! {
    #[test]
    fn commands_do_not_notice_where_blocks_are(
        commands in prop::collection::vec((1..4_u64, more(), prop_oneof![9 => 0..20_u64, 1 => 500..3000_u64]), 0..150),
    ) {
        compare(&commands);
    }
}

/// Commands that look at more of a stream than those of [`command`].
fn more() -> impl Strategy<Value = String> {
    let at = |n: u64| 1_700_000_000_000 + n * 10;
    let read = (0..8_u8, 0..40_u64, 0..40_u64, 1..8_u64).prop_map(move |(kind, n, m, count)| match kind {
        0 => format!("XRANGE s {} {} COUNT {count}", at(n), at(m)),
        1 => format!("XREVRANGE s {} {} COUNT {count}", at(n), at(m)),
        2 => "XRANGE s - +".to_owned(),
        3 => format!("XREAD COUNT {count} STREAMS s t {} 0", at(n)),
        4 => "XINFO STREAM s".to_owned(),
        5 => format!("XINFO STREAM s FULL COUNT {count}"),
        6 => format!("XREAD MAXCOUNT {count} STREAMS s t 0 {}", at(m)),
        _ => "XREAD STREAMS s t + +".to_owned(),
    });
    prop_oneof![3 => command(), 1 => read, 2 => (0..9_u64).prop_map(|n| format!("XADD s * f {n}"))]
}

#[test]
fn history_is_brought_in_and_let_go_again() {
    let mut commands: Vec<(u64, String, u64)> =
        (0..100).map(|n| (1, format!("XADD s {}-1 f {n}", n + 1), 1)).collect();
    for command in [
        "XRANGE s - + COUNT 10",
        "XRANGE s 20 70",
        "XREVRANGE s 80 3 COUNT 20",
        "XREAD COUNT 5 STREAMS s 50",
        "XGROUP CREATE s g 10",
        "XREADGROUP GROUP g c COUNT 30 STREAMS s >",
        "XREADGROUP GROUP g c COUNT 30 STREAMS s 0",
        "XCLAIM s g d 0 15-1 30-1 99-1 FORCE",
        "XAUTOCLAIM s g e 0 - COUNT 10",
        "XDEL s 1-1 44-1 45-1 99-1",
        "XTRIM s MAXLEN 70",
        "XINFO STREAM s",
        "XINFO STREAM s FULL COUNT 5",
        "XADD s MAXLEN = 50 200-1 f v",
        "COPY s t",
        "XRANGE t - +",
        "RENAME t u",
        "XREVRANGE u + - COUNT 3",
        "XTRIM u MINID 60",
        "DEL s",
        "XRANGE u - +",
    ] {
        commands.push((2, command.to_owned(), 1));
    }
    let rounds = compare(&commands);
    assert!(rounds > 10, "only {rounds} commands were run again");
}

#[test]
fn a_script_and_a_transaction_read_at_once() {
    let mut disk = OnDisk::new();
    for n in 1..=20 {
        disk.tell(1, &format!("XADD s {n}-1 f {n}"), false);
    }
    let (outcome, reply) = disk.run(1, "EVAL return(#redis.call('xrange','s','-','+')) 0", true);
    assert_eq!((outcome, reply.as_str()), (Outcome::Replied, ":20"));
    disk.tell(1, "MULTI", false);
    disk.tell(1, "XRANGE s 4 4-1", false);
    let (outcome, reply) = disk.run(1, "EXEC", true);
    assert_eq!((outcome, reply.as_str()), (Outcome::Replied, "*1 *1 *2 $3 4-1 *2 $1 f $1 4"));
}

#[test]
fn a_block_that_cannot_be_read_fails_only_what_needs_it() {
    let mut disk = OnDisk::new();
    for n in 1..=20 {
        disk.tell(1, &format!("XADD s {n}-1 f {n}"), false);
    }
    disk.store();
    let (outcome, _) = disk.world.run_args(1, &[b"XRANGE", b"s", b"1", b"1-1"]);
    assert_eq!(outcome, Outcome::NeedsBlocks);
    let place = disk.world.out.absent[0].place().clone();
    let (outcome, reply) = disk.world.resume(1, Some("block file 1, byte 0: it is broken"));
    assert_eq!(outcome, Outcome::Replied);
    assert_eq!(
        reply,
        "-ERR a part of the stream's history cannot be read from disk (block file 1, byte 0: it is broken); \
         nothing else is affected"
    );
    held(&disk.disk.broken).insert(place.spot.offset);
    // In a script too, and nothing is deleted.
    let (_, reply) = disk.run(1, "EVAL return(redis.call('xdel','s','1-1')) 0", true);
    assert!(reply.starts_with("-ERR a part of the stream's history cannot be read from disk"), "{reply}");
    assert_eq!(disk.run(1, "XLEN s", false).1, ":20");
    assert_eq!(disk.run(1, "XRANGE s 10 10-1", false).1, "*1 *2 $4 10-1 *2 $1 f $2 10");
}

#[test]
fn a_command_may_not_ask_for_more_than_the_limit() {
    let mut disk = OnDisk::new();
    for n in 1..=20 {
        disk.tell(1, &format!("XADD s {n}-1 f {n}"), false);
    }
    disk.tell(1, "CONFIG SET stream-read-max 60", false);
    let (_, reply) = disk.run(1, "XRANGE s - +", false);
    assert!(reply.starts_with("-ERR the command needs more history from disk at once"), "{reply}");
    assert_eq!(disk.run(1, "XRANGE s - + COUNT 1", false).1, "*1 *2 $3 1-1 *2 $1 f $1 1");
}

#[test]
fn memory_of_blocks_stays_within_its_limit() {
    let mut disk = OnDisk::new();
    disk.tell(1, "CONFIG SET stream-memory 2000", false);
    for n in 1..=3000 {
        disk.tell(1, &format!("XADD s {n}-1 f {n}"), false);
    }
    let in_memory = |disk: &mut OnDisk| {
        disk.world.out = Outputs::default();
        let (_, info) = disk.run(1, "INFO persistence", false);
        let bytes = info.split("cauce_block_memory_bytes:").nth(1).and_then(|rest| rest.split(' ').next());
        bytes.and_then(|bytes| bytes.parse::<u64>().ok())
    };
    for n in 0..60 {
        disk.tell(1, &format!("XRANGE s {} + COUNT 20", n * 50), false);
    }
    let bytes = in_memory(&mut disk);
    assert!(bytes.is_none_or(|bytes| bytes <= 2000), "{bytes:?} bytes");
    assert!(disk.rounds >= 50, "what was let go is read again");
}

#[test]
fn moved_blocks_are_read_where_they_are() {
    let mut disk = OnDisk::new();
    for n in 1..=1000 {
        disk.tell(1, &format!("XADD s {n}-1 f {n}"), false);
    }
    disk.store();
    // They know the old places.
    disk.world.snapshots.clear();
    let (old, new) = (Arc::clone(&disk.disk), Arc::new(Disk::default()));
    let mut store = Store(Arc::clone(&new));
    let mut moved = HashMap::new();
    for place in disk.world.engine.snapshot().block_places() {
        let Ok(to) = store.put(&reading(|| place.read()).expect("it is there"));
        moved.insert(place.spot.offset, to);
    }
    let mut at = Some((0, 0, 0));
    while let Some(from) = at {
        at = disk.world.engine.relocate(from, &|place| moved.get(&place.spot.offset).cloned());
    }
    held(&old.bytes).clear();
    let (_, reply) = disk.run(1, "XRANGE s - +", false);
    assert!(reply.starts_with("*1000 *2 $3 1-1 ") && reply.ends_with("$4 1000"), "all of it is there");
    assert_eq!(Arc::strong_count(&old), 2, "only this test holds the old file");
}
