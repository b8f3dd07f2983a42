//! URLs of brokers.

use std::fmt;
use std::path::PathBuf;

use crate::error::ConnectError;

const DEFAULT_PORT: u16 = 6379;

/// Where a broker is, and as whom to log in.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
    /// Inside the process; a name makes it shared.
    Memory(Option<String>),
    /// In whichever process holds this directory, which may be this one.
    Directory(PathBuf),
}

impl Address {
    /// # Errors
    /// If the URL names no broker.
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(ConnectError::Scheme { scheme: url.to_owned() });
        };
        match scheme {
            "redis" | "valkey" => Self::network(scheme, rest, false),
            "rediss" | "valkeys" => Self::network(scheme, rest, true),
            "unix" | "redis+unix" | "valkey+unix" => Self::unix(scheme, rest),
            "memory" => {
                let name = rest.trim_start_matches("//");
                Ok(Self::anonymous(Place::Memory((!name.is_empty()).then(|| name.to_owned()))))
            }
            "file" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() {
                    let problem = "the directory is missing";
                    return Err(ConnectError::Url { url: url.to_owned(), problem });
                }
                Ok(Self::anonymous(Place::Directory(PathBuf::from(path))))
            }
            _ => Err(ConnectError::Scheme { scheme: scheme.to_owned() }),
        }
    }

    fn anonymous(place: Place) -> Self {
        Self { place, username: None, password: None, database: 0 }
    }

    /// `//[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `//:PASSWORD@...`.
    fn network(scheme: &str, rest: &str, tls: bool) -> Result<Self, ConnectError> {
        let wrong = |problem| ConnectError::Url { url: redacted(scheme, rest), problem };
        let rest = rest.strip_prefix("//").ok_or_else(|| wrong("write //HOST:PORT after the scheme"))?;
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (login, place) =
            rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        let port = match port {
            None | Some("") => DEFAULT_PORT,
            Some(text) => text.parse().map_err(|_| wrong("the port is not a number from 1 to 65535"))?,
        };
        let (username, password) = login.map_or((None, None), credentials);
        let database = match database {
            "" => 0,
            text => text.parse().map_err(|_| wrong("the database after the slash is not a number"))?,
        };
        Ok(Self { place: Place::Tcp { host: host.to_owned(), port, tls }, username, password, database })
    }

    /// `PATH[?db=N&user=U&pass=P]`, with or without `//` before the path.
    fn unix(scheme: &str, rest: &str) -> Result<Self, ConnectError> {
        let wrong = |problem| ConnectError::Url { url: redacted(scheme, rest), problem };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(wrong("the path of the socket is missing"));
        }
        let mut address = Self::anonymous(Place::Unix(PathBuf::from(path)));
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "db" => address.database = value.parse().map_err(|_| wrong("`db` is not a number"))?,
                "user" => address.username = Some(decoded(value)),
                "pass" => address.password = Some(decoded(value)),
                _ => return Err(wrong("after the path only db, user and pass can stand")),
            }
        }
        Ok(address)
    }
}

/// Without user name and password, as it may stand in logs.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port, tls } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{scheme}://{open}{host}{close}:{port}")?;
            }
            Place::Unix(path) => write!(f, "unix:{}", path.display())?,
            Place::Memory(name) => write!(f, "memory:{}", name.as_deref().unwrap_or_default())?,
            Place::Directory(path) => write!(f, "file:{}", path.display())?,
        }
        match (self.database, &self.place) {
            (0, _) | (_, Place::Memory(_) | Place::Directory(_)) => Ok(()),
            (database, Place::Unix(_)) => write!(f, "?db={database}"),
            (database, Place::Tcp { .. }) => write!(f, "/{database}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

fn credentials(login: &str) -> (Option<String>, Option<String>) {
    let (username, password) = login.split_once(':').map_or((login, None), |(user, pass)| (user, Some(pass)));
    let some = |text: &str| (!text.is_empty()).then(|| decoded(text));
    (some(username), password.and_then(some))
}

fn redacted(scheme: &str, rest: &str) -> String {
    let rest = rest.split('?').next().unwrap_or_default();
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://...@{place}"),
        None => format!("{scheme}:{rest}"),
    }
}

/// Percent-decoding; what is not a valid escape stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, shown: &str, username: Option<&str>, password: Option<&str>) {
        let address = Address::parse(url).unwrap();
        assert_eq!(address.to_string(), shown, "{url}");
        assert_eq!(address.username.as_deref(), username, "{url}");
        assert_eq!(address.password.as_deref(), password, "{url}");
    }

    #[test]
    fn urls_name_brokers() {
        check("redis://localhost", "redis://localhost:6379", None, None);
        check("redis://:s%40crt@10.0.0.1:7000/3", "redis://10.0.0.1:7000/3", None, Some("s@crt"));
        check("rediss://me:pw@host:1", "rediss://host:1", Some("me"), Some("pw"));
        check("redis://[::1]:6380", "redis://[::1]:6380", None, None);
        check("unix:/run/redis.sock", "unix:/run/redis.sock", None, None);
        check("unix:///run/redis.sock?db=2&pass=x", "unix:/run/redis.sock?db=2", None, Some("x"));
        check("memory:", "memory:", None, None);
        check("memory:shop", "memory:shop", None, None);
        check("file:./data", "file:./data", None, None);
        check("file:///var/lib/shop", "file:/var/lib/shop", None, None);
    }

    #[test]
    fn errors_say_what_to_write() {
        let check = |url: &str, expected: &str| {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("secret"), "{url}: {error}");
        };
        check("http://host", "`http` is not a scheme that Cauce knows: use redis://HOST:PORT");
        check("host", "`host` is not a scheme");
        check("redis:host", "write //HOST:PORT");
        check("redis://:secret@host:none", "the port is not a number");
        check("redis://:secret@host/none", "the database after the slash is not a number");
        check("redis://", "the host is missing");
        check("unix:", "the path of the socket is missing");
        check("file:", "the directory is missing");
    }
}
