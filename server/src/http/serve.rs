//! Accepts HTTP connections, within bounds for each.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;

use super::places::{Place, Places};
use super::{Shared, route};

/// How long the head of a request may take, and how long a connection may be without one.
const HEAD_TIME_MAX: Duration = Duration::from_secs(20);

/// How long a peer may take nothing of an answer.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// How long a connection that asks for no events may last: nobody keeps its place forever.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);

/// How long the listener pauses when the system has no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until the process ends.
pub(super) async fn run(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            return tracing::error!("cannot serve HTTP: cannot listen: {error}");
        }
    };
    let mut places = Places::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = Arc::new(Place::default());
                let serving = serve(stream, peer, Arc::clone(&shared), Arc::clone(&place));
                if places.take(peer.ip(), place, tokio::spawn(serving).abort_handle()) {
                    // Lets the one that lost its place close its socket, and others be read in between.
                    yield_now().await;
                }
            }
            Err(error) => {
                tracing::debug!("cannot take an HTTP connection: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, place: Arc<Place>) {
    // Answers leave whole.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(WRITE_TIME_MAX));
    let stream = Box::pin(stream);
    let told = Arc::clone(&place);
    let service = service_fn(move |request| {
        let (shared, place) = (Arc::clone(&shared), Arc::clone(&place));
        async move { Ok::<_, Infallible>(route::answer(request, &shared, peer, &place).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut ended = timeout(CONNECTION_TIME_MAX, connection.as_mut()).await;
    if ended.is_err() {
        connection.as_mut().graceful_shutdown();
        let left =
            if told.is_listening() { super::events::LISTENING_TIME_MAX } else { WRITE_TIME_MAX };
        ended = timeout(left, connection).await;
    }
    if let Ok(Err(error)) = ended {
        tracing::debug!(%peer, "an HTTP connection ended: {error}");
    }
}
