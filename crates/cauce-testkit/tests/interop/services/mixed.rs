//! Services of three languages in one group, ours among them: they share, and each takes over from each.

use std::time::Duration;

use cauce::{Event, Received};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::both::same_on_both;
use crate::process::{Process, until};
use crate::services::ours::{self, Ours};
use crate::services::workers::{Language, Work, assert_nothing_pending};

const NEVER_MS: u32 = 60_000;
const NEVER: Duration = Duration::from_secs(60);
const SOON_MS: u32 = 500;
const SOON: Duration = Duration::from_millis(500);

#[test]
#[ignore = "needs the Node and Python clients; ./test installs them"]
fn three_languages_share_a_group() {
    let runtime = Runtime::new().expect("a runtime");
    let seen = same_on_both(|server| {
        let bus = runtime.block_on(ours::connect(server));
        let start_ours = |group: &str| runtime.block_on(Ours::start(&bus, group, NEVER));
        let start = |language: Language, group: &str| {
            language.consume(server, group, &format!("{language:?}"), NEVER_MS)
        };

        let (shared_ours, lone_ours) = (start_ours("warehouse"), start_ours("ours"));
        let mut shared = Language::ALL.map(|language| start(language, "warehouse"));
        let mut lone = Language::ALL.map(|language| start(language, &format!("{language:?}")));
        for (first, language) in (0..).step_by(100).zip(Language::ALL) {
            assert_eq!(language.produce(server, first, 100), 100, "{language:?} adds them all");
        }
        runtime.block_on(ours::produce(&bus, 200, 100));

        until("each group has everything", || {
            let foreign: usize = shared.iter_mut().map(|each| each.count("acked 1")).sum();
            foreign + shared_ours.count() == 300
                && lone.iter_mut().all(|each| each.count("acked 1") == 300)
                && lone_ours.count() == 300
        });
        let mut together = runtime.block_on(shared_ours.stop());
        together.extend(shared.into_iter().flat_map(|each| Work::of(each).handled));
        assert_nothing_pending(server, "warehouse");
        let mut seen = vec![sorted(together), sorted(runtime.block_on(lone_ours.stop()))];
        seen.extend(lone.into_iter().map(|each| sorted(Work::of(each).handled)));
        seen
    });
    assert_eq!(seen, vec![sorted((0..300).collect()); 4], "each group handles each entry once");
}

#[test]
#[ignore = "needs the Node and Python clients; ./test installs them"]
fn ours_takes_over_from_a_killed_foreign_instance() {
    let runtime = Runtime::new().expect("a runtime");
    for language in Language::ALL {
        same_on_both(|server| {
            let mut held = language.consume_and_hang(server, "warehouse", "doomed");
            language.produce(server, 0, 5);
            held.line_with("holding");
            held.kill();

            let bus = runtime.block_on(ours::connect(server));
            let survivor = runtime.block_on(Ours::start(&bus, "warehouse", SOON));
            until("ours has handled everything", || survivor.count() >= 5);
            let handled = runtime.block_on(survivor.stop());
            assert_eq!(sorted(handled), "[0, 1, 2, 3, 4]");
            assert_nothing_pending(server, "warehouse");
            vec!["taken over".into()]
        });
    }
}

#[test]
#[ignore = "needs the Node and Python clients; ./test installs them"]
fn a_foreign_instance_takes_over_from_a_crashed_one_of_ours() {
    let runtime = Runtime::new().expect("a runtime");
    for language in Language::ALL {
        same_on_both(|server| {
            let bus = runtime.block_on(ours::connect(server));
            let doomed = runtime.block_on(Ours::start_hanging(&bus, "warehouse"));
            runtime.block_on(ours::produce(&bus, 0, 5));
            until("ours holds the entries", || doomed.count() == 5);
            drop(doomed);

            let mut survivor = language.consume(server, "warehouse", "survivor", SOON_MS);
            until("everything is acknowledged", || survivor.count("acked 1") == 5);
            assert_eq!(sorted(Work::of(survivor).taken_over), "[0, 1, 2, 3, 4]");
            assert_nothing_pending(server, "warehouse");
            vec!["taken over".into()]
        });
    }
}

fn sorted(mut numbers: Vec<u32>) -> String {
    numbers.sort_unstable();
    format!("{numbers:?}")
}

/// What the Node publisher sends and the Node subscriber prints.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(channel = "notify-event", action = "notice")]
struct Notice {
    n: u32,
}

#[test]
#[ignore = "needs the Node clients; ./test installs them"]
fn notices_go_both_ways() {
    let runtime = Runtime::new().expect("a runtime");
    same_on_both(|server| {
        let port = server.port().to_string();
        let bus = runtime.block_on(ours::connect(server));
        let subscribed = runtime.block_on(bus.subscribe::<Notice>(["notify-event"]));
        let mut subscription = subscribed.expect("the server listens");
        let mut foreign = Process::node("seed/subscriber.js", &[&port]);
        foreign.line_with("subscribed");

        let mut seen = Process::node("seed/publisher.js", &[&port, "0", "3"]).finish();
        let receivers = runtime.block_on(bus.broadcast(&Notice { n: 3 })).expect("the server takes it");
        seen.push(format!("published 3 to {receivers}"));
        for _ in 0..4 {
            let received = runtime.block_on(subscription.next());
            assert!(matches!(received, Received::Message { .. }), "{received:?}");
            seen.push(format!("{received:?}"));
        }
        foreign.line_with(r#"Message: notify-event {"n":3}"#);
        seen.extend(foreign.finish());
        seen
    });
}
