//! What the HTTP API is started with.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use subtle::ConstantTimeEq;

/// The options of the HTTP API.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "HTTP API")]
pub(crate) struct HttpArgs {
    /// Serve queues, streams and channels as an HTTP API too. Beyond loopback a token is required.
    #[arg(long, value_name = "ADDR")]
    pub(super) http: Option<SocketAddr>,
    /// Token that HTTP clients must give, as `Authorization: Bearer SECRET`.
    #[arg(long, value_name = "SECRET", env = "CAUCE_HTTP_TOKEN", hide_env_values = true)]
    pub(super) http_token: Option<Token>,
    /// Most bytes of a request's body.
    #[arg(long, value_name = "BYTES", default_value_t = 4 * 1024 * 1024)]
    pub(super) http_body_max: usize,
    /// Most connections at a time; further ones wait until one is free.
    #[arg(long, value_name = "N", default_value = "1024")]
    pub(super) http_connections_max: NonZeroUsize,
    /// Most clients that follow streams and channels at a time; further ones are refused.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(super) http_followers_max: usize,
    /// How long a request may take to arrive, and a client to take what it is sent.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) http_timeout: Duration,
    /// How often clients that follow are told that the connection lives.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub(super) http_heartbeat: Duration,
}

/// A secret that clients must give. It is never shown.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    /// Whether a client gave this token; how long the answer takes tells nothing but the token's length.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

/// A token that can't be one.
#[derive(Debug, thiserror::Error)]
#[error(
    "a token needs at least one character, and only visible ASCII characters can be sent in a header; `openssl rand -hex 32` makes a good one"
)]
pub(super) struct TokenError;

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(text.to_owned())),
            false => Err(TokenError),
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(...)")
    }
}

/// Options that do not go together.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArgsError {
    #[error(
        "refusing to serve HTTP on {0} without a token: everyone who reaches that address could read and change all data; set one with --http-token or CAUCE_HTTP_TOKEN, or use 127.0.0.1"
    )]
    Unprotected(IpAddr),
    #[error(
        "refusing to serve HTTP without a token beside a password: everyone on this machine could go around --requirepass; set a token with --http-token or CAUCE_HTTP_TOKEN"
    )]
    AroundPassword,
    #[error(
        "--http-followers-max {followers} must be less than --http-connections-max {connections}: followers keep their connections, and nobody else would be served"
    )]
    NoRoom { followers: usize, connections: usize },
}

impl HttpArgs {
    /// The address to serve, if there is one and all is safe.
    ///
    /// # Errors
    /// [`ArgsError`]
    pub(super) fn address(&self, has_password: bool) -> Result<Option<SocketAddr>, ArgsError> {
        let Some(address) = self.http else { return Ok(None) };
        let (followers, connections) = (self.http_followers_max, self.http_connections_max.get());
        match self.http_token {
            None if !address.ip().is_loopback() => Err(ArgsError::Unprotected(address.ip())),
            None if has_password => Err(ArgsError::AroundPassword),
            _ if followers >= connections => Err(ArgsError::NoRoom { followers, connections }),
            _ => Ok(Some(address)),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("a number of seconds from 0.001 to 86400")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_a_header_is_a_token() {
        for wrong in ["", "two words", "täg", "line\n"] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong:?}");
        }
        let token: Token = "s3cret".parse().unwrap();
        assert!(token.is(b"s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(...)");
    }
}
