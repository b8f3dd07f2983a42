//! Where the figures come from: the process itself, and the broker.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::{Pipeline, Value};
use tokio::task::AbortHandle;

use super::text::{self, Metric, Page};
use super::{Kind, Watched};
use crate::backend::command::dead_stream;
use crate::backend::reply::{self, Attributes};
use crate::bus::Bus;
use crate::entry::EntryId;
use crate::error::CommandError;

/// What this process knows without asking anybody.
pub(super) fn process(page: &mut Page, bus: &Bus, watched: &[Watched]) {
    let registry = bus.registry();
    page.add(&text::LATE_REPLIES, &[], bus.late_replies() as f64);
    page.add(&text::PUBLISHED, &[], registry.published.count() as f64);
    page.add(&text::NOT_CONFIRMED, &[], registry.not_confirmed.count() as f64);
    for ((kind, name), (report, observed)) in registry.totals() {
        let (prefix, label) = kind.names();
        let labels = [(label, &*name)];
        for (count, help, value) in report.counts() {
            page.count(&count_name(prefix, count), help, &labels, value);
        }
        if kind == Kind::Service {
            page.histogram(&text::TOOK, &labels, &observed);
        }
    }
    // Several of one name in one process are one to the outside.
    let names: BTreeSet<_> =
        watched.iter().map(|watched| (watched.kind, Arc::clone(&watched.name))).collect();
    for (kind, name) in names {
        let of = || watched.iter().filter(|watched| (watched.kind, &watched.name) == (kind, &name));
        let held: usize = of().map(Watched::held).sum();
        let up = of().all(|watched| !watched.tasks.iter().any(AbortHandle::is_finished));
        let (up_metric, held_metric) = match kind {
            Kind::Service => (&text::UP, &text::IN_FLIGHT),
            Kind::Worker => (&text::WORKER_UP, &text::WORKER_IN_FLIGHT),
        };
        let labels = [(kind.names().1, &*name)];
        page.add(up_metric, &labels, f64::from(u8::from(up)));
        page.add(held_metric, &labels, held as f64);
    }
}

impl Kind {
    /// What the metrics begin with, and the label that says which it is.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Service => ("service", "service"),
            Self::Worker => ("worker", "queue"),
        }
    }
}

/// The metric of a count of a report. A settlement that came too late is a lease that was lost.
pub(super) fn count_name(prefix: &str, count: &str) -> String {
    let count = if count == "late" { "lease_losses" } else { count };
    format!("cauce_{prefix}_{count}_total")
}

/// A figure that the broker told.
pub(super) struct Answer {
    pub(super) metric: &'static Metric,
    named: Vec<(&'static str, Arc<str>)>,
    pub(super) value: f64,
}

impl Answer {
    pub(super) fn labels(&self) -> Vec<(&str, &str)> {
        self.named.iter().map(|(name, value)| (*name, &**value)).collect()
    }
}

/// What the broker knows of the streams and queues that are handled here.
///
/// # Errors
/// If it can't be reached.
pub(super) async fn broker(bus: &Bus, watched: &[Watched]) -> Result<Vec<Answer>, CommandError> {
    let mut answers = Vec::new();
    let now = bus.inspect().time_ms().await?;
    let (mut groups, mut streams) = (BTreeSet::new(), BTreeSet::new());
    for core in watched.iter().filter_map(|watched| watched.service.upgrade()) {
        for lane in core.lanes() {
            groups.insert((Arc::clone(&lane.stream), Arc::clone(&core.names.group)));
            if !lane.is_side() {
                streams.insert(Arc::clone(&lane.stream));
            }
        }
    }
    for (stream, group) in groups {
        answers.extend(of_group(bus, &stream, &group, now).await?);
    }
    for stream in streams {
        let mut length = redis::cmd("XLEN");
        let letters = bus.link().send(length.arg(dead_stream(&stream))).await?;
        let value = reply::count(&letters).unwrap_or(0) as f64;
        answers.push(Answer { metric: &text::LETTERS, named: vec![("stream", stream)], value });
    }
    let workers =
        watched.iter().filter_map(|watched| Some((watched.name.clone(), watched.worker.upgrade()?)));
    for (name, core) in workers.collect::<std::collections::BTreeMap<_, _>>() {
        if let Ok(attributes) = core.queue().attributes().await {
            for (metric, value) in
                [(&text::MESSAGES, attributes.msgs), (&text::HIDDEN, attributes.hiddenmsgs)]
            {
                answers.push(Answer {
                    metric,
                    named: vec![("queue", Arc::clone(&name))],
                    value: value as f64,
                });
            }
        }
    }
    // Samples of one metric stand together.
    answers.sort_by_key(|answer| answer.metric.name);
    Ok(answers)
}

async fn of_group(
    bus: &Bus,
    stream: &Arc<str>,
    group: &Arc<str>,
    now: u64,
) -> Result<Vec<Answer>, CommandError> {
    let mut questions = Pipeline::new();
    questions.cmd("XINFO").arg("GROUPS").arg(&**stream);
    questions.cmd("XPENDING").arg(&**stream).arg(&**group);
    let mut replies = bus.link().send_all(&questions).await?.into_iter();
    // A group that is gone for the moment has nothing to say.
    let (Some(Ok(groups)), Some(Ok(pending))) = (replies.next(), replies.next()) else {
        return Ok(Vec::new());
    };
    let Some((delivered, lag)) = position(groups, group) else { return Ok(Vec::new()) };
    let mut next = redis::cmd("XRANGE");
    next.arg(&**stream).arg(format!("({delivered}")).arg("+").arg("COUNT").arg(1);
    let next = bus.link().send(&next).await?;
    let next =
        reply::list(next).and_then(|list| list.into_iter().next()).and_then(reply::entry).map(|(id, _)| id);
    let age = |id: Option<EntryId>| id.map_or(0.0, |id| now.saturating_sub(id.ms) as f64 / 1000.0);
    let mut summary = reply::list(pending).unwrap_or_default().into_iter();
    let count = summary.next().as_ref().and_then(reply::count).unwrap_or(0);
    let oldest = summary.next().as_ref().and_then(reply::entry_id);
    // Redis says nothing where entries were deleted from the middle; that nothing comes after is certain all the same.
    let lag = if next.is_none() { Some(0) } else { lag };
    let mut answers =
        vec![(&text::LAG_SECONDS, age(next)), (&text::PENDING, count as f64), (&text::OLDEST, age(oldest))];
    answers.extend(lag.map(|lag| (&text::LAG, lag as f64)));
    let named = vec![("service", Arc::clone(group)), ("stream", Arc::clone(stream))];
    Ok(answers.into_iter().map(|(metric, value)| Answer { metric, named: named.clone(), value }).collect())
}

/// The last entry that the group was given, and how many come after it, if the broker can tell.
fn position(groups: Value, name: &str) -> Option<(EntryId, Option<u64>)> {
    reply::list(groups)?.into_iter().filter_map(Attributes::of).find_map(|mut group| {
        let is_it = group.take("name").and_then(reply::text).is_some_and(|found| found == name);
        let delivered = reply::entry_id(&group.take("last-delivered-id")?)?;
        is_it.then(|| (delivered, group.take("lag").as_ref().and_then(reply::count)))
    })
}
