//! Traces through entries, retries and queues.

use cauce::{Bus, Delivery, HandlerError, QueueOptions, Retry, Service, State, TraceContext};

use crate::support::{Seen, Server, connect, on_every_target, until};

on_every_target!(a_trace_goes_on_without_opentelemetry);

async fn a_trace_goes_on_without_opentelemetry(url: &str) {
    async fn note(
        _: crate::support::Cancelled,
        delivery: Delivery,
        bus: Bus,
        State(seen): State<Seen<Option<TraceContext>>>,
    ) -> Result<(), HandlerError> {
        seen.push(TraceContext::current());
        if delivery.attempt == 1 {
            return Err(HandlerError::failed("once"));
        }
        bus.queues().queue("tickets")?.send(&"ticket".to_owned()).await?;
        Ok(())
    }
    let bus = connect(url).await;
    let queue = bus.queues().create("tickets", &QueueOptions::new()).await.unwrap();
    let seen = Seen::new();
    let service = Service::new("desk").state(seen.clone()).on(note).retry(Retry::immediate());
    let running = service.start(&bus).await.unwrap();
    let trace = TraceContext::new();
    trace.scope(bus.publish(&crate::support::Cancelled::numbered(1))).await.unwrap();
    bus.publish(&crate::support::Cancelled::numbered(2)).await.unwrap();
    until("both are handled", || running.report().handled == 2).await;
    let traces: Vec<_> = seen.all().into_iter().map(|seen| seen.map(|seen| seen.trace_id())).collect();
    assert_eq!(traces.iter().filter(|seen| **seen == Some(trace.trace_id())).count(), 2, "both attempts");
    assert_eq!(
        traces.iter().filter(|seen| seen.is_none()).count(),
        2,
        "outside of a trace nothing is carried"
    );
    let messages = queue.pop_many(2).await.unwrap();
    let mut traces: Vec<_> =
        messages.iter().map(|message| message.trace().map(|trace| trace.trace_id())).collect();
    traces.sort_unstable();
    assert_eq!(traces, [None, Some(trace.trace_id())]);
    running.stop().await;
}

/// RSMQ's own clients delete the fields of a message that they know.
#[tokio::test]
async fn traces_that_others_leave_behind_are_swept() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let queue = bus.queues().create("tickets", &QueueOptions::new()).await.unwrap();
    let bodies: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let trace = TraceContext::new();
    for _ in 0..30 {
        let ids = trace.scope(queue.send_all(&bodies)).await.unwrap();
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        server.cli(&[&["ZREM", "rsmq:tickets"][..], &ids].concat());
        server.cli(&[&["HDEL", "rsmq:tickets:Q"][..], &ids].concat());
    }
    let left: usize = server.cli(&["HLEN", "rsmq:tickets:Q"]).parse().unwrap();
    assert!(left < 3_000, "{left} of 6,000 are left");
}
