use std::sync::Arc;
use std::time::Duration;

use cauce_broker::{Broker, Config, FaultyStorage, Outage};

use crate::support::{Client, until};

const EIO: i32 = 5;
const LOG_FULL: &str = "-MISCONF Errors writing to the AOF file: No space left on device|";

fn config() -> Config {
    let mut config = Config::default();
    config.segment_bytes = 16 * 1024;
    config.checkpoint_after_bytes = 48 * 1024;
    config
}

fn open(storage: &FaultyStorage) -> Broker {
    Broker::open_storage(Arc::new(storage.clone()), config()).expect("the log is whole").0
}

/// Waits until the connections of a broker have ended and the broker with them, as at the end of a process.
async fn end(broker: Broker, storage: &FaultyStorage) {
    until("the connections end", || broker.connections() == 0).await;
    let calls = storage.calls();
    drop(broker);
    // Dropping the last handle ends the log's threads.
    until("the broker ends", || storage.calls() >= calls).await;
}

#[tokio::test]
async fn what_was_there_is_there_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for round in 0..3 {
        let (broker, recovery) = Broker::open(directory.path(), config()).expect("it is free");
        let mut client = Client::new(&broker);
        if round == 0 {
            assert_eq!(recovery.replayed, 0);
            client
                .ask("SET s 1\r\nHSET h f v\r\nXADD x 1-1 f v\r\nXADD x 1-2 f w", "+OK|:1|$3|1-1|$3|1-2|")
                .await;
            client
                .ask(
                    "XGROUP CREATE x g 0\r\nXREADGROUP GROUP g c COUNT 1 STREAMS x >",
                    "+OK|*1|*2|$1|x|*1|*2|$3|1-1|*2|$1|f|$1|v|",
                )
                .await;
        } else {
            assert_eq!((recovery.replayed > 6, recovery.torn), (true, None));
        }
        client.ask("GET s\r\nHGET h f\r\nXLEN x", "$1|1|$1|v|:2|").await;
        client.ask("XPENDING x g", "*4|:1|$3|1-1|$3|1-1|*1|*2|$1|c|$1|1|").await;
        client.ask("CONFIG GET append*", "*4|$11|appendfsync|$6|always|$10|appendonly|$3|yes|").await;
        drop(client);
        until("the connection ends", || broker.connections() == 0).await;
    }
}

#[tokio::test]
async fn a_failed_sync_ends_what_waits_for_it_without_a_reply() {
    let storage = FaultyStorage::new(0);
    let broker = open(&storage);
    let (mut writer, mut reader) = (Client::new(&broker), Client::new(&broker));
    writer.ask("SET a 1", "+OK|").await;
    reader.ask("GET a", "$1|1|").await;
    // One write and one sync for what comes next.
    storage.plan(storage.calls() + 2, Outage::Error(EIO));
    writer.send("SET a 2").await;
    assert_eq!(writer.read_to_end().await, "");
    let failure = broker.failed().await.to_string();
    assert!(failure.contains("cannot sync log-000000000001"), "{failure}");
    // Nor is anybody shown the value that may be lost.
    reader.send("GET a").await;
    assert_eq!(reader.read_to_end().await, "");
}

const LOG_FAILED: &str = "-MISCONF The disk has refused a write: only reads of what is known to be on it are answered; restart the broker when the disk is repaired|";

/// Whatever the disk refuses, a write or a sync of records, in the first segment or at the beginning of the next: what
/// stays answers reads of what was confirmed, and nothing that was not.
#[tokio::test]
async fn what_is_left_of_a_failed_log_can_be_read() {
    let mut lost = 0;
    for seed in 0..40 {
        let storage = FaultyStorage::new(seed);
        let broker = open(&storage);
        if seed % 2 == 0 {
            work(&broker, 0).await;
            assert!(broker.checkpoint().expect("the disk works") > 0);
        }
        let mut client = Client::new(&broker);
        client.ask("SET a 0\r\nPEXPIRE a 10000000", "+OK|:1|").await;
        // Those that hit the making of a segment take nothing with them: meanwhile the broker may refuse, and the outages
        // are planned again until one hits a record.
        let (mut next, mut planned) = (storage.calls() + 1 + seed % 12, 0);
        let (mut confirmed, mut rounds) = (0_u64, 0);
        loop {
            if storage.calls() >= planned {
                (next..next + 12).for_each(|call| storage.plan(call, Outage::Error(EIO)));
                planned = next + 11;
            }
            next = storage.calls() + 1;
            client.send(&format!("INCR a\r\nSET padding {}", "x".repeat(3000))).await;
            // Once the log has failed, the connection is closed.
            let (Some(count), Some(_)) = (client.try_read_line().await, client.try_read_line().await) else {
                break;
            };
            match count.strip_prefix(':') {
                Some(count) => confirmed = count.parse().expect("a number"),
                None => until("there is room again", || !broker.is_full()).await,
            }
            rounds += 1;
            assert!(rounds < 1000, "seed {seed}: an outage was planned");
        }
        broker.failed().await;
        let remains = broker.remains().expect("the log has failed");
        broker.disconnect_all();
        drop(client);
        end(broker, &storage).await;
        let calls = storage.calls();
        let broker = remains.read(config()).expect("what was confirmed is there");
        let mut client = Client::new(&broker);
        client.send("GET a").await;
        client.read_line().await;
        let kept: u64 = client.read_line().await.parse().expect("a number");
        assert!(kept == confirmed || kept == confirmed + 1, "seed {seed}: {kept}, {confirmed} confirmed");
        lost += u64::from(kept == confirmed);
        for refused in
            ["SET b 1", "XREADGROUP GROUP g c STREAMS s >", "PUBLISH c m", "EVAL \"return 1\" 0", "MULTI"]
        {
            client.ask(refused, LOG_FAILED).await;
        }
        client.ask("PING\r\nEXISTS b\r\nCONFIG GET appendonly", "+PONG|:0|*2|$10|appendonly|$3|yes|").await;
        client.send("INFO persistence\r\nECHO end").await;
        let info = client.read_until("$3|end|").await;
        assert!(info.contains("cauce_log_health:failed|cauce_log_failure:cannot "), "{info}");
        assert!(info.contains("aof_last_write_status:err"), "{info}");
        assert_eq!(storage.calls(), calls, "nothing is written any more");
        drop(client);
        end(broker, &storage).await;
    }
    assert!(lost > 0, "some outages take what was not confirmed");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let storage = FaultyStorage::new(0);
    storage.set_capacity(16 * 1024);
    let broker = open(&storage);
    let mut client = Client::new(&broker);
    client.ask("MULTI\r\nSET queued 1", "+OK|+QUEUED|").await;
    let mut other = Client::new(&broker);
    let value = "x".repeat(3000);
    for _ in 0..3 {
        other.ask(&format!("SET a {value}"), "+OK|").await;
    }
    until("the log is full", || broker.is_full()).await;
    other.ask("SET b 1", LOG_FULL).await;
    other.ask("XADD s * f v", LOG_FULL).await;
    other.ask("DEL a", LOG_FULL).await;
    other.ask("EVAL \"return redis.call('set', 'b', '1')\" 0", "-").await;
    let error = other.read_line().await;
    assert!(error.contains("MISCONF Errors writing to the AOF file"), "{error}");
    client.ask("EXEC", "-EXECABORT Transaction discarded because of: MISCONF Errors writing to the AOF file: No space left on device|").await;
    other.ask("PING\r\nGET a\r\nGET b", &format!("+PONG|$3000|{value}|$-1|")).await;
    storage.set_capacity(u64::MAX);
    until("there is room again", || !broker.is_full()).await;
    other.ask("SET b 1", "+OK|").await;
}

#[tokio::test]
async fn a_slow_disk_holds_replies_and_not_the_work() {
    let storage = FaultyStorage::new(0);
    let broker = open(&storage);
    let mut client = Client::new(&broker);
    client.ask("SET a 0", "+OK|").await;
    storage.delay_syncs(Duration::from_millis(100));
    let began = std::time::Instant::now();
    for number in 0..50 {
        client.send(&format!("INCRBY a 1\r\nPING {number}")).await;
    }
    let expected: String =
        (0..50_usize).map(|n| format!(":{}|${}|{n}|", n + 1, n.to_string().len())).collect();
    client.expect(&expected).await;
    assert!(began.elapsed() < Duration::from_secs(2), "fifty commands share a few syncs");
}

#[tokio::test]
async fn requests_pause_while_the_log_catches_up() {
    let storage = FaultyStorage::new(0);
    let mut config = config();
    config.limits.log_bytes_max = 10_000;
    config.segment_bytes = 1024 * 1024;
    let broker = Broker::open_storage(Arc::new(storage.clone()), config).expect("a new log").0;
    let mut client = Client::new(&broker);
    client.ask("SET a 0", "+OK|").await;
    storage.delay_syncs(Duration::from_millis(5));
    let value = "x".repeat(6000);
    for _ in 0..40 {
        client.send(&format!("SET a {value}")).await;
    }
    client.expect(&"+OK|".repeat(40)).await;
}

/// Power cuts and kills at any moment, with the broker's own threads: what was answered is there again, and what was read
/// has not been taken back.
#[tokio::test]
async fn what_was_answered_outlives_power_cuts() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let storage = FaultyStorage::new(seed);
        let mut answered = 0_u64;
        for _ in 0..4 {
            let broker = open(&storage);
            let mut client = Client::new(&broker);
            client.send("XLEN s").await;
            client.expect(":").await;
            let len: u64 = client.read_line().await.parse().expect("a number");
            assert!(len >= answered, "seed {seed}: {answered} entries were confirmed, {len} are left");
            storage.plan(storage.calls() + rng.u64(1..40), Outage::Power);
            answered = len;
            for _ in 0..30 {
                client.send("XADD s * f v").await;
                // Once the power is off nothing comes any more; a connection may end or stay.
                let reply = async { client.try_read_line().await.and(client.try_read_line().await) };
                let answer = tokio::select! {
                    biased;
                    id = reply => id,
                    () = until("the power goes", || storage.is_off()) => None,
                };
                if answer.is_none() {
                    break;
                }
                answered += 1;
            }
            drop(client);
            storage.switch_off();
            end(broker, &storage).await;
            if rng.bool() { storage.cut_power() } else { storage.switch_on() }
        }
    }
}

/// Fills every type, changes some of it, and writes checkpoints in between; says what it asked and was told at the end.
async fn work(broker: &Broker, round: usize) {
    let mut client = Client::new(broker);
    for n in 0..40 {
        let command = match n % 8 {
            0 => format!("SET key:{n} {round}"),
            1 => format!("HSET hash f{n} {round}"),
            2 => format!("SADD set m{round}:{n}"),
            3 => format!("ZADD zset {round} m{n}"),
            4 => format!("XADD stream {} action created n {n}", round * 100 + n + 1),
            5 => format!("XGROUP CREATE stream g{round} 0 MKSTREAM"),
            6 => format!("XREADGROUP GROUP g{round} c COUNT 2 STREAMS stream >"),
            _ => format!("PEXPIRE key:{} 10000000", n - 7),
        };
        client.send(&command).await;
    }
    client.send("ECHO end").await;
    client.read_until("$3|end|").await;
}

const STATE: &str = "DBSIZE\r\nHGETALL hash\r\nSCARD set\r\nZRANGE zset 0 -1 WITHSCORES\r\nXRANGE stream - +\r\nXINFO GROUPS stream\r\n\
                     XPENDING stream g0 - + 100 c\r\nECHO end";

async fn state(broker: &Broker) -> String {
    let mut client = Client::new(broker);
    client.send(STATE).await;
    let state = client.read_until("$3|end|").await;
    // Idle times go on.
    state.split("*4|").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_checkpoint_stands_for_the_log_before_it() {
    let storage = FaultyStorage::new(7);
    for round in 0..4 {
        let broker = open(&storage);
        work(&broker, round).await;
        if round % 2 == 0 {
            assert!(broker.checkpoint().expect("the disk works") > 0);
            assert_eq!(broker.checkpoint().expect("the disk works"), 0, "nothing happened since");
            work(&broker, round + 10).await;
        }
        let kept = state(&broker).await;
        end(broker, &storage).await;
        storage.cut_power();
        let broker = open(&storage);
        assert_eq!(state(&broker).await, kept);
        end(broker, &storage).await;
    }
}

#[tokio::test]
async fn a_checkpoint_that_the_disk_refuses_changes_nothing() {
    let storage = FaultyStorage::new(9);
    let broker = open(&storage);
    work(&broker, 0).await;
    let refuse = async || {
        for round in 1..100 {
            // The log may make the call that fails: to prepare a segment, it tries again.
            storage.plan(storage.calls() + 3, Outage::Error(EIO));
            if let Err(error) = broker.checkpoint() {
                return error.to_string();
            }
            work(&broker, round).await;
        }
        panic!("the disk never refuses a checkpoint");
    };
    let error = refuse().await;
    assert!(error.contains("could not be written") && error.contains("are kept"), "{error}");
    let kept = state(&broker).await;
    end(broker, &storage).await;
    storage.cut_power();
    let broker = open(&storage);
    assert_eq!(state(&broker).await, kept);
    assert!(broker.checkpoint().expect("the disk works again") > 0);
    assert!(Broker::in_memory(config()).checkpoint().is_err());
}

#[tokio::test]
async fn the_log_does_not_grow_for_ever() {
    let storage = FaultyStorage::new(8);
    let mut config = config();
    config.checkpoint_after_bytes = 64 * 1024;
    let broker = Broker::open_storage(Arc::new(storage.clone()), config).expect("it is new").0;
    let mut client = Client::new(&broker);
    let value = "x".repeat(1000);
    for _ in 0..1000 {
        client.ask(&format!("SET k {value}"), "+OK|").await;
    }
    let mut info = Client::new(&broker);
    let size = async |info: &mut Client| {
        info.send("INFO persistence\r\nECHO end").await;
        let text = info.read_until("$3|end|").await;
        let size = text.split("aof_current_size:").nth(1).expect("it is there");
        size.split('|').next().and_then(|size| size.parse::<u64>().ok()).expect("a number")
    };
    let began = std::time::Instant::now();
    while size(&mut info).await > 200 * 1024 {
        assert!(began.elapsed() < Duration::from_secs(20), "a megabyte of log becomes a small checkpoint");
        tokio::task::yield_now().await;
    }
    client.ask("GET k", &format!("$1000|{value}|")).await;
}
