//! What services on Redis stumble over elsewhere, one test for each.
//!
//! | trap | test |
//! |---|---|
//! | a sweep of two commands loses what it moves when it dies in between | a_delay_survives_the_instance, a_dead_letter_that_cannot_be_written_leaves_its_entry_pending_and_holds_nobody_up |
//! | a script unpacks all that is due, and thousands are | thousands_that_are_due_at_once_are_all_taken, an_entry_of_thousands_of_fields_is_buried_too |
//! | consumers are numbered by each process | names_are_unique |
//! | the number of attempts is fixed in the code | after_the_last_attempt_an_entry_is_a_dead_letter |
//! | entries of the dead are claimed only when nothing else is to do, or the other way round | new_entries_and_retries_do_not_starve_each_other |
//! | entries are claimed one by one | entries_of_the_dead_are_taken_over |
//! | what failed for good is deleted unless an option is on | a_poison_entry_keeps_its_fields |
//! | a question walks all keys | no_question_walks_all_keys_at_once |
//! | keys of a script lie in several slots | every_script_keeps_to_one_slot |
//! | a retry is a copy that other groups get too | other_groups_never_see_a_retry |
//! | times come from the clients' clocks | the_clock_of_the_client_jumps, the_clock_of_the_broker_jumps |
//! | a blocked read lasts longer than the client's patience | a_quiet_stream_costs_no_connection |
//! | a consumer is deleted with its pending entries | a_consumer_that_is_gone_is_removed_when_nothing_is_pending |
//! | a server that restarted has forgotten the scripts | forgotten_scripts_are_told_again |

use std::collections::BTreeSet;
use std::time::Duration;

use cauce::{Delivery, EntryId, HandlerError, PendingQuery, Retry, Service, State};

use crate::queue_cluster::cluster;
use crate::support::{Cancelled, Seen, Server, connect, until, until_async};

#[tokio::test]
async fn names_are_unique() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let mut names = BTreeSet::new();
    for _ in 0..20 {
        let running = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
        names.insert(running.consumer().to_owned());
        running.stop().await;
    }
    assert_eq!(names.len(), 20);
    assert!(names.iter().all(|name| name.contains(&format!("-{}-", std::process::id()))), "{names:?}");
}

#[tokio::test]
async fn no_question_walks_all_keys_at_once() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let rejects = async |_: Cancelled| Err::<(), _>(HandlerError::reject("closed"));
    let running = Service::new("desk").on(rejects).start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(3)).await.unwrap();
    until("all are dead", || running.report().dead == 3).await;
    let inspector = bus.inspect();
    inspector.streams().await.unwrap();
    inspector.holders("flights").await.unwrap();
    inspector.owners("flights", "desk").await.unwrap();
    inspector.pending("flights", "desk", &PendingQuery::new()).await.unwrap();
    inspector.dead_letter_groups("flights").await.unwrap();
    running.stop().await;
    let statistics = server.cli(&["INFO", "commandstats"]);
    assert!(statistics.contains("cmdstat_scan:"), "{statistics}");
    assert!(!statistics.contains("cmdstat_keys:"), "{statistics}");
}

/// In a cluster (of one node, with all slots) a script that touches keys of several slots is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_script_keeps_to_one_slot() {
    async fn drilled(
        event: Cancelled,
        delivery: Delivery,
        State(seen): State<Seen<u32>>,
    ) -> Result<(), HandlerError> {
        match (event.passengers, delivery.attempt) {
            (7, _) if seen.len() < 19 => Err(HandlerError::reject("closed")),
            (number, 1) if number % 5 == 0 => Err(HandlerError::failed("once")),
            (number, _) => {
                seen.push(number);
                Ok(())
            }
        }
    }
    let server = cluster().await;
    let bus = connect(&server.url()).await;
    for ordered in [false, true] {
        server.cli(&["FLUSHALL"]);
        let seen = Seen::new();
        let start = async || {
            let service = Service::new("desk").state(seen.clone()).on(drilled);
            let service = service.retry(Retry::fixed(Duration::from_millis(20)));
            let service = service.reclaim_after(Duration::from_millis(200));
            let service = if ordered { service.ordered_by_key(100) } else { service };
            service.start(&bus).await.unwrap()
        };
        let first = start().await;
        bus.publish_all(&Cancelled::series(20)).await.unwrap();
        until("all but one are handled", || seen.len() == 19 && first.report().dead == 1).await;
        drop(first);
        let second = start().await;
        let letters = bus.inspect().dead_letters("flights", EntryId::ZERO, 10).await.unwrap();
        bus.inspect().redrive(&letters[0]).await.unwrap();
        until("it is handled too", || seen.all().contains(&7)).await;
        until_async("nothing is pending", async || {
            bus.inspect().pending("flights", "desk", &PendingQuery::new()).await.unwrap().is_empty()
        })
        .await;
        bus.retain("flights", &cauce::Retention::new().max_length(5)).await.unwrap();
        second.stop().await;
    }
    let errors = server.cli(&["INFO", "errorstats"]);
    assert!(!errors.contains("CROSSSLOT"), "{errors}");
}

/// Far beyond the time that any read may be blocked.
#[cfg(feature = "embedded")]
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_costs_no_connection() {
    let bus = connect("memory:").await;
    let running = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    while running.report().handled == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(running.stop().await.reconnects, 0);
}
