//! The metrics by name, and how they are written for Prometheus.

use std::fmt::Write as _;

use crate::service::{BUCKETS, Observed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: its name, what it is, what it says, and how Grafana shows its unit.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Type,
    pub(super) help: &'static str,
    pub(super) unit: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal, $unit:literal, $help:literal;)*) => {
        $(pub(super) static $id: Metric = Metric { name: $name, kind: Type::$kind, help: $help, unit: $unit };)*
        /// All but those that count what a report counts.
        pub(super) static METRICS: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    BROKER_UP = Gauge "cauce_broker_up", "bool", "Whether the broker answered while this page was made.";
    PUBLISHED = Counter "cauce_published_total", "short", "Events that the broker confirmed.";
    NOT_CONFIRMED = Counter "cauce_publish_failures_total", "short", "Publishes that the broker did not confirm.";
    LATE_REPLIES = Counter "cauce_late_replies_total", "short", "Replies that came after their request's timeout, or again.";
    UP = Gauge "cauce_service_up", "bool", "Whether all tasks of the service run.";
    IN_FLIGHT = Gauge "cauce_service_in_flight", "short", "Entries held: read and queued, running, or not yet confirmed as settled.";
    TOOK = Histogram "cauce_service_handler_seconds", "s", "How long handlers took, failed ones included.";
    LAG = Gauge "cauce_group_lag_entries", "short", "Entries of the stream that the group was not given yet; absent where the broker can not tell.";
    LAG_SECONDS = Gauge "cauce_group_lag_seconds", "s", "Age of the oldest entry that the group was not given yet; 0 if there is none.";
    PENDING = Gauge "cauce_group_pending_entries", "short", "Entries that were given to the group and are not acknowledged, those that wait for a retry included.";
    OLDEST = Gauge "cauce_group_oldest_unacknowledged_seconds", "s", "Age of the oldest entry that is not acknowledged; 0 if there is none.";
    LETTERS = Gauge "cauce_dead_letters", "short", "Dead letters of the stream, of all its groups.";
    WORKER_UP = Gauge "cauce_worker_up", "bool", "Whether all tasks of the worker run.";
    WORKER_IN_FLIGHT = Gauge "cauce_worker_in_flight", "short", "Messages held: with handlers, or not yet confirmed as settled.";
    MESSAGES = Gauge "cauce_queue_messages", "short", "Messages of the queue, hidden ones included.";
    HIDDEN = Gauge "cauce_queue_hidden_messages", "short", "Messages of the queue that are hidden: with a receiver, delayed, or waiting for a retry.";
}

/// Samples by metric, in the order in which the metrics came.
#[derive(Default)]
pub(super) struct Page {
    families: Vec<Family>,
}

struct Family {
    name: String,
    help: String,
    kind: Type,
    samples: String,
}

/// Names and values.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

impl Page {
    pub(super) fn add(&mut self, metric: &Metric, labels: &Labels<'_>, value: f64) {
        let family = self.family(metric.name, metric.help, metric.kind);
        sample(&mut family.samples, metric.name, labels, None, value);
    }

    pub(super) fn count(&mut self, name: &str, help: &str, labels: &Labels<'_>, value: u64) {
        let family = self.family(name, help, Type::Counter);
        sample(&mut family.samples, name, labels, None, value as f64);
    }

    pub(super) fn histogram(&mut self, metric: &Metric, labels: &Labels<'_>, (counts, seconds): &Observed) {
        let family = self.family(metric.name, metric.help, metric.kind);
        let (bucket, mut total) = (format!("{}_bucket", metric.name), 0);
        let bounds = BUCKETS.iter().map(ToString::to_string).chain([String::from("+Inf")]);
        for (bound, count) in bounds.zip(counts) {
            total += count;
            sample(&mut family.samples, &bucket, labels, Some(&bound), total as f64);
        }
        sample(&mut family.samples, &format!("{}_sum", metric.name), labels, None, *seconds);
        sample(&mut family.samples, &format!("{}_count", metric.name), labels, None, total as f64);
    }

    pub(super) fn render(self) -> String {
        let mut page = String::new();
        for Family { name, help, kind, samples } in self.families {
            let help = help.trim().replace('\\', "\\\\").replace('\n', "\\n");
            let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {}\n{samples}", kind.name());
        }
        page
    }

    fn family(&mut self, name: &str, help: &str, kind: Type) -> &mut Family {
        let found = self.families.iter().position(|family| family.name == name);
        let place = found.unwrap_or_else(|| {
            self.families.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                kind,
                samples: String::new(),
            });
            self.families.len() - 1
        });
        &mut self.families[place]
    }
}

fn sample(page: &mut String, name: &str, labels: &Labels<'_>, bound: Option<&str>, value: f64) {
    page.push_str(name);
    let mut separator = '{';
    for (label, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(page, "{separator}{label}=\"{value}\"");
        separator = ',';
    }
    if separator == ',' {
        page.push('}');
    }
    let _ = writeln!(page, " {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.add(&BROKER_UP, &[("service", "a\"b\\c\nd")], 1.0);
        page.add(&BROKER_UP, &[], 0.5);
        let page = page.render();
        let samples: Vec<_> = page.lines().skip(2).collect();
        assert_eq!(samples, [r#"cauce_broker_up{service="a\"b\\c\nd"} 1"#, "cauce_broker_up 0.5"]);
    }
}
