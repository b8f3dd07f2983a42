//! Queues: RSMQ's steps, limits and errors.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use cauce::{
    Bus, CommandError, Message, MessageId, Queue, QueueChanges, QueueError, QueueOptions, Queues, Units,
};

use crate::support::{Cancelled, Server, connect, on_every_target, soon, until_async};

on_every_target!(
    a_queue_is_made_listed_changed_and_deleted,
    messages_come_in_order_and_stay_hidden,
    a_pop_deletes,
    concurrent_calls_keep_their_order_and_outcomes,
    a_batch_is_sent_whole_or_not_at_all,
    delays_and_visibility_timeouts_are_kept,
    sizes_are_counted_as_javascript_counts,
    errors_have_the_names_of_rsmq,
    what_was_received_by_others_is_fenced,
    concurrent_deletes_have_their_own_outcomes,
    calls_that_are_given_up_hold_up_nobody,
    messages_move_in_one_step,
    events_travel_as_json,
);

const HOUR: Duration = Duration::from_secs(3600);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) async fn made(bus: &Bus, name: &str) -> Queue {
    bus.queues().create(name, &QueueOptions::new()).await.unwrap()
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

pub(crate) fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.text().into_owned()).collect()
}

async fn a_queue_is_made_listed_changed_and_deleted(url: &str) {
    let bus = connect(url).await;
    let queues = bus.queues().namespace("{airline}");
    assert!(queues.list().await.unwrap().is_empty());
    let options = QueueOptions::new().vt(secs(7)).delay(secs(1)).maxsize(None);
    let queue = queues.create("jobs", &options).await.unwrap();
    queues.ensure("jobs", &QueueOptions::new()).await.unwrap();
    queues.ensure("more", &QueueOptions::new()).await.unwrap();
    assert_eq!(queues.list().await.unwrap(), ["jobs", "more"]);
    assert!(bus.queues().list().await.unwrap().is_empty());

    let made = queue.attributes().await.unwrap();
    assert_eq!((made.vt, made.delay, made.maxsize), (secs(7), secs(1), None));
    assert_eq!((made.totalsent, made.totalrecv, made.msgs, made.hiddenmsgs), (0, 0, 0, 0));
    assert!(made.created.elapsed().unwrap() < secs(60) && made.modified == made.created, "{made:?}");
    let changes = QueueChanges::new().vt(secs(9)).maxsize(Some(2048));
    let changed = queue.set_attributes(&changes).await.unwrap();
    assert_eq!((changed.vt, changed.delay, changed.maxsize), (secs(9), secs(1), Some(2048)));
    assert_eq!(changed, queue.attributes().await.unwrap());

    queue.send(&"x".to_owned()).await.unwrap();
    let sent = queue.attributes().await.unwrap();
    assert_eq!((sent.totalsent, sent.msgs, sent.hiddenmsgs), (1, 1, 1));
    queues.delete("jobs").await.unwrap();
    assert_eq!(queues.delete("jobs").await.unwrap_err().code(), "queueNotFound");
    assert_eq!(queues.list().await.unwrap(), ["more"]);
    queues.create("jobs", &QueueOptions::new()).await.unwrap();
    assert!(queue.receive().await.unwrap().is_none());
}

async fn messages_come_in_order_and_stay_hidden(url: &str) {
    let queue = made(&connect(url).await, "jobs").await;
    let before = SystemTime::now() - secs(1);
    let ids = queue.send_all(&numbers(0..5)).await.unwrap();
    let first = queue.receive().await.unwrap().unwrap();
    assert_eq!((first.id, first.text().as_ref(), first.receive_count), (ids[0], "0", 1));
    assert!(first.sent() > before && first.first_received > before, "{first:?}");
    let rest = queue.receive_many(10, None).await.unwrap();
    assert_eq!(texts(&rest), ["1", "2", "3", "4"]);
    assert!(queue.receive().await.unwrap().is_none());

    assert!(queue.change_visibility(first.id, Duration::ZERO).await.unwrap());
    let again = queue.receive().await.unwrap().unwrap();
    assert_eq!((again.id, again.receive_count, again.first_received), (first.id, 2, first.first_received));
    assert!(queue.delete(again.id).await.unwrap());
    assert!(!queue.delete(again.id).await.unwrap());
    assert!(!queue.change_visibility(again.id, HOUR).await.unwrap());
    let counted = queue.attributes().await.unwrap();
    assert_eq!((counted.totalsent, counted.totalrecv, counted.msgs, counted.hiddenmsgs), (5, 6, 4, 4));
}

async fn a_pop_deletes(url: &str) {
    let queue = made(&connect(url).await, "jobs").await;
    queue.send_all(&numbers(0..4)).await.unwrap();
    let popped = queue.pop().await.unwrap().unwrap();
    assert_eq!((popped.text().as_ref(), popped.receive_count), ("0", 1));
    assert_eq!(texts(&queue.pop_many(10).await.unwrap()), ["1", "2", "3"]);
    assert!(queue.pop().await.unwrap().is_none());
    assert!(!queue.delete(popped.id).await.unwrap());
    let counted = queue.attributes().await.unwrap();
    assert_eq!((counted.totalsent, counted.totalrecv, counted.msgs), (4, 4, 0));
}

async fn concurrent_calls_keep_their_order_and_outcomes(url: &str) {
    let queue = made(&connect(url).await, "jobs").await;
    let long = "x".repeat(70_000);
    let bodies: Vec<String> =
        (0..1_000).map(|n| if n % 100 == 7 { long.clone() } else { n.to_string() }).collect();
    let sends = futures_util::future::join_all(bodies.iter().map(|body| queue.send(body))).await;
    let mut ids = Vec::new();
    for (place, sent) in sends.into_iter().enumerate() {
        match sent {
            Ok(id) => ids.push(id),
            Err(error) => assert_eq!((error.code(), place % 100), ("messageTooLong", 7)),
        }
    }
    assert_eq!(ids.len(), 990);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 990);

    let (half, other) = tokio::join!(
        futures_util::future::join_all((0..500).map(|_| queue.receive())),
        futures_util::future::join_all((0..600).map(|_| queue.pop())),
    );
    let taken = |results: Vec<Result<Option<Message>, QueueError>>| -> Vec<MessageId> {
        results.into_iter().filter_map(|result| result.unwrap()).map(|message| message.id).collect()
    };
    let (received, popped) = (taken(half), taken(other));
    let all: HashSet<_> = received.iter().chain(&popped).collect();
    assert_eq!((received.len() + popped.len(), all.len()), (990, 990));
    assert!(received.is_sorted() && popped.is_sorted(), "taken in the order in which they were sent");
    let deletes = futures_util::future::join_all(received.iter().map(|id| queue.delete(*id))).await;
    assert!(deletes.into_iter().all(|deleted| deleted.unwrap()));
    let counted = queue.attributes().await.unwrap();
    assert_eq!((counted.totalsent, counted.totalrecv, counted.msgs), (990, 990, 0));
}

async fn a_batch_is_sent_whole_or_not_at_all(url: &str) {
    let queue = made(&connect(url).await, "jobs").await;
    let mut bodies = numbers(0..300);
    bodies[270] = "x".repeat(65_537);
    let error = queue.send_all(&bodies).await.unwrap_err();
    assert_eq!((error.source.code(), error.place, error.confirmed.len()), ("messageTooLong", Some(270), 256));
    assert!(error.to_string().starts_with("256 of 300 messages were sent, then: "), "{error}");
    assert_eq!(queue.attributes().await.unwrap().msgs, 256);
    let first = queue.receive().await.unwrap().unwrap();
    assert_eq!((first.id, first.text().as_ref()), (error.confirmed[0], "0"));
}

async fn delays_and_visibility_timeouts_are_kept(url: &str) {
    let queue = made(&connect(url).await, "jobs").await;
    queue.send_in(HOUR, &"tomorrow".to_owned()).await.unwrap();
    queue.send_in(Duration::from_millis(300), &"soon".to_owned()).await.unwrap();
    assert!(queue.receive().await.unwrap().is_none());
    let got = async || queue.receive_for(Duration::from_millis(200)).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let message = soon("a message", async {
            loop {
                if let Some(message) = got().await {
                    break message;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let message = message.await;
        seen.push((message.text().into_owned(), message.receive_count));
    }
    assert_eq!(seen, [("soon".to_owned(), 1), ("soon".to_owned(), 2)]);
    until_async("only the other is hidden", async || queue.attributes().await.unwrap().hiddenmsgs == 1).await;
}

async fn sizes_are_counted_as_javascript_counts(url: &str) {
    let bus = connect(url).await;
    let queue = bus.queues().create("jobs", &QueueOptions::new().maxsize(Some(1024))).await.unwrap();
    for (body, fits) in [
        ("x".repeat(1024), true),
        ("x".repeat(1025), false),
        ("\u{e9}".repeat(1024), true),
        ("\u{20ac}".repeat(1025), false),
        ("\u{1f6eb}".repeat(512), true),
        ("\u{1f6eb}".repeat(512) + "x", false),
    ] {
        let result = queue.send(&body).await.map_err(|error| error.code());
        assert_eq!(result.err(), (!fits).then_some("messageTooLong"), "{} bytes", body.len());
    }
    let body = queue.receive_many(9, None).await.unwrap().pop().unwrap();
    assert_eq!(body.text(), "\u{1f6eb}".repeat(512));
}

async fn errors_have_the_names_of_rsmq(url: &str) {
    fn check<T: std::fmt::Debug>(result: Result<T, QueueError>, code: &str, text: &str) {
        let error = result.unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    }
    let bus = connect(url).await;
    let queues = bus.queues();
    let queue = made(&bus, "jobs").await;
    let missing = queues.queue("nosuch").unwrap();
    let gone = "the queue `nosuch` is not found: create it first, and check the namespace";
    check(missing.send(&"x".to_owned()).await, "queueNotFound", gone);
    check(missing.receive().await, "queueNotFound", gone);
    check(missing.pop().await, "queueNotFound", gone);
    check(missing.receive_wait(HOUR).await, "queueNotFound", gone);
    check(missing.attributes().await, "queueNotFound", gone);
    check(missing.set_attributes(&QueueChanges::new().vt(secs(1))).await, "queueNotFound", gone);
    check(queues.delete("nosuch").await, "queueNotFound", gone);
    let id: MessageId = "fmfr6gkg1iZ0123456789abcdefABCDE".parse().unwrap();
    check(missing.change_visibility(id, HOUR).await, "queueNotFound", gone);
    assert!(!missing.delete(id).await.unwrap());
    let exists = "the queue `jobs` exists already: it was not changed";
    check(queues.create("jobs", &QueueOptions::new()).await, "queueExists", exists);
    check(
        queue.set_attributes(&QueueChanges::new()).await,
        "noAttributeSupplied",
        "no attribute was supplied: set vt, delay or maxsize",
    );
    let text = "delay must be between 0 and 9999999 seconds";
    check(queue.send_in(secs(10_000_000), &"x".to_owned()).await, "invalidValue", text);
    let text = "vt must be between 0 and 9999999 seconds";
    check(queue.receive_for(secs(10_000_000)).await, "invalidValue", text);
    check(queue.change_visibility(id, secs(10_000_000)).await, "invalidValue", text);
    check(queues.create("q", &QueueOptions::new().vt(secs(10_000_000))).await, "invalidValue", text);
    let text = "the message is not a string: RSMQ's messages are UTF-8 text, encode other bytes (base64, JSON) first";
    check(queue.send(&vec![0xff]).await, "messageNotString", text);
    let text = "the message is too long for the queue: its maxsize is counted in UTF-16 units";
    check(queue.send(&"x".repeat(65_537)).await, "messageTooLong", text);
    let text = "the name `QUEUES` is reserved: RSMQ keeps the list of queues under it";
    check(queues.create("QUEUES", &QueueOptions::new()).await, "reservedName", text);
    let text = "invalid qname format: 1 to 160 of the characters a-z, A-Z, 0-9, _ and -";
    check(queues.queue("two words"), "invalidFormat", text);
    assert_eq!(queue.attributes().await.unwrap().msgs, 0);
}

async fn what_was_received_by_others_is_fenced(url: &str) {
    let queue = made(&connect(url).await, "jobs").await;
    queue.send(&"x".to_owned()).await.unwrap();
    let first = queue.receive_for(Duration::ZERO).await.unwrap().unwrap();
    let second = queue.receive().await.unwrap().unwrap();
    assert_eq!((first.id, first.receive_count, second.receive_count), (second.id, 1, 2));
    assert!(!queue.delete_received(&first).await.unwrap());
    assert!(!queue.extend_received(&first, Duration::ZERO).await.unwrap());
    assert!(queue.receive().await.unwrap().is_none(), "it is still the second's");
    assert!(queue.extend_received(&second, HOUR).await.unwrap());
    let (one, other) = tokio::join!(queue.delete_received(&second), queue.delete_received(&second));
    assert_eq!((one.unwrap(), other.unwrap()), (true, false));
}

async fn messages_move_in_one_step(url: &str) {
    let bus = connect(url).await;
    let (from, to) = (made(&bus, "jobs").await, made(&bus, "other").await);
    let id = from.send(&"x".to_owned()).await.unwrap();
    from.receive().await.unwrap().unwrap();
    let nowhere = bus.queues().queue("nosuch").unwrap();
    assert_eq!(from.move_to(id, &nowhere).await.unwrap_err().code(), "queueNotFound");
    assert!(from.move_to(id, &to).await.unwrap());
    assert!(!from.move_to(id, &to).await.unwrap());
    let moved = to.receive().await.unwrap().unwrap();
    assert_eq!((moved.id, moved.text().as_ref(), moved.receive_count), (id, "x", 2));
    let (left, there) = (from.attributes().await.unwrap(), to.attributes().await.unwrap());
    assert_eq!((left.msgs, left.totalsent, there.msgs, there.totalsent), (0, 1, 1, 1));
}

async fn events_travel_as_json(url: &str) {
    let queue = made(&connect(url).await, "jobs").await;
    queue.send(&Cancelled::numbered(7)).await.unwrap();
    let message = queue.pop().await.unwrap().unwrap();
    assert_eq!(message.text(), r#"{"flight":"UA 7","passengers":7}"#);
    assert_eq!(message.decode::<Cancelled>().unwrap(), Cancelled::numbered(7));
}

/// What a client that died in mid-step may leave behind.
async fn concurrent_deletes_have_their_own_outcomes(url: &str) {
    let queue = made(&connect(url).await, "jobs").await;
    queue.send_all(&numbers(0..4)).await.unwrap();
    let [a, b, c, d] = queue.receive_many(4, None).await.unwrap().try_into().unwrap();
    let mut stale = c.clone();
    stale.receive_count = 7;
    let unknown: MessageId = "fmfr6gkg1iZ0123456789abcdefABCDE".parse().unwrap();
    // The first goes alone, the others together.
    let outcomes = tokio::join!(
        queue.delete(a.id),
        queue.delete(b.id),
        queue.delete(b.id),
        queue.delete_received(&stale),
        queue.delete(unknown),
        queue.delete_received(&d),
    );
    let outcomes = [outcomes.0, outcomes.1, outcomes.2, outcomes.3, outcomes.4, outcomes.5];
    assert_eq!(outcomes.map(Result::unwrap), [true, true, false, false, false, true]);
    assert_eq!(queue.attributes().await.unwrap().msgs, 1);
    assert!(queue.delete_received(&c).await.unwrap());
}

/// A round of nobody was sent as a request without commands, and its reply waited for.
async fn calls_that_are_given_up_hold_up_nobody(url: &str) {
    let queue = made(&connect(url).await, "jobs").await;
    // The broker may answer between the two: then it was not what is tested.
    let (under_way, given_up) = loop {
        let mut calls = [Box::pin(queue.receive()), Box::pin(queue.receive())];
        let waiting = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(calls.each_mut().map(|call| call.as_mut().poll(cx).is_pending()))
        });
        if waiting.await == [true, true] {
            let [first, second] = calls;
            break (first, second);
        }
    };
    drop(given_up);
    assert_eq!(under_way.await.unwrap(), None);
    // Before the connection is taken for dead.
    let answered = tokio::time::timeout(secs(5), queue.receive()).await;
    assert_eq!(answered.expect("it is answered").unwrap(), None);
}

#[tokio::test]
async fn nothing_is_left_of_messages_that_are_gone() {
    let server = Server::start();
    let queue = made(&connect(&server.url()).await, "jobs").await;
    let ids = queue.send_all(&numbers(0..8)).await.unwrap();
    for id in &ids {
        let (dead, trace) = (format!("{id}:dead"), format!("{id}:trace"));
        server.cli(&["HSET", "rsmq:jobs:Q", "extras", "1", &dead, "{}", &trace, "none"]);
    }
    assert_eq!(queue.receive_many(4, None).await.unwrap().len(), 4);
    let deleted = futures_util::future::join_all(ids[..4].iter().map(|id| queue.delete(*id))).await;
    assert!(deleted.into_iter().all(|deleted| deleted.unwrap()));
    assert_eq!(queue.pop_many(4).await.unwrap().len(), 4);
    let fields = server.cli(&["HKEYS", "rsmq:jobs:Q"]);
    assert!(fields.lines().all(|field| field.len() < 32), "{fields}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sends_keep_their_order_when_scripts_are_forgotten() {
    let server = Server::start();
    let queue = made(&connect(&server.url()).await, "jobs").await;
    let unknown: MessageId = "fmfr6gkg1iZ0123456789abcdefABCDE".parse().unwrap();
    let bodies = numbers(0..3000);
    let calls = async {
        let sends = futures_util::future::join_all(bodies.iter().map(|body| queue.send(body)));
        // So many others that two rounds are under way.
        let deletes = futures_util::future::join_all(bodies.iter().map(|_| queue.delete(unknown)));
        let (sends, deletes) = tokio::join!(sends, deletes);
        assert!(sends.into_iter().all(|sent| sent.is_ok()));
        assert!(deletes.into_iter().all(|deleted| !deleted.unwrap()));
    };
    let flushes = async {
        loop {
            assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = calls => {}
        () = flushes => {}
    }
    let mut found = Vec::new();
    while found.len() < bodies.len() {
        let popped = queue.pop_many(256).await.unwrap();
        assert!(!popped.is_empty(), "{} are there", found.len());
        found.extend(texts(&popped));
    }
    assert_eq!(found, bodies);
}

#[tokio::test]
async fn a_leftover_id_is_cleared_away() {
    let server = Server::start();
    let url = &server.url();
    let queue = made(&connect(url).await, "jobs").await;
    let raw = raw(url).await;
    raw("ZADD", &["rsmq:jobs", "0", &"a".repeat(32)]).await;
    raw("HSET", &["rsmq:jobs:Q", &format!("{}:rc", "a".repeat(32)), "3"]).await;
    queue.send(&"x".to_owned()).await.unwrap();
    assert_eq!(texts(&queue.receive_many(2, Some(Duration::ZERO)).await.unwrap()), ["x"]);
    let counted = queue.attributes().await.unwrap();
    assert_eq!((counted.msgs, counted.totalrecv), (1, 1));
}

#[tokio::test]
async fn foreign_units_are_detected() {
    let server = Server::start();
    let url = &server.url();
    let bus = connect(url).await;
    let raw = raw(url).await;
    let write = async |name: &str, fields: &[&str]| {
        let key = format!("rsmq:{name}:Q");
        raw("HSET", &[&[key.as_str(), "maxsize", "65536", "created", "1", "modified", "1"], fields].concat())
            .await;
        bus.queues().queue(name).unwrap()
    };
    for (name, fields) in [
        ("default", &["vt", "30000", "delay", "0", "totalsent", "4", "totalrecv", "2"][..]),
        ("large", &["vt", "10000001", "delay", "0"]),
        ("fresh", &["vt", "1500", "delay", "0", "totalsent", "0", "totalrecv", "0"]),
        ("delay", &["vt", "0", "delay", "5000"]),
        ("words", &["vt", "soon", "delay", "0"]),
    ] {
        let queue = write(name, fields).await;
        for error in [
            queue.send(&"x".to_owned()).await.unwrap_err(),
            queue.receive().await.unwrap_err(),
            queue.attributes().await.unwrap_err(),
        ] {
            assert_eq!(error.code(), "foreignUnits", "{name}: {error}");
        }
    }
    let queue = bus.queues().queue("default").unwrap();
    assert_eq!(
        queue.receive().await.unwrap_err().to_string(),
        "the queue `default` says vt 30000 and delay 0, which look like milliseconds (rsmq_async writes them so); RSMQ has seconds. \
         Say which they are with Queues::units, or set both attributes anew"
    );
    let vt = async |queues: Queues| queues.queue("default").unwrap().attributes().await.unwrap().vt;
    assert_eq!(vt(bus.queues().units(Units::Milliseconds)).await, secs(30));
    assert_eq!(vt(bus.queues().units(Units::Seconds)).await, secs(30_000));
    let one = QueueChanges::new().vt(secs(30));
    assert_eq!(queue.set_attributes(&one).await.unwrap_err().code(), "foreignUnits");
    assert_eq!(queue.set_attributes(&one.delay(Duration::ZERO)).await.unwrap().vt, secs(30));

    for (name, fields) in [
        ("usual", &["vt", "3600", "delay", "0", "totalsent", "4"][..]),
        ("short", &["vt", "30", "delay", "1000"]),
        ("odd", &["vt", "86400", "delay", "60"]),
    ] {
        write(name, fields).await.attributes().await.unwrap();
    }
    let round = QueueOptions::new().vt(secs(30_000));
    let ours = bus.queues().create("round", &round).await.unwrap();
    assert_eq!(ours.attributes().await.unwrap().vt, secs(30_000));
}

/// Commands as any client sends them.
async fn raw(url: &str) -> impl AsyncFn(&str, &[&str]) {
    let client = ::redis::Client::open(url).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    async move |name: &str, arguments: &[&str]| {
        let mut connection = connection.clone();
        ::redis::cmd(name).arg(arguments).query_async::<::redis::Value>(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn scripts_are_sent_again_when_the_server_forgot_them() {
    let mut server = Server::durable();
    let queue = made(&connect(&server.url()).await, "jobs").await;
    queue.send(&"before".to_owned()).await.unwrap();
    assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    let bodies = numbers(0..20);
    let sends = futures_util::future::join_all(bodies.iter().map(|body| queue.send(body)));
    let (sends, received) = tokio::join!(sends, queue.receive());
    assert!(sends.into_iter().all(|sent| sent.is_ok()));
    assert_eq!(received.unwrap().unwrap().text(), "before");

    server.kill();
    server.start_again();
    until_async(
        "the bus is connected again",
        async || matches!(queue.attributes().await, Ok(counted) if counted.msgs == 21),
    )
    .await;
    assert_eq!(queue.receive_many(100, None).await.unwrap().len(), 20);
    server.kill();
    match queue.send(&"x".to_owned()).await {
        Err(QueueError::Command(CommandError::OutcomeUnknown { .. } | CommandError::Unreachable { .. })) => {}
        other => panic!("{other:?}"),
    }
}
