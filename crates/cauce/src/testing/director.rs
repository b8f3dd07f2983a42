//! One run under faults: who publishes, what goes wrong and when, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cauce_broker::Broker;
use redis::cmd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::chaos::Publish;
use super::story::Story;
use super::{broker, connect, left};
use crate::backend::command::xadd;
use crate::backend::faulty::Faults;
use crate::bus::Bus;
use crate::entry::EntryId;
use crate::event::Metadata;
use crate::middleware::{Handled, Incoming, Middleware, Next};
use crate::service::{HandlerError, Running, Service};

/// For so long things go wrong.
const STORM: Duration = Duration::from_secs(40);
/// More deaths in one run might make an entry look as if it killed its instances, and be buried.
const DEATHS_MAX: u32 = 2;
/// How often it is looked whether everything is settled.
const LOOK: Duration = Duration::from_secs(1);

/// How likely what is in this run: every run has other troubles.
#[derive(Debug)]
struct Plan {
    dies_before: f64,
    dies_amid: f64,
    dies_after: f64,
    /// The broker dies in place of the next reply, which is often that of the settlement.
    unanswered: f64,
    delayed: f64,
    published_twice: f64,
    /// On average between two faults of the network or the broker.
    pause: Duration,
}

impl Plan {
    fn drawn() -> Self {
        let one_of = |choices: [f64; 3]| choices[fastrand::usize(..3)];
        Self {
            dies_before: one_of([0.0, 0.05, 0.2]),
            dies_amid: one_of([0.0, 0.1, 0.3]),
            dies_after: one_of([0.0, 0.1, 0.4]),
            unanswered: one_of([0.0, 0.05, 0.2]),
            delayed: one_of([0.0, 0.3, 0.8]),
            published_twice: one_of([0.0, 0.1, 0.3]),
            pause: Duration::from_secs_f64(one_of([2.0, 5.0, 12.0])),
        }
    }
}

fn happens(likely: f64) -> bool {
    fastrand::f64() < likely
}

/// Counts one more death, unless there were enough.
fn may_die(deaths: &AtomicU32) -> bool {
    let more = |deaths| (deaths < DEATHS_MAX).then_some(deaths + 1);
    deaths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

fn within(longest: Duration) -> Duration {
    longest.mul_f64(fastrand::f64())
}

/// How a run ended.
pub(super) struct Outcome {
    /// What is left.
    pub(super) unsettled: Option<String>,
    /// Why an entry is dead.
    pub(super) dead: Option<String>,
}

pub(super) struct Director<'a> {
    story: Arc<Story>,
    publishes: &'a [Publish],
    limit: Duration,
    plan: Arc<Plan>,
    broker: Arc<Broker>,
    faults: Arc<Faults>,
    /// Without faults.
    clean: Bus,
    deaths: Arc<AtomicU32>,
}

impl<'a> Director<'a> {
    pub(super) async fn new(story: Arc<Story>, publishes: &'a [Publish], limit: Duration) -> Self {
        let broker = broker();
        let clean = connect(&broker, None).await;
        let (faults, deaths) = (Arc::default(), Arc::default());
        Self { story, publishes, limit, plan: Arc::new(Plan::drawn()), broker, faults, clean, deaths }
    }

    pub(super) async fn direct<S: Clone + Send + Sync + 'static>(
        self,
        service: impl Fn() -> Service<S>,
    ) -> Outcome {
        let bus = connect(&self.broker, Some(Arc::clone(&self.faults))).await;
        let (deaths, mut died) = mpsc::unbounded_channel();
        let start = async || {
            let trouble = Trouble {
                story: Arc::clone(&self.story),
                plan: Arc::clone(&self.plan),
                faults: Arc::clone(&self.faults),
                left: Arc::clone(&self.deaths),
                died: deaths.clone(),
            };
            loop {
                match service().middleware(trouble.clone()).start(&bus).await {
                    Ok(running) => return running,
                    Err(error) => self.story.tell(format_args!("the service does not start: {error}")),
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let mut running = start().await;
        self.story.tell("the service has started");
        let publisher = self.publisher();
        let outage = self.outage();
        let outages = tokio::spawn(async move {
            loop {
                outage.faults.died().await;
                outage.of("the broker has died in place of a reply").await;
            }
        });
        let storm_ends = Instant::now() + STORM;
        let mut next = Instant::now() + within(self.plan.pause * 2);
        while Instant::now() < storm_ends {
            tokio::select! {
                biased;
                Some(()) = died.recv() => running = self.bury(running, &start, &mut died).await,
                () = tokio::time::sleep_until(next.min(storm_ends)) => {
                    if Instant::now() < storm_ends {
                        running = self.trouble(running, &start).await;
                    }
                    next = Instant::now() + within(self.plan.pause * 2);
                }
            }
        }
        outages.abort();
        self.faults.calm();
        self.deaths.store(DEATHS_MAX, Ordering::Relaxed);
        let (replies, requests) = self.faults.lost();
        self.story.tell(format_args!(
            "nothing more goes wrong; {replies} replies and {requests} requests were lost"
        ));
        let _ = publisher.await;
        // A process that was about to die has died.
        while died.try_recv().is_ok() {
            running = self.bury(running, &start, &mut died).await;
        }
        self.end(&bus, running).await
    }

    fn publisher(&self) -> JoinHandle<()> {
        let (clean, plan, story) = (self.clean.clone(), Arc::clone(&self.plan), Arc::clone(&self.story));
        let mut publishings = Vec::new();
        for (number, publish) in self.publishes.iter().enumerate() {
            let times = if happens(plan.published_twice) { 2 } else { 1 };
            for time in 0..times {
                let pause = within(Duration::from_millis(1_500));
                let envelope = publish(&Metadata::new().id(format!("chaos-{number}")).source("kit"));
                publishings.push((number, time, pause, xadd(envelope.stream(), envelope.fields())));
            }
        }
        tokio::spawn(async move {
            for (number, time, pause, publishing) in publishings {
                tokio::time::sleep(pause).await;
                let again = if time > 0 { " again" } else { "" };
                match clean.link().call(&publishing).await.and_then(|mut replies| replies.entry_id()) {
                    Ok(id) => {
                        story.tell(format_args!("event {number} is published{again} as {id}"));
                    }
                    Err(error) => story.tell(format_args!("event {number} is not published: {error}")),
                }
            }
        })
    }

    /// The process is gone; another is started after a while.
    async fn bury(
        &self,
        running: Running,
        start: &impl AsyncFn() -> Running,
        died: &mut mpsc::UnboundedReceiver<()>,
    ) -> Running {
        drop(running);
        tokio::time::sleep(within(Duration::from_secs(20))).await;
        while died.try_recv().is_ok() {}
        let running = start().await;
        self.story.tell("the service has started again");
        running
    }

    async fn trouble(&self, running: Running, start: &impl AsyncFn() -> Running) -> Running {
        match fastrand::u32(..8) {
            0..=2 => {
                self.story.tell("the next reply will be lost");
                self.faults.lose_reply();
            }
            3 | 4 => {
                self.story.tell("the next request will be lost");
                self.faults.lose_request();
            }
            5 | 6 => {
                self.faults.set_down(true);
                self.outage().of("the broker is restarted").await;
            }
            _ => {
                if self.faults.is_down() || !may_die(&self.deaths) {
                    return running;
                }
                let before = self.faults.outages();
                let report = running.stop().await;
                self.story.tell(format_args!("the service was stopped for a deploy: {report}"));
                if self.faults.outages() == before {
                    // It could say what it had done: that was no death.
                    self.deaths.fetch_sub(1, Ordering::Relaxed);
                }
                tokio::time::sleep(within(Duration::from_secs(3))).await;
                let running = start().await;
                self.story.tell("the new version of the service has started");
                return running;
            }
        }
        running
    }

    fn outage(&self) -> Outage {
        let (story, broker) = (Arc::clone(&self.story), Arc::clone(&self.broker));
        Outage { story, broker, faults: Arc::clone(&self.faults), clean: self.clean.clone() }
    }

    async fn end(&self, bus: &Bus, running: Running) -> Outcome {
        let deadline = Instant::now() + self.limit;
        let mut unsettled = None;
        loop {
            let left = left(bus, &self.clean).await.unwrap_or_else(|error| error.to_string());
            if left.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                unsettled = Some(left);
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let streams: Vec<_> = bus.registry().groups().into_iter().map(|(stream, _)| stream).collect();
        let mut dead = None;
        for stream in streams {
            let letters =
                self.clean.inspect().dead_letters(&stream, EntryId::ZERO, 1).await.unwrap_or_default();
            if let Some(letter) = letters.first() {
                dead = Some(format!(
                    "entry {} of {stream} is a dead letter: {} {}",
                    letter.entry, letter.reason, letter.error
                ));
            }
        }
        let report = running.stop().await;
        self.story.tell(format_args!("in the end the last instance had {report}"));
        Outcome { unsettled, dead }
    }
}

/// The broker is away for a while, with all connections and scripts.
struct Outage {
    story: Arc<Story>,
    broker: Arc<Broker>,
    faults: Arc<Faults>,
    clean: Bus,
}

impl Outage {
    /// Connections are refused already.
    async fn of(&self, what: &str) {
        // Some are over before anybody has tried again.
        let longest = if happens(0.5) { Duration::from_millis(20) } else { Duration::from_secs(8) };
        let away = within(longest);
        self.story.tell(format_args!("{what}, away for {away:.3?}"));
        let _ = self.clean.link().send(cmd("SCRIPT").arg("FLUSH")).await;
        self.broker.disconnect_all();
        tokio::time::sleep(away).await;
        self.faults.set_down(false);
    }
}

/// What happens to handlers.
#[derive(Clone)]
struct Trouble {
    story: Arc<Story>,
    plan: Arc<Plan>,
    faults: Arc<Faults>,
    /// How often the process has died.
    left: Arc<AtomicU32>,
    died: mpsc::UnboundedSender<()>,
}

impl Trouble {
    /// Whether the process may die once more.
    fn dies(&self, likely: f64) -> bool {
        happens(likely) && may_die(&self.left)
    }

    async fn die(&self, id: &str, when: &str) -> Result<(), HandlerError> {
        self.story.tell(format_args!("the process dies {when} the handler of {id}"));
        let _ = self.died.send(());
        std::future::pending().await
    }
}

impl Middleware for Trouble {
    fn consume(&self, incoming: &Incoming, next: Next) -> Handled {
        let (trouble, id, attempt) = (self.clone(), incoming.id.clone(), incoming.attempt);
        Box::pin(async move {
            let Plan { dies_before, dies_amid, dies_after, unanswered, delayed, .. } = *trouble.plan;
            if happens(delayed) {
                tokio::time::sleep(within(Duration::from_millis(800))).await;
            }
            if trouble.dies(dies_before) {
                return trouble.die(&id, "before").await;
            }
            trouble.story.tell(format_args!("the handler of {id} begins, attempt {attempt}"));
            let mut handler = next.run();
            let mut ended = None;
            if happens(dies_amid) {
                // If it waits at all.
                ended = tokio::time::timeout(within(Duration::from_millis(50)), &mut handler).await.ok();
                if ended.is_none() && trouble.dies(1.0) {
                    drop(handler);
                    return trouble.die(&id, "in the middle of").await;
                }
            }
            let outcome = match ended {
                Some(outcome) => outcome,
                None => handler.await,
            };
            match &outcome {
                Ok(()) => trouble.story.tell(format_args!("the handler of {id} ends well")),
                Err(error) => trouble.story.tell(format_args!("the handler of {id} fails: {error}")),
            }
            if trouble.dies(dies_after) {
                return trouble.die(&id, "after, and before the acknowledgement of,").await;
            }
            if happens(unanswered) {
                trouble.faults.die_in_place_of_a_reply();
            }
            outcome
        })
    }
}
