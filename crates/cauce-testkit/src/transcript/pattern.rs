//! The matcher of the transcripts and its notation.

use std::collections::HashMap;
use std::fmt;

use crate::wire::Value;

/// The protocol that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// As every connection begins.
    Resp2,
    /// After HELLO 3.
    Resp3,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Resp2 => "RESP2",
            Protocol::Resp3 => "RESP3",
        })
    }
}

/// What `<int:name>` and its like have matched, as text.
pub type Captures = HashMap<String, String>;

/// What a frame must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this frame (never an aggregate).
    Exactly(Value),
    /// An error that begins so.
    ErrorPrefix(Vec<u8>),
    /// One of the wildcards, and the name that it is kept under.
    Wildcard(Wildcard, Option<String>),
    /// The null string of the protocol.
    Nil,
    /// The null array of the protocol.
    NilArray,
    /// An aggregate with these elements, and whether more may follow.
    List(ListKind, Vec<Pattern>, bool),
    /// A map with these pairs.
    Map(Vec<(Pattern, Pattern)>),
    /// A flat array in RESP2, a map in RESP3.
    Pairs(Vec<(Pattern, Pattern)>),
    /// An array of arrays of two in RESP2, a map in RESP3.
    Streams(Vec<(Pattern, Pattern)>),
    /// A flat array in RESP2, an array of arrays of two in RESP3.
    Scores(Vec<(Pattern, Pattern)>),
    /// A bulk string in RESP2, a double in RESP3.
    Double(Vec<u8>),
}

/// The wildcards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wildcard {
    /// `<any>`
    Any,
    /// `<int>`
    Integer,
    /// `<id>`
    Id,
    /// `<bulk>`
    Bulk,
}

/// The aggregates with plain elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// `[…]`
    Array,
    /// `~[…]`
    Set,
    /// `>[…]`
    Push,
    /// `push[…]`
    OutOfBand,
    /// `unordered[…]`
    Unordered,
}

impl Pattern {
    /// Reads a pattern that fills a whole line.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence.
    pub fn parse(line: &str) -> Result<Pattern, &'static str> {
        let line = line.trim();
        if let Some(text) = line.strip_prefix('-').filter(|text| !text.starts_with('"')) {
            return Ok(match text.strip_suffix("<any>") {
                Some(prefix) => Pattern::ErrorPrefix(prefix.as_bytes().to_vec()),
                None => Pattern::Exactly(Value::Error(text.as_bytes().to_vec())),
            });
        }
        let mut reader = Reader { rest: line };
        let pattern = reader.pattern()?;
        if reader.rest.trim().is_empty() { Ok(pattern) } else { Err("something follows the pattern") }
    }

    /// Whether the frame looks like this; keeps what named wildcards match.
    pub fn matches(&self, value: &Value, protocol: Protocol, captures: &mut Captures) -> bool {
        let resp3 = protocol == Protocol::Resp3;
        match self {
            Pattern::Exactly(expected) => expected == value,
            Pattern::ErrorPrefix(prefix) => matches!(value, Value::Error(text) if text.starts_with(prefix)),
            Pattern::Wildcard(wildcard, name) => {
                let matched = wildcard.matches(value);
                if let (Some(text), Some(name)) = (matched.as_ref(), name) {
                    captures.insert(name.clone(), text.clone());
                }
                matched.is_some()
            }
            Pattern::Nil => *value == if resp3 { Value::Null } else { Value::NullBulk },
            Pattern::NilArray => *value == if resp3 { Value::Null } else { Value::NullArray },
            Pattern::List(kind, patterns, open) => {
                let items = match (kind, value) {
                    (ListKind::Array | ListKind::Unordered, Value::Array(items))
                    | (ListKind::Unordered | ListKind::Set, Value::Set(items))
                    | (ListKind::Push, Value::Push(items)) => items,
                    (ListKind::OutOfBand, Value::Push(items)) if resp3 => items,
                    (ListKind::OutOfBand, Value::Array(items)) if !resp3 => items,
                    _ => return false,
                };
                if *kind == ListKind::Unordered {
                    return unordered(patterns, items, protocol, captures);
                }
                (items.len() == patterns.len() || (*open && items.len() > patterns.len()))
                    && patterns
                        .iter()
                        .zip(items)
                        .all(|(pattern, item)| pattern.matches(item, protocol, captures))
            }
            Pattern::Map(patterns) => match value {
                Value::Map(pairs) => pairs_match(patterns, pairs, protocol, captures),
                _ => false,
            },
            Pattern::Pairs(patterns) => match value {
                Value::Map(pairs) if resp3 => pairs_match(patterns, pairs, protocol, captures),
                Value::Array(items) if !resp3 => flat_match(patterns, items, protocol, captures),
                _ => false,
            },
            Pattern::Streams(patterns) => match value {
                Value::Map(pairs) if resp3 => pairs_match(patterns, pairs, protocol, captures),
                Value::Array(items) if !resp3 => nested_match(patterns, items, protocol, captures),
                _ => false,
            },
            Pattern::Scores(patterns) => match value {
                Value::Array(items) if resp3 => nested_match(patterns, items, protocol, captures),
                Value::Array(items) => flat_match(patterns, items, protocol, captures),
                _ => false,
            },
            Pattern::Double(text) => match value {
                Value::Double(actual) if resp3 => actual == text,
                Value::Bulk(actual) if !resp3 => actual == text,
                _ => false,
            },
        }
    }
}

impl Wildcard {
    /// The text that a name keeps, if it matches.
    fn matches(self, value: &Value) -> Option<String> {
        match (self, value) {
            (Wildcard::Any, other) => Some(other.to_string()),
            (Wildcard::Integer, Value::Integer(number)) => Some(number.to_string()),
            (Wildcard::Bulk, Value::Bulk(_)) => value.text(),
            (Wildcard::Id, Value::Bulk(_)) => value.text().filter(|text| is_id(text)),
            _ => None,
        }
    }
}

fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(ms, seq)| ms.parse::<u64>().is_ok() && seq.parse::<u64>().is_ok())
}

fn pair(value: &Value) -> Option<(Value, Value)> {
    match value {
        Value::Array(items) => match items.as_slice() {
            [key, value] => Some((key.clone(), value.clone())),
            _ => None,
        },
        _ => None,
    }
}

fn pairs_match(
    patterns: &[(Pattern, Pattern)],
    pairs: &[(Value, Value)],
    protocol: Protocol,
    captures: &mut Captures,
) -> bool {
    patterns.len() == pairs.len()
        && patterns.iter().zip(pairs).all(|((key, value), (actual_key, actual_value))| {
            key.matches(actual_key, protocol, captures) && value.matches(actual_value, protocol, captures)
        })
}

/// Pairs as an array of keys and values in turn.
fn flat_match(
    patterns: &[(Pattern, Pattern)],
    items: &[Value],
    protocol: Protocol,
    captures: &mut Captures,
) -> bool {
    let pairs: Vec<_> = items.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    items.len().is_multiple_of(2) && pairs_match(patterns, &pairs, protocol, captures)
}

/// Pairs as an array of arrays of two.
fn nested_match(
    patterns: &[(Pattern, Pattern)],
    items: &[Value],
    protocol: Protocol,
    captures: &mut Captures,
) -> bool {
    let pairs: Option<Vec<_>> = items.iter().map(pair).collect();
    pairs.is_some_and(|pairs| pairs_match(patterns, &pairs, protocol, captures))
}

/// Greedy: each pattern takes the first element left that it matches, so patterns with wildcards belong last.
fn unordered(patterns: &[Pattern], items: &[Value], protocol: Protocol, captures: &mut Captures) -> bool {
    let mut left: Vec<&Value> = items.iter().collect();
    let all = patterns.iter().all(|pattern| {
        let found = left.iter().position(|item| pattern.matches(item, protocol, captures));
        found.is_some_and(|index| {
            left.swap_remove(index);
            true
        })
    });
    all && left.is_empty()
}

/// A cursor over the notation.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn pattern(&mut self) -> Result<Pattern, &'static str> {
        self.rest = self.rest.trim_start();
        for (prefix, kind) in [
            ("unordered[", ListKind::Unordered),
            ("push[", ListKind::OutOfBand),
            ("~[", ListKind::Set),
            (">[", ListKind::Push),
        ] {
            if self.take(prefix) {
                return self.list(kind);
            }
        }
        for (word, pattern) in [
            ("nil[]", Pattern::NilArray),
            ("nil", Pattern::Nil),
            ("$-1", Pattern::Exactly(Value::NullBulk)),
            ("*-1", Pattern::Exactly(Value::NullArray)),
            ("_", Pattern::Exactly(Value::Null)),
            ("#t", Pattern::Exactly(Value::Boolean(true))),
            ("#f", Pattern::Exactly(Value::Boolean(false))),
        ] {
            if self.take(word) {
                return Ok(pattern);
            }
        }
        match self.rest.chars().next() {
            Some('[') if self.take("[") => self.list(ListKind::Array),
            Some('{') if self.take("{") => self.pairs().map(Pattern::Map),
            Some('%') if self.take("%{") => self.pairs().map(Pattern::Pairs),
            Some('s') if self.take("streams{") => self.pairs().map(Pattern::Streams),
            Some('s') if self.take("scores{") => self.pairs().map(Pattern::Scores),
            Some('=') if self.take("=") => Ok(Pattern::Double(self.word().into_bytes())),
            Some('<') if self.take("<") => self.wildcard(),
            Some('"') => Ok(Pattern::Exactly(Value::Bulk(self.quoted()?))),
            Some('-') if self.take("-") => Ok(Pattern::Exactly(Value::Error(self.quoted()?))),
            Some('+') if self.take("+") => {
                let quoted = self.rest.starts_with('"');
                let text = if quoted { self.quoted()? } else { self.word().into_bytes() };
                Ok(Pattern::Exactly(Value::Simple(text)))
            }
            Some(',') if self.take(",") => Ok(Pattern::Exactly(Value::Double(self.word().into_bytes()))),
            Some(':') if self.take(":") => {
                let number = self.word().parse().map_err(|_| "an integer that is none")?;
                Ok(Pattern::Exactly(Value::Integer(number)))
            }
            _ => Err("no pattern begins so"),
        }
    }

    fn list(&mut self, kind: ListKind) -> Result<Pattern, &'static str> {
        let mut patterns = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if self.take("...") {
                self.rest = self.rest.trim_start();
                return if self.take("]") {
                    Ok(Pattern::List(kind, patterns, true))
                } else {
                    Err("`...` is not the last element")
                };
            }
            if self.take("]") {
                return Ok(Pattern::List(kind, patterns, false));
            }
            patterns.push(self.pattern()?);
            self.comma_before("]")?;
        }
    }

    fn pairs(&mut self) -> Result<Vec<(Pattern, Pattern)>, &'static str> {
        let mut pairs = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if self.take("}") {
                return Ok(pairs);
            }
            let key = self.pattern()?;
            self.rest = self.rest.trim_start();
            if !self.take(":") {
                return Err("a key without a value");
            }
            pairs.push((key, self.pattern()?));
            self.comma_before("}")?;
        }
    }

    fn comma_before(&mut self, close: &str) -> Result<(), &'static str> {
        self.rest = self.rest.trim_start();
        if self.take(",") || self.rest.starts_with(close) { Ok(()) } else { Err("a comma is missing") }
    }

    fn wildcard(&mut self) -> Result<Pattern, &'static str> {
        let (inside, rest) = self.rest.split_once('>').ok_or("a wildcard without its end")?;
        self.rest = rest;
        let (word, name) = match inside.split_once(':') {
            Some((word, name)) => (word, Some(name.to_owned())),
            None => (inside, None),
        };
        let wildcard = match word {
            "any" => Wildcard::Any,
            "int" => Wildcard::Integer,
            "id" => Wildcard::Id,
            "bulk" => Wildcard::Bulk,
            _ => return Err("no such wildcard"),
        };
        Ok(Pattern::Wildcard(wildcard, name))
    }

    fn quoted(&mut self) -> Result<Vec<u8>, &'static str> {
        let (bytes, rest) = unquote(self.rest)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Up to what can end an element.
    fn word(&mut self) -> String {
        let end = self.rest.find([',', ']', '}']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.trim().to_owned()
    }

    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

/// Reads a string in double quotes (see [`crate::wire::Value`]'s `Display`) and gives what follows it.
pub(super) fn unquote(text: &str) -> Result<(Vec<u8>, &str), &'static str> {
    let mut bytes = Vec::new();
    let mut chars = text.strip_prefix('"').ok_or("a string without its opening quote")?.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((bytes, &text[at + 2..])),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).map(|(_, digit)| digit).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).map_err(|_| "\\x without two digits")?);
                }
                Some(other) => bytes.extend_from_slice(other.to_string().as_bytes()),
                None => return Err("a backslash at the end"),
            },
            other => bytes.extend_from_slice(other.to_string().as_bytes()),
        }
    }
    Err("a string without its closing quote")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::decode;

    fn check(pattern: &str, frame: &str, protocol: Protocol, expected: bool) {
        let pattern = Pattern::parse(pattern).unwrap_or_else(|what| panic!("{pattern}: {what}"));
        let frame = frame.replace(' ', "\r\n") + "\r\n";
        let (value, _) = decode(frame.as_bytes()).unwrap().unwrap();
        assert_eq!(
            pattern.matches(&value, protocol, &mut Captures::new()),
            expected,
            "{pattern:?} on {value}"
        );
    }

    #[test]
    fn each_pattern_matches_what_it_says_and_nothing_near_it() {
        use Protocol::{Resp2, Resp3};
        check("nil", "$-1", Resp2, true);
        check("nil", "$-1", Resp3, false);
        check("nil", "*-1", Resp2, false);
        check("nil[]", "_", Resp3, true);
        check("%{\"a\": :1}", "*2 $1 a :1", Resp2, true);
        check("%{\"a\": :1}", "%1 $1 a :1", Resp3, true);
        check("%{\"a\": :1}", "*2 $1 a :1", Resp3, false);
        check("streams{\"a\": :1}", "*1 *2 $1 a :1", Resp2, true);
        check("streams{\"a\": :1}", "*2 $1 a :1", Resp2, false);
        check("streams{\"a\": :1}", "%1 $1 a :1", Resp3, true);
        check("scores{\"a\": =1.5}", "*2 $1 a $3 1.5", Resp2, true);
        check("scores{\"a\": =1.5}", "*1 *2 $1 a ,1.5", Resp3, true);
        check("scores{\"a\": =1.5}", "*1 *2 $1 a $3 1.5", Resp3, false);
        check("=1.5", "$3 1.5", Resp3, false);
        check("push[\"a\", <int>]", ">2 $1 a :1", Resp3, true);
        check("push[\"a\", <int>]", "*2 $1 a :1", Resp3, false);
        check("[\"a\", ...]", "*2 $1 a :1", Resp2, true);
        check("[\"a\", ...]", "*0", Resp2, false);
        check("[\"a\"]", "*2 $1 a :1", Resp2, false);
        check("unordered[:1, :2]", "*2 :2 :1", Resp2, true);
        check("unordered[:1, :1]", "*2 :2 :1", Resp2, false);
        check("-NOGROUP<any>", "-NOGROUP\u{1}x", Resp2, true);
        check("-NOGROUP", "-NOGROUPS", Resp2, false);
        check("[-\"ERR\", +OK]", "*2 -ERR +OK", Resp2, true);
        check("<id>", "$3 1-1", Resp2, true);
        check("<id>", "$3 1-x", Resp2, false);
        check("+OK", "$2 OK", Resp2, false);
    }

    #[test]
    fn a_named_wildcard_keeps_what_it_matched() {
        let mut captures = Captures::new();
        let pattern = Pattern::parse("[<int:n>, <id:first>]").unwrap();
        let value = Value::Array(vec![Value::Integer(7), Value::bulk("1-2")]);
        assert!(pattern.matches(&value, Protocol::Resp2, &mut captures));
        assert_eq!((captures["n"].as_str(), captures["first"].as_str()), ("7", "1-2"));
    }

    #[test]
    fn what_display_writes_parse_reads() {
        for frame in ["*3 :1 $3 a\"b *-1", "%1 $1 k _", ">2 -ERR $-1"] {
            let bytes = frame.replace(' ', "\r\n") + "\r\n";
            let (value, _) = decode(bytes.as_bytes()).unwrap().unwrap();
            check(&value.to_string(), frame, Protocol::Resp3, true);
        }
    }
}
