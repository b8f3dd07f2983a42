//! The notation of the command table.
//!
//! `WORD` stands for itself and counts as an option, `{kind}` is made by an argument generator, `[ … ]` may be left out,
//! `( a | b )` is one of several, `( … )+` comes one to three times, `< … >` holds parts in any order.

/// One part of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Word(String),
    Kind(String),
    Optional(Vec<Part>),
    Choice(Vec<Vec<Part>>),
    Repeat(Vec<Part>),
    AnyOrder(Vec<Part>),
}

/// Reads a row's syntax.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn parse(syntax: &str) -> Result<Vec<Part>, &'static str> {
    let mut tokens = tokens(syntax).into_iter().peekable();
    let parts = sequence(&mut tokens)?;
    if tokens.peek().is_some() { Err("a bracket closes that was never opened") } else { Ok(parts) }
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<String>>;

fn tokens(syntax: &str) -> Vec<String> {
    let mut spaced = String::new();
    for char in syntax.chars() {
        match char {
            '[' | ']' | '(' | ')' | '|' | '<' | '>' | '+' => {
                spaced.extend([' ', char, ' ']);
            }
            other => spaced.push(other),
        }
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

fn sequence(tokens: &mut Tokens) -> Result<Vec<Part>, &'static str> {
    let mut parts = Vec::new();
    while let Some(token) = tokens.peek() {
        if matches!(token.as_str(), "]" | ")" | ">" | "|") {
            break;
        }
        let token = tokens.next().expect("it was just peeked at");
        parts.push(match token.as_str() {
            "[" => Part::Optional(closed(tokens, "]")?),
            "<" => Part::AnyOrder(closed(tokens, ">")?),
            "(" => choice(tokens)?,
            "+" => return Err("`+` follows no group"),
            word => match word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(kind) => Part::Kind(kind.to_owned()),
                None => Part::Word(word.to_owned()),
            },
        });
    }
    Ok(parts)
}

fn closed(tokens: &mut Tokens, close: &str) -> Result<Vec<Part>, &'static str> {
    let parts = sequence(tokens)?;
    if tokens.next().as_deref() == Some(close) { Ok(parts) } else { Err("a bracket is not closed") }
}

fn choice(tokens: &mut Tokens) -> Result<Part, &'static str> {
    let mut choices = vec![sequence(tokens)?];
    while tokens.peek().map(String::as_str) == Some("|") {
        tokens.next();
        choices.push(sequence(tokens)?);
    }
    if tokens.next().as_deref() != Some(")") {
        return Err("a parenthesis is not closed");
    }
    if tokens.peek().map(String::as_str) == Some("+") {
        tokens.next();
        let only = if choices.len() == 1 { choices.pop() } else { None };
        return only.map(Part::Repeat).ok_or("a repeated group has one form");
    }
    Ok(Part::Choice(choices))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_construct_is_read() {
        let word = |text: &str| Part::Word(text.to_owned());
        let kind = |text: &str| Part::Kind(text.to_owned());
        assert_eq!(
            parse("SET {key} <[NX][(EX {n}|PX)]> ({f} {v})+").unwrap(),
            [
                word("SET"),
                kind("key"),
                Part::AnyOrder(vec![
                    Part::Optional(vec![word("NX")]),
                    Part::Optional(vec![Part::Choice(vec![vec![word("EX"), kind("n")], vec![word("PX")]])]),
                ]),
                Part::Repeat(vec![kind("f"), kind("v")]),
            ]
        );
        for wrong in ["[", "(a", "a)", "(a|b)+", "+", "<a]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
