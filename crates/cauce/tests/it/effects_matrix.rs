//! Every fault against every mechanism that promises an effect once, on redis-server and on our broker. What is left out says why.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cauce::{Bus, Cron, Event, HandlerError, Metadata, Retry, Running, Service, State, Transaction};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;

use crate::effects::{Charge, Charged, append, numbers};
use crate::proxy::Proxy;
use crate::striking::{FAULTS, Fault};
use crate::support::{connect, until_async};
use crate::targets::{Kind, Target};

const LEASE: Duration = Duration::from_millis(400);
const DAY: Duration = Duration::from_secs(86_400);
const EVENTS: u32 = 60;
/// How often the fault strikes.
const STRIKES: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mechanism {
    Publish,
    Inbox,
    Transaction,
    SqlOutbox,
    Delayed,
    Cron,
}

/// Why a fault is not run against a mechanism here, if it is not.
fn excuse(mechanism: Mechanism, fault: Fault) -> Option<&'static str> {
    match (mechanism, fault) {
        (_, Fault::ClockLeap) => Some(
            "the clock of a server can't be set for one test: run on the broker inside the process, clocks_that_leap_forward_repeat_nothing",
        ),
        (Mechanism::SqlOutbox, _) => Some(
            "it is run where the database is: every_fault_against_the_sql_outbox_on_redis and its siblings",
        ),
        (Mechanism::Publish | Mechanism::Delayed | Mechanism::Cron, Fault::SlowHandler) => {
            Some("no handler takes part in it")
        }
        _ => None,
    }
}

#[test]
fn what_is_left_out_says_why() {
    let mechanisms = [
        Mechanism::Publish,
        Mechanism::Inbox,
        Mechanism::Transaction,
        Mechanism::SqlOutbox,
        Mechanism::Delayed,
        Mechanism::Cron,
    ];
    let mut run = 0;
    for mechanism in mechanisms {
        for fault in FAULTS {
            match excuse(mechanism, fault) {
                Some(reason) => println!("{mechanism:?} x {fault:?}: not here: {reason}"),
                None => run += 1,
            }
        }
    }
    assert_eq!(run, 6 + 7 + 7 + 6 + 6);
}

/// All faults against a mechanism, side by side, each on a broker of its own.
async fn against_every_fault(mechanism: Mechanism, kind: Kind) {
    let mut running = Vec::new();
    for fault in FAULTS.into_iter().filter(|fault| excuse(mechanism, *fault).is_none()) {
        running.push(run(mechanism, kind, fault));
    }
    assert!(running.len() >= 6);
    futures_util::future::join_all(running).await;
}

async fn run(mechanism: Mechanism, kind: Kind, fault: Fault) {
    let mut scene = Scene::start(kind, fault).await;
    match mechanism {
        Mechanism::Publish => publish(&mut scene).await,
        Mechanism::Inbox => effects(&mut scene, true).await,
        Mechanism::Transaction => effects(&mut scene, false).await,
        Mechanism::Delayed => delayed(&mut scene).await,
        Mechanism::Cron => cron(&mut scene).await,
        Mechanism::SqlOutbox => unreachable!("it is excused"),
    }
    println!("{mechanism:?} x {fault:?} on {kind:?}: once each");
}

struct Scene {
    target: Target,
    proxy: Proxy,
    fault: Fault,
    label: String,
}

impl Scene {
    async fn start(kind: Kind, fault: Fault) -> Self {
        let target = Target::start(kind);
        let proxy = Proxy::before(target.port()).await;
        Self { target, proxy, fault, label: format!("{fault:?} on {kind:?}") }
    }

    async fn through(&self) -> Bus {
        connect(&self.proxy.url()).await
    }

    async fn direct(&self) -> Bus {
        connect(&self.target.url()).await
    }

    /// What befalls the broker and the connections; what befalls processes is their test's to do.
    async fn strike(&mut self) {
        self.fault.strike(&mut self.target, &self.proxy, LEASE * 2).await;
        self.until_lost().await;
    }

    async fn until_lost(&self) {
        if self.fault == Fault::LostReply {
            until_async("a reply is lost", async || self.proxy.has_lost_all()).await;
        }
    }

    /// Waits until more of the stream is there than was, strikes, and lets processes be dealt with.
    async fn strike_when(&mut self, stream: &str, at_least: usize) {
        let direct = self.direct().await;
        until_async("it flows", async || numbers_if_up(&direct, stream).await.len() >= at_least).await;
        self.strike().await;
    }

    /// The same for a publisher that has the gate while it publishes: it must not be done before the last strike.
    async fn strike_publisher_when(&mut self, gate: &RwLock<()>, at_least: usize) {
        let direct = self.direct().await;
        let closed = Cell::new(None);
        until_async("it flows", async || {
            let gate = gate.write().await;
            let flows = numbers_if_up(&direct, Charge::STREAM).await.len() >= at_least;
            closed.set(flows.then_some(gate));
            flows
        })
        .await;
        // Other faults strike in the middle of a publish, as it comes.
        let closed = closed.into_inner().filter(|_| self.fault == Fault::LostReply);
        self.fault.strike(&mut self.target, &self.proxy, LEASE * 2).await;
        drop(closed);
        self.until_lost().await;
    }

    /// Once each, when all are there.
    async fn once_each(&self, stream: &str) {
        let direct = self.direct().await;
        let there = async || {
            let mut all = numbers_if_up(&direct, stream).await;
            all.sort_unstable();
            all.dedup();
            all.len() as u32 == EVENTS
        };
        until_async(&format!("all are there: {}", self.label), there).await;
        let mut all = numbers(&direct, stream).await;
        all.sort_unstable();
        assert_eq!(all, (0..EVENTS).collect::<Vec<_>>(), "{}", self.label);
    }
}

async fn numbers_if_up(bus: &Bus, stream: &str) -> Vec<u32> {
    if bus.stream(stream).range(.., 1).await.is_ok() { numbers(bus, stream).await } else { Vec::new() }
}

/// Publishes all events through the proxy, by ids of its own if it may be killed and begun again.
fn publisher(bus: Bus, chosen: bool, gate: &Arc<RwLock<()>>) -> JoinHandle<()> {
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        for number in 0..EVENTS {
            let open = gate.read().await;
            let metadata =
                if chosen { Metadata::new().id(format!("charge-{number}")) } else { Metadata::new() };
            bus.publish_with(&Charge { number }, &metadata).await.unwrap();
            drop(open);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

async fn publish(scene: &mut Scene) {
    let chosen = matches!(scene.fault, Fault::ProcessKilled | Fault::RollingDeploy);
    let gate = Arc::default();
    let mut publishers = vec![publisher(scene.through().await, chosen, &gate)];
    for strike in 1..=STRIKES {
        scene.strike_publisher_when(&gate, 10 * strike as usize).await;
        match scene.fault {
            // It does not know what it had published.
            Fault::ProcessKilled => {
                publishers.pop().unwrap().abort();
                publishers.push(publisher(scene.through().await, true, &gate));
            }
            Fault::RollingDeploy => publishers.push(publisher(scene.through().await, true, &gate)),
            _ => {}
        }
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    scene.once_each(Charge::STREAM).await;
}

async fn charge(
    event: Charge,
    transaction: Transaction,
    State(slow): State<bool>,
) -> Result<(), HandlerError> {
    if slow && event.number.is_multiple_of(20) {
        tokio::time::sleep(LEASE * 2).await;
    }
    transaction.incr_by(transaction.key("count"), 1)?;
    transaction.publish(&Charged { number: event.number })?;
    Ok(())
}

async fn effects(scene: &mut Scene, repeated: bool) {
    let slow = scene.fault == Fault::SlowHandler;
    let start = async |bus: Bus| -> Running {
        let service = Service::new("desk").state(slow).on(charge).reclaim_after(LEASE).concurrency(4);
        let service = service.retry(Retry::fixed(Duration::from_millis(20)).max_attempts(20));
        let service = if repeated { service.inbox(DAY) } else { service };
        service.start(&bus).await.unwrap()
    };
    let mut running = vec![start(scene.through().await).await, start(scene.through().await).await];
    let direct = scene.direct().await;
    for strike in 0..STRIKES {
        for number in strike * (EVENTS / STRIKES)..(strike + 1) * (EVENTS / STRIKES) {
            append(&direct, number).await;
            if repeated {
                append(&direct, number).await;
            }
        }
        scene.strike_when(Charged::STREAM, 15 * strike as usize + 5).await;
        let oldest = running.remove(0);
        match scene.fault {
            Fault::ProcessKilled => drop(oldest),
            Fault::RollingDeploy => drop(oldest.stop().await),
            _ => {
                running.insert(0, oldest);
                continue;
            }
        }
        running.push(start(scene.through().await).await);
    }
    scene.once_each(Charged::STREAM).await;
    let target = &scene.target;
    until_async("nothing is pending", async || {
        target.cli(&["XPENDING", Charge::STREAM, "desk"]).starts_with('0')
    })
    .await;
    assert_eq!(target.cli(&["GET", "{shop}:charges:count"]), EVENTS.to_string(), "{}", scene.label);
    scene.once_each(Charged::STREAM).await;
    for service in running {
        assert_eq!(service.stop().await.dead, 0, "{}", scene.label);
    }
}

async fn delayed(scene: &mut Scene) {
    let start = async |bus: Bus| Service::new("desk").on(async |_: Charge| {}).start(&bus).await.unwrap();
    let mut running = vec![start(scene.through().await).await];
    let bus = scene.through().await;
    let scheduling = tokio::spawn(async move {
        for number in 0..EVENTS {
            let delay = Duration::from_millis(u64::from(number * 17 % 30) * 20);
            let metadata = Metadata::new().id(format!("charge-{number}"));
            bus.publish_in_with(&Charge { number }, delay, &metadata).await.unwrap();
        }
    });
    for strike in 0..STRIKES {
        scene.strike_when(Charge::STREAM, 10 * strike as usize + 3).await;
        match scene.fault {
            Fault::ProcessKilled => drop(running.pop()),
            Fault::RollingDeploy => drop(running.pop().unwrap().stop().await),
            _ => continue,
        }
        running.push(start(scene.through().await).await);
    }
    scheduling.await.unwrap();
    scene.once_each(Charge::STREAM).await;
    let direct = scene.direct().await;
    assert!(direct.scheduled(Charge::STREAM, 10).await.unwrap().is_empty(), "{}", scene.label);
}

async fn cron(scene: &mut Scene) {
    let start = async |bus: Bus| {
        let cron = Cron::new("tick", "* * * * * *").unwrap();
        let begun = cron.start(&bus, |_| Charge { number: 0 }).await;
        // The bus is the instance: it ends with it.
        (begun.unwrap(), bus)
    };
    let mut running = vec![start(scene.through().await).await, start(scene.through().await).await];
    for strike in 0..STRIKES {
        scene.strike_when(Charge::STREAM, strike as usize + 1).await;
        if matches!(scene.fault, Fault::ProcessKilled | Fault::RollingDeploy) {
            drop(running.remove(0));
            running.push(start(scene.through().await).await);
        }
    }
    let direct = scene.direct().await;
    let so_far = numbers(&direct, Charge::STREAM).await.len();
    until_async("it goes on", async || numbers(&direct, Charge::STREAM).await.len() > so_far).await;
    let mut times = BTreeMap::new();
    for entry in direct.stream(Charge::STREAM).range(.., 1_000).await.unwrap() {
        let id = entry.fields.text("id").unwrap().to_owned();
        assert_eq!(times.insert(id, entry.id), None, "{}: {} came twice", scene.label, entry.id);
    }
    assert!(times.values().is_sorted(), "{}: {times:?}", scene.label);
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
    every_fault_against_publishing_to_redis: Publish on Redis;
    every_fault_against_publishing_to_cauce: Publish on Cauce;
    every_fault_against_the_inbox_on_redis: Inbox on Redis;
    every_fault_against_the_inbox_on_cauce: Inbox on Cauce;
    every_fault_against_transactions_on_redis: Transaction on Redis;
    every_fault_against_transactions_on_cauce: Transaction on Cauce;
    every_fault_against_delayed_events_on_redis: Delayed on Redis;
    every_fault_against_delayed_events_on_cauce: Delayed on Cauce;
    every_fault_against_cron_on_redis: Cron on Redis;
    every_fault_against_cron_on_cauce: Cron on Cauce;
}
