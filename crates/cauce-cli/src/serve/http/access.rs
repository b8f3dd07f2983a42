//! Who may ask: those who know the token or, without one, programs on this machine that are not web pages.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::args::Token;
use super::problem::Problem;

/// Answered without a token: probes have none.
const PUBLIC: &str = "/health";

/// Lets a request through, or answers it.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let allowed = match &app.settings().http_token {
        Some(_) if request.uri().path() == PUBLIC => Ok(()),
        Some(token) => with_token(token, request.headers()),
        None => without_token(request.uri(), request.headers()),
    };
    match allowed {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn with_token(token: &Token, headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail| Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail));
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return refused("this server wants a token: send `Authorization: Bearer TOKEN`");
    };
    let given = given.as_bytes();
    match given.split_at_checked("Bearer ".len()) {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(given) => Ok(()),
        _ => refused(
            "this is not the token of this server: it was started with --http-token or CAUCE_HTTP_TOKEN",
        ),
    }
}

/// Only loopback is served without a token, but a browser on this machine runs pages of strangers. A page can reach a server here under a
/// name of its own that it lets point to 127.0.0.1 (DNS rebinding), and can send simple requests across origins without asking. So the
/// request must name this machine, and must not come from a page of another origin.
fn without_token(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |code, detail| Err(Problem::new(StatusCode::FORBIDDEN, code, detail));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_here(host) || uri.authority().is_some_and(|authority| !is_here(authority.as_str())) {
        return refused(
            "foreignHost",
            "without a token only requests to localhost, 127.0.0.1 or [::1] are served: use such an address, or start the server with --http-token",
        );
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let is_own = origin.is_none_or(|origin| origin.strip_prefix("http://") == Some(host));
    let site = headers.get("sec-fetch-site").map_or(&b"none"[..], |site| site.as_bytes());
    if !is_own || !matches!(site, b"none" | b"same-origin") {
        return refused(
            "foreignOrigin",
            "without a token requests from pages of other origins are not served: start the server with --http-token",
        );
    }
    Ok(())
}

/// Whether `HOST[:PORT]` is a name that only this machine can have.
fn is_here(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let ip = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || ip.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_here() {
        for here in ["localhost", "LocalHost:80", "127.0.0.1", "127.9.9.9:8080", "[::1]:80", "[::1]"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:80",
            "[::2]",
        ] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
