//! A connection for blocking reads: its replies are read where they arrived, with no value tree in between.
//!
//! The client crate's parser costs more than everything else on the way of an entry to its handler; this path is the only one where
//! that matters. It speaks RESP2, and asks for one thing at a time.

use std::io;
use std::sync::Arc;

use redis::{Cmd, Value, cmd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::address::Address;
use super::connection::Endpoint;
use super::dial::ByteStream;
use super::replies::{REPLY_MAX, Reply, Scan, malformed};
use super::reply;
use super::request::Request;
use crate::error::{CommandError, ConnectError};

pub(crate) use super::replies::Replies;

/// Room that is made for the next part of a reply.
const READ_LENGTH: usize = 64 * 1024;

/// A connection that waits for one reply at a time.
pub(crate) struct Wire {
    stream: Box<dyn ByteStream>,
    buffer: Vec<u8>,
    address: Arc<Address>,
}

impl Wire {
    /// Opens it and logs in; says its id at the broker too.
    ///
    /// # Errors
    /// If nobody answers, or the broker refuses.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<(Self, i64), ConnectError> {
        let (wire, id, _) = endpoint.in_time(Self::open_unbounded(endpoint, Vec::new())).await?;
        Ok((wire, id))
    }

    /// As [`open`](Self::open), with what is to be known of a broker and a connection to it that commands are sent on.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) async fn open_known(endpoint: &Endpoint) -> Result<(Self, Introduction), ConnectError> {
        let (wire, _, mut replies) = endpoint.in_time(Self::open_unbounded(endpoint, introduction())).await?;
        Ok((wire, Introduction::read(&mut replies)))
    }

    /// The stream, on which the log-in is done and nothing under way.
    pub(super) fn into_stream(self) -> Box<dyn ByteStream> {
        self.stream
    }

    /// The replies to what is asked for beside the log-in follow.
    async fn open_unbounded(
        endpoint: &Endpoint,
        asked: Vec<Cmd>,
    ) -> Result<(Self, i64, Replies), ConnectError> {
        let address = Arc::clone(&endpoint.address);
        let unreachable = |source| ConnectError::Unreachable { url: endpoint.address.to_string(), source };
        let stream = endpoint.source.open(&address).await?;
        let mut wire = Self { stream, buffer: Vec::new(), address: Arc::clone(&address) };
        let commands = login(&address);
        let request: Vec<u8> = commands.iter().chain(&asked).flat_map(Cmd::get_packed_command).collect();
        let mut replies = wire
            .exchange(&request, commands.len() + asked.len())
            .await
            .map_err(|error| unreachable(io::Error::other(error)))?;
        let mut id = 0;
        for command in &commands {
            match replies.value() {
                Some(Reply::Integer(number)) => id = number,
                // Servers before 7.2 do not know it.
                Some(Reply::Error { .. }) if is_optional(command) => {}
                Some(Reply::Error { code, message }) => {
                    let message = format!("{code} {message}");
                    return Err(ConnectError::Refused { url: address.to_string(), message });
                }
                _ => {}
            }
        }
        Ok((wire, id, replies))
    }

    /// Sends a request and waits for that many replies. Not to be used again after it was dropped in between or failed.
    ///
    /// # Errors
    /// If the connection breaks, or what comes is not RESP.
    pub(crate) async fn exchange(&mut self, request: &[u8], replies: usize) -> Result<Replies, CommandError> {
        match self.exchange_bytes(request, replies).await {
            Ok(bytes) => Ok(Replies::whole(bytes)),
            Err(error) => Err(CommandError::OutcomeUnknown {
                url: self.address.to_string(),
                problem: error.to_string(),
            }),
        }
    }

    async fn exchange_bytes(&mut self, request: &[u8], replies: usize) -> io::Result<Vec<u8>> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut scan = Scan::new(0, replies);
        loop {
            if scan.advance(&self.buffer)? {
                let rest = self.buffer.split_off(scan.at());
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            if self.buffer.len() > REPLY_MAX {
                return Err(malformed());
            }
            self.buffer.reserve(READ_LENGTH);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the broker closed the connection"));
            }
        }
    }
}

/// A connection, as the broker knows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Which life of which server: another one after a restart, and after a failover.
    pub(crate) server: String,
    /// Never given twice in one life of a server.
    id: String,
    /// Tells it from a connection of the same id at another server.
    address: String,
}

/// What a broker says of itself and of a connection.
#[derive(Debug)]
pub(super) struct Introduction {
    /// By which the connection can be closed later, from another one; `None` where the broker forbids that or does not know how.
    pub(super) identity: Option<Identity>,
    /// The broker has commands for queues.
    pub(super) has_queues: bool,
}

impl Introduction {
    /// The replies to [`introduction`].
    fn read(replies: &mut Replies) -> Self {
        let [about, server, closing, queues] = [(); 4].map(|()| replies.tree().ok());
        Self {
            identity: Identity::read(about, server, closing),
            has_queues: queues.is_some_and(reply::has_command),
        }
    }
}

impl Identity {
    fn read(about: Option<Value>, server: Option<Value>, closing: Option<Value>) -> Option<Self> {
        let [about, server] = [about, server].map(|text| text.and_then(reply::text));
        let of = |text: &Option<String>, name: &str, separator: &[char]| {
            let mut parts = text.as_ref()?.split(separator);
            parts
                .find_map(|part| part.strip_prefix(name))
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        reply::integer(&closing?)?;
        Some(Self {
            server: of(&server, "run_id:", &['\r', '\n'])?,
            id: of(&about, "id=", &[' '])?,
            address: of(&about, "addr=", &[' '])?,
        })
    }

    /// Closes it from another connection: says how many were closed. What it had sent and the broker had not begun is not carried out any more.
    pub(crate) fn close(&self, request: &mut Request) {
        request.command(6).arg("CLIENT").arg("KILL").arg("ID").arg(&self.id).arg("ADDR").arg(&self.address);
    }
}

/// Who this connection is, which server that is, whether connections may be closed (one that can't exist), and whether there are commands for
/// queues.
fn introduction() -> Vec<Cmd> {
    let (mut about, mut server, mut close) = (cmd("CLIENT"), cmd("INFO"), cmd("CLIENT"));
    let mut queues = cmd("COMMAND");
    about.arg("INFO");
    server.arg("server");
    close.arg("KILL").arg("ID").arg(i64::MAX).arg("ADDR").arg("0.0.0.0:0");
    queues.arg("INFO").arg("RSMQ.SEND");
    vec![about, server, close, queues]
}

/// Who we are, and which connection this is.
fn login(address: &Address) -> Vec<Cmd> {
    let mut commands = Vec::new();
    if let Some(password) = &address.password {
        let mut auth = cmd("AUTH");
        if let Some(username) = &address.username {
            auth.arg(username);
        }
        auth.arg(password);
        commands.push(auth);
    }
    if address.database != 0 {
        let mut select = cmd("SELECT");
        select.arg(address.database);
        commands.push(select);
    }
    let mut id = cmd("CLIENT");
    id.arg("ID");
    commands.push(id);
    for (name, value) in [("LIB-NAME", "cauce"), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
        let mut info = cmd("CLIENT");
        info.arg("SETINFO").arg(name).arg(value);
        commands.push(info);
    }
    commands
}

fn is_optional(command: &Cmd) -> bool {
    command.args_iter().nth(1) == Some(redis::Arg::Simple(b"SETINFO"))
}
