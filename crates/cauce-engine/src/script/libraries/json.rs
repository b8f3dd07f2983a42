//! Reading JSON, with the leniency and the errors that `cjson` has.

use mlua::{Lua, LuaString, Result, Table, Value};

use super::cjson::{Config, DEPTH_MAX};
use crate::script::raise;

/// A token. Errors name the kinds.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Single(u8),
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    End,
    Error(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Self::Single(b'{') => "T_OBJ_BEGIN",
            Self::Single(b'}') => "T_OBJ_END",
            Self::Single(b'[') => "T_ARR_BEGIN",
            Self::Single(b']') => "T_ARR_END",
            Self::Single(b':') => "T_COLON",
            Self::Single(_) => "T_COMMA",
            Self::Text(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::End => "T_END",
            Self::Error(problem) => problem,
        }
    }
}

/// The value of a document.
pub(super) fn decode(lua: &Lua, text: &[u8], config: Config) -> Result<Value> {
    if text.len() >= 2 && text.iter().take(2).any(|&byte| byte == 0) {
        return Err(raise::text(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut reader = Reader { lua, text, at: 0, token_at: 0, config };
    let first = reader.next();
    let value = reader.value(first)?;
    match reader.next() {
        Token::End => Ok(value),
        other => Err(reader.expected("the end", &other)),
    }
}

/// An array or object whose end has not come.
enum Open {
    Array { table: Table, next: usize },
    Object { table: Table, key: LuaString },
}

impl Open {
    fn add(&mut self, value: Value) -> Result<()> {
        match self {
            Self::Array { table, next } => {
                *next += 1;
                table.raw_set(*next - 1, value)
            }
            Self::Object { table, key } => table.raw_set(&*key, value),
        }
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
    /// Where the newest token began, or where it could not be read on.
    token_at: usize,
    config: Config,
}

impl Reader<'_> {
    fn expected(&self, what: &str, found: &Token) -> mlua::Error {
        let message =
            format!("Expected {what} but found {} at character {}", found.name(), self.token_at + 1);
        raise::text(self.lua, &message)
    }

    /// Reads a value that begins with `token`. With a stack of its own: documents may nest deeper than threads have
    /// room.
    fn value(&mut self, mut token: Token) -> Result<Value> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut value = match token {
                Token::Text(text) => Value::String(self.lua.create_string(text)?),
                Token::Number(number) => Value::Number(number),
                Token::Boolean(value) => Value::Boolean(value),
                Token::Null => Value::NULL,
                Token::Single(opening @ (b'{' | b'[')) => {
                    self.descend(open.len() + 1)?;
                    let table = self.lua.create_table()?;
                    token = self.next();
                    match (opening, &token) {
                        (b'{', Token::Single(b'}')) | (b'[', Token::Single(b']')) => Value::Table(table),
                        (b'[', _) => {
                            open.push(Open::Array { table, next: 1 });
                            continue;
                        }
                        _ => {
                            let key = self.key(token)?;
                            open.push(Open::Object { table, key });
                            token = self.next();
                            continue;
                        }
                    }
                }
                other => return Err(self.expected("value", &other)),
            };
            // Goes into what is open; that may be complete with it, and go into what is around it.
            token = loop {
                let Some(innermost) = open.last_mut() else { return Ok(value) };
                innermost.add(value)?;
                match (self.next(), innermost) {
                    (Token::Single(b','), Open::Array { .. }) => break self.next(),
                    (Token::Single(b','), Open::Object { key, .. }) => {
                        let text = self.next();
                        *key = self.key(text)?;
                        break self.next();
                    }
                    (Token::Single(b']'), Open::Array { table, .. })
                    | (Token::Single(b'}'), Open::Object { table, .. }) => {
                        value = Value::Table(table.clone());
                        open.pop();
                    }
                    (other, Open::Array { .. }) => return Err(self.expected("comma or array end", &other)),
                    (other, Open::Object { .. }) => return Err(self.expected("comma or object end", &other)),
                }
            };
        }
    }

    fn descend(&self, depth: usize) -> Result<()> {
        if depth as i64 <= self.config.decode_depth.min(DEPTH_MAX) {
            return Ok(());
        }
        let message = format!("Found too many nested data structures ({depth}) at character {}", self.at);
        Err(raise::text(self.lua, &message))
    }

    /// A key and the colon behind it.
    fn key(&mut self, token: Token) -> Result<LuaString> {
        let Token::Text(key) = token else { return Err(self.expected("object key string", &token)) };
        match self.next() {
            Token::Single(b':') => self.lua.create_string(key),
            other => Err(self.expected("colon", &other)),
        }
    }

    fn next(&mut self) -> Token {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.token_at = self.at;
        let rest = self.text.get(self.at..).unwrap_or_default();
        match rest.first() {
            // A zero byte ends the text.
            None | Some(0) => Token::End,
            Some(&byte @ (b'{' | b'}' | b'[' | b']' | b':' | b',')) => {
                self.at += 1;
                Token::Single(byte)
            }
            Some(b'"') => self.string(),
            _ if rest.starts_with(b"true") => self.word(4, Token::Boolean(true)),
            _ if rest.starts_with(b"false") => self.word(5, Token::Boolean(false)),
            _ if rest.starts_with(b"null") => self.word(4, Token::Null),
            Some(b'-' | b'+' | b'0'..=b'9' | b'i' | b'I' | b'n' | b'N') => self.number(),
            Some(_) => Token::Error("invalid token"),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn word(&mut self, len: usize, token: Token) -> Token {
        self.at += len;
        token
    }

    fn number(&mut self) -> Token {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let plain = matches!(rest.first(), Some(b'-' | b'0'..=b'9'));
        if is_invalid_json_number(rest) && !self.config.decode_invalid {
            return Token::Error(if plain { "invalid number" } else { "invalid token" });
        }
        match leading_number(rest) {
            Some((number, len)) => {
                self.at += len;
                Token::Number(number)
            }
            None if plain => Token::Error("invalid number"),
            None => Token::Error("invalid token"),
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                None | Some(0) => return self.broken("unexpected end of string"),
                Some(b'"') => {
                    self.at += 1;
                    return Token::Text(text);
                }
                Some(b'\\') => {
                    if let Err(problem) = self.escape(&mut text) {
                        return self.broken(problem);
                    }
                }
                Some(byte) => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn broken(&mut self, problem: &'static str) -> Token {
        self.token_at = self.at;
        Token::Error(problem)
    }

    /// Reads an escape; at an error the place stays at its backslash.
    fn escape(&mut self, text: &mut Vec<u8>) -> std::result::Result<(), &'static str> {
        let byte = match self.text.get(self.at + 1) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let (character, len) = self.unicode().ok_or("invalid unicode escape code")?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                self.at += len;
                return Ok(());
            }
            _ => return Err("invalid escape code"),
        };
        text.push(byte);
        self.at += 2;
        Ok(())
    }

    /// A `\u` escape, or two that are one character, and how many bytes they have.
    fn unicode(&self) -> Option<(char, usize)> {
        let unit = |at: usize| {
            let escape = self.text.get(at..at + 6).filter(|escape| escape.starts_with(b"\\u"))?;
            let digits = std::str::from_utf8(escape.get(2..)?).ok()?;
            digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
            u32::from_str_radix(digits, 16).ok()
        };
        let first = unit(self.at)?;
        if !(0xd800..0xdc00).contains(&first) {
            return Some((char::from_u32(first)?, 6));
        }
        let second = unit(self.at + 6).filter(|unit| (0xdc00..0xe000).contains(unit))?;
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        Some((char::from_u32(code)?, 12))
    }
}

/// A number that C reads and JSON does not know: hexadecimal, with leading zeros, infinite, or none.
fn is_invalid_json_number(text: &[u8]) -> bool {
    match text.strip_prefix(b"-").unwrap_or(text) {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
        [b'0'..=b'9', ..] => false,
        _ => true,
    }
}

/// The longest number that the text begins with, read as C's `strtod` does.
fn leading_number(text: &[u8]) -> Option<(f64, usize)> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let sign = text.len() - digits.len();
    let (value, len) = special(digits).or_else(|| hexadecimal(digits)).or_else(|| decimal(digits))?;
    Some((if negative { -value } else { value }, sign + len))
}

fn special(text: &[u8]) -> Option<(f64, usize)> {
    let begins =
        |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
    match () {
        () if begins("infinity") => Some((f64::INFINITY, 8)),
        () if begins("inf") => Some((f64::INFINITY, 3)),
        () if begins("nan") => Some((f64::NAN, 3)),
        () => None,
    }
}

fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let digits = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"))?;
    let len = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if len == 0 {
        return None;
    }
    let digit = |byte: &u8| f64::from(char::from(*byte).to_digit(16).unwrap_or_default());
    let value = digits.iter().take(len).fold(0.0, |value, byte| value * 16.0 + digit(byte));
    Some((value, len + 2))
}

fn decimal(text: &[u8]) -> Option<(f64, usize)> {
    let count = |from: usize| {
        text.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let whole = count(0);
    let mut len = whole;
    if text.get(len) == Some(&b'.') {
        let fraction = count(len + 1);
        if whole + fraction == 0 {
            return None;
        }
        len += 1 + fraction;
    } else if whole == 0 {
        return None;
    }
    if matches!(text.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        let exponent = count(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(text.get(..len)?).ok()?;
    Some((number.parse().ok()?, len))
}
