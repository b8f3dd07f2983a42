//! What becomes of deliveries that fail, and of the entries of consumers that die.

use std::time::Duration;

use cauce::{
    Bus, DeadLetter, Delivery, EntryId, Event, HandlerError, PendingQuery, Report, Retry, Running, Service,
    State,
};
use serde::{Deserialize, Serialize};

use crate::support::{Cancelled, Departed, Seen, connect, on_every_target, until, until_async};

on_every_target!(
    after_the_last_attempt_an_entry_is_a_dead_letter,
    a_rejected_entry_is_a_dead_letter_at_once,
    a_panic_fails_one_delivery_only,
    a_timeout_fails_one_delivery_only,
    a_handler_may_choose_the_delay,
    a_poison_entry_keeps_its_fields,
    unhandled_actions_are_acknowledged_and_counted,
    at_most_once_leaves_nothing_pending,
    entries_of_the_dead_are_taken_over,
    a_slow_handler_keeps_its_entry,
    what_every_delivery_kills_is_buried_unrun,
);

const SOON: Duration = Duration::from_millis(10);
const NEVER: Duration = Duration::from_secs(600);

async fn pending(bus: &Bus, group: &str) -> usize {
    bus.inspect().pending("flights", group, &PendingQuery::new()).await.unwrap().len()
}

async fn nothing_pending(bus: &Bus, group: &str) {
    until_async("nothing is pending", async || pending(bus, group).await == 0).await;
}

async fn letters(bus: &Bus) -> Vec<DeadLetter> {
    bus.inspect().dead_letters("flights", EntryId::ZERO, 100).await.unwrap()
}

/// Runs one event through a service that will give up on it.
async fn give_up_on(bus: &Bus, service: Service<impl Clone + Send + Sync + 'static>) -> (DeadLetter, Report) {
    let running = service.start(bus).await.unwrap();
    let id = bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is dead", || running.report().dead == 1).await;
    nothing_pending(bus, "desk").await;
    let [letter] = letters(bus).await.try_into().unwrap();
    assert_eq!((letter.entry, letter.stream.as_str(), letter.group.as_str()), (id, "flights", "desk"));
    assert_eq!(letter.consumer, running.consumer());
    assert_eq!(letter.fields.text("data"), Some(r#"{"flight":"UA 1","passengers":1}"#));
    assert!(letter.died_at >= letter.published_at, "{letter:?}");
    (letter, running.stop().await)
}

async fn after_the_last_attempt_an_entry_is_a_dead_letter(url: &str) {
    async fn fails(_: Cancelled) -> Result<(), HandlerError> {
        "x".parse::<u32>().map_err(|error| HandlerError::from(error).context("seats"))?;
        Ok(())
    }
    let bus = connect(url).await;
    let service = Service::new("desk").on(fails).retry(Retry::fixed(SOON).max_attempts(3));
    let (letter, report) = give_up_on(&bus, service).await;
    assert_eq!((letter.reason.as_str(), letter.attempts), ("failed", 3));
    assert_eq!(letter.error, "seats: invalid digit found in string");
    assert_eq!((report.failed, report.retried, report.handled), (3, 2, 0), "{report}");
}

async fn a_rejected_entry_is_a_dead_letter_at_once(url: &str) {
    let rejects = async |_: Cancelled| Err::<(), _>(HandlerError::reject("no such airline"));
    let bus = connect(url).await;
    let (letter, report) = give_up_on(&bus, Service::new("desk").on(rejects)).await;
    assert_eq!(
        (letter.reason.as_str(), letter.error.as_str(), letter.attempts),
        ("rejected", "no such airline", 1)
    );
    assert_eq!((report.failed, report.retried), (1, 0), "{report}");
}

async fn a_panic_fails_one_delivery_only(url: &str) {
    async fn panics(event: Cancelled) {
        // The first at once, the second after it has waited, the others not at all.
        if event.passengers == 1 {
            panic!("seat {} is taken", event.flight);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(event.passengers != 2, "late");
    }
    let bus = connect(url).await;
    let running = Service::new("desk").on(panics).retry(Retry::none()).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(10)).await.unwrap();
    until("all are settled", || running.report().handled == 8 && running.report().dead == 2).await;
    let mut errors: Vec<_> =
        letters(&bus).await.into_iter().map(|letter| (letter.reason, letter.error)).collect();
    errors.sort();
    let panicked = |error: &str| ("panicked".to_owned(), error.to_owned());
    assert_eq!(errors, [panicked("late"), panicked("seat UA 1 is taken")]);
    running.stop().await;
}

async fn a_timeout_fails_one_delivery_only(url: &str) {
    async fn hangs(event: Cancelled) {
        if event.passengers == 1 {
            std::future::pending::<()>().await;
        }
    }
    let bus = connect(url).await;
    let service =
        Service::new("desk").on(hangs).retry(Retry::fixed(SOON).max_attempts(2)).handler_timeout(SOON * 3);
    let running = service.start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(3)).await.unwrap();
    until("all are settled", || running.report().handled == 2 && running.report().dead == 1).await;
    let [letter] = letters(&bus).await.try_into().unwrap();
    assert_eq!(
        (letter.reason.as_str(), letter.error.as_str(), letter.attempts),
        ("timed out", "no end after 30ms", 2)
    );
    running.stop().await;
}

async fn a_handler_may_choose_the_delay(url: &str) {
    async fn busy(_: Cancelled, delivery: Delivery) -> Result<(), HandlerError> {
        if delivery.attempt == 1 { Err(HandlerError::retry_in(SOON)) } else { Ok(()) }
    }
    let bus = connect(url).await;
    let running = Service::new("desk").on(busy).retry(Retry::fixed(NEVER)).start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is handled", || running.report().handled == 1).await;
    running.stop().await;
}

async fn a_poison_entry_keeps_its_fields(url: &str) {
    #[derive(Event, Serialize, Deserialize)]
    #[event(stream = "flights", action = "flight.cancelled")]
    struct Poison {
        passengers: String,
    }
    let bus = connect(url).await;
    let running = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
    bus.publish(&Poison { passengers: "many".to_owned() }).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("both are settled", || running.report().handled == 1 && running.report().dead == 1).await;
    let [letter] = letters(&bus).await.try_into().unwrap();
    assert_eq!((letter.reason.as_str(), letter.attempts), ("undecodable", 1));
    assert!(letter.error.starts_with("the JSON does not fit: "), "{}", letter.error);
    assert_eq!(letter.fields.text("data"), Some(r#"{"passengers":"many"}"#));
    assert_eq!(letter.fields.text("action"), Some("flight.cancelled"));
    running.stop().await;
}

async fn unhandled_actions_are_acknowledged_and_counted(url: &str) {
    let bus = connect(url).await;
    let running = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
    bus.publish(&Departed { flight: "UA 1".to_owned(), minutes_late: 0 }).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("both are settled", || running.report().handled == 1 && running.report().unhandled == 1).await;
    nothing_pending(&bus, "desk").await;
    running.stop().await;
}

async fn at_most_once_leaves_nothing_pending(url: &str) {
    async fn fails(event: Cancelled, State(seen): State<Seen<u32>>) -> Result<(), HandlerError> {
        seen.push(event.passengers);
        if event.passengers == 1 { Err(HandlerError::failed("broken")) } else { Ok(()) }
    }
    let bus = connect(url).await;
    let seen = Seen::new();
    let service = Service::new("desk").state(seen.clone()).on(fails).no_ack();
    let running = service.start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(3)).await.unwrap();
    until("all were called", || seen.len() == 3 && running.report().dead == 1).await;
    assert_eq!(pending(&bus, "desk").await, 0);
    let report = running.stop().await;
    assert_eq!((report.handled, report.failed, report.retried), (2, 1, 0), "{report}");
}

fn reclaiming() -> Service {
    Service::new("desk").reclaim_after(Duration::from_millis(300))
}

async fn entries_of_the_dead_are_taken_over(url: &str) {
    let bus = connect(url).await;
    let started = Seen::new();
    let hangs = async |event: Cancelled, State(started): State<Seen<u32>>| {
        started.push(event.passengers);
        std::future::pending::<()>().await;
    };
    let victim = reclaiming().state(started.clone()).on(hangs).concurrency(5).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(20)).await.unwrap();
    until("five are running", || started.len() == 5).await;
    // As SIGKILL would.
    drop(victim);
    let seen = Seen::new();
    let handler = async |event: Cancelled, delivery: Delivery, State(seen): State<Seen<(u32, u32)>>| {
        seen.push((event.passengers, delivery.attempt));
    };
    let heir = reclaiming().state(seen.clone()).on(handler).start(&bus).await.unwrap();
    until("all are handled", || heir.report().handled == 20).await;
    let mut all = seen.all();
    all.sort_unstable();
    assert!(all.iter().map(|(number, _)| *number).eq(0..20), "{all:?}");
    assert!(all.iter().take(5).all(|(_, attempt)| *attempt == 2), "{all:?}");
    nothing_pending(&bus, "desk").await;
    let report = heir.stop().await;
    assert!(report.claimed >= 5, "{report}");
}

async fn a_slow_handler_keeps_its_entry(url: &str) {
    let bus = connect(url).await;
    let started = Seen::new();
    let slow = async |event: Cancelled, State(started): State<Seen<u32>>| {
        started.push(event.passengers);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    };
    let start =
        async || reclaiming().state(started.clone()).on(slow).concurrency(2).start(&bus).await.unwrap();
    let instances = [start().await, start().await];
    // More than fits: the rest waits in the queues of the instances, and is kept there too.
    bus.publish_all(&Cancelled::series(6)).await.unwrap();
    until("all are handled", || instances.iter().map(|running| running.report().handled).sum::<u64>() == 6)
        .await;
    let mut all = started.all();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5]);
    for running in instances {
        assert_eq!(running.stop().await.claimed, 0);
    }
}

async fn what_every_delivery_kills_is_buried_unrun(url: &str) {
    let bus = connect(url).await;
    let started = Seen::new();
    let hangs = async |_: Cancelled, delivery: Delivery, State(started): State<Seen<u32>>| {
        started.push(delivery.attempt);
        std::future::pending::<()>().await;
    };
    let start = async || {
        let service =
            reclaiming().reclaim_after(Duration::from_millis(100)).retry(Retry::fixed(SOON).max_attempts(2));
        service.state(started.clone()).on(hangs).start(&bus).await.unwrap()
    };
    let mut victim: Running = start().await;
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    for attempt in 1..=3 {
        until("it is running", || started.all().last() == Some(&attempt)).await;
        drop(victim);
        victim = start().await;
    }
    until("it is buried", || victim.report().dead == 1).await;
    let [letter] = letters(&bus).await.try_into().unwrap();
    assert_eq!((letter.reason.as_str(), letter.attempts), ("never finished", 3));
    assert_eq!(started.all(), [1, 2, 3]);
    victim.stop().await;
}

/// With the broker inside the process and paused time, hours of waiting take no time.
#[cfg(feature = "embedded")]
#[tokio::test(start_paused = true)]
async fn paused_time_runs_through_long_retries() {
    let bus = connect("memory:").await;
    let seen = Seen::new();
    let fails = async |_: Cancelled, delivery: Delivery, State(seen): State<Seen<u32>>| {
        seen.push(delivery.attempt);
        Err::<(), _>(HandlerError::failed("still closed"))
    };
    let retry = Retry::exponential(NEVER..NEVER * 24).max_attempts(5);
    let running = Service::new("desk").state(seen.clone()).on(fails).retry(retry).start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    let begin = tokio::time::Instant::now();
    while running.report().dead == 0 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(seen.all(), [1, 2, 3, 4, 5]);
    assert!(begin.elapsed() > NEVER * 7 && begin.elapsed() < NEVER * 16, "{:?}", begin.elapsed());
    running.stop().await;
}
