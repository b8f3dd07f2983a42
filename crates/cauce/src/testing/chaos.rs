//! `Chaos`: a service under faults, many times, each time by another seed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::director::{Director, Outcome};
use super::simulate;
use super::story::Story;
use crate::envelope::Envelope;
use crate::event::{Event, Metadata};
use crate::service::Service;

/// An event: its entry with the metadata that it is given, and where that goes.
pub(super) type Publish = Box<dyn Fn(&Metadata) -> Envelope + Send + Sync>;

/// Runs a service again and again while everything goes wrong that a network, a deploy and a crash can do to it; each run is drawn from its
/// seed, and can be had again.
///
/// In every run a fresh world (what the handlers change), a fresh broker and the service; then the events are published, some of them
/// twice (as by a publisher that lost its reply, and its memory of it), while
/// - the process dies: before a handler, in the middle of one that waits, and between its end and the acknowledgement; and is started again;
/// - replies and requests are lost, each with its connection;
/// - handlers begin out of order;
/// - the broker is restarted, or dies in place of a reply: all connections break, new ones are refused for a while, scripts are forgotten; what it had
///   done it keeps;
/// - the service is deployed again, in order.
///
/// Then nothing more goes wrong, the service may finish, and the world is looked at. A handler is safe when every seed leaves the world as it
/// should be.
///
/// ```
/// # use std::collections::BTreeSet;
/// # use std::sync::{Arc, Mutex};
/// # use cauce::{Event, Service, State};
/// # use serde::{Deserialize, Serialize};
/// use cauce::testing::Chaos;
/// # #[derive(Clone, Event, Serialize, Deserialize)]
/// # #[event(stream = "orders", action = "order.created", key = "order")]
/// # struct Created { order: u32 }
/// # type Shipped = Arc<Mutex<BTreeSet<u32>>>;
/// # async fn ship(event: Created, State(shipped): State<Shipped>) { shipped.lock().unwrap().insert(event.order); }
/// # fn shipping(shipped: &Shipped) -> Service<Shipped> { Service::new("shipping").state(shipped.clone()).on(ship) }
/// # let orders = (0..5).map(|order| Created { order });
///
/// Chaos::seeds(0..5).publish(orders).run(Shipped::default, shipping, |shipped| assert_eq!(shipped.lock().unwrap().len(), 5));
/// ```
pub struct Chaos {
    seeds: Vec<u64>,
    publishes: Vec<Publish>,
    limit: Duration,
    allow_dead: bool,
}

impl Chaos {
    /// One run for each of these seeds, in order.
    #[must_use]
    pub fn seeds(seeds: impl IntoIterator<Item = u64>) -> Self {
        let seeds = seeds.into_iter().collect();
        Self { seeds, publishes: Vec::new(), limit: Duration::from_secs(3600), allow_dead: false }
    }

    /// One run: to look at a failure again.
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        Self::seeds([seed])
    }

    /// Publishes these events, after those that were named before, in order but for the repeated ones. Each has an id of its own, which repeated ones share.
    ///
    /// # Panics
    /// When it runs, if an event can't be written, or has no key although its stream is partitioned.
    #[must_use]
    pub fn publish<E: Event + Sync>(mut self, events: impl IntoIterator<Item = E>) -> Self {
        self.publishes.extend(events.into_iter().map(|event| -> Publish {
            Box::new(move |metadata| Envelope::new(&event, metadata).expect("the event can be written"))
        }));
        self
    }

    /// How long the service may take to settle everything once nothing more goes wrong, by the virtual clock; the default is an hour.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Entries may become dead letters. By default one that does fails the run: the faults alone bury nothing.
    #[must_use]
    pub fn allow_dead_letters(mut self) -> Self {
        self.allow_dead = true;
        self
    }

    /// Runs them all.
    ///
    /// # Panics
    /// At the first seed that fails, with the seed and the story of its run.
    pub fn run<W, S>(
        self,
        world: impl Fn() -> W + Sync,
        service: impl Fn(&W) -> Service<S> + Sync,
        check: impl Fn(&W) + Sync,
    ) where
        S: Clone + Send + Sync + 'static,
    {
        if let Err(failure) = self.try_run(world, service, check) {
            panic!("{failure}");
        }
    }

    /// Runs them all, up to the first that fails.
    ///
    /// # Errors
    /// If the check panics after a run, the service does not settle everything, or an entry becomes a dead letter.
    pub fn try_run<W, S>(
        self,
        world: impl Fn() -> W + Sync,
        service: impl Fn(&W) -> Service<S> + Sync,
        check: impl Fn(&W) + Sync,
    ) -> Result<(), ChaosFailure>
    where
        S: Clone + Send + Sync + 'static,
    {
        for seed in &self.seeds {
            let (problem, story) = self.one(*seed, &world, &service, &check);
            if let Some(problem) = problem {
                return Err(ChaosFailure { seed: *seed, problem, story });
            }
        }
        Ok(())
    }

    /// What happens under one seed, line by line; the same each time.
    pub fn story<W, S>(
        self,
        world: impl Fn() -> W + Sync,
        service: impl Fn(&W) -> Service<S> + Sync,
        check: impl Fn(&W) + Sync,
    ) -> Vec<String>
    where
        S: Clone + Send + Sync + 'static,
    {
        self.seeds.iter().flat_map(|seed| self.one(*seed, &world, &service, &check).1).collect()
    }

    /// One run, on a thread of its own: nothing of another run is left there.
    fn one<W, S>(
        &self,
        seed: u64,
        world: &(impl Fn() -> W + Sync),
        service: &(impl Fn(&W) -> Service<S> + Sync),
        check: &(impl Fn(&W) + Sync),
    ) -> (Option<String>, Vec<String>)
    where
        S: Clone + Send + Sync + 'static,
    {
        let run = || {
            let story = Arc::new(Story::default());
            let told = Arc::clone(&story);
            let problem = simulate(seed, async || {
                let world = world();
                let director = Director::new(told, &self.publishes, self.limit).await;
                let Outcome { unsettled, dead } = director.direct(|| service(&world)).await;
                if let Some(left) = unsettled {
                    return Some(format!("after {:?} there are still {left}", self.limit));
                }
                if let (Some(dead), false) = (dead, self.allow_dead) {
                    return Some(dead);
                }
                let checked = catch_unwind(AssertUnwindSafe(|| check(&world)));
                checked.err().map(|panic| crate::service::panic_message(&*panic))
            });
            if let Some(problem) = &problem {
                story.tell(format_args!("the world is wrong: {problem}"));
            }
            (problem, story.take())
        };
        std::thread::scope(|scope| {
            let thread =
                std::thread::Builder::new().name(format!("chaos seed {seed}")).spawn_scoped(scope, run);
            match thread.expect("the system gives a thread to a test").join() {
                Ok(ended) => ended,
                Err(panic) => (
                    Some(format!("the run itself panicked: {}", crate::service::panic_message(&*panic))),
                    Vec::new(),
                ),
            }
        })
    }
}

impl fmt::Debug for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos")
            .field("seeds", &self.seeds.len())
            .field("events", &self.publishes.len())
            .finish_non_exhaustive()
    }
}

/// A run that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChaosFailure {
    /// Its seed: [`Chaos::seed`] runs it again.
    pub seed: u64,
    /// What was wrong in the end.
    pub problem: String,
    /// What happened, a line each, with the virtual time.
    pub story: Vec<String>,
}

impl fmt::Display for ChaosFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "chaos with seed {}: {}", self.seed, self.problem)?;
        writeln!(f, "the story (Chaos::seed({}) tells it again):", self.seed)?;
        self.story.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl std::error::Error for ChaosFailure {}
