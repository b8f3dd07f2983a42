//! docs/guarantees.md names a test for what it says: each exists.

use std::path::Path;

#[test]
fn every_guarantee_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/guarantees.md")).unwrap();
    let mut sources = String::new();
    for file in std::fs::read_dir(root.join("tests/it")).unwrap() {
        sources.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let named = page.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(name, _)| name);
    let tests: Vec<&str> = named
        .filter(|name| name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert!(tests.len() > 30, "{tests:?}");
    for test in tests {
        assert!(
            sources.contains(&format!("fn {test}(")),
            "docs/guarantees.md names `{test}`, which is no test"
        );
    }
}
