//! The next step of an episode.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::arguments::{Draw, LOADED, wrap_in_getkeys, wrap_in_script};
use super::episode::{Arg, Generated, Step};
use super::grammar::{Part, parse};
use super::side::{CLIENTS, Side, THRESHOLDS};
use super::table::{self, Family};
use super::themes::{Theme, weighted};
use super::world::{AUTO, KEYS, LEX, World};

/// A row's weight and parts.
type Weighted = (u32, Vec<Part>);

/// The table's rows as they are drawn from.
#[derive(Debug)]
pub(super) struct Rows {
    by_family: Vec<(Family, Vec<Weighted>)>,
    scripts: bool,
}

impl Rows {
    /// The rows of commands that are there.
    pub(super) fn new(has: impl Fn(&str) -> bool) -> Rows {
        let mut by_family: Vec<(Family, Vec<Weighted>)> = Vec::new();
        for row in table::rows().filter(|row| has(&row.name())) {
            let parsed = (row.weight, parse(row.syntax).expect("a test reads every row"));
            match by_family.iter_mut().find(|(family, _)| *family == row.family) {
                Some((_, rows)) => rows.push(parsed),
                None => by_family.push((row.family, vec![parsed])),
            }
        }
        Rows { by_family, scripts: has("EVAL") }
    }

    /// The commands and their options, named as they are counted.
    pub(super) fn counted(&self) -> BTreeSet<String> {
        fn words(parts: &[Part], into: &mut Vec<String>) {
            for part in parts {
                match part {
                    Part::Word(word) => into.push(word.clone()),
                    Part::Kind(_) => {}
                    Part::Optional(parts) | Part::Repeat(parts) | Part::AnyOrder(parts) => words(parts, into),
                    Part::Choice(choices) => choices.iter().for_each(|parts| words(parts, into)),
                }
            }
        }
        let mut counted = BTreeSet::new();
        for (_, parts) in self.by_family.iter().flat_map(|(_, rows)| rows) {
            let mut all = Vec::new();
            words(parts, &mut all);
            let name = table::name_of(all.iter().map(String::as_str));
            let options = all.iter().skip(name.split(' ').count());
            counted.extend(options.filter(|word| is_option(word)).map(|word| format!("{name} … {word}")));
            counted.insert(name);
        }
        counted
    }

    fn of(&self, family: Family) -> &[Weighted] {
        self.by_family.iter().find(|(one, _)| *one == family).map_or(&[], |(_, rows)| rows)
    }

    /// A command that is not unfit here.
    pub(super) fn draw(
        &self,
        rng: &mut fastrand::Rng,
        world: &mut World,
        theme: &Theme,
        unfit: impl Fn(&Generated) -> bool,
    ) -> Generated {
        loop {
            let (family, _) = weighted(rng, theme.families, |(_, weight)| *weight);
            let rows = self.of(*family);
            if rows.is_empty() {
                continue;
            }
            let (_, parts) = weighted(rng, rows, |(weight, _)| *weight);
            let mut generated = Draw::command(rng, world, parts);
            if is_of_data(*family) && !generated.runs_out {
                match rng.u8(..) {
                    0..12 if self.scripts => generated = wrap_in_script(rng, generated),
                    12..14 if !unfair(&generated) && generated.args.len() > 1 => {
                        generated = wrap_in_getkeys(generated);
                    }
                    _ => {}
                }
            }
            if !unfit(&generated) && !unfair(&generated) {
                return generated;
            }
        }
    }
}

/// Whether a word of a row is an option, not a fixed argument.
pub(super) fn is_option(word: &str) -> bool {
    word.starts_with(|char: char| char.is_ascii_uppercase() || "=~".contains(char))
}

/// Whether a script may call it.
fn is_of_data(family: Family) -> bool {
    !matches!(
        family,
        Family::PubSub | Family::Transactions | Family::Connection | Family::Scripts | Family::Waiting
    )
}

/// Chooses protocols, loads scripts, and mostly makes groups, so that most commands find something.
pub(super) fn opening(rng: &mut fastrand::Rng) -> Vec<Step> {
    let hello = |client| Step::plain(client, if rng.bool() { "HELLO 3" } else { "HELLO 2" });
    let mut steps: Vec<Step> = (0..CLIENTS).map(hello).collect();
    let thresholds = THRESHOLDS.iter().map(|(name, usual, small)| {
        let value = if rng.u8(..3) == 0 { small } else { usual };
        format!(" {name} {value}")
    });
    let thresholds: String = thresholds.collect();
    steps.push(Step::plain(0, &format!("CONFIG SET{thresholds}")));
    let load = |(script, _): &(&str, &str)| Rc::new(Generated::plain(&["SCRIPT", "LOAD", script]));
    steps.push(Step { client: 0, commands: LOADED.iter().map(load).collect() });
    for command in ["a g 0", "a h $", "b g $", "b i 0", "c g 0", "auto g 0"] {
        if rng.u8(..5) > 0 {
            steps.push(Step::plain(0, &format!("XGROUP CREATE {command} MKSTREAM")));
        }
    }
    steps
}

/// A step for a client that can take one.
pub(super) fn invent(
    rng: &mut fastrand::Rng,
    world: &mut World,
    rows: &Rows,
    theme: &Theme,
    side: &Side,
) -> Step {
    let free: Vec<usize> = (0..CLIENTS).filter(|client| !side.waits(*client)).collect();
    let client = free[rng.usize(..free.len())];
    let inside = side.in_transaction(client);
    world.may_block = free.len() > 2;
    world.may_expire = free.len() == CLIENTS && !inside;
    if inside && rng.u8(..4) == 0 {
        return Step::plain(client, if rng.u8(..6) == 0 { "DISCARD" } else { "EXEC" });
    }
    if !inside && side.subscribed(client) && rng.u8(..8) == 0 {
        return Step::plain(client, if rng.bool() { "RESET" } else { "UNSUBSCRIBE" });
    }
    // All but a few commands are refused to who listens in RESP2.
    let deaf = side.subscribed(client) && !side.resp3(client) && rng.u8(..6) > 0;
    let refused = |command: &Generated| deaf && !is_heard(command);
    let quiet = theme.batch > SEVERAL && free.len() == CLIENTS;
    if inside && !quiet || deaf || rng.u8(..8) >= if quiet { 6 } else { 1 } {
        let command = rows.draw(rng, world, theme, |command| {
            publishes(command) && side.will_listen(client)
                || inside && (confirms_not_once(command) || starts_over(command))
                || refused(command)
        });
        return Step { client, commands: vec![Rc::new(command)] };
    }
    world.may_expire = false;
    world.may_block = false;
    let count = if quiet { rng.usize(8..theme.batch) } else { rng.usize(2..=SEVERAL) };
    several(rng, world, rows, theme, (client, side), count)
}

/// Commands of one write, at most, if others wait or listen.
const SEVERAL: usize = 5;

/// Commands in one write; sometimes from MULTI to EXEC.
fn several(
    rng: &mut fastrand::Rng,
    world: &mut World,
    rows: &Rows,
    theme: &Theme,
    (client, side): (usize, &Side),
    count: usize,
) -> Step {
    let transaction = rng.u8(..if count > SEVERAL { 8 } else { 2 }) == 0;
    let mut commands: Vec<Rc<Generated>> = Vec::new();
    let mut inside = side.in_transaction(client);
    let mut was_inside = inside || transaction;
    for _ in 0..count {
        if inside && !transaction && rng.u8(..5) == 0 {
            commands.push(Rc::new(Generated::plain(&["EXEC"])));
            inside = false;
            continue;
        }
        let listens = side.will_listen(client) || commands.iter().any(|one| one.name.ends_with("SUBSCRIBE"));
        let made_ids = commands.iter().any(|one| makes_an_id(one));
        let generated = rows.draw(rng, world, theme, |command| {
            publishes(command) && listens
                || (made_ids || was_inside && !transaction) && starts_over(command)
                || was_inside && confirms_not_once(command)
                || transaction && is_of_transactions(command)
                || !inside && ["EXEC", "DISCARD"].contains(&command.name.as_str())
        });
        match generated.name.as_str() {
            "MULTI" => (inside, was_inside) = (true, true),
            "DISCARD" | "EXEC" | "RESET" => inside = false,
            _ => {}
        }
        commands.push(Rc::new(generated));
    }
    if transaction {
        commands.insert(0, Rc::new(Generated::plain(&["MULTI"])));
        commands.push(Rc::new(Generated::plain(&["EXEC"])));
    }
    Step { client, commands }
}

/// Whether the client could hear itself, which it does in the middle of EXEC's reply before 7.2, and behind it since.
fn publishes(command: &Generated) -> bool {
    command.name.ends_with("PUBLISH")
}

/// Whether it is confirmed by several frames, of which EXEC's reply would count only the first.
fn confirms_not_once(command: &Generated) -> bool {
    command.name.ends_with("SUBSCRIBE") && command.args.len() != 2
}

/// Whether a client that listens in RESP2 may send it.
fn is_heard(command: &Generated) -> bool {
    command.name.ends_with("SUBSCRIBE") || ["PING", "RESET", "QUIT"].contains(&command.name.as_str())
}

fn is_of_transactions(command: &Generated) -> bool {
    ["MULTI", "EXEC", "DISCARD", "WATCH", "RESET", "HELLO"].iter().any(|name| command.name == *name)
        || command.spoiled
}

/// Whether the clock makes an id when it runs.
pub(super) fn makes_an_id(command: &Generated) -> bool {
    command.args.contains(&Arg::Bytes(b"*".to_vec())) || command.name == "EXEC"
}

/// Whether it leaves a stream without its last id, so that the clock may make the same id twice on one server.
fn starts_over(command: &Generated) -> bool {
    ["FLUSHALL", "FLUSHDB", "SELECT", "RESET", "SWAPDB"].iter().any(|name| is_called(command, name))
}

/// Whether it is this command, or a script that calls it.
fn is_called(command: &Generated, name: &str) -> bool {
    let word = command.args.get(command.inner_at.unwrap_or(0));
    matches!(word, Some(Arg::Bytes(word)) if word.eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether two servers may rightly answer in two ways: what is taken is left to chance, or the grammar has grown since 7.0.
pub(super) fn unfair(command: &Generated) -> bool {
    let words: Vec<&[u8]> = command.args[command.inner_at.unwrap_or(0)..]
        .iter()
        .map(|arg| match arg {
            Arg::Bytes(bytes) => bytes.as_slice(),
            Arg::Auto(_) | Arg::Client(_) => b"",
        })
        .collect();
    let is = |name: &str| words.first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    is("SPOP") && (words.len() == 2 || ![&b"100000"[..], b"0"].contains(words.get(2).unwrap_or(&&b""[..])))
        || is("SRANDMEMBER") && words.get(2).is_some_and(|count| RANDOM_COUNTS.contains(count))
        || (is("SCAN") && words.get(1) == Some(&&b"-1"[..]))
        || (["SSCAN", "HSCAN", "ZSCAN"].iter().any(|name| is(name)) && words.get(2) == Some(&&b"-1"[..]))
        || is("ZADD")
            && words.get(1) == Some(&LEX.as_bytes())
            && words.iter().skip(2).step_by(2).any(|score| *score != b"0")
        || (is("ZRANK") || is("ZREVRANK")) && words.len() != 3
        || is("CONFIG") && words.contains(&&b"*"[..])
        // In two streams, or in one that forgets its last id, the clock may make an id twice.
        || is("XADD") && words.contains(&&b"*"[..]) && words.get(1) != Some(&KEYS[AUTO].as_bytes())
        || is("XSETID") && words.get(1) == Some(&KEYS[AUTO].as_bytes())
}

/// Counts that a spoiled command may have, of which chance decides who is taken.
const RANDOM_COUNTS: &[&[u8]] = &[b"1", b"2", b"3"];

/// The commands that a server knows, as COMMAND LIST names them.
pub(super) fn knows(list: &BTreeSet<String>, name: &str) -> bool {
    list.contains(&name.to_lowercase().replace(' ', "|"))
}

#[cfg(test)]
mod tests {
    use super::super::table::rows;
    use super::*;

    #[test]
    fn every_row_is_read_and_names_only_known_kinds() {
        fn check(parts: &[Part], syntax: &str) {
            for part in parts {
                match part {
                    Part::Word(_) => {}
                    Part::Kind(kind) => assert!(Draw::knows(kind), "{{{kind}}} in {syntax}"),
                    Part::Optional(parts) | Part::Repeat(parts) | Part::AnyOrder(parts) => {
                        check(parts, syntax);
                    }
                    Part::Choice(choices) => choices.iter().for_each(|parts| check(parts, syntax)),
                }
            }
        }
        for row in rows() {
            check(&parse(row.syntax).unwrap_or_else(|what| panic!("{}: {what}", row.syntax)), row.syntax);
        }
    }
}
