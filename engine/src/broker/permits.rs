//! What clients may do, on a server that says so.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;

use super::refusal::Refusal;
use crate::access::{Access, Identity, Operation, PasswordHash, Permissions};
use crate::limits::{ANSWERS_ALLOWED_FOR, ANSWERS_ALLOWED_MAX, DECISIONS_KEPT_MAX};

/// What is decided with: what each client may do, and what follows from what it got.
#[derive(Debug)]
pub(super) struct Permits {
    access: Arc<Access>,
    /// Those of whom there are connections.
    roles: HashMap<Identity, Role>,
    /// Decisions that all roles keep.
    decisions: usize,
    answers: Answers,
}

/// What the connections of one client have in common.
#[derive(Debug)]
struct Role {
    permissions: Arc<Permissions>,
    connections: usize,
    /// Whether it may publish under names that it tried.
    publishes: HashMap<Box<str>, bool>,
}

/// To which names clients may publish answers, as they got requests for them.
#[derive(Debug, Default)]
struct Answers {
    until: HashMap<(Identity, ArcStr), Duration>,
    /// The same in the order in which they end, some of them renewed meanwhile.
    ends: VecDeque<(Duration, (Identity, ArcStr))>,
}

impl Answers {
    fn allow(&mut self, identity: &Identity, name: &ArcStr, now: Duration) {
        let (key, until) = ((identity.clone(), name.clone()), now + ANSWERS_ALLOWED_FOR);
        // Renewed once half of its time is over, so that a name that is used again and again stands here twice at most.
        if self.until.get(&key).is_some_and(|end| *end > now + ANSWERS_ALLOWED_FOR / 2) {
            return;
        }
        while self.ends.len() >= 2 * ANSWERS_ALLOWED_MAX
            || self.until.len() >= ANSWERS_ALLOWED_MAX
            || self.ends.front().is_some_and(|(end, _)| *end <= now)
        {
            let Some((end, key)) = self.ends.pop_front() else { break };
            if self.until.get(&key) == Some(&end) {
                self.until.remove(&key);
            }
        }
        self.until.insert(key.clone(), until);
        self.ends.push_back((until, key));
    }

    fn allows(&self, identity: &Identity, name: &str, now: Duration) -> bool {
        if self.until.is_empty() {
            return false;
        }
        self.until.get(&(identity.clone(), name.into())).is_some_and(|until| *until > now)
    }
}

impl Permits {
    /// Decides by what `access` says.
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self { access, roles: HashMap::new(), decisions: 0, answers: Answers::default() }
    }

    /// A client has another connection; what it may do.
    pub(super) fn opened(&mut self, identity: &Identity) -> Arc<Permissions> {
        let role = self.roles.entry(identity.clone()).or_insert_with(|| Role {
            permissions: Arc::clone(self.access.of(identity)),
            connections: 0,
            publishes: HashMap::new(),
        });
        role.connections += 1;
        Arc::clone(&role.permissions)
    }

    /// A client has one connection less.
    pub(super) fn closed(&mut self, identity: &Identity) {
        let Some(role) = self.roles.get_mut(identity) else { return };
        role.connections -= 1;
        if role.connections == 0 {
            self.decisions -= role.publishes.len();
            self.roles.remove(identity);
        }
    }

    /// Decides by another access from now on; whose connections are to end, since it may no longer do all that it might.
    pub(super) fn change(&mut self, access: Arc<Access>) -> impl Fn(&Identity) -> bool + use<> {
        for (identity, role) in &mut self.roles {
            role.permissions = Arc::clone(access.of(identity));
            role.publishes.clear();
        }
        self.decisions = 0;
        let before = std::mem::replace(&mut self.access, Arc::clone(&access));
        move |identity| !access.keeps(identity, &before)
    }

    /// What a client may do.
    pub(super) fn of(&self, identity: &Identity) -> &Arc<Permissions> {
        self.access.of(identity)
    }

    /// See [`Access::password_of`].
    pub(super) fn password_of(&self, user: &str) -> Option<(PasswordHash, bool)> {
        self.access.password_of(user)
    }

    /// Whether a client may publish under a name.
    pub(super) fn may_publish(&mut self, identity: &Identity, name: &str) -> bool {
        let Some(role) = self.roles.get_mut(identity) else { return false };
        if let Some(&is_allowed) = role.publishes.get(name) {
            return is_allowed;
        }
        let is_allowed = role.permissions.allows(Operation::Publish, name);
        if self.decisions >= DECISIONS_KEPT_MAX {
            self.roles.values_mut().for_each(|role| role.publishes.clear());
            self.decisions = 0;
        }
        if let Some(role) = self.roles.get_mut(identity) {
            role.publishes.insert(name.into(), is_allowed);
            self.decisions += 1;
        }
        is_allowed
    }

    /// A client gets a request whose answer is to be published under a name, which it may do from now on for a while.
    pub(super) fn allow_answer(&mut self, identity: &Identity, name: &ArcStr, now: Duration) {
        if !self.may_publish(identity, name) {
            self.answers.allow(identity, name, now);
        }
    }

    /// Whether a client may publish under this name, as it got a request whose answer goes there.
    pub(super) fn may_answer(&self, identity: &Identity, name: &str, now: Duration) -> bool {
        self.answers.allows(identity, name, now)
    }

    /// Why a client may not do something: `what` it asked for, and what it may do of that kind.
    pub(super) fn refusal(&self, identity: &Identity, operation: Operation, what: &str) -> Refusal {
        let may = match operation {
            Operation::Publish => "publish to",
            Operation::Subscribe => "subscribe to",
            Operation::Group => "use groups:",
        };
        let shown = self.of(identity).shown(operation);
        Refusal::NotAllowed(format!("{what}; {identity} may {may} {shown}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn permits(permissions: Permissions) -> Permits {
        let mut permits = Permits::new(Access::new().others(permissions).into());
        permits.opened(&Identity::Nobody);
        permits
    }

    #[test]
    fn decisions_are_kept_up_to_a_bound_and_until_they_change() {
        let who = Identity::Nobody;
        let mut permits = permits(Permissions::none().publish("a.>"));
        for n in 0..DECISIONS_KEPT_MAX + 10 {
            assert!(permits.may_publish(&who, &format!("a.{n}")));
            assert!(permits.decisions <= DECISIONS_KEPT_MAX);
        }
        assert!(!permits.may_publish(&who, "b") && !permits.may_publish(&who, "b"));
        let kept: usize = permits.roles.values().map(|role| role.publishes.len()).sum();
        assert_eq!(kept, permits.decisions);
        let ends = permits.change(Access::new().others(Permissions::none().publish("b")).into());
        assert!(ends(&who) && permits.may_publish(&who, "b") && !permits.may_publish(&who, "a.1"));
        permits.closed(&who);
        assert!(permits.roles.is_empty() && permits.decisions == 0);
        assert!(!permits.may_publish(&who, "b"), "who has no connection");
    }

    #[test]
    fn answers_are_allowed_for_a_while() {
        let (who, name) = (Identity::Nobody, ArcStr::from("_reply.1"));
        let mut permits = permits(Permissions::none());
        assert!(!permits.may_answer(&who, &name, HOUR));
        permits.allow_answer(&who, &name, HOUR);
        let end = HOUR + ANSWERS_ALLOWED_FOR;
        assert!(permits.may_answer(&who, &name, end - HOUR));
        assert!(
            !permits.may_answer(&who, "_reply.2", HOUR) && !permits.may_answer(&who, &name, end)
        );
        // Another request renews it, also if the first end comes.
        permits.allow_answer(&who, &name, end - HOUR);
        permits.allow_answer(&who, &ArcStr::from("_reply.3"), end + HOUR);
        assert!(permits.may_answer(&who, &name, end + HOUR));
    }

    #[test]
    fn the_oldest_answers_make_room() {
        let who = Identity::Nobody;
        let mut permits = permits(Permissions::none());
        let name = |n: usize| ArcStr::from(format!("_reply.{n}"));
        for n in 0..=ANSWERS_ALLOWED_MAX {
            permits.allow_answer(&who, &name(n), HOUR);
        }
        assert!(!permits.may_answer(&who, &name(0), HOUR));
        assert!(permits.may_answer(&who, &name(1), HOUR));
        assert_eq!(permits.answers.until.len(), ANSWERS_ALLOWED_MAX);
        assert!(permits.answers.ends.len() <= 2 * ANSWERS_ALLOWED_MAX);
    }
}
