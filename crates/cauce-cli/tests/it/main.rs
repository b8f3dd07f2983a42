//! The binary `cauce`, called as its users call it.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod backup;
mod bench;
mod demo;
mod disk_failures;
mod durable;
mod export;
mod hostile;
mod http;
mod log;
mod serve;
mod sharing;
mod syncs;
mod tools;
