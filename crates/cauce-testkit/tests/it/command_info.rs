//! COMMAND says of every command what Redis says of it.

use std::collections::{BTreeMap, BTreeSet};

use cauce_testkit::targets::Target;
use cauce_testkit::wire::{Connection, Value};

/// What 7.2 says otherwise than 7.0, and why.
const SINCE_7_2: [(&str, &str, &str); 5] = [
    ("bzpopmax", "flags", "scripts may call it, and never wait in it"),
    ("bzpopmin", "flags", "scripts may call it, and never wait in it"),
    ("command|getkeys", "arity", "the command may have no arguments"),
    ("zrank", "arity", "it takes WITHSCORE"),
    ("zrevrank", "arity", "it takes WITHSCORE"),
];

/// The elements of a command's row that are compared, in their order behind the name.
const ASPECTS: [&str; 6] = ["arity", "flags", "first key", "last key", "step", "categories"];

/// Each command and subcommand with its aspects.
type Commands = BTreeMap<String, Vec<Value>>;

#[test]
fn every_command_is_described_as_in_redis() {
    let Some(redis) = Target::redis_server().expect("it starts") else {
        eprintln!("skipped: redis-server is not installed");
        return;
    };
    let is_7_2 = redis.features().semantics_7_2;
    let (theirs, ours) = (commands(&redis), commands(&Target::embedded().expect("it starts")));
    let mut compared = 0;
    let mut different: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (name, ours) in &ours {
        let Some(theirs) = theirs.get(name) else { continue };
        compared += 1;
        for (index, aspect) in ASPECTS.into_iter().enumerate() {
            let (ours, theirs) = (sorted(&ours[index]), sorted(&theirs[index]));
            let known = SINCE_7_2.iter().any(|(known, what, _)| (*known, *what) == (name, aspect));
            if ours != theirs {
                assert!(known && !is_7_2, "{aspect} of {name}: ours {ours}, Redis {theirs}");
                different.insert((name, aspect));
            }
        }
    }
    assert!(compared > 150, "{compared}");
    let listed = SINCE_7_2.iter().map(|(name, aspect, _)| (*name, *aspect)).collect();
    assert!(is_7_2 || different == listed, "only {different:?} differ");
}

fn commands(target: &Target) -> Commands {
    let mut connection = Connection::open(target.address()).expect("it listens");
    let all = connection.call(&["COMMAND"]).expect("it answers");
    let mut commands = Commands::new();
    add(&all, &mut commands);
    commands
}

/// Adds rows and those of their subcommands.
fn add(rows: &Value, to: &mut Commands) {
    for row in rows.elements().expect("a list") {
        let row = row.elements().expect("a row");
        let name = row[0].text().expect("a name");
        to.insert(name, row[1..=ASPECTS.len()].to_vec());
        add(row.last().expect("subcommands end a row"), to);
    }
}

/// Flags and categories have no order.
fn sorted(value: &Value) -> Value {
    match value.elements() {
        Some(elements) => {
            let mut elements = elements.to_vec();
            elements.sort();
            Value::Array(elements)
        }
        None => value.clone(),
    }
}
