//! Events that wait for their time, and those that recur.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use cauce::{Bus, Cron, CronError, Event, Metadata, Service, State};
use serde::{Deserialize, Serialize};

use crate::support::{Cancelled, Seen, Server, connect, on_every_target, until, until_async};
use crate::targets::{KINDS, Kind, Target};

on_every_target!(
    a_delayed_event_comes_at_its_time_with_its_id,
    a_time_that_has_passed_is_now,
    a_cancelled_event_never_comes,
    what_is_sooner_comes_sooner,
    an_id_waits_once,
    thousands_that_are_due_at_once_come_once_each,
    occurrences_come_once_across_instances,
    another_pattern_takes_the_others_place,
);

#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(stream = "ticks", action = "tick")]
struct Tick {
    due_ms: u64,
}

impl Tick {
    fn of(due: SystemTime) -> Self {
        Self {
            due_ms: u64::try_from(due.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap(),
        }
    }
}

/// The id of each entry of the stream, and its time there in milliseconds.
async fn appended(bus: &Bus, stream: &str) -> Vec<(String, u64)> {
    let entries = bus.stream(stream).range(.., 100_000).await.unwrap();
    entries.iter().map(|entry| (entry.fields.text("id").unwrap().to_owned(), entry.id.ms)).collect()
}

fn ms(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

async fn a_delayed_event_comes_at_its_time_with_its_id(url: &str) {
    let bus = connect(url).await;
    let scheduled = bus.publish_in(&Cancelled::numbered(1), Duration::from_millis(150)).await.unwrap();
    assert_eq!(bus.scheduled("flights", 10).await.unwrap(), std::slice::from_ref(&scheduled));
    assert!(appended(&bus, "flights").await.is_empty());
    until_async("it has come", async || !appended(&bus, "flights").await.is_empty()).await;
    let [(id, at)] = appended(&bus, "flights").await.try_into().unwrap();
    assert_eq!(id, scheduled.id);
    assert!(at >= ms(scheduled.due), "{at} is before {scheduled:?}");
    assert!(bus.scheduled("flights", 10).await.unwrap().is_empty());
    assert!(!bus.cancel("flights", &id).await.unwrap());
}

async fn a_time_that_has_passed_is_now(url: &str) {
    let bus = connect(url).await;
    bus.publish_at(&Cancelled::numbered(1), SystemTime::UNIX_EPOCH).await.unwrap();
    until_async("it has come", async || appended(&bus, "flights").await.len() == 1).await;
}

async fn a_cancelled_event_never_comes(url: &str) {
    let bus = connect(url).await;
    let soon = Duration::from_millis(100);
    let first = bus.publish_in(&Cancelled::numbered(1), soon).await.unwrap();
    let second = bus.publish_in(&Cancelled::numbered(2), soon * 2).await.unwrap();
    assert!(bus.cancel("flights", &first.id).await.unwrap());
    assert!(!bus.cancel("flights", &first.id).await.unwrap());
    until_async("the other has come", async || !appended(&bus, "flights").await.is_empty()).await;
    let [(id, _)] = appended(&bus, "flights").await.try_into().unwrap();
    assert_eq!(id, second.id);
}

async fn what_is_sooner_comes_sooner(url: &str) {
    let bus = connect(url).await;
    let late = bus.publish_in(&Cancelled::numbered(1), Duration::from_millis(900)).await.unwrap();
    let soon = bus.publish_in(&Cancelled::numbered(2), Duration::from_millis(50)).await.unwrap();
    until_async("both have come", async || appended(&bus, "flights").await.len() == 2).await;
    let ids: Vec<String> = appended(&bus, "flights").await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [soon.id, late.id]);
}

async fn an_id_waits_once(url: &str) {
    let bus = connect(url).await;
    let metadata = Metadata::new().id("reminder-7");
    let first =
        bus.publish_in_with(&Cancelled::numbered(1), Duration::from_millis(50), &metadata).await.unwrap();
    let again =
        bus.publish_in_with(&Cancelled::numbered(1), Duration::from_secs(60), &metadata).await.unwrap();
    assert_eq!(first, again);
    until_async("it has come", async || appended(&bus, "flights").await.len() == 1).await;
    bus.publish_in_with(&Cancelled::numbered(1), Duration::ZERO, &metadata).await.unwrap();
    bus.publish_with(&Cancelled::numbered(1), &metadata).await.unwrap();
    assert_eq!(appended(&bus, "flights").await.len(), 1);
    assert!(bus.scheduled("flights", 10).await.unwrap().is_empty());
}

async fn thousands_that_are_due_at_once_come_once_each(url: &str) {
    let bus = connect(url).await;
    let others = [connect(url).await, connect(url).await];
    let due = SystemTime::now() + Duration::from_millis(500);
    let publishing = (0..2_000).map(|number| {
        let bus = if number % 2 == 0 { bus.clone() } else { others[0].clone() };
        tokio::spawn(async move { bus.publish_at(&Cancelled::numbered(number), due).await.map(|it| it.id) })
    });
    let mut ids = Vec::new();
    for published in publishing.collect::<Vec<_>>() {
        ids.push(published.await.unwrap().unwrap());
    }
    until_async("all have come", async || appended(&bus, "flights").await.len() >= 2_000).await;
    let mut came: Vec<String> = appended(&bus, "flights").await.into_iter().map(|(id, _)| id).collect();
    came.sort();
    ids.sort();
    assert_eq!(came, ids);
}

async fn occurrences_come_once_across_instances(url: &str) {
    let begun = SystemTime::now();
    let buses = [connect(url).await, connect(url).await, connect(url).await];
    let mut running = Vec::new();
    for bus in &buses {
        running.push(Cron::new("tick", "* * * * * *").unwrap().start(bus, Tick::of).await.unwrap());
    }
    until_async("three have come", async || appended(&buses[0], "ticks").await.len() >= 3).await;
    let came = appended(&buses[0], "ticks").await;
    for ((id, at), next) in came.iter().zip(&came[1..]) {
        assert!(id.starts_with("tick@") && id.ends_with(".000Z") && *id < next.0, "{came:?}");
        assert!(at % 1_000 < 500, "{came:?}");
        assert_eq!(next.1 / 1_000 - at / 1_000, 1, "{came:?}");
    }
    assert!(came[0].1 >= ms(begun), "{came:?}");
    drop(running);
}

async fn another_pattern_takes_the_others_place(url: &str) {
    let bus = connect(url).await;
    let yearly = Cron::new("tick", "@yearly").unwrap().start(&bus, Tick::of).await.unwrap();
    let [first] = bus.scheduled("ticks", 10).await.unwrap().try_into().unwrap();
    let same = Cron::new("tick", "@yearly").unwrap().start(&bus, Tick::of).await.unwrap();
    assert_eq!(bus.scheduled("ticks", 10).await.unwrap(), std::slice::from_ref(&first));
    drop((yearly, same));
    let _often = Cron::new("tick", "* * * * * *").unwrap().start(&bus, Tick::of).await.unwrap();
    let scheduled = bus.scheduled("ticks", 10).await.unwrap();
    assert!(!scheduled.contains(&first), "{scheduled:?}");
    until_async("it comes", async || !appended(&bus, "ticks").await.is_empty()).await;
}

#[test]
fn what_is_no_pattern_is_refused() {
    assert!(matches!(Cron::new("x", "61 * * * *"), Err(CronError::Pattern { .. })));
}

/// Nobody who let events wait is alive when their time comes: the next service of the stream publishes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_survives_everybody() {
    for kind in KINDS {
        let mut target = Target::start(kind);
        {
            let bus = connect(&target.url()).await;
            let service = Service::new("desk").on(async |_: Cancelled| {});
            let running = service.start(&bus).await.unwrap();
            for number in 0..20 {
                bus.publish_in(&Cancelled::numbered(number), Duration::from_millis(300)).await.unwrap();
            }
            drop(running);
        }
        target.kill();
        tokio::time::sleep(Duration::from_millis(400)).await;
        target.start_again();
        let (bus, seen) = (connect(&target.url()).await, Seen::new());
        let handler = async |event: Cancelled, State(seen): State<Seen<u32>>| seen.push(event.passengers);
        let running = Service::new("desk").state(seen.clone()).on(handler).start(&bus).await.unwrap();
        until("all are handled", || seen.len() >= 20).await;
        let mut all = seen.all();
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>(), "{kind:?}");
        running.stop().await;
    }
}

/// Occurrences whose time passed while nobody was alive: by default the last one comes, or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_occurrences_are_skipped_or_the_last_is_made_up_for() {
    tokio::join!(
        missed(Kind::Redis, false),
        missed(Kind::Redis, true),
        missed(Kind::Cauce, false),
        missed(Kind::Cauce, true),
    );
}

async fn missed(kind: Kind, skips: bool) {
    let target = Target::start(kind);
    let cron = || {
        let cron = Cron::new("tick", "* * * * * *").unwrap();
        if skips { cron.skip_missed(Duration::from_millis(300)) } else { cron }
    };
    {
        let bus = connect(&target.url()).await;
        let _running = cron().start(&bus, Tick::of).await.unwrap();
        until_async("one has come", async || !appended(&bus, "ticks").await.is_empty()).await;
    }
    // Two occurrences pass at least, and it is the middle of a second.
    let before = ms(SystemTime::now());
    tokio::time::sleep(Duration::from_millis(3_500 - before % 1_000)).await;
    let again = ms(SystemTime::now());
    let bus = connect(&target.url()).await;
    let _running = cron().start(&bus, Tick::of).await.unwrap();
    until_async("it goes on", async || appended(&bus, "ticks").await.iter().any(|(_, at)| *at > again + 600))
        .await;
    let mut times = BTreeMap::new();
    for (id, at) in appended(&bus, "ticks").await {
        assert_eq!(times.insert(id.clone(), at), None, "{id} came twice");
    }
    let missed = times.values().filter(|at| **at / 1_000 == again / 1_000 && **at >= again).count();
    if skips {
        assert_eq!(missed, 0, "{kind:?} {times:?}");
    } else {
        // The one that waited at the broker, and the last of those that nobody arranged.
        assert!((1..=2).contains(&missed), "{kind:?} {times:?}");
    }
}

/// More may wait than anybody needs; past that the publisher is told.
#[tokio::test]
async fn too_many_that_wait_are_refused() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let far = "for n = 1, 1000000 do redis.call('ZADD', KEYS[1], 4e12 + n, n) end";
    server.cli(&["EVAL", far, "1", "{flights}:delayed"]);
    let error =
        bus.publish_in(&Cancelled::numbered(1), Duration::from_secs(1)).await.unwrap_err().to_string();
    assert!(
        error.contains("DELAYEDFULL 1000000 events wait for their time on this stream already"),
        "{error}"
    );
}

/// With the broker inside the process and paused time, months of waiting take no time.
#[cfg(feature = "embedded")]
#[tokio::test(start_paused = true)]
async fn paused_time_runs_through_delays_and_schedules() {
    let bus = connect("memory:").await;
    let begun = tokio::time::Instant::now();
    bus.publish_in(&Cancelled::numbered(1), Duration::from_secs(3 * 3_600)).await.unwrap();
    let _running = Cron::new("tick", "@hourly").unwrap().start(&bus, Tick::of).await.unwrap();
    while appended(&bus, "flights").await.is_empty() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(3 * 3_600), "{:?}", begun.elapsed());
    assert_eq!(appended(&bus, "ticks").await.len(), 3);
}

/// Ten thousand wait, and everybody restarts: what is due comes once. How late it comes is said, not asserted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_ten_thousand_waiting_and_everybody_restarted_each_comes_once() {
    for kind in KINDS {
        let target = Target::start(kind);
        let mut due = BTreeMap::new();
        {
            let bus = connect(&target.url()).await;
            let far = SystemTime::now() + Duration::from_secs(86_400);
            let waiting = (0..10_000).map(|number| {
                let bus = bus.clone();
                tokio::spawn(async move { bus.publish_at(&Cancelled::numbered(number), far).await.map(drop) })
            });
            for scheduled in waiting.collect::<Vec<_>>() {
                scheduled.await.unwrap().unwrap();
            }
            let running = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
            let begin = SystemTime::now() + Duration::from_millis(1_500);
            for number in 0..300 {
                let time = begin + Duration::from_millis(5 * u64::from(number));
                let scheduled = bus.publish_at(&Cancelled::numbered(number), time).await.unwrap();
                due.insert(scheduled.id, ms(scheduled.due));
            }
            drop(running);
        }
        let bus = connect(&target.url()).await;
        let running = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
        until_async("all have come", async || appended(&bus, "flights").await.len() >= 300).await;
        let came = appended(&bus, "flights").await;
        let mut late: Vec<u64> = came.iter().map(|(id, at)| at - due[id]).collect();
        late.sort_unstable();
        println!("{kind:?}: late by {} ms at the median, {} ms at p99", late[150], late[297]);
        assert_eq!(came.len(), 300, "{kind:?}");
        assert_eq!(came.into_iter().collect::<BTreeMap<_, _>>().len(), 300, "{kind:?}");
        assert_eq!(bus.scheduled("flights", 20_000).await.unwrap().len(), 10_000);
        running.stop().await;
    }
}
