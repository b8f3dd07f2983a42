//! A set of permissions: commands, keys and channels. A user has one, and maybe more.

use std::collections::{BTreeMap, HashSet};

use super::access::{self, Access};
use crate::command::{CommandSpec, Flags};
use crate::commands::SEND_CHANNEL_AT;
use crate::glob;

/// Why a command was not permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Denied<'a> {
    /// The command itself.
    Command(&'static str),
    /// One of its keys.
    Key(&'a [u8]),
    /// One of its channels or channel patterns.
    Channel(&'a [u8]),
}

/// Keys that match the pattern may be used so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPattern {
    pub(super) pattern: Box<[u8]>,
    pub(super) access: Access,
}

/// What one selector permits. Nothing at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    /// Whether all commands are permitted, those of later versions too.
    pub(super) all_commands: bool,
    /// Whether the rules begin with `+@all`.
    pub(super) base_all: bool,
    /// Names of the permitted commands and subcommands.
    pub(super) commands: HashSet<&'static str, foldhash::fast::FixedState>,
    /// Commands that are permitted with certain first arguments only.
    pub(super) first_args: BTreeMap<&'static str, Vec<Box<[u8]>>>,
    /// The rules behind the base, as they were given.
    pub(super) rules: Vec<String>,
    pub(super) all_keys: bool,
    pub(super) keys: Vec<KeyPattern>,
    pub(super) all_channels: bool,
    pub(super) channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// Whether everything is permitted.
    pub(super) fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Whether a command may be run.
    pub(super) fn check<'a>(&self, spec: &'static CommandSpec, args: &[&'a [u8]]) -> Result<(), Denied<'a>> {
        if !self.permits_command(spec, args) {
            return Err(Denied::Command(spec.name));
        }
        if !self.all_keys {
            for (index, key) in spec.keys.of(args).into_iter().enumerate() {
                if !self.permits_key(key, access::of_key(spec, args, index)) {
                    return Err(Denied::Key(key));
                }
            }
        }
        if !self.all_channels && spec.flags.has(Flags::PUBSUB) {
            return self.check_channels(spec, args);
        }
        Ok(())
    }

    fn permits_command(&self, spec: &CommandSpec, args: &[&[u8]]) -> bool {
        self.all_commands
            || spec.flags.has(Flags::NO_AUTH)
            || self.commands.contains(spec.name)
            || self.first_args.get(spec.name).is_some_and(|permitted| {
                args.get(1).is_some_and(|first| permitted.iter().any(|word| first.eq_ignore_ascii_case(word)))
            })
    }

    fn permits_key(&self, key: &[u8], wanted: Access) -> bool {
        self.keys.iter().any(|own| {
            (own.access.read || !wanted.read)
                && (own.access.write || !wanted.write)
                && glob::matches(&own.pattern, key)
        })
    }

    fn check_channels<'a>(&self, spec: &CommandSpec, args: &[&'a [u8]]) -> Result<(), Denied<'a>> {
        let (names, is_pattern) = match spec.name {
            "publish" | "spublish" => (args.get(1..2), false),
            "subscribe" | "ssubscribe" => (args.get(1..), false),
            "psubscribe" => (args.get(1..), true),
            "rsmq.send" => {
                (args.get(SEND_CHANNEL_AT..=SEND_CHANNEL_AT).filter(|at| !at[0].is_empty()), false)
            }
            // Leaving is always permitted.
            _ => (None, false),
        };
        let denied = names.unwrap_or_default().iter().find(|name| !self.permits_channel(name, is_pattern));
        denied.map_or(Ok(()), |name| Err(Denied::Channel(name)))
    }

    /// Whether a channel may be used; or a pattern, which must be one of the permitted ones literally.
    pub(super) fn permits_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        let matches = |own: &[u8]| if is_pattern { own == name } else { glob::matches(own, name) };
        self.all_channels || self.channels.iter().any(|own| matches(own))
    }

    /// The commands as rules: `-@all +get`.
    pub(crate) fn command_rules(&self) -> String {
        let base = if self.base_all { "+@all" } else { "-@all" };
        std::iter::once(base).chain(self.rules.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// The key patterns as rules.
    pub(crate) fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rules = self.keys.iter().map(|own| {
            let sign: &[u8] = match own.access {
                Access { read: true, write: true } => b"~",
                Access { read: true, .. } => b"%R~",
                Access { .. } => b"%W~",
            };
            [sign, &own.pattern].concat()
        });
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// The channel patterns as rules.
    pub(crate) fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels.iter().map(|own| [b"&", &**own].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// Everything, as ACL LIST shows it.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut text = self.key_rules();
        let mut add = |words: &[u8]| {
            if !text.is_empty() && !words.is_empty() {
                text.push(b' ');
            }
            text.extend_from_slice(words);
        };
        if !self.all_channels {
            add(b"resetchannels");
        }
        add(&self.channel_rules());
        add(self.command_rules().as_bytes());
        text
    }
}
