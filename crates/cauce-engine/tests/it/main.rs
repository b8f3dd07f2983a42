//! The engine through its public interface: commands in, exact bytes out.
//!
//! - `support`: the one helper that calls the engine
//! - `connection`: HELLO, AUTH, SELECT, RESET, CLIENT
//! - `keys`: strings, expiry, SCAN, RENAME
//! - `pubsub`: channels, patterns, shard channels, keyspace events
//! - `replay`: records rebuild the state
//! - `streams`: streams, consumer groups, blocking reads
//! - `streams_replay`: the same for random commands on streams
//! - `table`: every row of the command table
//! - `transactions`: MULTI, EXEC, WATCH

mod connection;
mod keys;
mod pubsub;
mod replay;
mod streams;
mod streams_replay;
mod support;
mod table;
mod transactions;
