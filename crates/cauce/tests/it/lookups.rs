//! Publishing without marks: what was under way on a lost connection is looked for on the stream.

use std::time::Duration;

use cauce::{Bus, CommandError, PublishError};

use crate::proxy::Proxy;
use crate::support::{Cancelled, Server, connect, until, until_async};

async fn numbers(bus: &Bus) -> Vec<u32> {
    let entries = bus.stream("flights").range(.., 100_000).await.unwrap();
    let number = |data: &str| data.trim_end_matches('}').rsplit(':').next().unwrap().parse().unwrap();
    entries.iter().map(|entry| number(entry.fields.text("data").unwrap())).collect()
}

async fn sorted(bus: &Bus) -> Vec<u32> {
    let mut numbers = numbers(bus).await;
    numbers.sort_unstable();
    numbers
}

/// How often a command was executed.
fn calls(server: &Server, command: &str) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let prefix = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

fn scripts(server: &Server) -> u64 {
    calls(server, "evalsha") + calls(server, "eval")
}

fn publish(bus: &Bus, number: u32) -> tokio::task::JoinHandle<Result<cauce::EntryId, PublishError>> {
    let bus = bus.clone();
    tokio::spawn(async move { bus.publish(&Cancelled::numbered(number)).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn most_publishes_are_no_scripts_and_each_event_is_there_once() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let (direct, through) = (connect(&server.url()).await, connect(&proxy.url()).await);
    through.publish(&Cancelled::numbered(0)).await.unwrap();
    for round in 0..5 {
        let before = round * 1_000;
        let publishing: Vec<_> =
            (before + 1..=before + 500).map(|number| publish(&through, number)).collect();
        proxy.lose_next_reply();
        // Others publish as well, much more than is read at once.
        direct
            .publish_all(&(before + 501..=before + 1_000).map(Cancelled::numbered).collect::<Vec<_>>())
            .await
            .unwrap();
        for published in publishing {
            published.await.unwrap().unwrap();
        }
        until("a reply is lost", || proxy.has_lost_all()).await;
    }
    assert_eq!(sorted(&direct).await, (0..=5_000).collect::<Vec<_>>());
    assert!(scripts(&server) < 2_500 * 3 / 4, "{} of 2,500 are scripts", scripts(&server));
}

/// What arrives when the event has been looked for already would be there twice: its connection was closed first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_held_up_on_the_way_is_not_carried_out_afterwards() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let (direct, through) = (connect(&server.url()).await, connect(&proxy.url()).await);
    through.publish(&Cancelled::numbered(0)).await.unwrap();
    proxy.hold_next_request();
    through.publish(&Cancelled::numbered(1)).await.unwrap();
    assert!(proxy.is_holding());
    proxy.release().await;
    direct.publish(&Cancelled::numbered(2)).await.unwrap();
    assert_eq!(numbers(&direct).await, [0, 1, 2]);
    // Without patience nothing is closed, and it comes after all.
    let once = through.with_publish_patience(Duration::ZERO);
    proxy.hold_next_request();
    once.publish(&Cancelled::numbered(3)).await.unwrap_err();
    once.publish(&Cancelled::numbered(3)).await.unwrap();
    proxy.release().await;
    until_async("it has arrived", async || numbers(&direct).await == [0, 1, 2, 3, 3]).await;
}

/// What happens to the stream while nobody knows whether the event is on it.
async fn while_unknown(port: u16, happens: impl AsyncFnOnce()) -> Result<cauce::EntryId, PublishError> {
    let proxy = Proxy::before(port).await;
    let bus = connect(&proxy.url()).await;
    bus.publish(&Cancelled::numbered(0)).await.unwrap();
    proxy.open_door(false);
    proxy.lose_next_reply();
    let publishing = publish(&bus, 1);
    until("the reply is lost", || proxy.has_lost_all()).await;
    happens().await;
    proxy.open_door(true);
    publishing.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_stream_was_cut_down_meanwhile_has_an_unknown_outcome() {
    for what in [
        &["XTRIM", "flights", "MAXLEN", "0"][..],
        &["XTRIM", "flights", "MAXLEN", "1"],
        &["DEL", "flights"],
        &[
            "EVAL",
            "local e = redis.call('XREVRANGE', 'flights', '+', '-', 'COUNT', 1) redis.call('XDEL', 'flights', e[1][1])",
            "0",
        ],
        &["EVAL", "redis.call('DEL', 'flights') redis.call('XADD', 'flights', '*', 'a', 'b')", "0"],
    ] {
        let server = Server::start();
        let outcome = while_unknown(server.port(), async || {
            server.cli(what);
        })
        .await;
        // It was found, or nobody can say.
        if what.last() == Some(&"1") {
            outcome.unwrap();
            continue;
        }
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, PublishError::Command(CommandError::OutcomeUnknown { .. })),
            "{what:?}: {error}"
        );
    }
    // Deleting what is older hides nothing.
    let server = Server::start();
    server.cli(&["XADD", "flights", "1-1", "data", "9"]);
    while_unknown(server.port(), async || {
        server.cli(&["XDEL", "flights", "1-1"]);
    })
    .await
    .unwrap();
    assert_eq!(numbers(&connect(&server.url()).await).await, [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_what_it_had_gets_the_event_again() {
    let mut server = Server::start();
    while_unknown(server.port(), async || {
        server.kill();
        server.start_again();
    })
    .await
    .unwrap();
    assert_eq!(numbers(&connect(&server.url()).await).await, [1]);
}

/// Where events could not be found later, each publish leaves a mark as it happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_can_be_looked_for_every_publish_leaves_a_mark() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    server.cli(&["ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-client|kill"]);
    let limited = proxy.url().replace("redis://", "redis://limited:secret@");
    for (url, trimmed) in [(limited, false), (proxy.url(), true)] {
        server.cli(&["DEL", "flights"]);
        let (direct, through) = (connect(&server.url()).await, connect(&url).await);
        through.publish(&Cancelled::numbered(0)).await.unwrap();
        let before = scripts(&server);
        for number in 1..10 {
            if trimmed {
                direct.publish(&Cancelled::numbered(number + 100)).await.unwrap();
                server.cli(&["XTRIM", "flights", "MAXLEN", "1"]);
            }
            // A new bus looks first; an old one may know from a moment ago that nothing was gone.
            let bus = if trimmed { connect(&proxy.url()).await } else { through.clone() };
            proxy.lose_next_reply();
            bus.publish(&Cancelled::numbered(number)).await.unwrap();
            bus.publish(&Cancelled::numbered(number + 50)).await.unwrap();
            let there = numbers(&direct).await;
            assert_eq!(there.iter().filter(|there| **there == number).count(), 1, "{there:?}");
        }
        assert!(scripts(&server) - before >= 18, "trimmed: {trimmed}");
    }
}
