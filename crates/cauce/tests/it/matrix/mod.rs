//! Every fault with every way to consume, on both servers: what may be lost, what may come twice, and that order is kept.

mod modes;
mod target;

use std::collections::BTreeSet;
use std::time::Duration;

use cauce::{Bus, EntryId, PendingQuery, Running};
use tokio::task::JoinHandle;

use self::modes::{ATTEMPTS, Book, KEYS, LEASE, Mode, POISON, STEPS, publish, start, streams};
use self::target::Target;
use crate::proxy::Proxy;
use crate::support::{connect, until, until_async};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    ServiceKilled,
    BrokerKilled,
    ConnectionCut,
    ConnectionStalled,
    GroupDestroyed,
    StreamDeleted,
    ClientClockJumps,
    BrokerClockJumps,
    SlowHandler,
    Poison,
    RollingDeploy,
}

/// What a fault may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct May {
    lose: bool,
    repeat: bool,
}

const fn may(lose: bool, repeat: bool) -> May {
    May { lose, repeat }
}

/// docs/guarantees.md, as a table: for NOACK, and for every other way to consume.
const TABLE: [(Fault, May, May); 11] = [
    (Fault::ServiceKilled, may(true, false), may(false, true)),
    // The publisher repeats what was not confirmed.
    (Fault::BrokerKilled, may(true, true), may(false, true)),
    (Fault::ConnectionCut, may(true, false), may(false, true)),
    (Fault::ConnectionStalled, may(true, false), may(false, true)),
    (Fault::GroupDestroyed, may(false, true), may(false, true)),
    (Fault::StreamDeleted, may(true, true), may(true, true)),
    // All that was under way has taken too long, the publisher's calls too.
    (Fault::ClientClockJumps, may(true, true), may(false, true)),
    (Fault::BrokerClockJumps, may(false, false), may(false, true)),
    (Fault::SlowHandler, may(false, false), may(false, false)),
    (Fault::Poison, may(false, false), may(false, false)),
    (Fault::RollingDeploy, may(false, false), may(false, false)),
];

/// Runs all modes for one fault on one server. One that is not in the list of cells fails.
macro_rules! cells {
    ($($target:ident: $($fault:ident as $name:ident),* $(,)?;)*) => {
        const CELLS: &[(&str, Fault)] = &[$($((stringify!($target), Fault::$fault),)*)*];

        $(mod $target {
            use super::{Fault, Target, all_modes};

            // The client's clock can be moved where one thread has it.
            $(#[tokio::test]
            async fn $name() {
                all_modes(Target::$target, Fault::$fault).await;
            })*
        })*
    };
}

cells! {
    redis:
        ServiceKilled as a_service_is_killed,
        BrokerKilled as the_broker_is_killed,
        ConnectionCut as connections_are_cut,
        ConnectionStalled as connections_are_stalled,
        GroupDestroyed as the_group_is_destroyed,
        StreamDeleted as the_stream_is_deleted,
        ClientClockJumps as the_clock_of_the_client_jumps,
        SlowHandler as a_handler_is_slow,
        Poison as an_event_is_poison,
        RollingDeploy as instances_are_replaced;
    embedded:
        ServiceKilled as a_service_is_killed,
        BrokerKilled as the_broker_is_killed,
        ConnectionCut as connections_are_cut,
        ConnectionStalled as connections_are_stalled,
        GroupDestroyed as the_group_is_destroyed,
        StreamDeleted as the_stream_is_deleted,
        ClientClockJumps as the_clock_of_the_client_jumps,
        BrokerClockJumps as the_clock_of_the_broker_jumps,
        SlowHandler as a_handler_is_slow,
        Poison as an_event_is_poison,
        RollingDeploy as instances_are_replaced;
}

/// A fault of the table without a test on one of the servers fails here, but for the clock of redis-server, which is the system's.
#[test]
fn every_fault_has_a_test_on_both_servers() {
    for (fault, ..) in TABLE {
        for target in ["redis", "embedded"] {
            let has = CELLS.contains(&(target, fault));
            let can = (target, fault) != ("redis", Fault::BrokerClockJumps);
            println!(
                "{target:9} {fault:?} x {:?}: {}",
                Mode::ALL,
                if has { "tested" } else { "not possible" }
            );
            assert_eq!(has, can, "{fault:?} on {target}");
        }
    }
    let listed: BTreeSet<_> = TABLE.iter().map(|(fault, ..)| *fault).collect();
    assert_eq!(listed.len(), TABLE.len());
    assert!(CELLS.iter().all(|(_, fault)| listed.contains(fault)));
}

async fn all_modes(target: fn() -> Target, fault: Fault) {
    for mode in Mode::ALL {
        let mut target = target();
        cell(&mut target, fault, mode).await;
    }
}

/// What a cell works with.
struct Scene {
    mode: Mode,
    direct: Bus,
    through: Bus,
    proxy: Proxy,
    book: Book,
    instances: Vec<Running>,
}

async fn cell(target: &mut Target, fault: Fault, mode: Mode) {
    let may = TABLE
        .iter()
        .find(|(known, ..)| *known == fault)
        .map(|(_, no_ack, others)| if mode == Mode::NoAck { *no_ack } else { *others });
    let may = may.expect("every fault stands in the table");
    let proxy = Proxy::before(target.port()).await;
    let (direct, through) = (connect(&target.url()).await, connect(&proxy.url()).await);
    let book = Book::new(fault == Fault::SlowHandler, fault == Fault::Poison);
    let mut scene = Scene { mode, direct, through, proxy, book, instances: Vec::new() };
    scene.instances.push(start(mode, &scene.through, &scene.book).await);
    scene.instances.push(start(mode, &scene.direct, &scene.book).await);
    let publisher = scene.publish();
    for _ in 0..2 {
        scene.more(&publisher).await;
        inflict(target, fault, &mut scene).await;
    }
    publisher.await.unwrap();
    scene.check(fault, may).await;
}

async fn inflict(target: &mut Target, fault: Fault, scene: &mut Scene) {
    match fault {
        Fault::ServiceKilled => {
            drop(scene.instances.remove(0));
            scene.instances.push(start(scene.mode, &scene.through, &scene.book).await);
        }
        Fault::BrokerKilled => target.kill_and_restart(),
        Fault::ConnectionCut => scene.proxy.cut(),
        Fault::ConnectionStalled => scene.proxy.stall(LEASE * 2).await,
        Fault::GroupDestroyed => scene.each_stream(&["XGROUP", "DESTROY"], &["desk"], target).await,
        Fault::StreamDeleted => scene.each_stream(&["DEL"], &[], target).await,
        Fault::ClientClockJumps => {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(3_600)).await;
            tokio::time::resume();
        }
        Fault::BrokerClockJumps => target.jump(Duration::from_secs(3_600)),
        Fault::RollingDeploy => {
            for _ in 0..2 {
                scene.instances.push(start(scene.mode, &scene.through, &scene.book).await);
                scene.instances.remove(0).stop().await;
            }
        }
        // The handlers do it.
        Fault::SlowHandler | Fault::Poison => {}
    }
}

impl Scene {
    fn publish(&self) -> JoinHandle<()> {
        let (mode, bus) = (self.mode, self.direct.clone());
        let steps: Vec<(u32, u32)> =
            (0..STEPS).flat_map(|step| (0..KEYS).map(move |key| (key, step))).collect();
        tokio::spawn(async move {
            for some in steps.chunks(20) {
                publish(mode, &bus, some).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    }

    async fn more(&self, publisher: &JoinHandle<()>) {
        let before = self.book.len();
        until("events flow", || self.book.len() >= before + 40 || publisher.is_finished()).await;
    }

    /// As another client says it.
    async fn each_stream(&self, before: &[&str], after: &[&str], target: &Target) {
        let port = target.port().to_string();
        for stream in streams(self.mode) {
            let mut command = tokio::process::Command::new("redis-cli");
            command.args(["-p", &port]).args(before).arg(&stream).args(after);
            assert!(command.output().await.unwrap().status.success());
        }
    }

    async fn check(self, fault: Fault, may: May) {
        let (mode, label) = (self.mode, format!("{fault:?} x {:?}", self.mode));
        let mut all: BTreeSet<(String, u32)> =
            (0..KEYS).flat_map(|key| (0..STEPS).map(move |step| (format!("key {key}"), step))).collect();
        if fault == Fault::Poison {
            all.remove(&("key 0".to_owned(), POISON));
        }
        if may.lose {
            // What comes afterwards is handled: by then nothing before it is under way any more.
            let last: Vec<(u32, u32)> = (0..KEYS).map(|key| (key, STEPS)).collect();
            publish(mode, &self.direct, &last).await;
            let last = last.into_iter().map(|(key, step)| (format!("key {key}"), step));
            let last: BTreeSet<_> = last.collect();
            until(&format!("{label}: the last are handled"), || last.is_subset(&self.book.distinct())).await;
        } else {
            until(&format!("{label}: all are handled"), || self.book.distinct() == all).await;
        }
        until_async(&format!("{label}: nothing is pending"), async || self.pending().await == 0).await;
        let repeated = self.book.len() - self.book.distinct().len();
        assert!(may.repeat || repeated == 0, "{label}: {repeated} came twice");
        if mode.keeps_order() {
            self.check_order(fault, &label, may);
        }
        self.check_letters(fault, &label).await;
        for running in self.instances {
            running.stop().await;
        }
    }

    /// Each key's steps were done in their order for the first time.
    fn check_order(&self, fault: Fault, label: &str, may: May) {
        for (who, steps) in self.book.by_key() {
            let mut next = 0;
            for step in &steps {
                let poisoned = fault == Fault::Poison && who == "key 0" && next == POISON;
                let expected = if poisoned { POISON + 1 } else { next };
                // Entries that waited for a retry when their group was destroyed come again when their time is up.
                let may_pass = may.lose || fault == Fault::GroupDestroyed;
                assert!(*step <= expected || may_pass, "{label}: {who} took {step} before {next}: {steps:?}");
                next = next.max(step + 1);
            }
        }
    }

    async fn check_letters(&self, fault: Fault, label: &str) {
        let mut letters = Vec::new();
        for stream in streams(self.mode) {
            letters.extend(self.direct.inspect().dead_letters(&stream, EntryId::ZERO, 100).await.unwrap());
        }
        if fault != Fault::Poison {
            assert!(letters.is_empty(), "{label}: {letters:?}");
            return;
        }
        let attempts = if self.mode == Mode::NoAck { 1 } else { ATTEMPTS };
        let found: Vec<_> = letters.iter().map(|letter| (letter.reason.as_str(), letter.attempts)).collect();
        assert_eq!(found, [("failed", attempts)], "{label}");
    }

    async fn pending(&self) -> usize {
        let mut pending = 0;
        for stream in streams(self.mode) {
            // A group that is just being made again has nothing that is known.
            let of = self.direct.inspect().pending(&stream, "desk", &PendingQuery::new()).await;
            pending += of.map_or(1, |of| of.len());
        }
        pending
    }
}
