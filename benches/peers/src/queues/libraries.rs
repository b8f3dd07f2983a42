//! The two libraries in Rust, used alike: so many tasks that call one after the other.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use rsmq_async::{Rsmq, RsmqConnection, RsmqOptions};
use tokio::task::JoinSet;

use crate::server::{QUEUE, Server};
use crate::{BATCH, Library, Work};

pub(crate) struct Cauce(cauce::Queue);

impl Cauce {
    pub(crate) async fn new(url: &str) -> anyhow::Result<Self> {
        let bus = cauce::Bus::connect(url).await?;
        // The others announce nothing by default.
        Ok(Self(bus.queues().realtime(false).queue(QUEUE)?))
    }
}

impl Library for Cauce {
    const NAME: &'static str = "cauce";

    async fn run(&mut self, work: Work, messages: usize, in_flight: usize, body: &str) -> anyhow::Result<()> {
        let (queue, body) = (self.0.clone(), Arc::new(body.to_owned()));
        match work {
            Work::Send => {
                let call = async |queue: cauce::Queue, body: Arc<String>| queue.send(&*body).await.map(drop);
                spread(messages, in_flight, move || call(queue.clone(), Arc::clone(&body))).await
            }
            Work::Pop => {
                let call = async |queue: cauce::Queue| queue.pop().await.map(drop);
                spread(messages, in_flight, move || call(queue.clone())).await
            }
            Work::ReceiveAndDelete => {
                let call = async |queue: cauce::Queue| -> anyhow::Result<()> {
                    let message = queue.receive().await?.context("the queue is empty")?;
                    queue.delete(message.id).await?;
                    Ok(())
                };
                spread(messages, in_flight, move || call(queue.clone())).await
            }
            Work::SendBatches => {
                let bodies = vec![body.to_string(); BATCH];
                for _ in 0..messages / BATCH {
                    queue.send_all(&bodies).await?;
                }
                Ok(())
            }
        }
    }
}

pub(crate) struct RsmqAsync(Rsmq);

impl RsmqAsync {
    pub(crate) async fn new(server: &Server) -> anyhow::Result<Self> {
        let options = RsmqOptions { host: server.host.clone(), port: server.port, ..RsmqOptions::default() };
        Ok(Self(Rsmq::new(options).await?))
    }
}

impl Library for RsmqAsync {
    const NAME: &'static str = "rsmq_async";

    async fn run(&mut self, work: Work, messages: usize, in_flight: usize, body: &str) -> anyhow::Result<()> {
        let (rsmq, body) = (self.0.clone(), Arc::new(body.to_owned()));
        match work {
            Work::Send => {
                let call = async |mut rsmq: Rsmq, body: Arc<String>| {
                    rsmq.send_message(QUEUE, body.as_str(), None).await.map(drop)
                };
                spread(messages, in_flight, move || call(rsmq.clone(), Arc::clone(&body))).await
            }
            Work::Pop => {
                let call = async |mut rsmq: Rsmq| rsmq.pop_message::<String>(QUEUE).await.map(drop);
                spread(messages, in_flight, move || call(rsmq.clone())).await
            }
            Work::ReceiveAndDelete => {
                let call = async |mut rsmq: Rsmq| -> anyhow::Result<()> {
                    let message =
                        rsmq.receive_message::<String>(QUEUE, None).await?.context("the queue is empty")?;
                    rsmq.delete_message(QUEUE, &message.id).await?;
                    Ok(())
                };
                spread(messages, in_flight, move || call(rsmq.clone())).await
            }
            Work::SendBatches => {
                let mut rsmq = rsmq;
                for _ in 0..messages / BATCH {
                    rsmq.send_message_batch(QUEUE, vec![body.as_str(); BATCH], None).await?;
                }
                Ok(())
            }
        }
    }
}

/// Makes `messages` calls, `in_flight` of them at a time.
async fn spread<F, E>(
    messages: usize,
    in_flight: usize,
    call: impl Fn() -> F + Clone + Send + 'static,
) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), E>> + Send,
    E: Into<anyhow::Error> + Send + 'static,
{
    let left = Arc::new(AtomicUsize::new(messages));
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (left, call) = (Arc::clone(&left), call.clone());
        tasks.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                call().await.map_err(Into::into)?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
