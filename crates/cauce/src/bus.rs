//! `Bus`: a connection to a broker, by URL.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use crate::backend::command::dead_stream;
use crate::backend::connection::Endpoint;
use crate::backend::link::Link;
use crate::broker::BrokerInfo;
use crate::channel::{Body, Channel, Subscription};
use crate::entry::{EntryId, Fields};
use crate::error::{CommandError, ConnectError, PublishAllError, PublishError};
use crate::event::{Event, Metadata, to_fields};
use crate::idempotent::{self, Publisher};
use crate::metrics::{Health, Metrics, Registry};
use crate::middleware::{Chain, Middleware, NextPublish, Outgoing};
use crate::partition::{Agreed, partition_of, partition_stream};
use crate::queue::Queues;
use crate::request::Replies;
use crate::schedule::Movers;
use crate::stream::Stream;

/// Events of one pipeline of [`Bus::publish_all`]: enough that the round trip does not matter, few enough that memory is bounded.
const PIPELINE_LENGTH: usize = 500;

/// A connection to a broker. Cheap to clone; clones share it.
///
/// It survives the broker: when the connection breaks it is opened again for ever, with growing, jittered waits. A command sent
/// meanwhile waits up to ten seconds for it.
#[derive(Clone)]
pub struct Bus {
    link: Link,
    source: Arc<str>,
    queues: Arc<crate::queue::Shared>,
    publisher: Arc<Publisher>,
    patience: Duration,
    movers: Arc<Movers>,
    partitions: Arc<Agreed>,
    around: Arc<Chain>,
    registry: Arc<Registry>,
    replies: Arc<Replies>,
}

impl Bus {
    /// Connects to the broker that `url` names.
    ///
    /// | URL | broker |
    /// |---|---|
    /// | `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | Redis 6.2 or later, Valkey, `cauce serve` |
    /// | `rediss://...` | the same over TLS, trusting the system's certificates |
    /// | `unix:PATH[?db=N&user=U&pass=P]` | the same over a Unix socket |
    /// | `memory:` | a fresh broker inside this process, shared by the clones of this bus |
    /// | `memory:NAME` | a broker inside this process, shared by all who name it |
    /// | `file:DIR` | a broker that keeps everything in this directory, shared by all programs of this machine that name it |
    ///
    /// Of the programs that use `file:DIR`, the first one holds the broker, on threads of its own, and serves the others;
    /// when it ends, however it ends, another one goes on from what is on disk. A `cauce serve --dir DIR` can be the holder
    /// too. Where `docs/guarantees.md` says more.
    ///
    /// # Errors
    /// If the URL names no broker, nobody answers there, or the broker refuses.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        let endpoint = if url.starts_with("file:") {
            // The directory may have to be made.
            let url = url.to_owned();
            let opened = tokio::task::spawn_blocking(move || Endpoint::parse(&url)).await;
            opened.map_err(|error| ConnectError::Directory { problem: error.to_string() })??
        } else {
            Endpoint::parse(url)?
        };
        Self::open(endpoint).await
    }

    pub(crate) async fn open(endpoint: Endpoint) -> Result<Self, ConnectError> {
        let link = Link::open(endpoint).await?;
        let (around, registry) = (Arc::default(), Arc::default());
        let queues = crate::queue::Shared::new(&link, &registry).into();
        let movers = Arc::new(Movers::new(link.clone()));
        Ok(Self {
            link,
            source: program().into(),
            queues,
            publisher: Arc::new(Publisher::new()),
            patience: idempotent::PATIENCE,
            movers,
            partitions: Arc::default(),
            around,
            registry,
            replies: Replies::new(),
        })
    }

    /// The same bus, whose events name `source` as their origin. The default is the program's name.
    #[must_use]
    pub fn with_source(&self, source: &str) -> Self {
        Self { source: source.into(), ..self.clone() }
    }

    /// The same bus, which goes on publishing for so long when replies are lost; a minute at most. The default is 30 seconds. With zero it publishes
    /// once, with a plain XADD, and a publish that is repeated may append twice.
    #[must_use]
    pub fn with_publish_patience(&self, patience: Duration) -> Self {
        Self { patience: patience.min(idempotent::PATIENCE_MAX), ..self.clone() }
    }

    /// The same bus, with a [`Middleware`] around what it publishes to streams; after those that it has already, so inside of them.
    #[must_use]
    pub fn middleware(&self, middleware: impl Middleware) -> Self {
        let mut around = Chain::clone(&self.around);
        around.add(middleware);
        Self { around: around.into(), ..self.clone() }
    }

    /// What this bus and its clones, and the services and workers that run on them, have to say of themselves.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::new(self)
    }

    /// Whether this process works: what a probe asks for.
    pub async fn health(&self) -> Health {
        Health::of(self).await
    }

    /// Appends the event to its stream.
    ///
    /// When this returns, the entry is as durable as the broker is ([`BrokerInfo::durability`]), and every group will get it. Concurrent
    /// calls share a connection and travel together. Dropping the future may or may not leave the event published.
    ///
    /// If the reply is lost, it is published again until the broker confirms it, for the bus's [patience](Self::with_publish_patience), and appended
    /// once: the broker, or the script that appends, keeps a mark of the call, or the lost connection is closed at the broker and the event looked for
    /// on the stream.
    ///
    /// # Errors
    /// If the event can't be written, or the broker refuses it. [`CommandError::OutcomeUnknown`] if it was said and not confirmed to the end of the
    /// patience: to try again later, choose the event's id ([`Metadata::id`]). On a partitioned
    /// stream, also if it has no key, or the broker knows the stream with another number of partitions.
    pub async fn publish<E: Event>(&self, event: &E) -> Result<EntryId, PublishError> {
        self.publish_with(event, &Metadata::new()).await
    }

    /// As [`publish`](Self::publish), with metadata of the publisher's own. Of an id that the publisher chooses, one event is appended to the stream,
    /// whoever publishes it and how often, as long as its mark is kept: ten minutes and the last 100,000 of the stream, whatever the time its last
    /// 1,000. Later publishes return the id of the one entry.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_with<E: Event>(
        &self,
        event: &E,
        metadata: &Metadata,
    ) -> Result<EntryId, PublishError> {
        const {
            assert!(
                !E::STREAM.is_empty(),
                "this event has no stream: add #[event(stream = \"...\")], or use Bus::broadcast"
            );
        };
        let span = tracing::info_span!(
            "publish",
            otel.name = format!("send {}", E::STREAM),
            otel.kind = "producer",
            messaging.system = "redis",
            messaging.operation.type = "send",
            messaging.destination.name = E::STREAM,
            action = E::ACTION,
        );
        let publish = async {
            let fields = to_fields(event, metadata, &self.source)?;
            self.append_around(self.stream_of(event).await?, fields, metadata).await
        };
        if span.is_disabled() { publish.await } else { publish.instrument(span).await }
    }

    /// Appends an entry as [`append`](Self::append) does, with the middleware around.
    pub(crate) async fn append_around(
        &self,
        stream: Cow<'static, str>,
        fields: Fields,
        metadata: &Metadata,
    ) -> Result<EntryId, PublishError> {
        let result = if self.around.is_empty() {
            self.append(&stream, &fields, metadata).await.map_err(PublishError::from)
        } else {
            let send = |outgoing: Outgoing| -> crate::middleware::Published<'_> {
                Box::pin(async move { Ok(self.append(&outgoing.stream, &outgoing.fields, metadata).await?) })
            };
            NextPublish::new(self.around.all(), send).run(Outgoing { stream, fields }).await
        };
        self.registry.published(usize::from(result.is_ok()), usize::from(result.is_err()));
        result
    }

    /// Appends an entry once, by the id that its publisher chose or by a mark of the bus's own.
    pub(crate) async fn append(
        &self,
        stream: &str,
        fields: &Fields,
        metadata: &Metadata,
    ) -> Result<EntryId, CommandError> {
        match metadata.chosen_id() {
            Some(event) => idempotent::append_once(&self.link, self.patience, stream, event, fields).await,
            None => self.publisher.append(&self.link, self.patience, stream, fields).await,
        }
    }

    /// Appends the events to their stream, in order, many per round trip, each once, as [`publish`](Self::publish). Not atomic: others may append
    /// between them. With middleware, each is confirmed before the next is sent.
    ///
    /// # Errors
    /// At the first event that is not confirmed; the error holds the ids of those before it. Later ones may have been
    /// published too, if the connection broke.
    pub async fn publish_all<E: Event>(&self, events: &[E]) -> Result<Vec<EntryId>, PublishAllError> {
        const {
            assert!(
                !E::STREAM.is_empty(),
                "this event has no stream: add #[event(stream = \"...\")], or use Bus::broadcast"
            );
        };
        let mut confirmed = Vec::with_capacity(events.len());
        for chunk in events.chunks(PIPELINE_LENGTH) {
            let before = confirmed.len();
            let published = if self.around.is_empty() {
                let published = self.publish_chunk(chunk, &mut confirmed).await;
                self.registry.published(confirmed.len() - before, usize::from(published.is_err()));
                published
            } else {
                self.publish_each(chunk, &mut confirmed).await
            };
            if let Err(source) = published {
                return Err(PublishAllError { confirmed, total: events.len(), source });
            }
        }
        Ok(confirmed)
    }

    async fn publish_each<E: Event>(
        &self,
        events: &[E],
        confirmed: &mut Vec<EntryId>,
    ) -> Result<(), PublishError> {
        for event in events {
            confirmed.push(self.publish(event).await?);
        }
        Ok(())
    }

    async fn publish_chunk<E: Event>(
        &self,
        events: &[E],
        confirmed: &mut Vec<EntryId>,
    ) -> Result<(), PublishError> {
        let metadata = Metadata::new();
        let fields = events.iter().map(|event| to_fields(event, &metadata, &self.source));
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        if E::PARTITIONS > 0 {
            return self.publish_to_partitions(events, &fields, confirmed).await;
        }
        let (ids, end) = self.publisher.append_all(&self.link, self.patience, E::STREAM, &fields).await;
        confirmed.extend(ids);
        Ok(end?)
    }

    /// Each partition's events travel together, the partitions beside each other.
    async fn publish_to_partitions<E: Event>(
        &self,
        events: &[E],
        fields: &[Fields],
        confirmed: &mut Vec<EntryId>,
    ) -> Result<(), PublishError> {
        let mut partitions: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, event) in events.iter().enumerate() {
            partitions.entry(self.stream_of(event).await?.into_owned()).or_default().push(at);
        }
        let published = partitions.into_iter().map(|(stream, places)| async move {
            let some: Vec<Fields> = places.iter().filter_map(|at| fields.get(*at)).cloned().collect();
            let (ids, end) = self.publisher.append_all(&self.link, self.patience, &stream, &some).await;
            (places, ids, end)
        });
        let mut all: Vec<Option<EntryId>> = vec![None; events.len()];
        let mut end = Ok(());
        for (places, ids, one) in futures_util::future::join_all(published).await {
            for (at, id) in places.into_iter().zip(ids) {
                if let Some(place) = all.get_mut(at) {
                    *place = Some(id);
                }
            }
            end = end.and(one);
        }
        confirmed.extend(all.into_iter().map_while(|id| id));
        Ok(end?)
    }

    /// The stream that it goes to: one of several, if its stream is partitioned.
    ///
    /// # Errors
    /// If it has no key and needs one, or the broker has another number of partitions.
    pub(crate) async fn stream_of<E: Event>(&self, event: &E) -> Result<Cow<'static, str>, PublishError> {
        if E::PARTITIONS == 0 {
            return Ok(E::STREAM.into());
        }
        let key = event.key().ok_or(PublishError::NoKey { stream: E::STREAM })?;
        self.agree_on(E::STREAM, E::PARTITIONS).await?;
        Ok(partition_stream(E::STREAM, partition_of(&key, E::PARTITIONS)).into())
    }

    /// # Errors
    /// If the broker has another number of partitions, or can't be asked.
    pub(crate) async fn agree_on(&self, stream: &str, partitions: u16) -> Result<(), PublishError> {
        Ok(self.partitions.on(&self.link, stream, partitions).await??)
    }

    /// The Pub/Sub channel of that name.
    #[must_use]
    pub fn channel<'a>(&'a self, name: &'a str) -> Channel<'a> {
        Channel::new(&self.link, name)
    }

    /// The stream of that name: for entries that are not typed events, and to read without a group.
    #[must_use]
    pub fn stream<'a>(&'a self, name: &'a str) -> Stream<'a> {
        Stream::new(self, name)
    }

    /// Publishes the event on its own channel (`#[event(channel = "...")]`); says how many subscribers got it. At most once:
    /// who is not connected now never sees it.
    ///
    /// # Errors
    /// As [`Channel::publish`].
    pub async fn broadcast<E: Event>(&self, event: &E) -> Result<u64, PublishError> {
        const {
            assert!(
                !E::CHANNEL.is_empty(),
                "this event has no channel: add #[event(channel = \"...\")], or use Bus::channel(name)"
            );
        };
        self.channel(E::CHANNEL).publish(event).await
    }

    /// Subscribes to channels. When this returns, the broker has confirmed: what is published from now on arrives, unless
    /// [`Received`](crate::Received) says otherwise.
    ///
    /// # Errors
    /// If the first connection fails or the broker refuses.
    pub async fn subscribe<B: Body>(
        &self,
        channels: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Subscription<B>, SubscribeError> {
        let channels = channels.into_iter().map(Into::into).collect();
        Subscription::open(self.link.endpoint().clone(), channels, Vec::new()).await
    }

    /// Subscribes to all channels whose names match the glob patterns (`*`, `?`, `[a-z]`).
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn psubscribe<B: Body>(
        &self,
        patterns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Subscription<B>, SubscribeError> {
        let patterns = patterns.into_iter().map(Into::into).collect();
        Subscription::open(self.link.endpoint().clone(), Vec::new(), patterns).await
    }

    /// The queues of the namespace `rsmq`, as RSMQ's clients in any language see them.
    #[must_use]
    pub fn queues(&self) -> Queues {
        Queues::new(self.link.clone(), Arc::clone(&self.queues))
    }

    /// What the broker is, and how durable it says it is.
    ///
    /// # Errors
    /// If the broker can't be asked.
    pub async fn broker(&self) -> Result<BrokerInfo, CommandError> {
        BrokerInfo::ask(&self.link).await
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn movers(&self) -> &Arc<Movers> {
        &self.movers
    }

    pub(crate) fn replies(&self) -> &Arc<Replies> {
        &self.replies
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The key of the stream of dead letters of `stream`.
    #[must_use]
    pub fn dead_letter_stream(stream: &str) -> String {
        dead_stream(stream)
    }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus")
            .field("broker", &self.link.endpoint().address)
            .field("source", &self.source)
            .finish()
    }
}

/// A subscription that did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Its connection could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker did not confirm it.
    #[error("the subscription is not confirmed: {0}")]
    Command(#[from] CommandError),
}

pub(crate) fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_ref().and_then(|path| path.file_stem()).and_then(|name| name.to_str());
    name.unwrap_or("cauce").to_owned()
}
