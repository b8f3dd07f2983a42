//! Services: consumer groups with handlers.

use std::time::Duration;

use cauce::{Delivery, HandlerError, Headers, Retry, Service, State};

use crate::support::{Cancelled, Departed, Seen, connect, on_every_target, until};

on_every_target!(
    handlers_get_their_events,
    a_group_shares_the_work_and_other_groups_get_it_too,
    a_failed_delivery_is_tried_again,
);

async fn handlers_get_their_events(url: &str) {
    async fn cancelled(
        event: Cancelled,
        State(seen): State<Seen<String>>,
        delivery: Delivery,
        headers: Headers,
    ) {
        assert_eq!((&*delivery.stream, delivery.attempt, &*delivery.group), ("flights", 1, "desk"));
        assert!(headers.id().is_some());
        seen.push(event.flight);
    }
    async fn departed(event: Departed, State(seen): State<Seen<String>>) -> Result<(), HandlerError> {
        tokio::task::yield_now().await;
        seen.push(event.flight);
        Ok(())
    }
    let bus = connect(url).await;
    let seen = Seen::new();
    let service = Service::new("desk").state(seen.clone()).on(cancelled).on(departed);
    let running = service.start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(100)).await.unwrap();
    bus.publish(&Departed { flight: "AA 1".to_owned(), minutes_late: 5 }).await.unwrap();
    until("all are handled", || running.report().handled == 101).await;
    let report = running.stop().await;
    assert_eq!((report.handled, report.failed, report.late), (101, 0, 0), "{report}");
    assert_eq!(seen.all().last().map(String::as_str), Some("AA 1"));
}

async fn a_group_shares_the_work_and_other_groups_get_it_too(url: &str) {
    let bus = connect(url).await;
    let service = |group: &str| Service::new(group).on(async |_: Cancelled| {});
    let first = service("desk").start(&bus).await.unwrap();
    let second = service("desk").start(&bus).await.unwrap();
    let other = service("statistics").start(&bus).await.unwrap();
    for event in Cancelled::series(500) {
        bus.publish(&event).await.unwrap();
    }
    until("the group is done", || first.report().handled + second.report().handled == 500).await;
    until("the other group is done", || other.report().handled == 500).await;
    for running in [first, second, other] {
        let report = running.stop().await;
        assert_eq!((report.duplicates, report.late), (0, 0), "{report}");
    }
}

async fn a_failed_delivery_is_tried_again(url: &str) {
    async fn fails_twice(
        event: Cancelled,
        delivery: Delivery,
        State(seen): State<Seen<(u32, u32)>>,
    ) -> Result<(), HandlerError> {
        seen.push((event.passengers, delivery.attempt));
        if delivery.attempt < 3 {
            "x".parse::<u32>()?;
        }
        Ok(())
    }
    let bus = connect(url).await;
    let seen = Seen::new();
    let service = Service::new("desk")
        .state(seen.clone())
        .on(fails_twice)
        .retry(Retry::fixed(Duration::from_millis(20)));
    let running = service.start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is handled", || running.report().handled == 1).await;
    assert_eq!(seen.all(), [(1, 1), (1, 2), (1, 3)]);
    let report = running.stop().await;
    assert_eq!((report.handled, report.failed, report.retried, report.dead), (1, 2, 2, 0), "{report}");
}
