//! How often something is said, and what is known of it in the end.

use std::time::Duration;

use tokio::time::Instant;

use super::PATIENCE_MAX;
use crate::backend::backoff::Backoff;
use crate::error::CommandError;

/// Attempts to say something, until it is answered or the patience is at its end. What may have been carried out stays unknown, however later attempts
/// end, unless one is answered.
pub(crate) struct Attempts {
    end: Instant,
    backoff: Backoff,
    unknown: Option<CommandError>,
}

impl Attempts {
    pub(crate) fn new(patience: Duration) -> Self {
        let end = Instant::now() + patience.min(PATIENCE_MAX);
        Self { end, backoff: Backoff::new(), unknown: None }
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// It is not known whether it was carried out.
    pub(super) fn lost(&mut self, error: CommandError) {
        self.unknown = Some(error);
    }

    /// It was certainly not carried out.
    pub(super) fn settled(&mut self) {
        self.unknown = None;
    }

    /// The error that goes with the end of the patience.
    pub(super) fn tired(&self) -> CommandError {
        self.unknown.clone().unwrap_or(CommandError::Unexpected { command: "XADD" })
    }

    /// The outcome, if that was the last attempt; else waits until the next is due.
    pub(crate) async fn ended<T>(
        &mut self,
        said: Result<T, CommandError>,
    ) -> Option<Result<T, CommandError>> {
        let error = match said {
            Ok(reply) => return Some(Ok(reply)),
            Err(error) => error,
        };
        if matches!(error, CommandError::OutcomeUnknown { .. }) {
            tracing::debug!(%error, "the reply was lost; it is said again");
            self.unknown = Some(error.clone());
        }
        // What surely was not carried out is the caller's to try again, but for a broker that is not ready yet.
        let soon = self.unknown.is_some()
            || matches!(&error, CommandError::Refused { code, .. } if matches!(code.as_str(), "LOADING" | "BUSY" | "TRYAGAIN" | "MASTERDOWN"));
        if !soon || !error.is_transient() || Instant::now() >= self.end {
            return Some(Err(self.unknown.take().unwrap_or(error)));
        }
        self.backoff.wait().await;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown() -> CommandError {
        CommandError::OutcomeUnknown { url: String::new(), problem: "cut".to_owned() }
    }

    fn refused(code: &str) -> CommandError {
        CommandError::Refused { code: code.to_owned(), message: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_unknown_stays_unknown_until_it_is_answered() {
        let outcome = async |errors: Vec<CommandError>| {
            let mut attempts = Attempts::new(Duration::from_secs(30));
            for error in errors {
                if let Some(outcome) = attempts.ended(Err(error)).await {
                    return outcome;
                }
            }
            attempts.ended(Ok(())).await.unwrap()
        };
        assert!(outcome(vec![unknown(), refused("LOADING"), unknown()]).await.is_ok());
        assert!(outcome(vec![refused("LOADING")]).await.is_ok());
        assert!(outcome(vec![refused("OOM")]).await.unwrap_err().is_refused("OOM"));
        let after = outcome(vec![unknown(), refused("WRONGTYPE")]).await.unwrap_err();
        assert!(matches!(after, CommandError::OutcomeUnknown { .. }), "{after}");
        let begun = Instant::now();
        let tired = outcome((0..1_000).map(|_| unknown()).collect()).await.unwrap_err();
        assert!(matches!(tired, CommandError::OutcomeUnknown { .. }), "{tired}");
        assert!(begun.elapsed() < Duration::from_secs(40));
    }
}
