//! Queues that the npm package `rsmq` and ours share: each reads what the other writes, counts as the other counts, and takes no
//! message that the other has.

use std::time::{Duration, UNIX_EPOCH};

use cauce::{Bus, Message, Queue, QueueAttributes, QueueChanges, QueueError, QueueOptions, Received, Worker};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::both::{Seen, same_on_both};
use crate::process::{Process, until};
use crate::server::Server;

/// The package in a process of its own, told what to call line by line.
struct Rsmq(Process);

impl Rsmq {
    fn start(server: &Server, mode: &str) -> Self {
        Self(Process::node("clients/rsmq.js", &[&server.port().to_string(), mode]))
    }

    /// Calls a method on the queue `jobs`, unless the options say otherwise.
    fn call(&mut self, call: &str, options: &Value) -> Value {
        let mut line = json!({ "call": call, "qname": "jobs" });
        for (name, value) in options.as_object().expect("options are an object") {
            line[name] = value.clone();
        }
        self.0.tell(&line.to_string());
        let answer = self.0.line().expect("it answers");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{call}: {error}: {answer}"))
    }
}

async fn connect(server: &Server) -> Bus {
    Bus::connect(&server.url()).await.expect("the server listens")
}

/// Our attributes as the package shows them.
fn shown(attributes: &QueueAttributes) -> Value {
    let seconds =
        |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({
        "vt": attributes.vt.as_secs(),
        "delay": attributes.delay.as_secs(),
        "maxsize": attributes.maxsize.map_or(-1, i64::from),
        "totalrecv": attributes.totalrecv,
        "totalsent": attributes.totalsent,
        "created": seconds(attributes.created),
        "modified": seconds(attributes.modified),
        "msgs": attributes.msgs,
        "hiddenmsgs": attributes.hiddenmsgs,
    })
}

/// One message as the package shows it.
fn message(message: &Message) -> Value {
    let us = message.sent().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    let first = message.first_received.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    json!({
        "id": message.id.to_string(),
        "message": message.text(),
        "rc": message.receive_count,
        "fr": first,
        "sent": us as f64 / 1000.0,
    })
}

/// Whether both count the same. They look one after the other, and hidden messages count by the second: at most three looks.
async fn agree(rsmq: &mut Rsmq, queue: &Queue) -> Value {
    for _ in 0..3 {
        let ours = shown(&queue.attributes().await.expect("it is there"));
        if rsmq.call("getQueueAttributes", &json!({})) == ours {
            return ours;
        }
    }
    panic!("{} is not {:?}", rsmq.call("getQueueAttributes", &json!({})), queue.attributes().await);
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn rsmq_and_ours_read_each_other() {
    let runtime = Runtime::new().expect("a runtime");
    same_on_both(|server| runtime.block_on(read_each_other(server)));
}

async fn read_each_other(server: &Server) -> Seen {
    let (mut rsmq, bus) = (Rsmq::start(server, ""), connect(server).await);
    let queues = bus.queues();
    let created = rsmq.call("createQueue", &json!({ "vt": 7, "delay": 0, "maxsize": 2048 }));
    assert_eq!(created, json!(1));
    let queue = queues.queue("jobs").expect("a name");
    let new = agree(&mut rsmq, &queue).await;
    assert_eq!((&new["vt"], &new["maxsize"], &new["totalsent"]), (&json!(7), &json!(2048), &json!(0)));

    let text = "p\u{e4}ss \u{1f6eb} {\"n\":1}";
    let theirs = rsmq.call("sendMessage", &json!({ "message": text }));
    let received = queue.receive().await.expect("received").expect("a message");
    assert_eq!((json!(received.id.to_string()), received.text().as_ref()), (theirs.clone(), text));
    assert_eq!(rsmq.call("receiveMessage", &json!({})), json!({}), "ours has it");
    assert!(queue.change_visibility(received.id, Duration::ZERO).await.expect("changed"));
    let again = rsmq.call("receiveMessage", &json!({}));
    let mut expected = message(&received);
    expected["rc"] = json!(2);
    assert_eq!(again, expected);
    assert!(!queue.delete_received(&received).await.expect("fenced"));
    assert_eq!(rsmq.call("changeMessageVisibility", &json!({ "id": theirs, "vt": 0 })), json!(1));
    let third = queue.receive().await.expect("received").expect("a message");
    assert_eq!(third.receive_count, 3);
    assert_eq!(rsmq.call("deleteMessage", &json!({ "id": theirs })), json!(1));
    assert!(!queue.delete(received.id).await.expect("answered"));

    let ours = queue.send(&text.to_owned()).await.expect("sent").to_string();
    let received = rsmq.call("receiveMessage", &json!({ "vt": 0 }));
    assert_eq!(
        (&received["id"], &received["message"], &received["rc"]),
        (&json!(ours), &json!(text), &json!(1))
    );
    let popped = queue.pop().await.expect("popped").expect("a message");
    assert_eq!((popped.receive_count, message(&popped)["sent"].clone()), (2, received["sent"].clone()));
    queue.send_all(&[text.to_owned(), "second".to_owned()]).await.expect("sent");
    assert_eq!(rsmq.call("popMessage", &json!({}))["message"], json!(text));
    let last = rsmq.call("popMessage", &json!({}));
    assert_eq!((&last["message"], &last["rc"]), (&json!("second"), &json!(1)));
    rsmq.call("sendMessage", &json!({ "message": "later", "delay": 100 }));
    assert!(queue.receive().await.expect("answered").is_none());
    queue.send_in(Duration::from_secs(100), &"later".to_owned()).await.expect("sent");
    assert_eq!(rsmq.call("receiveMessage", &json!({})), json!({}));
    let counted = agree(&mut rsmq, &queue).await;
    assert_eq!(
        (&counted["msgs"], &counted["hiddenmsgs"], &counted["totalrecv"]),
        (&json!(2), &json!(2), &json!(7))
    );

    let set = rsmq.call("setQueueAttributes", &json!({ "vt": 9, "maxsize": -1 }));
    assert_eq!(set["vt"], json!(9));
    agree(&mut rsmq, &queue).await;
    queue.set_attributes(&QueueChanges::new().delay(Duration::from_secs(3))).await.expect("set");
    let set = agree(&mut rsmq, &queue).await;
    assert_eq!((&set["vt"], &set["delay"], &set["maxsize"]), (&json!(9), &json!(3), &json!(-1)));
    queues.create("ours", &QueueOptions::new()).await.expect("created");
    assert_eq!(rsmq.call("getQueueAttributes", &json!({ "qname": "ours" }))["vt"], json!(30));
    let mut listed: Vec<String> =
        serde_json::from_value(rsmq.call("listQueues", &json!({}))).expect("a list of names");
    listed.sort();
    assert_eq!(listed, queues.list().await.expect("listed"));
    errors_have_the_same_names(&mut rsmq, &bus).await;
    queues.delete("jobs").await.expect("deleted");
    assert_eq!(rsmq.call("receiveMessage", &json!({})), json!({ "error": "queueNotFound" }));
    vec!["read each other".to_owned()]
}

async fn errors_have_the_same_names(rsmq: &mut Rsmq, bus: &Bus) {
    fn code<T>(result: Result<T, QueueError>) -> Value {
        json!({ "error": result.err().map(|error| error.code()) })
    }
    let queues = bus.queues();
    let (queue, missing) = (queues.queue("ours").expect("a name"), queues.queue("nosuch").expect("a name"));
    let seconds = Duration::from_secs;
    let long = "x".repeat(65_537);
    for (call, options, ours) in [
        ("createQueue", json!({ "qname": "ours" }), code(queues.create("ours", &QueueOptions::new()).await)),
        (
            "createQueue",
            json!({ "qname": "two words" }),
            code(queues.create("two words", &QueueOptions::new()).await),
        ),
        ("createQueue", json!({ "qname": "" }), code(queues.create("", &QueueOptions::new()).await)),
        (
            "createQueue",
            json!({ "qname": "q", "vt": 10_000_000 }),
            code(queues.create("q", &QueueOptions::new().vt(seconds(10_000_000))).await),
        ),
        (
            "createQueue",
            json!({ "qname": "q", "maxsize": 1023 }),
            code(queues.create("q", &QueueOptions::new().maxsize(Some(1023))).await),
        ),
        ("deleteQueue", json!({ "qname": "nosuch" }), code(queues.delete("nosuch").await)),
        ("sendMessage", json!({ "qname": "ours", "message": long }), code(queue.send(&long).await)),
        (
            "sendMessage",
            json!({ "qname": "nosuch", "message": "x" }),
            code(missing.send(&"x".to_owned()).await),
        ),
        (
            "sendMessage",
            json!({ "qname": "ours", "message": "x", "delay": 10_000_000 }),
            code(queue.send_in(seconds(10_000_000), &"x".to_owned()).await),
        ),
        ("receiveMessage", json!({ "qname": "nosuch" }), code(missing.receive().await)),
        ("popMessage", json!({ "qname": "nosuch" }), code(missing.pop().await)),
        (
            "setQueueAttributes",
            json!({ "qname": "ours" }),
            code(queue.set_attributes(&QueueChanges::new()).await),
        ),
        (
            "deleteMessage",
            json!({ "qname": "ours", "id": "short" }),
            code("short".parse::<cauce::MessageId>()),
        ),
    ] {
        assert_eq!(rsmq.call(call, &options), ours, "{call} {options}");
    }
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn sends_are_announced_alike() {
    let runtime = Runtime::new().expect("a runtime");
    same_on_both(|server| {
        runtime.block_on(async {
            let (mut rsmq, bus) = (Rsmq::start(server, "realtime"), connect(server).await);
            let queue = bus.queues().create("jobs", &QueueOptions::new()).await.expect("created");
            let mut notices = bus.subscribe::<String>(["rsmq:rt:jobs"]).await.expect("subscribed");
            rsmq.call("sendMessage", &json!({ "message": "1" }));
            queue.send(&"2".to_owned()).await.expect("sent");
            queue.send_all(&["3".to_owned(), "4".to_owned()]).await.expect("sent");
            rsmq.call("sendMessage", &json!({ "message": "5" }));
            let mut seen = Seen::new();
            for _ in 0..5 {
                let Received::Message { body, .. } = notices.next().await else { panic!("a gap") };
                seen.push(body);
            }
            assert_eq!(seen, ["1", "2", "3", "4", "5"]);
            // One of ours that waits is woken by the package.
            assert_eq!(queue.pop_many(5).await.expect("popped").len(), 5);
            let waits = queue.clone();
            let waiting = tokio::spawn(async move { waits.receive_wait(Duration::from_secs(60)).await });
            rsmq.call("sendMessage", &json!({ "message": "6" }));
            let woken = waiting.await.expect("no panic").expect("received").expect("a message");
            seen.push(woken.text().into_owned());
            seen
        })
    });
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn each_message_goes_to_one_of_both_kinds_of_workers() {
    const EACH: usize = 300;
    let runtime = Runtime::new().expect("a runtime");
    same_on_both(|server| {
        let port = server.port().to_string();
        let bus = runtime.block_on(connect(server));
        let queue = runtime.block_on(bus.queues().create("jobs", &QueueOptions::new())).expect("created");
        let (sender, ours) = std::sync::mpsc::channel();
        let handler =
            async |text: String, cauce::State(sender): cauce::State<std::sync::mpsc::Sender<String>>| {
                let _ = sender.send(text);
            };
        let start = || Worker::new(&queue).state(sender.clone()).on(handler).concurrency(2).start();
        let workers =
            [runtime.block_on(start()), runtime.block_on(start())].map(|worker| worker.expect("started"));
        let mut theirs = [(); 2].map(|()| Process::node("clients/rsmq.js", &[&port, "work", "jobs"]));
        for worker in &mut theirs {
            worker.line_with("ready");
        }
        let mut rsmq = Rsmq::start(server, "");
        for number in 0..EACH {
            rsmq.call("sendMessage", &json!({ "message": format!("{number}") }));
            runtime.block_on(queue.send(&format!("{}", EACH + number))).expect("sent");
        }
        until("the queue is empty", || {
            runtime.block_on(queue.attributes()).is_ok_and(|counted| counted.msgs == 0)
        });
        let mut handled: Vec<String> = theirs.into_iter().flat_map(Process::finish).collect();
        assert!(!handled.iter().any(|line| line.starts_with("lost")), "{handled:?}");
        handled.retain(|line| line.starts_with("handled"));
        let (foreign, mut numbers) = (handled.len(), Vec::new());
        for worker in workers {
            runtime.block_on(worker.stop());
        }
        drop(sender);
        numbers
            .extend(handled.iter().filter_map(|line| line.strip_prefix("handled ")?.parse::<usize>().ok()));
        numbers.extend(ours.iter().filter_map(|text| text.parse::<usize>().ok()));
        assert!(foreign > 0 && foreign < numbers.len(), "both had work: {foreign} of {}", numbers.len());
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..2 * EACH), "each once");
        let counted = runtime.block_on(agree(&mut rsmq, &queue));
        assert_eq!((&counted["totalsent"], &counted["totalrecv"]), (&json!(2 * EACH), &json!(2 * EACH)));
        vec!["each once".into()]
    });
}
