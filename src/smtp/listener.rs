//! The socket of a receiver: who is let in, and how everyone leaves.
//!
//! Invariant: sessions never outlive [`Listener::serve`], and it never outlives its last session.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Place};

use super::mailroom::Mailroom;
use super::proxy;
use super::reply;
use super::session::Session;
use super::settings::Settings;

/// The pause after a failed accept: it is mostly a lack of file descriptors, which ends when sessions do.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket that no one is served on yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Binds; port 0 takes any free port.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await? })
    }

    /// Where clients reach it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `drain` is cancelled: then no one is let in, sessions between commands get `421 4.3.2`, those
    /// in the middle of DATA finish their mail, and when the last has left this returns. Dropping the future
    /// instead cuts all sessions at once: that is how a drain deadline is enforced.
    pub async fn serve<M: Mailroom>(
        self,
        mailroom: Arc<M>,
        settings: Arc<Settings>,
        drain: CancellationToken,
    ) {
        let mut sessions = JoinSet::new();
        let limits = &settings.limits;
        let admission = Admission::new(limits.sessions, limits.sessions_per_peer);
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                Some(left) = sessions.join_next() => notice(left),
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => match place(&admission, &settings, peer) {
                        Some(place) => {
                            let guest = Guest { stream, peer, place, drain: drain.child_token() };
                            sessions.spawn(converse(guest, mailroom.clone(), settings.clone()));
                        }
                        None => turn_away(&stream),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.socket);
        while let Some(left) = sessions.join_next().await {
            notice(left);
        }
    }
}

/// Who was let in.
struct Guest {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    drain: CancellationToken,
}

/// A place for a new connection; behind a proxy it is the proxy that says among whose it counts.
fn place(admission: &Admission, settings: &Settings, peer: SocketAddr) -> Option<Place> {
    let place = admission.enter()?;
    if settings.trusts(peer.ip()) { Some(place) } else { place.of(peer.ip()) }
}

fn notice(left: Result<(), tokio::task::JoinError>) {
    if let Err(panicked) = left {
        tracing::error!(error = %panicked, "a session panicked");
    }
}

async fn converse<M: Mailroom>(guest: Guest, mailroom: Arc<M>, settings: Arc<Settings>) {
    let Guest { mut stream, mut peer, mut place, drain } = guest;
    if settings.trusts(peer.ip()) {
        match proxy::client(&mut stream, peer).await {
            Ok(client) => peer = client,
            Err(error) => return tracing::debug!(peer = %peer, %error, "no usable PROXY header"),
        }
        match place.of(peer.ip()) {
            Some(counted) => place = counted,
            None => return turn_away(&stream),
        }
    }
    // Replies are small and each is waited for: Nagle's algorithm would hold them back. Slow is not wrong, though.
    let _ = stream.set_nodelay(true);
    let end = Session::new(stream, peer, &*mailroom, &settings, drain).run().await;
    drop(place);
    tracing::debug!(peer = %peer, %end, "session ended");
}

/// Says why in one write that can not block: the send buffer of a fresh connection is empty.
fn turn_away(stream: &TcpStream) {
    let mut line = Vec::new();
    reply::TOO_MANY_SESSIONS.write_to(&mut line);
    // A client that is gone already needs no answer.
    let _ = stream.try_write(&line);
}
