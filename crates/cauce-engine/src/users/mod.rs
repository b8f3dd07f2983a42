//! Users: who may log in, and what each may do.
//!
//! Users are configuration, not data: they are in no record and no dump, as in Redis without an ACL file.

mod access;
pub(crate) mod categories;
mod log;
mod rules;
mod selector;

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::command::{CommandSpec, CommandTable};

pub(crate) use log::{Context, Denial, DenialLog};
pub(crate) use rules::{merge_selectors, rows};
pub(crate) use selector::{Denied, Selector};

/// The user that every connection begins as.
pub(crate) const DEFAULT: &[u8] = b"default";

/// All users at one moment. Cheap to keep: users are shared.
#[derive(Debug, Clone)]
pub struct Users {
    by_name: BTreeMap<Box<[u8]>, Arc<User>>,
}

impl Users {
    /// The default user alone, who may do everything; with this password, or without one if it is empty.
    pub(crate) fn new(table: &CommandTable, password: &str) -> Self {
        let mut user = User::new(DEFAULT);
        for rule in ["on", "nopass", "~*", "&*", "+@all"] {
            user.apply(rule.as_bytes(), table).expect("the rules are right");
        }
        user.set_password(password);
        Self { by_name: [(DEFAULT.into(), Arc::new(user))].into() }
    }

    /// Whether a user of this name may log in with this password. Takes the same time wherever the password
    /// differs.
    #[must_use]
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> bool {
        let given = Password::of(password);
        self.by_name.get(name).is_some_and(|user| user.accepts(&given))
    }

    /// The user of this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user that every connection begins as.
    pub(crate) fn default_user(&self) -> &Arc<User> {
        self.get(DEFAULT).expect("the default user is always there")
    }

    /// Adds a user, or puts it in the place of the one of the same name.
    pub(crate) fn put(&mut self, user: Arc<User>) {
        self.by_name.insert(user.name.clone(), user);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        name != DEFAULT && self.by_name.remove(name).is_some()
    }

    /// All users, by name.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }
}

/// A user: passwords, and what may be done.
#[derive(Debug, Clone)]
pub(crate) struct User {
    name: Box<[u8]>,
    enabled: bool,
    /// Any password will do.
    nopass: bool,
    sanitize_payload: bool,
    passwords: Vec<Password>,
    /// The first one is the user's own; never empty.
    selectors: Vec<Selector>,
    /// Whether one selector permits everything: then nothing else needs to be looked at.
    unrestricted: bool,
}

impl User {
    /// A user that may not even log in.
    pub(crate) fn new(name: &[u8]) -> Self {
        Self {
            name: name.into(),
            enabled: false,
            nopass: false,
            sanitize_payload: true,
            passwords: Vec::new(),
            selectors: vec![Selector::default()],
            unrestricted: false,
        }
    }

    /// Sets the only password; an empty one stands for none.
    pub(crate) fn set_password(&mut self, password: &str) {
        self.passwords.clear();
        self.nopass = password.is_empty();
        if !self.nopass {
            self.passwords.push(Password::of(password.as_bytes()));
        }
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether a connection is this user without a password.
    pub(crate) fn needs_no_password(&self) -> bool {
        self.nopass && self.enabled
    }

    /// Whether any password is accepted.
    pub(crate) fn has_no_password(&self) -> bool {
        self.nopass
    }

    /// Whether everything is permitted.
    #[inline]
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    /// Whether a command may be run: one selector must permit all of it.
    pub(crate) fn check<'a>(&self, spec: &'static CommandSpec, args: &[&'a [u8]]) -> Result<(), Denied<'a>> {
        let mut worst = None;
        for selector in &self.selectors {
            match selector.check(spec, args) {
                Ok(()) => return Ok(()),
                // The one that came furthest says the most.
                Err(denied) => worst = worst.max(Some(denied)),
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Whether the user may go on listening to a channel or pattern.
    pub(crate) fn permits_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.permits_channel(name, is_pattern))
    }

    /// The words of the first line of ACL GETUSER.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let switch = if self.enabled { "on" } else { "off" };
        let payload = if self.sanitize_payload { "sanitize-payload" } else { "skip-sanitize-payload" };
        [Some(switch), self.nopass.then_some("nopass"), Some(payload)].into_iter().flatten().collect()
    }

    /// The passwords' SHA-256, in hexadecimal digits.
    pub(crate) fn passwords(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(Password::to_hex)
    }

    /// The user's own selector.
    pub(crate) fn root(&self) -> &Selector {
        self.selectors.first().expect("a user has a selector")
    }

    /// The selectors beside its own.
    pub(crate) fn more_selectors(&self) -> &[Selector] {
        self.selectors.get(1..).unwrap_or_default()
    }

    /// The line of ACL LIST.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = vec![b"user".to_vec(), self.name.to_vec()];
        words.extend(self.flags().into_iter().map(|flag| flag.as_bytes().to_vec()));
        words.extend(self.passwords().map(|hash| format!("#{hash}").into_bytes()));
        words.push(self.root().describe());
        words.extend(self.more_selectors().iter().map(|own| [b"(", &own.describe()[..], b")"].concat()));
        words.join(&b' ')
    }

    fn root_mut(&mut self) -> &mut Selector {
        self.selectors.first_mut().expect("a user has a selector")
    }

    fn accepts(&self, given: &Password) -> bool {
        let known = self.passwords.iter().fold(false, |known, own| known | own.is_same(given));
        self.enabled && (self.nopass || known)
    }
}

/// The SHA-256 of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Password([u8; 32]);

impl Password {
    fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Reads 64 lower-case hexadecimal digits.
    fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(|&[a, b]| Some(digit(a)? << 4 | digit(b)?)).collect();
        Some(Self(bytes.filter(|_| rest.is_empty())?.try_into().ok()?))
    }

    fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Compares in a time that does not tell where the difference is.
    fn is_same(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}
