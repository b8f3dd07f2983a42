//! Text into cases.

use super::pattern::{Pattern, Protocol, unquote};
use crate::targets::{Feature, Features};

/// One case: a conversation that begins on an empty server.
#[derive(Debug, Clone)]
pub struct Case {
    /// The sentence that it proves.
    pub name: String,
    /// The line in its file.
    pub line: usize,
    needs: Vec<(Feature, bool)>,
    only: Option<Protocol>,
    pub(super) lines: Vec<Line>,
}

impl Case {
    /// The first feature that excuses a server from this case.
    pub fn excuse(&self, features: Features) -> Option<Feature> {
        self.needs
            .iter()
            .find(|(feature, wanted)| features.has(*feature) != *wanted)
            .map(|(feature, _)| *feature)
    }

    /// Whether it is meant for this protocol.
    pub fn speaks(&self, protocol: Protocol) -> bool {
        self.only.is_none_or(|only| only == protocol)
    }
}

/// One line of a case.
#[derive(Debug, Clone)]
pub struct Line {
    pub(super) number: usize,
    pub(super) connection: char,
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Feature(Feature, bool),
    Protocol(Protocol),
}

#[derive(Debug, Clone)]
pub(super) enum Action {
    Send(Vec<Word>),
    SendRaw(Vec<u8>),
    Expect { pattern: Pattern, written: String },
    Blocked,
    Closed,
}

/// An argument: bytes, or what was matched under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Bytes(Vec<u8>),
    Captured(String),
}

/// A transcript that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
#[non_exhaustive]
pub struct MalformedTranscript {
    /// Where.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Reads a transcript (see [`crate::transcript`] for the notation).
///
/// # Errors
///
/// [`MalformedTranscript`] says where and what.
pub fn parse(text: &str) -> Result<Vec<Case>, MalformedTranscript> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in logical_lines(text) {
        let malformed = |what| MalformedTranscript { line: number, what };
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case {
                name: name.trim().to_owned(),
                line: number,
                needs: Vec::new(),
                only: None,
                lines: Vec::new(),
            });
            continue;
        }
        let case = cases.last_mut().ok_or(malformed("a line before the first case"))?;
        if let Some(features) = line.strip_prefix("needs ") {
            for name in features.split_whitespace() {
                case.needs.push(feature(name).ok_or(malformed("no such feature"))?);
            }
        } else if let Some(protocol) = line.strip_prefix("only protocol ") {
            case.only = Some(protocol_named(protocol.trim()).ok_or(malformed("no such protocol"))?);
        } else {
            case.lines.push(parse_line(number, &line).map_err(malformed)?);
        }
    }
    Ok(cases)
}

/// Lines without comments and blank lines, continuations joined, each with the number where it begins.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match (line.strip_prefix("  "), lines.last_mut()) {
            (Some(rest), Some((_, begun))) => {
                begun.push(' ');
                begun.push_str(rest.trim());
            }
            _ => lines.push((index + 1, line.trim_end().to_owned())),
        }
    }
    lines
}

fn parse_line(number: usize, line: &str) -> Result<Line, &'static str> {
    let (connection, rest) = match line.chars().next() {
        Some(letter) if letter.is_ascii_lowercase() => (letter, &line[1..]),
        _ => ('a', line),
    };
    let mut conditions = Vec::new();
    let action = if let Some(raw) = rest.strip_prefix(">>") {
        let (bytes, left) = unquote(raw.trim())?;
        if !left.is_empty() {
            return Err("something follows the bytes");
        }
        Action::SendRaw(bytes)
    } else if let Some(command) = rest.strip_prefix('>') {
        Action::Send(words(command)?)
    } else if let Some(mut pattern) = rest.strip_prefix('<') {
        if let Some((names, after)) = pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            for name in names.split(',') {
                conditions.push(condition(name.trim()).ok_or("no such condition")?);
            }
            pattern = after;
        }
        Action::Expect { pattern: Pattern::parse(pattern)?, written: pattern.trim().to_owned() }
    } else {
        match rest.strip_prefix('=').map(str::trim) {
            Some("blocked") => Action::Blocked,
            Some("closed") => Action::Closed,
            _ => return Err("neither `>`, `>>`, `<`, `= blocked` nor `= closed`"),
        }
    };
    Ok(Line { number, connection, conditions, action })
}

fn condition(name: &str) -> Option<Condition> {
    match protocol_named(name) {
        Some(protocol) => Some(Condition::Protocol(protocol)),
        None => feature(name).map(|(feature, wanted)| Condition::Feature(feature, wanted)),
    }
}

fn feature(name: &str) -> Option<(Feature, bool)> {
    match name.strip_prefix('!') {
        Some(name) => Feature::named(name).map(|feature| (feature, false)),
        None => Feature::named(name).map(|feature| (feature, true)),
    }
}

fn protocol_named(name: &str) -> Option<Protocol> {
    match name {
        "2" => Some(Protocol::Resp2),
        "3" => Some(Protocol::Resp3),
        _ => None,
    }
}

fn words(text: &str) -> Result<Vec<Word>, &'static str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if rest.starts_with('"') {
            let (bytes, after) = unquote(rest)?;
            if !after.is_empty() && !after.starts_with(' ') {
                return Err("a quoted argument without a space after it");
            }
            words.push(Word::Bytes(bytes));
            rest = after.trim_start();
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            words.push(match word.strip_prefix('$').filter(|name| !name.is_empty()) {
                Some(name) => Word::Captured(name.to_owned()),
                None => Word::Bytes(word.as_bytes().to_vec()),
            });
            rest = after.trim_start();
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_its_lines_needs_and_protocol() {
        let text = "# about\n== It works\nneeds scripts\nonly protocol 3\nb> SET $key \"a b\"\nb<{!scripts} [:1,\n  :2]\n";
        let cases = parse(text).unwrap();
        let [case] = cases.as_slice() else { panic!("{cases:?}") };
        assert_eq!((case.name.as_str(), case.line, case.lines.len()), ("It works", 2, 2));
        let without = Features { scripts: false, ..Features::of_cauce() };
        assert_eq!(case.excuse(without), Some(Feature::Scripts));
        assert!(case.speaks(Protocol::Resp3) && !case.speaks(Protocol::Resp2));
        let Action::Send(words) = &case.lines[0].action else { panic!("{case:?}") };
        assert_eq!(
            words,
            &[Word::Bytes(b"SET".to_vec()), Word::Captured("key".to_owned()), Word::Bytes(b"a b".to_vec())]
        );
        assert_eq!(case.lines[1].conditions, [Condition::Feature(Feature::Scripts, false)]);
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, line) in [("> PING", 1), ("== x\n< [", 2), ("== x\nneeds wings", 2), ("== x\n\nPING", 3)] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
