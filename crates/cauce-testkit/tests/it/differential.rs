//! The differential tester: that it is sound, that its list of accepted differences is true, and a run of it.

use std::collections::BTreeSet;

use cauce_testkit::differential::differences::{DIFFERENCES, DOCUMENT};
use cauce_testkit::differential::{self, Options, Step, table::ROWS};
use cauce_testkit::targets::Target;

/// Enough for every row of the table to run; a longer run is a command (see CONTRIBUTING.md).
const STEPS: usize = 6_000;

fn oracle() -> Option<Target> {
    let oracle = Target::redis_server().expect("redis-server starts");
    if oracle.is_none() {
        eprintln!("skipped: redis-server is not installed");
    }
    // A later server differs in other ways.
    oracle.filter(|oracle| !oracle.features().semantics_7_2)
}

#[test]
fn two_servers_of_one_kind_do_not_differ() {
    let (Some(one), Some(other)) = (oracle(), oracle()) else { return };
    let report = differential::run(&one, &other, Options { steps: STEPS / 3, seed: 77 }).unwrap();
    assert!(report.finding.is_none() && report.accepted.is_empty(), "{report}");
}

#[test]
fn the_broker_differs_from_redis_server_only_where_it_is_documented() {
    let (Some(oracle), ours) = (oracle(), Target::embedded().unwrap()) else { return };
    let report = differential::run(&ours, &oracle, Options { steps: STEPS, seed: 20_130_208 }).unwrap();
    assert!(report.finding.is_none(), "{report}");
    for row in ROWS {
        let name: Vec<&str> = row
            .syntax
            .split(' ')
            .take_while(|word| word.chars().all(|char| char.is_ascii_uppercase()))
            .collect();
        let tally = report.coverage.get(&name.join(" ")).copied().unwrap_or_default();
        assert!(tally.succeeded > 0, "{} never ran without error:\n{report}", row.syntax);
    }
}

#[test]
fn every_accepted_difference_shows_itself() {
    let (Some(oracle), ours) = (oracle(), Target::embedded().unwrap()) else { return };
    for difference in DIFFERENCES {
        let steps: Vec<Step> =
            difference.witness.iter().map(|(client, command)| Step::plain(*client, command)).collect();
        let accepted =
            differential::accepted(&ours, &oracle, &steps).unwrap_or_else(|finding| panic!("{finding}"));
        assert!(accepted.contains(difference.key), "{} has lost its reason: {accepted:?}", difference.key);
    }
}

#[test]
fn the_document_and_the_tester_list_the_same_differences() {
    let documented: BTreeSet<&str> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key))
        .collect();
    let known: BTreeSet<&str> = DIFFERENCES.iter().map(|difference| difference.key).collect();
    assert_eq!(documented, known);
}

#[test]
fn a_difference_that_is_not_accepted_is_found_and_cut_down() {
    let Some(oracle) = oracle() else { return };
    let ours = oracle_with_small_listpacks();
    let report = differential::run(&ours, &oracle, Options { steps: 50_000, seed: 5 }).unwrap();
    let finding =
        report.finding.expect("nodes of two entries make MAXLEN ~ remove more than nodes of a hundred");
    assert!(finding.steps.len() < 12, "{finding}");
}

fn oracle_with_small_listpacks() -> Target {
    let target = oracle().expect("it was there before");
    let mut observer = target.observe().expect("it answers");
    observer.call(&["CONFIG", "SET", "stream-node-max-entries", "2"]).expect("it answers");
    target
}
