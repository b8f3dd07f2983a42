//! The differential tester: that it is sound, that its list of accepted differences is true, and a run of it.

use std::collections::BTreeSet;

use cauce_testkit::differential::differences::{DIFFERENCES, DOCUMENT};
use cauce_testkit::differential::{self, Options, Step};
use cauce_testkit::targets::Target;

/// Enough for every row of the table to run; a longer run is a command (see CONTRIBUTING.md).
const COMMANDS: usize = 20_000;

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
    let report =
        differential::run(&one, &other, Options { commands: COMMANDS / 4, seed: 77, keep_going: false })
            .unwrap();
    assert!(report.findings.is_empty() && report.accepted.is_empty(), "{report}");
}

#[test]
fn the_broker_differs_from_redis_server_only_where_it_is_documented() {
    let (Some(oracle), ours) = (oracle(), Target::embedded().unwrap()) else { return };
    let options = Options { commands: COMMANDS, seed: 20_130_208, keep_going: false };
    let report = differential::run(&ours, &oracle, options).unwrap();
    assert!(report.findings.is_empty(), "{report}");
    let shortfalls = report.shortfalls(0);
    assert!(shortfalls.is_empty(), "{report}\n{}", shortfalls.join("\n"));
}

#[test]
fn every_command_of_both_has_a_row_or_a_reason() {
    let (Some(oracle), ours) = (oracle(), Target::embedded().unwrap()) else { return };
    let missing = differential::without_row(&ours, &oracle).unwrap();
    assert!(missing.is_empty(), "see src/differential/table: {missing:?}");
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

/// A reader that is woken in another way was taken for a difference of its own when the same pipeline asked what it had.
#[test]
fn what_comes_later_in_a_pipeline_is_part_of_the_difference() {
    let (Some(oracle), ours) = (oracle(), Target::embedded().unwrap()) else { return };
    let mut steps: Vec<Step> =
        [(0, "XGROUP CREATE a g 0 MKSTREAM"), (3, "XREADGROUP GROUP g bob BLOCK 0 STREAMS a >")]
            .map(|(client, command)| Step::plain(client, command))
            .into();
    let pipeline = ["XADD a MINID 8-3 2-1 f v", "XADD a 2-2 g v", "XAUTOCLAIM a g bob 0 2-1"];
    let commands = pipeline.iter().flat_map(|command| Step::plain(1, command).commands).collect();
    steps.push(Step { client: 1, commands });
    let accepted =
        differential::accepted(&ours, &oracle, &steps).unwrap_or_else(|finding| panic!("{finding}"));
    assert_eq!(accepted, BTreeSet::from(["runs-again-whole"]));
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
    let report =
        differential::run(&ours, &oracle, Options { commands: 50_000, seed: 5, keep_going: false }).unwrap();
    let finding = report
        .findings
        .first()
        .expect("nodes of two entries make MAXLEN ~ remove more than nodes of a hundred");
    assert!(finding.steps.len() < 12, "{finding}");
}

fn oracle_with_small_listpacks() -> Target {
    let target = oracle().expect("it was there before");
    let mut observer = target.observe().expect("it answers");
    observer.call(&["CONFIG", "SET", "stream-node-max-entries", "2"]).expect("it answers");
    target
}
