//! A board for Grafana, made from the metrics' own names.

use serde_json::{Value, json};

use super::gather::count_name;
use super::text::{METRICS, Metric, Type};
use crate::service::Report;

const WIDTH: u64 = 12;
const HEIGHT: u64 = 8;

pub(super) fn board() -> String {
    let gauges = METRICS
        .iter()
        .map(|metric| (metric.name.to_owned(), metric.help.to_owned(), metric.unit, query(metric)));
    let counts = ["service", "worker"].into_iter().flat_map(|prefix| {
        let label = if prefix == "service" { "service" } else { "queue" };
        Report::default().counts().map(|(count, help, _)| (count, help)).collect::<Vec<_>>().into_iter().map(
            move |(count, help)| {
                let name = count_name(prefix, count);
                let query = format!("sum by ({label}) (rate({name}[$__rate_interval]))");
                (name, help.trim().to_owned(), "ops", query)
            },
        )
    });
    let panels: Vec<Value> =
        gauges.chain(counts).enumerate().map(|(place, panel)| self::panel(place as u64, panel)).collect();
    let board = json!({
        "uid": "cauce",
        "title": "Cauce",
        "tags": ["cauce"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "refresh": "30s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": [{
            "name": "source", "label": "Data source", "type": "datasource", "query": "prometheus",
        }] },
        "panels": panels,
    });
    format!("{board:#}")
}

fn query(metric: &Metric) -> String {
    let name = metric.name;
    match metric.kind {
        Type::Counter => format!("sum(rate({name}[$__rate_interval]))"),
        Type::Histogram => {
            format!("histogram_quantile(0.99, sum by (le, service) (rate({name}_bucket[$__rate_interval])))")
        }
        // Every instance tells the same of a group, a stream or a queue.
        Type::Gauge if name.starts_with("cauce_group") => format!("max by (service, stream) ({name})"),
        Type::Gauge if name.starts_with("cauce_dead") => format!("max by (stream) ({name})"),
        Type::Gauge if name.starts_with("cauce_queue") => format!("max by (queue) ({name})"),
        Type::Gauge if name.ends_with("_up") => format!("min by (job, service, queue) ({name})"),
        Type::Gauge => format!("sum by (service, queue) ({name})"),
    }
}

fn panel(place: u64, (name, help, unit, query): (String, String, &str, String)) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${source}" });
    json!({
        "id": place + 1,
        "type": "timeseries",
        "title": name,
        "description": help,
        "datasource": source,
        "gridPos": { "x": place % 2 * WIDTH, "y": place / 2 * HEIGHT, "w": WIDTH, "h": HEIGHT },
        "fieldConfig": { "defaults": { "unit": unit, "min": 0 }, "overrides": [] },
        "options": {},
        "targets": [{ "refId": "A", "datasource": source, "expr": query }],
    })
}
