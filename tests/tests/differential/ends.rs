//! Both ends, and the comparison of what they make of a script.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mezzenger::wire::confirm;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::name;

use super::difference::{Difference, Fate};
use super::oracle::Oracle;
use super::play::{End, Peer, Script};
use super::walk::{Port, Stage, walk};
use crate::harness::native::assert_ok;
use crate::harness::raw::{part, request, subscription};
use crate::harness::{Native, Raw, Server};

/// Names under which messages are published after a script's subscriptions.
pub(super) const NAMES: [&str; 3] = ["aa", "ab", "b"];

/// How long a good client may have to wait: what one of the original format waits for an answer.
const SERVED_WITHIN: Duration = Duration::from_secs(2);

/// The envelope of a request that tells whether all before it was answered.
const PROBE: &[u8] = b"\xf0probe";

/// The server and libzmq, each with its two ports, and good clients of the server.
pub(super) struct Ends {
    server: Server,
    oracle: Oracle,
    native: Native,
    requester: Raw,
    subscriber: Raw,
    token: u128,
}

impl Ends {
    pub(super) fn start() -> Self {
        let server = Server::start::<&str>(&[]);
        let mut subscriber = Raw::connect(server.pub_addr, "SUB");
        subscriber.say(&subscription(&v2_prefix("good")));
        subscriber.confirm();
        Self {
            native: Native::connect(&server),
            requester: Raw::connect(server.recv_addr, "DEALER"),
            subscriber,
            oracle: Oracle::start(),
            server,
            token: 0,
        }
    }

    fn address(&self, end: End, port: Port) -> SocketAddr {
        match (end, port) {
            (End::Ours, Port::Requests) => self.server.recv_addr,
            (End::Ours, Port::Publishing) => self.server.pub_addr,
            (End::Libzmq, Port::Requests) => self.oracle.requests,
            (End::Libzmq, Port::Publishing) => self.oracle.publishing,
        }
    }

    /// Says a script to an end.
    fn play(&mut self, end: End, script: &Script) -> Result<Peer, String> {
        let mut peer = Peer::connect(end, self.address(end, script.port));
        let requester = &mut self.requester;
        peer.play(script, || match end {
            // The server reads what came before from all connections before it answers.
            End::Ours => ping(requester),
            End::Libzmq => Ok(()),
        })?;
        Ok(peer)
    }

    /// Checks that both ends make the same of a script, up to its first allowed difference, and that the
    /// server then does what stands in the list. How far that is comes back.
    pub(super) fn check(&mut self, script: &Script) -> Result<Stage, String> {
        let found = walk(script.port, &script.bytes);
        let mut whole = script.clone();
        whole.bytes.truncate(found.whole);
        if found.in_message {
            whole.bytes.extend(part(b"", false));
        }
        let ours = &mut self.play(End::Ours, &whole)?;
        let libzmq = &mut self.play(End::Libzmq, &whole)?;
        match found.stage {
            Stage::Open => self.probe(script.port, ours, libzmq)?,
            Stage::Dead => {
                ours.hear_the_end()?;
                libzmq.hear_the_end()?;
            }
            Stage::Handshake => {
                for peer in [&mut *ours, &mut *libzmq] {
                    peer.fall_silent();
                    peer.hear_the_end()?;
                }
            }
        }
        let (ours, libzmq) = (ours.outcome(script.port)?, libzmq.outcome(script.port)?);
        match found.stage {
            Stage::Handshake => ours.compare_greeting(&libzmq, &whole.bytes)?,
            _ => ours.compare(&libzmq)?,
        }
        match found.difference {
            Some(Difference { ours: Fate::Closed, what, .. }) => {
                let mut ours = self.play(End::Ours, script)?;
                ours.hear_the_end().map_err(|error| format!("{what}: {error}"))?;
            }
            Some(_) => {}
            None if found.whole < script.bytes.len() => self.check_cut(script)?,
            None => {}
        }
        self.check_good_clients(script.port)?;
        Ok(found.stage)
    }

    /// As [`Self::check`], for a peer that leaves where the script ends.
    pub(super) fn check_cut(&mut self, script: &Script) -> Result<(), String> {
        let mut outcomes = Vec::new();
        for end in [End::Ours, End::Libzmq] {
            let mut peer = self.play(end, script)?;
            peer.fall_silent();
            peer.hear_the_end()?;
            outcomes.push(peer.outcome(script.port)?);
        }
        outcomes[0].compare(&outcomes[1])?;
        self.check_good_clients(script.port)
    }

    /// Waits until both ends have answered all that they were told: by a request behind it, or by messages for
    /// its subscriptions.
    fn probe(&mut self, port: Port, ours: &mut Peer, libzmq: &mut Peer) -> Result<(), String> {
        let mut peers = [ours, libzmq];
        match port {
            Port::Requests => {
                let probe = [part(PROBE, true), request(&v2_prefix(name::PING))].concat();
                let answer = [part(PROBE, true), request(b"OK")].concat();
                for peer in &mut peers {
                    peer.say(&probe);
                    peer.hear_until("the answer to a probe", |peer| peer.ends_with(&answer))?;
                }
            }
            Port::Publishing => {
                self.confirm(&mut peers)?;
                let frames = NAMES.map(|name| self.native.frame(name, b"hello", false));
                for frame in &frames {
                    self.native.send(frame);
                }
                for _ in &frames {
                    assert_ok(&self.native.reply());
                }
                self.oracle.publish(&frames);
                self.oracle.publish(&NAMES.map(|name| format!("{name}|").into_bytes()));
                self.confirm(&mut peers)?;
            }
        }
        Ok(())
    }

    /// Waits until both ends know all subscriptions, and sent all messages that came before.
    fn confirm(&mut self, peers: &mut [&mut Peer; 2]) -> Result<(), String> {
        self.token += 1;
        let topic = confirm::topic(self.token);
        for peer in peers {
            peer.say(&subscription(&topic));
            peer.hear_until("a confirmation", |peer| peer.ends_with(&part(&topic, false)))?;
        }
        Ok(())
    }

    /// Checks that the server serves others at once.
    fn check_good_clients(&mut self, port: Port) -> Result<(), String> {
        let start = Instant::now();
        match port {
            Port::Requests => ping(&mut self.requester)?,
            Port::Publishing => {
                let frame = self.native.frame("good", b"hello", false);
                assert_ok(&self.native.request(&frame));
                if self.subscriber.hear().as_ref() != Some(&frame) {
                    return Err("a good subscriber lost a message".to_owned());
                }
            }
        }
        let took = start.elapsed();
        if took > SERVED_WITHIN { Err(format!("a good client waited {took:?}")) } else { Ok(()) }
    }

    /// Checks an allowed difference by an example of it, for either end: both do what the list says. What ZMTP
    /// 1.0 says behind it is no request of a later version: `probe` is one, and the end of its answer.
    pub(super) fn check_difference(
        &mut self,
        difference: &Difference,
        scripts: [&Script; 2],
        probe: Option<[&[u8]; 2]>,
    ) -> Result<(), String> {
        for script in scripts {
            let found = walk(script.port, &script.bytes).difference;
            if found != Some(*difference) {
                return Err(format!("an example of another difference: {found:?}"));
            }
        }
        let script = scripts[0];
        let mut ours = self.play(End::Ours, script)?;
        let mut libzmq = self.play(End::Libzmq, scripts[1])?;
        let fates = [difference.ours, difference.libzmq];
        for (peer, fate) in [&mut ours, &mut libzmq].into_iter().zip(fates) {
            if fate == Fate::Closed {
                peer.hear_the_end()?;
            }
        }
        match probe {
            // It is answered by who is left.
            None => self.probe(script.port, &mut ours, &mut libzmq)?,
            Some([probe, answer]) => {
                libzmq.say(probe);
                libzmq.hear_until("the answer to a probe", |peer| peer.ends_with(answer))?;
            }
        }
        let found =
            [&ours, &libzmq].map(|peer| if peer.has_ended() { Fate::Closed } else { Fate::Kept });
        if found != fates {
            return Err(format!("the ends' fates are {found:?}"));
        }
        if fates[0] == fates[1] && ours.outcome(script.port)? == libzmq.outcome(script.port)? {
            return Err("there is no difference".to_owned());
        }
        self.check_good_clients(script.port)
    }
}

fn ping(requester: &mut Raw) -> Result<(), String> {
    if requester.try_say(&request(&v2_prefix(name::PING)))
        && requester.hear().as_deref() == Some(b"OK")
    {
        Ok(())
    } else {
        Err("a good client got no answer".to_owned())
    }
}
