//! How payloads become fields and back. The derive calls these; so may an [`Event`](crate::Event) written by hand.

pub mod flat;
pub mod json;

mod flat_value;
mod plain;
