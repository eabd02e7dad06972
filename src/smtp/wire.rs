//! The octets of one session: a stream, plain or encrypted, with what was read from it and what is to be written.
//!
//! No SMTP beyond "lines end in LF". Invariant: memory is bounded by a constant and the limits of the calls,
//! whatever the client sends or refuses to read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::mailroom::TlsSession;
use super::reply::Reply;

/// Read at once: room for a pipelined transaction with a small mail.
const SMALL_READ: usize = 4 * 1024;
/// Read at once while a client sends faster than small reads take it away.
const LARGE_READ: usize = 64 * 1024;
/// Replies beyond this are sent before more commands are looked at.
const MAX_UNSENT: usize = 8 * 1024;
/// A line without end is skipped up to here; then the client is not going to make sense any more.
const MAX_SKIPPED: usize = 1024 * 1024;

/// One line of input, or why there is none.
pub(super) enum Line<T> {
    /// What became of the line.
    Read(T),
    /// A line longer than the limit has just ended.
    TooLong,
    /// The line goes on.
    Unfinished,
    /// The line goes on, and on.
    Flood,
}

/// The stream with its buffers.
pub(super) struct Wire<S> {
    stream: Stream<S>,
    input: BytesMut,
    /// The next read may be large, because the last one took all the room it had.
    room: usize,
    /// So much of `input` holds no LF.
    scanned: usize,
    /// So much of the current line was thrown away.
    skipped: usize,
    output: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream: Stream::Plain(stream),
            input: BytesMut::new(),
            room: SMALL_READ,
            scanned: 0,
            skipped: 0,
            output: Vec::new(),
        }
    }

    /// Gives the next line, LF included, to `parse`, if it has arrived and has at most `limit` octets.
    pub(super) fn line<T>(&mut self, limit: usize, parse: impl FnOnce(&[u8]) -> T) -> Line<T> {
        let Some(found) = memchr::memchr(b'\n', &self.input[self.scanned..]) else {
            return self.unfinished(limit);
        };
        let end = self.scanned + found + 1;
        let fits = self.skipped + end <= limit;
        let line = if fits { Line::Read(parse(&self.input[..end])) } else { Line::TooLong };
        self.skipped = 0;
        self.consume(end);
        line
    }

    fn unfinished<T>(&mut self, limit: usize) -> Line<T> {
        self.scanned = self.input.len();
        if self.skipped + self.scanned > limit {
            self.skipped += self.scanned;
            self.consume(self.scanned);
        }
        if self.skipped > MAX_SKIPPED { Line::Flood } else { Line::Unfinished }
    }

    /// What has arrived and was not consumed.
    pub(super) fn arrived(&self) -> &[u8] {
        &self.input
    }

    /// Takes octets off the front of what has arrived.
    pub(super) fn consume(&mut self, octets: usize) {
        self.input.advance(octets);
        self.scanned = 0;
    }

    /// Waits for more input; `UnexpectedEof` if the client has closed its side. Safe to cancel.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        if self.input.is_empty() && self.input.capacity() > self.room {
            // The mail that needed the large buffer has passed: an idle session keeps a small one.
            self.input = BytesMut::new();
        }
        self.input.reserve(self.room);
        let read = self.stream.read_buf(&mut self.input).await?;
        self.room = if self.input.len() == self.input.capacity() { LARGE_READ } else { SMALL_READ };
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Puts a reply behind those that wait to be sent.
    pub(super) fn push(&mut self, reply: &Reply) {
        reply.write_to(&mut self.output);
    }

    /// The same with lines already written out, each ended by CRLF.
    pub(super) fn push_lines(&mut self, lines: &str) {
        self.output.extend_from_slice(lines.as_bytes());
    }

    /// Whether so many replies wait that they should be sent now.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() > MAX_UNSENT
    }

    /// Sends all waiting replies in one write, if the socket takes them (RFC 2920 §3.2).
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        self.stream.flush().await
    }

    /// Says goodbye to the transport: what waits is sent, then the write side closes.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await
    }

    /// Runs the server side of a handshake over the plain stream.
    pub(super) async fn encrypt(&mut self, config: Arc<ServerConfig>) -> io::Result<TlsSession> {
        // RFC 3207 §4.2, CVE-2011-0411: what came before the handshake was not protected by it.
        self.input = BytesMut::new();
        (self.scanned, self.skipped) = (0, 0);
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let (_, connection) = stream.get_ref();
        let agreed = connection.protocol_version().zip(connection.negotiated_cipher_suite());
        let (version, suite) = agreed.ok_or(io::ErrorKind::InvalidData)?;
        self.stream = Stream::Tls(Box::new(stream));
        Ok(TlsSession { version, cipher: suite.suite() })
    }
}

enum Stream<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    /// During a handshake, and for ever after a failed one.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}
