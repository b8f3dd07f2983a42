//! Partitioned streams: which partition a key goes to, who reads which, and the order of each key across instances.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cauce::{
    Bus, DecodeError, Delivery, EncodeError, Event, Fields, HandlerError, PublishError, Retry, Running,
    Service, ServiceError, State, partition_of, partition_stream,
};
use serde::{Deserialize, Serialize};

use crate::proxy::Proxy;
use crate::support::{Server, connect, on_every_target, until, until_async};

on_every_target!(
    a_key_goes_to_one_partition,
    the_number_of_partitions_is_fixed,
    an_event_without_a_key_is_refused,
    instances_share_the_partitions_and_keep_what_they_have,
    order_is_kept_while_instances_join_and_leave,
    order_is_kept_when_instances_die,
    a_full_partition_stops_alone,
    a_running_handler_may_end_before_its_partition_goes,
    a_letter_of_a_partition_goes_back_to_it,
    order_needs_acknowledgement,
);

const LEASE: Duration = Duration::from_millis(400);
const PARTITIONS: u16 = 8;

#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.changed", key = "order", partitions = 8)]
pub(crate) struct Changed {
    pub(crate) order: String,
    pub(crate) step: u32,
}

impl Changed {
    fn new(order: u32, step: u32) -> Self {
        Self { order: format!("order {order}"), step }
    }
}

/// Steps of so many orders, one of each after the other.
pub(crate) fn steps(orders: u32, steps: std::ops::Range<u32>) -> Vec<Changed> {
    steps.flat_map(|step| (0..orders).map(move |order| Changed::new(order, step))).collect()
}

/// What was handled, and that of each order one step is handled at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    handled: Vec<(String, u32)>,
    open: BTreeSet<String>,
    together: Vec<String>,
}

struct Opened(Book, String);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().open.remove(&self.1);
    }
}

impl Book {
    fn open(&self, order: &str) -> Opened {
        let mut pages = self.0.lock().unwrap();
        if !pages.open.insert(order.to_owned()) {
            pages.together.push(order.to_owned());
        }
        Opened(self.clone(), order.to_owned())
    }

    pub(crate) fn handled(&self) -> Vec<(String, u32)> {
        self.0.lock().unwrap().handled.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().handled.len()
    }

    fn by_order(&self) -> HashMap<String, Vec<u32>> {
        let mut orders: HashMap<String, Vec<u32>> = HashMap::new();
        for (order, step) in self.handled() {
            orders.entry(order).or_default().push(step);
        }
        orders
    }

    /// How many different steps were handled.
    pub(crate) fn distinct(&self) -> usize {
        self.handled().into_iter().collect::<BTreeSet<_>>().len()
    }

    /// Each order's steps came in order for the first time, and no two of an order at once. Says how many came again.
    pub(crate) fn check(&self, orders: u32, steps: u32) -> usize {
        let by_order = self.by_order();
        assert_eq!(by_order.len(), orders as usize);
        let mut again = 0;
        for (order, handled) in by_order {
            let mut next = 0;
            for step in &handled {
                if *step == next {
                    next += 1;
                } else {
                    assert!(*step < next, "{order}: {step} before {next}: {handled:?}");
                    again += 1;
                }
            }
            assert_eq!(next, steps, "{order}: {handled:?}");
        }
        let together = &self.0.lock().unwrap().together;
        assert!(together.is_empty(), "two steps of an order at once: {together:?}");
        again
    }
}

/// Some steps fail at first.
pub(crate) async fn handle(
    event: Changed,
    delivery: Delivery,
    State(book): State<Book>,
) -> Result<(), HandlerError> {
    let _opened = book.open(&event.order);
    tokio::time::sleep(Duration::from_micros(u64::from(event.step % 4) * 300)).await;
    if delivery.attempt == 1 && event.step % 10 == 3 {
        return Err(HandlerError::failed("not yet"));
    }
    book.0.lock().unwrap().handled.push((event.order, event.step));
    Ok(())
}

pub(crate) fn service(book: &Book) -> Service<Book> {
    let retry = Retry::fixed(Duration::from_millis(30)).max_attempts(20);
    Service::new("desk").state(book.clone()).on(handle).retry(retry).reclaim_after(LEASE)
}

async fn start(bus: &Bus, book: &Book) -> Running {
    service(book).start(bus).await.unwrap()
}

fn counts(instances: &[Running]) -> Vec<usize> {
    let mut counts: Vec<usize> = instances.iter().map(|running| running.reads_alone().len()).collect();
    counts.sort_unstable();
    counts
}

async fn a_key_goes_to_one_partition(url: &str) {
    let bus = connect(url).await;
    let ids = bus.publish_all(&steps(20, 0..2)).await.unwrap();
    bus.publish(&Changed::new(3, 2)).await.unwrap();
    assert_eq!(ids.len(), 40);
    let mut found = 0;
    for number in 0..PARTITIONS {
        let stream = partition_stream("orders", number);
        assert_eq!(stream, format!("{{orders}}#{number}"));
        for entry in bus.stream(&stream).range(.., 100).await.unwrap() {
            let event = Changed::decode(&entry.fields).unwrap();
            assert_eq!(partition_of(&event.order, PARTITIONS), number);
            found += 1;
        }
    }
    assert_eq!(found, 41);
    assert!(bus.inspect().stream("orders").await.unwrap().is_none());
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.split", key = "order", partitions = 4)]
struct Fewer {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(stream = "orders", action = "order.plain")]
struct Plain {
    order: String,
}

async fn the_number_of_partitions_is_fixed(url: &str) {
    let bus = connect(url).await;
    bus.publish(&Changed::new(1, 0)).await.unwrap();
    let error = bus.publish(&Fewer { order: "1".to_owned() }).await.unwrap_err();
    assert!(
        matches!(&error, PublishError::Partitions(error) if (error.here, error.there) == (4, 8)),
        "{error}"
    );
    assert!(error.to_string().contains("say `partitions = 8`"), "{error}");
    for (service, expected) in [
        (Service::new("fewer").on(async |_: Fewer| {}), 4),
        (Service::new("none").on(async |_: Plain| {}), 0),
    ] {
        let error = service.start(&bus).await.unwrap_err();
        assert!(
            matches!(&error, ServiceError::Partitions(error) if (error.here, error.there) == (expected, 8)),
            "{error}"
        );
    }
    // Within one service, before anybody is asked.
    let both = Service::new("both").on(async |_: Changed| {}).on(async |_: Fewer| {});
    assert!(matches!(both.start(&bus).await, Err(ServiceError::Partitions(_))));
}

/// An event whose key is not always there.
#[derive(Debug)]
struct Keyless;

impl Event for Keyless {
    const STREAM: &'static str = "orders";
    const ACTION: &'static str = "order.lost";
    const CHANNEL: &'static str = "";
    const PARTITIONS: u16 = PARTITIONS;

    fn encode(&self, _: &mut Fields) -> Result<(), EncodeError> {
        Ok(())
    }

    fn decode(_: &Fields) -> Result<Self, DecodeError> {
        Ok(Self)
    }

    fn to_body(&self) -> Result<Vec<u8>, EncodeError> {
        Ok(Vec::new())
    }

    fn from_body(_: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

async fn an_event_without_a_key_is_refused(url: &str) {
    let bus = connect(url).await;
    let error = bus.publish(&Keyless).await.unwrap_err();
    assert!(matches!(error, PublishError::NoKey { stream: "orders" }), "{error}");
    assert!(bus.inspect().streams().await.unwrap().is_empty());
}

async fn instances_share_the_partitions_and_keep_what_they_have(url: &str) {
    let bus = connect(url).await;
    let book = Book::default();
    let mut instances = vec![start(&bus, &book).await];
    until("the first has all", || counts(&instances) == [8]).await;
    let all: BTreeSet<String> = instances[0].reads_alone().into_iter().collect();
    for expected in [&[4, 4][..], &[2, 3, 3]] {
        let before: Vec<BTreeSet<String>> =
            instances.iter().map(|running| running.reads_alone().into_iter().collect()).collect();
        instances.push(start(&bus, &book).await);
        until("they share", || counts(&instances) == expected).await;
        for (running, before) in instances.iter().zip(before) {
            let now: BTreeSet<String> = running.reads_alone().into_iter().collect();
            assert!(now.is_subset(&before), "what it has now it had before");
        }
    }
    let owners = bus.inspect().owners("orders", "desk").await.unwrap();
    assert_eq!(owners.iter().map(|owner| owner.stream.clone()).collect::<BTreeSet<_>>(), all);
    for running in &instances {
        let shown = owners.iter().filter(|owner| owner.owner.as_deref() == Some(running.consumer()));
        let shown: Vec<String> = shown.map(|owner| owner.stream.clone()).collect();
        assert_eq!(shown, running.reads_alone());
    }
    assert!(owners.iter().all(|owner| owner.since.is_some()));
    // As SIGKILL would.
    drop(instances.remove(0));
    until("two share", || counts(&instances) == [4, 4]).await;
    instances.remove(0).stop().await;
    until("the last has all", || counts(&instances) == [8]).await;
    instances.remove(0).stop().await;
    let owners = bus.inspect().owners("orders", "desk").await.unwrap();
    assert!(owners.iter().all(|owner| owner.owner.is_none()), "{owners:?}");
}

const ORDERS: u32 = 30;
const STEPS: u32 = 40;

/// Publishes all steps while a test does what it does.
fn publish(bus: &Bus) -> tokio::task::JoinHandle<()> {
    let bus = bus.clone();
    tokio::spawn(async move {
        for events in steps(ORDERS, 0..STEPS).chunks(20) {
            bus.publish_all(events).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

async fn more(book: &Book) {
    let before = book.len();
    until("events flow", || book.len() > before + 50 || book.distinct() == (ORDERS * STEPS) as usize).await;
}

async fn all_are_settled(bus: &Bus, book: &Book) {
    until("all are handled", || book.distinct() == (ORDERS * STEPS) as usize).await;
    until_async("nothing is pending", async || {
        let mut pending = 0;
        for number in 0..PARTITIONS {
            let groups = bus.inspect().groups(&partition_stream("orders", number)).await.unwrap();
            pending += groups.iter().map(|group| group.pending).sum::<u64>();
        }
        pending == 0
    })
    .await;
}

async fn order_is_kept_while_instances_join_and_leave(url: &str) {
    let bus = connect(url).await;
    let book = Book::default();
    let mut instances = vec![start(&bus, &book).await];
    let publisher = publish(&bus);
    for _ in 0..3 {
        more(&book).await;
        instances.push(start(&bus, &book).await);
        more(&book).await;
        if instances.len() > 2 {
            assert_eq!(instances.remove(0).stop().await.dead, 0);
        }
    }
    publisher.await.unwrap();
    all_are_settled(&bus, &book).await;
    assert_eq!(book.check(ORDERS, STEPS), 0, "nothing is handled twice when nobody dies");
    for running in instances {
        let report = running.stop().await;
        assert_eq!((report.dead, report.late, report.cut_off), (0, 0, 0), "{report}");
    }
}

async fn order_is_kept_when_instances_die(url: &str) {
    let bus = connect(url).await;
    let book = Book::default();
    let mut instances = Vec::new();
    for _ in 0..3 {
        instances.push(start(&bus, &book).await);
    }
    let publisher = publish(&bus);
    for _ in 0..2 {
        more(&book).await;
        // As SIGKILL would.
        drop(instances.remove(0));
        more(&book).await;
        instances.push(start(&bus, &book).await);
    }
    publisher.await.unwrap();
    all_are_settled(&bus, &book).await;
    let again = book.check(ORDERS, STEPS);
    assert!(again <= 2 * 1_000, "{again} were handled again");
    for running in instances {
        assert_eq!(running.stop().await.dead, 0);
    }
}

async fn a_full_partition_stops_alone(url: &str) {
    let bus = connect(url).await;
    let book = Book::default();
    let stuck = async |event: Changed, State(book): State<Book>| {
        if event.order == "order 0" && book.len() < 5 {
            return Err(HandlerError::failed("not yet"));
        }
        book.0.lock().unwrap().handled.push((event.order, event.step));
        Ok(())
    };
    let retry = Retry::fixed(Duration::from_millis(50)).max_attempts(1_000);
    let service = Service::new("desk").state(book.clone()).on(stuck).retry(retry).ordered_by_key(3);
    let running = service.start(&bus).await.unwrap();
    let elsewhere = (1..).find(|order| {
        partition_of(&format!("order {order}"), PARTITIONS) != partition_of("order 0", PARTITIONS)
    });
    bus.publish_all(&steps(1, 0..10)).await.unwrap();
    until("it says that it stopped", || running.report().stalled > 0).await;
    for step in 0..5 {
        bus.publish(&Changed::new(elsewhere.unwrap(), step)).await.unwrap();
    }
    until("the others flow, and then it goes on", || book.len() == 15).await;
    assert_eq!(book.by_order()["order 0"], (0..10).collect::<Vec<_>>());
    assert!(book.handled().iter().take(5).all(|(order, _)| order != "order 0"));
    running.stop().await;
}

/// Giving a partition up waits for what runs; the handler is not cut off, and nothing is handled twice.
async fn a_running_handler_may_end_before_its_partition_goes(url: &str) {
    let bus = connect(url).await;
    let book = Book::default();
    let slow = async |event: Changed, State(book): State<Book>| {
        let _opened = book.open(&event.order);
        tokio::time::sleep(LEASE * 3).await;
        book.0.lock().unwrap().handled.push((event.order, event.step));
    };
    let start = async || {
        let service = Service::new("desk").state(book.clone()).on(slow).reclaim_after(LEASE);
        service.concurrency(4).start(&bus).await.unwrap()
    };
    let first = start().await;
    bus.publish_all(&steps(12, 0..1)).await.unwrap();
    until("four are running", || book.0.lock().unwrap().open.len() == 4).await;
    let second = start().await;
    let instances = [first, second];
    until("they share", || counts(&instances) == [4, 4]).await;
    until("all are handled", || book.distinct() == 12).await;
    assert_eq!(book.check(12, 1), 0);
    for running in instances {
        let report = running.stop().await;
        assert_eq!((report.cut_off, report.late), (0, 0), "{report}");
    }
}

async fn a_letter_of_a_partition_goes_back_to_it(url: &str) {
    let bus = connect(url).await;
    let book = Book::default();
    let rejects = async |event: Changed, delivery: Delivery, State(book): State<Book>| {
        if book.len() == 0 {
            book.0.lock().unwrap().handled.push(("rejected".to_owned(), 0));
            return Err(HandlerError::reject("closed"));
        }
        book.0.lock().unwrap().handled.push((delivery.stream.to_string(), event.step));
        Ok(())
    };
    let running = Service::new("desk").state(book.clone()).on(rejects).start(&bus).await.unwrap();
    bus.publish(&Changed::new(1, 7)).await.unwrap();
    until("it is dead", || running.report().dead == 1).await;
    let stream = partition_stream("orders", partition_of("order 1", PARTITIONS));
    let letters = bus.inspect().dead_letters(&stream, cauce::EntryId::ZERO, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    bus.inspect().redrive(&letters[0]).await.unwrap();
    until("it is handled", || running.report().handled == 1).await;
    assert_eq!(book.handled()[1], (stream, 7));
    running.stop().await;
}

async fn order_needs_acknowledgement(url: &str) {
    let bus = connect(url).await;
    let service = Service::new("desk").on(async |_: Changed| {}).no_ack();
    let error = service.start(&bus).await.unwrap_err();
    assert!(matches!(error, ServiceError::OrderedNoAck { stream: "orders" }), "{error}");
}

/// An owner that hears nothing for longer than its lease begins nothing more; when it comes back, it is late with everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_is_kept_when_an_owner_is_stalled() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let (direct, through) = (connect(&server.url()).await, connect(&proxy.url()).await);
    let book = Book::default();
    let stalled = start(&through, &book).await;
    until("it has all", || stalled.reads_alone().len() == 8).await;
    let publisher = publish(&direct);
    more(&book).await;
    let healthy = start(&direct, &book).await;
    for _ in 0..2 {
        more(&book).await;
        proxy.stall(LEASE * 3).await;
    }
    publisher.await.unwrap();
    all_are_settled(&direct, &book).await;
    book.check(ORDERS, STEPS);
    assert_eq!(stalled.stop().await.dead + healthy.stop().await.dead, 0);
}
