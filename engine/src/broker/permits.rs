//! Permissions of clients, on a server that has some.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;

use super::refusal::Refusal;
use crate::access::{Access, Identity, Operation, PasswordHash, Permissions};
use crate::limits::{
    ANSWER_REPEATED_FOR, ANSWERS_ALLOWED_FOR, ANSWERS_ALLOWED_MAX, ANSWERS_ALLOWED_MAX_EACH,
    DECISIONS_KEPT_MAX,
};
use crate::wire::name::REPLY_PREFIX;

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

/// Who may answer which request: a client, the name that the answer goes to, and what the request said to tell answers apart.
type Answer = (Identity, ArcStr, Option<u64>);

/// Requests that clients got whose answers go to names that they may not publish under otherwise.
#[derive(Debug, Default)]
struct Answers {
    until: HashMap<Answer, Until>,
    /// Those that were not answered yet, in the order in which they end, and some that are over.
    ends: VecDeque<(Duration, Answer)>,
    /// The same of those that were answered.
    answered: VecDeque<(Duration, Answer)>,
    /// How many were not answered yet, by the name that the answers go to. That is the requester's share.
    waiting: HashMap<ArcStr, usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Waiting(Duration),
    /// Kept for a while, as a client that lost its connection sends its answer again.
    Answered(Duration),
}

impl Answers {
    fn allow(&mut self, answer: &Answer, now: Duration) {
        let until = now + ANSWERS_ALLOWED_FOR;
        match self.until.get(answer) {
            // Renewed once half of its time is over, so that one that is delivered again and again stands here twice at most.
            Some(Until::Waiting(end)) if *end > now + ANSWERS_ALLOWED_FOR / 2 => return,
            Some(Until::Waiting(_)) => {}
            Some(Until::Answered(_)) | None => {
                let waiting = self.waiting.entry(answer.1.clone()).or_default();
                if *waiting >= ANSWERS_ALLOWED_MAX_EACH {
                    return;
                }
                *waiting += 1;
            }
        }
        self.until.insert(answer.clone(), Until::Waiting(until));
        self.ends.push_back((until, answer.clone()));
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            self.end_first();
        }
        if self.ends.len() > 2 * ANSWERS_ALLOWED_MAX {
            let until = &self.until;
            self.ends.retain(|(end, answer)| until.get(answer) == Some(&Until::Waiting(*end)));
            while self.ends.len() > ANSWERS_ALLOWED_MAX {
                self.end_first();
            }
        }
    }

    /// Ends the oldest that was not answered.
    fn end_first(&mut self) {
        let Some((end, answer)) = self.ends.pop_front() else { return };
        if self.until.get(&answer) == Some(&Until::Waiting(end)) {
            self.until.remove(&answer);
            self.waits_no_longer(&answer.1);
        }
    }

    fn waits_no_longer(&mut self, name: &ArcStr) {
        if let Some(waiting) = self.waiting.get_mut(name) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(name);
            }
        }
    }

    /// Whether this is an answer to a request that its client got; then it is answered.
    fn take(&mut self, answer: &Answer, now: Duration) -> bool {
        match self.until.get(answer) {
            Some(Until::Answered(end)) => return *end > now,
            // It stands for all requests that say nothing to tell their answers apart.
            Some(Until::Waiting(end)) if *end > now && answer.2.is_none() => return true,
            Some(Until::Waiting(end)) if *end > now => {}
            _ => return false,
        }
        let end = now + ANSWER_REPEATED_FOR;
        self.until.insert(answer.clone(), Until::Answered(end));
        self.waits_no_longer(&answer.1);
        self.answered.push_back((end, answer.clone()));
        while self.answered.len() > ANSWERS_ALLOWED_MAX
            || self.answered.front().is_some_and(|(end, _)| *end <= now)
        {
            let Some((end, answer)) = self.answered.pop_front() else { break };
            if self.until.get(&answer) == Some(&Until::Answered(end)) {
                self.until.remove(&answer);
            }
        }
        true
    }

    /// Keeps those alone of which this is true.
    fn retain(&mut self, is_kept: impl Fn(&Answer) -> bool) {
        self.until.retain(|answer, _| is_kept(answer));
        let until = &self.until;
        self.ends.retain(|(_, answer)| until.contains_key(answer));
        self.answered.retain(|(_, answer)| until.contains_key(answer));
        self.waiting.clear();
        for ((_, name, _), until) in &self.until {
            if matches!(until, Until::Waiting(_)) {
                *self.waiting.entry(name.clone()).or_default() += 1;
            }
        }
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
        // A name that is no client's own may be one that the requester may no longer have answers published to.
        self.answers.retain(|(identity, name, _)| {
            access.keeps(identity, &before) && name.starts_with(REPLY_PREFIX)
        });
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

    /// A client gets a request whose answer is to be published under a name: it may publish that answer there for a while.
    pub(super) fn allow_answer(
        &mut self,
        identity: &Identity,
        name: &ArcStr,
        correlation: Option<u64>,
        now: Duration,
    ) {
        if !self.may_publish(identity, name) {
            self.answers.allow(&(identity.clone(), name.clone(), correlation), now);
        }
    }

    /// Whether this is a client's answer to a request that it got.
    pub(super) fn take_answer(
        &mut self,
        identity: &Identity,
        name: &str,
        correlation: Option<u64>,
        now: Duration,
    ) -> bool {
        !self.answers.until.is_empty()
            && self.answers.take(&(identity.clone(), name.into(), correlation), now)
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
    fn an_answer_is_allowed_for_a_while_and_again_for_a_moment_once_it_was_given() {
        let (who, name) = (Identity::Nobody, ArcStr::from("_reply.1"));
        let mut permits = permits(Permissions::none());
        assert!(!permits.take_answer(&who, &name, Some(1), HOUR));
        for n in 1..=3 {
            permits.allow_answer(&who, &name, Some(n), HOUR);
        }
        let end = HOUR + ANSWERS_ALLOWED_FOR;
        // Another name, another request, and one that says none.
        for (name, n) in [("_reply.2", Some(1)), ("_reply.1", Some(4)), ("_reply.1", None)] {
            assert!(!permits.take_answer(&who, name, n, HOUR), "{name} {n:?}");
        }
        let last = end - HOUR;
        assert!(permits.take_answer(&who, &name, Some(1), last));
        assert!(permits.take_answer(&who, &name, Some(1), last + ANSWER_REPEATED_FOR / 2));
        assert!(!permits.take_answer(&who, &name, Some(1), last + ANSWER_REPEATED_FOR));
        assert!(!permits.take_answer(&who, &name, Some(2), end));
        // Of those that say no number, nobody knows how many there are.
        permits.allow_answer(&who, &name, None, HOUR);
        for _ in 0..2 {
            assert!(permits.take_answer(&who, &name, None, last));
        }
        // Delivered again, it is renewed, also if the first end comes.
        permits.allow_answer(&who, &name, Some(3), end - HOUR);
        permits.allow_answer(&who, &name, Some(5), end + HOUR);
        assert!(permits.take_answer(&who, &name, Some(3), end + HOUR));
        assert_eq!(permits.answers.waiting.values().sum::<usize>(), 1);
    }

    #[test]
    fn a_requester_has_its_share_of_answers_and_one_that_waits_is_not_crowded_out() {
        let who = Identity::Nobody;
        let mut permits = permits(Permissions::none());
        let (slow, busy) = (ArcStr::from("_reply.slow"), ArcStr::from("_reply.busy"));
        permits.allow_answer(&who, &slow, Some(1), HOUR);
        // Beyond its share nothing is noted, however many there are.
        for n in 0..3 * ANSWERS_ALLOWED_MAX as u64 {
            permits.allow_answer(&who, &busy, Some(n), HOUR);
        }
        assert_eq!(permits.answers.waiting[&busy], ANSWERS_ALLOWED_MAX_EACH);
        assert!(!permits.take_answer(&who, &busy, Some(ANSWERS_ALLOWED_MAX_EACH as u64), HOUR));
        // What is answered makes room.
        for n in 0..4 * ANSWERS_ALLOWED_MAX as u64 {
            permits.allow_answer(&who, &busy, Some(n), HOUR);
            permits.take_answer(&who, &busy, Some(n), HOUR);
        }
        assert!(permits.answers.until.len() <= 2 * ANSWERS_ALLOWED_MAX + 1);
        assert!(permits.answers.ends.len() <= 2 * ANSWERS_ALLOWED_MAX + 1);
        assert!(permits.take_answer(&who, &slow, Some(1), HOUR));
    }

    #[test]
    fn of_all_requesters_together_the_oldest_answers_make_room() {
        let who = Identity::Nobody;
        let mut permits = permits(Permissions::none());
        let name = |n: usize| ArcStr::from(format!("_reply.{n}"));
        for n in 0..=2 * ANSWERS_ALLOWED_MAX {
            permits.allow_answer(&who, &name(n), None, HOUR);
        }
        assert!(!permits.take_answer(&who, &name(0), None, HOUR));
        assert!(permits.take_answer(&who, &name(2 * ANSWERS_ALLOWED_MAX), None, HOUR));
        assert!(permits.answers.until.len() <= ANSWERS_ALLOWED_MAX);
        assert!(permits.answers.waiting.len() <= ANSWERS_ALLOWED_MAX);
    }

    #[test]
    fn answers_end_with_the_permissions_that_they_came_of() {
        let (own, shared) = (ArcStr::from("_reply.1"), ArcStr::from("pay.results"));
        let user = |name: &str| Identity::User(name.into());
        let password = PasswordHash::cheap("x");
        let access = |who: &str| {
            let permissions = Permissions::none().subscribe("jobs");
            Arc::new(Access::new().user(who, password.clone(), permissions))
        };
        let mut permits = Permits::new(access("worker"));
        permits.opened(&user("worker"));
        for name in [&own, &shared] {
            permits.allow_answer(&user("worker"), name, Some(1), HOUR);
        }
        // Those who may still do what they might go on, but not where somebody else had to be asked.
        drop(permits.change(access("worker")));
        assert!(!permits.take_answer(&user("worker"), &shared, Some(1), HOUR));
        assert!(permits.take_answer(&user("worker"), &own, Some(1), HOUR));
        permits.allow_answer(&user("worker"), &own, Some(2), HOUR);
        drop(permits.change(access("another")));
        assert!(!permits.take_answer(&user("worker"), &own, Some(2), HOUR));
        assert!(permits.answers.until.is_empty() && permits.answers.waiting.is_empty());
    }
}
