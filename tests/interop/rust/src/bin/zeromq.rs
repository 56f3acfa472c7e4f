//! A client for the interop matrix, of the crate `zeromq`.

use std::sync::LazyLock;
use std::time::Duration;

use mezzenger_interop_clients::{Failure, Kind, Settings, Socket, serve};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use zeromq::{
    DealerSocket, ReqSocket, Socket as _, SocketOptions, SocketRecv, SocketSend, SubSocket,
    ZmqMessage, util::PeerIdentity,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

enum Zeromq {
    Req(ReqSocket),
    Dealer(DealerSocket),
    Sub(SubSocket),
}

fn unsupported<T>(what: &str) -> Result<T, Failure> {
    Err(Failure::Unsupported(format!("zeromq 0.7.0 has no {what}")))
}

impl Socket for Zeromq {
    const VERSION: &str = "zeromq 0.7.0";

    fn open(kind: Kind, endpoint: &str, settings: &Settings) -> Result<Self, Failure> {
        if settings.heartbeat.is_some() {
            return unsupported("heartbeats");
        }
        if settings.correlate {
            return unsupported("REQ_CORRELATE and no REQ_RELAXED");
        }
        if settings.curve.is_some() {
            return unsupported("CURVE");
        }
        let mut options = SocketOptions::default();
        if let Some(identity) = &settings.identity {
            options.peer_identity(identity.parse::<PeerIdentity>().map_err(Failure::failed)?);
        }
        RUNTIME.block_on(async {
            let (socket, connected);
            match kind {
                Kind::Req => {
                    let mut req = ReqSocket::with_options(options);
                    connected = req.connect(endpoint).await;
                    socket = Self::Req(req);
                }
                Kind::Dealer => {
                    let mut dealer = DealerSocket::with_options(options);
                    connected = dealer.connect(endpoint).await;
                    socket = Self::Dealer(dealer);
                }
                Kind::Sub => {
                    let mut sub = SubSocket::with_options(options);
                    connected = sub.connect(endpoint).await;
                    socket = Self::Sub(sub);
                }
            }
            connected.map(|()| socket).map_err(Failure::failed)
        })
    }

    fn subscribe(&mut self, prefix: &str) -> Result<(), Failure> {
        let Self::Sub(socket) = self else { return unsupported("subscriptions here") };
        RUNTIME.block_on(socket.subscribe(prefix)).map_err(Failure::failed)
    }

    fn unsubscribe(&mut self, prefix: &str) -> Result<(), Failure> {
        let Self::Sub(socket) = self else { return unsupported("subscriptions here") };
        RUNTIME.block_on(socket.unsubscribe(prefix)).map_err(Failure::failed)
    }

    fn send(&mut self, frames: Vec<Vec<u8>>) -> Result<(), Failure> {
        let mut frames = frames.into_iter();
        let first = frames.next().ok_or_else(|| Failure::Failed("no frames".to_owned()))?;
        let mut message = ZmqMessage::from(first);
        for frame in frames {
            message.push_back(frame.into());
        }
        RUNTIME
            .block_on(async {
                match self {
                    Self::Req(socket) => socket.send(message).await,
                    Self::Dealer(socket) => socket.send(message).await,
                    Self::Sub(_) => Ok(()),
                }
            })
            .map_err(Failure::failed)
    }

    fn receive(&mut self, time: Duration) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let received = RUNTIME.block_on(async {
            match self {
                Self::Req(socket) => timeout(time, socket.recv()).await,
                Self::Dealer(socket) => timeout(time, socket.recv()).await,
                Self::Sub(socket) => timeout(time, socket.recv()).await,
            }
        });
        match received {
            Ok(Ok(message)) => Ok(Some(message.iter().map(|frame| frame.to_vec()).collect())),
            Ok(Err(error)) => Err(Failure::failed(error)),
            Err(_elapsed) => Ok(None),
        }
    }
}

fn main() {
    serve::<Zeromq>();
}
