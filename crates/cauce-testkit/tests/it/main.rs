//! The contract suite on every target, and what proves the tools themselves.

mod categories;
mod command_info;
mod differential;
mod held;
mod kills;
mod protocols;
mod queue_commands;
mod replay;
#[cfg(feature = "seeded-faults")]
mod seeded_faults;
mod simulation;
mod tidy;
mod transcripts;
mod tried;
