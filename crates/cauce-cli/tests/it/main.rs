//! The binary `cauce`, called as its users call it.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod bench;
mod demo;
mod durable;
mod hostile;
mod http;
mod serve;
mod sharing;
mod tools;
