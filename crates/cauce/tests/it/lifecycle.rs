//! How services start and stop, and how much they do at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cauce::{Delivery, PendingQuery, Service, Start, State};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::proxy::Proxy;
use crate::support::{Cancelled, Seen, Server, connect, on_every_target, until};

on_every_target!(
    a_group_begins_where_it_is_told,
    an_existing_group_goes_on_where_it_was,
    running_handlers_may_end_before_the_deadline,
    the_deadline_cuts_off_and_hands_over,
    what_was_not_run_is_handed_over_at_once,
    concurrency_is_bounded,
    one_at_a_time_keeps_the_order,
    misconfigured_services_do_not_start,
);

async fn number(event: Cancelled, State(seen): State<Seen<u32>>) {
    seen.push(event.passengers);
}

async fn a_group_begins_where_it_is_told(url: &str) {
    let bus = connect(url).await;
    let ids = bus.publish_all(&Cancelled::series(3)).await.unwrap();
    let check = async |group: &str, start: Start, expected: &[u32]| {
        let seen = Seen::new();
        let running =
            Service::new(group).state(seen.clone()).on(number).start_at(start).start(&bus).await.unwrap();
        let marker = Cancelled::numbered(9);
        bus.publish(&marker).await.unwrap();
        until("the newest is handled", || seen.all().last() == Some(&9)).await;
        assert!(seen.all().starts_with(expected), "{group}: {:?}", seen.all());
        running.stop().await;
    };
    check("new", Start::New, &[9]).await;
    check("beginning", Start::Beginning, &[0, 1, 2, 9]).await;
    check("id", Start::Id(ids[1]), &[2, 9]).await;
}

async fn an_existing_group_goes_on_where_it_was(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let start = async || Service::new("desk").state(seen.clone()).on(number).start(&bus).await.unwrap();
    let first = start().await;
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("the first is handled", || seen.len() == 1).await;
    first.stop().await;
    assert!(
        bus.inspect().consumers("flights", "desk").await.unwrap().is_empty(),
        "a stopped instance leaves its group"
    );
    bus.publish(&Cancelled::numbered(2)).await.unwrap();
    let second = start().await;
    until("the second is handled", || seen.all() == [1, 2]).await;
    second.stop().await;
}

async fn slow(event: Cancelled, State(seen): State<Seen<u32>>) {
    seen.push(event.passengers);
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn running_handlers_may_end_before_the_deadline(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let running = Service::new("desk").state(seen.clone()).on(slow).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(3)).await.unwrap();
    until("they are running", || seen.len() == 3).await;
    let report = running.stop().await;
    assert_eq!((report.handled, report.returned, report.cut_off, seen.len()), (3, 0, 0, 3), "{report}");
}

async fn the_deadline_cuts_off_and_hands_over(url: &str) {
    let bus = connect(url).await;
    let started = Seen::new();
    let hangs = async |event: Cancelled, State(started): State<Seen<u32>>| {
        started.push(event.passengers);
        std::future::pending::<()>().await;
    };
    let service =
        Service::new("desk").state(started.clone()).on(hangs).shutdown_deadline(Duration::from_millis(100));
    let running = service.start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is running", || started.len() == 1).await;
    let begin = Instant::now();
    let report = running.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!((report.cut_off, report.returned), (1, 0), "{report}");
    assert_eq!(taken_over(&bus, 1).await, [(1, 2)]);
}

/// What the next instance is given, and as which attempt; its patience with the dead is longer than the test's.
async fn taken_over(bus: &cauce::Bus, count: usize) -> Vec<(u32, u32)> {
    let seen = Seen::new();
    let handler = async |event: Cancelled, delivery: Delivery, State(seen): State<Seen<(u32, u32)>>| {
        seen.push((event.passengers, delivery.attempt));
    };
    let service = Service::new("desk").state(seen.clone()).on(handler).reclaim_after(Duration::from_secs(60));
    let running = service.start(bus).await.unwrap();
    until("all are taken over", || seen.len() == count).await;
    running.stop().await;
    let mut all = seen.all();
    all.sort_unstable();
    all
}

async fn what_was_not_run_is_handed_over_at_once(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let running = Service::new("desk").state(seen.clone()).on(slow).concurrency(1).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(5)).await.unwrap();
    until("one is running, and all are read", || seen.len() == 1 && running.held() == 5).await;
    let report = running.stop().await;
    assert_eq!((report.handled, report.returned), (1, 4), "{report}");
    // They were never run, so this is their first attempt.
    assert_eq!(taken_over(&bus, 4).await, [(1, 1), (2, 1), (3, 1), (4, 1)]);
}

/// It gave up after two seconds: what was done came again, and counted as if the instance had died with it.
#[tokio::test]
async fn a_broker_that_is_away_is_told_what_was_done_when_it_is_back() {
    type Work = (Seen<u32>, Arc<Notify>);
    async fn waits(event: Cancelled, State((seen, go_on)): State<Work>) {
        seen.push(event.passengers);
        go_on.notified().await;
    }
    let server = Server::start();
    let (direct, proxy) = (connect(&server.url()).await, Proxy::before(server.port()).await);
    let bus = connect(&proxy.url()).await;
    let (seen, go_on) = (Seen::new(), Arc::new(Notify::new()));
    let service = Service::new("desk").state((seen.clone(), Arc::clone(&go_on))).on(waits);
    let running = service.shutdown_deadline(Duration::from_secs(30)).start(&bus).await.unwrap();
    direct.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is running", || seen.len() == 1).await;
    let stop = || {
        go_on.notify_one();
        running.stop()
    };
    let report = proxy.is_waited_for(stop).await;
    assert_eq!((report.handled, report.late), (1, 0), "{report}");
    assert_eq!(direct.inspect().pending("flights", "desk", &PendingQuery::new()).await.unwrap().len(), 0);
}

#[derive(Clone, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

async fn concurrency_is_bounded(url: &str) {
    async fn measured(_: Cancelled, State(gauge): State<Gauge>) {
        let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
        gauge.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(2)).await;
        gauge.now.fetch_sub(1, Ordering::SeqCst);
    }
    let bus = connect(url).await;
    let gauge = Gauge::default();
    let running =
        Service::new("desk").state(gauge.clone()).on(measured).concurrency(4).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(300)).await.unwrap();
    until("all are handled", || running.report().handled == 300).await;
    assert_eq!(gauge.most.load(Ordering::SeqCst), 4);
    running.stop().await;
}

async fn one_at_a_time_keeps_the_order(url: &str) {
    async fn uneven(event: Cancelled, State(seen): State<Seen<u32>>) {
        if event.passengers.is_multiple_of(7) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        seen.push(event.passengers);
    }
    let bus = connect(url).await;
    let seen = Seen::new();
    let running =
        Service::new("desk").state(seen.clone()).on(uneven).concurrency(1).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(200)).await.unwrap();
    until("all are handled", || seen.len() == 200).await;
    assert!(seen.all().is_sorted());
    running.stop().await;
}

async fn misconfigured_services_do_not_start(url: &str) {
    let bus = connect(url).await;
    let error = Service::new("desk").start(&bus).await.unwrap_err().to_string();
    assert_eq!(error, "the service has no handler: add one with .on(handler)");
    let twice = Service::new("desk").on(async |_: Cancelled| {}).on(async |_: Cancelled| {});
    let error = twice.start(&bus).await.unwrap_err().to_string();
    assert!(
        error.starts_with("two handlers for the action `flight.cancelled` of the stream `flights`"),
        "{error}"
    );
}
