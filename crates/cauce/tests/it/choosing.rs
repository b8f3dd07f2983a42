//! Every claim of docs/choosing.md, by its mark.

use std::time::{Duration, Instant};

use cauce::{
    Bus, Delivery, EntryId, HandlerError, Queue, QueueOptions, Received, Retry, Service, Start, State,
    Subscription, Worker,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Cancelled, Seen, connect, on_every_target, soon, until, until_async};

on_every_target!(
    a1_every_connected_instance_gets_a_message,
    a2_nobody_has_to_listen,
    a3_the_absent_lose_it,
    a4_receivers_do_not_delay_the_publisher,
    a5_nobody_tries_again,
    a6_a_slow_receiver_is_told_what_it_missed,
    b1_every_group_gets_it_and_one_instance_in_each,
    b2_a_stream_needs_no_receiver,
    b3_the_absent_find_it_when_they_come_back,
    b4_handlers_do_not_delay_the_publisher,
    b5_what_failed_is_tried_again,
    b6_after_the_last_attempt_it_is_a_dead_letter_with_its_reason,
    b7_what_the_dead_held_is_taken_over,
    b8_a_backlog_waits_in_the_stream,
    b9_a_new_group_can_begin_at_the_beginning,
    b10_without_acknowledgement_it_is_at_most_once,
    c1_channels_and_streams_do_not_disturb_each_other,
    e1_one_of_all_receivers_gets_a_message,
    e2_a_queue_must_be_there_and_needs_no_receiver,
    e3_messages_wait_for_a_receiver,
    e4_what_failed_comes_again_and_ends_as_a_dead_letter_with_its_reason,
    e5_what_the_dead_held_comes_again,
    e6_what_was_handled_is_gone,
    e7_a_popped_message_comes_at_most_once,
    e8_a_message_can_be_sent_for_later,
);

async fn listen(bus: &Bus) -> Subscription<String> {
    bus.subscribe(["news"]).await.unwrap()
}

async fn next(subscription: &mut Subscription<String>) -> String {
    match soon("a message", subscription.next()).await {
        Received::Message { body, .. } => body,
        other => panic!("a message was expected: {other:?}"),
    }
}

async fn say(bus: &Bus, text: &str) -> u64 {
    bus.channel("news").publish(&text.to_owned()).await.unwrap()
}

async fn a1_every_connected_instance_gets_a_message(url: &str) {
    let bus = connect(url).await;
    let mut instances = [listen(&bus).await, listen(&bus).await, listen(&bus).await];
    assert_eq!(say(&bus, "hello").await, 3);
    for instance in &mut instances {
        assert_eq!(next(instance).await, "hello");
    }
}

async fn a2_nobody_has_to_listen(url: &str) {
    let bus = connect(url).await;
    assert_eq!(say(&bus, "into the void").await, 0);
}

async fn a3_the_absent_lose_it(url: &str) {
    let bus = connect(url).await;
    say(&bus, "too early").await;
    let mut late = listen(&bus).await;
    say(&bus, "in time").await;
    assert_eq!(next(&mut late).await, "in time");
}

async fn a4_receivers_do_not_delay_the_publisher(url: &str) {
    let bus = connect(url).await;
    // Nobody reads from this subscription while 100 messages are published.
    let mut idle = listen(&bus).await;
    for n in 0..100 {
        say(&bus, &n.to_string()).await;
    }
    assert_eq!(next(&mut idle).await, "0");
}

async fn a5_nobody_tries_again(url: &str) {
    let bus = connect(url).await;
    let mut reader = listen(&bus).await;
    say(&bus, "a message whose reader fails").await;
    let _failed: Result<u32, _> = next(&mut reader).await.parse::<u32>();
    say(&bus, "the next").await;
    assert_eq!(next(&mut reader).await, "the next");
}

async fn a6_a_slow_receiver_is_told_what_it_missed(url: &str) {
    const PUBLISHED: u64 = 40_000;
    let bus = connect(url).await;
    let mut slow = listen(&bus).await;
    let channel = bus.channel("news");
    let body = "x".to_owned();
    for _ in 0..PUBLISHED / 1000 {
        let together = (0..1000).map(|_| channel.publish(&body));
        futures_util::future::try_join_all(together).await.unwrap();
    }
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < PUBLISHED {
        match soon("the next message or gap", slow.next()).await {
            Received::Message { .. } => seen += 1,
            Received::Missed(count) => missed += count,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen + missed, PUBLISHED);
    assert!(missed > 0, "nobody read while more was published than is kept for a slow reader");
}

async fn count_in(service: Service, bus: &Bus) -> (cauce::Running, Seen<String>) {
    let seen = Seen::new();
    let running = service.state(seen.clone()).on(note).start(bus).await.unwrap();
    (running, seen)
}

async fn note(event: Cancelled, State(seen): State<Seen<String>>) {
    seen.push(event.flight);
}

async fn starts_and_hangs(event: Cancelled, State(started): State<Seen<String>>) {
    started.push(event.flight);
    std::future::pending::<()>().await;
}

async fn b1_every_group_gets_it_and_one_instance_in_each(url: &str) {
    let bus = connect(url).await;
    let (one, seen_by_one) = count_in(Service::new("rebooking"), &bus).await;
    let (two, seen_by_two) = count_in(Service::new("rebooking"), &bus).await;
    let (other, seen_by_other) = count_in(Service::new("statistics"), &bus).await;
    bus.publish_all(&Cancelled::series(200)).await.unwrap();
    until("both groups are done", || {
        seen_by_one.all().len() + seen_by_two.all().len() == 200 && seen_by_other.all().len() == 200
    })
    .await;
    let mut together = [seen_by_one.all(), seen_by_two.all()].concat();
    together.sort();
    together.dedup();
    assert_eq!(together.len(), 200, "no event was handled by both");
    for running in [one, two, other] {
        running.stop().await;
    }
}

async fn b2_a_stream_needs_no_receiver(url: &str) {
    let bus = connect(url).await;
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
}

async fn b3_the_absent_find_it_when_they_come_back(url: &str) {
    let bus = connect(url).await;
    let (running, _) = count_in(Service::new("desk"), &bus).await;
    running.stop().await;
    bus.publish_all(&Cancelled::series(10)).await.unwrap();
    let (running, seen) = count_in(Service::new("desk"), &bus).await;
    until("the backlog is handled", || seen.all().len() == 10).await;
    running.stop().await;
}

async fn b4_handlers_do_not_delay_the_publisher(url: &str) {
    async fn never(_: Cancelled) {
        std::future::pending::<()>().await;
    }
    let bus = connect(url).await;
    let service = Service::new("desk").on(never).shutdown_deadline(Duration::ZERO);
    let running = service.start(&bus).await.unwrap();
    for n in 0..10 {
        bus.publish(&Cancelled::numbered(n)).await.unwrap();
    }
    assert_eq!(running.report().handled, 0);
    running.stop().await;
}

async fn b5_what_failed_is_tried_again(url: &str) {
    async fn fails_once(_: Cancelled, delivery: Delivery) -> Result<(), HandlerError> {
        if delivery.attempt == 1 { Err(HandlerError::retry_in(Duration::from_millis(10))) } else { Ok(()) }
    }
    let bus = connect(url).await;
    let running = Service::new("desk").on(fails_once).start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is handled", || running.report().handled == 1).await;
    assert_eq!(running.stop().await.failed, 1);
}

async fn b6_after_the_last_attempt_it_is_a_dead_letter_with_its_reason(url: &str) {
    async fn fails(_: Cancelled) -> Result<(), HandlerError> {
        "twelve".parse::<u32>()?;
        Ok(())
    }
    let bus = connect(url).await;
    let retry = Retry::fixed(Duration::from_millis(5)).max_attempts(2);
    let running = Service::new("desk").on(fails).retry(retry).start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is dead", || running.report().dead == 1).await;
    running.stop().await;
    let letters = bus.inspect().dead_letters("flights", EntryId::ZERO, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert!(letter.error.contains("invalid digit"), "{letter:?}");
    assert_eq!((letter.attempts, letter.group.as_str()), (2, "desk"));
}

async fn b7_what_the_dead_held_is_taken_over(url: &str) {
    let bus = connect(url).await;
    let patience = Duration::from_millis(300);
    let started = Seen::new();
    let service = Service::new("desk").state(started.clone()).on(starts_and_hangs).reclaim_after(patience);
    let dying = service.start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is being handled", || started.len() == 1).await;
    // Dropped without stopping: as a crash.
    drop(dying);
    let (running, seen) = count_in(Service::new("desk").reclaim_after(patience), &bus).await;
    until("the other instance has it", || seen.all().len() == 1).await;
    assert_eq!(running.stop().await.claimed, 1);
}

async fn b8_a_backlog_waits_in_the_stream(url: &str) {
    let bus = connect(url).await;
    let (running, _) = count_in(Service::new("desk"), &bus).await;
    running.stop().await;
    bus.publish_all(&Cancelled::series(5_000)).await.unwrap();
    let groups = bus.inspect().groups("flights").await.unwrap();
    assert_eq!(groups[0].lag, Some(5_000));
}

async fn b9_a_new_group_can_begin_at_the_beginning(url: &str) {
    let bus = connect(url).await;
    bus.publish_all(&Cancelled::series(10)).await.unwrap();
    let (running, seen) = count_in(Service::new("audit").start_at(Start::Beginning), &bus).await;
    until("all are handled", || seen.all().len() == 10).await;
    running.stop().await;
}

async fn b10_without_acknowledgement_it_is_at_most_once(url: &str) {
    let bus = connect(url).await;
    let started = Seen::new();
    let service = Service::new("desk").state(started.clone()).on(starts_and_hangs).no_ack();
    let dying = service.start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is being handled", || started.len() == 1).await;
    drop(dying);
    let groups = bus.inspect().groups("flights").await.unwrap();
    assert_eq!((groups[0].pending, groups[0].lag), (0, Some(0)), "nobody will ever get it again");
}

async fn c1_channels_and_streams_do_not_disturb_each_other(url: &str) {
    let bus = connect(url).await;
    let mut display = listen(&bus).await;
    let (running, seen) = count_in(Service::new("desk"), &bus).await;
    for n in 0..50 {
        bus.publish(&Cancelled::numbered(n)).await.unwrap();
        say(&bus, &n.to_string()).await;
    }
    for n in 0..50 {
        assert_eq!(next(&mut display).await, n.to_string());
    }
    until("all are handled", || seen.all().len() == 50).await;
    running.stop().await;
}

/// A service that answers over HTTP after `work`, calling the next one first, if there is one.
async fn http_service(work: Duration, next: Option<std::net::SocketAddr>) -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _length = stream.read(&mut request).await.unwrap();
            tokio::time::sleep(work).await;
            if let Some(next) = next {
                call(next).await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    });
    address
}

async fn call(address: std::net::SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: service\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn d1_d3_a_caller_names_its_receiver_and_waits_for_the_sum_of_all_work() {
    let work = Duration::from_millis(30);
    let third = http_service(work, None).await;
    let second = http_service(work, Some(third)).await;
    let first = http_service(work, Some(second)).await;
    let begun = Instant::now();
    assert!(call(first).await.unwrap().starts_with("HTTP/1.1 204"));
    assert!(begun.elapsed() >= 3 * work);
}

#[tokio::test]
async fn d2_a_call_to_an_absent_receiver_fails() {
    let address = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    assert!(call(address).await.is_err());
}

async fn queue(bus: &Bus) -> Queue {
    bus.queues().ensure("rebook", &QueueOptions::new()).await.unwrap()
}

async fn e1_one_of_all_receivers_gets_a_message(url: &str) {
    let (here, there) = (connect(url).await, connect(url).await);
    let queues = [queue(&here).await, queue(&there).await];
    let seen = Seen::new();
    let mut workers = Vec::new();
    for queue in &queues {
        workers.push(Worker::new(queue).state(seen.clone()).on(note).start().await.unwrap());
    }
    queues[0].send_all(&Cancelled::series(200)).await.unwrap();
    until("all are handled", || workers.iter().map(|worker| worker.report().handled).sum::<u64>() == 200)
        .await;
    let mut flights = seen.all();
    flights.sort();
    flights.dedup();
    assert_eq!(flights.len(), 200, "each message was handled once");
    for worker in workers {
        worker.stop().await;
    }
}

async fn e2_a_queue_must_be_there_and_needs_no_receiver(url: &str) {
    let bus = connect(url).await;
    let absent = bus.queues().queue("rebook").unwrap().send(&"x".to_owned()).await;
    assert_eq!(absent.unwrap_err().code(), "queueNotFound");
    queue(&bus).await.send(&"x".to_owned()).await.unwrap();
}

async fn e3_messages_wait_for_a_receiver(url: &str) {
    let bus = connect(url).await;
    let queue = queue(&bus).await;
    queue.send_all(&Cancelled::series(1_000)).await.unwrap();
    assert_eq!(queue.attributes().await.unwrap().msgs, 1_000);
    let worker = Worker::new(&queue).state(Seen::new()).on(note).start().await.unwrap();
    until("the backlog is handled", || worker.report().handled == 1_000).await;
    worker.stop().await;
}

async fn e4_what_failed_comes_again_and_ends_as_a_dead_letter_with_its_reason(url: &str) {
    async fn fails(_: Cancelled) -> Result<(), HandlerError> {
        "twelve".parse::<u32>()?;
        Ok(())
    }
    let bus = connect(url).await;
    let queue = queue(&bus).await;
    let retry = Retry::fixed(Duration::from_millis(5)).max_attempts(2);
    let worker = Worker::new(&queue).on(fails).retry(retry).start().await.unwrap();
    queue.send(&Cancelled::numbered(1)).await.unwrap();
    until("it is dead", || worker.report().dead == 1).await;
    assert_eq!(worker.stop().await.failed, 2);
    let letters = queue.dead_letter_queue().unwrap().dead_letters(10).await.unwrap();
    assert!(letters.len() == 1 && letters[0].error.contains("invalid digit"), "{letters:?}");
}

async fn e5_what_the_dead_held_comes_again(url: &str) {
    let bus = connect(url).await;
    let queue = queue(&bus).await;
    let started = Seen::new();
    let lease = Duration::from_millis(300);
    let worker = || Worker::new(&queue).visibility(lease);
    let dying = worker().state(started.clone()).on(starts_and_hangs).start().await.unwrap();
    queue.send(&Cancelled::numbered(1)).await.unwrap();
    until("it is being handled", || started.len() == 1).await;
    // Dropped without stopping: as a crash.
    drop(dying);
    let seen = Seen::new();
    let running = worker().state(seen.clone()).on(note).start().await.unwrap();
    until("another has it", || seen.len() == 1).await;
    running.stop().await;
}

async fn e6_what_was_handled_is_gone(url: &str) {
    let bus = connect(url).await;
    let queue = queue(&bus).await;
    let worker = Worker::new(&queue).state(Seen::new()).on(note).start().await.unwrap();
    queue.send(&Cancelled::numbered(1)).await.unwrap();
    until_async("it is deleted", async || queue.attributes().await.unwrap().msgs == 0).await;
    assert_eq!(worker.stop().await.handled, 1);
}

async fn e7_a_popped_message_comes_at_most_once(url: &str) {
    let bus = connect(url).await;
    let queue = queue(&bus).await;
    queue.send(&"once".to_owned()).await.unwrap();
    let popped = queue.pop().await.unwrap().unwrap();
    assert_eq!(popped.text(), "once");
    assert!(queue.receive().await.unwrap().is_none(), "whatever becomes of it, nobody will get it again");
}

async fn e8_a_message_can_be_sent_for_later(url: &str) {
    let bus = connect(url).await;
    let queue = queue(&bus).await;
    let delay = Duration::from_millis(200);
    let begun = Instant::now();
    queue.send_in(delay, &"later".to_owned()).await.unwrap();
    assert!(queue.receive().await.unwrap().is_none());
    let message = soon("the message", queue.receive_wait(Duration::from_secs(20))).await.unwrap().unwrap();
    assert!(message.text() == "later" && begun.elapsed() >= delay - Duration::from_millis(5), "{message:?}");
}
