//! What proves Cauce: the contract suite, its targets, the differential tester. Not published.

pub mod differential;
pub mod forgetful;
pub mod kills;
pub mod targets;
pub mod transcript;
pub mod wire;
