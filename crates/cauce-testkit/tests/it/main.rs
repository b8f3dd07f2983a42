//! The contract suite on every target, and what proves the tools themselves.

mod categories;
mod command_info;
mod differential;
mod held;
mod protocols;
mod replay;
#[cfg(feature = "seeded-faults")]
mod seeded_faults;
mod tidy;
mod transcripts;
