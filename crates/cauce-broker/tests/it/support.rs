//! A connection whose answers are compared byte by byte.

use std::time::Duration;

use cauce_broker::Broker;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

/// Longer than anything takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client<Io = DuplexStream> {
    io: Io,
}

impl Client {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self { io: broker.connect() }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Client<Io> {
    pub(crate) fn over(io: Io) -> Self {
        Self { io }
    }

    /// Sends inline commands.
    pub(crate) async fn send(&mut self, lines: &str) {
        self.send_bytes(format!("{lines}\r\n").as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("the broker takes what it is sent");
    }

    /// Sends the same bytes again and again until the broker closes the connection.
    pub(crate) async fn send_until_closed(&mut self, bytes: &[u8]) {
        let sending = async { while self.io.write_all(bytes).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, sending).await.expect("the broker closes the connection");
    }

    /// Reads exactly `expected` (`|` stands for a line break).
    #[track_caller]
    pub(crate) fn expect<'a>(&'a mut self, expected: &'a str) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move { self.compare(expected, place).await }
    }

    /// Sends a command and compares its reply.
    #[track_caller]
    pub(crate) fn ask<'a>(
        &'a mut self,
        command: &'a str,
        expected: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let place = std::panic::Location::caller();
        async move {
            self.send(command).await;
            self.compare(expected, place).await;
        }
    }

    async fn compare(&mut self, expected: &str, place: &std::panic::Location<'_>) {
        let expected = expected.replace('|', "\r\n");
        let mut bytes = vec![0; expected.len()];
        let read = tokio::time::timeout(PATIENCE, self.io.read_exact(&mut bytes)).await;
        let bytes = match read {
            Ok(Ok(_)) => String::from_utf8_lossy(&bytes).into_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(bytes, expected, "at {place}");
    }

    /// Reads one line, without its end.
    pub(crate) async fn read_line(&mut self) -> String {
        self.try_read_line().await.expect("connected")
    }

    /// Reads one line, without its end; nothing if the connection ends.
    pub(crate) async fn try_read_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let byte = tokio::time::timeout(PATIENCE, self.io.read_u8()).await;
            line.push(byte.expect("in time").ok()?);
        }
        line.truncate(line.len() - 2);
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Lets everything run that can, and asserts that nothing came.
    /// Reads until what was read ends in `end` (line breaks as `|`), and gives all of it.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(end) {
            read += &self.read_line().await;
            read.push('|');
        }
        read
    }

    pub(crate) async fn expect_silence(&mut self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let mut byte = [0];
        let read = std::future::poll_fn(|cx| {
            let mut buffer = tokio::io::ReadBuf::new(&mut byte);
            let polled = std::pin::Pin::new(&mut self.io).poll_read(cx, &mut buffer);
            std::task::Poll::Ready(polled.is_pending())
        });
        assert!(read.await, "something came: {byte:?}");
    }

    /// Reads until the broker closes the connection.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.io.read_to_end(&mut bytes)).await;
        // A connection may also end with a reset.
        let _ended = read.expect("the broker closes the connection");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Lets other tasks run until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}
