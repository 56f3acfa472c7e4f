//! Control requests: hello, subscriptions, credit and verdicts.

use std::time::Duration;

use super::core::{AcceptedRequest, Asker, Core};
use super::effect::{Effect, Reply};
use super::refusal::{Dialect, Refusal};
use super::subscribers::ConnectionId;
use crate::access::Identity;
use crate::wire::control::{self, Control, Kind, Subscribe};
use crate::wire::durable;
use crate::wire::filter::{Filter, literal_beginning};
use crate::wire::hello::{self, Hello};
use crate::wire::reply::number;

/// What comes of a control request.
enum Outcome {
    /// It is answered at once.
    Reply(Reply),
    /// It is answered once all is stored that it caused.
    Taken(AcceptedRequest),
    /// It is answered once nothing is left of the durable group with this number.
    Deleting(u64),
}

impl<E> Core<E> {
    /// A control request.
    pub(super) fn control_request(&mut self, from: E, body: &[u8], now: Duration)
    where
        E: Asker,
    {
        match self.control(from.connection(), body, now) {
            Ok(Outcome::Reply(reply)) => self.out.queue.push_back(Effect::Reply(from, reply)),
            Ok(Outcome::Taken(taken)) => {
                self.answer(from, body.len(), Dialect::V2, Ok(taken), now);
            }
            Ok(Outcome::Deleting(number)) => {
                self.deleting.entry(number).or_default().push((from, body.len()));
            }
            Err(refusal) => self.refuse(from, refusal, Dialect::V2),
        }
    }

    fn control(
        &mut self,
        connection: ConnectionId,
        body: &[u8],
        now: Duration,
    ) -> Result<Outcome, Refusal> {
        let control = control::read(body)?;
        self.check_control(connection, &control)?;
        let reply = match control {
            Control::Hello(hello) => {
                let answer = self.hello(connection, &hello);
                let name = (!hello.name.is_empty()).then(|| hello.name.into());
                answer.map(|answer| Reply::Hello(answer, name))
            }
            Control::Subscribe(wanted) => self.subscribe(connection, &wanted, now),
            Control::Unsubscribe(number) => self.unsubscribe(connection, number),
            Control::Credit { number, bytes } => self.credit(connection, number, bytes),
            Control::Settle { number, verdict, ids } => {
                let taken = self.settle_jobs(connection, number, verdict, ids, now)?;
                return Ok(Outcome::Taken(taken));
            }
            Control::Letters(request) => self.letters_request(connection, &request),
            Control::Groups(request) => {
                self.check_asker(connection)?;
                match request {
                    durable::Request::Create { filter, group } => {
                        return self.create_group(&filter, &group, now).map(Outcome::Taken);
                    }
                    durable::Request::List { from, limit } => {
                        Ok(self.list_groups(connection, from, limit))
                    }
                    durable::Request::Delete { name, unsettled } => {
                        return self.delete_group(name, unsettled).map(Outcome::Deleting);
                    }
                }
            }
            Control::Retained(request) => match self.retained_request(connection, &request)? {
                Ok(taken) => return Ok(Outcome::Taken(taken)),
                Err(reply) => Ok(reply),
            },
        };
        reply.map(Outcome::Reply)
    }

    /// From now on this connection may publish as this publisher.
    pub(super) fn prove(&mut self, connection: ConnectionId, publisher: u64) {
        if self.proved.insert(connection, publisher).is_none() {
            self.publishers.get(publisher).connections += 1;
        }
    }

    /// Whether a connection said hello.
    pub(super) fn has_proved(&self, connection: ConnectionId) -> bool {
        self.proved.contains_key(&connection)
    }

    /// Whether a connection proved that it is a publisher.
    pub(super) fn check_proved(
        &self,
        connection: ConnectionId,
        publisher: u64,
    ) -> Result<(), Refusal> {
        if self.proved.get(&connection) == Some(&publisher) {
            Ok(())
        } else {
            Err(Refusal::NotYours { publisher })
        }
    }

    /// A client says which publisher it is, and proves it.
    fn hello(
        &mut self,
        connection: ConnectionId,
        &Hello { secret, .. }: &Hello<'_>,
    ) -> Result<hello::Answer, Refusal> {
        let publisher = hello::publisher(&secret);
        // The table of publishers forgets the oldest: no connection is to fill it.
        if let Some(&first) = self.proved.get(&connection)
            && first != publisher
        {
            return Err(Refusal::SecondPublisher { first });
        }
        let identity = self.identity(connection);
        let owner = (*identity != Identity::Nobody).then(|| Box::new(identity.clone()));
        let known = self.publishers.get(publisher);
        if known.secret.is_none() {
            (known.secret, known.owner) = (Some(secret), owner.clone());
        }
        // Two secrets can have one id. It is whose who came first, and another connection of his may take it over: he may
        // have connected anew before the end of the last one was seen.
        if known.secret != Some(secret) || known.owner != owner {
            return Err(Refusal::NotYours { publisher });
        }
        self.prove(connection, publisher);
        let max_message_bytes = self.rules.max_message_bytes as u64;
        let retry_interval_ms =
            u32::try_from(self.rules.retry_interval.as_millis()).unwrap_or(u32::MAX).max(1);
        Ok(hello::Answer { max_message_bytes, instance: self.instance, retry_interval_ms })
    }

    fn subscribe(
        &mut self,
        connection: ConnectionId,
        wanted: &Subscribe<'_>,
        now: Duration,
    ) -> Result<Reply, Refusal> {
        Self::check_with_last(wanted)?;
        let mut reply = Reply::Ok;
        match wanted.kind {
            Kind::Observer | Kind::Broadcast => {
                self.subscribers.add_native(connection, wanted, now)?;
            }
            Kind::Group(group) => {
                let ack_wait_ms = self.join(connection, wanted, &group, now)?;
                if self.has_proved(connection) {
                    reply = Reply::Answer(number(ack_wait_ms).into());
                }
                // Nothing of what waits is for a durable one.
                if self.groups.durable_number(group.name).is_some() {
                    return Ok(reply);
                }
            }
        }
        self.begin_giving(connection, wanted);
        if wanted.kind != Kind::Observer {
            let latest = self.latest_group();
            match wanted.filter {
                Filter::Name(name) => self.backlog.wake(name, true, latest),
                Filter::Prefix(prefix) => self.backlog.wake(prefix, false, latest),
                Filter::Pattern(pattern) => {
                    self.backlog.wake_pattern(pattern, literal_beginning(pattern));
                }
            }
        }
        Ok(reply)
    }

    fn unsubscribe(&mut self, connection: ConnectionId, number: u32) -> Result<Reply, Refusal> {
        let at = self.subscribers.find_native(connection, number)?;
        self.leave(at);
        self.givings.end(at);
        let is_clear = self.subscribers.remove_native(connection, number)?;
        if is_clear {
            self.out.queue.push_back(Effect::Granted { connection, is_clear });
        }
        // What only it was sent goes to others now.
        self.recalls.begin();
        self.backlog.try_again();
        Ok(Reply::Ok)
    }

    fn credit(
        &mut self,
        connection: ConnectionId,
        number: u32,
        bytes: u64,
    ) -> Result<Reply, Refusal> {
        let at = self.subscribers.grant(connection, number, bytes)?;
        if let Some(is_clear) = self.subscribers.note_credit(at) {
            self.out.queue.push_back(Effect::Granted { connection, is_clear });
        }
        self.go_on_giving(at);
        if self.groups.is_member(at) {
            self.credit_member(at, bytes);
        } else if self.subscribers.list_owing(at) {
            self.owing.push_back(at);
        }
        self.backlog.try_again();
        Ok(Reply::Ok)
    }
}
