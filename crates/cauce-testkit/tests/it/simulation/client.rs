//! One connection of a simulated client.

use cauce_broker::Broker;
use cauce_testkit::wire::{Value, decode, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// An in-process connection; what is asked may never be answered.
pub(super) struct Client {
    pipe: DuplexStream,
    received: Vec<u8>,
}

/// The connection has ended, without the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Client {
    pub(super) fn new(broker: &Broker) -> Self {
        Self { pipe: broker.connect(), received: Vec::new() }
    }

    /// Sends one command and waits for its reply.
    pub(super) async fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, Gone> {
        self.send(args).await?;
        self.receive().await
    }

    /// Sends a command; its words are separated by spaces.
    pub(super) async fn ask(&mut self, command: &str) -> Result<Value, Gone> {
        self.call(&command.split(' ').collect::<Vec<_>>()).await
    }

    pub(super) async fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(), Gone> {
        let mut bytes = Vec::new();
        encode(args, &mut bytes);
        self.pipe.write_all(&bytes).await.map_err(|_| Gone)
    }

    pub(super) async fn receive(&mut self) -> Result<Value, Gone> {
        loop {
            if let Some((value, len)) = decode(&self.received).expect("the broker speaks RESP") {
                self.received.drain(..len);
                return Ok(value);
            }
            match self.pipe.read_buf(&mut self.received).await {
                Ok(0) | Err(_) => return Err(Gone),
                Ok(_) => {}
            }
        }
    }
}
