//! How the worker lets go: of streams that others are to read, and of everything when it stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::lane::{Delivered, Lane};
use super::super::outcome::Outcome;
use super::super::reader::Again;
use super::super::settle::{Returned, Settlement};
use super::{Inbox, Leftover, Worker};

/// How long handlers may take to be dropped when they are cut off.
const CUT_OFF_TIME: Duration = Duration::from_millis(200);

impl Worker {
    /// Hands back what has not begun of streams that are not this process's any more.
    pub(super) async fn clear_out(&mut self, inbox: &mut Inbox) {
        while self.accept(inbox) {}
        for lane in self.core.lanes().into_iter().filter(|lane| lane.may_run().is_none()) {
            let entries = self.agenda.take_lane(lane.index);
            self.hand_back(&lane, entries).await;
        }
    }

    pub(super) async fn hand_back(&self, lane: &Arc<Lane>, entries: Vec<Delivered>) {
        // What waits for its next attempt stays as it is.
        let (waiting, not_run): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|delivered| delivered.lease.parked);
        self.core.held.release(lane.index, waiting.into_iter().map(|delivered| delivered.id));
        // What was not run was not an attempt.
        let not_run: Vec<Returned> = not_run
            .into_iter()
            .map(|delivered| (delivered.id, delivered.attempt, delivered.attempt - 1))
            .collect();
        if !not_run.is_empty() {
            self.core.counters.returned.add(not_run.len());
            let _ = self
                .settlements
                .send(Settlement::HandBack { lane: Arc::clone(lane), entries: not_run })
                .await;
        }
    }

    /// Its stream is not this process's any more: somebody else runs it.
    pub(super) async fn let_go(&self, delivered: &Delivered) {
        self.core.counters.cut_off.one();
        let Delivered { lane, id, attempt, .. } = delivered;
        let entries = vec![(*id, *attempt, *attempt)];
        let _ = self.settlements.send(Settlement::HandBack { lane: Arc::clone(lane), entries }).await;
    }

    /// Starts nothing more; running handlers may end within the deadline.
    pub(super) async fn drain(mut self, mut inbox: Inbox) -> Leftover {
        let deadline = Instant::now() + self.core.settings.shutdown_deadline;
        if !self.core.settings.acknowledge {
            self.finish_unacknowledged(&mut inbox, deadline).await;
        }
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.running.join_next()).await {
            self.ended(ended).await;
            self.acknowledge_all().await;
        }
        self.acknowledge_all().await;
        let mut left = Leftover { cut_off: self.cut_off().await, not_run: self.agenda.drain() };
        self.core.counters.cut_off.add(left.cut_off.len());
        // The senders are gone or about to be: the reader stops by the same signal.
        inbox.again.close();
        while let Some(again) = inbox.again.recv().await {
            if let Again::Run(batch) = again {
                left.not_run.extend(batch);
            }
        }
        while let Some(batch) = inbox.fresh.recv().await {
            left.not_run.extend(batch);
        }
        left
    }

    /// What was read with NOACK can't be handed back: it is run as long as there is time.
    async fn finish_unacknowledged(&mut self, inbox: &mut Inbox, deadline: Instant) {
        let going_on = watch::Sender::new(false);
        let mut open = true;
        let finish = async {
            loop {
                self.begin(&going_on.subscribe()).await;
                self.acknowledge_all().await;
                let room = self.running.len() < self.core.settings.concurrency && self.agenda.has_room();
                let wake = self.wake();
                tokio::select! {
                    biased;
                    Some(ended) = self.running.join_next() => self.ended(ended).await,
                    fresh = inbox.fresh.recv(), if room && open => match fresh {
                        Some(batch) => self.take_fresh(batch),
                        None => open = false,
                    },
                    () = tokio::time::sleep_until(wake.unwrap_or(deadline)), if wake.is_some() => {}
                    else => return,
                }
            }
        };
        let _ = tokio::time::timeout_at(deadline, finish).await;
    }

    /// Ends the handlers that are still running. One that blocks its thread can't be ended: its entry stays pending, and is taken
    /// over like an entry of the dead.
    async fn cut_off(&mut self) -> Vec<Delivered> {
        self.cut.send_replace(true);
        let mut cut_off = Vec::new();
        let deadline = Instant::now() + CUT_OFF_TIME;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.running.join_next()).await {
            let Ok(mut ended) = ended else { continue };
            let (cut, done) =
                ended.outcomes.into_iter().partition(|(_, outcome)| matches!(outcome, Outcome::CutOff));
            ended.outcomes = done;
            cut_off.extend(Vec::into_iter(cut).map(|(delivered, _)| delivered));
            self.ended(Ok(ended)).await;
        }
        self.acknowledge_all().await;
        cut_off
    }
}
