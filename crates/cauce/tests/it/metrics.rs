//! What a process says of itself: the page for Prometheus, the board for Grafana, health.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cauce::{HandlerError, Metrics, QueueOptions, Retry, Service, Worker};
use serde_json::Value;

use crate::support::{Cancelled, Server, connect, on_every_target, until, until_async};

on_every_target!(
    the_page_tells_what_happened,
    the_broker_tells_how_far_behind_a_group_is,
    what_ended_is_still_counted
);

/// What `promtool check metrics` looks at, and what Prometheus's parser refuses.
fn check(page: &str) -> Result<BTreeMap<String, f64>, String> {
    let name_is_good = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    if !page.ends_with('\n') {
        return Err("the page does not end with a line end".to_owned());
    }
    let (mut samples, mut types, mut closed) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let (mut helped, mut family) = (BTreeSet::new(), String::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (kind, name, text) =
                (words.next(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if name != family {
                closed.insert(std::mem::replace(&mut family, name.to_owned()));
            }
            if closed.contains(name) {
                return Err(format!("{name} comes in two places"));
            }
            match kind {
                Some("HELP") if !text.trim().is_empty() && helped.insert(name.to_owned()) => {}
                Some("TYPE") if ["counter", "gauge", "histogram"].contains(&text) => {
                    if types.insert(name.to_owned(), text.to_owned()).is_some() {
                        return Err(format!("{name} has two types"));
                    }
                    if (text == "counter") != name.ends_with("_total") {
                        return Err(format!("{name}: counters, and only they, end with _total"));
                    }
                }
                _ => return Err(format!("a bad comment: {line}")),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').ok_or(format!("no value: {line}"))?;
        let value: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| (name, labels));
        let of_family = name == family
            || (types.get(&family).is_some_and(|kind| kind == "histogram")
                && ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(&family)));
        if !name_is_good(name) || !of_family || !helped.contains(&family) || !types.contains_key(&family) {
            return Err(format!("{name} has no family before it"));
        }
        if !labels.is_empty() {
            let labels = labels.strip_suffix('}').ok_or(format!("labels do not end: {line}"))?;
            for label in labels.split("\",") {
                let (label, value) = label.split_once("=\"").ok_or(format!("a bad label: {line}"))?;
                if !name_is_good(label) || value.trim_end_matches('"').contains('"') {
                    return Err(format!("a bad label: {line}"));
                }
            }
        }
        if samples.insert(series.to_owned(), value).is_some() {
            return Err(format!("{series} comes twice"));
        }
    }
    check_histograms(&samples)?;
    Ok(samples)
}

/// Buckets grow, and the last holds all.
fn check_histograms(samples: &BTreeMap<String, f64>) -> Result<(), String> {
    for (series, total) in samples.iter().filter(|(series, _)| series.ends_with("le=\"+Inf\"}")) {
        let (name, labels) = series.split_once("_bucket{").ok_or(format!("a bad bucket: {series}"))?;
        let labels = labels.replace(",le=\"+Inf\"}", "").replace("le=\"+Inf\"}", "");
        let mut buckets: Vec<(f64, f64)> = samples
            .iter()
            .filter_map(|(other, count)| {
                let bound =
                    other.strip_prefix(&format!("{name}_bucket{{{labels},le=\""))?.strip_suffix("\"}")?;
                Some((bound.replace("+Inf", "inf").parse().ok()?, *count))
            })
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        if !buckets.is_sorted_by(|one, other| one.1 <= other.1) || buckets.len() < 3 {
            return Err(format!("the buckets of {name} do not grow: {buckets:?}"));
        }
        if samples.get(&format!("{name}_count{{{labels}}}")) != Some(total) {
            return Err(format!("{name}_count is not the last bucket"));
        }
    }
    Ok(())
}

#[test]
fn the_check_refuses_what_prometheus_refuses() {
    let good = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c\"} 1\n";
    check(good).unwrap();
    for bad in [
        "a 1\n",
        "# HELP a x\n# TYPE a counter\na 1\n",
        "# HELP a_total x\n# TYPE a_total counter\na_total 1",
        "# HELP a_total x\n# TYPE a_total counter\na_total 1\na_total 2\n",
        "# HELP a_total x\n# TYPE a_total counter\na_total one\n",
        "# HELP a_total x\n# TYPE a_total counter\na_total{b=c} 1\n",
        "# HELP a_total x\n# TYPE a_total counter\n# HELP b x\n# TYPE b gauge\nb 1\na_total 1\n",
        "# HELP h x\n# TYPE h histogram\nh_bucket{a=\"b\",le=\"1\"} 2\nh_bucket{a=\"b\",le=\"2\"} 1\nh_bucket{a=\"b\",le=\"+Inf\"} 1\nh_sum{a=\"b\"} 1\nh_count{a=\"b\"} 1\n",
    ] {
        check(bad).unwrap_err();
    }
}

async fn odd_ones_fail(event: Cancelled) -> Result<(), HandlerError> {
    if event.passengers % 2 == 1 { Err(HandlerError::failed("odd")) } else { Ok(()) }
}

async fn the_page_tells_what_happened(url: &str) {
    let bus = connect(url).await;
    let queue = bus.queues().create("jobs", &QueueOptions::new()).await.unwrap();
    let retry = Retry::immediate().max_attempts(2);
    let service = Service::new("desk").on(odd_ones_fail).retry(retry).start(&bus).await.unwrap();
    let worker = Worker::new(&queue).on(async |_: String| {}).start().await.unwrap();
    bus.publish_all(&Cancelled::series(10)).await.unwrap();
    queue.send(&"job".to_owned()).await.unwrap();
    until("all is settled", || {
        service.report().dead == 5 && service.held() == 0 && worker.report().handled == 1
    })
    .await;
    let page = bus.metrics().render().await;
    let samples = check(&page).unwrap_or_else(|problem| panic!("{problem}\n{page}"));
    for (series, value) in [
        ("cauce_broker_up", 1.0),
        ("cauce_published_total", 10.0),
        ("cauce_publish_failures_total", 0.0),
        (r#"cauce_service_handled_total{service="desk"}"#, 5.0),
        (r#"cauce_service_failed_total{service="desk"}"#, 10.0),
        (r#"cauce_service_retried_total{service="desk"}"#, 5.0),
        (r#"cauce_service_dead_total{service="desk"}"#, 5.0),
        (r#"cauce_service_lease_losses_total{service="desk"}"#, 0.0),
        (r#"cauce_service_up{service="desk"}"#, 1.0),
        (r#"cauce_service_in_flight{service="desk"}"#, 0.0),
        (r#"cauce_service_handler_seconds_count{service="desk"}"#, 15.0),
        (r#"cauce_group_lag_entries{service="desk",stream="flights"}"#, 0.0),
        (r#"cauce_group_lag_seconds{service="desk",stream="flights"}"#, 0.0),
        (r#"cauce_group_oldest_unacknowledged_seconds{service="desk",stream="flights"}"#, 0.0),
        (r#"cauce_dead_letters{stream="flights"}"#, 5.0),
        (r#"cauce_worker_handled_total{queue="jobs"}"#, 1.0),
        (r#"cauce_queue_messages{queue="jobs"}"#, 0.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}\n{page}");
    }
    service.stop().await;
    worker.stop().await;
}

async fn the_broker_tells_how_far_behind_a_group_is(url: &str) {
    let bus = connect(url).await;
    let stuck = async |_: Cancelled| std::future::pending::<()>().await;
    let service = Service::new("desk").on(stuck).concurrency(1).shutdown_deadline(Duration::from_millis(10));
    let service = service.start(&bus).await.unwrap();
    bus.publish_all(&Cancelled::series(2_000)).await.unwrap();
    until("it runs", || service.held() > 0).await;
    let sample = async |series: &str| {
        let page = bus.metrics().render().await;
        check(&page).unwrap()[&format!("{series}{{service=\"desk\",stream=\"flights\"}}")]
    };
    until_async("the group ages", async || sample("cauce_group_oldest_unacknowledged_seconds").await > 0.05)
        .await;
    let (lag, pending) =
        (sample("cauce_group_lag_entries").await, sample("cauce_group_pending_entries").await);
    assert!(pending > 0.0 && lag > 0.0 && lag + pending == 2_000.0, "{lag} {pending}");
    assert!(sample("cauce_group_lag_seconds").await > 0.05);
    service.stop().await;
}

async fn what_ended_is_still_counted(url: &str) {
    let bus = connect(url).await;
    for handled in 1..3 {
        let service = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
        bus.publish(&Cancelled::numbered(1)).await.unwrap();
        until("it is handled", || service.report().handled == 1).await;
        service.stop().await;
        let samples = check(&bus.metrics().render().await).unwrap();
        assert_eq!(samples[r#"cauce_service_handled_total{service="desk"}"#], f64::from(handled));
        until_async("it is gone", async || !bus.metrics().render().await.contains("cauce_service_up")).await;
        let samples = check(&bus.metrics().render().await).unwrap();
        assert_eq!(samples[r#"cauce_service_handled_total{service="desk"}"#], f64::from(handled));
    }
}

#[tokio::test]
async fn health_follows_the_broker() {
    let mut server = Server::start();
    let bus = connect(&server.url()).await;
    let service = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
    until_async("it is ready", async || bus.health().await.ready).await;
    server.kill();
    let health = bus.health().await;
    assert!(health.live && !health.ready && !health.problems.is_empty(), "{health:?}");
    assert_eq!(check(&bus.metrics().render().await).unwrap()["cauce_broker_up"], 0.0);
    server.start_again();
    until_async("it is ready again", async || bus.health().await.ready).await;
    service.stop().await;
    until_async("what has stopped is no problem", async || bus.health().await.ready).await;
}

/// What Grafana needs of a board that it imports.
fn check_board(board: &Value, metrics: &BTreeSet<String>) -> Result<(), String> {
    let text = |value: &Value, name: &str| {
        value[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .ok_or(format!("no {name}: {value}"))
    };
    text(board, "title")?;
    text(board, "uid")?;
    text(&board["time"], "from")?;
    board["schemaVersion"].as_u64().filter(|version| *version >= 30).ok_or("no schemaVersion")?;
    let variables = board["templating"]["list"].as_array().ok_or("no variables")?;
    let sources: Vec<_> = variables
        .iter()
        .filter(|it| it["type"] == "datasource")
        .map(|it| text(it, "name"))
        .collect::<Result<_, _>>()?;
    let panels = board["panels"].as_array().filter(|panels| !panels.is_empty()).ok_or("no panels")?;
    let (mut ids, mut cells, mut shown) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        if !ids.insert(panel["id"].as_u64().ok_or("a panel without an id")?) {
            return Err(format!("two panels of one id: {panel}"));
        }
        text(panel, "title")?;
        text(panel, "type")?;
        let place = |name: &str| panel["gridPos"][name].as_u64().ok_or(format!("no place: {panel}"));
        let (x, y, w, h) = (place("x")?, place("y")?, place("w")?, place("h")?);
        if w == 0 || h == 0 || x + w > 24 {
            return Err(format!("beyond the 24 columns: {panel}"));
        }
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            if !cells.insert(cell) {
                return Err(format!("two panels in one place: {panel}"));
            }
        }
        for target in panel["targets"].as_array().filter(|targets| !targets.is_empty()).ok_or("no targets")? {
            text(target, "refId")?;
            let source = text(&target["datasource"], "uid")?;
            if !sources.iter().any(|known| source == format!("${{{known}}}")) {
                return Err(format!("an unknown data source: {source}"));
            }
            let query = text(target, "expr")?;
            let open = |c| query.matches(c).count();
            if open('(') != open(')') || open('[') != open(']') {
                return Err(format!("brackets: {query}"));
            }
            let names = query
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .filter(|it| it.starts_with("cauce_"));
            for name in names {
                let name = name.strip_suffix("_bucket").unwrap_or(name);
                if !metrics.contains(name) {
                    return Err(format!("{name} is no metric"));
                }
                shown.insert(name.to_owned());
            }
        }
    }
    if let Some(name) = metrics.difference(&shown).next() {
        return Err(format!("{name} is not shown"));
    }
    Ok(())
}

#[tokio::test]
async fn the_board_shows_every_metric() {
    let bus = connect("memory:the_board_shows_every_metric").await;
    let queue = bus.queues().create("jobs", &QueueOptions::new()).await.unwrap();
    let service = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
    let worker = Worker::new(&queue).on(async |_: String| {}).start().await.unwrap();
    let page = bus.metrics().render().await;
    let metrics: BTreeSet<String> = page
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned()))
        .collect();
    let board: Value = serde_json::from_str(&Metrics::grafana_board()).unwrap();
    check_board(&board, &metrics).unwrap();
    // The check can fail.
    let mut wrong = board.clone();
    wrong["panels"][0]["targets"][0]["expr"] = "rate(cauce_nothing_total[5m])".into();
    assert!(check_board(&wrong, &metrics).unwrap_err().contains("is no metric"));
    let mut wrong = board;
    wrong["panels"][1]["gridPos"]["x"] = 0.into();
    assert!(check_board(&wrong, &metrics).unwrap_err().contains("in one place"));
    service.stop().await;
    worker.stop().await;
}
