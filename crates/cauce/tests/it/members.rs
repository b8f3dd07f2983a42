//! Instances that come and go, and what streams keep.

use std::collections::BTreeSet;
use std::time::Duration;

use cauce::{Bus, Retention, Running, Service, Start, State};

use crate::support::{Cancelled, Seen, Server, connect, on_every_target, until, until_async};

on_every_target!(
    a_rolling_deploy_of_ten_loses_nothing,
    a_consumer_that_is_gone_is_removed_when_nothing_is_pending,
    retention_waits_for_every_group,
    retention_by_age_and_bytes,
    an_abandoned_group_is_reported_and_aged_out,
);

const LEASE: Duration = Duration::from_millis(300);

async fn number(event: Cancelled, State(seen): State<Seen<u32>>) {
    tokio::task::yield_now().await;
    seen.push(event.passengers);
}

async fn start(bus: &Bus, seen: &Seen<u32>) -> Running {
    Service::new("desk").state(seen.clone()).on(number).reclaim_after(LEASE).start(bus).await.unwrap()
}

/// Ten instances are replaced one after another under load; every third is killed.
async fn a_rolling_deploy_of_ten_loses_nothing(url: &str) {
    const EVENTS: u32 = 5_000;
    let bus = connect(url).await;
    let seen = Seen::new();
    let mut instances = Vec::new();
    for _ in 0..10 {
        instances.push(start(&bus, &seen).await);
    }
    let publisher = tokio::spawn({
        let bus = bus.clone();
        async move {
            for number in 0..EVENTS {
                bus.publish(&Cancelled::numbered(number)).await.unwrap();
            }
        }
    });
    let mut killed = 0;
    for (number, old) in std::mem::take(&mut instances).into_iter().enumerate() {
        let before = seen.len();
        until("events flow", || seen.len() >= before + 50 || publisher.is_finished()).await;
        instances.push(start(&bus, &seen).await);
        if number % 3 == 2 {
            killed += 1;
            drop(old);
        } else {
            old.stop().await;
        }
    }
    publisher.await.unwrap();
    let all: BTreeSet<u32> = (0..EVENTS).collect();
    until("all are handled", || seen.all().into_iter().collect::<BTreeSet<_>>() == all).await;
    until_async("only the living are members", async || members(&bus).await == 10).await;
    let repeated = seen.len() - all.len();
    // What a killed instance had handled and not yet acknowledged comes again; no more than it held.
    assert!(repeated <= killed * 1_100, "{repeated} were handled twice");
    for running in instances {
        assert_eq!(running.stop().await.dead, 0);
    }
    assert_eq!(members(&bus).await, 0);
}

/// Consumers of the group but the reserved one, which has the entries that wait for their next attempt.
async fn members(bus: &Bus) -> usize {
    let consumers = bus.inspect().consumers("flights", "desk").await.unwrap();
    consumers.iter().filter(|consumer| consumer.name != "cauce:retry").count()
}

async fn a_consumer_that_is_gone_is_removed_when_nothing_is_pending(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let dead = start(&bus, &seen).await;
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is handled", || seen.len() == 1 && dead.held() == 0).await;
    let name = dead.consumer().to_owned();
    drop(dead);
    let heir = start(&bus, &seen).await;
    let names = async || {
        let consumers = bus.inspect().consumers("flights", "desk").await.unwrap();
        consumers.into_iter().map(|consumer| consumer.name).collect::<Vec<_>>()
    };
    until_async("it is removed", async || !names().await.contains(&name)).await;
    heir.stop().await;
}

async fn retention_waits_for_every_group(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let quick = start(&bus, &seen).await;
    let hangs = async |_: Cancelled| std::future::pending::<()>().await;
    let service = Service::new("slow").on(hangs).shutdown_deadline(Duration::from_millis(10));
    let slow = service.start(&bus).await.unwrap();
    let ids = bus.publish_all(&Cancelled::series(1_200)).await.unwrap();
    until("the quick group is done", || seen.len() == 1_200 && quick.held() == 0).await;
    until("the slow group has some", || slow.held() > 0).await;
    let policy = Retention::new().max_length(100);
    let retained = bus.retain("flights", &policy).await.unwrap();
    assert_eq!((retained.removed, retained.held), (0, true));
    let holders = bus.inspect().holders("flights").await.unwrap();
    assert_eq!(
        (holders[0].group.as_str(), holders[0].from, holders[0].entries),
        ("slow", Some(ids[0]), 1_200)
    );
    assert_eq!((holders[1].group.as_str(), holders[1].from, holders[1].entries), ("desk", None, 0));
    assert!(holders[0].idle.unwrap() < Duration::from_secs(10));
    slow.stop().await;
    let seen_again = Seen::new();
    let catching_up = Service::new("slow").state(seen_again.clone()).on(number).start(&bus).await.unwrap();
    until("the slow group is done", || seen_again.len() == 1_200).await;
    until("it is acknowledged", || catching_up.held() == 0).await;
    let retained = bus.retain("flights", &policy).await.unwrap();
    assert_eq!((retained.removed, retained.held), (1_100, false));
    assert_eq!(bus.inspect().stream("flights").await.unwrap().unwrap().first_entry, Some(ids[1_100]));
    assert_eq!(bus.retain("flights", &policy).await.unwrap().removed, 0);
    quick.stop().await;
    catching_up.stop().await;
}

async fn retention_by_age_and_bytes(url: &str) {
    let bus = connect(url).await;
    bus.publish_all(&Cancelled::series(100)).await.unwrap();
    assert_eq!(bus.retain("flights", &Retention::new()).await.unwrap().removed, 0, "nothing by default");
    assert_eq!(
        bus.retain("flights", &Retention::new().max_age(Duration::from_secs(60))).await.unwrap().removed,
        0
    );
    let length = async || bus.inspect().stream("flights").await.unwrap().unwrap().length;
    let entry = &bus.inspect().entries("flights", cauce::EntryId::ZERO, 1).await.unwrap()[0];
    let size: usize = entry.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    bus.retain("flights", &Retention::new().max_bytes(size as u64 * 50)).await.unwrap();
    assert!((45..=55).contains(&length().await), "{}", length().await);
    until_async("they are old", async || {
        bus.retain("flights", &Retention::new().max_age(Duration::from_millis(20))).await.unwrap();
        length().await == 0
    })
    .await;
    assert_eq!(bus.retain("nothing", &Retention::new().max_length(0)).await.unwrap().removed, 0);
}

async fn an_abandoned_group_is_reported_and_aged_out(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let abandoned =
        Service::new("old").state(seen.clone()).on(number).start_at(Start::New).start(&bus).await.unwrap();
    abandoned.stop().await;
    let desk = start(&bus, &seen).await;
    bus.publish_all(&Cancelled::series(10)).await.unwrap();
    until("they are handled", || seen.len() == 10 && desk.held() == 0).await;
    let policy = Retention::new().max_length(0).abandoned_after(Duration::from_millis(500));
    let early = bus.retain("flights", &Retention::new().max_length(0)).await.unwrap();
    assert_eq!((early.removed, early.held), (0, true), "without a limit for groups it is held for ever");
    assert_eq!(bus.inspect().holders("flights").await.unwrap()[0].group, "old");
    until_async("it is aged out", async || {
        bus.retain("flights", &policy).await.unwrap().abandoned == ["old"]
    })
    .await;
    until_async("its entries are let go", async || {
        bus.retain("flights", &policy).await.unwrap();
        bus.inspect().stream("flights").await.unwrap().unwrap().length == 0
    })
    .await;
    desk.stop().await;
}

/// A new instance makes the group again where it was, not at the end of the stream.
#[tokio::test]
async fn a_group_lost_while_nobody_lived_goes_on_where_it_was() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let seen = Seen::new();
    let first = start(&bus, &seen).await;
    bus.publish_all(&Cancelled::series(10)).await.unwrap();
    until("they are handled", || seen.len() == 10 && first.held() == 0).await;
    until("the cursor is saved", || server.cli(&["GET", "{flights}:cursor:desk"]).starts_with("after")).await;
    first.stop().await;
    server.cli(&["XGROUP", "DESTROY", "flights", "desk"]);
    bus.publish(&Cancelled::numbered(10)).await.unwrap();
    let second = start(&bus, &seen).await;
    until("what came meanwhile is handled", || seen.all().contains(&10)).await;
    let all: BTreeSet<u32> = (0..11).collect();
    assert_eq!(seen.all().into_iter().collect::<BTreeSet<_>>(), all);
    second.stop().await;
}
