//! What clients and the server send to each other.

use bytes::Bytes;

use super::broken::Broken;
use super::network::{Party, Way};
use super::server::Output;
use super::world::{Address, Answer, Event, Says, World};

impl World {
    pub(super) fn wake(&mut self, party: Party) {
        let now = self.now;
        let connection = self.connections.entry(party).or_default();
        // Another one may have been scheduled before this one.
        if !connection.is_up || connection.wakes_at != Some(now) {
            return;
        }
        connection.wakes_at = None;
        let connection = connection.number;
        let random = &mut self.random;
        let sent = match party {
            Party::Publisher(index) => {
                let publisher = &mut self.publishers[index];
                publisher.wake(&mut self.ledger.catalog, &self.conditions, random, now)
            }
            Party::Subscriber(index) => self.subscribers[index].wake(&self.ledger.catalog, now),
        };
        for (request, body, says) in sent {
            let address = Address { party, connection, request, serial: 0 };
            // Without an identity, a copy would be another message.
            let copied = match &says {
                Says::Publish(numbers) => {
                    let made = self.ledger.catalog.get(numbers[0]);
                    made.ack || made.id.is_native()
                }
                _ => true,
            };
            let arrivals = self.network.send(&mut self.random, party, Way::Request, now);
            if arrivals.first.is_none() {
                self.ledger.tell("request lost");
            }
            for at in arrivals.first.into_iter().chain(arrivals.copy.filter(|_| copied)) {
                self.at(at, Event::Request(address, body.clone(), says.clone()));
            }
        }
        match party {
            Party::Publisher(index) if !self.publishers[index].is_done() => {
                let pause = self.conditions.pause_ms.clone();
                self.wake_after_ms(party, pause.start.max(1)..pause.end + 1);
            }
            Party::Subscriber(index) if !self.subscribers[index].is_done() => {
                self.wake_after_ms(party, 5..20);
            }
            _ => {}
        }
    }

    pub(super) fn send(&mut self, output: Output) {
        let (party, way) = match &output {
            Output::Deliver { subscriber, .. } => (Party::Subscriber(*subscriber), Way::Delivery),
            Output::Reply(to, _) => (to.party, Way::Reply),
        };
        let arrivals = self.network.send(&mut self.random, party, way, self.now);
        if arrivals.first.is_none() {
            self.ledger.tell(if way == Way::Reply { "reply lost" } else { "delivery lost" });
        }
        for at in arrivals.first.into_iter().chain(arrivals.copy) {
            let event = match &output {
                Output::Deliver { subscriber, connection, frame } => Event::Delivery {
                    subscriber: *subscriber,
                    connection: *connection,
                    frame: frame.clone(),
                },
                Output::Reply(to, answer) => Event::Reply(*to, *answer),
            };
            self.at(at, event);
        }
    }

    pub(super) fn answered(&mut self, to: Address, answer: Answer) {
        match to.party {
            Party::Publisher(index) => {
                let publisher = &mut self.publishers[index];
                publisher.answered(to.request, answer, &mut self.random, self.now);
            }
            Party::Subscriber(index) => {
                self.subscribers[index].answered(to.request);
                self.wake_at(to.party, self.now);
            }
        }
    }

    pub(super) fn delivered(&mut self, index: usize, frame: &Bytes) -> Result<(), Broken> {
        let (format, numbers) = self.ledger.catalog.read(frame).map_err(Broken::Forged)?;
        let subscriber = &mut self.subscribers[index];
        if format != subscriber.format {
            return Err(Broken::Forged("a frame of the other format".into()));
        }
        let (catalog, failing) = (&self.ledger.catalog, self.conditions.failing);
        let done = subscriber.receive(catalog, &numbers, failing, &mut self.random);
        for number in done {
            self.ledger.story(number).done = true;
        }
        self.wake_after_ms(Party::Subscriber(index), 1..20);
        Ok(())
    }
}
