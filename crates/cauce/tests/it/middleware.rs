//! What happens around handlers and publishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cauce::{
    Batch, Bus, CircuitBreaker, EntryId, Handled, HandlerError, Incoming, Middleware, Next, NextPublish,
    Outgoing, PublishError, Published, QueueOptions, RateLimit, Retry, Service, State, Timeout, Worker,
};
use tokio::time::Instant;

use crate::support::{Cancelled, Seen, connect, on_every_target, until};

on_every_target!(
    middleware_runs_from_the_outside_in,
    middleware_around_a_batch_sees_one_call,
    workers_have_middleware_too,
    a_timeout_is_a_failed_attempt,
    publishes_pass_middleware,
    a_breaker_pauses_without_using_attempts_up,
    handlers_publish_on_the_bus_they_run_on,
);

/// Notes when it is entered and left.
#[derive(Clone)]
struct Noting(&'static str, Seen<String>);

impl Middleware for Noting {
    fn consume(&self, incoming: &Incoming, next: Next) -> Handled {
        let Self(name, seen) = self.clone();
        seen.push(format!("{name} in {} x{}", incoming.attempt, incoming.length));
        Box::pin(async move {
            let outcome = next.run().await;
            seen.push(format!("{name} out {}", outcome.is_ok()));
            outcome
        })
    }

    fn publish<'a>(&'a self, mut outgoing: Outgoing, next: NextPublish<'a>) -> Published<'a> {
        outgoing.fields.push_text("through", self.0);
        next.run(outgoing)
    }
}

async fn middleware_runs_from_the_outside_in(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let handler = async |_: Cancelled, State(seen): State<Seen<String>>| seen.push("handler".to_owned());
    let service = Service::new("desk").state(seen.clone()).on(handler);
    let service = service.middleware(Noting("outer", seen.clone())).middleware(Noting("inner", seen.clone()));
    let running = service.start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is handled", || running.report().handled == 1).await;
    // A middleware is entered when its part of the chain is made, the innermost first; what it does runs from the outside in.
    let ran: Vec<_> = seen.all().into_iter().filter(|line| !line.contains(" in ")).collect();
    assert_eq!(ran, ["handler", "inner out true", "outer out true"]);
    running.stop().await;
}

async fn middleware_around_a_batch_sees_one_call(url: &str) {
    let bus = connect(url).await;
    let seen = Seen::new();
    let handler = async |batch: Batch<Cancelled>| -> Vec<Result<(), HandlerError>> {
        let fails = |event: Cancelled| event.passengers == 1;
        batch
            .into_iter()
            .map(|(event, _)| if fails(event) { Err(HandlerError::reject("full")) } else { Ok(()) })
            .collect()
    };
    let service = Service::new("desk").on_batch(3, Duration::from_secs(5), handler);
    let running = service.middleware(Noting("around", seen.clone())).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(3)).await.unwrap();
    until("all are settled", || running.report().handled == 2 && running.report().dead == 1).await;
    assert_eq!(seen.all(), ["around in 1 x3", "around out false"]);
    running.stop().await;
}

async fn workers_have_middleware_too(url: &str) {
    let bus = connect(url).await;
    let queue = bus.queues().create("jobs", &QueueOptions::new()).await.unwrap();
    let seen = Seen::new();
    let worker = Worker::new(&queue).on(async |_: String| {}).middleware(Noting("around", seen.clone()));
    let running = worker.start().await.unwrap();
    queue.send(&"job".to_owned()).await.unwrap();
    until("it is handled", || running.report().handled == 1).await;
    assert_eq!(seen.all(), ["around in 1 x1", "around out true"]);
    running.stop().await;
}

async fn a_timeout_is_a_failed_attempt(url: &str) {
    let bus = connect(url).await;
    let handler = async |_: Cancelled| std::future::pending::<()>().await;
    let service = Service::new("desk").on(handler).retry(Retry::none());
    let running = service.middleware(Timeout::new(Duration::from_millis(50))).start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is dead", || running.report().dead == 1).await;
    let letters = bus.inspect().dead_letters("flights", EntryId::ZERO, 1).await.unwrap();
    assert!(letters[0].error.contains("no end after 50ms"), "{}", letters[0].error);
    running.stop().await;
}

async fn publishes_pass_middleware(url: &str) {
    struct Refuses;
    impl Middleware for Refuses {
        fn publish<'a>(&'a self, _: Outgoing, _: NextPublish<'a>) -> Published<'a> {
            Box::pin(async { Err(PublishError::Refused { reason: "not today".to_owned() }) })
        }
    }
    let bus = connect(url).await;
    let marked = bus.middleware(Noting("first", Seen::new())).middleware(Noting("second", Seen::new()));
    marked.publish(&Cancelled::numbered(1)).await.unwrap();
    marked.publish_all(&Cancelled::series(2)).await.unwrap();
    let error = bus.middleware(Refuses).publish(&Cancelled::numbered(2)).await.unwrap_err();
    assert_eq!(error.to_string(), "not published: not today");
    let entries = bus.inspect().entries("flights", EntryId::ZERO, 10).await.unwrap();
    assert_eq!(entries.len(), 3);
    for entry in entries {
        let through: Vec<_> =
            entry.fields.iter().filter(|(name, _)| *name == b"through").map(|(_, by)| by.to_vec()).collect();
        assert_eq!(through, [b"first".to_vec(), b"second".to_vec()]);
    }
    let limited = bus.middleware(RateLimit::new(1, Duration::from_millis(100)));
    let began = Instant::now();
    limited.publish_all(&Cancelled::series(3)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

async fn a_breaker_pauses_without_using_attempts_up(url: &str) {
    type Down = Arc<AtomicBool>;
    let bus = connect(url).await;
    let down: Down = Arc::new(AtomicBool::new(true));
    let handler = async |_: Cancelled, State(down): State<Down>| -> Result<(), HandlerError> {
        if down.load(Ordering::Relaxed) { Err(HandlerError::failed("the database is away")) } else { Ok(()) }
    };
    let breaker = CircuitBreaker::new(3, Duration::from_millis(200));
    // Without a pause, everything would be dead at once.
    let retry = Retry::immediate().max_attempts(5);
    let service = Service::new("desk").state(down.clone()).on(handler).retry(retry).concurrency(1);
    let running = service.middleware(breaker.clone()).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(20)).await.unwrap();
    until("it pauses", || breaker.is_paused()).await;
    down.store(false, Ordering::Relaxed);
    until("all are handled", || running.report().handled == 20).await;
    let report = running.stop().await;
    assert_eq!((report.failed, report.dead), (3, 0), "{report}");
}

async fn handlers_publish_on_the_bus_they_run_on(url: &str) {
    #[derive(cauce::Event, serde::Serialize, serde::Deserialize)]
    #[event(stream = "notices", action = "notice.sent")]
    struct Notice {
        flight: String,
    }
    async fn notify(event: Cancelled, bus: Bus) -> Result<(), HandlerError> {
        bus.publish(&Notice { flight: event.flight }).await?;
        Ok(())
    }
    let bus = connect(url).await;
    let running = Service::new("desk").on(notify).start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(7)).await.unwrap();
    until("it is handled", || running.report().handled == 1).await;
    assert_eq!(bus.inspect().stream("notices").await.unwrap().unwrap().length, 1);
    running.stop().await;
}
