//! Every fault against the outbox with its relays, and against a handler with inbox and outbox, on redis-server and on our broker. What is left out
//! says why.

use std::ops::Range;
use std::time::Duration;

use cauce::{Bus, Envelope, Event, HandlerError, Headers, Metadata, Retry, Running, Service, State};
use cauce_sql::{Inbox, Outbox, Relay, RunningRelay};
use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, SqlitePool};
use tempfile::TempDir;

use crate::proxy::Proxy;
use crate::striking::{FAULTS, Fault};
use crate::targets::{Kind, Target};
use crate::{Placed, database, place, published, rows, until, until_empty};

const ORDERS: i64 = 60;
const STRIKES: i64 = 3;
const EACH: i64 = ORDERS / STRIKES;
const LEASE: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mechanism {
    /// Rows with events, and relays.
    Outbox,
    /// The same, written by a handler of events that come twice.
    Inbox,
}

/// Why a fault is not run against a mechanism, if it is not.
fn excuse(mechanism: Mechanism, fault: Fault) -> Option<&'static str> {
    match (mechanism, fault) {
        (Mechanism::Outbox, Fault::SlowHandler) => Some("no handler takes part in it"),
        _ => None,
    }
}

/// The broker behind a proxy, and the database. The database is not struck: what it promises is its own to keep.
struct Scene {
    target: Target,
    proxy: Proxy,
    pool: SqlitePool,
    fault: Fault,
    label: String,
    _directory: TempDir,
}

impl Scene {
    async fn start(kind: Kind, fault: Fault) -> Self {
        let directory = TempDir::new().unwrap();
        let pool = database(&directory).await;
        let target = Target::start(kind);
        let proxy = Proxy::before(target.port()).await;
        Self { target, proxy, pool, fault, label: format!("{fault:?} on {kind:?}"), _directory: directory }
    }

    async fn through(&self) -> Bus {
        Bus::connect(&self.proxy.url()).await.unwrap()
    }

    async fn direct(&self) -> Bus {
        Bus::connect(&self.target.url()).await.unwrap()
    }

    async fn relay(&self) -> RunningRelay {
        Relay::new(&self.pool, &self.through().await).lease(LEASE).poll(Duration::from_millis(10)).start()
    }

    /// Strikes when something of this round has come through; what befalls processes is their test's to do.
    async fn strike(&mut self, stream: &str, at_least: i64) {
        let direct = self.direct().await;
        let flows = async || published(&direct, stream).await.len() as i64 >= at_least;
        until(&format!("it flows: {}", self.label), flows).await;
        self.fault.strike(&mut self.target, &self.proxy, LEASE * 2).await;
        // The database's clock: every lease of a relay has ended.
        if self.fault == Fault::ClockLeap {
            sqlx::query("UPDATE cauce_relay SET until_ms = 0").execute(&self.pool).await.unwrap();
        }
    }

    /// Waits until the fault has had its effect on what came after it.
    async fn struck(&self) {
        if self.fault == Fault::LostReply {
            until("a reply is lost", async || self.proxy.has_lost_all()).await;
        }
    }

    async fn replace(&self, relays: &mut Vec<RunningRelay>) {
        match self.fault {
            Fault::ProcessKilled => drop(relays.remove(0)),
            Fault::RollingDeploy => drop(relays.remove(0).stop().await),
            _ => return,
        }
        relays.push(self.relay().await);
    }
}

async fn outbox(scene: &mut Scene) {
    let mut relays = vec![scene.relay().await, scene.relay().await];
    for strike in 0..STRIKES {
        let (begin, end) = (strike * EACH, (strike + 1) * EACH);
        for order in begin..begin + EACH / 2 {
            place(&scene.pool, order, true).await;
        }
        scene.strike(Placed::STREAM, begin + 5).await;
        for order in begin + EACH / 2..end {
            place(&scene.pool, order, true).await;
        }
        scene.struck().await;
        scene.replace(&mut relays).await;
    }
    until_empty(&scene.pool).await;
    let direct = scene.direct().await;
    assert_eq!(published(&direct, Placed::STREAM).await, (0..ORDERS).collect::<Vec<_>>(), "{}", scene.label);
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "receipts", action = "receipt.due")]
struct Receipt {
    order: i64,
}

#[derive(Clone)]
struct Books {
    pool: SqlitePool,
    inbox: Inbox<Sqlite>,
    slow: bool,
}

async fn book(event: Placed, headers: Headers, State(books): State<Books>) -> Result<(), HandlerError> {
    if books.slow && event.order % 20 == 0 {
        tokio::time::sleep(LEASE * 2).await;
    }
    let mut transaction = books.pool.begin_with("BEGIN IMMEDIATE").await?;
    let id = headers.id().ok_or_else(|| HandlerError::reject("no id"))?;
    if !books.inbox.first_time(&mut transaction, id).await? {
        return Ok(());
    }
    sqlx::query("INSERT INTO orders VALUES ($1)").bind(event.order).execute(&mut *transaction).await?;
    Outbox::new().publish(&mut transaction, &Receipt { order: event.order }).await?;
    transaction.commit().await?;
    Ok(())
}

/// Past what keeps a publish from being repeated.
async fn append_twice(bus: &Bus, orders: Range<i64>) {
    for order in orders {
        let envelope =
            Envelope::new(&Placed { order }, &Metadata::new().id(format!("order-{order}"))).unwrap();
        for _ in 0..2 {
            bus.stream(Placed::STREAM).append(envelope.fields()).await.unwrap();
        }
    }
}

async fn inbox(scene: &mut Scene) {
    let inbox = Inbox::new("books", Duration::from_secs(86_400));
    let books = Books { pool: scene.pool.clone(), inbox, slow: scene.fault == Fault::SlowHandler };
    let start = async |bus: Bus| -> Running {
        let service = Service::new("books").state(books.clone()).on(book).reclaim_after(LEASE).concurrency(4);
        let service = service.retry(Retry::fixed(Duration::from_millis(20)).max_attempts(20));
        service.start(&bus).await.unwrap()
    };
    let mut services = vec![start(scene.through().await).await, start(scene.through().await).await];
    let mut relays = vec![scene.relay().await, scene.relay().await];
    for strike in 0..STRIKES {
        let (begin, end) = (strike * EACH, (strike + 1) * EACH);
        append_twice(&scene.direct().await, begin..begin + EACH / 2).await;
        scene.strike(Receipt::STREAM, begin + 5).await;
        append_twice(&scene.direct().await, begin + EACH / 2..end).await;
        scene.struck().await;
        scene.replace(&mut relays).await;
        match scene.fault {
            Fault::ProcessKilled => drop(services.remove(0)),
            Fault::RollingDeploy => drop(services.remove(0).stop().await),
            _ => continue,
        }
        services.push(start(scene.through().await).await);
    }
    let all: Vec<i64> = (0..ORDERS).collect();
    until(&format!("all are booked: {}", scene.label), async || {
        rows(&scene.pool).await.len() as i64 >= ORDERS
    })
    .await;
    until("nothing is pending", async || {
        scene.target.cli(&["XPENDING", Placed::STREAM, "books"]).starts_with('0')
    })
    .await;
    until_empty(&scene.pool).await;
    assert_eq!(rows(&scene.pool).await, all, "{}", scene.label);
    let mut receipts = published(&scene.direct().await, Receipt::STREAM).await;
    receipts.sort_unstable();
    assert_eq!(receipts, all, "{}", scene.label);
    for service in services {
        assert_eq!(service.stop().await.dead, 0, "{}", scene.label);
    }
}

/// All faults, side by side, each on a broker and a database of its own.
async fn against_every_fault(mechanism: Mechanism, kind: Kind) {
    let mut running = Vec::new();
    for fault in FAULTS {
        if let Some(reason) = excuse(mechanism, fault) {
            println!("{mechanism:?} x {fault:?}: left out: {reason}");
            continue;
        }
        running.push(async move {
            let mut scene = Scene::start(kind, fault).await;
            match mechanism {
                Mechanism::Outbox => outbox(&mut scene).await,
                Mechanism::Inbox => inbox(&mut scene).await,
            }
            println!("{mechanism:?} x {fault:?} on {kind:?}: once each");
        });
    }
    assert!(running.len() >= 7);
    futures_util::future::join_all(running).await;
}

macro_rules! matrix {
    ($($name:ident: $mechanism:ident on $kind:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            against_every_fault(Mechanism::$mechanism, Kind::$kind).await;
        })*
    };
}

matrix! {
    every_fault_against_the_sql_outbox_on_redis: Outbox on Redis;
    every_fault_against_the_sql_outbox_on_cauce: Outbox on Cauce;
    every_fault_against_the_sql_inbox_on_redis: Inbox on Redis;
    every_fault_against_the_sql_inbox_on_cauce: Inbox on Cauce;
}
