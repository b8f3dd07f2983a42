//! The toolkit against a real redis-server, which each test starts for itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridges;
mod channels;
mod chaos;
mod choosing;
mod cluster;
mod dead_letters;
mod delayed;
mod effects;
mod effects_matrix;
mod failures;
mod faults;
mod files;
mod foreign;
mod guarantees;
mod holder;
mod idempotent;
mod inspection;
mod leases;
mod lifecycle;
mod lookups;
#[cfg(feature = "embedded")]
mod matrix;
mod members;
mod metrics;
mod middleware;
mod misuse;
mod order;
mod outages;
mod partitions;
mod proxy;
mod publish;
mod queue_cluster;
mod queue_commands;
mod queue_waits;
mod queue_workers;
mod queues;
mod requests;
mod retries;
mod server;
mod services;
mod streams;
mod striking;
mod support;
mod targets;
mod telemetry;
mod tls;
mod traps;
