//! The contract suite on every target, and what proves the tools themselves.

mod categories;
mod differential;
mod held;
mod replay;
mod tidy;
mod transcripts;
