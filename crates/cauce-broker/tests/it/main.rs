//! The broker through its connections.
//!
//! - `support`: a pipe that compares what it reads
//! - `durable`: on a disk, also one that fails
//! - `history`: streams on disk
//! - `held`: nothing leaves before the log position it waits for, and order is kept
//! - `limits`: what a connection may cost
//! - `listeners`: TCP and Unix sockets
//! - `scripts`: scripts that do not end
//! - `sessions`: pipelining, blocking, leaving

mod durable;
mod held;
mod history;
mod limits;
mod listeners;
mod scripts;
mod sessions;
mod support;
