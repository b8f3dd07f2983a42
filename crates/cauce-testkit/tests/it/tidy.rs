//! The rules of the house, checked: which crate may know which, how long files are, what may not stand in the source.
//!
//! Each list of exceptions may only shrink: an entry that is no longer needed fails as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file without its tests, at most.
const LINES_MAX: usize = 500;

/// Tests that sleep: file, how often, and why no condition can be awaited instead.
const SLEEPERS: &[(&str, usize, &str)] = &[
    ("crates/cauce/tests/it/choosing.rs", 1, "a handler that takes its time is what is measured"),
    (
        "crates/cauce/tests/it/failures.rs",
        3,
        "handlers that take longer than they may; paused time that runs through long retries",
    ),
    (
        "crates/cauce/tests/it/dead_letters.rs",
        1,
        "a handler that takes its time, so that attempts have a length",
    ),
    ("crates/cauce/tests/it/faults.rs", 1, "a handler that takes longer than its lease"),
    ("crates/cauce/tests/it/proxy.rs", 1, "a connection that stalls for a while"),
    ("crates/cauce/tests/it/holder.rs", 1, "a moment in which nothing may be answered"),
    ("crates/cauce/tests/it/leases.rs", 2, "handlers that take ten minutes of paused time"),
    ("crates/cauce/tests/it/order.rs", 1, "a handler that takes its time, so that others overtake it"),
    (
        "crates/cauce/tests/it/retries.rs",
        1,
        "a handler that takes its time, so that its instance stops meanwhile",
    ),
    ("crates/cauce/tests/it/lifecycle.rs", 3, "handlers that take their time, so that others overtake them"),
    ("crates/cauce/tests/it/outages.rs", 1, "polls a server for a state that it does not announce"),
    (
        "crates/cauce/tests/it/queue_waits.rs",
        3,
        "senders that come when somebody waits already; a moment in which nothing may happen",
    ),
    (
        "crates/cauce/tests/it/queue_workers.rs",
        4,
        "handlers that take their time, so that their visibility is renewed",
    ),
    ("crates/cauce/tests/it/queues.rs", 1, "polls for a message that becomes visible"),
    ("crates/cauce/tests/it/support.rs", 1, "polls for a condition with a deadline"),
    ("crates/cauce-sql/tests/it/main.rs", 1, "polls for a condition with a deadline"),
    ("crates/cauce-sql/tests/it/matrix.rs", 1, "a handler that takes longer than its lease"),
    ("crates/cauce/tests/telemetry/main.rs", 1, "polls for a condition with a deadline"),
    ("crates/cauce-testkit/tests/interop/process.rs", 1, "polls a foreign process for its end"),
    ("crates/cauce-testkit/tests/interop/server.rs", 1, "polls a foreign process that is starting"),
    ("crates/cauce/tests/it/chaos.rs", 6, "handlers that take twenty milliseconds of paused time"),
    ("crates/cauce/tests/it/delayed.rs", 3, "time that events wait for; nobody tells that nothing comes"),
    (
        "crates/cauce/tests/it/effects.rs",
        2,
        "a handler that takes longer than its lease; one that others overlap",
    ),
    (
        "crates/cauce/tests/it/effects_matrix.rs",
        2,
        "a handler that takes longer than its lease; the pace of a publisher",
    ),
    ("crates/cauce/tests/it/matrix/mod.rs", 1, "the pace of a publisher"),
    ("crates/cauce/tests/it/matrix/modes.rs", 2, "handlers that take their time; polls for a condition"),
    ("crates/cauce/tests/it/matrix/target.rs", 1, "polls a directory that is being left"),
    (
        "crates/cauce/tests/it/partitions.rs",
        3,
        "handlers that take their time; an owner that is silent for longer than its lease",
    ),
    ("crates/cauce/tests/it/requests.rs", 1, "a handler that answers when nobody waits any more"),
    ("crates/cauce/tests/it/server.rs", 1, "polls a process that is starting"),
    ("crates/cauce/tests/it/traps.rs", 2, "a handler that never ends; the pace of a publisher"),
    ("crates/cauce-testkit/tests/it/simulation/clients.rs", 1, "the pace of a client, in simulated time"),
    ("crates/cauce-testkit/tests/it/simulation/world.rs", 1, "when a fault comes, in simulated time"),
];

/// Which crates of ours each crate may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("cauce-resp", &[]),
    ("cauce-log", &[]),
    ("cauce-macros", &[]),
    ("cauce-engine", &["cauce-resp"]),
    ("cauce-broker", &["cauce-engine", "cauce-log", "cauce-resp"]),
    ("cauce", &["cauce-broker", "cauce-macros"]),
    ("cauce-cli", &["cauce", "cauce-broker", "cauce-engine", "cauce-log"]),
    ("cauce-sql", &["cauce"]),
    ("cauce-testkit", &["cauce-broker", "cauce-log"]),
];

/// The crates that do no input or output, with all that they may depend on.
const PURE: &[(&str, &[&str])] = &[
    ("cauce-resp", &["itoa", "memchr"]),
    ("cauce-engine", &["cauce-resp", "foldhash", "hashbrown", "itoa", "memchr", "mlua", "sha1_smol", "sha2"]),
];

/// What the pure crates may not say either.
const IMPURE: &[&str] =
    &["std::fs", "std::net", "std::thread", "env::var", "env::args", "Instant::now", "SystemTime", "tokio"];

#[test]
fn crates_know_only_what_is_below_them() {
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let mut seen = BTreeSet::new();
    for manifest in manifests() {
        seen.insert(manifest.name.clone());
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == manifest.name)
            .unwrap_or_else(|| panic!("{} is new: say in ARROWS which crates it may know", manifest.name));
        for dependency in manifest.section("dependencies").keys() {
            let foreign = !known.contains(dependency.as_str());
            assert!(
                foreign || allowed.contains(&dependency.as_str()),
                "{} may not know {dependency}",
                manifest.name
            );
        }
    }
    assert_eq!(seen, known.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn pure_crates_do_no_input_or_output() {
    for (name, allowed) in PURE {
        let manifest =
            manifests().into_iter().find(|manifest| manifest.name == *name).expect("it is a member");
        for dependency in manifest.section("dependencies").keys() {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} is pure and may not depend on {dependency}"
            );
        }
        for (path, text) in sources(&format!("crates/{name}/src")) {
            for word in IMPURE {
                assert!(!without_comments(&text).contains(word), "{path} is pure and may not say {word}");
            }
        }
    }
}

#[test]
fn wire_and_log_know_no_commands() {
    for directory in ["crates/cauce-resp/src", "crates/cauce-log/src"] {
        for (path, text) in sources(directory) {
            let code = without_comments(without_tests(&text));
            for command in ["XADD", "XREAD", "SUBSCRIBE", "PUBLISH", "MULTI", "HELLO", "xadd", "subscribe"] {
                assert!(!code.contains(command), "{path} knows {command}");
            }
        }
    }
}

#[test]
fn the_broker_is_an_option_of_the_toolkit() {
    let manifest = manifests().into_iter().find(|manifest| manifest.name == "cauce").expect("it is a member");
    let broker = &manifest.section("dependencies")["cauce-broker"];
    assert!(broker.contains("optional = true"), "cauce must build without the broker: {broker}");
}

#[test]
fn the_toolkit_shows_no_type_of_its_client_crate() {
    for (path, text) in sources("crates/cauce/src") {
        let code = without_comments(without_tests(&text));
        let foreign = imported_from(&code, "redis");
        for item in public_items(&code) {
            let names: Vec<&str> = words(item).collect();
            let shown = item.contains("redis::") || foreign.iter().any(|name| names.contains(&name.as_str()));
            assert!(!shown, "{path} shows a type of the client crate:\n{item}");
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for manifest in manifests() {
        let lints = manifest.section("lints");
        assert_eq!(lints.get("workspace").map(String::as_str), Some("true"), "{}", manifest.name);
    }
}

#[test]
fn the_test_kit_is_not_published() {
    let manifest =
        manifests().into_iter().find(|manifest| manifest.name == "cauce-testkit").expect("it is a member");
    assert_eq!(manifest.section("package").get("publish").map(String::as_str), Some("false"));
}

#[test]
fn files_are_short() {
    for (path, text) in sources("crates").into_iter().filter(|(path, _)| path.contains("/src/")) {
        let lines = without_tests(&text).lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines without its tests: split it by noun");
    }
}

#[test]
fn tests_await_conditions_instead_of_sleeping() {
    let sleep = ["sleep", "("].concat();
    let mut sleepers: BTreeMap<String, usize> = BTreeMap::new();
    for (path, text) in sources("crates") {
        let in_tests = path.contains("/tests/");
        let code = if in_tests { text.as_str() } else { &text[without_tests(&text).len()..] };
        let sleeps = without_comments(code).matches(&sleep).count();
        if sleeps > 0 {
            sleepers.insert(path, sleeps);
        }
    }
    for (path, count) in &sleepers {
        let allowed = SLEEPERS.iter().find(|(sleeper, ..)| sleeper == path).map_or(0, |(_, most, _)| *most);
        assert!(*count <= allowed, "{path} sleeps {count} times, {allowed} allowed: await what it waits for");
    }
    for (path, ..) in SLEEPERS {
        assert!(sleepers.contains_key(*path), "{path} no longer sleeps: strike it from SLEEPERS");
    }
}

#[test]
fn nothing_is_left_over() {
    // Put together here, so that this file does not hold them.
    let leftovers = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["X", "XX"],
        ["HA", "CK"],
        ["db", "g!("],
        ["to", "do!("],
        ["unimpl", "emented!("],
    ];
    let machine = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"]];
    for (path, text) in files("", &["rs", "toml", "md", "txt", "js", "py", "json", "yml"]) {
        for word in leftovers.iter().map(|parts| parts.concat()) {
            assert!(
                !(words(&text).any(|found| found == word) || word.ends_with('(') && text.contains(&word)),
                "{path} still says {word}"
            );
        }
        for place in machine.iter().map(|parts| parts.concat()) {
            assert!(!text.contains(&place), "{path} names a place on one machine: {place}");
        }
    }
}

/// A manifest, as far as these rules read it.
struct Manifest {
    name: String,
    sections: BTreeMap<String, BTreeMap<String, String>>,
}

impl Manifest {
    fn parse(text: &str) -> Manifest {
        let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut section = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_matches(['[', ']']).to_owned();
            } else if let Some((key, value)) = line.split_once('=') {
                // `serde.workspace = true` and `serde = { … }` both name serde.
                let key = key.trim();
                let key = if section.ends_with("dependencies") {
                    key.split('.').next().unwrap_or(key)
                } else {
                    key
                };
                sections.entry(section.clone()).or_default().insert(key.to_owned(), value.trim().to_owned());
            }
        }
        let name = sections["package"]["name"].trim_matches('"').to_owned();
        Manifest { name, sections }
    }

    fn section(&self, name: &str) -> BTreeMap<String, String> {
        self.sections.get(name).cloned().unwrap_or_default()
    }
}

fn manifests() -> Vec<Manifest> {
    let crates = files("crates", &["toml"]);
    let manifests =
        crates.iter().filter(|(path, _)| path.ends_with("/Cargo.toml") && path.matches('/').count() == 2);
    manifests.map(|(_, text)| Manifest::parse(text)).collect()
}

fn sources(directory: &str) -> Vec<(String, String)> {
    files(directory, &["rs"])
}

/// Paths from the root, and texts, of the files below a directory that end so.
fn files(directory: &str, endings: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from(directory)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root.join(&directory)).expect("it is there") {
            let entry = entry.expect("it can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = directory.join(&name);
            let kind = entry.file_type().expect("it has a type");
            if kind.is_dir()
                && !name.starts_with('.')
                && !["target", "node_modules", "corpus"].contains(&name.as_str())
            {
                waiting.push(path);
            } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(&format!(".{ending}"))) {
                let text = fs::read_to_string(root.join(&path)).unwrap_or_default();
                found.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "nothing was found");
    found
}

/// A source file up to its test module.
fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests").map_or(text, |end| &text[..end])
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| !char.is_alphanumeric() && char != '_').filter(|word| !word.is_empty())
}

/// The names that `use` takes from a crate, at the top or in braces.
fn imported_from(code: &str, from: &str) -> Vec<String> {
    code.split(';')
        .filter_map(|statement| {
            statement.trim().strip_prefix("use ")?.strip_prefix(&format!("{from}::")).map(str::to_owned)
        })
        .flat_map(|path| words(&path).map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| name.starts_with(char::is_uppercase))
        .collect()
}

/// Public items up to their body: signatures, public fields, re-exports, and enums whole.
fn public_items(code: &str) -> Vec<&str> {
    let starts = code
        .match_indices("pub ")
        .filter(|(at, _)| code[..*at].lines().last().is_none_or(|line| line.trim().is_empty()));
    starts
        .map(|(at, _)| {
            let item = &code[at..];
            let end = if item.starts_with("pub enum") {
                item.find("\n}")
            } else if item.starts_with("pub use")
                || item.starts_with("pub type")
                || item.starts_with("pub const")
            {
                item.find(';')
            } else {
                item.find(['{', ';', '\n']).map(|first| match item.as_bytes().get(first) {
                    // A signature over several lines goes on to its body.
                    Some(b'\n') if item[..first].ends_with('(') => item.find('{').unwrap_or(first),
                    _ => first,
                })
            };
            &item[..end.unwrap_or(item.len())]
        })
        .collect()
}
