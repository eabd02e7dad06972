//! What the session tests share: a scripted stream, a mailroom that remembers, transcripts as text.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::*;
use crate::smtp::mailroom::{ReceivedEnvelope, Verdict};

pub(super) const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Plays the client's octets to the session and closes its side; keeps what the session says.
pub(super) struct Script {
    chunks: VecDeque<Vec<u8>>,
    said: Vec<u8>,
    pub(super) writes: usize,
}

impl Script {
    /// What the session has said.
    pub(super) fn said(&self) -> String {
        String::from_utf8(self.said.clone()).expect("replies are ASCII")
    }
}

impl Script {
    pub(super) fn new(chunks: Vec<Vec<u8>>) -> Self {
        Self {
            chunks: chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect(),
            said: Vec::new(),
            writes: 0,
        }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut chunk) = self.chunks.pop_front() {
            let rest = chunk.split_off(chunk.len().min(buf.remaining()));
            buf.put_slice(&chunk);
            if !rest.is_empty() {
                self.chunks.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.said.extend_from_slice(octets);
        self.writes += 1;
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Accepts, unless a local part tells it otherwise, and remembers.
#[derive(Default)]
pub(super) struct Room {
    mails: Mutex<Vec<Mail>>,
}

#[derive(Clone)]
pub(super) struct Mail {
    pub(super) hello: Hello,
    pub(super) envelope: ReceivedEnvelope,
    pub(super) text: String,
}

impl Room {
    pub(super) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().expect("no test panics with the lock").clone()
    }
}

impl Mailroom for Room {
    async fn mail(&self, _: &SessionInfo, from: &ReversePath, _: &MailParams) -> Verdict {
        match from.as_str().split('@').next() {
            Some("refused") => Verdict::Refuse(Reply::new(550, 7, 1, "Not you")),
            _ => Verdict::Accept,
        }
    }

    async fn rcpt(&self, _: &SessionInfo, _: &ReversePath, to: &ForwardPath) -> Verdict {
        match to.as_str().split('@').next() {
            Some("refused") => Verdict::Refuse(Reply::new(550, 1, 1, "No such mailbox")),
            Some("leave") => Verdict::Refuse(Reply::new(421, 7, 0, "Leave")),
            _ => Verdict::Accept,
        }
    }

    async fn data(&self, session: &SessionInfo, envelope: ReceivedEnvelope, text: Bytes) -> Reply {
        if text.starts_with(b"later") {
            return Reply::new(451, 3, 0, "Later");
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut mails = self.mails.lock().expect("no test panics with the lock");
        mails.push(Mail { hello: session.hello.clone(), envelope, text });
        Reply::new(250, 0, 0, "Ok").saying(format!("Ok: mail {}", mails.len()))
    }
}

/// How the octets of a client arrive.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    AtOnce,
    Lines,
    Octets,
}

impl Pace {
    pub(super) fn chunks(self, sent: &[u8]) -> Vec<Vec<u8>> {
        match self {
            Self::AtOnce => vec![sent.to_vec()],
            Self::Lines => sent.split_inclusive(|&octet| octet == b'\n').map(<[u8]>::to_vec).collect(),
            Self::Octets => sent.iter().map(|&octet| vec![octet]).collect(),
        }
    }
}

/// Runs one session over these chunks: what it said, and why it ended.
pub(super) async fn converse(settings: &Settings, room: &Room, chunks: Vec<Vec<u8>>) -> (String, End) {
    let mut stream = Script::new(chunks);
    let end = Session::new(&mut stream, PEER, room, settings, CancellationToken::new()).run().await;
    (String::from_utf8(stream.said).expect("replies are ASCII"), end)
}

/// Splits a transcript into what the client sends and what it must hear. `{3 x}` stands for `xxx`.
pub(super) fn dialogue(transcript: &str) -> (Vec<u8>, String) {
    let (mut sent, mut heard) = (Vec::new(), String::new());
    for line in transcript.lines().map(str::trim) {
        match line.split_at(2) {
            ("C:", text) => sent.extend_from_slice(format!("{}\r\n", expand(text.trim_start())).as_bytes()),
            ("S:", text) => heard.push_str(&format!("{}\r\n", text.trim_start())),
            _ => panic!("neither C: nor S: {line}"),
        }
    }
    (sent, heard)
}

fn expand(text: &str) -> String {
    let Some((before, rest)) = text.split_once('{') else { return text.to_owned() };
    let (repeat, after) = rest.split_once('}').expect("closed");
    let (count, what) = repeat.split_once(' ').expect("count and text");
    format!("{before}{}{after}", what.repeat(count.parse().expect("a number")))
}
