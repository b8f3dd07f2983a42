//! Nothing leaves before the log position that it waits for, and what leaves keeps its order: random writes and reads of
//! several connections over a log whose position the test moves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cauce_broker::{Broker, Config};
use cauce_log::MemoryLog;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const CONNECTIONS: usize = 3;
const STEPS: usize = 120;

/// On a paused clock this much time passes only when nobody has anything left to do.
const QUIET: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn nothing_leaves_before_its_position_and_order_is_kept() {
    for seed in 0..20 {
        check(seed).await;
    }
}

/// What a connection is owed: the reply, and the position that it waits for.
type Owed = VecDeque<(Vec<u8>, u64)>;

async fn check(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let log = Arc::new(MemoryLog::new());
    let broker = Broker::with_memory_log(Config::default(), Arc::clone(&log));
    log.hold();
    let mut pipes: Vec<(DuplexStream, Owed)> =
        (0..CONNECTIONS).map(|_| (broker.connect(), Owed::new())).collect();
    // Per key, the number of entries and the position of the last one.
    let mut keys = [(0_u64, 0_u64); 2];
    let mut released = 0;
    for _ in 0..STEPS {
        let key = rng.usize(..keys.len());
        let (pipe, owed) = &mut pipes[rng.usize(..CONNECTIONS)];
        match rng.u8(..6) {
            0..3 => {
                keys[key].0 += 1;
                let id = format!("{}-1", keys[key].0);
                send(pipe, &format!("XADD k{key} {id} f v\r\n")).await;
                quiet().await;
                keys[key].1 = log.appended();
                owed.push_back((format!("${}\r\n{id}\r\n", id.len()).into_bytes(), keys[key].1));
            }
            3 => {
                send(pipe, &format!("XLEN k{key}\r\n")).await;
                owed.push_back((format!(":{}\r\n", keys[key].0).into_bytes(), keys[key].1));
            }
            4 => {
                send(pipe, "PING\r\n").await;
                owed.push_back((b"+PONG\r\n".to_vec(), 0));
            }
            _ => {
                released = rng.u64(released..=log.appended());
                log.release(released);
            }
        }
        for (pipe, owed) in &mut pipes {
            receive(pipe, owed, released, seed).await;
        }
    }
    log.release(u64::MAX);
    for (pipe, owed) in &mut pipes {
        receive(pipe, owed, u64::MAX, seed).await;
        assert!(owed.is_empty(), "seed {seed}: some replies never came");
    }
}

async fn send(pipe: &mut DuplexStream, command: &str) {
    pipe.write_all(command.as_bytes()).await.expect("the broker lives");
}

/// Lets everybody finish.
async fn quiet() {
    let never = std::future::pending::<()>();
    assert!(tokio::time::timeout(QUIET, never).await.is_err());
}

/// Reads all that has come; it must be exactly what may have left: the replies up to the first whose position is not safe.
async fn receive(pipe: &mut DuplexStream, owed: &mut Owed, released: u64, seed: u64) {
    let mut expected = Vec::new();
    while let Some((reply, _)) = owed.pop_front_if(|(_, position)| *position <= released) {
        expected.extend(reply);
    }
    let (mut got, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(length) = tokio::time::timeout(QUIET, pipe.read(&mut chunk)).await {
        let length = length.expect("the broker lives");
        assert!(length > 0, "seed {seed}: the broker closed the connection");
        got.extend_from_slice(&chunk[..length]);
    }
    let (got, expected) = (String::from_utf8_lossy(&got), String::from_utf8_lossy(&expected));
    assert_eq!(got, expected, "seed {seed}, released up to {released}");
}
