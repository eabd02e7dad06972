//! The stream under lettre's connection: ours, because a fast and safe client needs three things it lacks.
//!
//! *Cork*: what is written is held until something is read, so that commands, or content and final dot, leave
//! in one segment; the socket has TCP_NODELAY. *Replies*: they are cleaned line by line before lettre parses
//! them (strange bytes, bare line feeds, a code without text, endless lines), and kept for classification. At
//! most one reply is handed on at a time. *TLS*: the plain transport is replaced by the encrypted one in
//! place, and only when nothing that came in clear is left over (RFC 3207 §4.2).

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::mail::reply::SmtpReply;

/// Above this much held output a write goes through, so that a large message is not kept twice.
const CORK_LIMIT: usize = 64 * 1024;
/// The longest line kept of a reply; RFC 5321 §4.5.3.1.5 allows 512 octets.
const LINE_LIMIT: usize = 900;
/// A line longer than this, without an end, is no reply.
const ENDLESS_LINE: usize = 64 * 1024;

/// The stream that lettre gets.
#[derive(Debug)]
pub struct SmtpStream {
    wire: Wire,
    peer: SocketAddr,
}

/// Our hold on the same stream.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    transport: Transport,
    /// Written, not yet sent.
    corked: Vec<u8>,
    /// Received, not yet cleaned.
    raw: Vec<u8>,
    /// Cleaned, not yet read.
    ready: VecDeque<u8>,
    /// The lines of the reply that is coming in.
    lines: Vec<String>,
    /// The last complete reply.
    last: Option<Vec<String>>,
    /// The last complete reply that was negative.
    refusal: Option<Vec<String>>,
    /// The first reply was a 220.
    greeted: bool,
    /// Its first line.
    greeting: Option<String>,
    hello: Hello,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Between the two.
    Upgrading,
}

/// How the peer is greeted. lettre always says EHLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// EHLO.
    Extended,
    /// HELO, for a peer that refused EHLO (RFC 5321 §4.1.1.1).
    Simple,
}

impl SmtpStream {
    /// Over a connected socket; the second half is for whoever drives lettre.
    ///
    /// # Errors
    /// The socket is not connected any more.
    pub fn plain(socket: TcpStream, hello: Hello) -> io::Result<(SmtpStream, Wire)> {
        let peer = socket.peer_addr()?;
        Ok(SmtpStream::over(Transport::Plain(socket), peer, hello))
    }

    /// Over a connection that is encrypted from the start (RFC 8314).
    ///
    /// # Errors
    /// The socket is not connected any more.
    pub fn encrypted(stream: TlsStream<TcpStream>, hello: Hello) -> io::Result<(SmtpStream, Wire)> {
        let peer = stream.get_ref().0.peer_addr()?;
        Ok(SmtpStream::over(Transport::Tls(Box::new(stream)), peer, hello))
    }

    fn over(transport: Transport, peer: SocketAddr, hello: Hello) -> (SmtpStream, Wire) {
        let inner = Inner {
            transport,
            corked: Vec::with_capacity(4096),
            raw: Vec::with_capacity(1024),
            ready: VecDeque::new(),
            lines: Vec::new(),
            last: None,
            refusal: None,
            greeted: false,
            greeting: None,
            hello,
        };
        let wire = Wire(Arc::new(Mutex::new(inner)));
        (SmtpStream { wire: wire.clone(), peer }, wire)
    }
}

impl Wire {
    /// The last complete reply; `None`: nothing that can be called a reply came.
    pub fn last_reply(&self) -> Option<SmtpReply> {
        reply_of(self.lock().last.as_ref()?)
    }

    /// The last reply's lines without their codes: what EHLO offered.
    pub fn last_lines(&self) -> Vec<String> {
        let inner = self.lock();
        let lines = inner.last.iter().flatten();
        lines.map(|line| line.get(4..).unwrap_or("").to_owned()).collect()
    }

    /// Whether the peer's greeting calls it by this name (RFC 5321 §4.2: the first word after 220).
    pub fn greeted_as(&self, name: &str) -> bool {
        let inner = self.lock();
        let called =
            inner.greeting.as_deref().and_then(|line| line.get(4..)?.split_ascii_whitespace().next());
        called.is_some_and(|called| called.eq_ignore_ascii_case(name))
    }

    /// The last negative reply, even if the goodbye was answered since.
    pub fn last_refusal(&self) -> Option<SmtpReply> {
        reply_of(self.lock().refusal.as_ref()?)
    }

    /// Whether a first positive reply has come: the peer's 220.
    pub fn was_greeted(&self) -> bool {
        self.lock().greeted
    }

    /// Forgets the last reply, so that the next one cannot be taken for it.
    pub fn forget_reply(&self) {
        let mut inner = self.lock();
        inner.last = None;
        inner.refusal = None;
    }

    /// Takes the socket out, to encrypt it.
    ///
    /// # Errors
    /// It is encrypted already, or the peer sent more in clear than its reply to STARTTLS: an attempt to
    /// inject (CVE-2011-0411 and its kind).
    pub fn take_plain(&self) -> io::Result<TcpStream> {
        let mut inner = self.lock();
        if !inner.raw.is_empty() || !inner.ready.is_empty() || !inner.corked.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "data in clear after the reply to STARTTLS",
            ));
        }
        match std::mem::replace(&mut inner.transport, Transport::Upgrading) {
            Transport::Plain(socket) => Ok(socket),
            other => {
                inner.transport = other;
                Err(io::Error::new(io::ErrorKind::AlreadyExists, "the connection is encrypted already"))
            }
        }
    }

    /// Puts the encrypted stream in its place.
    pub fn put_tls(&self, stream: TlsStream<TcpStream>) {
        self.lock().transport = Transport::Tls(Box::new(stream));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Held only within a poll; a panic there ends the connection, and the state is not used again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire(…)")
    }
}

impl AsyncTokioStream for SmtpStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl AsyncRead for SmtpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.wire.lock();
        loop {
            if inner.hand_on(out) {
                return Poll::Ready(Ok(()));
            }
            if inner.clean_one_reply()? {
                continue;
            }
            ready!(inner.poll_uncork(cx))?;
            if ready!(inner.poll_receive(cx))? == 0 {
                // End of stream: lettre reports an incomplete reply.
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for SmtpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.wire.lock();
        if inner.corked.len() >= CORK_LIMIT {
            ready!(inner.poll_uncork(cx))?;
        }
        let taken = data.len().min(CORK_LIMIT);
        if inner.hello == Hello::Simple && data.starts_with(b"EHLO ") {
            inner.corked.extend_from_slice(b"HELO ");
            inner.corked.extend_from_slice(&data[5..taken]);
        } else {
            inner.corked.extend_from_slice(&data[..taken]);
        }
        Poll::Ready(Ok(taken))
    }

    /// Held until the reply is wanted.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.wire.lock();
        ready!(inner.poll_uncork(cx))?;
        match &mut inner.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Transport::Upgrading => Poll::Ready(Ok(())),
        }
    }
}

impl Inner {
    /// Copies cleaned octets out. False: there are none.
    fn hand_on(&mut self, out: &mut ReadBuf<'_>) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        let (head, _) = self.ready.as_slices();
        let count = head.len().min(out.remaining());
        out.put_slice(&head[..count]);
        self.ready.drain(..count);
        true
    }

    /// Cleans lines up to the end of one reply. False: a whole line is not there yet.
    fn clean_one_reply(&mut self) -> io::Result<bool> {
        let mut consumed = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.raw[consumed..]) {
            let line = clean(&self.raw[consumed..consumed + end]);
            consumed += end + 1;
            self.ready.extend(line.as_bytes());
            self.ready.extend(b"\r\n");
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            self.lines.push(line);
            if is_last {
                self.complete_reply();
                break;
            }
        }
        self.raw.drain(..consumed);
        if consumed == 0 && self.raw.len() > ENDLESS_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply line without an end"));
        }
        Ok(consumed > 0)
    }

    fn complete_reply(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let first_digit = lines.last().and_then(|line| line.bytes().next());
        if self.greeting.is_none() {
            self.greeting = lines.first().cloned();
        }
        self.greeted |= first_digit == Some(b'2');
        if matches!(first_digit, Some(b'4' | b'5')) {
            self.refusal = Some(lines.clone());
        }
        self.last = Some(lines);
    }

    fn poll_uncork(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            if sent == self.corked.len() {
                break Poll::Ready(Ok(()));
            }
            match self.transport.poll_write(cx, &self.corked[sent..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.corked.drain(..sent);
        ready!(result)?;
        self.transport.poll_flush(cx)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0u8; 4096];
        let mut buffer = ReadBuf::new(&mut chunk);
        ready!(self.transport.poll_read(cx, &mut buffer))?;
        self.raw.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl Transport {
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, data),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, data),
            Transport::Upgrading => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Transport::Upgrading => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
            Transport::Upgrading => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

fn reply_of(lines: &[String]) -> Option<SmtpReply> {
    let code = lines.last()?.get(..3)?.parse().ok()?;
    Some(SmtpReply::from_lines(code, lines.iter().map(|line| line.get(4..).unwrap_or(""))))
}

/// One line of a reply as lettre can parse it: printable ASCII, not too long, and a space after a bare code
/// (RFC 5321 §4.2: a client must accept a code without text).
fn clean(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut clean: String = line
        .iter()
        .take(LINE_LIMIT)
        .map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            b'\t' => ' ',
            _ => '?',
        })
        .collect();
    if clean.len() == 3 && clean.bytes().all(|byte| byte.is_ascii_digit()) {
        clean.push(' ');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (SmtpStream, Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, wire) = SmtpStream::plain(client.expect("connected"), Hello::Extended).expect("open");
        (stream, wire, server.expect("accepted").0)
    }

    async fn read_some(stream: &mut SmtpStream) -> String {
        let mut buffer = [0u8; 4096];
        let count = stream.read(&mut buffer).await.expect("readable");
        String::from_utf8(buffer[..count].to_vec()).expect("ASCII")
    }

    #[tokio::test]
    async fn what_is_written_leaves_when_the_reply_is_wanted() {
        let (mut stream, _wire, mut server) = pair().await;
        stream.write_all(b"MAIL FROM:<>\r\n").await.expect("corked");
        stream.flush().await.expect("ignored");
        stream.write_all(b"DATA\r\n").await.expect("corked");
        assert_eq!(server.try_read(&mut [0u8; 8]).map_err(|e| e.kind()), Err(io::ErrorKind::WouldBlock));

        let server_side = async {
            let mut buffer = [0u8; 100];
            let count = server.read(&mut buffer).await.expect("both commands");
            assert_eq!(&buffer[..count], b"MAIL FROM:<>\r\nDATA\r\n");
            server.write_all(b"250 ok\r\n354 go\r\n").await.expect("answered");
        };
        let (reply, ()) = tokio::join!(read_some(&mut stream), server_side);
        assert_eq!(reply, "250 ok\r\n", "one reply at a time");
        assert_eq!(read_some(&mut stream).await, "354 go\r\n");
    }

    #[tokio::test]
    async fn odd_replies_are_made_regular_and_kept() {
        let (mut stream, wire, mut server) = pair().await;
        let mut odd = b"250-na\xefve\n250-".to_vec();
        odd.extend([b'x'; 9000]);
        odd.extend(b"\r\n250\r\n");
        server.write_all(&odd).await.expect("sent");

        let mut text = String::new();
        while !text.ends_with("250 \r\n") {
            text += &read_some(&mut stream).await;
        }
        assert!(text.starts_with("250-na?ve\r\n250-xxx"));
        assert!(text.lines().all(|line| line.len() <= LINE_LIMIT));
        let reply = wire.last_reply().expect("a reply");
        assert_eq!(reply.code, 250);
        assert!(reply.text.starts_with("na?ve xxx"));
    }

    #[tokio::test]
    async fn nothing_sent_in_clear_survives_into_tls() {
        let (mut stream, wire, mut server) = pair().await;
        server.write_all(b"220 go ahead\r\n250 injected\r\n").await.expect("sent");
        assert_eq!(read_some(&mut stream).await, "220 go ahead\r\n");
        let refused = wire.take_plain().expect_err("more than the reply came");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_an_error() {
        let (mut stream, wire, mut server) = pair().await;
        let flood = tokio::spawn(async move {
            let chunk = [b'9'; 8192];
            while server.write_all(&chunk).await.is_ok() {}
        });
        let error = stream.read(&mut [0u8; 64]).await.expect_err("endless");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop((stream, wire));
        flood.await.expect("ends when the connection does");
    }
}
