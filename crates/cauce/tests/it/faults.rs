//! Connections that are cut or stall, and servers that go: nothing is lost, whatever the mode, but with NOACK, as it says.

use std::collections::BTreeSet;
use std::time::Duration;

use cauce::{Batch, Bus, Service, State};

use crate::proxy::Proxy;
use crate::support::{Cancelled, Seen, Server, connect, until};

const LEASE: Duration = Duration::from_millis(500);
const EVENTS: u32 = 2_000;

/// The ways to consume that promise at least once.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Single,
    Batches,
    Ordered,
}

async fn number(event: Cancelled, State(seen): State<Seen<u32>>) {
    seen.push(event.passengers);
}

async fn numbers(batch: Batch<Cancelled>, State(seen): State<Seen<u32>>) {
    for event in batch.into_events() {
        seen.push(event.passengers);
    }
}

fn service(mode: Mode, seen: &Seen<u32>) -> Service<Seen<u32>> {
    let service = Service::new("desk").state(seen.clone()).reclaim_after(LEASE);
    match mode {
        Mode::Single => service.on(number),
        Mode::Batches => service.on_batch(50, Duration::from_millis(5), numbers),
        Mode::Ordered => service.on(number).ordered_by_key(1_000),
    }
}

async fn publish(bus: &Bus) {
    for events in Cancelled::series(EVENTS).chunks(20) {
        bus.publish_all(events).await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn all_are_handled(mode: Mode, seen: &Seen<u32>, server: &Server) {
    let all: BTreeSet<u32> = (0..EVENTS).collect();
    until("all are handled", || seen.all().into_iter().collect::<BTreeSet<_>>() == all).await;
    until("nothing is pending", || server.cli(&["XPENDING", "flights", "desk"]).starts_with('0')).await;
    if matches!(mode, Mode::Ordered) {
        let mut first_times = Vec::new();
        let mut known = BTreeSet::new();
        for number in seen.all() {
            if known.insert(number) {
                first_times.push(number);
            }
        }
        // Each event has a key of its own: there is no order among them. They are all there, which was seen above.
        assert_eq!(first_times.len(), EVENTS as usize);
    }
}

async fn with_faults(mode: Mode, fault: impl AsyncFn(&Proxy, &Server)) {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let (direct, through) = (connect(&server.url()).await, connect(&proxy.url()).await);
    let seen = Seen::new();
    let running = service(mode, &seen).start(&through).await.unwrap();
    let publisher = tokio::spawn(async move { publish(&direct).await });
    for _ in 0..4 {
        let before = seen.len();
        until("events flow", || seen.len() > before || seen.len() >= EVENTS as usize).await;
        fault(&proxy, &server).await;
    }
    publisher.await.unwrap();
    all_are_handled(mode, &seen, &server).await;
    let report = running.stop().await;
    assert_eq!(report.dead, 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_lose_nothing() {
    for mode in [Mode::Single, Mode::Batches, Mode::Ordered] {
        with_faults(mode, async |proxy, _| proxy.cut()).await;
    }
}

/// Cut at any moment, also before the new connection has read anything, or is known as that of a stream's reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_at_once_are_made_again() {
    for mode in [Mode::Single, Mode::Batches, Mode::Ordered] {
        let server = Server::start();
        let proxy = Proxy::before(server.port()).await;
        let (direct, through) = (connect(&server.url()).await, connect(&proxy.url()).await);
        let seen = Seen::new();
        let running = service(mode, &seen).start(&through).await.unwrap();
        for round in 0..60 {
            let event = Cancelled::numbered(round);
            direct.publish(&event).await.unwrap();
            until("it is handled", || seen.all().contains(&round)).await;
            let before = running.report().reconnects;
            proxy.cut();
            until("it reads by another connection", || running.report().reconnects > before).await;
            for _ in 0..3 * round {
                tokio::task::yield_now().await;
            }
            proxy.cut();
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_connection_loses_nothing() {
    for mode in [Mode::Single, Mode::Batches, Mode::Ordered] {
        // Longer than the lease: what is held may be taken over meanwhile, and what is settled afterwards is fenced.
        with_faults(mode, async |proxy, _| proxy.stall(LEASE * 2).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_group_loses_nothing() {
    for mode in [Mode::Single, Mode::Batches, Mode::Ordered] {
        with_faults(mode, async |_, server| {
            server.cli(&["XGROUP", "DESTROY", "flights", "desk"]);
        })
        .await;
    }
}

/// The next reader takes what is pending before it reads: without the group it could not, and nobody else read to find out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_gone_with_its_reader_is_made_again_by_the_next() {
    let server = Server::start();
    let bus = connect(&server.url()).await;
    let (first, second) = (Seen::new(), Seen::new());
    let doomed = service(Mode::Ordered, &first).start(&bus).await.unwrap();
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is handled", || first.len() == 1).await;
    let heir = service(Mode::Ordered, &second).start(&bus).await.unwrap();
    drop(doomed);
    assert_eq!(server.cli(&["XGROUP", "DESTROY", "flights", "desk"]), "1");
    bus.publish(&Cancelled::numbered(2)).await.unwrap();
    until("the next goes on", || second.all().contains(&2)).await;
    assert_eq!(heir.stop().await.groups_recreated, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_told_again() {
    with_faults(Mode::Single, async |_, server| {
        server.cli(&["SCRIPT", "FLUSH"]);
    })
    .await;
}

/// The stream itself is deleted: what was in it is gone with it, and what comes afterwards is handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_stream_is_begun_anew() {
    for mode in [Mode::Single, Mode::Batches, Mode::Ordered] {
        let server = Server::start();
        let bus = connect(&server.url()).await;
        let seen = Seen::new();
        let running = service(mode, &seen).start(&bus).await.unwrap();
        bus.publish(&Cancelled::numbered(1)).await.unwrap();
        until("it is handled", || seen.len() == 1).await;
        server.cli(&["DEL", "flights"]);
        bus.publish(&Cancelled::numbered(2)).await.unwrap();
        until("the next is handled", || seen.all().last() == Some(&2)).await;
        running.stop().await;
    }
}

/// While an instance is stalled for longer than its lease, another takes over what it held; what it settles afterwards is fenced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_comes_back_late_settles_nothing() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let (direct, through) = (connect(&server.url()).await, connect(&proxy.url()).await);
    let (late, heir) = (Seen::new(), Seen::new());
    let slow = async |event: Cancelled, State(seen): State<Seen<u32>>| {
        seen.push(event.passengers);
        tokio::time::sleep(LEASE * 3).await;
    };
    let stalled =
        Service::new("desk").state(late.clone()).on(slow).reclaim_after(LEASE).start(&through).await.unwrap();
    direct.publish(&Cancelled::numbered(1)).await.unwrap();
    until("it is running", || late.len() == 1).await;
    let healthy = service(Mode::Single, &heir).start(&direct).await.unwrap();
    proxy.stall(LEASE * 6).await;
    until("it is taken over", || heir.len() == 1).await;
    until("the late one is fenced", || stalled.report().late == 1).await;
    assert_eq!(healthy.stop().await.handled, 1);
    assert!(server.cli(&["XPENDING", "flights", "desk"]).starts_with('0'));
    drop(stalled);
}

/// As NOACK says: what was read when the connection was cut is lost, and nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acknowledgement_a_cut_connection_may_lose_but_never_repeats() {
    let server = Server::start();
    let proxy = Proxy::before(server.port()).await;
    let (direct, through) = (connect(&server.url()).await, connect(&proxy.url()).await);
    let seen = Seen::new();
    let running = Service::new("desk").state(seen.clone()).on(number).no_ack().start(&through).await.unwrap();
    let publisher = tokio::spawn(async move { publish(&direct).await });
    for _ in 0..4 {
        let before = seen.len();
        until("events flow", || seen.len() > before || publisher.is_finished()).await;
        proxy.cut();
    }
    publisher.await.unwrap();
    let direct = connect(&server.url()).await;
    until("it reads again", || running.report().reconnects > 0).await;
    direct.publish(&Cancelled::numbered(EVENTS)).await.unwrap();
    until("the last is handled", || seen.all().last() == Some(&EVENTS)).await;
    let mut once = seen.all();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), seen.len());
    assert!(server.cli(&["XPENDING", "flights", "desk"]).starts_with('0'));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_durable_server_loses_nothing_in_any_mode() {
    for mode in [Mode::Single, Mode::Batches, Mode::Ordered] {
        let mut server = Server::durable();
        let bus = connect(&server.url()).await;
        let seen = Seen::new();
        let running = service(mode, &seen).start(&bus).await.unwrap();
        for round in 0..4 {
            let events: Vec<_> =
                (0..EVENTS / 4).map(|number| Cancelled::numbered(round * (EVENTS / 4) + number)).collect();
            bus.publish_all(&events).await.unwrap();
            server.kill();
            server.start_again();
        }
        all_are_handled(mode, &seen, &server).await;
        running.stop().await;
    }
}
