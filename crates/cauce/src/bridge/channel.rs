//! From a channel to a stream: one instance at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::cmd;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::{Shared, stopped};
use crate::backend::backoff::Backoff;
use crate::backend::command::companion;
use crate::backend::reply;
use crate::bus::Bus;
use crate::channel::{Received, Subscription};
use crate::codec::json;
use crate::entry::Fields;
use crate::error::CommandError;
use crate::event::{Metadata, envelope};

/// How long the active instance is believed to live without a sign.
const LEASE: Duration = Duration::from_secs(5);

pub(super) struct FromChannel {
    pub(super) name: String,
    pub(super) channel: String,
    pub(super) stream: String,
    pub(super) action: String,
}

impl FromChannel {
    pub(super) async fn run(self, bus: Bus, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
        let state = companion(&self.stream, &format!("bridge:{}", self.name));
        loop {
            // A new name each time: numbers of messages begin again.
            let me = format!("{}-{:016x}", self.name, fastrand::u64(..));
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                () = self.become_active(&bus, &state, &me) => {}
            }
            shared.active.store(true, Ordering::Relaxed);
            tokio::select! {
                biased;
                () = stopped(&mut stop) => {
                    shared.active.store(false, Ordering::Relaxed);
                    if let Err(error) = own(&bus, &state, &me, Duration::ZERO).await {
                        tracing::debug!(%error, bridge = self.name, "another instance takes over when the lease ends");
                    }
                    return;
                }
                () = self.carry(&bus, &state, &me, &shared) => {}
            }
            shared.active.store(false, Ordering::Relaxed);
            tracing::info!(bridge = self.name, "another instance has become the active one");
        }
    }

    async fn become_active(&self, bus: &Bus, state: &str, me: &str) {
        loop {
            match own(bus, state, me, LEASE).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, bridge = self.name, "the bridge waits for the broker"),
            }
            // The jitter keeps instances that started together from asking at the same moment.
            tokio::time::sleep((LEASE / 5).mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    /// Carries until another is the active one.
    async fn carry(&self, bus: &Bus, state: &str, me: &str, shared: &Shared) {
        let Ok(mut subscription) = bus.subscribe::<Vec<u8>>([self.channel.as_str()]).await else {
            // What holds the lease carries: without a subscription it is given up.
            let _ = own(bus, state, me, Duration::ZERO).await;
            return;
        };
        let renew = async {
            let mut ticks = tokio::time::interval(LEASE / 3);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match own(bus, state, me, LEASE).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::debug!(%error, bridge = self.name, "the lease is not renewed"),
                }
            }
        };
        tokio::select! {
            biased;
            () = renew => {}
            () = self.append_all(bus, state, me, &mut subscription, shared) => {}
        }
    }

    async fn append_all(
        &self,
        bus: &Bus,
        state: &str,
        me: &str,
        subscription: &mut Subscription<Vec<u8>>,
        shared: &Shared,
    ) {
        let mut number = 0_u64;
        loop {
            let body = match subscription.next().await {
                Received::Message { body, .. } | Received::Undecodable { body, .. } => body,
                Received::Missed(count) => {
                    Shared::add(&shared.missed, count);
                    continue;
                }
                Received::Reconnected => continue,
            };
            number += 1;
            let mut payload = Fields::with_capacity(1);
            payload.push(json::DATA.as_bytes(), body);
            let source = format!("channel:{}", self.channel);
            let fields = envelope(&self.action, &payload, &Metadata::new(), &source);
            let mut backoff = Backoff::new();
            loop {
                match append(bus, state, &self.stream, me, number, &fields).await {
                    Ok(0) => return Shared::add(&shared.fenced, 1),
                    Ok(_) => break Shared::add(&shared.carried, 1),
                    // It may have been appended: its number tells.
                    Err(error) => {
                        tracing::debug!(%error, bridge = self.name, "a message waits for the broker");
                    }
                }
                backoff.wait().await;
            }
        }
    }
}

async fn own(bus: &Bus, state: &str, me: &str, lease: Duration) -> Result<bool, CommandError> {
    let mut command = cmd("EVAL");
    command.arg(include_str!("own.lua")).arg(1).arg(state).arg(me).arg(lease.as_millis() as u64);
    Ok(reply::integer(&bus.link().send(&command).await?) == Some(1))
}

/// # Errors
/// If the broker did not confirm.
async fn append(
    bus: &Bus,
    state: &str,
    stream: &str,
    me: &str,
    number: u64,
    fields: &Fields,
) -> Result<i64, CommandError> {
    let mut command = cmd("EVAL");
    command.arg(include_str!("append.lua")).arg(2).arg(state).arg(stream).arg(me).arg(number);
    for (name, value) in fields.iter() {
        command.arg(name).arg(value);
    }
    reply::integer(&bus.link().send(&command).await?).ok_or(CommandError::Unexpected { command: "EVAL" })
}
