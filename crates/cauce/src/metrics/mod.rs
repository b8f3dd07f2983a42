//! What a process says of itself: metrics for Prometheus, health for probes.

mod board;
mod gather;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::cmd;
use tokio::task::AbortHandle;

use self::text::Page;
use crate::bus::Bus;
use crate::queue::WorkerCore;
use crate::service::{Core, Counter, Counters, Observed, Report};

/// How long the broker may take to answer a probe.
const PROBE: Duration = Duration::from_secs(1);
/// How long it may take to answer what a page of metrics asks.
const SCRAPE: Duration = Duration::from_secs(3);

/// The metrics of a bus, its clones, and the services and workers on them; [`Bus::metrics`] gives them. Cheap to clone.
///
/// Counters count since the process began, those of services that have stopped included, so that they never go down while it runs.
/// What the broker knows (lag, the oldest unacknowledged entry, dead letters) is asked when the page is made: one scrape costs the broker some
/// questions per stream. Each instance of a service tells the same of its group; in Prometheus take `max by (service, stream)`, not the sum.
#[derive(Clone)]
pub struct Metrics {
    bus: Bus,
}

impl Metrics {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self { bus: bus.clone() }
    }

    /// A page in Prometheus's text format, version 0.0.4; serve it as [`CONTENT_TYPE`](Self::CONTENT_TYPE). Never fails: a broker that does
    /// not answer within three seconds is reported as `cauce_broker_up 0`, and what it knows is left out.
    pub async fn render(&self) -> String {
        let mut page = Page::default();
        let watched = self.bus.registry().watched();
        gather::process(&mut page, &self.bus, &watched);
        let asked = tokio::time::timeout(SCRAPE, gather::broker(&self.bus, &watched)).await;
        let (answers, up) = match asked {
            Ok(Ok(answers)) => (answers, 1.0),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the broker can't be asked for metrics");
                (Vec::new(), 0.0)
            }
            Err(_) => (Vec::new(), 0.0),
        };
        page.add(&text::BROKER_UP, &[], up);
        for answer in answers {
            page.add(answer.metric, &answer.labels(), answer.value);
        }
        page.render()
    }

    /// The media type of the page.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// A board for Grafana (10 or later) as JSON, made from the names of the metrics: import it, and choose a Prometheus data source.
    #[must_use]
    pub fn grafana_board() -> String {
        board::board()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.bus).finish()
    }
}

/// Whether a process works; [`Bus::health`] gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether all tasks of its services and workers run. If not, only a restart helps.
    pub live: bool,
    /// Whether it can do its work now: it is live, the broker answers within a second, and every service has a connection to read from and was not
    /// told to stop.
    pub ready: bool,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
}

impl Health {
    pub(crate) async fn of(bus: &Bus) -> Self {
        let mut health = Self { live: true, ready: true, problems: Vec::new() };
        for watched in bus.registry().watched() {
            if watched.tasks.iter().any(AbortHandle::is_finished) && !watched.is_stopping() {
                health.live = false;
                health.problems.push(format!("a task of {} has ended", watched.kind.describe(&watched.name)));
            }
            if let Some(problem) = watched.unready() {
                health.ready = false;
                health.problems.push(problem);
            }
        }
        let ping = cmd("PING");
        let problem = match tokio::time::timeout(PROBE, bus.link().send(&ping)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the broker does not answer within {PROBE:?}")),
        };
        health.ready &= health.live && problem.is_none();
        health.problems.extend(problem);
        health
    }
}

/// What is watched: which bus counts what, and who runs on it.
#[derive(Default)]
pub(crate) struct Registry {
    published: Counter,
    not_confirmed: Counter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watched: Vec<Watched>,
    /// What those counted that have ended, by name. As many as the program has names.
    ended: BTreeMap<(Kind, Arc<str>), (Report, Observed)>,
}

/// A service or worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Service,
    Worker,
}

impl Kind {
    fn describe(self, name: &str) -> String {
        match self {
            Self::Service => format!("the service `{name}`"),
            Self::Worker => format!("the worker of the queue `{name}`"),
        }
    }
}

#[derive(Clone)]
struct Watched {
    kind: Kind,
    name: Arc<str>,
    counters: Arc<Counters>,
    service: Weak<Core>,
    worker: Weak<WorkerCore>,
    tasks: Vec<AbortHandle>,
}

impl Watched {
    fn is_gone(&self) -> bool {
        self.service.strong_count() == 0 && self.worker.strong_count() == 0
    }

    fn is_stopping(&self) -> bool {
        self.service.upgrade().is_some_and(|core| core.is_stopping())
            || self.worker.upgrade().is_some_and(|core| core.is_stopping())
    }

    fn unready(&self) -> Option<String> {
        let name = self.kind.describe(&self.name);
        if self.is_stopping() {
            return Some(format!("{name} is stopping"));
        }
        let reads = self.service.upgrade().is_none_or(|core| core.is_reading());
        (!reads).then(|| format!("{name} has no connection to read from"))
    }

    fn held(&self) -> usize {
        let service = self.service.upgrade().map(|core| core.held.len());
        service.or_else(|| self.worker.upgrade().map(|core| core.held())).unwrap_or(0)
    }
}

impl Registry {
    pub(crate) fn published(&self, confirmed: usize, failed: usize) {
        self.published.add(confirmed);
        self.not_confirmed.add(failed);
    }

    pub(crate) fn service(&self, core: &Arc<Core>, tasks: Vec<AbortHandle>) {
        self.watch(Watched {
            kind: Kind::Service,
            name: Arc::clone(&core.names.group),
            counters: Arc::clone(&core.counters),
            service: Arc::downgrade(core),
            worker: Weak::new(),
            tasks,
        });
    }

    pub(crate) fn worker(
        &self,
        core: &Arc<WorkerCore>,
        counters: Arc<Counters>,
        name: Arc<str>,
        tasks: Vec<AbortHandle>,
    ) {
        let worker = Arc::downgrade(core);
        self.watch(Watched { kind: Kind::Worker, name, counters, service: Weak::new(), worker, tasks });
    }

    fn watch(&self, watched: Watched) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle();
        state.watched.push(watched);
    }

    /// Those that live.
    fn watched(&self) -> Vec<Watched> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle();
        state.watched.clone()
    }

    /// The streams that are read here and their groups, in order.
    #[cfg(feature = "testing")]
    pub(crate) fn groups(&self) -> std::collections::BTreeSet<(Arc<str>, Arc<str>)> {
        let cores = self.watched().into_iter().filter_map(|watched| watched.service.upgrade());
        let lanes = cores.flat_map(|core| {
            core.lanes()
                .into_iter()
                .map(|lane| (Arc::clone(&lane.stream), Arc::clone(&core.names.group)))
                .collect::<Vec<_>>()
        });
        lanes.collect()
    }

    /// What all services and workers hold.
    #[cfg(feature = "testing")]
    pub(crate) fn held(&self) -> usize {
        self.watched().iter().map(Watched::held).sum()
    }

    /// What was counted by each name, by those that live and those that have ended.
    fn totals(&self) -> BTreeMap<(Kind, Arc<str>), (Report, Observed)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = state.ended.clone();
        state.watched.iter().for_each(|watched| watched.count_into(&mut totals));
        totals
    }
}

impl Watched {
    fn count_into(&self, totals: &mut BTreeMap<(Kind, Arc<str>), (Report, Observed)>) {
        let (report, observed) = totals.entry((self.kind, Arc::clone(&self.name))).or_default();
        *report = report.plus(&self.counters.report());
        let (counts, seconds) = self.counters.took.observed();
        observed.0.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        observed.1 += seconds;
    }
}

impl State {
    /// Those that have ended leave what they counted.
    fn settle(&mut self) {
        let (gone, watched): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.watched).into_iter().partition(Watched::is_gone);
        self.watched = watched;
        gone.iter().for_each(|watched| watched.count_into(&mut self.ended));
    }
}
