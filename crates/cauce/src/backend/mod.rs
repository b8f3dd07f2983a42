//! The only module that knows the client crate: addresses, connections, commands, replies.

pub(crate) mod address;
pub(crate) mod backoff;
pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod link;
pub(crate) mod replies;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod wire;

mod dial;
#[cfg(feature = "embedded")]
mod directory;
#[cfg(feature = "embedded")]
pub(crate) mod embedded;
#[cfg(feature = "testing")]
pub(crate) mod faulty;
mod mux;
