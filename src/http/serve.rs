//! The listener: accepts connections, in clear or over TLS, serves HTTP/1.1 and HTTP/2 on them, and drains.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use nix::sys::resource::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::auth::ClientAddr;
use super::patience::{IDLE_TIMEOUT, Patience, Requests};

/// HTTP/2: how often an idle peer is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(60);
/// Connections at once, where the process may open enough files; beyond, clients wait to be accepted.
const CONNECTIONS: u64 = 20_000;
/// How long a drain waits for another request on an idle connection: one may be under way, and its client can
/// not know that nobody will answer it.
const LAST_REQUEST: Duration = Duration::from_millis(500);
/// After a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The certificate in force; `None`: in clear.
type Tls = Option<watch::Receiver<Arc<ServerConfig>>>;

/// Serves until `stop`; then no new connection is accepted, open ones finish the request they are at, and this
/// returns when all have.
pub async fn serve(listener: TcpListener, tls: Tls, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(places(getrlimit(Resource::RLIMIT_NOFILE).ok())));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
                connections.spawn(async move {
                    let _place = place;
                    converse(socket, tls, peer, router, stop).await;
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    for (socket, peer) in backlog(listener) {
        connections.spawn(converse(socket, tls.clone(), peer, router.clone(), stop.clone()));
    }
    connections.close();
    connections.wait().await;
}

/// How many connections there may be with this limit on open files: a quarter of them is left to workers and the
/// database, so that mail that has been accepted goes out however many clients come.
fn places(files: Option<(u64, u64)>) -> usize {
    let most = files.map_or(CONNECTIONS, |(soft, _)| CONNECTIONS.min(soft / 4 * 3));
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Whom the kernel has let in already: their requests are under way, and would be lost with the listener. Asked of
/// the socket itself, since the runtime may not have heard of them yet.
fn backlog(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let waiting = std::iter::from_fn(|| listener.accept().ok());
    let usable = |(socket, peer): (std::net::TcpStream, SocketAddr)| {
        socket.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(socket).ok()?, peer))
    };
    waiting.filter_map(usable).collect()
}

async fn converse(socket: TcpStream, tls: Tls, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Best effort: without it small answers may wait for an acknowledgement.
    let _ = socket.set_nodelay(true);
    let Some(tls) = tls else { return connection(socket, peer, router, stop).await };
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => connection(stream, peer, router, stop).await,
        Ok(Err(error)) => tracing::debug!(error = %error, "a handshake failed"),
        Err(_) => tracing::debug!("a handshake took too long"),
    }
}

async fn connection<S>(socket: S, peer: SocketAddr, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Arc::new(Requests::default());
    let socket = Patience::new(socket, Arc::clone(&requests));
    let (begun, stopping) = (Arc::clone(&requests), stop.clone());
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let running = begun.enter();
        let stopping = stopping.clone();
        let mut request: Request = request.map(|body| Body::new(begun.body(body)));
        request.extensions_mut().insert(ClientAddr(peer));
        let is_http1 = request.version() < Version::HTTP_2;
        let router = router.clone();
        async move {
            let mut answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            drop(running);
            // Said here too: an answer that is ready at once is on its way before `drain` hears of its request.
            if stopping.is_cancelled() && is_http1 {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    // Not `pipeline_flush`: an answer before the end of its request's body would never be sent (hyper 1.12).
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(200).keep_alive_interval(PING_INTERVAL);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let drain = async {
        stop.cancelled().await;
        // Either way it ends now: after the request that it has, or because it has none.
        let _ = tokio::time::timeout(LAST_REQUEST, requests.some()).await;
    };
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = drain => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_files_is_left_to_others() {
        assert_eq!(places(Some((1024, 4096))), 768);
        assert_eq!(places(Some((1_048_576, 1_048_576))), 20_000);
        assert_eq!(places(None), 20_000);
    }
}
