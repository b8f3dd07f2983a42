//! Who may run what: users, and what becomes of connections when users change.

use std::sync::Arc;

use super::{Core, Engine};
use crate::command::CommandSpec;
use crate::errors::{Error, acl as texts};
use crate::outputs::{DeliveryKind, Outputs, Position};
use crate::pubsub::ChannelKind;
use crate::session::{Session, SessionId};
use crate::time::Timestamp;
use crate::users::{Context, Denial, Denied, User, Users};

impl Engine {
    /// The users in force now: who holds them can check passwords while the engine is busy.
    #[must_use]
    pub fn users(&self) -> Arc<Users> {
        Arc::clone(&self.core.users)
    }
}

impl Core {
    /// Whether a user may run a command with these arguments. Costs one test for who may do everything.
    pub(crate) fn permits(user: &User, spec: &'static CommandSpec, args: &[&[u8]]) -> Result<(), Error> {
        if user.is_unrestricted() {
            return Ok(());
        }
        user.check(spec, args).map_err(|denied| texts::no_permission(user.name(), denied))
    }

    /// The same for the user of a session; a denial is logged.
    pub(crate) fn check_permission<'a>(
        &mut self,
        now: Timestamp,
        by: SessionId,
        spec: &'static CommandSpec,
        args: &[&'a [u8]],
        context: Context,
    ) -> Result<(), Denied<'a>> {
        let user = &self.session(by).user;
        if user.is_unrestricted() {
            return Ok(());
        }
        let user = Arc::clone(user);
        user.check(spec, args).inspect_err(|denied| {
            let (reason, object) = match *denied {
                Denied::Command(name) => ("command", name.as_bytes()),
                Denied::Key(key) => ("key", key),
                Denied::Channel(name) => ("channel", name),
            };
            self.log_denial(now, by, (reason, context), object, user.name());
        })
    }

    /// Logs that a session was denied something.
    pub(crate) fn log_denial(
        &mut self,
        now: Timestamp,
        by: SessionId,
        (reason, context): (&'static str, Context),
        object: &[u8],
        user: &[u8],
    ) {
        let mut client = String::new();
        crate::commands::describe_client(self.session(by), now, &mut client);
        let denial = Denial {
            id: 0,
            count: 1,
            reason,
            context,
            object: object.into(),
            user: user.into(),
            client: client.trim_end().to_owned(),
            created: now,
            updated: now,
        };
        self.denials.add(denial, self.settings.acllog_max_len);
    }

    /// Whether a session has still to say who it is.
    pub(crate) fn needs_authentication(&self, session: &Session) -> bool {
        !session.authenticated && !self.users.default_user().needs_no_password()
    }

    /// Makes a session one of this user, if the password is right.
    pub(crate) fn authenticate(&mut self, by: SessionId, name: &[u8], password: &[u8]) -> bool {
        let Some(user) = self.users.get(name).filter(|_| self.users.authenticate(name, password)) else {
            return false;
        };
        let user = Arc::clone(user);
        let session = self.session_mut(by);
        session.user = user;
        session.authenticated = true;
        true
    }

    /// Puts a user in force: also for the connections that are this user. Those that listen to what is no longer
    /// permitted are closed; true if that is so for the session `by`, which the caller closes.
    pub(crate) fn put_user(&mut self, user: User, by: SessionId, out: &mut Outputs) -> bool {
        let user = Arc::new(user);
        Arc::make_mut(&mut self.users).put(Arc::clone(&user));
        let mut closed = Vec::new();
        for session in self.sessions.values_mut().filter(|session| session.user.name() == user.name()) {
            session.user = Arc::clone(&user);
            if !listens_permitted(session) {
                closed.push(session.id);
            }
        }
        close(closed, by, out)
    }

    /// Removes a user, and closes the connections that were this user; `None` if there is no such user.
    pub(crate) fn remove_user(&mut self, name: &[u8], by: SessionId, out: &mut Outputs) -> Option<bool> {
        if !Arc::make_mut(&mut self.users).remove(name) {
            return None;
        }
        let default = Arc::clone(self.users.default_user());
        let mut closed = Vec::new();
        for session in self.sessions.values_mut().filter(|session| session.user.name() == name) {
            session.user = Arc::clone(&default);
            session.authenticated = false;
            closed.push(session.id);
        }
        Some(close(closed, by, out))
    }

    /// Sets the password of the default user, or that it needs none.
    pub(crate) fn set_default_password(&mut self, password: &str, by: SessionId, out: &mut Outputs) {
        let mut user = User::clone(self.users.default_user());
        user.set_password(password);
        self.put_user(user, by, out);
    }
}

/// Whether all that a session listens to is permitted.
fn listens_permitted(session: &Session) -> bool {
    let permitted = |kind, is_pattern| {
        session.names(kind).iter().all(|name| session.user.permits_channel(name, is_pattern))
    };
    permitted(ChannelKind::Channel, false)
        && permitted(ChannelKind::Shard, false)
        && permitted(ChannelKind::Pattern, true)
}

/// Closes all these connections but `by`, and says whether that is one of them.
fn close(mut ids: Vec<SessionId>, by: SessionId, out: &mut Outputs) -> bool {
    ids.sort_unstable();
    for &id in ids.iter().filter(|&&id| id != by) {
        out.deliver(id, DeliveryKind::Close, 0..0, Position::default());
    }
    ids.contains(&by)
}
