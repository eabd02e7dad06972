//! How long a connection is waited for. hyper has one timer, for the head of a request, and runs it while the
//! connection is idle too; but an idle connection is a client's good habit, and half a head for ten seconds is
//! an attack (slowloris). So hyper's timer is for idle connections, and the stream under it times heads.
//!
//! Not for bodies, which `extract` times, nor for HTTP/2, where heads come in frames among pings.
//!
//! And how long it is listened to at its end: who has been answered in the middle of a body may still be sending,
//! and a socket that is closed with something unread resets the connection, with which the answer is lost
//! (RFC 9112 §9.6).

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Sleep;

/// An idle connection is kept for so long: longer than proxies keep theirs (60 s is common), so that it is they
/// who close, and never in the moment at which we do.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// From the first octet of a head to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long somebody who goes on sending is listened to after the last word.
const LINGER: Duration = Duration::from_secs(2);
/// How HTTP/2 begins (RFC 9113 §3.4).
const HTTP2: &[u8] = b"PRI ";

/// What the service tells the stream under it.
#[derive(Debug, Default)]
pub struct Requests {
    begun: AtomicU64,
    running: AtomicBool,
    /// The body of the last one was not read to its end.
    unread: AtomicBool,
    next: Notify,
}

impl Requests {
    /// A head has been read: its request runs until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> Running {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.store(true, Ordering::Relaxed);
        self.next.notify_waiters();
        Running(Arc::clone(self))
    }

    /// The body of a request, of which is known whether all of it has been read.
    pub fn body(self: &Arc<Self>, body: Incoming) -> Heard {
        Heard { ended: body.is_end_stream(), body, requests: Arc::clone(self) }
    }

    /// Waits until there is one, unless one is running.
    pub async fn some(&self) {
        let next = self.next.notified();
        tokio::pin!(next);
        next.as_mut().enable();
        if !self.running.load(Ordering::Relaxed) {
            next.await;
        }
    }

    /// How many there have been.
    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

/// A request that is being answered.
pub struct Running(Arc<Requests>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Relaxed);
    }
}

/// A body that tells whether it was read to its end.
pub struct Heard {
    body: Incoming,
    ended: bool,
    requests: Arc<Requests>,
}

impl Body for Heard {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.ended = frame.is_none() || self.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.requests.unread.store(!self.ended, Ordering::Relaxed);
    }
}

/// A stream that ends when the head of a request takes too long.
#[derive(Debug)]
pub struct Patience<S> {
    stream: S,
    requests: Arc<Requests>,
    protocol: Protocol,
    head: Option<Head>,
    /// Our last word has been said: until when more is read, and thrown away.
    linger: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Unknown,
    Http1,
    Http2,
}

/// A head of which something has come.
#[derive(Debug)]
struct Head {
    /// How many requests had begun before it: when there are more, it is complete.
    before: u64,
    /// Made when the rest has to be waited for, which is rare.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Patience<S> {
    /// Times the heads on `stream`.
    pub fn new(stream: S, requests: Arc<Requests>) -> Patience<S> {
        Patience { stream, requests, protocol: Protocol::Unknown, head: None, linger: None }
    }

    fn came(&mut self, octets: &[u8]) {
        if octets.is_empty() || self.protocol == Protocol::Http2 {
            return;
        }
        if self.protocol == Protocol::Unknown {
            self.protocol = if octets.starts_with(HTTP2) { Protocol::Http2 } else { Protocol::Http1 };
        }
        let begun = self.requests.begun();
        let coming = self.head.as_ref().is_some_and(|head| head.before == begun);
        if self.protocol == Protocol::Http1 && !coming && !self.requests.running.load(Ordering::Relaxed) {
            self.head = Some(Head { before: begun, timer: None });
        }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let begun = self.requests.begun();
        let Some(head) = self.head.as_mut().filter(|head| head.before == begun) else {
            self.head = None;
            return false;
        };
        let timer = head.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD_TIMEOUT)));
        timer.as_mut().poll(context).is_ready()
    }
}

impl<S: AsyncRead + Unpin> Patience<S> {
    /// Ready when whoever was answered in the middle of a body has read that and closed, or has had the time to.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); 16 * 1024];
        let until = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        while until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::uninit(&mut space);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.came(&buffer.filled()[before..]);
            return Poll::Ready(read);
        }
        if self.is_late(context) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head takes too long")));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        if !self.requests.unread.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        self.poll_linger(context).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, octets)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    fn connection() -> (Patience<DuplexStream>, Arc<Requests>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let requests = Arc::new(Requests::default());
        (Patience::new(ours, Arc::clone(&requests)), requests, theirs)
    }

    /// What comes within so many seconds; `None`: nothing, and the connection is still waited for.
    async fn within(stream: &mut Patience<DuplexStream>, seconds: u64) -> Option<io::Result<usize>> {
        let mut buffer = [0; 64];
        tokio::time::timeout(Duration::from_secs(seconds), stream.read(&mut buffer)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_in_is_cut_off_ten_seconds_after_its_first_octet() {
        let (mut stream, _requests, mut client) = connection();
        client.write_all(b"GET / HT").await.unwrap();
        assert_eq!(within(&mut stream, 1).await.unwrap().unwrap(), 8);
        assert!(within(&mut stream, 6).await.is_none());
        client.write_all(b"T").await.unwrap();
        assert_eq!(within(&mut stream, 1).await.unwrap().unwrap(), 1);
        let late = within(&mut stream, 6).await.expect("cut off").unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_answered_in_the_middle_of_a_body_is_listened_to_for_a_while() {
        let began = tokio::time::Instant::now();
        let (mut stream, requests, mut client) = connection();
        client.write_all(b"the next request").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "all was read");

        requests.unread.store(true, Ordering::Relaxed);
        let rest = tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(500)).await;
                client.write_all(&[b' '; 2048]).await.expect("it is read");
            }
        });
        stream.shutdown().await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(1500), "until the client has closed");
        rest.await.unwrap();

        let (mut stream, requests, mut client) = connection();
        requests.unread.store(true, Ordering::Relaxed);
        tokio::spawn(async move {
            while client.write_all(b" and so on").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let began = tokio::time::Instant::now();
        stream.shutdown().await.unwrap();
        assert_eq!(began.elapsed(), LINGER, "not for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_a_long_request_and_http_2_are_waited_for() {
        let (mut stream, requests, mut client) = connection();
        assert!(within(&mut stream, 60).await.is_none(), "nothing has come yet");

        client.write_all(b"POST / HTTP/1.1").await.unwrap();
        assert_eq!(within(&mut stream, 1).await.unwrap().unwrap(), 15);
        let running = requests.enter();
        client.write_all(b"half a body").await.unwrap();
        assert_eq!(within(&mut stream, 1).await.unwrap().unwrap(), 11);
        assert!(within(&mut stream, 60).await.is_none(), "bodies have a time of their own");
        drop(running);
        assert!(within(&mut stream, 60).await.is_none(), "idle again");

        let (mut stream, _requests, mut client) = connection();
        client.write_all(b"PRI * HTTP/2.0").await.unwrap();
        assert_eq!(within(&mut stream, 1).await.unwrap().unwrap(), 14);
        assert!(within(&mut stream, 60).await.is_none());
    }
}
