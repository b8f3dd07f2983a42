//! What all routes share.

use std::sync::Arc;
use std::time::Duration;

use cauce::Bus;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce, watch};

use super::args::HttpArgs;
use super::problem::Problem;

/// How long a request waits for a broker that starts.
const STARTING_MAX: Duration = Duration::from_secs(5);

/// What all routes share. Clones are handles to the same.
#[derive(Clone, Debug)]
pub(super) struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: HttpArgs,
    /// Set once the broker has answered.
    bus: SetOnce<Bus>,
    followers: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl App {
    pub(super) fn new(settings: HttpArgs, stopping: watch::Receiver<bool>) -> Self {
        let followers = Arc::new(Semaphore::new(settings.http_followers_max));
        Self(Arc::new(Shared { settings, bus: SetOnce::new(), followers, stopping }))
    }

    /// From now on the broker can be asked.
    pub(super) fn connected(&self, bus: Bus) {
        // Only one task connects, and once.
        let _first = self.0.bus.set(bus);
    }

    pub(super) fn settings(&self) -> &HttpArgs {
        &self.0.settings
    }

    /// The way to the broker; waits a little for a broker that starts.
    ///
    /// # Errors
    /// If the broker has not answered yet.
    pub(super) async fn bus(&self) -> Result<&Bus, Problem> {
        tokio::time::timeout(STARTING_MAX, self.0.bus.wait()).await.map_err(|_| Problem::starting())
    }

    /// Leave to follow, given back when it is dropped.
    ///
    /// # Errors
    /// If too many follow already.
    pub(super) fn follower(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let followers = Arc::clone(&self.0.followers);
        followers
            .try_acquire_owned()
            .map_err(|_| Problem::too_many_followers(self.0.settings.http_followers_max))
    }

    /// Returns when the server is to stop.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.0.stopping.clone();
        async move {
            // Without a sender nobody can say stop any more, which is the same.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }
}
