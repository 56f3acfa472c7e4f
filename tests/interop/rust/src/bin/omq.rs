//! A client for the interop matrix, of the crate `omq-tokio`.

use std::sync::LazyLock;
use std::time::Duration;

use mezzenger_interop_clients::{Failure, Kind, Settings, Socket, serve};
use omq_tokio::{
    Context, CurveKeypair, CurvePublicKey, CurveSecretKey, Error, Message, Options, SocketType,
    blocking,
};

static CONTEXT: LazyLock<Context> = LazyLock::new(Context::new);

struct Omq(blocking::Socket);

impl Socket for Omq {
    const VERSION: &str = "omq-tokio 0.33.0";

    fn open(kind: Kind, endpoint: &str, settings: &Settings) -> Result<Self, Failure> {
        if settings.correlate {
            let why = "omq-tokio 0.33.0 has neither REQ_CORRELATE nor REQ_RELAXED";
            return Err(Failure::Unsupported(why.to_owned()));
        }
        let mut options = Options::default().linger(Duration::ZERO);
        if let Some(interval) = settings.heartbeat {
            options = options
                .heartbeat_interval(interval)
                .heartbeat_ttl(10 * interval)
                .heartbeat_timeout(10 * interval);
        }
        if let Some(identity) = &settings.identity {
            options = options.identity(identity.clone());
        }
        if let Some(keys) = &settings.curve {
            let own = CurveKeypair {
                public: CurvePublicKey::from_z85(&keys.public).map_err(Failure::failed)?,
                secret: CurveSecretKey::from_z85(&keys.secret).map_err(Failure::failed)?,
            };
            let server = CurvePublicKey::from_z85(&keys.server).map_err(Failure::failed)?;
            options = options.curve_client(own, server);
        }
        let kind = match kind {
            Kind::Req => SocketType::Req,
            Kind::Dealer => SocketType::Dealer,
            Kind::Sub => SocketType::Sub,
        };
        let socket = CONTEXT.blocking_socket(kind, options);
        socket.connect(endpoint).map_err(Failure::failed)?;
        Ok(Self(socket))
    }

    fn subscribe(&mut self, prefix: &str) -> Result<(), Failure> {
        self.0.subscribe(prefix.to_owned()).map_err(Failure::failed)
    }

    fn unsubscribe(&mut self, prefix: &str) -> Result<(), Failure> {
        self.0.unsubscribe(prefix.to_owned()).map_err(Failure::failed)
    }

    fn send(&mut self, frames: Vec<Vec<u8>>) -> Result<(), Failure> {
        self.0.send(Message::multipart(frames)).map_err(Failure::failed)
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        match self.0.recv_timeout(timeout) {
            Ok(message) => {
                let frames = (0..message.len()).filter_map(|n| message.get(n));
                Ok(Some(frames.map(<[u8]>::to_vec).collect()))
            }
            Err(Error::Timeout) => Ok(None),
            Err(error) => Err(Failure::failed(error)),
        }
    }
}

fn main() {
    serve::<Omq>();
}
