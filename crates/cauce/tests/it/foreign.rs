//! What other programs write and do: entries by hand, entries deleted while pending, connections killed.

use std::time::Duration;

use cauce::{Delivery, Event, HandlerError, Received, Retry, Service, State};
use serde::{Deserialize, Serialize};

use crate::support::{Cancelled, Departed, Seen, Server, connect, soon, until};

#[tokio::test]
async fn entries_written_by_hand_are_handled() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let seen = Seen::new();
    let cancelled =
        async |event: Cancelled, State(seen): State<Seen<String>>| seen.push(format!("{event:?}"));
    let departed = async |event: Departed, State(seen): State<Seen<String>>| seen.push(format!("{event:?}"));
    let running =
        Service::new("desk").state(seen.clone()).on(cancelled).on(departed).start(&bus).await.unwrap();
    server.cli(&["XADD", "flights", "*", "action", "flight.cancelled", "flight", "UA 1", "passengers", "12"]);
    server.cli(&["XADD", "flights", "*", "action", "flight.departed", "flight", "42", "minutes_late", "-1"]);
    server.cli(&[
        "XADD",
        "flights",
        "*",
        "action",
        "flight.departed",
        "data",
        r#"{"flight":"7","minutes_late":1}"#,
        "content-type",
        "application/json",
    ]);
    server.cli(&[
        "XADD",
        "flights",
        "*",
        "action",
        "flight.departed",
        "flight",
        "42",
        "minutes_late",
        "soon",
    ]);
    server.cli(&["XADD", "flights", "*", "colour", "blue"]);
    until("all are settled", || running.report().handled == 3 && running.report().dead == 2).await;
    let expected = [
        format!("{:?}", Cancelled { flight: "UA 1".to_owned(), passengers: 12 }),
        format!("{:?}", Departed { flight: "42".to_owned(), minutes_late: -1 }),
        format!("{:?}", Departed { flight: "7".to_owned(), minutes_late: 1 }),
    ];
    assert_eq!(seen.all(), expected);
    let letters = bus.inspect().dead_letters("flights", cauce::EntryId::ZERO, 10).await.unwrap();
    assert_eq!(letters[0].error, "the fields do not fit: field `minutes_late`: `soon` is not a i32");
    assert_eq!(letters[0].fields.len(), 3);
    assert!(letters[1].error.contains("no field `action`"), "{}", letters[1].error);
    running.stop().await;
}

/// The producer of a stream with a single kind of event may leave the action out.
#[tokio::test]
async fn an_only_handler_gets_entries_without_an_action() {
    #[derive(Event, Serialize, Deserialize)]
    #[event(stream = "streamsKey", action = "action_type", codec = "fields")]
    struct Keys {
        key_1: String,
        key_2: String,
    }
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let seen = Seen::new();
    let handler = async |event: Keys, State(seen): State<Seen<String>>| {
        seen.push(format!("{} {}", event.key_1, event.key_2));
    };
    let running = Service::new("desk").state(seen.clone()).on(handler).start(&bus).await.unwrap();
    server.cli(&[
        "XADD",
        "streamsKey",
        "*",
        "action",
        "action_type",
        "key_1",
        "value_1",
        "key_2",
        "value_2",
        "key_3",
        "x",
    ]);
    server.cli(&["XADD", "streamsKey", "*", "key_1", "a", "key_2", "b"]);
    until("both are handled", || seen.len() == 2).await;
    assert_eq!(seen.all(), ["value_1 value_2", "a b"]);
    running.stop().await;
}

#[tokio::test]
async fn an_entry_deleted_while_it_waits_for_a_retry_is_let_go() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let fails = async |_: Cancelled| Err::<(), _>(HandlerError::failed("x"));
    let service = Service::new("desk").on(fails).retry(Retry::fixed(Duration::from_millis(200)));
    let running = service.start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it has failed", || running.report().failed == 1).await;
    server.cli(&["XTRIM", "flights", "MAXLEN", "0"]);
    until("it is let go", || running.report().vanished == 1 && running.held() == 0).await;
    assert!(server.cli(&["XPENDING", "flights", "desk"]).starts_with('0'));
    let report = running.stop().await;
    assert_eq!((report.failed, report.dead), (1, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_lose_nothing() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let seen = Seen::new();
    let handler = async |event: Cancelled, State(seen): State<Seen<u32>>| seen.push(event.passengers);
    let running = Service::new("desk").state(seen.clone()).on(handler).start(&bus).await.unwrap();
    let mut published = 0;
    for _ in 0..10 {
        for _ in 0..50 {
            // An event whose publish was cut off may or may not be there; its number is used once only.
            let _ = bus.publish(&Cancelled::numbered(published)).await;
            published += 1;
        }
        server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    let length = || server.cli(&["XLEN", "flights"]).parse::<usize>().unwrap();
    until("all are handled", || running.report().handled as usize >= length()).await;
    until("nothing is pending", || server.cli(&["XPENDING", "flights", "desk"]).starts_with('0')).await;
    let mut all = seen.all();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), length());
    running.stop().await;
}

/// Another client of the same group (an old service in another language) takes its share and dies.
#[tokio::test]
async fn entries_of_foreign_consumers_are_taken_over_too() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    server.cli(&["XGROUP", "CREATE", "flights", "desk", "$", "MKSTREAM"]);
    bus.publish_all(&Cancelled::series(3)).await.unwrap();
    server.cli(&["XREADGROUP", "GROUP", "desk", "old", "COUNT", "2", "STREAMS", "flights", ">"]);
    let seen = Seen::new();
    let handler = async |event: Cancelled, delivery: Delivery, State(seen): State<Seen<(u32, u32)>>| {
        seen.push((event.passengers, delivery.attempt));
    };
    let service =
        Service::new("desk").state(seen.clone()).on(handler).reclaim_after(Duration::from_millis(200));
    let running = service.start(&bus).await.unwrap();
    until("all are handled", || seen.len() == 3).await;
    let mut all = seen.all();
    all.sort_unstable();
    assert_eq!(all, [(0, 2), (1, 2), (2, 1)]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_is_told_how_many_it_missed() {
    const PUBLISHED: u64 = 20_000;
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let mut slow = bus.subscribe::<Cancelled>(["gates"]).await.unwrap();
    let mut quick = bus.subscribe::<Cancelled>(["gates"]).await.unwrap();
    let reader = tokio::spawn(async move {
        let mut last = 0;
        while last != PUBLISHED as u32 {
            match quick.next().await {
                Received::Message { body, .. } => last = body.passengers,
                other => panic!("the quick one missed something: {other:?}"),
            }
        }
    });
    for number in 1..=PUBLISHED {
        bus.broadcast(&Cancelled::numbered(number as u32)).await.unwrap();
    }
    soon("the quick one", reader).await.unwrap();
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < PUBLISHED {
        match soon("the next", slow.next()).await {
            Received::Message { .. } => seen += 1,
            Received::Missed(count) => missed += count,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen + missed, PUBLISHED, "every message was seen or told missed");
    // What is still on its way when the reading begins finds room.
    assert!((8192..PUBLISHED).contains(&seen), "{seen} fitted into a buffer of 8192");
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_leaves_its_entry_pending_and_holds_nobody_up() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    server.cli(&["SET", "{flights}:dead", "x"]);
    let rejects = async |event: Cancelled| match event.passengers {
        0 => Err(HandlerError::reject("x")),
        _ => Ok(()),
    };
    let running = Service::new("desk").on(rejects).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(5)).await.unwrap();
    until("the others are acknowledged", || running.held() == 1).await;
    assert!(server.cli(&["XPENDING", "flights", "desk"]).starts_with('1'));
    server.cli(&["DEL", "{flights}:dead"]);
    until("the letter is written", || running.report().dead == 1).await;
    assert!(server.cli(&["XPENDING", "flights", "desk"]).starts_with('0'));
    running.stop().await;
}
