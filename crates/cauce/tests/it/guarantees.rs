//! docs/guarantees.md names a test for what it says, and `traps.rs` one for each trap: each exists.

use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All source of the tests.
fn sources(directory: &Path) -> String {
    let mut all = String::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if !is_rust && !path.is_dir() {
            continue;
        }
        let text = if path.is_dir() { sources(&path) } else { std::fs::read_to_string(path).unwrap() };
        all.push_str(&text);
    }
    all
}

fn is_name(text: &str) -> bool {
    text.contains('_') && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

fn check(page: &str, names: &[&str]) {
    let mut all = sources(&Path::new(ROOT).join("tests"));
    all.push_str(&sources(&Path::new(ROOT).join("../cauce-sql/tests")));
    for test in names {
        // A function, or a cell of one of the fault matrices.
        let exists = all.contains(&format!("fn {test}(")) || all.contains(&format!(" as {test},"));
        assert!(
            exists || all.contains(&format!(" as {test};")) || all.contains(&format!("\n    {test}: ")),
            "{page} names `{test}`, which is no test"
        );
    }
}

#[test]
fn every_guarantee_names_a_test_that_exists() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("../../docs/guarantees.md")).unwrap();
    let named = page.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(name, _)| name);
    let tests: Vec<&str> = named.filter(|name| is_name(name)).collect();
    assert!(tests.len() > 30, "{tests:?}");
    check("docs/guarantees.md", &tests);
}

/// A sentence about services without the name of a test fails here, but for what is said to be no guarantee.
#[test]
fn every_sentence_about_services_names_a_test() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("../../docs/guarantees.md")).unwrap();
    let (_, services) = page.split_once("## Services").unwrap();
    let mut items: Vec<String> = Vec::new();
    for line in services.lines() {
        match line.strip_prefix("- ") {
            Some(item) => items.push(item.to_owned()),
            None if line.starts_with("  ") => items.last_mut().unwrap().push_str(line),
            None => {}
        }
    }
    assert!(items.len() > 30);
    for item in items {
        let named =
            item.split('[').skip(1).filter_map(|rest| rest.split_once(']')).any(|(name, _)| is_name(name));
        assert!(named || item.starts_with("Not promised:"), "no test is named: {item}");
    }
}

#[test]
fn every_trap_names_a_test_that_exists() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("tests/it/traps.rs")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(1);
    let tests: Vec<&str> = rows
        .filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "))
        .flat_map(|(_, tests)| tests.split(", "))
        .filter(|name| is_name(name))
        .collect();
    assert!(tests.len() >= 14, "{tests:?}");
    check("traps.rs", &tests);
}
