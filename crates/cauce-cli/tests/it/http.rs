//! The HTTP API of `cauce serve`, over real sockets.

mod client;
mod docs;
mod follow;
mod limits;
mod queues;
mod routes;
mod safety;
