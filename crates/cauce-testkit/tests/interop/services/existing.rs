//! The Node.js services of an existing system (clients of 2017 and 2021), unchanged, on both servers.

use std::collections::BTreeSet;

use crate::both::{Seen, same_on_both};
use crate::process::{Process, until};
use crate::server::Server;

fn service(server: &Server, script: &str, arguments: &[&str]) -> Process {
    let port = server.port().to_string();
    Process::node(&format!("seed/{script}"), &[&[&*port], arguments].concat())
}

/// A service that does its work and ends by itself.
fn done(server: &Server, script: &str, arguments: &[&str]) -> Seen {
    service(server, script, arguments).finish()
}

/// The numbers after a prefix, in the order of the lines.
fn numbers(lines: &[String], prefix: &str) -> Vec<u32> {
    let rest = lines.iter().filter_map(|line| line.strip_prefix(prefix));
    rest.map(|text| text.trim().parse().expect("a number")).collect()
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
#[ignore = "needs the Node clients; ./test installs them"]
fn a_sibling_takes_over_from_a_killed_instance() {
    let seen = same_on_both(|server| {
        let mut doomed = service(server, "acknowledging.js", &["one", "stall"]);
        doomed.line_with("ready");
        let mut seen = vec![format!("added {}", done(server, "producer.js", &["0", "5"]).len())];
        doomed.line_with("holding");
        doomed.kill();

        let mut sibling = service(server, "acknowledging.js", &["two"]);
        done(server, "producer.js", &["5", "20"]);
        until("everything is acknowledged", || sibling.count("acked 1") == 25);
        let lines = sibling.finish();
        let (taken, handled) = (numbers(&lines, "took over"), numbers(&lines, "handled"));
        let all: BTreeSet<_> = taken.iter().chain(&handled).copied().collect();
        seen.push(format!("handled once each: {}", all.len() == 25 && taken.len() + handled.len() == 25));
        seen.push(format!("some taken over: {}", !taken.is_empty()));
        let mut pending = Process::start(
            "redis-cli",
            &["-p", &server.port().to_string(), "XPENDING", "streamsKey", "warehouse"],
        );
        seen.extend(pending.line());
        seen
    });
    assert_eq!(seen, ["added 5", "handled once each: true", "some taken over: true", "0"]);
}
