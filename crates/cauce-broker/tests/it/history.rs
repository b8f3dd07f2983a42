//! Streams that are on disk: blocks are written once, read when they are needed, and outlive crashes.

use std::sync::Arc;

use cauce_broker::{Broker, Config, FaultyStorage, Outage, Storage};

use crate::support::{Client, until};

/// Small blocks, and next to none of them in memory.
fn config() -> Config {
    let mut config = Config::default();
    config.segment_bytes = 64 * 1024;
    config.checkpoint_after_bytes = 1024 * 1024;
    config.settings.stream_node_max_entries = 10;
    config.settings.stream_memory = 1000;
    config
}

fn open(storage: &FaultyStorage) -> Broker {
    Broker::open_storage(Arc::new(storage.clone()), config()).expect("the log is whole").0
}

async fn end(broker: Broker, storage: &FaultyStorage) {
    until("the connections end", || broker.connections() == 0).await;
    drop(broker);
    storage.switch_off();
    storage.switch_on();
}

/// What a new start finds.
async fn reopened(broker: Broker, client: Client, storage: &FaultyStorage) -> (Broker, Client) {
    drop(client);
    end(broker, storage).await;
    let broker = open(storage);
    let client = Client::new(&broker);
    (broker, client)
}

async fn add(client: &mut Client, ids: std::ops::Range<u64>) {
    add_to("s", client, ids).await;
}

async fn add_to(stream: &str, client: &mut Client, ids: std::ops::Range<u64>) {
    let commands: Vec<String> = ids.clone().map(|n| format!("XADD {stream} {n}-1 field value-{n}")).collect();
    client.send(&commands.join("\r\n")).await;
    client.send("ECHO end").await;
    let replies = client.read_until("$3|end|").await;
    assert_eq!(replies.matches("-1|").count() as u64, ids.end - ids.start, "{replies}");
}

async fn ask(client: &mut Client, command: &str) -> String {
    client.send(&format!("{command}\r\nECHO end")).await;
    client.read_until("$3|end|").await
}

async fn info(client: &mut Client, name: &str) -> u64 {
    let text = ask(client, "INFO persistence").await;
    let value = text.split(&format!("{name}:")).nth(1).and_then(|rest| rest.split('|').next());
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is in {text}"))
}

fn block_files(storage: &FaultyStorage) -> Vec<String> {
    let mut names = storage.list().expect("the disk works");
    names.retain(|name| name.starts_with("blocks-"));
    names.sort_unstable();
    names
}

#[tokio::test]
async fn blocks_are_written_once_and_read_when_they_are_needed() {
    let storage = FaultyStorage::new(1);
    let broker = open(&storage);
    let mut client = Client::new(&broker);
    add(&mut client, 1..2001).await;
    let all = ask(&mut client, "XRANGE s - +").await;
    let first = broker.checkpoint().expect("the disk works");
    add(&mut client, 2001..2021).await;
    let second = broker.checkpoint().expect("the disk works");
    assert!(second < first / 2, "{first} bytes, then {second}");
    assert_eq!(block_files(&storage).len(), 2);
    drop(client);
    end(broker, &storage).await;
    storage.cut_power();

    let broker = open(&storage);
    let mut client = Client::new(&broker);
    assert_eq!(ask(&mut client, "XLEN s").await, ":2020|$3|end|");
    add(&mut client, 2021..2031).await;
    assert_eq!(info(&mut client, "cauce_block_reads").await, 0, "nothing is read before it is asked for");
    assert_eq!(ask(&mut client, "XRANGE s - 2000-1").await, all);
    let reads = info(&mut client, "cauce_block_reads").await;
    assert!((200..203).contains(&reads), "{reads} blocks of ten entries");
    assert!(info(&mut client, "cauce_block_memory_bytes").await < 20_000, "and let go again");
    for (command, entries) in [("XREVRANGE s 700 690", 11), ("XREAD COUNT 15 STREAMS s 300", 15)] {
        assert_eq!(ask(&mut client, command).await.matches("|field|").count(), entries);
    }
}

#[tokio::test]
async fn what_waits_for_the_disk_keeps_its_order_and_holds_nobody_up() {
    let storage = FaultyStorage::new(1);
    let broker = open(&storage);
    let mut client = Client::new(&broker);
    add(&mut client, 1..501).await;
    broker.checkpoint().expect("the disk works");
    drop(client);
    end(broker, &storage).await;
    let broker = open(&storage);
    let (mut client, mut other) = (Client::new(&broker), Client::new(&broker));
    storage.delay_reads(std::time::Duration::from_millis(20));
    client.send("PING a\r\nXRANGE s 7 7-1\r\nPING b\r\nXDEL s 7-1\r\nXRANGE s 7 7-1\r\nPING c").await;
    // The one reads for twenty milliseconds at least; the other asks meanwhile.
    let began = std::time::Instant::now();
    other.ask("SET k v\r\nGET k", "+OK|$1|v|").await;
    assert!(began.elapsed() < std::time::Duration::from_millis(20), "{:?}", began.elapsed());
    client.expect("$1|a|*1|*2|$3|7-1|*2|$5|field|$7|value-7|$1|b|:1|*0|$1|c|").await;
}

#[tokio::test]
async fn an_altered_block_fails_what_needs_it_and_nothing_else() {
    let storage = FaultyStorage::new(1);
    let broker = open(&storage);
    let mut client = Client::new(&broker);
    add(&mut client, 1..501).await;
    broker.checkpoint().expect("the disk works");
    drop(client);
    end(broker, &storage).await;
    let name = block_files(&storage).remove(0);
    storage.open(&name).expect("it is there").write_at(100, b"altered").expect("the disk works");
    let broker = open(&storage);
    let mut client = Client::new(&broker);
    let refusal = ask(&mut client, "XRANGE s 1 3").await;
    assert!(
        refusal
            .starts_with("-ERR a part of the stream's history cannot be read from disk (block file 1, byte ")
    );
    assert!(refusal.contains("its checksum is another than it was"), "{refusal}");
    assert!(ask(&mut client, "XDEL s 1-1").await.starts_with("-ERR a part of the stream's history"));
    assert!(
        ask(&mut client, "EVAL \"return redis.call('xrange', 's', '1', '3')\" 0")
            .await
            .starts_with("-ERR a part")
    );
    assert_eq!(ask(&mut client, "XRANGE s 400 409-1").await.matches("|field|").count(), 10);
    assert_eq!(ask(&mut client, "XLEN s").await, ":500|$3|end|");
    assert_eq!(info(&mut client, "cauce_block_read_errors").await, 3);
}

#[tokio::test]
async fn files_of_blocks_that_are_gone_are_let_go() {
    let storage = FaultyStorage::new(1);
    let broker = open(&storage);
    let mut client = Client::new(&broker);
    for round in 0..4 {
        add(&mut client, round * 500 + 1..round * 500 + 501).await;
        broker.checkpoint().expect("the disk works");
    }
    assert_eq!(block_files(&storage).len(), 4);
    // Half of the second and a little of the third stay: the one is written anew, with the other.
    client.ask("XTRIM s MINID 950", ":949|").await;
    client.ask("XDEL s 1700-1", ":1|").await;
    let expected = ask(&mut client, "XRANGE s - +").await;
    broker.checkpoint().expect("the disk works");
    add(&mut client, 2001..2002).await;
    broker.checkpoint().expect("the disk works");
    let files = block_files(&storage);
    assert!(!files.contains(&"blocks-000000000001".to_owned()), "{files:?}");
    assert!(!files.contains(&"blocks-000000000002".to_owned()), "{files:?}");
    assert_eq!(ask(&mut client, "XRANGE s - 2000-1").await, expected);
    let (broker, mut client) = reopened(broker, client, &storage).await;
    assert_eq!(ask(&mut client, "XRANGE s - 2000-1").await, expected);
    client.ask("DEL s", ":1|").await;
    broker.checkpoint().expect("the disk works");
    assert_eq!(block_files(&storage).len(), 0, "nothing is left");
}

/// A checkpoint of changes left out streams that had not changed but whose blocks it had written anew, and let go the files that only the checkpoint
/// before named: the next start did not find them.
#[tokio::test]
async fn blocks_that_are_moved_are_found_although_their_stream_did_not_change() {
    let storage = FaultyStorage::new(1);
    let broker = open(&storage);
    let mut client = Client::new(&broker);
    add(&mut client, 1..301).await;
    add_to("doomed", &mut client, 1..2001).await;
    broker.checkpoint().expect("the disk works");
    assert_eq!(block_files(&storage), ["blocks-000000000001"], "both are in it");
    let expected = ask(&mut client, "XRANGE s - +").await;
    client.ask("DEL doomed", ":1|").await;
    broker.checkpoint().expect("the disk works");
    // It is mostly unused now, as the next one knows.
    client.ask("SET k v", "+OK|").await;
    broker.checkpoint().expect("the disk works");
    let files = block_files(&storage);
    assert!(!files.is_empty() && !files.contains(&"blocks-000000000001".to_owned()), "{files:?}");
    let (_broker, mut client) = reopened(broker, client, &storage).await;
    assert_eq!(ask(&mut client, "XRANGE s - +").await, expected);
}

/// Whatever happens to the disk while checkpoints are written, no entry that was confirmed is lost and none that was
/// deleted comes back.
#[tokio::test]
async fn checkpoints_may_be_interrupted_at_any_moment() {
    let seeds = std::env::var("CAUCE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    let mut interrupted = 0;
    for seed in 0..seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let storage = FaultyStorage::new(seed);
        let mut next = 1;
        let mut first = 1;
        for _ in 0..3 {
            let broker = open(&storage);
            let mut client = Client::new(&broker);
            let expected: usize = (next - first) as usize;
            let found = ask(&mut client, "XRANGE s - +").await;
            assert_eq!(found.matches("|field|").count(), expected, "seed {seed}");
            assert!(expected == 0 || found.contains(&format!("|{first}-1|")), "seed {seed}");
            for _ in 0..3 {
                let count = rng.u64(1..150);
                add(&mut client, next..next + count).await;
                next += count;
                first += rng.u64(..count);
                ask(&mut client, &format!("XTRIM s MINID {first}")).await;
                if rng.bool() {
                    // What the checkpoint meets, the log may meet too: nothing is asked for while that may be.
                    let outage = if rng.bool() { Outage::Power } else { Outage::Error(28) };
                    storage.plan(storage.calls() + rng.u64(1..14), outage);
                    interrupted += usize::from(broker.checkpoint().is_err());
                    storage.plan_nothing();
                    // The log may have met it instead, or as well.
                    if storage.is_off() || broker.is_full() {
                        break;
                    }
                } else {
                    broker.checkpoint().expect("the disk works");
                }
            }
            drop(client);
            storage.switch_off();
            end(broker, &storage).await;
            storage.cut_power();
        }
    }
    assert!(interrupted > seeds as usize / 4, "{interrupted} checkpoints were interrupted");
}
