//! The command table, through COMMAND.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::support::World;

/// Names of all commands, as COMMAND LIST gives them, without those of subcommands.
fn names(world: &mut World) -> Vec<String> {
    let reply = world.run(1, "COMMAND LIST");
    reply
        .split(' ')
        .skip(1)
        .filter(|word| !word.starts_with('$') && !word.contains('|'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_is_listed_documented_and_described() {
    let mut world = World::new();
    let names = names(&mut world);
    assert!(names.len() > 50, "{names:?}");
    assert_eq!(world.run(1, "COMMAND COUNT"), format!(":{}", names.len()));
    for name in names {
        let info = world.run(1, &format!("COMMAND INFO {name}"));
        assert!(info.starts_with(&format!("*1 *10 ${} {name} :", name.len())), "{info}");
        let docs = world.run(1, &format!("COMMAND DOCS {name}"));
        assert!(
            docs.contains("$7 summary") && docs.contains("$5 since") && docs.contains("$5 group"),
            "{docs}"
        );
    }
}

#[test]
fn every_command_checks_its_arity() {
    let mut world = World::new();
    for name in names(&mut world) {
        let info = world.run(1, &format!("COMMAND INFO {name}"));
        let arity =
            info.split(' ').find_map(|word| word.strip_prefix(':')).expect("arity is the first number");
        let arity: i64 = arity.parse().expect("a number");
        let least = arity.unsigned_abs() as usize;
        // A refused EXEC ends its transaction, and says so.
        let code = if name == "exec" { "EXECABORT Transaction discarded because of:" } else { "ERR" };
        let refused = format!("-{code} wrong number of arguments for '{name}' command");
        if least > 1 {
            assert_eq!(world.run(1, &name.to_uppercase()), refused);
        }
        if arity > 0 {
            let many = vec!["x"; least].join(" ");
            assert_eq!(world.run(1, &format!("{name} {many}")), refused);
        }
    }
}

#[test]
fn keys_are_found_in_commands() {
    World::new().check(&[
        ("COMMAND GETKEYS GET k", "*1 $1 k"),
        ("COMMAND GETKEYS MSET a 1 b 2", "*2 $1 a $1 b"),
        ("COMMAND GETKEYS DEL a b c", "*3 $1 a $1 b $1 c"),
        ("COMMAND GETKEYS XREADGROUP GROUP g streams STREAMS a b > >", "*2 $1 a $1 b"),
        (
            "COMMAND GETKEYS XREADGROUP GROUP c STREAMS v c >",
            "-ERR Invalid arguments specified for command",
        ),
        // Redis looks for the word alone, also in what will be refused.
        ("COMMAND GETKEYS XREAD COUNT STREAMS a 0", "*1 $1 a"),
        ("COMMAND GETKEYS XREAD x STREAMS a 0", "*1 $1 a"),
        ("COMMAND GETKEYS EVAL x 0", "*0"),
        ("COMMAND GETKEYS SPUBLISH c m", "-ERR The command has no key arguments"),
        ("COMMAND GETKEYS PING", "-ERR The command has no key arguments"),
        ("COMMAND GETKEYS NOPE x", "-ERR Invalid command specified"),
        ("COMMAND GETKEYS GET", "-ERR Invalid number of arguments specified for command"),
        ("COMMAND INFO nope", "*1 $-1"),
        ("COMMAND DOCS nope", "*0"),
        ("COMMAND LIST FILTERBY PATTERN publ*", "*1 $7 publish"),
        ("COMMAND LIST FILTERBY PATTERN xgroup*", "*7 $6 xgroup $13 xgroup|create $21 xgroup|createconsumer $18 xgroup|delconsumer $14 xgroup|destroy $12 xgroup|setid $11 xgroup|help"),
        ("COMMAND LIST FILTERBY PATTERN pubsub|num*", "*2 $13 pubsub|numpat $13 pubsub|numsub"),
    ]);
}

/// The texts of all files with this ending in a directory and below it.
fn texts(directory: &Path, ending: &str) -> String {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths.fold(String::new(), |text, path| {
        if path.is_dir() {
            text + &texts(&path, ending)
        } else if path.extension().is_some_and(|own| own == ending) {
            text + &fs::read_to_string(path).expect("it is text") + "\n"
        } else {
            text
        }
    })
}

#[test]
fn every_command_is_run_in_a_transcript_or_in_a_test() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = texts(&crate_dir.join("../cauce-testkit/transcripts"), "txt")
        + &texts(&crate_dir.join("tests"), "rs");
    let run = run.to_uppercase();
    let mut world = World::new();
    let all = world.run(1, "COMMAND");
    let subcommands = all.split(' ').filter(|word| word.contains('|')).map(str::to_owned);
    let containers: HashSet<String> =
        subcommands.clone().filter_map(|name| Some(name.split_once('|')?.0.to_owned())).collect();
    let commands = names(&mut world).into_iter().filter(|name| !containers.contains(name));
    let missing: Vec<String> = commands
        .chain(subcommands)
        .map(|name| name.replace('|', " ").to_uppercase())
        .filter(|command| {
            // Where a line of a transcript begins, or a text of a test.
            ["> ", "\""].iter().all(|before| {
                let begun = format!("{before}{command}");
                !run.match_indices(&begun)
                    .any(|(at, _)| run[at + begun.len()..].starts_with([' ', '"', '\n', '\\']))
            })
        })
        .collect();
    assert!(missing.is_empty(), "no transcript and no test runs {missing:?}");
}
