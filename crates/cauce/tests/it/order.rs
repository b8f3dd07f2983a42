//! Order by key, batches, and handlers with limits of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cauce::{Batch, Delivery, EntryId, HandlerError, Handling, PendingQuery, Retry, Service, State};

use crate::proxy::Proxy;
use crate::support::{Cancelled, Departed, Seen, Server, connect, on_every_target, until, until_async};

on_every_target!(
    a_key_keeps_its_order_across_retries_while_others_flow,
    too_many_behind_a_key_stop_the_reading,
    the_next_reader_goes_on_in_order,
    what_runs_alone_keeps_its_place,
    a_batch_is_full_or_has_waited,
    events_of_a_batch_fail_by_themselves,
    a_handler_may_have_a_limit_of_its_own,
    order_and_batches_do_not_go_together,
);

fn of(flight: &str, number: u32) -> Cancelled {
    Cancelled { flight: flight.to_owned(), passengers: number }
}

async fn first_attempts_of_a_fail(
    event: Cancelled,
    delivery: Delivery,
    State(seen): State<Seen<(String, u32)>>,
) -> Result<(), HandlerError> {
    tokio::task::yield_now().await;
    if event.flight == "A" && delivery.attempt == 1 && event.passengers.is_multiple_of(3) {
        return Err(HandlerError::failed("not yet"));
    }
    seen.push((event.flight, event.passengers));
    Ok(())
}

fn numbers(seen: &Seen<(String, u32)>, flight: &str) -> Vec<u32> {
    seen.all().into_iter().filter(|(found, _)| found == flight).map(|(_, number)| number).collect()
}

async fn a_key_keeps_its_order_across_retries_while_others_flow(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let retry = Retry::fixed(Duration::from_millis(150));
    let service = Service::new("desk").state(seen.clone()).on(first_attempts_of_a_fail).retry(retry);
    let running = service.ordered_by_key(1_000).start(&bus).await.unwrap();
    for number in 0..10 {
        for flight in ["A", "B", "C"] {
            bus.publish(&of(flight, number)).await.unwrap();
        }
    }
    until("the others are handled", || numbers(&seen, "B").len() == 10 && numbers(&seen, "C").len() == 10)
        .await;
    assert!(numbers(&seen, "A").len() < 10, "they did not wait for A");
    until("all are handled", || running.report().handled == 30).await;
    for flight in ["A", "B", "C"] {
        assert_eq!(numbers(&seen, flight), (0..10).collect::<Vec<_>>(), "{flight}");
    }
    let report = running.stop().await;
    assert_eq!((report.retried, report.late, report.dead), (4, 0, 0), "{report}");
}

async fn too_many_behind_a_key_stop_the_reading(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let retry = Retry::fixed(Duration::from_millis(700));
    let service = Service::new("desk").state(seen.clone()).on(first_attempts_of_a_fail).retry(retry);
    let running = service.ordered_by_key(5).start(&bus).await.unwrap();
    for number in 0..8 {
        bus.publish(&of("A", number)).await.unwrap();
    }
    until("it says that it stopped", || running.report().stalled > 0).await;
    bus.publish(&of("B", 1)).await.unwrap();
    until("all are handled", || running.report().handled == 9).await;
    assert_eq!(numbers(&seen, "A"), (0..8).collect::<Vec<_>>());
    running.stop().await;
}

async fn the_next_reader_goes_on_in_order(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let start = async || {
        let retry = Retry::fixed(Duration::from_millis(200));
        let service = Service::new("desk").state(seen.clone()).on(first_attempts_of_a_fail).retry(retry);
        service.reclaim_after(Duration::from_millis(300)).ordered_by_key(1_000).start(&bus).await.unwrap()
    };
    let first = start().await;
    bus.publish(&of("B", 0)).await.unwrap();
    until("the first reads", || first.report().handled == 1).await;
    let second = start().await;
    for number in 0..20 {
        bus.publish(&of("A", number)).await.unwrap();
    }
    until("some are handled", || numbers(&seen, "A").len() > 3).await;
    assert_eq!(second.report().handled, 0, "a stream has one reader");
    // As SIGKILL would.
    drop(first);
    until("all are handled", || numbers(&seen, "A").last() == Some(&19)).await;
    // What had run and was not acknowledged when the first died runs again, in its order too.
    let mut first_times = Vec::new();
    for number in numbers(&seen, "A") {
        if !first_times.contains(&number) {
            first_times.push(number);
        }
    }
    assert_eq!(first_times, (0..20).collect::<Vec<_>>(), "{:?}", numbers(&seen, "A"));
    let third = start().await;
    second.stop().await;
    bus.publish(&of("B", 1)).await.unwrap();
    until("the next reads at once", || third.report().handled == 1).await;
    third.stop().await;
}

/// What two instances died with runs alone, after everything else but that of its own key.
async fn what_runs_alone_keeps_its_place(url: &str) {
    async fn hangs(event: Cancelled, State(begun): State<Seen<u32>>) {
        begun.push(event.passengers);
        std::future::pending::<()>().await;
    }
    async fn works(event: Cancelled, State(seen): State<Seen<(String, u32)>>) {
        seen.push((event.flight, event.passengers));
    }
    let bus = connect(url).await;
    let (begun, seen) = (Seen::new(), Seen::new());
    let lease = Duration::from_millis(300);
    for crash in 0..2 {
        let service = Service::new("desk").state(begun.clone()).on(hangs).reclaim_after(lease);
        let running = service.ordered_by_key(1_000).start(&bus).await.unwrap();
        for number in 5 * crash..5 * (crash + 1) {
            bus.publish(&of("A", number)).await.unwrap();
        }
        until("it hangs", || begun.len() == crash as usize + 1).await;
        until_async("it has the others too", async || {
            let pending = bus.inspect().pending("flights", "desk", &PendingQuery::new()).await.unwrap();
            pending.len() == 5 * (crash as usize + 1)
        })
        .await;
        drop(running);
    }
    let service = Service::new("desk").state(seen.clone()).on(works).reclaim_after(lease);
    let running = service.ordered_by_key(1_000).start(&bus).await.unwrap();
    for number in 0..3 {
        bus.publish(&of("B", number)).await.unwrap();
    }
    until("all are handled", || seen.len() == 13).await;
    assert_eq!(numbers(&seen, "A"), (0..10).collect::<Vec<_>>());
    running.stop().await;
}

/// The reply to the putting aside was lost, and the entry taken again before that was repeated. It was then taken for another instance's: those of
/// its key overtook it, and it ran only when lost deliveries were looked for.
#[tokio::test]
async fn what_is_put_aside_twice_keeps_its_place() {
    type Lossy = (Seen<(String, u32)>, Arc<Proxy>);
    async fn loses_a_reply(
        event: Cancelled,
        delivery: Delivery,
        State((seen, proxy)): State<Lossy>,
    ) -> Result<(), HandlerError> {
        if delivery.attempt == 1 && event.passengers.is_multiple_of(2) {
            proxy.lose_next_reply();
            return Err(HandlerError::failed("not yet"));
        }
        tokio::task::yield_now().await;
        seen.push((event.flight, event.passengers));
        Ok(())
    }
    const STEPS: u32 = 40;
    let server = Server::start();
    let direct = connect(&server.url()).await;
    let proxy = Arc::new(Proxy::before(server.port()).await);
    let bus = connect(&proxy.url()).await;
    let seen = Seen::new();
    let service = Service::new("desk").state((seen.clone(), proxy)).on(loses_a_reply);
    let service = service.retry(Retry::fixed(Duration::from_millis(1))).reclaim_after(Duration::from_secs(1));
    let running = service.ordered_by_key(1_000).start(&bus).await.unwrap();
    for number in 0..STEPS {
        direct.publish(&of("A", number)).await.unwrap();
    }
    until("all are handled", || running.report().handled == u64::from(STEPS)).await;
    assert_eq!(numbers(&seen, "A"), (0..STEPS).collect::<Vec<_>>());
    let report = running.stop().await;
    assert_eq!((report.failed, report.dead), (u64::from(STEPS) / 2, 0), "{report}");
}

async fn a_batch_is_full_or_has_waited(url: &str) {
    async fn batch(batch: Batch<Cancelled>, State(seen): State<Seen<usize>>) {
        assert!(batch.iter().all(|(_, delivery)| delivery.attempt == 1));
        seen.push(batch.len());
    }
    let bus = connect(url).await;
    let seen = Seen::new();
    let service = Service::new("desk").state(seen.clone()).on_batch(10, Duration::from_millis(200), batch);
    let running = service.start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(25)).await.unwrap();
    until("the full ones are handled", || running.report().handled >= 20).await;
    until("the rest is handled", || running.report().handled == 25).await;
    let mut lengths = seen.all();
    lengths.sort_unstable();
    assert_eq!(lengths, [5, 10, 10]);
    let report = running.stop().await;
    assert_eq!((report.late, report.returned), (0, 0), "{report}");
}

async fn events_of_a_batch_fail_by_themselves(url: &str) {
    async fn odd_ones_fail(batch: Batch<Cancelled>) -> Vec<Result<(), HandlerError>> {
        let outcome = |event: Cancelled| match event.passengers % 2 {
            0 => Ok(()),
            _ => Err(HandlerError::reject("odd")),
        };
        batch.into_events().into_iter().map(outcome).collect()
    }
    let bus = connect(url).await;
    let service = Service::new("desk").on_batch(100, Duration::from_millis(20), odd_ones_fail);
    let running = service.start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(10)).await.unwrap();
    until("all are settled", || running.report().handled == 5 && running.report().dead == 5).await;
    let letters = bus.inspect().dead_letters("flights", EntryId::ZERO, 10).await.unwrap();
    assert!(letters.iter().all(|letter| letter.error == "odd"));
    running.stop().await;
}

#[derive(Clone, Default)]
struct Gauge(Arc<AtomicUsize>, Arc<AtomicUsize>);

async fn a_handler_may_have_a_limit_of_its_own(url: &str) {
    async fn measured(_: Cancelled, State(Gauge(now, most)): State<Gauge>) {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        now.fetch_sub(1, Ordering::SeqCst);
    }
    let bus = connect(url).await;
    let gauge = Gauge::default();
    let service = Service::new("desk").state(gauge.clone()).on_with(Handling::new().concurrency(2), measured);
    let running = service.on(async |_: Departed| {}).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(40)).await.unwrap();
    bus.publish(&Departed { flight: "UA 1".to_owned(), minutes_late: 1 }).await.unwrap();
    until("the other handler is not held up", || running.report().handled > 0).await;
    until("all are handled", || running.report().handled == 41).await;
    assert_eq!(gauge.1.load(Ordering::SeqCst), 2);
    running.stop().await;
}

async fn order_and_batches_do_not_go_together(url: &str) {
    let bus = connect(url).await;
    let service = Service::new("desk").on_batch(10, Duration::ZERO, async |_: Batch<Cancelled>| {});
    let error = service.ordered_by_key(10).start(&bus).await.unwrap_err().to_string();
    assert!(error.starts_with("the handler of `flight.cancelled` takes batches"), "{error}");
}
