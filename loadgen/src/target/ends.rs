//! The seam between a run and its target: one end for each publisher and subscriber.

use std::sync::Arc;

use ::mezzenger::{Client, RequestError, SendError};
use loadgen::report::TargetInfo;

use super::common::{ANSWER_TIMEOUT, Finished, Run};
#[cfg(feature = "libzmq")]
use super::libzmq::{self, SocketError};
#[cfg(feature = "peers")]
use super::peers::{self, PeerError};
use super::{info, mezzenger};
use crate::address::Target;
use crate::args::Settings;
use crate::child::ChildServer;
use crate::count::Count;
use crate::watcher::Watcher;
use mezzenger::ClientError;

/// Why there is no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// A client of this project failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A socket of libzmq failed.
    #[cfg(feature = "libzmq")]
    #[error(transparent)]
    Libzmq(#[from] SocketError),
    /// A client of another broker failed.
    #[cfg(feature = "peers")]
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// A client of this project says why.
    #[error(transparent)]
    Client(#[from] SendError),
    /// A client of this project says why there was no answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An answer has another payload than its request.
    #[error(
        "a request was answered with something else than its payload: the target mixes messages up"
    )]
    Answer,
    /// A connection was not opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A socket of libzmq says why.
    #[cfg(feature = "libzmq")]
    #[error(transparent)]
    Libzmq(#[from] SocketError),
    /// A client of another broker does.
    #[cfg(feature = "peers")]
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// Makes the ends of a run.
pub(crate) enum Ends {
    /// For a server of this project, or the forwarder.
    Mezzenger(mezzenger::Clients, TargetInfo),
    /// For the forwarder, with libzmq's sockets.
    #[cfg(feature = "libzmq")]
    Libzmq(libzmq::Sockets, TargetInfo),
    /// For another broker.
    #[cfg(feature = "peers")]
    Peer(peers::Peer),
}

impl Ends {
    /// Ends for the target that the settings name; `child` is the run's own server.
    pub(crate) fn new(
        settings: &Settings,
        run: &Run,
        child: Option<&ChildServer>,
    ) -> Result<Self, ConnectError> {
        match &settings.target.target {
            Target::Mezzenger | Target::Relay | Target::ZmqForwarder => {
                let clients = mezzenger::Clients::new(settings, run, child);
                Ok(Self::Mezzenger(clients, info::of_own(&settings.target)))
            }
            #[cfg(feature = "libzmq")]
            Target::Libzmq => {
                let child = child.expect("a run of libzmq starts the forwarder");
                let sockets = libzmq::Sockets::new(run, child)?;
                Ok(Self::Libzmq(sockets, info::of_own(&settings.target)))
            }
            #[cfg(not(feature = "libzmq"))]
            Target::Libzmq => unreachable!("a build without libzmq reads no such target"),
            #[cfg(feature = "peers")]
            Target::Peer(address) => Ok(Self::Peer(peers::Peer::connect(address, settings, run)?)),
            #[cfg(not(feature = "peers"))]
            Target::Peer(_) => unreachable!("a build without peers reads no such target"),
        }
    }

    /// What results say of the target.
    pub(crate) fn info(&self) -> &TargetInfo {
        match self {
            Self::Mezzenger(_, info) => info,
            #[cfg(feature = "libzmq")]
            Self::Libzmq(_, info) => info,
            #[cfg(feature = "peers")]
            Self::Peer(peer) => peer.info(),
        }
    }

    /// Connects a publisher.
    pub(crate) fn publisher(&self, index: u16) -> Result<PublisherEnd, ConnectError> {
        match self {
            Self::Mezzenger(clients, _) => {
                let names = clients.names();
                let client = clients.publisher(index)?;
                Ok(PublisherEnd::Mezzenger { client, names, requests: clients.requests() })
            }
            #[cfg(feature = "libzmq")]
            Self::Libzmq(sockets, _) => Ok(PublisherEnd::Libzmq(sockets.publisher()?)),
            #[cfg(feature = "peers")]
            Self::Peer(peer) => Ok(PublisherEnd::Peer(peer.publisher()?)),
        }
    }

    /// Connects a subscriber, with a watcher for each name. When this returns, what is published from
    /// then on arrives.
    pub(crate) fn subscriber(
        &self,
        index: u16,
        watchers: Vec<Watcher>,
    ) -> Result<SubscriberEnd, ConnectError> {
        match self {
            Self::Mezzenger(clients, _) => {
                Ok(SubscriberEnd::Mezzenger(clients.subscriber(index, watchers)?))
            }
            #[cfg(feature = "libzmq")]
            Self::Libzmq(sockets, _) => Ok(SubscriberEnd::Libzmq(sockets.subscriber(watchers)?)),
            #[cfg(feature = "peers")]
            Self::Peer(peer) => Ok(SubscriberEnd::Peer(peer.subscriber(watchers)?)),
        }
    }

    /// Opens a connection, waits until the target took it, and closes it.
    fn open_and_close(&self, index: u16) -> Result<(), ConnectError> {
        match self {
            Self::Mezzenger(clients, _) => Ok(clients.open_and_close(index)?),
            #[cfg(feature = "libzmq")]
            Self::Libzmq(sockets, _) => Ok(sockets.open_and_close()?),
            #[cfg(feature = "peers")]
            Self::Peer(peer) => Ok(peer.open_and_close()?),
        }
    }

    /// Messages acknowledged by subscribers so far; `None` where the server itself is asked.
    pub(crate) fn settled(&self) -> Option<u64> {
        match self {
            Self::Mezzenger(..) => None,
            #[cfg(feature = "libzmq")]
            Self::Libzmq(..) => None,
            #[cfg(feature = "peers")]
            Self::Peer(peer) => peer.settled(),
        }
    }

    /// Messages that wait for an acknowledgement; `None` where the server itself is asked.
    pub(crate) fn pending(&self) -> Result<Option<u64>, ConnectError> {
        match self {
            Self::Mezzenger(..) => Ok(None),
            #[cfg(feature = "libzmq")]
            Self::Libzmq(..) => Ok(None),
            #[cfg(feature = "peers")]
            Self::Peer(peer) => Ok(peer.pending()?),
        }
    }
}

/// A publisher's end: hands messages over, for one thread.
pub(crate) enum PublisherEnd {
    /// A client of this project.
    Mezzenger { client: Client, names: Arc<[String]>, requests: bool },
    /// Connections, each in place of a message.
    Connections { ends: Arc<Ends>, index: u16, count: u64, taken: Arc<Count> },
    /// A socket of libzmq.
    #[cfg(feature = "libzmq")]
    Libzmq(libzmq::Publisher),
    /// A client of another broker.
    #[cfg(feature = "peers")]
    Peer(Box<dyn peers::Publish>),
}

impl PublisherEnd {
    /// One that opens connections.
    pub(crate) fn of_connections(ends: Arc<Ends>, index: u16) -> Self {
        Self::Connections { ends, index, count: 0, taken: Arc::default() }
    }

    /// Hands a message over under the name with this index; waits for the answer if it is a request.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        name: usize,
        payload: &[u8],
        ack: bool,
    ) -> Result<(), PublishError> {
        match self {
            Self::Mezzenger { client, names, requests: false } => {
                match ack {
                    true => client.message(&names[name], payload).ack().publish()?,
                    false => client.publish(&names[name], payload)?,
                };
                Ok(())
            }
            Self::Mezzenger { client, names, requests: true } => {
                let answer = client.message(&names[name], payload).request(ANSWER_TIMEOUT)?;
                if answer.payload() == payload { Ok(()) } else { Err(PublishError::Answer) }
            }
            Self::Connections { ends, index, count, taken } => {
                ends.open_and_close(*index)?;
                *count += 1;
                taken.set(*count);
                Ok(())
            }
            #[cfg(feature = "libzmq")]
            Self::Libzmq(end) => Ok(end.publish(name, payload)?),
            #[cfg(feature = "peers")]
            Self::Peer(end) => Ok(end.publish(name, payload)?),
        }
    }

    /// Counts the messages that the server took.
    pub(crate) fn taken(&self) -> Taken {
        match self {
            Self::Mezzenger { client, .. } => Taken::Mezzenger(client.clone()),
            Self::Connections { taken, .. } => Taken::Counted(Arc::clone(taken)),
            #[cfg(feature = "libzmq")]
            Self::Libzmq(end) => Taken::Counted(end.taken()),
            #[cfg(feature = "peers")]
            Self::Peer(end) => Taken::Counted(end.taken()),
        }
    }

    /// Waits until every message is answered.
    pub(crate) fn finish(self) -> Finished<PublishError> {
        match self {
            Self::Mezzenger { client, .. } => {
                let failure = client.flush().err().map(PublishError::from);
                let refused = client.counters().failed;
                client.stop();
                Finished { refused, failure }
            }
            Self::Connections { .. } => Finished { refused: 0, failure: None },
            // What it has not sent yet leaves when it is closed, and subscribers are waited for.
            #[cfg(feature = "libzmq")]
            Self::Libzmq(_) => Finished { refused: 0, failure: None },
            #[cfg(feature = "peers")]
            Self::Peer(end) => {
                let Finished { refused, failure } = end.finish();
                Finished { refused, failure: failure.map(PublishError::from) }
            }
        }
    }
}

/// Counts the messages of one publisher that the server took, for other threads.
pub(crate) enum Taken {
    /// As the client counts answers.
    Mezzenger(Client),
    /// As the end counts them.
    Counted(Arc<Count>),
}

impl Taken {
    /// How many so far.
    pub(crate) fn get(&self) -> u64 {
        match self {
            Self::Mezzenger(client) => client.counters().published,
            Self::Counted(count) => count.get(),
        }
    }
}

/// A subscriber's end. Stopping it drops its watchers, which then return their ledgers.
pub(crate) enum SubscriberEnd {
    /// A client of this project.
    Mezzenger(Client),
    /// The thread of a socket of libzmq.
    #[cfg(feature = "libzmq")]
    Libzmq(libzmq::Reading),
    /// Tasks that read from another broker's client.
    #[cfg(feature = "peers")]
    Peer(peers::Reading),
}

impl SubscriberEnd {
    /// Ends it.
    pub(crate) fn stop(self) {
        match self {
            Self::Mezzenger(client) => client.stop(),
            #[cfg(feature = "libzmq")]
            Self::Libzmq(reading) => reading.stop(),
            #[cfg(feature = "peers")]
            Self::Peer(reading) => reading.stop(),
        }
    }
}
