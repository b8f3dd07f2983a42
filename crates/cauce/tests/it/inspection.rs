//! The inspection API.

use std::time::Duration;

use cauce::{Delivery, EntryId, HandlerError, PendingQuery, Redriven, Retry, Service, Start, State};

use crate::support::{Cancelled, Seen, Server, connect, on_every_target, until, until_async};

on_every_target!(
    streams_and_groups_are_shown,
    pending_entries_are_shown_and_claimed,
    a_dead_letter_goes_back_to_its_group_only,
    dead_letters_can_be_dropped
);

async fn streams_and_groups_are_shown(url: &str) {
    let bus = connect(url).await;
    let inspect = bus.inspect();
    assert_eq!(inspect.streams().await.unwrap(), []);
    assert_eq!(inspect.stream("flights").await.unwrap(), None);
    let ids = bus.publish_all(&Cancelled::series(5)).await.unwrap();
    let running = Service::new("desk")
        .on(async |_: Cancelled| {})
        .start_at(Start::Beginning)
        .start(&bus)
        .await
        .unwrap();
    until("all are handled", || running.report().handled == 5).await;
    let streams = inspect.streams().await.unwrap();
    let [stream] = &streams[..] else { panic!("{streams:?}") };
    assert_eq!((stream.name.as_str(), stream.length, stream.groups), ("flights", 5, 1));
    assert_eq!((stream.first_entry, Some(stream.last_id)), (ids.first().copied(), ids.last().copied()));
    assert_eq!(inspect.entries("flights", ids[2], 10).await.unwrap().len(), 2);
    let groups = inspect.groups("flights").await.unwrap();
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.name.as_str(), group.consumers, group.lag), ("desk", 1, Some(0)));
    let consumers = inspect.consumers("flights", "desk").await.unwrap();
    assert_eq!(consumers[0].name, running.consumer());
    assert!(inspect.consumers("flights", "nobody").await.unwrap_err().to_string().contains("NOGROUP"));
    running.stop().await;
}

async fn pending_entries_are_shown_and_claimed(url: &str) {
    let bus = connect(url).await;
    let hangs = async |_: Cancelled| std::future::pending::<()>().await;
    let running = Service::new("desk").on(hangs).start(&bus).await.unwrap();
    let ids = bus.publish_all(&Cancelled::series(3)).await.unwrap();
    let inspect = bus.inspect();
    let all = PendingQuery::new();
    until_async("all are pending", async || {
        inspect.pending("flights", "desk", &all).await.unwrap().len() == 3
    })
    .await;
    let consumer = running.consumer().to_owned();
    drop(running);
    let found = inspect
        .pending("flights", "desk", &all.clone().after(ids[0]).count(1).consumer(&consumer))
        .await
        .unwrap();
    assert_eq!(
        (found[0].id, found[0].consumer.as_str(), found[0].deliveries),
        (ids[1], consumer.as_str(), 1)
    );
    assert!(
        inspect
            .pending("flights", "desk", &all.clone().idle(Duration::from_secs(60)))
            .await
            .unwrap()
            .is_empty()
    );
    let claimed = inspect.claim("flights", "desk", "me", Duration::ZERO, &ids[1..]).await.unwrap();
    assert_eq!(claimed, ids[1..]);
    assert_eq!(inspect.pending("flights", "desk", &all.consumer("me")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_unknown_lag_is_not_zero() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let ids = bus.publish_all(&Cancelled::series(5)).await.unwrap();
    server.cli(&["XGROUP", "CREATE", "flights", "middle", &ids[2].to_string()]);
    let groups = bus.inspect().groups("flights").await.unwrap();
    assert_eq!(groups[0].lag, None);
}

/// One dead letter of the group "desk", which handles the event from the second start on.
async fn with_a_dead_letter(url: &str) -> (cauce::Bus, Seen<(u32, EntryId)>, cauce::Running, cauce::Running) {
    async fn rejects_once(
        event: Cancelled,
        delivery: Delivery,
        State(seen): State<Seen<(u32, EntryId)>>,
    ) -> Result<(), HandlerError> {
        seen.push((delivery.attempt, delivery.id));
        if seen.len() == 1 { Err(HandlerError::reject(event.flight)) } else { Ok(()) }
    }
    let bus = connect(url).await;
    let seen = Seen::new();
    let service = Service::new("desk").state(seen.clone()).on(rejects_once).retry(Retry::none());
    let desk = service.reclaim_after(Duration::from_millis(200)).start(&bus).await.unwrap();
    let other = Service::new("statistics").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is dead", || desk.report().dead == 1 && other.report().handled == 1).await;
    (bus, seen, desk, other)
}

async fn a_dead_letter_goes_back_to_its_group_only(url: &str) {
    let (bus, seen, desk, other) = with_a_dead_letter(url).await;
    let inspect = bus.inspect();
    let [letter] = inspect.dead_letters("flights", EntryId::ZERO, 10).await.unwrap().try_into().unwrap();
    assert_eq!(inspect.redrive(&letter).await.unwrap(), Redriven::SameEntry);
    until("it is handled", || desk.report().handled == 1).await;
    assert_eq!(seen.all(), [(1, letter.entry), (1, letter.entry)]);
    assert!(inspect.dead_letters("flights", EntryId::ZERO, 10).await.unwrap().is_empty());
    assert_eq!(desk.stop().await.late, 0);
    assert_eq!(other.stop().await.handled, 1);
}

async fn dead_letters_can_be_dropped(url: &str) {
    let (bus, _, desk, other) = with_a_dead_letter(url).await;
    let inspect = bus.inspect();
    let [letter] = inspect.dead_letters("flights", EntryId::ZERO, 10).await.unwrap().try_into().unwrap();
    assert!(inspect.drop_dead_letter(&letter).await.unwrap());
    assert!(!inspect.drop_dead_letter(&letter).await.unwrap());
    assert!(inspect.dead_letters("flights", EntryId::ZERO, 10).await.unwrap().is_empty());
    desk.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_dead_letter_whose_entry_is_gone_comes_again_as_a_copy() {
    let server = Server::start();
    let (bus, seen, desk, other) = with_a_dead_letter(&server.url()).await;
    let [letter] =
        bus.inspect().dead_letters("flights", EntryId::ZERO, 10).await.unwrap().try_into().unwrap();
    server.cli(&["XTRIM", "flights", "MAXLEN", "0"]);
    let Redriven::Copy(id) = bus.inspect().redrive(&letter).await.unwrap() else {
        panic!("the entry was trimmed")
    };
    until("it is handled", || desk.report().handled == 1).await;
    assert_eq!(seen.all(), [(1, letter.entry), (1, id)]);
    until("the copy is deleted", || server.cli(&["XLEN", "{flights}:again:desk"]) == "0").await;
    assert_eq!(server.cli(&["XLEN", "{flights}:dead"]), "0");
    assert_eq!(other.stop().await.handled, 1);
    desk.stop().await;
}
