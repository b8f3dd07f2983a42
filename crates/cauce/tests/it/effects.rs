//! Effects that happen once: transactions and the inbox.

use std::time::Duration;

use cauce::{
    Bus, Delivery, EntryId, Event, Fields, HandlerError, Report, Retry, Running, Service, ServiceError,
    State, Transaction, TransactionError,
};
use serde::{Deserialize, Serialize};

use crate::proxy::Proxy;
use crate::support::{Cancelled, Seen, Server, connect, until, until_async};
use crate::targets::{KINDS, Target};

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "{shop}:charges", action = "charge")]
pub(crate) struct Charge {
    pub(crate) number: u32,
}

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "{shop}:charged", action = "charged")]
pub(crate) struct Charged {
    pub(crate) number: u32,
}

const LEASE: Duration = Duration::from_millis(500);
const DAY: Duration = Duration::from_secs(86_400);

/// The numbers of the events of a stream, in order.
pub(crate) async fn numbers(bus: &Bus, stream: &str) -> Vec<u32> {
    let entries = bus.stream(stream).range(.., 100_000).await.unwrap();
    let number = |data: &str| serde_json::from_str::<Charge>(data).unwrap().number;
    entries.iter().map(|entry| number(entry.fields.text("data").unwrap())).collect()
}

/// An entry of an event with an id, appended as a publisher without marks would.
pub(crate) async fn append(bus: &Bus, number: u32) -> EntryId {
    let mut fields = Fields::new();
    fields.push_text("action", "charge");
    fields.push_text("id", format!("charge-{number}"));
    fields.push_text("data", format!("{{\"number\":{number}}}"));
    bus.stream(Charge::STREAM).append(&fields).await.unwrap()
}

fn desk() -> Service {
    Service::new("desk").reclaim_after(LEASE).retry(Retry::fixed(Duration::from_millis(10)).max_attempts(3))
}

async fn settled(running: Running, count: u64) -> Report {
    until("all are settled", || {
        let report = running.report();
        report.handled + report.skipped + report.dead == count
    })
    .await;
    running.stop().await
}

async fn every_step(event: Charge, transaction: Transaction) -> Result<(), HandlerError> {
    transaction.set(transaction.key("last"), event.number.to_string())?;
    transaction.incr_by("{shop}:sum", 7)?;
    transaction.incr_by("{shop}:sum", i64::from(event.number))?;
    transaction.hset("{shop}:hash", "a", "1")?;
    transaction.hincr_by("{shop}:hash", "a", 4)?;
    transaction.hset("{shop}:hash", "b", "x")?;
    transaction.hdel("{shop}:hash", "b")?;
    transaction.sadd("{shop}:set", "m")?;
    transaction.srem("{shop}:set", "n")?;
    transaction.zadd("{shop}:sorted", 1.5, "m")?;
    transaction.zrem("{shop}:sorted", "n")?;
    transaction.set("{shop}:gone", "x")?;
    transaction.del("{shop}:gone")?;
    transaction.expire("{shop}:set", DAY)?;
    transaction.publish(&Charged { number: event.number })?;
    transaction.publish_in(&Charged { number: 100 + event.number }, Duration::from_millis(30))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_happens_with_its_acknowledgement() {
    for kind in KINDS {
        let target = Target::start(kind);
        let bus = connect(&target.url()).await;
        let receipts = Service::new("receipts").on(async |_: Charged| {}).start(&bus).await.unwrap();
        let running = desk().on(every_step).start(&bus).await.unwrap();
        bus.publish(&Charge { number: 3 }).await.unwrap();
        let report = settled(running, 1).await;
        assert_eq!((report.handled, report.late), (1, 0), "{kind:?} {report}");
        let ask = |words: &str| target.cli(&words.split(' ').collect::<Vec<_>>());
        assert_eq!(ask("GET {shop}:charges:last"), "3");
        assert_eq!(ask("GET {shop}:sum"), "10");
        assert_eq!(ask("HGETALL {shop}:hash"), "a\n5");
        assert_eq!(ask("SMEMBERS {shop}:set"), "m");
        assert_ne!(ask("PTTL {shop}:set"), "-1");
        assert_eq!(ask("ZRANGE {shop}:sorted 0 -1 WITHSCORES"), "m\n1.5");
        assert_eq!(ask("EXISTS {shop}:gone"), "0");
        assert!(ask("XPENDING {shop}:charges desk").starts_with('0'));
        assert_eq!(ask("EXISTS {shop}:charges:attempts:desk"), "0");
        until("both events are handled", || receipts.report().handled == 2).await;
        assert_eq!(numbers(&bus, Charged::STREAM).await, [3, 103]);
        receipts.stop().await;
    }
}

/// The last step is refused: what stands before it has not happened either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_transaction_changes_nothing() {
    async fn refused(event: Charge, transaction: Transaction) -> Result<(), HandlerError> {
        transaction.set("{shop}:first", "x")?;
        transaction.publish(&Charged { number: event.number })?;
        match event.number {
            0 => transaction.incr_by("{shop}:text", 1)?,
            1 => transaction.sadd("{shop}:text", "x")?,
            2 => transaction.incr_by("{shop}:great", i64::MAX)?,
            _ => transaction.expect("{shop}:text", Some(b"other"))?,
        }
        Ok(())
    }
    for kind in KINDS {
        let target = Target::start(kind);
        let bus = connect(&target.url()).await;
        target.cli(&["SET", "{shop}:text", "no number"]);
        let running = desk().on(refused).start(&bus).await.unwrap();
        for number in 0..4 {
            bus.publish(&Charge { number }).await.unwrap();
        }
        let report = settled(running, 4).await;
        assert_eq!((report.dead, report.failed, report.handled), (4, 12, 0), "{kind:?} {report}");
        assert_eq!(
            target.cli(&["EXISTS", "{shop}:first", "{shop}:charged", "{shop}:great"]),
            "0",
            "{kind:?}"
        );
        let mut errors: Vec<String> = Vec::new();
        for letter in bus.inspect().dead_letters(Charge::STREAM, EntryId::ZERO, 10).await.unwrap() {
            errors.push(letter.error);
        }
        errors.sort();
        for (error, problem) in errors.iter().zip([
            "the key `{shop}:text` holds a string, and SADD wants a set",
            "the value of `{shop}:great` would be beyond 2^53",
            "the value of `{shop}:text` has changed",
            "the value of `{shop}:text` is no integer",
        ]) {
            assert!(error.ends_with(problem), "{kind:?} {errors:?}");
            assert!(
                error.starts_with("the transaction is refused, and nothing of it was applied"),
                "{error}"
            );
        }
    }
}

/// The value that the handler read was changed by somebody else: the attempt fails, and the next reads again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_expected_must_still_be_so() {
    for kind in KINDS {
        let target = Target::start(kind);
        let bus = connect(&target.url()).await;
        target.cli(&["SET", "{shop}:stock", "5"]);
        let handler = async |_: Charge, delivery: Delivery, transaction: Transaction| {
            // The first attempt acts on what was true before.
            let (read, left) = if delivery.attempt == 1 { ("9", "8") } else { ("5", "4") };
            transaction.expect("{shop}:stock", Some(read.as_bytes()))?;
            transaction.expect("{shop}:none", None)?;
            transaction.expect_field("{shop}:hash", "f", None)?;
            transaction.set("{shop}:stock", left)?;
            Ok::<_, HandlerError>(())
        };
        let running = desk().on(handler).start(&bus).await.unwrap();
        bus.publish(&Charge { number: 1 }).await.unwrap();
        let report = settled(running, 1).await;
        assert_eq!((report.handled, report.failed), (1, 1), "{kind:?} {report}");
        assert_eq!(target.cli(&["GET", "{shop}:stock"]), "4");
    }
}

#[tokio::test]
async fn keys_of_other_slots_are_refused_with_a_name_that_fits() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let seen = Seen::new();
    let handler = async |_: Charge, transaction: Transaction, State(seen): State<Seen<String>>| {
        seen.push(transaction.set("balance", "1").unwrap_err().to_string());
        seen.push(transaction.publish(&Cancelled::numbered(1)).unwrap_err().to_string());
        for _ in 0..1_000 {
            transaction.incr_by("{shop}:n", 1).unwrap();
        }
        let full = transaction.incr_by("{shop}:n", 1).unwrap_err();
        assert!(matches!(full, TransactionError::TooManySteps));
        seen.push(full.to_string());
    };
    let running = desk().state(seen.clone()).on(handler).start(&bus).await.unwrap();
    bus.publish(&Charge { number: 1 }).await.unwrap();
    assert_eq!(settled(running, 1).await.handled, 1);
    let [key, stream, full] = seen.all().try_into().unwrap();
    assert!(
        key.starts_with("the key `balance` is in another cluster slot than the stream `{shop}:charges`"),
        "{key}"
    );
    assert!(key.contains("name it `{shop}:charges:balance`"), "{key}");
    assert!(stream.starts_with("the key `flights` is in another cluster slot"), "{stream}");
    assert_eq!(full, "a transaction has at most 1000 steps: do less in one handler");
    assert_eq!(server.cli(&["GET", "{shop}:n"]), "1000");
}

/// Whether the effect goes through the transaction, or beside it as without one.
#[derive(Clone)]
struct Till {
    bus: Bus,
    transacts: bool,
    started: Seen<u32>,
}

/// Has its effect, and never comes to its acknowledgement on the first attempt.
async fn charge_and_die(
    event: Charge,
    delivery: Delivery,
    transaction: Transaction,
    State(till): State<Till>,
) -> Result<(), HandlerError> {
    let effect = Charged { number: event.number };
    if till.transacts {
        transaction.publish(&effect)?;
    } else {
        till.bus.publish(&effect).await?;
    }
    till.started.push(delivery.attempt);
    if delivery.attempt == 1 {
        std::future::pending::<()>().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_effect_and_acknowledgement_repeats_no_transaction() {
    for (kind, transacts) in KINDS.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let target = Target::start(kind);
        let bus = connect(&target.url()).await;
        let till = Till { bus: bus.clone(), transacts, started: Seen::new() };
        let victim = desk().state(till.clone()).on(charge_and_die).start(&bus).await.unwrap();
        bus.publish(&Charge { number: 1 }).await.unwrap();
        until("it has begun", || till.started.len() == 1).await;
        drop(victim);
        let heir = desk().state(till.clone()).on(charge_and_die).start(&bus).await.unwrap();
        assert_eq!(settled(heir, 1).await.handled, 1);
        // Without the transaction the effect is there twice.
        let expected: &[u32] = if transacts { &[1] } else { &[1, 1] };
        assert_eq!(numbers(&bus, Charged::STREAM).await, expected, "{kind:?}");
    }
}

/// An instance that was stalled for longer than its lease applies nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_a_lost_lease_changes_nothing() {
    for kind in KINDS {
        let target = Target::start(kind);
        let proxy = Proxy::before(target.port()).await;
        let (direct, through) = (connect(&target.url()).await, connect(&proxy.url()).await);
        let started = Seen::new();
        let slow = async |event: Charge, transaction: Transaction, State(started): State<Seen<u32>>| {
            transaction.publish(&Charged { number: event.number })?;
            started.push(event.number);
            tokio::time::sleep(LEASE * 3).await;
            Ok::<_, HandlerError>(())
        };
        let late = desk().state(started.clone()).on(slow).start(&through).await.unwrap();
        direct.publish(&Charge { number: 1 }).await.unwrap();
        until("it is running", || started.len() == 1).await;
        let quick = async |event: Charge, transaction: Transaction| {
            transaction.publish(&Charged { number: event.number })?;
            Ok::<_, HandlerError>(())
        };
        let heir = desk().on(quick).start(&direct).await.unwrap();
        proxy.stall(LEASE * 6).await;
        until("the heir has it", || heir.report().handled == 1).await;
        until("the late one is fenced", || late.report().late == 1).await;
        assert_eq!(numbers(&direct, Charged::STREAM).await, [1], "{kind:?}");
        drop(late);
        heir.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_comes_as_two_entries_is_handled_once() {
    for (kind, inbox) in KINDS.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let target = Target::start(kind);
        let bus = connect(&target.url()).await;
        let seen = Seen::new();
        let handler = async |event: Charge, State(seen): State<Seen<u32>>| {
            tokio::time::sleep(Duration::from_millis(5)).await;
            seen.push(event.number);
        };
        let service = desk().state(seen.clone()).on(handler);
        let service = if inbox { service.inbox(DAY) } else { service };
        let running = service.start(&bus).await.unwrap();
        for number in 0..20 {
            // At the same time, and once more when it is done.
            append(&bus, number).await;
            append(&bus, number).await;
        }
        until("all are handled", || seen.len() >= 20).await;
        append(&bus, 0).await;
        let report = settled(running, 41).await;
        let mut all = seen.all();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        // Without the inbox, as often as it came.
        let expected = if inbox { (20, 21) } else { (41, 0) };
        assert_eq!((report.handled, report.skipped), expected, "{kind:?} {report}");
        assert_eq!(seen.len() as u64, report.handled);
        assert_eq!(target.cli(&["EXISTS", "{shop}:charges:attempts:desk"]), "0", "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handled_stays_handled_when_the_group_is_lost() {
    for kind in KINDS {
        let target = Target::start(kind);
        let bus = connect(&target.url()).await;
        let seen = Seen::new();
        let handler = async |event: Charge, State(seen): State<Seen<u32>>| seen.push(event.number);
        let service = || desk().state(seen.clone()).on(handler).inbox(DAY).start_at(cauce::Start::Beginning);
        let running = service().start(&bus).await.unwrap();
        for number in 0..10 {
            append(&bus, number).await;
        }
        assert_eq!(settled(running, 10).await.handled, 10);
        target.cli(&["XGROUP", "DESTROY", Charge::STREAM, "desk"]);
        target.cli(&["DEL", "{shop}:charges:cursor:desk"]);
        append(&bus, 10).await;
        let report = settled(service().start(&bus).await.unwrap(), 11).await;
        assert_eq!((report.handled, report.skipped), (1, 10), "{kind:?} {report}");
        let mut all = seen.all();
        all.sort_unstable();
        assert_eq!(all, (0..=10).collect::<Vec<_>>());
    }
}

/// What became a dead letter was not handled: it can be redriven, and another entry of the event takes its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_not_taken_for_handled() {
    for kind in KINDS {
        let target = Target::start(kind);
        let bus = connect(&target.url()).await;
        let broken = async |_: Charge| Err::<(), _>(HandlerError::reject("broken"));
        let running = desk().on(broken).inbox(DAY).start(&bus).await.unwrap();
        append(&bus, 1).await;
        assert_eq!(settled(running, 1).await.dead, 1);
        let running = desk().on(async |_: Charge| {}).inbox(DAY).start(&bus).await.unwrap();
        append(&bus, 1).await;
        assert_eq!(settled(running, 1).await.handled, 1, "{kind:?}");
    }
}

/// More marks than an inbox keeps: for each that comes two go, the oldest first.
#[tokio::test]
async fn an_inbox_is_bounded() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let inbox = "{shop}:charges:inbox:desk";
    let fill = "for n = 1, 100010 do redis.call('ZADD', KEYS[1], n, 'old'..n) end";
    server.cli(&["EVAL", fill, "1", inbox]);
    let running = desk().on(async |_: Charge| {}).inbox(DAY).start(&bus).await.unwrap();
    for number in 0..20 {
        append(&bus, number).await;
    }
    settled(running, 20).await;
    assert!(server.cli(&["ZCARD", inbox]).parse::<u32>().unwrap() <= 100_000);
    assert_eq!(server.cli(&["ZSCORE", inbox, "old1"]), "");
    assert_ne!(server.cli(&["ZSCORE", inbox, "charge-0"]), "");
}

#[tokio::test]
async fn an_inbox_that_could_not_work_is_refused() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let refused = desk().on(async |_: Charge| {}).inbox(DAY).no_ack().start(&bus).await.unwrap_err();
    assert!(matches!(refused, ServiceError::InboxWithoutAck), "{refused}");
    let batches = desk().on_batch(10, Duration::ZERO, async |_: cauce::Batch<Charge>| {}).inbox(DAY);
    let refused = batches.start(&bus).await.unwrap_err();
    assert!(matches!(refused, ServiceError::InboxBatch { action: "charge" }), "{refused}");
}

/// Time that leaps forward by days, for what is under way as well as for what is done: nothing is repeated.
#[cfg(feature = "embedded")]
#[tokio::test(start_paused = true)]
async fn clocks_that_leap_forward_repeat_nothing() {
    let bus = connect("memory:").await;
    let handler = async |event: Charge, transaction: Transaction| {
        transaction.publish(&Charged { number: event.number })?;
        Ok::<_, HandlerError>(())
    };
    let running = desk().on(handler).inbox(DAY).start(&bus).await.unwrap();
    let tick = |_| Charged { number: 1_000 };
    let _cron = cauce::Cron::new("tick", "@daily").unwrap().start(&bus, tick).await.unwrap();
    for number in 0..10 {
        append(&bus, number).await;
        let id = cauce::Metadata::new().id(format!("later-{number}"));
        bus.publish_in_with(&Charge { number: 100 + number }, DAY / 2, &id).await.unwrap();
        tokio::time::advance(DAY * 3).await;
        append(&bus, number).await;
        bus.publish_with(&Charge { number: 100 + number }, &id).await.unwrap();
    }
    let charged = async |number: u32| numbers(&bus, Charged::STREAM).await.contains(&number);
    until_async("all are charged", async || charged(9).await && charged(109).await).await;
    until_async("nothing is pending", async || {
        bus.inspect().pending(Charge::STREAM, "desk", &cauce::PendingQuery::new()).await.unwrap().is_empty()
    })
    .await;
    let mut all = numbers(&bus, Charged::STREAM).await;
    let ticks = all.iter().filter(|number| **number == 1_000).count();
    assert!((1..=31).contains(&ticks), "{ticks}");
    all.retain(|number| *number != 1_000);
    all.sort_unstable();
    assert_eq!(all, (0..10).chain(100..110).collect::<Vec<_>>());
    running.stop().await;
}
