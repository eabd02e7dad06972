//! The listener: accepts connections, in clear or over TLS, serves HTTP/1.1 and HTTP/2 on them, and drains.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
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
use ipnet::IpNet;
use nix::sys::resource::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::admission::{Admission, Place};

use super::auth::ClientAddr;
use super::error::{Kind, Problem};
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

/// When somebody may come again who has too many connections, in seconds.
const AGAIN_AFTER: u32 = 5;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The certificate in force; `None`: in clear.
type Tls = Option<watch::Receiver<Arc<ServerConfig>>>;

/// How many connections there may be at once at all doors of HTTP. Clones share them.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    admission: Admission,
    proxies: Arc<[IpNet]>,
}

impl Places {
    /// As many as the limit on open files allows: a quarter of them is left to workers and the database, so that mail
    /// that has been accepted goes out however many clients come. One address may have half of them, and one of
    /// `proxies`, behind which many are, all.
    pub fn new(proxies: &[IpNet]) -> Places {
        Places::of(room(getrlimit(Resource::RLIMIT_NOFILE).ok()), proxies)
    }

    fn of(most: usize, proxies: &[IpNet]) -> Places {
        Places {
            free: Arc::new(Semaphore::new(most)),
            admission: Admission::new(most, most / 2),
            proxies: proxies.into(),
        }
    }

    /// A place for a peer; `None`: he has all that he may have.
    fn admit(&self, peer: IpAddr) -> Option<Place> {
        let place = self.admission.enter()?;
        let peer = peer.to_canonical();
        if self.proxies.iter().any(|net| net.contains(&peer)) { Some(place) } else { place.of(peer) }
    }
}

/// Serves until `stop`; then no new connection is accepted, open ones finish the request they are at, and this
/// returns when all have.
pub async fn serve(listener: TcpListener, tls: Tls, router: Router, places: Places, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let free = tokio::select! {
            () = stop.cancelled() => break,
            free = Arc::clone(&places.free).acquire_owned() => free,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
                let place = places.admit(peer.ip());
                connections.spawn(async move {
                    let _free = free;
                    match place {
                        Some(_place) => converse(socket, tls, peer, router, stop).await,
                        // A handshake is more than one who has so much already is worth.
                        None if tls.is_some() => drop(socket),
                        None => turn_away(socket, peer).await,
                    }
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

/// Answers one request with the reason, and no more.
async fn turn_away(socket: TcpStream, peer: SocketAddr) {
    let full = || async {
        Problem::new(Kind::RateLimited, "this address has all the connections that one address may have")
            .retry_after(AGAIN_AFTER)
    };
    let ending = CancellationToken::new();
    ending.cancel();
    connection(socket, peer, Router::new().fallback(full), ending).await;
}

/// How many connections there may be with this limit on open files.
fn room(files: Option<(u64, u64)>) -> usize {
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;
    use crate::testing::identity;

    #[test]
    fn a_quarter_of_the_files_is_left_to_others() {
        assert_eq!(room(Some((1024, 4096))), 768);
        assert_eq!(room(Some((1_048_576, 1_048_576))), 20_000);
        assert_eq!(room(None), 20_000);
    }

    /// What somebody at `source` is answered, and the connection, which is kept.
    async fn ask(source: &str, door: SocketAddr) -> (TcpStream, String) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("a loopback address");
        let mut socket = socket.connect(door).await.expect("somebody listens");
        socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        let mut answer = vec![0; 4096];
        let length = socket.read(&mut answer).await.expect("an answer");
        answer.truncate(length);
        (socket, String::from_utf8(answer).expect("text"))
    }

    #[tokio::test]
    async fn an_address_with_half_of_all_connections_is_turned_away_and_others_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let door = listener.local_addr().expect("bound");
        let (places, stop) =
            (Places::of(8, &["127.0.0.9/32".parse().expect("a network")]), CancellationToken::new());
        let router = Router::new().fallback(|| async { "come in" });
        let serving = tokio::spawn(serve(listener, None, router, places, stop.clone()));

        let mut inside = Vec::new();
        for _ in 0..4 {
            let (socket, answer) = ask("127.0.0.2", door).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            inside.push(socket);
        }
        let (mut refused, answer) = ask("127.0.0.2", door).await;
        assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 5"), "{answer}");
        assert!(answer.contains("rate_limited"), "{answer}");
        refused.read_to_end(&mut Vec::new()).await.expect("it ends");
        let (_other, answer) = ask("127.0.0.3", door).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

        // What is given back is free again, and all of it for a proxy, behind which many are.
        drop(inside.pop());
        let again = loop {
            let (socket, answer) = ask("127.0.0.2", door).await;
            if answer.starts_with("HTTP/1.1 200") {
                break socket;
            }
        };
        drop((again, inside));
        let mut many = Vec::new();
        for _ in 0..7 {
            let (socket, answer) = ask("127.0.0.9", door).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            many.push(socket);
        }
        stop.cancel();
        drop(many);
        serving.await.expect("it ends");
    }

    #[tokio::test]
    async fn two_doors_count_together_and_the_one_with_tls_drops_whom_it_turns_away() {
        let clear = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let secure = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (clear_door, secure_door) =
            (clear.local_addr().expect("bound"), secure.local_addr().expect("bound"));
        let (certificate, connector) = identity("localhost");
        // The channel's other end is not needed to read what is in it.
        let tls = Some(watch::channel(certificate).1);
        let (places, stop) = (Places::of(4, &[]), CancellationToken::new());
        let router = Router::new().fallback(|| async { "come in" });
        let serving = [
            tokio::spawn(serve(clear, None, router.clone(), places.clone(), stop.clone())),
            tokio::spawn(serve(secure, tls, router, places, stop.clone())),
        ];
        let shake_hands = async || {
            let socket = TcpStream::connect(secure_door).await.expect("somebody listens");
            connector.connect("localhost".try_into().expect("a name"), socket).await
        };

        // Half of four: one at each door.
        let (at_clear, answer) = ask("127.0.0.1", clear_door).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let at_secure = shake_hands().await.expect("a handshake");
        let (_refused, answer) = ask("127.0.0.1", clear_door).await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        shake_hands().await.expect_err("dropped before the handshake");

        drop(at_clear);
        // It is given back once the server has read the end.
        let began = std::time::Instant::now();
        let again = loop {
            match shake_hands().await {
                Ok(stream) => break stream,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error}"),
            }
        };
        stop.cancel();
        drop((at_secure, again));
        for door in serving {
            door.await.expect("it ends");
        }
    }
}
