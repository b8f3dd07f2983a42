//! The rules of ACL SETUSER, applied to a user.

use super::access::Access;
use super::categories;
use super::selector::{KeyPattern, Selector};
use super::{Password, User};
use crate::command::{CommandSpec, CommandTable};
use crate::errors::{Error, acl as texts};

/// Joins the words of selectors in parentheses: `(+get` `~a)` is one rule.
pub(crate) fn merge_selectors(words: &[&[u8]]) -> Result<Vec<Vec<u8>>, Error> {
    let mut rules: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for word in words {
        let mut rule = match open.take() {
            Some(mut before) => {
                before.push(b' ');
                before.extend_from_slice(word);
                before
            }
            None if word.starts_with(b"(") => word.to_vec(),
            None => {
                rules.push(word.to_vec());
                continue;
            }
        };
        if rule.ends_with(b")") {
            rules.push(std::mem::take(&mut rule));
        } else {
            open = Some(rule);
        }
    }
    match open {
        Some(rule) => Err(texts::unmatched_parenthesis(&rule)),
        None => Ok(rules),
    }
}

impl User {
    /// Applies one rule.
    pub(crate) fn apply(&mut self, rule: &[u8], table: &CommandTable) -> Result<(), Error> {
        let word = |name: &str| rule.eq_ignore_ascii_case(name.as_bytes());
        match rule {
            _ if word("on") => self.enabled = true,
            _ if word("off") => self.enabled = false,
            _ if word("nopass") => {
                self.nopass = true;
                self.passwords.clear();
            }
            _ if word("resetpass") => {
                self.nopass = false;
                self.passwords.clear();
            }
            _ if word("skip-sanitize-payload") => self.sanitize_payload = false,
            _ if word("sanitize-payload") => self.sanitize_payload = true,
            _ if word("reset") => *self = Self::new(&self.name),
            _ if word("clearselectors") => self.selectors.truncate(1),
            [b'>' | b'#' | b'<' | b'!', ..] => return self.apply_password(rule),
            [b'(', inner @ .., b')'] => {
                let mut selector = Selector::default();
                for inner in inner.split(|&byte| byte == b' ').filter(|inner| !inner.is_empty()) {
                    selector.apply(inner, table).map_err(|error| error.of_modifier(rule))?;
                }
                self.selectors.push(selector);
            }
            _ => self.root_mut().apply(rule, table).map_err(|error| error.of_modifier(rule))?,
        }
        self.unrestricted = self.selectors.iter().any(Selector::is_unrestricted);
        Ok(())
    }

    fn apply_password(&mut self, rule: &[u8]) -> Result<(), Error> {
        let (sign, rest) = rule.split_first().unwrap_or((&b'>', &[]));
        let password = match sign {
            b'>' | b'<' => Password::of(rest),
            _ => Password::from_hex(rest).ok_or_else(|| RuleError::Hash.of_modifier(rule))?,
        };
        if matches!(sign, b'>' | b'#') {
            if !self.passwords.contains(&password) {
                self.passwords.push(password);
            }
            self.nopass = false;
            return Ok(());
        }
        let at = self.passwords.iter().position(|own| *own == password);
        let at = at.ok_or_else(|| RuleError::NoSuchPassword.of_modifier(rule))?;
        self.passwords.remove(at);
        Ok(())
    }
}

/// What is wrong with a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleError {
    Syntax,
    UnknownCommand,
    FirstArgOfSubcommand,
    KeyAfterAll,
    ChannelAfterAll,
    Hash,
    NoSuchPassword,
}

impl RuleError {
    fn of_modifier(self, rule: &[u8]) -> Error {
        texts::modifier(
            rule,
            match self {
                Self::Syntax => "Syntax error",
                Self::UnknownCommand => "Unknown command or category name in ACL",
                Self::FirstArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
                Self::KeyAfterAll => {
                    "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
                }
                Self::ChannelAfterAll => {
                    "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels"
                }
                Self::Hash => {
                    "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
                }
                Self::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            },
        )
    }
}

impl Selector {
    /// Applies one rule about commands, keys or channels.
    fn apply(&mut self, rule: &[u8], table: &CommandTable) -> Result<(), RuleError> {
        let word = |name: &str| rule.eq_ignore_ascii_case(name.as_bytes());
        match rule {
            _ if word("allcommands") || word("+@all") => self.set_all(true, table),
            _ if word("nocommands") || word("-@all") => self.set_all(false, table),
            _ if word("allkeys") || rule == b"~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            _ if word("resetkeys") => {
                self.all_keys = false;
                self.keys.clear();
            }
            _ if word("allchannels") || rule == b"&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            _ if word("resetchannels") => {
                self.all_channels = false;
                self.channels.clear();
            }
            [b'~' | b'%', ..] => return self.add_key_pattern(rule),
            [b'&', pattern @ ..] => return self.add_channel_pattern(pattern),
            [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                return self.set_category(category, *sign == b'+', table);
            }
            [sign @ (b'+' | b'-'), name @ ..] => return self.set_command(name, *sign == b'+', table),
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    fn set_all(&mut self, permitted: bool, table: &CommandTable) {
        (self.all_commands, self.base_all) = (permitted, permitted);
        self.rules.clear();
        self.first_args.clear();
        self.commands.clear();
        if permitted {
            self.commands.extend(rows(table).map(|spec| spec.name));
        }
    }

    fn add_key_pattern(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let (access, pattern) = match rule {
            [b'~', pattern @ ..] => (Access { read: true, write: true }, pattern),
            [b'%', rest @ ..] => {
                let at = rest.iter().position(|&byte| byte == b'~').ok_or(RuleError::Syntax)?;
                let (flags, pattern) =
                    (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default());
                let mut access = Access::default();
                for flag in flags {
                    match flag {
                        b'R' | b'r' => access.read = true,
                        b'W' | b'w' => access.write = true,
                        _ => return Err(RuleError::Syntax),
                    }
                }
                if access == Access::default() {
                    return Err(RuleError::Syntax);
                }
                (access, pattern)
            }
            _ => return Err(RuleError::Syntax),
        };
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if self.all_keys {
            return Err(RuleError::KeyAfterAll);
        }
        match self.keys.iter_mut().find(|own| *own.pattern == *pattern) {
            Some(own) => {
                own.access.read |= access.read;
                own.access.write |= access.write;
            }
            None => self.keys.push(KeyPattern { pattern: pattern.into(), access }),
        }
        Ok(())
    }

    fn add_channel_pattern(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if self.all_channels {
            return Err(RuleError::ChannelAfterAll);
        }
        if !self.channels.iter().any(|own| **own == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    fn set_category(&mut self, name: &[u8], permitted: bool, table: &CommandTable) -> Result<(), RuleError> {
        let category = categories::category_named(name).ok_or(RuleError::UnknownCommand)?;
        for spec in rows(table).filter(|spec| categories::is_in(spec, category)) {
            self.set(spec, permitted);
        }
        self.note_rule(&format!("@{category}"), permitted);
        Ok(())
    }

    fn set_command(&mut self, name: &[u8], permitted: bool, table: &CommandTable) -> Result<(), RuleError> {
        let mut parts = name.splitn(2, |&byte| byte == b'|');
        let container = table.find(parts.next().unwrap_or_default());
        let Some(sub) = parts.next() else {
            let spec = container.ok_or(RuleError::UnknownCommand)?;
            self.set(spec, permitted);
            spec.subcommands.iter().for_each(|sub| self.set(sub, permitted));
            self.note_rule(spec.name, permitted);
            return Ok(());
        };
        let container = container.ok_or(RuleError::UnknownCommand)?;
        if let Some(spec) = CommandTable::find_sub(container, sub) {
            self.set(spec, permitted);
            self.note_rule(spec.name, permitted);
            return Ok(());
        }
        if sub.is_empty() {
            return Err(RuleError::Syntax);
        }
        let first_arg_of_sub = sub.contains(&b'|');
        match (container.subcommands.is_empty(), first_arg_of_sub) {
            (false, true) if permitted => return Err(RuleError::FirstArgOfSubcommand),
            (true, false) if permitted => {}
            _ => return Err(RuleError::UnknownCommand),
        }
        let words = self.first_args.entry(container.name).or_default();
        if !words.iter().any(|word| word.eq_ignore_ascii_case(sub)) {
            words.push(sub.into());
        }
        self.note_rule(&format!("{}|{}", container.name, String::from_utf8_lossy(sub).to_lowercase()), true);
        Ok(())
    }

    fn set(&mut self, spec: &'static CommandSpec, permitted: bool) {
        self.first_args.remove(spec.name);
        if permitted {
            self.commands.insert(spec.name);
        } else {
            self.commands.remove(spec.name);
            self.all_commands = false;
        }
    }

    /// Keeps a rule to be shown: it takes the place of those that it makes void.
    fn note_rule(&mut self, rule: &str, permitted: bool) {
        let voids = |old: &String| {
            let old = old.get(1..).unwrap_or_default();
            old.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        };
        self.rules.retain(|old| !voids(old));
        self.rules.push(format!("{}{rule}", if permitted { '+' } else { '-' }));
    }
}

/// All commands and subcommands.
pub(crate) fn rows(table: &CommandTable) -> impl Iterator<Item = &'static CommandSpec> {
    table.sorted().into_iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands.iter()))
}

fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0)
}
