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

use super::admission::Admission;
use super::mailroom::Mailroom;
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
        let mut admission = Admission::new(&settings.limits);
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                Some(left) = sessions.join_next_with_id() => admission.leave(session_id(&left)),
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) if admission.has_room_for(peer.ip()) => {
                        let session = converse(stream, peer, mailroom.clone(), settings.clone(), drain.child_token());
                        admission.enter(sessions.spawn(session).id(), peer.ip());
                    }
                    Ok((stream, _)) => turn_away(&stream),
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.socket);
        while sessions.join_next().await.is_some() {}
    }
}

fn session_id(left: &Result<(tokio::task::Id, ()), tokio::task::JoinError>) -> tokio::task::Id {
    match left {
        Ok((id, ())) => *id,
        Err(panicked) => {
            tracing::error!(error = %panicked, "a session panicked");
            panicked.id()
        }
    }
}

async fn converse<M: Mailroom>(
    stream: TcpStream,
    peer: SocketAddr,
    mailroom: Arc<M>,
    settings: Arc<Settings>,
    drain: CancellationToken,
) {
    // Replies are small and each is waited for: Nagle's algorithm would hold them back. Slow is not wrong, though.
    let _ = stream.set_nodelay(true);
    let end = Session::new(stream, peer, &*mailroom, &settings, drain).run().await;
    tracing::debug!(peer = %peer, %end, "session ended");
}

/// Says why in one write that can not block: the send buffer of a fresh connection is empty.
fn turn_away(stream: &TcpStream) {
    let mut line = Vec::new();
    reply::TOO_MANY_SESSIONS.write_to(&mut line);
    // A client that is gone already needs no answer.
    let _ = stream.try_write(&line);
}
