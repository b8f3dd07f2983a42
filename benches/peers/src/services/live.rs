//! What is handled as it is published: how long that takes, and how soon failures are made good.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use cauce::{Bus, Delivery, HandlerError, Retry, Service, State};
use redis::{Value, cmd};

use crate::consume::{Action, ack, entries};

const PER_SECOND: usize = 10_000;
const SECONDS: usize = 3;

fn micros() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros()
}

/// Publishes what is due each millisecond, with the time in it.
async fn publish(url: String) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let begin = Instant::now();
    let mut sent = 0;
    while sent < PER_SECOND * SECONDS {
        ticks.tick().await;
        let due = (begin.elapsed().as_micros() as usize * PER_SECOND / 1_000_000).min(PER_SECOND * SECONDS);
        if due > sent {
            let mut pipeline = redis::Pipeline::new();
            for _ in sent..due {
                let command = pipeline.cmd("XADD").arg("streamsKey").arg("*").arg("action").arg("action_type");
                command.arg("key_1").arg(micros() as u64).arg("key_2").arg("value_2").arg("key_3").arg("value_3");
            }
            pipeline.exec_async(&mut connection).await?;
            sent = due;
        }
    }
    Ok(())
}

/// The time that 99 of 100 were handled within, in milliseconds.
fn print(mut waits: Vec<u128>) {
    waits.sort_unstable();
    let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or_default();
    println!("{} {}", p99 as f64 / 1e3, waits.len());
}

type Waits = Arc<Mutex<Vec<u128>>>;

pub async fn cauce(url: &str) -> Result<()> {
    async fn handle(event: Action, State(waits): State<Waits>) {
        let published: u128 = event.key_1.parse().unwrap_or_default();
        if let Ok(mut waits) = waits.lock() {
            waits.push(micros().saturating_sub(published));
        }
    }
    let bus = Bus::connect(url).await?;
    let waits = Waits::default();
    let running = Service::new("group").state(waits.clone()).on(handle).start(&bus).await?;
    tokio::spawn(publish(url.to_owned())).await??;
    while (running.report().handled as usize) < PER_SECOND * SECONDS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.stop().await;
    print(waits.lock().map(|waits| waits.clone()).unwrap_or_default());
    Ok(())
}

pub async fn plain(url: &str) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let create = cmd("XGROUP").arg("CREATE").arg("streamsKey").arg("group").arg("$").arg("MKSTREAM").clone();
    create.exec_async(&mut connection).await?;
    let publisher = tokio::spawn(publish(url.to_owned()));
    let mut waits = Vec::new();
    while waits.len() < PER_SECOND * SECONDS {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg("group").arg("me").arg("COUNT").arg(100).arg("BLOCK").arg(100);
        let reply: Value = read.arg("STREAMS").arg("streamsKey").arg(">").query_async(&mut connection).await?;
        let mut ids = Vec::new();
        for (id, fields) in entries(reply) {
            if let Some(Value::BulkString(published)) = fields.get(3) {
                let published: u128 = std::str::from_utf8(published)?.parse()?;
                waits.push(micros().saturating_sub(published));
            }
            ids.push(id);
        }
        if !ids.is_empty() {
            ack(&ids).exec_async(&mut connection).await?;
        }
    }
    publisher.await??;
    print(waits);
    Ok(())
}

const DELAY: Duration = Duration::from_millis(500);
const DRILLED: usize = 20_000;

#[derive(Clone, Default)]
struct Drill(Arc<Mutex<Vec<(usize, u32, Instant)>>>);

/// One of a hundred fails once, one always: how long after the last retry was due everything is done.
pub async fn drill(url: &str) -> Result<()> {
    async fn handle(event: Action, delivery: Delivery, State(drill): State<Drill>) -> Result<(), HandlerError> {
        let number: usize = event.key_1.parse()?;
        if let Ok(mut seen) = drill.0.lock() {
            seen.push((number, delivery.attempt, Instant::now()));
        }
        match (number, delivery.attempt) {
            (7, _) => Err(HandlerError::failed("poison")),
            (number, 1) if number.is_multiple_of(100) => Err(HandlerError::failed("once")),
            _ => Ok(()),
        }
    }
    let bus = Bus::connect(url).await?;
    let drill = Drill::default();
    let retry = Retry::fixed(DELAY).max_attempts(3);
    let running = Service::new("group").state(drill.clone()).on(handle).retry(retry).start(&bus).await?;
    crate::publish::raw(url, DRILLED).await?;
    while (running.report().handled as usize) < DRILLED - 1 || running.report().dead == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let report = running.stop().await;
    let seen = drill.0.lock().map(|seen| seen.clone()).unwrap_or_default();
    anyhow::ensure!(seen.len() == DRILLED + DRILLED / 100 + 2 && report.dead == 1, "{report}, {} calls", seen.len());
    // Each retry: how long after it was due.
    let late = seen.iter().filter(|(_, attempt, _)| *attempt > 1).map(|(number, attempt, when)| {
        let before = seen.iter().find(|(other, earlier, _)| other == number && earlier + 1 == *attempt);
        before.map_or(Duration::ZERO, |(.., before)| when.saturating_duration_since(*before + DELAY))
    });
    println!("{} {}", late.max().unwrap_or_default().as_secs_f64() * 1e3, seen.len());
    Ok(())
}
