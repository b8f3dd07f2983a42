//! What an entry costs: nanoseconds and bytes, in the data structures and through the engine.
//!
//! `cargo bench -p cauce-engine --bench streams`. Each figure is the best of several rounds on one thread.

use std::hint::black_box;
use std::time::Instant;

use cauce_engine::stream::{BlockLimits, Entries, Group, Stream, StreamId};
use cauce_engine::{Engine, Outcome, Outputs, SessionId, SessionInfo, Settings, Timestamp};

const MILLION: u64 = 1_000_000;
const START_MS: u64 = 1_700_000_000_000;

fn main() {
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with("--")).unwrap_or_default();
    let benches: [(&str, fn()); 9] = [
        ("append", append),
        ("range", range),
        ("bytes_per_entry", bytes_per_entry),
        ("bytes_per_pending", bytes_per_pending),
        ("deliver_and_ack", deliver_and_ack),
        ("ack_front", ack_front),
        ("engine_xadd", engine_xadd),
        ("engine_group_100", || engine_group(100)),
        ("engine_group_1", || engine_group(1)),
    ];
    for (name, bench) in benches {
        if name.contains(&only) {
            bench();
        }
    }
}

/// The best of five rounds, per operation.
fn report(name: &str, operations: u64, mut round: impl FnMut() -> std::time::Duration) {
    let best = (0..5).map(|_| round()).min().unwrap_or_default();
    println!("{name:<44} {:>8.1} ns", best.as_nanos() as f64 / operations as f64);
}

fn timed(work: impl FnOnce()) -> std::time::Duration {
    let from = Instant::now();
    work();
    from.elapsed()
}

/// `action` is the same in all entries, `key_1` differs, the others are the same or differ as asked for.
fn fill(entries: &mut Entries, count: u64, all_differ: bool) {
    for n in 0..count {
        let one = format!("{n:08}");
        let other: &[u8] = if all_differ { one.as_bytes() } else { b"constant" };
        let fields = [
            (&b"action"[..], &b"created"[..]),
            (b"key_1", one.as_bytes()),
            (b"key_2", other),
            (b"key_3", other),
        ];
        entries.append(StreamId::new(START_MS + n, 0), fields.into_iter(), BlockLimits::default());
    }
}

fn append() {
    for (name, all_differ) in [("append, one value differs", false), ("append, three values differ", true)] {
        report(name, MILLION, || {
            let mut entries = Entries::default();
            timed(|| fill(black_box(&mut entries), MILLION, all_differ))
        });
    }
    report("(formatting the value, part of both)", MILLION, || {
        timed(|| (0..MILLION).for_each(|n| drop(black_box(format!("{n:08}")))))
    });
}

fn range() {
    let mut entries = Entries::default();
    fill(&mut entries, MILLION, false);
    report("range of 100, per entry with its fields", MILLION, || {
        timed(|| {
            for from in (0..MILLION).step_by(100) {
                for entry in entries.range(StreamId::new(START_MS + from, 0), StreamId::MAX).take(100) {
                    for field in entry.fields() {
                        black_box(field);
                    }
                }
            }
        })
    });
    report("lookup of one entry by id", MILLION, || {
        timed(|| {
            for n in 0..MILLION {
                let id = StreamId::new(START_MS + n.wrapping_mul(7_919) % MILLION, 0);
                black_box(entries.contains(id));
            }
        })
    });
}

fn bytes_per_entry() {
    for (name, all_differ) in [("memory, one value differs", false), ("memory, three values differ", true)] {
        let before = resident_bytes();
        let mut entries = Entries::default();
        fill(&mut entries, 4 * MILLION, all_differ);
        let per_entry = (resident_bytes() - before) as f64 / (4 * MILLION) as f64;
        println!("{name:<44} {per_entry:>8.1} bytes per entry");
        black_box(entries);
    }
}

/// A stream of small entries and a group at its beginning.
fn stream_with_group(count: u64) -> Stream {
    let mut stream = Stream::default();
    fill(stream.entries_mut(), count, false);
    stream.create_group(b"g", Group::new(StreamId::MIN, Some(0)));
    stream
}

fn deliver_all(stream: &mut Stream, consumers: usize) {
    let (group, entries) = stream.group_mut(b"g").expect("the group was made");
    let counters = entries.counters();
    let indexes: Vec<_> = (0..consumers).map(|n| group.create_consumer(&n.to_le_bytes(), START_MS)).collect();
    for (n, entry) in entries.range(StreamId::MIN, StreamId::MAX).enumerate() {
        group.deliver(&counters, entry.id(), indexes[n / 100 % consumers], START_MS);
    }
}

fn bytes_per_pending() {
    for consumers in [1, 10] {
        let mut stream = stream_with_group(4 * MILLION);
        let before = resident_bytes();
        deliver_all(&mut stream, consumers);
        let per_entry = (resident_bytes() - before) as f64 / (4 * MILLION) as f64;
        println!("{:<44} {per_entry:>8.1} bytes per entry", format!("pending, {consumers} consumers"));
    }
}

fn deliver_and_ack() {
    report("deliver and ack in batches of 100", MILLION, || {
        let mut stream = stream_with_group(MILLION);
        timed(|| {
            let (group, entries) = stream.group_mut(b"g").expect("the group was made");
            let counters = entries.counters();
            let consumer = group.create_consumer(b"c", START_MS);
            for from in (0..MILLION).step_by(100) {
                for n in from..from + 100 {
                    group.deliver(&counters, StreamId::new(START_MS + n, 0), consumer, START_MS);
                }
                for n in from..from + 100 {
                    assert!(group.ack(StreamId::new(START_MS + n, 0)));
                }
            }
        })
    });
}

fn ack_front() {
    for consumers in [1, 10] {
        report(&format!("ack of a million pending, {consumers} consumers"), MILLION, || {
            let mut stream = stream_with_group(MILLION);
            deliver_all(&mut stream, consumers);
            timed(|| {
                let (group, _) = stream.group_mut(b"g").expect("the group was made");
                for n in 0..MILLION {
                    assert!(group.ack(StreamId::new(START_MS + n, 0)));
                }
            })
        });
    }
}

struct World {
    engine: Engine,
    out: Outputs,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let mut engine = Engine::new(Settings::default());
        let now = Timestamp::from_millis(START_MS);
        engine.open_session(now, SessionId::new(1), SessionInfo::default());
        Self { engine, out: Outputs::default(), now }
    }

    fn run(&mut self, args: &[&[u8]]) {
        let outcome = self.engine.apply(self.now, SessionId::new(1), args, &mut self.out);
        assert_eq!(outcome, Outcome::Replied);
    }

    /// Adds a million entries; the outputs are emptied every 100 commands, as a broker does after a batch.
    fn add_million(&mut self) {
        for n in 0..MILLION {
            let value = n.to_le_bytes();
            self.run(&[
                b"XADD",
                b"s",
                b"*",
                b"action",
                b"created",
                b"key_1",
                &value,
                b"key_2",
                b"constant",
                b"key_3",
                b"constant",
            ]);
            if n % 100 == 99 {
                self.now = Timestamp::from_millis(self.now.millis() + 1);
                self.out.clear();
            }
        }
    }
}

fn engine_xadd() {
    report("engine: XADD of 4 fields", MILLION, || {
        let mut world = World::new();
        timed(|| world.add_million())
    });
}

fn engine_group(count: u64) {
    let mut read = Vec::new();
    let mut ack = Vec::new();
    for _ in 0..3 {
        let mut world = World::new();
        world.add_million();
        world.run(&[b"XGROUP", b"CREATE", b"s", b"g", b"0"]);
        let text = count.to_string();
        let ids: Vec<String> = (0..MILLION).map(|n| format!("{}-{}", START_MS + n / 100, n % 100)).collect();
        let (mut reading, mut acking) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
        for batch in ids.chunks(count as usize) {
            world.out.clear();
            reading += timed(|| {
                world.run(&[
                    b"XREADGROUP",
                    b"GROUP",
                    b"g",
                    b"c",
                    b"COUNT",
                    text.as_bytes(),
                    b"STREAMS",
                    b"s",
                    b">",
                ]);
            });
            let mut args: Vec<&[u8]> = vec![b"XACK", b"s", b"g"];
            args.extend(batch.iter().map(String::as_bytes));
            acking += timed(|| world.run(&args));
        }
        read.push(reading);
        ack.push(acking);
    }
    let best = |rounds: &[std::time::Duration]| {
        rounds.iter().min().map_or(0.0, |best| best.as_nanos() as f64 / MILLION as f64)
    };
    println!("{:<44} {:>8.1} ns", format!("engine: XREADGROUP COUNT {count}, per entry"), best(&read));
    println!("{:<44} {:>8.1} ns", format!("engine: XACK of {count}, per entry"), best(&ack));
}

/// Resident memory of this process; 0 where `/proc` is not there.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}
