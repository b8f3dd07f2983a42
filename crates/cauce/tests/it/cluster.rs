//! Services on a cluster of one redis-server, which refuses whatever touches two slots at once.

use std::time::Duration;

use cauce::{Delivery, EntryId, HandlerError, Retry, Service, State};

use crate::partitions::{Book, service, steps};
use crate::queue_cluster::cluster;
use crate::support::{Cancelled, Seen, connect, until, until_async};

const ORDERS: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_read_and_handed_over_on_a_cluster() {
    let server = cluster().await;
    let bus = connect(&server.url()).await;
    let book = Book::default();
    let start = async || service(&book).start(&bus).await.unwrap();
    let mut running = vec![start().await, start().await];
    bus.publish_all(&steps(ORDERS, 0..5)).await.unwrap();
    until("the first are handled", || book.distinct() == 5 * ORDERS as usize).await;
    drop(running.remove(0));
    running.push(start().await);
    bus.publish_all(&steps(ORDERS, 5..10)).await.unwrap();
    until("all are handled", || book.distinct() == 10 * ORDERS as usize).await;
    book.check(ORDERS, 10);
    for running in running {
        assert_eq!(running.stop().await.dead, 0);
    }
}

/// Whatever a service keeps beside its stream is in the slot of the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_runs_on_a_cluster() {
    let server = cluster().await;
    let bus = connect(&server.url()).await;
    let seen = Seen::new();
    let fails = async |event: Cancelled, delivery: Delivery, State(seen): State<Seen<u32>>| {
        seen.push(event.passengers);
        match (event.passengers, delivery.attempt) {
            (1, _) => Err(HandlerError::reject("no seats")),
            (2, 1) => Err(HandlerError::failed("once")),
            _ => Ok(()),
        }
    };
    let retry = Retry::fixed(Duration::from_millis(20)).max_attempts(3);
    let running = Service::new("desk").state(seen.clone()).on(fails).retry(retry).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(4)).await.unwrap();
    bus.publish_in(&Cancelled::numbered(7), Duration::from_millis(50)).await.unwrap();
    until("all are settled", || running.report().handled == 4 && running.report().dead == 1).await;
    let [letter] =
        bus.inspect().dead_letters("flights", EntryId::ZERO, 10).await.unwrap().try_into().unwrap();
    assert_eq!(letter.error, "no seats");
    until_async("nothing is pending", async || server.cli(&["XPENDING", "flights", "desk"]).starts_with('0'))
        .await;
    running.stop().await;
}
