//! Requests and their replies.

use std::time::Duration;

use cauce::{
    Bus, Delivery, EntryId, Event, HandlerError, Json, Reply, Request, RequestError, Retry, Service,
    Transaction,
};
use serde::{Deserialize, Serialize};

use crate::support::{Seen, Server, connect, on_every_target, until};

on_every_target!(
    a_request_is_answered,
    a_request_is_answered_after_retries,
    a_rejected_request_says_so,
    a_late_reply_is_counted,
    a_reply_of_a_process_that_dies_is_sent_again,
    a_reply_comes_with_its_transaction,
    who_dies_before_the_transaction_has_not_replied,
    replies_are_bounded,
    many_requests_find_their_own_replies,
);

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "fares", action = "fare.asked", key = "flight")]
struct Ask {
    flight: u32,
}

impl Request for Ask {
    type Reply = Json<u32>;
}

const PATIENT: Duration = Duration::from_secs(15);

async fn fare(event: Ask) -> Reply<Json<u32>> {
    Reply(Json(event.flight * 10))
}

async fn a_request_is_answered(url: &str) {
    let bus = connect(url).await;
    let running = Service::new("fares").on(fare).start(&bus).await.unwrap();
    assert_eq!(bus.request(&Ask { flight: 7 }, PATIENT).await.unwrap(), Json(70));
    // An event that nobody waits for is handled all the same.
    bus.publish(&Ask { flight: 8 }).await.unwrap();
    until("both are handled", || running.report().handled == 2).await;
    assert_eq!(running.stop().await.failed, 0);
}

async fn a_request_is_answered_after_retries(url: &str) {
    async fn third(event: Ask, delivery: Delivery) -> Result<Reply<Json<u32>>, HandlerError> {
        if delivery.attempt < 3 { Err(HandlerError::failed("busy")) } else { Ok(Reply(Json(event.flight))) }
    }
    let bus = connect(url).await;
    let retry = Retry::fixed(Duration::from_millis(50));
    let running = Service::new("fares").on(third).retry(retry).start(&bus).await.unwrap();
    assert_eq!(bus.request(&Ask { flight: 7 }, PATIENT).await.unwrap(), Json(7));
    assert_eq!(running.stop().await.failed, 2);
}

async fn a_rejected_request_says_so(url: &str) {
    let rejects = async |_: Ask| Err::<Reply<Json<u32>>, _>(HandlerError::reject("no such flight"));
    let bus = connect(url).await;
    let running = Service::new("fares").on(rejects).start(&bus).await.unwrap();
    let error = bus.request(&Ask { flight: 7 }, PATIENT).await.unwrap_err();
    assert!(
        matches!(&error, RequestError::Failed { reason, error } if reason == "rejected" && error == "no such flight"),
        "{error}"
    );
    running.stop().await;
}

async fn a_late_reply_is_counted(url: &str) {
    async fn slow(event: Ask) -> Reply<Json<u32>> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Reply(Json(event.flight))
    }
    let bus = connect(url).await;
    let running = Service::new("fares").on(slow).start(&bus).await.unwrap();
    let error = bus.request(&Ask { flight: 7 }, Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, RequestError::TimedOut { .. }), "{error}");
    until("the reply has come", || bus.late_replies() == 1).await;
    running.stop().await;
}

/// A process that dies when its handler has ended: nothing comes after.
struct DiesOnce(Seen<()>);

impl cauce::Middleware for DiesOnce {
    fn consume(&self, _: &cauce::Incoming, next: cauce::Next) -> cauce::Handled {
        let seen = self.0.clone();
        Box::pin(async move {
            let outcome = next.run().await;
            seen.push(());
            if seen.len() == 1 {
                std::future::pending::<()>().await;
            }
            outcome
        })
    }
}

async fn a_reply_of_a_process_that_dies_is_sent_again(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let start = async || {
        let service = Service::new("fares").on(fare).middleware(DiesOnce(seen.clone()));
        service.reclaim_after(Duration::from_millis(300)).start(&bus).await.unwrap()
    };
    let first = start().await;
    assert_eq!(bus.request(&Ask { flight: 7 }, PATIENT).await.unwrap(), Json(70));
    until("it is about to die", || seen.len() == 1).await;
    drop(first);
    let second = start().await;
    until("it is handled again", || second.report().handled == 1).await;
    until("the second reply is dropped", || bus.late_replies() == 1).await;
    second.stop().await;
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "{fares}:sold", action = "fare.sold")]
struct Sold;

/// The first attempt's transaction is refused.
async fn sell(
    _: Ask,
    delivery: Delivery,
    transaction: Transaction,
) -> Result<Reply<Json<u32>>, HandlerError> {
    if delivery.attempt == 1 {
        transaction.expect(transaction.key("season"), Some(b"summer"))?;
    }
    transaction.publish(&Sold)?;
    Ok(Reply(Json(delivery.attempt)))
}

async fn sold(bus: &Bus) -> u64 {
    bus.inspect().stream(Sold::STREAM).await.unwrap().map_or(0, |stream| stream.length)
}

async fn a_reply_comes_with_its_transaction(url: &str) {
    let bus = connect(url).await;
    let retry = Retry::fixed(Duration::from_millis(50));
    let running = Service::new("fares").on(sell).retry(retry).start(&bus).await.unwrap();
    assert_eq!(bus.request(&Ask { flight: 7 }, PATIENT).await.unwrap(), Json(2), "of what was applied");
    // Both are there, as one step.
    assert_eq!(sold(&bus).await, 1);
    until("it is handled", || running.report().handled == 1).await;
    assert_eq!(bus.late_replies(), 0);
    running.stop().await;
}

async fn who_dies_before_the_transaction_has_not_replied(url: &str) {
    async fn sell(_: Ask, delivery: Delivery, transaction: Transaction) -> Reply<Json<u32>> {
        transaction.publish(&Sold).unwrap();
        Reply(Json(delivery.attempt))
    }
    let bus = connect(url).await;
    let seen = Seen::new();
    let start = async || {
        let service = Service::new("fares").on(sell).middleware(DiesOnce(seen.clone()));
        service.reclaim_after(Duration::from_millis(300)).start(&bus).await.unwrap()
    };
    let first = start().await;
    let asking = tokio::spawn({
        let bus = bus.clone();
        async move { bus.request(&Ask { flight: 7 }, PATIENT).await }
    });
    until("it is about to die", || seen.len() == 1).await;
    drop(first);
    let second = start().await;
    assert_eq!(asking.await.unwrap().unwrap(), Json(2), "the first attempt has not replied");
    assert_eq!(sold(&bus).await, 1);
    until("it is handled", || second.report().handled == 1).await;
    assert_eq!(bus.late_replies(), 0);
    second.stop().await;
}

/// The requester's stream is in another slot: the script can't write to it.
#[tokio::test]
async fn on_a_cluster_the_reply_comes_after_its_transaction() {
    let server = crate::queue_cluster::cluster().await;
    let bus = connect(&server.url()).await;
    let retry = Retry::fixed(Duration::from_millis(50));
    let running = Service::new("fares").on(sell).retry(retry).start(&bus).await.unwrap();
    assert_eq!(bus.request(&Ask { flight: 7 }, PATIENT).await.unwrap(), Json(2));
    assert_eq!(sold(&bus).await, 1);
    running.stop().await;
}

async fn replies_are_bounded(url: &str) {
    let bus = connect(url).await;
    let running = Service::new("fares").on(fare).start(&bus).await.unwrap();
    bus.request(&Ask { flight: 7 }, PATIENT).await.unwrap();
    let asked = bus.inspect().entries("fares", EntryId::ZERO, 1).await.unwrap();
    let stream = asked[0].fields.text("reply-to").unwrap().to_owned();
    assert_eq!(bus.inspect().stream(&stream).await.unwrap().unwrap().length, 1);
    running.stop().await;
}

async fn many_requests_find_their_own_replies(url: &str) {
    let bus = connect(url).await;
    let running = Service::new("fares").on(fare).concurrency(64).start(&bus).await.unwrap();
    let ask = |flight| {
        let bus = bus.clone();
        async move { (flight, bus.request(&Ask { flight }, PATIENT).await.unwrap().0) }
    };
    for (flight, fare) in futures_util::future::join_all((0..300).map(ask)).await {
        assert_eq!(fare, flight * 10);
    }
    assert_eq!(bus.late_replies(), 0);
    running.stop().await;
}

/// A requester that is gone leaves nothing behind.
#[tokio::test]
async fn replies_are_not_kept_for_ever() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let running = Service::new("fares").on(fare).start(&bus).await.unwrap();
    bus.request(&Ask { flight: 7 }, PATIENT).await.unwrap();
    let stream = server.cli(&["KEYS", "cauce:replies:*"]);
    let life: u64 = server.cli(&["PTTL", &stream]).parse().unwrap();
    assert!((30_000..=60_000).contains(&life), "{life}");
    running.stop().await;
}

/// A reply trims its stream and lets it expire: a request must not be able to do that to a stream of events.
#[tokio::test]
async fn a_request_cannot_name_a_stream_of_events() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let running = Service::new("fares").on(fare).start(&bus).await.unwrap();
    server.cli(&["XADD", "orders", "*", "action", "order.paid"]);
    let ask = ["XADD", "fares", "*", "action", "fare.asked", "data", "{\"flight\":7}"];
    server.cli(&[&ask[..], &["id", "1", "reply-to", "orders"]].concat());
    server.cli(&[&ask[..], &["id", "2", "reply-to", "cauce:replies:mine"]].concat());
    until("both are handled", || running.report().handled == 2).await;
    assert_eq!(server.cli(&["XLEN", "cauce:replies:mine"]), "1");
    assert_eq!((server.cli(&["XLEN", "orders"]), server.cli(&["PTTL", "orders"])), ("1".into(), "-1".into()));
    running.stop().await;
}

/// Replies wait in a stream: one that was sent while the requester had no connection is found.
#[tokio::test]
async fn a_reply_survives_a_cut_connection() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let asking = tokio::spawn({
        let bus = bus.clone();
        async move { bus.request(&Ask { flight: 7 }, PATIENT).await }
    });
    crate::support::until_async("it has asked", async || {
        bus.inspect().stream("fares").await.unwrap().is_some()
    })
    .await;
    server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let service = Service::new("fares").start_at(cauce::Start::Beginning).on(fare);
    let running = service.start(&connect(&server.url()).await).await.unwrap();
    until("it is answered", || running.report().handled == 1).await;
    assert_eq!(asking.await.unwrap().unwrap(), Json(70));
    running.stop().await;
}
