//! The Node.js services of an existing system (clients of 2017 and 2021), unchanged, on both servers.

use std::collections::BTreeSet;

use crate::both::{Seen, same_on_both};
use crate::process::{Process, until};
use crate::server::Server;
use crate::services::workers::Language::{Node, Python};
use crate::services::workers::{Work, assert_nothing_pending, numbers};

fn service(server: &Server, script: &str, arguments: &[&str]) -> Process {
    let port = server.port().to_string();
    Process::node(&format!("seed/{script}"), &[&[&*port], arguments].concat())
}

/// A service that does its work and ends by itself.
fn done(server: &Server, script: &str, arguments: &[&str]) -> Seen {
    service(server, script, arguments).finish()
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn every_connected_subscriber_sees_every_notice() {
    same_on_both(|server| {
        let mut seen = done(server, "publisher.js", &["0", "2"]);
        let mut early = service(server, "subscriber.js", &[]);
        early.line_with("subscribed");
        seen.extend(done(server, "publisher.js", &["2", "10"]));
        let mut late = service(server, "subscriber.js", &[]);
        late.line_with("subscribed");
        seen.extend(done(server, "publisher.js", &["12", "3"]));
        early.line_with(r#"Message: notify-event {"n":14}"#);
        late.line_with(r#"Message: notify-event {"n":14}"#);
        let (early, late) = (early.finish(), late.finish());
        assert_eq!((early.len(), late.len()), (1 + 13, 1 + 3), "{early:#?} {late:#?}");
        [seen, early, late].concat()
    });
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn each_group_gets_each_entry_once() {
    same_on_both(|server| {
        let mut seen = Seen::new();
        let mut consumers = Vec::new();
        for (group, consumer) in [("mail", "mail-1"), ("mail", "mail-2"), ("audit", "audit-1")] {
            let mut process = service(server, "consumer.js", &[group, consumer]);
            seen.push(process.line_with("group "));
            consumers.push(process);
        }
        let added = done(server, "producer.js", &["0", "200"]);
        seen.push(format!("added {}", added.len()));
        until("every entry was printed in both groups", || {
            consumers.iter_mut().map(|consumer| consumer.count("Message: ")).sum::<usize>() >= 400
        });
        let printed: Vec<_> =
            consumers.into_iter().map(|each| numbers(&each.finish(), "Message: ")).collect();
        let mut mail = [&printed[0][..], &printed[1][..]].concat();
        mail.sort_unstable();
        seen.push(format!("mail {mail:?}"));
        seen.push(format!("audit {:?}", printed[2]));
        seen.push(format!("both instances worked: {}", !printed[0].is_empty() && !printed[1].is_empty()));
        seen
    });
}

#[test]
#[ignore = "needs the Node and Python clients; ./test installs them"]
fn a_sibling_takes_over_from_a_killed_instance() {
    for (doomed, sibling) in [(Node, Node), (Node, Python), (Python, Node)] {
        same_on_both(|server| {
            let mut held = doomed.consume_and_hang(server, "warehouse", "one");
            let mut added = doomed.produce(server, 0, 5);
            held.line_with("holding");
            held.kill();

            let mut survivor = sibling.consume(server, "warehouse", "two", 300);
            added += sibling.produce(server, 5, 20);
            until("everything is acknowledged", || survivor.count("acked 1") == added);
            let work = Work::of(survivor);
            let all: BTreeSet<_> = work.handled.iter().chain(&work.taken_over).collect();
            assert_eq!((all.len(), work.handled.len() + work.taken_over.len()), (25, 25), "{work:?}");
            assert!(!work.taken_over.is_empty(), "{work:?}");
            assert_nothing_pending(server, "warehouse");
            vec![format!("handled {all:?}")]
        });
    }
}

fn no_errors(lines: &Seen) {
    assert!(!lines.iter().any(|line| line.contains("ERROR")), "{lines:#?}");
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn queues_are_sent_to_popped_and_received_from() {
    same_on_both(|server| {
        let mut popper = service(server, "queue-popper.js", &[]);
        popper.line_with("ready");
        // Until there is a queue it says so, and goes on.
        popper.line_with("ERROR: queueNotFound");
        let sent = done(server, "queue-sender.js", &["0", "30"]);
        until("all are popped", || popper.count("popped ") == 30);
        let mut seen = vec![sent[0].clone(), format!("sent {}", sent.len() - 1)];
        // One of them takes what is there in its order; the receiver then shares with it.
        seen.push(format!("popped {:?}", numbers(&popper.finish(), "popped ")));
        let (mut popper, mut receiver) =
            (service(server, "queue-popper.js", &[]), service(server, "queue-receiver.js", &[]));
        popper.line_with("ready");
        receiver.line_with("ready");
        let sent = done(server, "queue-sender.js", &["30", "200"]);
        no_errors(&sent);
        seen.push(sent[0].clone());
        until("all are taken", || popper.count("popped ") + receiver.count("received ") >= 200);
        let (popped, received) = (popper.finish(), receiver.finish());
        no_errors(&popped);
        no_errors(&received);
        let all = [numbers(&popped, "popped "), numbers(&received, "received ")].concat();
        let distinct: BTreeSet<u32> = all.iter().copied().collect();
        assert!(distinct.into_iter().eq(30..230) && all.len() == 200, "each to one of them: {all:?}");
        seen
    });
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn a_queue_is_followed_by_its_notices() {
    same_on_both(|server| {
        let quiet = done(server, "queue-sender.js", &["0", "1"]);
        let mut realtime = service(server, "queue-realtime.js", &[]);
        realtime.line_with("ready");
        // Not announced: this sender is not told to.
        let silent = done(server, "queue-sender.js", &["1", "2"]);
        let announced = done(server, "queue-sender.js", &["3", "5", "realtime"]);
        until("each notice led to a message", || realtime.count("received ") == 5);
        let lines = realtime.finish();
        for program in [&quiet, &silent, &announced, &lines] {
            no_errors(program);
        }
        vec![
            format!("announced {:?}", numbers(&lines, "announced at ")),
            // The oldest first, whichever notice it was that woke it.
            format!("received {:?}", numbers(&lines, "received ")),
        ]
    });
}
