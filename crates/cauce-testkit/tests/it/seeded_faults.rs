//! The differential tester finds faults that were put into the broker on purpose, and cuts them down.

use cauce_broker::Config;
use cauce_engine::Fault;
use cauce_testkit::differential::{self, Finding, Options};
use cauce_testkit::targets::Target;

/// Commands within which each fault must show itself.
const COMMANDS: usize = 30_000;

fn find(fault: Fault) -> Option<Finding> {
    let oracle = Target::redis_server().expect("redis-server starts");
    // A later server differs in other ways.
    let oracle = oracle.filter(|oracle| !oracle.features().semantics_7_2)?;
    let mut config = Config::default();
    config.settings.fault = fault;
    let ours = Target::embedded_with(config).expect("it starts");
    let options = Options { commands: COMMANDS, seed: 31, keep_going: false };
    let report = differential::run(&ours, &oracle, options).expect("both answer");
    println!("{fault:?}, after {} commands:", report.commands);
    let finding = report.findings.into_iter().next().unwrap_or_else(|| panic!("{fault:?} was not found"));
    println!("{finding}");
    assert!(finding.steps.len() <= 12, "it is not cut down:\n{finding}");
    Some(finding)
}

#[test]
fn a_lag_that_is_off_by_one_is_found() {
    let Some(finding) = find(Fault::Lag) else { return };
    assert!(finding.command.starts_with("XINFO"), "{finding}");
}

#[test]
fn a_pending_entry_that_is_not_counted_is_found() {
    let Some(finding) = find(Fault::PendingCount) else { return };
    assert_eq!(finding.command, "XPENDING", "{finding}");
}

#[test]
fn waiters_served_in_the_wrong_order_are_found() {
    let Some(finding) = find(Fault::WakeOrder) else { return };
    let waits = finding
        .steps
        .iter()
        .filter(|step| step.to_string().contains("BLOCK") || step.to_string().contains(" BZ"));
    assert!(waits.count() >= 2, "{finding}");
}
