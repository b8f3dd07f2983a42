//! Traces through events: the W3C trace context, carried in the field `traceparent` of entries.

use std::fmt;
use std::str::FromStr;

use tracing::{Instrument as _, Span};

use crate::service::HandlerError;

/// The field of an entry that carries the trace.
pub(crate) const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// Where in a trace something happens: W3C Trace Context, version 00.
///
/// What is published inside a trace carries it; the handler goes on in it, at every attempt, and so does what the handler publishes, sends to
/// a queue, or replies. A trace begins where a program begins one: with a span of OpenTelemetry (feature `opentelemetry`), or with
/// [`TraceContext::new`] and [`scope`](Self::scope). Outside of a trace nothing is carried, and entries stay as small as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// The beginning of a new trace, sampled.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another trace")]
    pub fn new() -> Self {
        Self { trace_id: fastrand::u128(1..), span_id: fastrand::u64(1..), flags: 1 }
    }

    /// The trace that the caller is in: that of the current span of OpenTelemetry, or of the handler or [`scope`](Self::scope) around.
    #[must_use]
    pub fn current() -> Option<Self> {
        #[cfg(feature = "opentelemetry")]
        if let Some(current) = otel::current() {
            return Some(current);
        }
        CURRENT.try_with(|current| *current).ok()
    }

    /// The same trace, one step further down.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: fastrand::u64(1..), ..*self }
    }

    /// Runs a future inside this trace: what it publishes carries it. What it spawns is outside.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The trace, the same for everything that belongs to it.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The step inside the trace.
    #[must_use]
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Whether whoever began the trace records it.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

/// As a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// A text that is no `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a traceparent: it has the form 00-TRACE_ID-SPAN_ID-FLAGS in lower-case hexadecimal digits"
)]
pub struct ParseTraceContextError(String);

impl FromStr for TraceContext {
    type Err = ParseTraceContextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseTraceContextError(text.chars().take(80).collect()))
    }
}

/// Later versions may have more behind; version ff is invalid, and so are ids of zeros.
fn parse(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32).filter(|id| *id != 0)?;
    let span_id = u64::try_from(hex(parts.next()?, 16)?).ok().filter(|id| *id != 0)?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    Some(TraceContext { trace_id, span_id, flags })
}

fn hex(digits: &str, length: usize) -> Option<u128> {
    let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() != length || !is_hex {
        return None;
    }
    u128::from_str_radix(digits, 16).ok()
}

/// Runs a handler in its span, as the next step of the trace that its event carries.
pub(crate) async fn handling<F>(
    span: Span,
    parent: Option<TraceContext>,
    handler: F,
) -> Result<(), HandlerError>
where
    F: Future<Output = Result<(), HandlerError>>,
{
    #[cfg(feature = "opentelemetry")]
    if let Some(parent) = parent {
        otel::set_parent(&span, parent);
    }
    let handler = async {
        let result = handler.await;
        if let Err(error) = &result {
            Span::current().record("otel.status_code", "ERROR").record("error", error.to_string());
        }
        result
    };
    let handler = handler.instrument(span);
    match parent {
        Some(parent) => parent.child().scope(handler).await,
        None => handler.await,
    }
}

#[cfg(feature = "opentelemetry")]
mod otel {
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use super::TraceContext;

    pub(super) fn current() -> Option<TraceContext> {
        let context = Span::current().context();
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| TraceContext {
            trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(span.span_id().to_bytes()),
            flags: span.trace_flags().to_u8(),
        })
    }

    pub(super) fn set_parent(span: &Span, parent: TraceContext) {
        let remote = SpanContext::new(
            TraceId::from_bytes(parent.trace_id.to_be_bytes()),
            SpanId::from_bytes(parent.span_id.to_be_bytes()),
            TraceFlags::new(parent.flags),
            true,
            TraceState::default(),
        );
        // Without a layer of OpenTelemetry there is nobody to tell.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_read_as_the_recommendation_says() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.to_string(), text);
        assert_eq!((context.span_id(), context.is_sampled()), (0xb7ad_6b71_6920_3331, true));
        assert!(text.replace("00-0af", "cc-0af").parse::<TraceContext>().is_ok(), "a later version");
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(
                wrong.parse::<TraceContext>().unwrap_err().to_string().contains("not a traceparent"),
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn a_trace_is_current_inside_its_scope_only() {
        let trace = TraceContext::new();
        assert_eq!(TraceContext::current(), None);
        let inside = trace.scope(async { TraceContext::current() }).await;
        assert_eq!(inside, Some(trace));
        assert_eq!(TraceContext::current(), None);
        let child = trace.child();
        assert!(child.trace_id() == trace.trace_id() && child.span_id() != trace.span_id());
    }
}
