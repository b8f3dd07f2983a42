//! No command without a test: each row of the table is drawn by the differential tester, or sent by a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cauce_testkit::differential::table;
use cauce_testkit::targets::Target;
use cauce_testkit::wire::Value;

#[test]
fn every_command_of_the_table_is_tried() {
    let target = Target::embedded().expect("it starts");
    let list = target.observe().and_then(|mut it| it.call(&["COMMAND", "LIST"])).expect("it answers");
    let names: BTreeSet<String> =
        list.elements().expect("a list").iter().filter_map(Value::text).map(|it| it.to_uppercase()).collect();
    assert!(names.len() > 200, "{}", names.len());
    let drawn: BTreeSet<String> =
        table::rows().map(|row| row.name().to_uppercase().replace(' ', "|")).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates");
    let mut sent = String::new();
    collect(root, &mut sent);
    let is_container = |name: &String| names.iter().any(|other| other.starts_with(&format!("{name}|")));
    let untried: Vec<&String> = names
        .iter()
        .filter(|name| !drawn.contains(*name) && !is_container(name) && !is_sent(name, &sent))
        .collect();
    assert!(untried.is_empty(), "no test sends {untried:?}");
    assert!(!is_sent("NOSUCHCOMMAND", &sent) && !is_sent("CLIENT|NEVERTHERE", &sent));
}

/// Adds the transcripts and the tests of all crates, in capitals.
fn collect(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, into);
            continue;
        }
        let of_tests =
            path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "transcripts")));
        let is_text = path.extension().is_some_and(|it| it == "rs" || it == "txt");
        // Not this file, which names commands that there are not.
        if of_tests && is_text && !path.ends_with(file!().rsplit('/').next().unwrap_or_default()) {
            into.push_str(&fs::read_to_string(&path).expect("text").to_uppercase());
        }
    }
}

/// Whether a request with this name is written down: in a transcript, as one string, or word by word.
fn is_sent(name: &str, tests: &str) -> bool {
    let words = name.replace('|', " ");
    let apart = name.replace('|', "\", \"");
    let apart_bytes = name.replace('|', "\", B\"");
    [
        format!("> {words}\n"),
        format!("> {words} "),
        format!("\"{words}\""),
        format!("\"{words} "),
        format!("\"{apart}\""),
        format!("\"{apart_bytes}\""),
    ]
    .iter()
    .any(|way| tests.contains(way))
}
