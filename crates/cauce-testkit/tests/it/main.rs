//! The contract suite on every target, and what proves the tools themselves.

mod differential;
mod tidy;
mod transcripts;
