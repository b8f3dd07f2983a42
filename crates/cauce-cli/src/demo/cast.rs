//! Who takes part, and with which faults.

use std::path::Path;

use super::Fault;
use super::desks::Role;

/// The instances that are killed: one of a consumer group, and one of a queue's workers.
pub(super) const VICTIMS: [&str; 2] = ["delay-2", "tickets-2"];

/// How many lines or events a faulty part gets right first.
const FAULT_AFTER: u64 = 20;

/// One process of the demo.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// What it does.
    pub(super) role: Role,
    /// Its name.
    pub(super) instance: String,
    skip_at: Option<u64>,
    drop_line: Option<u64>,
}

/// What every member is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    /// The broker's URL.
    pub(super) url: &'a str,
    /// Where the ledgers are.
    pub(super) ledgers: &'a Path,
    /// Flights of this file in place of the blizzard's.
    pub(super) year: Option<&'a Path>,
    /// Length of the replay; `None`: as fast as it goes.
    pub(super) seconds: Option<f64>,
}

/// Everybody but the operations desk, which comes in when all are ready.
pub(super) fn audience(fault: Option<Fault>) -> Vec<Member> {
    let parts = [
        (Role::DeadLetters, "dead-letters", 1),
        (Role::Display, "display", 3),
        (Role::Statistics, "statistics", 1),
        (Role::Delay, "delay", 3),
        (Role::Tickets, "tickets", 2),
        (Role::Rebooking, "rebooking", 2),
    ];
    let mut members = Vec::new();
    for (role, name, instances) in parts {
        members.extend((1..=instances).map(|number| Member::new(role, format!("{name}-{number}"))));
    }
    for member in &mut members {
        match (fault, member.instance.as_str()) {
            (Some(Fault::AckWithoutHandling), "delay-1") => member.skip_at = Some(FAULT_AFTER),
            (Some(Fault::DropHandled), "statistics-1") | (Some(Fault::DropSeen), "display-1") => {
                member.drop_line = Some(FAULT_AFTER);
            }
            _ => {}
        }
    }
    members
}

/// The operations desk.
pub(super) fn operations(fault: Option<Fault>) -> Member {
    let mut member = Member::new(Role::Operations, "operations-1".to_owned());
    member.drop_line = (fault == Some(Fault::DropPublished)).then_some(FAULT_AFTER);
    member
}

impl Member {
    fn new(role: Role, instance: String) -> Self {
        Self { role, instance, skip_at: None, drop_line: None }
    }

    /// What its process is called with.
    pub(super) fn arguments(&self, setting: &Setting<'_>) -> Vec<String> {
        let role = clap::ValueEnum::to_possible_value(&self.role);
        let role = role.map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut arguments = vec![
            format!("--role={role}"),
            format!("--instance={}", self.instance),
            format!("--url={}", setting.url),
            format!("--ledgers={}", setting.ledgers.display()),
        ];
        arguments.extend(setting.year.map(|path| format!("--year={}", path.display())));
        arguments.extend(setting.seconds.map(|seconds| format!("--seconds={seconds}")));
        let numbers = [("skip-at", self.skip_at), ("drop-line", self.drop_line)];
        arguments
            .extend(numbers.iter().filter_map(|(name, number)| Some(format!("--{name}={}", (*number)?))));
        arguments
    }
}
