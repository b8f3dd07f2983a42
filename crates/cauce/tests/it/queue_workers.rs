//! Workers on queues: what becomes of each message, whoever fails.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cauce::{
    Bus, DeadMessage, HandlerError, Message, Queue, QueueBatch, QueueDelivery, QueueOptions, Report, Retry,
    State, Worker,
};
use tokio::sync::Notify;

use crate::proxy::Proxy;
use crate::support::{Cancelled, Seen, Server, connect, on_every_target, soon, until, until_async};

on_every_target!(
    each_message_goes_to_one_of_many_workers,
    a_failure_is_tried_again_and_ends_as_a_dead_letter,
    what_can_not_be_handled_is_buried_at_once,
    a_dead_letter_can_be_redriven,
    a_slow_handler_keeps_its_message,
    a_worker_that_lost_its_message_is_fenced,
    messages_of_the_dead_come_again,
    what_every_delivery_kills_is_buried_unrun,
    stopping_hands_back_at_once,
    a_worker_waits_for_delayed_messages,
    batches_are_as_long_as_they_can_be,
    each_message_of_a_batch_has_its_own_end,
    what_waits_for_its_batch_goes_back_uncounted,
    a_batch_that_is_cut_off_is_visible_at_once,
);

const SOON: Duration = Duration::from_millis(10);
const LEASE: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(3600);

async fn made(bus: &Bus) -> Queue {
    bus.queues().ensure("jobs", &QueueOptions::new()).await.unwrap()
}

async fn emptied(queue: &Queue) {
    until_async("the queue is empty", async || queue.attributes().await.unwrap().msgs == 0).await;
}

async fn letters(queue: &Queue) -> Vec<DeadMessage> {
    queue.dead_letter_queue().unwrap().dead_letters(100).await.unwrap()
}

async fn each_message_goes_to_one_of_many_workers(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    let seen = Seen::new();
    let handler = async |event: Cancelled, State(seen): State<Seen<u32>>| {
        if event.passengers.is_multiple_of(3) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        seen.push(event.passengers);
    };
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(Worker::new(&queue).state(seen.clone()).on(handler).start().await.unwrap());
    }
    let sender = connect(url).await.queues().queue("jobs").unwrap();
    sender.send_all(&Cancelled::series(600)).await.unwrap();
    until("all are handled", || seen.len() == 600).await;
    emptied(&queue).await;
    let mut all = seen.all();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..600));
    let mut handled = 0;
    for worker in workers {
        let report = worker.stop().await;
        assert_eq!((report.failed, report.late), (0, 0), "{report}");
        handled += report.handled;
    }
    assert_eq!(handled, 600);
    let counted = queue.attributes().await.unwrap();
    assert_eq!((counted.totalsent, counted.totalrecv), (600, 600));
}

/// Runs one message through a worker that will give up on it.
async fn give_up_on(bus: &Bus, worker: Worker<impl Clone + Send + Sync + 'static>) -> (DeadMessage, Report) {
    let queue = made(bus).await;
    let id = queue.send(&Cancelled::numbered(1)).await.unwrap();
    let running = worker.start().await.unwrap();
    until("it is dead", || running.report().dead == 1).await;
    let [letter] = letters(&queue).await.try_into().unwrap();
    assert_eq!((letter.id, letter.queue.as_str()), (id, "jobs"));
    assert_eq!(letter.body, br#"{"flight":"UA 1","passengers":1}"#);
    assert!(letter.died_at.elapsed().unwrap_or_default() < HOUR, "{letter:?}");
    assert_eq!(queue.attributes().await.unwrap().msgs, 0);
    (letter, running.stop().await)
}

async fn a_failure_is_tried_again_and_ends_as_a_dead_letter(url: &str) {
    async fn fails(_: Cancelled) -> Result<(), HandlerError> {
        "x".parse::<u32>().map_err(|error| HandlerError::from(error).context("seats"))?;
        Ok(())
    }
    let bus = connect(url).await;
    let worker = Worker::new(&made(&bus).await).on(fails).retry(Retry::fixed(SOON).max_attempts(3));
    let (letter, report) = give_up_on(&bus, worker).await;
    assert_eq!((letter.reason.as_str(), letter.attempts), ("failed", 3));
    assert_eq!(letter.error, "seats: invalid digit found in string");
    assert_eq!((report.failed, report.retried, report.handled), (3, 2, 0), "{report}");
    // To a program that knows only RSMQ it is a message as any other.
    let dead = bus.queues().queue("jobs-dead").unwrap();
    assert_eq!(bus.queues().list().await.unwrap(), ["jobs", "jobs-dead"]);
    assert_eq!(dead.attributes().await.unwrap().maxsize, None);
    let message = dead.pop().await.unwrap().unwrap();
    assert_eq!((message.id, message.receive_count), (letter.id, 4));
}

async fn what_can_not_be_handled_is_buried_at_once(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    let handler = async |event: Cancelled| match event.passengers {
        0 => Err(HandlerError::reject("no such airline")),
        1 => panic!("seat {} is taken", event.flight),
        2 => std::future::pending().await,
        _ => Ok(()),
    };
    let worker = Worker::new(&queue).on(handler).retry(Retry::none()).handler_timeout(SOON * 3);
    let running = worker.start().await.unwrap();
    queue.send(&"not an event".to_owned()).await.unwrap();
    queue.send_all(&Cancelled::series(5)).await.unwrap();
    until("all are settled", || running.report().dead == 4 && running.report().handled == 2).await;
    emptied(&queue).await;
    let mut dead: Vec<_> =
        letters(&queue).await.into_iter().map(|letter| (letter.reason, letter.error)).collect();
    dead.sort();
    let expected = [
        ("panicked", "seat UA 1 is taken"),
        ("rejected", "no such airline"),
        ("timed out", "no end after 30ms"),
        ("undecodable", "the JSON does not fit: expected ident at line 1 column 2"),
    ];
    assert_eq!(dead, expected.map(|(reason, error)| (reason.to_owned(), error.to_owned())));
    running.stop().await;
}

async fn a_dead_letter_can_be_redriven(url: &str) {
    let bus = connect(url).await;
    let worker =
        Worker::new(&made(&bus).await).on(async |_: Cancelled| Err::<(), _>(HandlerError::reject("no")));
    let (letter, _) = give_up_on(&bus, worker).await;
    let (queue, dead) = (made(&bus).await, bus.queues().queue("jobs-dead").unwrap());
    assert!(dead.redrive(&letter).await.unwrap());
    assert!(!dead.redrive(&letter).await.unwrap());
    let message = queue.receive().await.unwrap().unwrap();
    assert_eq!((message.id, message.receive_count), (letter.id, 1));
    assert_eq!(dead.attributes().await.unwrap().msgs, 0);
}

async fn a_slow_handler_keeps_its_message(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    let seen = Seen::new();
    let slow = async |event: Cancelled, State(seen): State<Seen<u32>>| {
        seen.push(event.passengers);
        tokio::time::sleep(LEASE * 4).await;
    };
    let start =
        async || Worker::new(&queue).state(seen.clone()).on(slow).visibility(LEASE).start().await.unwrap();
    let workers = [start().await, start().await];
    queue.send_all(&Cancelled::series(4)).await.unwrap();
    until("all are handled", || workers.iter().map(|worker| worker.report().handled).sum::<u64>() == 4).await;
    emptied(&queue).await;
    assert_eq!(seen.len(), 4);
    for worker in workers {
        assert_eq!(worker.stop().await.late, 0);
    }
}

async fn a_worker_that_lost_its_message_is_fenced(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    let handler = async |_: Cancelled, State(go): State<tokio::sync::watch::Receiver<bool>>| {
        let mut go = go;
        let _ = go.wait_for(|go| *go).await;
    };
    let go = tokio::sync::watch::Sender::new(false);
    let running =
        Worker::new(&queue).state(go.subscribe()).on(handler).visibility(HOUR).start().await.unwrap();
    let id = queue.send(&Cancelled::numbered(1)).await.unwrap();
    until("it is running", || running.held() == 1).await;
    // As when the process stood still beyond the visibility timeout.
    queue.change_visibility(id, Duration::ZERO).await.unwrap();
    let taken = queue.receive().await.unwrap().unwrap();
    assert_eq!((taken.id, taken.receive_count), (id, 2));
    go.send_replace(true);
    until("it has noticed", || running.report().late == 1).await;
    assert_eq!(queue.attributes().await.unwrap().msgs, 1, "the other still has it");
    assert!(queue.delete_received(&taken).await.unwrap());
    assert_eq!(running.stop().await.handled, 1);
}

async fn messages_of_the_dead_come_again(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    let started = Seen::new();
    let hangs = async |event: Cancelled, State(started): State<Seen<u32>>| {
        started.push(event.passengers);
        std::future::pending::<()>().await;
    };
    let victim = Worker::new(&queue).state(started.clone()).on(hangs).visibility(LEASE).concurrency(5);
    let victim = victim.start().await.unwrap();
    queue.send_all(&Cancelled::series(20)).await.unwrap();
    until("five are running", || started.len() == 5).await;
    // As SIGKILL would.
    drop(victim);
    let seen = Seen::new();
    let handler = async |event: Cancelled, delivery: QueueDelivery, State(seen): State<Seen<(u32, u32)>>| {
        assert!(delivery.sent <= delivery.first_received + SOON);
        seen.push((event.passengers, delivery.attempt));
    };
    let heir = Worker::new(&queue).state(seen.clone()).on(handler).start().await.unwrap();
    until("all are handled", || heir.report().handled == 20).await;
    let mut all = seen.all();
    all.sort_unstable();
    assert!(all.iter().map(|(number, _)| *number).eq(0..20), "{all:?}");
    assert!(all.iter().all(|(number, attempt)| *attempt == if *number < 5 { 2 } else { 1 }), "{all:?}");
    emptied(&queue).await;
    heir.stop().await;
}

async fn what_every_delivery_kills_is_buried_unrun(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    queue.send(&Cancelled::numbered(1)).await.unwrap();
    for _ in 0..3 {
        assert!(queue.receive_for(Duration::ZERO).await.unwrap().is_some());
    }
    let running = Worker::new(&queue).on(async |_: Cancelled| {}).retry(Retry::none()).start().await.unwrap();
    until("it is buried", || running.report().dead == 1).await;
    let [letter] = letters(&queue).await.try_into().unwrap();
    assert_eq!((letter.reason.as_str(), letter.attempts), ("never finished", 4));
    assert_eq!(letter.error, "received 3 times and never settled");
    assert_eq!(running.stop().await.handled, 0);
}

async fn stopping_hands_back_at_once(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    let handler = async |event: Cancelled| {
        if event.passengers > 0 {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(SOON * 5).await;
    };
    let worker = Worker::new(&queue).on(handler).shutdown_deadline(SOON * 10).concurrency(3);
    let running = worker.start().await.unwrap();
    queue.send_all(&Cancelled::series(5)).await.unwrap();
    until("three are running", || running.held() == 3).await;
    let report = running.stop().await;
    assert_eq!((report.handled, report.cut_off), (1, 2), "{report}");
    let mut left = queue.receive_many(10, None).await.unwrap();
    left.sort_by_key(|message| message.id);
    let counts: Vec<_> = left.iter().map(|message| message.receive_count).collect();
    assert_eq!(counts, [2, 2, 1, 1], "an attempt that was cut off counts");
}

/// It gave up after two seconds: what was done came again after its visibility timeout.
#[tokio::test]
async fn a_worker_tells_a_broker_that_was_away_what_was_done() {
    type Work = (Seen<u32>, Arc<Notify>);
    async fn waits(event: Cancelled, State((seen, go_on)): State<Work>) {
        seen.push(event.passengers);
        go_on.notified().await;
    }
    let server = Server::start();
    let (direct, proxy) = (connect(&server.url()).await, Proxy::before(server.port()).await);
    let bus = connect(&proxy.url()).await;
    let (queue, there) = (made(&bus).await, made(&direct).await);
    let (seen, go_on) = (Seen::new(), Arc::new(Notify::new()));
    let worker = Worker::new(&queue).state((seen.clone(), Arc::clone(&go_on))).on(waits);
    let running = worker.shutdown_deadline(Duration::from_secs(30)).start().await.unwrap();
    there.send(&Cancelled::numbered(1)).await.unwrap();
    until("it is running", || seen.len() == 1).await;
    let stop = || {
        go_on.notify_one();
        running.stop()
    };
    let report = proxy.is_waited_for(stop).await;
    assert_eq!((report.handled, report.late), (1, 0), "{report}");
    assert_eq!(there.attributes().await.unwrap().msgs, 0);
}

async fn a_worker_waits_for_delayed_messages(url: &str) {
    let bus = connect(url).await;
    let queue = bus.queues().poll_interval(HOUR).create("jobs", &QueueOptions::new()).await.unwrap();
    let seen = Seen::new();
    let handler = async |text: String, State(seen): State<Seen<String>>| seen.push(text);
    let running = Worker::new(&queue).state(seen.clone()).on(handler).start().await.unwrap();
    let begin = Instant::now();
    queue.send_in(LEASE, &"later".to_owned()).await.unwrap();
    queue.send(&"now".to_owned()).await.unwrap();
    until("both came", || seen.len() == 2).await;
    assert_eq!(seen.all(), ["now", "later"]);
    assert!(begin.elapsed() >= LEASE - SOON, "{:?}", begin.elapsed());
    running.stop().await;
}

async fn batches_are_as_long_as_they_can_be(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    queue.send_all(&Cancelled::series(25)).await.unwrap();
    let seen = Seen::new();
    let handler = async |batch: QueueBatch<Cancelled>, State(seen): State<Seen<Vec<u32>>>| {
        assert!(batch.iter().all(|(_, delivery)| delivery.attempt == 1));
        seen.push(batch.into_messages().into_iter().map(|event| event.passengers).collect());
    };
    let worker = Worker::new(&queue).state(seen.clone()).concurrency(1).on_batch(10, LEASE / 3, handler);
    let running = worker.start().await.unwrap();
    emptied(&queue).await;
    let whole: [Vec<u32>; 3] = [(0..10).collect(), (10..20).collect(), (20..25).collect()];
    assert_eq!(seen.all(), whole);
    // The time that a message waits for others begins with the message.
    queue.send(&Cancelled::numbered(25)).await.unwrap();
    emptied(&queue).await;
    assert_eq!(seen.all().last(), Some(&vec![25]));
    let report = running.stop().await;
    assert_eq!((report.handled, report.failed, report.late), (26, 0, 0), "{report}");
}

async fn each_message_of_a_batch_has_its_own_end(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    queue.send(&"not an event".to_owned()).await.unwrap();
    queue.send_all(&Cancelled::series(6)).await.unwrap();
    let odd_ones_fail = async |batch: QueueBatch<Cancelled>| -> Vec<Result<(), HandlerError>> {
        let outcome = |(event, delivery): &(Cancelled, QueueDelivery)| match event.passengers {
            1 if delivery.attempt == 1 => Err(HandlerError::failed("later")),
            3 => Err(HandlerError::reject("never")),
            _ => Ok(()),
        };
        batch.iter().map(outcome).collect()
    };
    let worker = Worker::new(&queue).retry(Retry::fixed(SOON).max_attempts(3));
    let running = worker.on_batch(10, SOON, odd_ones_fail).start().await.unwrap();
    until("all are settled", || running.report().handled == 5 && running.report().dead == 2).await;
    emptied(&queue).await;
    let mut dead: Vec<_> = letters(&queue).await.into_iter().map(|letter| letter.reason).collect();
    dead.sort();
    assert_eq!(dead, ["rejected", "undecodable"]);
    let report = running.stop().await;
    assert_eq!((report.failed, report.retried), (2, 1), "{report}");
    // A panic, and a batch that takes too long, are failures of all.
    queue.send_all(&Cancelled::series(4)).await.unwrap();
    let all_fail = async |batch: QueueBatch<Cancelled>| {
        assert!(batch.iter().all(|(event, _)| event.passengers >= 2), "not these");
        std::future::pending::<()>().await;
    };
    let worker = Worker::new(&queue).retry(Retry::none()).handler_timeout(SOON * 3);
    let running = worker.on_batch(2, SOON, all_fail).start().await.unwrap();
    until("all are dead", || running.report().dead == 4).await;
    let mut dead: Vec<_> = letters(&queue).await.into_iter().map(|letter| letter.reason).collect();
    dead.sort();
    assert_eq!(dead, ["panicked", "panicked", "rejected", "timed out", "timed out", "undecodable"]);
    running.stop().await;
}

async fn what_waits_for_its_batch_goes_back_uncounted(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    queue.send_all(&Cancelled::series(3)).await.unwrap();
    let seen = Seen::new();
    let handler =
        async |batch: QueueBatch<Cancelled>, State(seen): State<Seen<usize>>| seen.push(batch.len());
    let worker = Worker::new(&queue).state(seen.clone()).on_batch(10, HOUR, handler).visibility(LEASE);
    let running = worker.start().await.unwrap();
    until("they wait", || running.held() == 3).await;
    // They stay this worker's beyond their visibility timeout.
    assert!(queue.receive_wait(LEASE * 2).await.unwrap().is_none());
    let report = running.stop().await;
    assert_eq!((report.handled, report.failed, report.cut_off), (0, 0, 0), "{report}");
    let left = queue.receive_many(10, None).await.unwrap();
    assert!(left.iter().map(|message| message.receive_count).eq([1, 1, 1]), "{left:?}");
    assert_eq!(seen.len(), 0, "it was never full");
}

async fn a_batch_that_is_cut_off_is_visible_at_once(url: &str) {
    let bus = connect(url).await;
    let queue = made(&bus).await;
    queue.send_all(&Cancelled::series(4)).await.unwrap();
    let hangs = async |_: QueueBatch<Cancelled>| std::future::pending::<()>().await;
    let worker = Worker::new(&queue).on_batch(2, SOON, hangs).concurrency(1).shutdown_deadline(SOON);
    let running = worker.start().await.unwrap();
    // One batch in its handler; the next may not begin beside it, so nothing is received for it.
    until("a batch is running", || running.held() == 2).await;
    let report = running.stop().await;
    assert_eq!((report.handled, report.cut_off), (0, 2), "{report}");
    let mut counts: Vec<_> =
        queue.receive_many(10, None).await.unwrap().iter().map(|message| message.receive_count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_survives_the_server() {
    let mut server = Server::durable();
    let bus = connect(&server.url()).await;
    let queue = made(&bus).await;
    let seen = Seen::new();
    let handler = async |event: Cancelled, State(seen): State<Seen<u32>>| {
        seen.push(event.passengers);
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let worker = Worker::new(&queue).state(seen.clone()).on(handler).visibility(LEASE).concurrency(4);
    let running = worker.start().await.unwrap();
    queue.send_all(&Cancelled::series(200)).await.unwrap();
    until("some are handled", || seen.len() > 20).await;
    server.kill();
    server.start_again();
    let all = || seen.all().into_iter().collect::<std::collections::HashSet<_>>().len();
    until("all are handled", || all() == 200).await;
    emptied(&queue).await;
    assert!(letters(&queue).await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn the_deadline_of_a_message_is_a_race_that_one_wins() {
    let server = Server::start();
    let queue = made(&connect(&server.url()).await).await;
    queue.send(&"x".to_owned()).await.unwrap();
    let vt = Duration::from_millis(50);
    let mut holder: Message = queue.receive_for(vt).await.unwrap().unwrap();
    for round in 2..20 {
        // The one who holds it deletes it about when another receives it.
        let other = soon("the other receives it", async {
            loop {
                if let Some(message) = queue.receive_for(vt).await.unwrap() {
                    break message;
                }
            }
        })
        .await;
        assert_eq!(other.receive_count, round);
        assert!(!queue.delete_received(&holder).await.unwrap(), "fenced");
        assert!(!queue.extend_received(&holder, HOUR).await.unwrap(), "fenced");
        holder = other;
    }
    assert!(queue.delete_received(&holder).await.unwrap());
    assert!(holder.sent() < SystemTime::now());
}
