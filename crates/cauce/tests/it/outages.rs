//! What happens when the broker goes away and comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use cauce::{CommandError, Fields, Received, Service, State};

use crate::proxy::Proxy;
use crate::support::{Cancelled, Seen, Server, connect, soon, until};

/// Publishes until told to stop; returns what was confirmed.
async fn publish_for_ever(url: String, mut stop: tokio::sync::oneshot::Receiver<()>) -> BTreeSet<u32> {
    let bus = connect(&url).await;
    let mut confirmed = BTreeSet::new();
    for number in 0.. {
        if stop.try_recv().is_ok() {
            return confirmed;
        }
        // An event whose outcome is unknown is not published again here: only what was confirmed is counted on.
        if bus.publish(&Cancelled::numbered(number)).await.is_ok() {
            confirmed.insert(number);
        }
    }
    unreachable!("the numbers do not end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_when_a_durable_server_is_killed_under_load() {
    let mut server = Server::durable();
    let bus = connect(&server.url()).await;
    let seen = Seen::new();
    let handler = async |event: Cancelled, State(seen): State<Seen<u32>>| seen.push(event.passengers);
    let running = Service::new("desk").state(seen.clone()).on(handler).start(&bus).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let publisher = tokio::spawn(publish_for_ever(server.url(), stopped));
    for _ in 0..3 {
        let before = seen.len();
        until("events flow", || seen.len() > before + 200).await;
        server.kill();
        server.start_again();
    }
    let before = seen.len();
    until("events flow again", || seen.len() > before + 200).await;
    stop.send(()).unwrap();
    let confirmed = soon("the publisher", publisher).await.unwrap();
    until("all confirmed are handled", || confirmed.is_subset(&seen.all().into_iter().collect())).await;
    until("nothing is pending", || server.cli(&["XPENDING", "flights", "desk"]).starts_with('0')).await;
    let report = running.stop().await;
    assert!(report.reconnects >= 3 && report.dead == 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_go_on_when_the_server_lost_everything() {
    let mut server = Server::start();
    let bus = connect(&server.url()).await;
    let seen = Seen::new();
    let handler = async |event: Cancelled, State(seen): State<Seen<u32>>| seen.push(event.passengers);
    let running = Service::new("desk").state(seen.clone()).on(handler).start(&bus).await.unwrap();
    for round in 0..3 {
        bus.publish(&Cancelled::numbered(round)).await.unwrap();
        until("it is handled", || seen.all().last() == Some(&round)).await;
        server.kill();
        server.start_again();
    }
    bus.publish(&Cancelled::numbered(9)).await.unwrap();
    until("it is handled", || seen.all().last() == Some(&9)).await;
    let report = running.stop().await;
    assert!(report.groups_recreated >= 3, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_group_is_made_again_and_skips_nothing() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let seen = Seen::new();
    let handler = async |event: Cancelled, State(seen): State<Seen<u32>>| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        seen.push(event.passengers);
    };
    let running = Service::new("desk").state(seen.clone()).on(handler).start(&bus).await.unwrap();
    for number in 0..300 {
        bus.publish(&Cancelled::numbered(number)).await.unwrap();
        if number % 100 == 50 {
            server.cli(&["XGROUP", "DESTROY", "flights", "desk"]);
        }
    }
    let all: BTreeSet<u32> = (0..300).collect();
    until("all are handled", || seen.all().into_iter().collect::<BTreeSet<_>>() == all).await;
    let report = running.stop().await;
    assert!(report.groups_recreated >= 1, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_renewed_and_says_so() {
    let mut server = Server::start();
    let bus = connect(&server.url()).await;
    let mut gates = bus.subscribe::<Cancelled>(["gates"]).await.unwrap();
    let mut all = bus.psubscribe::<Cancelled>(["gate*"]).await.unwrap();
    server.kill();
    server.start_again();
    assert!(matches!(soon("the news", gates.next()).await, Received::Reconnected));
    assert!(matches!(soon("the news", all.next()).await, Received::Reconnected));
    assert_eq!(bus.broadcast(&Cancelled::numbered(1)).await.unwrap(), 2);
    for subscription in [&mut gates, &mut all] {
        let received = soon("the message", subscription.next()).await;
        assert!(matches!(received, Received::Message { body, .. } if body == Cancelled::numbered(1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_cut_or_dropped_mix_up_no_replies() {
    const CALLERS: u32 = 8;
    const CALLS: u32 = 200;
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let bus = connect(&proxy.url()).await;
    let (seen, confirmed) = (Seen::new(), Seen::new());
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (bus, seen, confirmed) = (bus.clone(), seen.clone(), confirmed.clone());
            tokio::spawn(async move {
                for number in 0..CALLS {
                    let name = format!("{caller}:{number}");
                    let mut fields = Fields::new();
                    fields.push_text("name", &name);
                    let stream = bus.stream("calls");
                    let patience = Duration::from_micros(if number % 3 == 0 { 300 } else { 20_000_000 });
                    match tokio::time::timeout(patience, stream.append(&fields)).await {
                        Ok(Ok(id)) => {
                            confirmed.push(name.clone());
                            // Reads may be lost as well; an answer is the answer to this question.
                            if let Ok(found) = stream.range(id..=id, 1).await {
                                assert_eq!(found[0].fields.text("name"), Some(name.as_str()));
                            }
                        }
                        Ok(Err(CommandError::OutcomeUnknown { .. })) | Err(_) => {}
                        Ok(Err(error)) => panic!("{error}"),
                    }
                    seen.push(number);
                }
            })
        })
        .collect();
    for round in 1..=5 {
        until("calls flow", || seen.len() > round * 200).await;
        proxy.cut();
    }
    for caller in callers {
        soon("the caller", caller).await.unwrap();
    }
    let shown = server.cli(&["XRANGE", "calls", "-", "+"]);
    let stored: BTreeSet<&str> = shown.lines().collect();
    assert!(confirmed.len() > 200, "{}", confirmed.len());
    for name in confirmed.all() {
        assert!(stored.contains(name.as_str()), "{name} was confirmed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_after_a_quiet_outage_is_not_in_doubt() {
    let mut server = Server::start();
    let bus = connect(&server.url()).await;
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    for number in 2..5 {
        server.kill();
        server.start_again();
        bus.publish(&Cancelled::numbered(number)).await.unwrap();
    }
}
