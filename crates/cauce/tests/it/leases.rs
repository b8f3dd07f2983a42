//! Whose an entry is: leases, fenced settles, lost deliveries, what kills its instance.

use std::sync::Arc;
use std::time::Duration;

use cauce::{Bus, Delivery, EntryId, PendingQuery, Retry, Running, Service, State};
use tokio::sync::Semaphore;

use crate::support::{Cancelled, Seen, connect, on_every_target, until, until_async};

on_every_target!(
    a_late_settle_is_fenced_and_counted,
    a_lost_delivery_is_found_and_is_no_attempt,
    prefetched_entries_of_a_live_instance_are_never_taken,
    what_kills_every_instance_runs_alone_before_it_is_buried,
    what_was_only_near_a_crash_is_handled,
);

const LEASE: Duration = Duration::from_millis(300);

#[derive(Clone)]
struct Gate {
    started: Seen<u32>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn closed() -> Self {
        Self { started: Seen::new(), open: Arc::new(Semaphore::new(0)) }
    }
}

async fn waits(event: Cancelled, State(gate): State<Gate>) {
    gate.started.push(event.passengers);
    let _permit = gate.open.acquire().await.unwrap();
}

async fn owner(bus: &Bus) -> Option<String> {
    let pending = bus.inspect().pending("flights", "desk", &PendingQuery::new()).await.unwrap();
    pending.into_iter().next().map(|pending| pending.consumer)
}

async fn a_late_settle_is_fenced_and_counted(url: &str) {
    let bus = connect(url).await;
    let gate = Gate::closed();
    let running =
        Service::new("desk").state(gate.clone()).on(waits).reclaim_after(LEASE).start(&bus).await.unwrap();
    let id = bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is running", || gate.started.len() == 1).await;
    // A client of another make does not ask who holds the lease. It keeps the entry beyond the end of the first lease.
    let begin = tokio::time::Instant::now();
    until_async("the first lease has ended", async || {
        bus.inspect().claim("flights", "desk", "thief", Duration::ZERO, &[id]).await.unwrap();
        begin.elapsed() > LEASE * 2
    })
    .await;
    gate.open.add_permits(1);
    until("the handler has ended", || running.report().late == 1).await;
    assert_eq!(owner(&bus).await.as_deref(), Some("thief"), "it was not acknowledged by the wrong one");
    drop(running);
}

async fn a_lost_delivery_is_found_and_is_no_attempt(url: &str) {
    let bus = connect(url).await;
    let (seen, gate) = (Seen::new(), Gate::closed());
    let handler = async |event: Cancelled, delivery: Delivery, State(seen): State<Seen<(u32, u32)>>| {
        seen.push((event.passengers, delivery.attempt));
    };
    let busy = Service::new("desk").state(gate.clone()).on(waits).start(&bus).await.unwrap();
    let id = bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is running elsewhere", || gate.started.len() == 1).await;
    let service = Service::new("desk").state(seen.clone()).on(handler).reclaim_after(LEASE);
    let running = service.start(&bus).await.unwrap();
    // As if the reply of its read had been lost: pending for this consumer, and nobody has it.
    bus.inspect().claim("flights", "desk", running.consumer(), Duration::ZERO, &[id]).await.unwrap();
    until("it is found", || seen.len() == 1).await;
    assert_eq!(seen.all(), [(1, 1)]);
    assert_eq!(running.stop().await.recovered, 1);
    drop(busy);
}

async fn prefetched_entries_of_a_live_instance_are_never_taken(url: &str) {
    let bus = connect(url).await;
    let gate = Gate::closed();
    let start = async || {
        let service = Service::new("desk").state(gate.clone()).on(waits).concurrency(1).reclaim_after(LEASE);
        service.start(&bus).await.unwrap()
    };
    let first = start().await;
    bus.publish_all(&Cancelled::series(50)).await.unwrap();
    until("it holds them", || first.held() > 10).await;
    let second = start().await;
    let begin = tokio::time::Instant::now();
    until("leases would have lapsed many times", || begin.elapsed() > LEASE * 6).await;
    assert_eq!(second.report().claimed, 0);
    gate.open.add_permits(1_000);
    until("all are handled", || first.report().handled + second.report().handled == 50).await;
    assert_eq!(gate.started.len(), 50);
    for running in [first, second] {
        let report = running.stop().await;
        assert_eq!((report.claimed, report.late), (0, 0), "{report}");
    }
}

/// Takes instances down by what they handle, the way a crash would: each is dropped when the poison is started.
async fn crash(running: Running, started: &Seen<u32>, before: usize) {
    until("the poison is started", || started.all().iter().filter(|number| **number == 0).count() > before)
        .await;
    drop(running);
}

async fn poison_hangs(event: Cancelled, State(started): State<Seen<u32>>) {
    started.push(event.passengers);
    if event.passengers == 0 {
        std::future::pending::<()>().await;
    }
}

async fn what_kills_every_instance_runs_alone_before_it_is_buried(url: &str) {
    let bus = connect(url).await;
    let started = Seen::new();
    let start = async || {
        let service = Service::new("desk").state(started.clone()).on(poison_hangs).reclaim_after(LEASE);
        service.retry(Retry::none()).start(&bus).await.unwrap()
    };
    let mut running = start().await;
    bus.publish_all(&Cancelled::series(5)).await.unwrap();
    for before in 0..3 {
        crash(running, &started, before).await;
        running = start().await;
    }
    until("it is buried", || running.report().dead == 1).await;
    let letters = bus.inspect().dead_letters("flights", EntryId::ZERO, 10).await.unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.reason.as_str(), letter.attempts), ("never finished", 3));
    let lost: Vec<(u32, bool)> =
        letter.history.iter().map(|attempt| (attempt.attempt, attempt.lost)).collect();
    assert_eq!(lost, [(1, true), (2, true), (3, true)]);
    until_async("nothing is pending", async || owner(&bus).await.is_none()).await;
    running.stop().await;
}

/// A policy of one attempt must not bury what was merely held when instances died.
async fn what_was_only_near_a_crash_is_handled(url: &str) {
    let bus = connect(url).await;
    let gate = Gate::closed();
    let start = async || {
        let service = Service::new("desk").state(gate.clone()).on(waits).concurrency(1).reclaim_after(LEASE);
        service.retry(Retry::none()).start(&bus).await.unwrap()
    };
    let first = start().await;
    bus.publish_all(&Cancelled::series(20)).await.unwrap();
    until("it holds them", || first.held() >= 16 && gate.started.len() == 1).await;
    drop(first);
    let second = start().await;
    until("it took them over", || second.report().claimed >= 16 && gate.started.len() == 2).await;
    drop(second);
    gate.open.add_permits(1_000);
    let third = start().await;
    until("all are handled", || third.report().handled == 20).await;
    assert_eq!(third.stop().await.dead, 0);
}

/// With the broker inside the process and paused time.
#[cfg(feature = "embedded")]
#[tokio::test(start_paused = true)]
async fn ten_minutes_with_a_lease_of_five_seconds_are_handled_once() {
    let bus = connect("memory:").await;
    let started = Seen::new();
    let slow = async |event: Cancelled, State(started): State<Seen<u32>>| {
        started.push(event.passengers);
        tokio::time::sleep(Duration::from_secs(600)).await;
    };
    let start = async || {
        let service = Service::new("desk").state(started.clone()).on(slow).concurrency(1);
        service.reclaim_after(Duration::from_secs(5)).start(&bus).await.unwrap()
    };
    let instances = [start().await, start().await];
    bus.publish_all(&Cancelled::series(4)).await.unwrap();
    let handled = || instances.iter().map(|running| running.report().handled).sum::<u64>();
    let wait = async {
        while handled() < 4 {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3_000), wait).await.unwrap();
    let mut all = started.all();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    for running in instances {
        let report = running.stop().await;
        assert_eq!((report.claimed, report.late, report.recovered), (0, 0, 0), "{report}");
    }
}
