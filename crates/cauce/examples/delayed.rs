//! Events that wait at the broker for their time, and those that recur. Shows how late they come while 10,000 others wait.
//!
//! `cargo run -p cauce --release --example delayed`, with `CAUCE_URL=redis://127.0.0.1:6379` for a server.

mod common;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cauce::{Bus, Cron, Event, Metadata, Service, State};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "reminders", action = "reminder.due", key = "order")]
struct Reminder {
    order: u64,
}

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "reports", action = "report.due")]
struct ReportDue {
    day: u64,
}

/// The orders that customers were reminded of.
type Reminded = Arc<Mutex<HashSet<u64>>>;

async fn remind(event: Reminder, State(reminded): State<Reminded>) {
    reminded.lock().expect("nobody panics with it").insert(event.order);
}

/// Others that wait meanwhile.
const WAITING: u64 = 10_000;
const MEASURED: u64 = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Inside the process, a name lets several instances share the broker.
    let url = if common::alone() { "memory:delayed".to_owned() } else { common::url() };
    let watcher = Bus::connect(&url).await?;
    let bus = Bus::connect(&url).await?;
    let far = SystemTime::now() + Duration::from_secs(86_400);
    for orders in (0..WAITING).collect::<Vec<_>>().chunks(100) {
        let waiting = orders.iter().map(|order| {
            let (bus, order) = (bus.clone(), *order);
            tokio::spawn(async move { bus.publish_at(&Reminder { order }, far).await.map(drop) })
        });
        for scheduled in waiting.collect::<Vec<_>>() {
            scheduled.await??;
        }
    }
    // On a busy machine the first instance handles some before it goes, and what it did not acknowledge comes again.
    let reminded = Reminded::default();
    let service = || Service::new("mail").state(Arc::clone(&reminded)).on(remind);
    let before = service().start(&bus).await?;
    let mut due = Vec::new();
    for order in 0..MEASURED {
        let delay = Duration::from_millis(500 + order);
        due.push(bus.publish_in_with(&Reminder { order }, delay, &Metadata::new()).await?);
    }
    // Everybody is gone, and back while events are due. The watcher let nothing wait, so it moves nothing.
    drop((before, bus));
    let bus = Bus::connect(&url).await?;
    let running = service().start(&bus).await?;
    while (reminded.lock().expect("nobody panics with it").len() as u64) < MEASURED {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut late = Vec::new();
    for entry in watcher.stream("reminders").range(.., 2 * MEASURED as usize).await? {
        let known = due.iter().find(|scheduled| entry.fields.text("id") == Some(&scheduled.id));
        late.extend(known.map(|scheduled| entry.id.time().duration_since(scheduled.due).unwrap_or_default()));
    }
    late.sort_unstable();
    let percentile = |percent: usize| late.get((late.len() * percent / 100).min(late.len() - 1));
    println!(
        "{} of {MEASURED} came once, {WAITING} waiting: late by {:?} at the median, {:?} at p99",
        late.len(),
        percentile(50).unwrap_or(&Duration::MAX),
        percentile(99).unwrap_or(&Duration::MAX)
    );
    assert_eq!(late.len() as u64, MEASURED, "each comes once");
    println!("{}", running.stop().await);

    // Any number of instances may say so: each occurrence is one event.
    let day = |due: SystemTime| {
        due.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400)
    };
    let nightly = Cron::new("nightly", "0 3 * * *")?.time_zone("UTC")?;
    let _instances = [
        nightly.clone().start(&bus, move |due| ReportDue { day: day(due) }).await?,
        nightly.start(&bus, move |due| ReportDue { day: day(due) }).await?,
    ];
    for next in bus.scheduled("reports", 10).await? {
        println!("next: {}", next.id);
    }
    Ok(())
}
