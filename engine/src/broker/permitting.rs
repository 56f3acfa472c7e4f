//! Checks permissions, once for each request, before anything else is done with it.

use std::sync::Arc;

use arcstr::ArcStr;
use bytes::Bytes;

use super::check::{bounded_ids, frame_records};
use super::core::Core;
use super::permits::Permits;
use super::refusal::Refusal;
use super::subscribers::{ConnectionId, Direct};
use crate::access::{Access, Identity, Operation, PasswordHash, Permissions};
use crate::limits::CHECKED_AT_ONCE_BYTES_MAX;
use crate::wire::control::{Control, Kind, Subscribe};
use crate::wire::filter::Filter;
use crate::wire::frame::Frame;
use crate::wire::id::MessageId;
use crate::wire::name::REPLY_PREFIX;
use crate::wire::properties::Properties;
use crate::wire::{durable, letter, name, pickle, retained};

/// Who is at a connection of which nothing is known.
static NOBODY: Identity = Identity::Nobody;

/// The name under which a publisher gets its answers.
fn reply_name(publisher: u64) -> String {
    format!("{REPLY_PREFIX}{publisher:016x}")
}

impl<E> Core<E> {
    /// A connection's handshake is over, which said who is there.
    pub(super) fn opened(&mut self, connection: ConnectionId, identity: Identity) {
        if let Some(permits) = &mut self.permits {
            let permissions = permits.opened(&identity);
            self.subscribers.set_reader(connection, permissions);
        }
        if self.permits.is_some() || identity != NOBODY {
            self.identities.insert(connection, identity);
        }
    }

    /// Forgets who is at a connection that is gone.
    pub(super) fn forget_identity(&mut self, connection: ConnectionId) {
        let Some(identity) = self.identities.remove(&connection) else { return };
        if let Some(permits) = &mut self.permits {
            permits.closed(&identity);
        }
    }

    pub(super) fn identity(&self, connection: ConnectionId) -> &Identity {
        self.identities.get(&connection).unwrap_or(&NOBODY)
    }

    /// Clients may do what this says from now on: the connections of those that may do less than before, which are to end.
    pub(super) fn change_access(&mut self, access: Arc<Access>) -> Vec<ConnectionId> {
        let Some(permits) = &mut self.permits else { return Vec::new() };
        let loses = permits.change(access);
        let mut ending = Vec::new();
        for (&connection, identity) in &self.identities {
            self.subscribers.set_reader(connection, Arc::clone(permits.of(identity)));
            if loses(identity) {
                ending.push(connection);
            }
        }
        ending.sort_unstable();
        ending
    }

    /// What a user's password is compared with, and whether there is such a user.
    pub(super) fn password_of(&self, user: &str) -> Option<(PasswordHash, bool)> {
        self.permits.as_ref()?.password_of(user)
    }

    fn permissions(&self, connection: ConnectionId) -> Option<(&Permits, &Identity, &Permissions)> {
        let (permits, identity) = (self.permits.as_ref()?, self.identity(connection));
        Some((permits, identity, permits.of(identity)))
    }

    /// Whether a connection may publish or acknowledge what a request holds. What is no request is rejected by others.
    pub(super) fn check_allowed(
        &mut self,
        connection: ConnectionId,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let Ok(frame) = Frame::parse(body) else { return Ok(()) };
        match frame {
            Frame::V1 { name: name::PING, .. } | Frame::V2 { name: name::PING, .. } => Ok(()),
            Frame::V2 { name: name::ACK, body } => {
                bounded_ids(body)?.try_for_each(|id| self.check_ack(connection, id))
            }
            // A larger one is no acknowledgement.
            Frame::V1 { name: name::ACK, .. } if body.len() > CHECKED_AT_ONCE_BYTES_MAX => Ok(()),
            Frame::V1 { name: name::ACK, pickle } => {
                let fields = pickle::scan(pickle)?;
                let Some(checksum) = fields.acknowledged() else { return Ok(()) };
                self.check_ack(connection, self.backlog.id_of(checksum))
            }
            Frame::V1 { name, .. } => self.check_publish(connection, name),
            Frame::V2 { name, body } => {
                if let Err(refusal) = self.check_publish(connection, name)
                    && !self.are_answers(connection, name, body)
                {
                    return Err(refusal);
                }
                self.check_reply_names(connection, body)
            }
        }
    }

    fn check_publish(&mut self, connection: ConnectionId, name: &str) -> Result<(), Refusal> {
        let identity = self.identities.get(&connection).unwrap_or(&NOBODY);
        let Some(permits) = &mut self.permits else { return Ok(()) };
        if permits.may_publish(identity, name) {
            return Ok(());
        }
        Err(permits.refusal(identity, Operation::Publish, &format!("publish to '{name}'")))
    }

    /// Whether each record of a frame answers a request that this client got, and does nothing else: it is neither kept nor
    /// retained nor for later.
    fn are_answers(&mut self, connection: ConnectionId, name: &str, body: &[u8]) -> bool {
        let now = self.clock_set;
        let identity = self.identities.get(&connection).unwrap_or(&NOBODY);
        let Some(permits) = &mut self.permits else { return false };
        frame_records(body).all(|(_, record)| {
            let properties = match record.has_properties {
                true => Properties::read(record.parts().1),
                false => Ok(Properties::default()),
            };
            let is_plain = |properties: &Properties<'_>| {
                !record.ack
                    && !properties.retain
                    && properties.deliver_at_ms.is_none()
                    && properties.key.is_none()
            };
            properties.is_ok_and(|properties| {
                is_plain(&properties)
                    && permits.take_answer(identity, name, properties.correlation, now)
            })
        })
    }

    /// Whoever gets a request may publish under the name that it says. So that nobody has others publish what he may not,
    /// that is his own name for answers, or one that he may publish under.
    fn check_reply_names(&mut self, connection: ConnectionId, body: &[u8]) -> Result<(), Refusal> {
        let own = self.proved.get(&connection).map(|&publisher| reply_name(publisher));
        for (_, record) in frame_records(body).filter(|(_, record)| record.has_properties) {
            let properties = Properties::read(record.parts().1).unwrap_or_default();
            let Some(to) = properties.reply_to.filter(|&to| own.as_deref() != Some(to)) else {
                continue;
            };
            if let Err(refusal) = self.check_publish(connection, to) {
                let identity = self.identity(connection);
                return Err(self.permits.as_ref().map_or(refusal, |permits| {
                    permits.refusal(
                        identity,
                        Operation::Publish,
                        &format!("have answers published to '{to}'"),
                    )
                }));
            }
        }
        Ok(())
    }

    /// An acknowledgement is a subscriber's. What is not there, and what groups have, it does not change.
    fn check_ack(&self, connection: ConnectionId, id: MessageId) -> Result<(), Refusal> {
        let Some((permits, identity, permissions)) = self.permissions(connection) else {
            return Ok(());
        };
        // Nobody got one that is for later: to acknowledge it is to take it back.
        if self.backlog.is_later(id) && self.proved.get(&connection) != Some(&id.publisher) {
            let what = format!("take back message {id}, which another publisher has for later");
            return Err(permits.refusal(identity, Operation::Publish, &what));
        }
        match self.backlog.name_of(id) {
            // The name is not told: it may be unknown to whoever asks.
            Some(name) if !permissions.allows(Operation::Subscribe, &name) => {
                let what = format!("acknowledge message {id}, which this client cannot get");
                Err(permits.refusal(identity, Operation::Subscribe, &what))
            }
            _ => Ok(()),
        }
    }

    /// Whether a connection may do what a control request asks for. What only concerns subscriptions that it has is its own.
    pub(super) fn check_control(
        &self,
        connection: ConnectionId,
        control: &Control<'_>,
    ) -> Result<(), Refusal> {
        if self.permits.is_none() {
            return Ok(());
        }
        match control {
            Control::Hello(_)
            | Control::Unsubscribe(_)
            | Control::Credit { .. }
            | Control::Settle { .. } => Ok(()),
            Control::Subscribe(wanted) => self.check_subscribe(connection, wanted),
            Control::Letters(request) => {
                let (what, group) = match *request {
                    letter::Request::List { group, .. } => ("list", group),
                    letter::Request::Show { group, .. } => ("show", group),
                    letter::Request::Replay { group, .. } => ("replay", group),
                    letter::Request::Purge { group, .. } => ("purge", group),
                };
                let what = match group {
                    "" => format!("{what} dead letters of all groups"),
                    group => format!("{what} dead letters of group '{group}'"),
                };
                self.check_administers(connection, &what)?;
                let all = Filter::Prefix("");
                let wanted = if group.is_empty() { all } else { Filter::Name(group) };
                self.check_covered(connection, Operation::Group, &wanted, &what)
            }
            Control::Groups(durable::Request::List { .. }) => {
                self.check_administers(connection, "list groups")
            }
            Control::Groups(durable::Request::Create { filter, group }) => {
                let what = format!("create group '{}' for {filter}", group.name);
                self.check_administers(connection, &what)?;
                self.check_covered(connection, Operation::Group, &Filter::Name(group.name), &what)?;
                self.check_covered(connection, Operation::Subscribe, filter, &what)
            }
            Control::Groups(durable::Request::Delete { name, .. }) => {
                let what = format!("delete group '{name}'");
                self.check_administers(connection, &what)?;
                self.check_covered(connection, Operation::Group, &Filter::Name(name), &what)
            }
            Control::Retained(retained::Request::List { filter, .. }) => {
                let what = format!("list retained messages of {filter}");
                self.check_administers(connection, &what)?;
                self.check_covered(connection, Operation::Subscribe, filter, &what)
            }
            Control::Retained(retained::Request::Clear(name)) => {
                let what = format!("clear the retained message of '{name}'");
                self.check_administers(connection, &what)?;
                self.check_covered(connection, Operation::Publish, &Filter::Name(name), &what)
            }
        }
    }

    fn check_subscribe(
        &self,
        connection: ConnectionId,
        wanted: &Subscribe<'_>,
    ) -> Result<(), Refusal> {
        let filter = &wanted.filter;
        if let Kind::Group(group) = wanted.kind {
            let what = format!("join group '{}'", group.name);
            self.check_covered(connection, Operation::Group, &Filter::Name(group.name), &what)?;
        } else if let Some(&publisher) = self.proved.get(&connection)
            && *filter == Filter::Name(&reply_name(publisher))
        {
            return Ok(());
        }
        self.check_covered(
            connection,
            Operation::Subscribe,
            filter,
            &format!("subscribe to {filter}"),
        )
    }

    /// Whether there are messages that a connection may get without being asked anything else.
    pub(super) fn may_get_any(&self, connection: ConnectionId) -> bool {
        self.permissions(connection)
            .is_none_or(|(.., permissions)| permissions.allows_any(Operation::Subscribe))
    }

    fn check_administers(&self, connection: ConnectionId, what: &str) -> Result<(), Refusal> {
        match self.permissions(connection) {
            Some((_, identity, permissions)) if !permissions.administers() => {
                Err(Refusal::NotAllowed(format!("{what}; {identity} may not administer").into()))
            }
            _ => Ok(()),
        }
    }

    fn check_covered(
        &self,
        connection: ConnectionId,
        operation: Operation,
        wanted: &Filter<'_>,
        what: &str,
    ) -> Result<(), Refusal> {
        match self.permissions(connection) {
            Some((permits, identity, permissions)) if !permissions.covers(operation, wanted) => {
                Err(permits.refusal(identity, operation, what))
            }
            _ => Ok(()),
        }
    }

    /// Whether a connection may know of a group.
    pub(super) fn may_see_group(&self, connection: ConnectionId, name: &str) -> bool {
        self.permissions(connection)
            .is_none_or(|(.., permissions)| permissions.allows(Operation::Group, name))
    }

    /// Whoever is given a request on its connection for requests may answer it, unless it is an observer. A retained request
    /// gives no such right: it is there for everybody who comes, for as long as it is not replaced.
    pub(super) fn allow_answers(&mut self, frame: &Bytes, direct: &[Direct]) {
        let Some(permits) = &mut self.permits else { return };
        let Ok(Frame::V2 { body, .. }) = Frame::parse(frame) else { return };
        for (_, record) in frame_records(body).filter(|(_, record)| record.has_properties) {
            let properties = record.properties();
            let Some(name) = properties.reply_to.map(ArcStr::from) else { continue };
            for direct in direct.iter().filter(|direct| !direct.looks_on && !properties.retain) {
                let identity = self.identities.get(&direct.connection).unwrap_or(&NOBODY);
                permits.allow_answer(identity, &name, properties.correlation, self.clock_set);
            }
        }
    }
}
