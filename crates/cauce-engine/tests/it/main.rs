//! The engine through its public interface: commands in, exact bytes out.
//!
//! - `support`: the one helper that calls the engine
//! - `collections_replay`: records of hashes, sets and sorted sets rebuild them
//! - `connection`: HELLO, AUTH, SELECT, RESET, CLIENT
//! - `encodings`: what OBJECT tells of a value, and MEMORY USAGE
//! - `hashes`: hashes
//! - `keys`: strings, expiry, SCAN, RENAME
//! - `pubsub`: channels, patterns, shard channels, keyspace events
//! - `replay`: records rebuild the state
//! - `scripts`: EVAL, EVALSHA, SCRIPT
//! - `sets`: sets, alone and combined
//! - `sorted_sets`: sorted sets and waiting for them
//! - `streams`: streams, consumer groups, blocking reads
//! - `streams_on_disk`: blocks that are on disk only
//! - `streams_replay`: the same for random commands on streams
//! - `table`: every row of the command table
//! - `transactions`: MULTI, EXEC, WATCH

mod collections_replay;
mod connection;
mod encodings;
mod hashes;
mod keys;
mod pubsub;
mod queues;
mod replay;
mod scripts;
mod scripts_fuzz;
mod sets;
mod sorted_sets;
mod streams;
mod streams8;
mod streams_on_disk;
mod streams_replay;
mod support;
mod table;
mod transactions;
mod users;
