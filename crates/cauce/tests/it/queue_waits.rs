//! Waiting on queues: who is woken, and what it costs the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cauce::{Bus, Queue, QueueOptions};
use tokio::task::JoinSet;

use crate::support::{Seen, Server, connect, on_every_target, soon, until, until_async};

on_every_target!(
    a_waiter_gets_what_is_there_and_what_is_sent,
    a_silent_sender_is_noticed,
    a_hidden_message_is_waited_for,
    a_dropped_waiter_loses_nothing,
);

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(20);

async fn made(bus: &Bus) -> Queue {
    bus.queues().poll_interval(HOUR).ensure("jobs", &QueueOptions::new()).await.unwrap()
}

async fn wait(queue: &Queue) -> String {
    let received = soon("a message", queue.receive_wait(HOUR)).await;
    received.unwrap().unwrap().text().into_owned()
}

async fn a_waiter_gets_what_is_there_and_what_is_sent(url: &str) {
    let (here, there) = (connect(url).await, connect(url).await);
    let (queue, sender) = (made(&here).await, made(&there).await);
    sender.send(&"before".to_owned()).await.unwrap();
    assert_eq!(wait(&queue).await, "before");
    assert!(queue.receive_wait(MOMENT).await.unwrap().is_none());
    let (received, ()) = tokio::join!(wait(&queue), async {
        tokio::time::sleep(MOMENT).await;
        sender.send(&"meanwhile".to_owned()).await.unwrap();
    });
    assert_eq!(received, "meanwhile");
}

async fn a_silent_sender_is_noticed(url: &str) {
    let bus = connect(url).await;
    let queue = bus.queues().poll_interval(MOMENT).create("jobs", &QueueOptions::new()).await.unwrap();
    let silent = connect(url).await.queues().realtime(false).queue("jobs").unwrap();
    let (received, ()) = tokio::join!(wait(&queue), async {
        tokio::time::sleep(MOMENT * 2).await;
        silent.send(&"quietly".to_owned()).await.unwrap();
    });
    assert_eq!(received, "quietly");
}

async fn a_hidden_message_is_waited_for(url: &str) {
    let queue = made(&connect(url).await).await;
    let delay = Duration::from_millis(300);
    queue.send_in(delay, &"later".to_owned()).await.unwrap();
    let begin = Instant::now();
    assert_eq!(wait(&queue).await, "later");
    assert!(begin.elapsed() >= delay - MOMENT && begin.elapsed() < delay * 5, "{:?}", begin.elapsed());
}

async fn a_dropped_waiter_loses_nothing(url: &str) {
    let queue = made(&connect(url).await).await;
    for number in 0..200_u64 {
        // The waiter gives up about when the message comes.
        let (impatient, body) = (queue.receive_wait(Duration::from_micros(number * 10)), number.to_string());
        let (received, _) = tokio::join!(impatient, queue.send(&body));
        let message = match received.unwrap() {
            Some(message) => message,
            None => soon("the message", queue.receive_wait(HOUR)).await.unwrap().unwrap(),
        };
        assert_eq!((message.text().as_ref(), message.receive_count), (body.as_str(), 1));
        assert!(queue.delete_received(&message).await.unwrap());
    }
    assert_eq!(queue.attributes().await.unwrap().msgs, 0);
}

/// How many scripts clients have called.
fn script_calls(server: &Server) -> usize {
    let info = server.cli(&["INFO", "commandstats"]);
    let calls = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|line| line.split(',').next()).map_or(0, |count| count.parse().unwrap())
    };
    calls("eval") + calls("evalsha")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_wakes_one_waiter_of_a_process() {
    const MESSAGES: usize = 40;
    let server = Server::start();
    let sender = made(&connect(&server.url()).await).await;
    let (seen, waiting) = (Seen::new(), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        // As good as a process of its own: buses share nothing.
        let queue = made(&connect(&server.url()).await).await;
        for _ in 0..10 {
            let (queue, seen, waiting) = (queue.clone(), seen.clone(), Arc::clone(&waiting));
            tasks.spawn(async move {
                loop {
                    waiting.fetch_add(1, Ordering::Relaxed);
                    let message = queue.receive_wait(HOUR).await.unwrap().unwrap();
                    seen.push(message.text().into_owned());
                }
            });
        }
    }
    let subscribed = async || server.cli(&["PUBSUB", "NUMSUB", "rsmq:rt:jobs"]).ends_with('5');
    until_async("all processes listen", subscribed).await;
    until("all wait", || waiting.load(Ordering::Relaxed) == 50).await;
    // The first one teaches the server the script.
    sender.send(&"0".to_owned()).await.unwrap();
    until("it is received", || seen.len() == 1).await;
    let settled = async || {
        let before = script_calls(&server);
        tokio::time::sleep(MOMENT * 5).await;
        before == script_calls(&server)
    };
    until_async("all have looked once", settled).await;

    let before = script_calls(&server);
    for number in 1..=MESSAGES {
        sender.send(&number.to_string()).await.unwrap();
        until("it is received", || seen.len() == number + 1).await;
    }
    until_async("nobody looks any more", settled).await;
    let calls = script_calls(&server) - before;
    assert!(calls <= 6 * MESSAGES, "{calls} calls for {MESSAGES} messages");
    let clients = server.cli(&["CLIENT", "LIST"]);
    let subscribers = clients.lines().filter(|line| line.contains(" sub=1 ")).count();
    assert_eq!(subscribers, 5, "one subscription per process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_survives_the_server() {
    let mut server = Server::durable();
    let queue = made(&connect(&server.url()).await).await;
    let subscribed = async || server.cli(&["PUBSUB", "NUMSUB", "rsmq:rt:jobs"]).ends_with('1');
    assert!(queue.receive_wait(MOMENT).await.unwrap().is_none());
    until_async("it listens", subscribed).await;
    server.kill();
    server.start_again();
    let other = made(&connect(&server.url()).await).await;
    other.send(&"after".to_owned()).await.unwrap();
    let received = soon("the message", async {
        loop {
            // The first may still meet the broken connection.
            if let Ok(Some(message)) = queue.receive_wait(HOUR).await {
                break message;
            }
        }
    });
    assert_eq!(received.await.text(), "after");
    other.send(&"once more".to_owned()).await.unwrap();
    assert_eq!(wait(&queue).await, "once more");
}
