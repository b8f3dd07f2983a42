//! What can go wrong on the way into the outbox.

/// An event that was not written to the outbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The event can't be written down.
    #[error(transparent)]
    Envelope(#[from] cauce::EnvelopeError),
    /// The outbox keeps text, and a field of the event is none.
    #[error("the event can't be kept as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The database refused. The transaction may have to be rolled back.
    #[error("the outbox can't be written: {0}")]
    Sql(#[from] sqlx::Error),
}
