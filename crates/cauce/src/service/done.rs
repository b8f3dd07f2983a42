//! Deliveries that are done, on their way to the settler.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lane::{Delivered, Lane, Runs};

/// Acknowledgements that are handed to the settler at once.
const LENGTH: usize = 256;
/// Acknowledgements wait no longer than this for company while handlers run.
const DELAY: Duration = Duration::from_millis(1);

/// Deliveries to acknowledge, by lane.
#[derive(Default)]
pub(crate) struct Done {
    lanes: Vec<(Arc<Lane>, Runs)>,
    count: usize,
    since: Option<Instant>,
}

impl Done {
    pub(crate) fn push(&mut self, delivered: Delivered) {
        let Delivered { lane, id, attempt, lease, .. } = delivered;
        self.since.get_or_insert_with(Instant::now);
        self.count += 1;
        match self.lanes.iter_mut().find(|(found, _)| Arc::ptr_eq(found, &lane)) {
            Some((_, runs)) => runs.push(id, attempt, lease),
            None => {
                let mut runs = Runs::default();
                runs.push(id, attempt, lease);
                self.lanes.push((lane, runs));
            }
        }
    }

    /// Whether they have waited long enough.
    pub(crate) fn is_due(&self) -> bool {
        self.count >= LENGTH || self.since.is_some_and(|since| since.elapsed() >= DELAY)
    }

    pub(crate) fn take(&mut self) -> Vec<(Arc<Lane>, Runs)> {
        (self.count, self.since) = (0, None);
        std::mem::take(&mut self.lanes)
    }
}
