//! Submission by SMTP: real sockets, real TLS, other people's clients, and a raw one that says exactly what a test says.

mod accept;
mod certificates;
mod clients;
mod limits;
mod logins;
mod manners;
mod notices;
mod proxies;
mod sessions;
mod smuggling;

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::support::app::{Builder, KEY, TestApp};
use crate::support::client::PATIENCE;

/// What a client is greeted with.
pub const GREETING: &str = "220 mail.postroad.test ESMTP postroad";

/// A postroad with both submission doors open, and what its clients must trust.
pub struct Doors {
    pub app: TestApp,
    pub root: CertificateDer<'static>,
    pub directory: TempDir,
}

/// Writes a new certificate for `localhost` where the doors look for it.
pub fn renew(directory: &TempDir) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let signing_key: KeyPair = signing_key;
    std::fs::write(directory.path().join("key.pem"), signing_key.serialize_pem()).expect("written");
    std::fs::write(directory.path().join("cert.pem"), cert.pem()).expect("written");
    cert.der().clone()
}

impl Doors {
    /// With the defaults.
    pub async fn open() -> Doors {
        Doors::of(TestApp::builder()).await
    }

    /// With something else.
    pub async fn of(builder: Builder) -> Doors {
        let directory = tempfile::tempdir().expect("a directory");
        let root = renew(&directory);
        let path = |name: &str| directory.path().join(name).display().to_string();
        let app = builder
            .set("POSTROAD_SUBMISSION_ADDR", "127.0.0.1:0")
            .set("POSTROAD_SUBMISSIONS_ADDR", "127.0.0.1:0")
            .set("POSTROAD_TLS_CERT", &path("cert.pem"))
            .set("POSTROAD_TLS_KEY", &path("key.pem"))
            .start()
            .await;
        Doors { app, root, directory }
    }

    /// STARTTLS.
    pub fn submission(&self) -> SocketAddr {
        self.app.server().ports().submission.expect("it is open")
    }

    /// Implicit TLS.
    pub fn submissions(&self) -> SocketAddr {
        self.app.server().ports().submissions.expect("it is open")
    }

    /// A client that has been greeted, in clear.
    pub async fn greeted(&self) -> Raw {
        let mut client = Raw::connect(self.submission()).await;
        assert_eq!(client.ask("").await, GREETING);
        client
    }

    /// One that has said EHLO over TLS.
    pub async fn encrypted(&self) -> Raw {
        let mut client = self.greeted().await;
        client.ask("EHLO client.test\r\n").await;
        let mut client = client.starttls(&self.root).await;
        client.ask("EHLO client.test\r\n").await;
        client
    }

    /// One that has logged in with this key.
    pub async fn logged_in_with(&self, key: &str) -> Raw {
        let mut client = self.encrypted().await;
        assert_eq!(client.log_in(key).await, "235 2.7.0 Ok");
        client
    }

    /// One that may do everything.
    pub async fn logged_in(&self) -> Raw {
        self.logged_in_with(KEY).await
    }

    pub async fn close(self) {
        self.app.stop().await;
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A client that says exactly what the test says.
pub struct Raw {
    stream: BufReader<Box<dyn Stream>>,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw::from("127.0.0.1", address).await
    }

    /// From one of the addresses of loopback.
    pub async fn from(source: &str, address: SocketAddr) -> Raw {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("a loopback address");
        Raw::over(socket.connect(address).await.expect("somebody listens"))
    }

    fn over(stream: impl Stream + 'static) -> Raw {
        Raw { stream: BufReader::new(Box::new(stream)) }
    }

    /// Sends octets.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.expect("an open connection");
        self.stream.flush().await.expect("an open connection");
    }

    /// Sends, and returns all lines of one reply; none if the server closed instead.
    pub async fn lines(&mut self, lines: impl AsRef<[u8]>) -> Vec<String> {
        self.send(lines).await;
        let mut reply = Vec::new();
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("a reply in time");
            if read.is_err() || line.is_empty() {
                return reply;
            }
            let goes_on = line.as_bytes().get(3) == Some(&b'-');
            reply.push(line.trim_end().to_owned());
            if !goes_on {
                return reply;
            }
        }
    }

    /// Sends, and returns the last line of one reply; empty if the server closed instead.
    pub async fn ask(&mut self, lines: impl AsRef<[u8]>) -> String {
        self.lines(lines).await.pop().unwrap_or_default()
    }

    /// Asks for several things, one after the other; gives the last answer.
    pub async fn ask_all(&mut self, commands: &[&str]) -> String {
        let mut last = String::new();
        for command in commands {
            last = self.ask(format!("{command}\r\n")).await;
        }
        last
    }

    /// Everything until the server closes.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset instead of a close ends it as well.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("a close in time");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// STARTTLS and its handshake, trusting this certificate alone.
    pub async fn starttls(mut self, root: &CertificateDer<'static>) -> Raw {
        assert_eq!(self.ask("STARTTLS\r\n").await, "220 2.0.0 Ready to start TLS");
        self.encrypt(root).await
    }

    /// The handshake alone.
    pub async fn encrypt(self, root: &CertificateDer<'static>) -> Raw {
        self.try_encrypt(root).await.expect("a handshake")
    }

    pub async fn try_encrypt(self, root: &CertificateDer<'static>) -> std::io::Result<Raw> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).expect("a certificate");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, self.stream.into_inner()).await?;
        Ok(Raw::over(stream))
    }

    /// AUTH PLAIN.
    pub async fn log_in(&mut self, key: &str) -> String {
        self.ask(format!("AUTH PLAIN {}\r\n", plain("anybody", key))).await
    }

    /// Sends one mail from the first path to the others; gives the answer to its end.
    pub async fn mail(&mut self, from: &str, to: &[&str], text: &str) -> String {
        let mut said = self.ask(format!("MAIL FROM:<{from}>\r\n")).await;
        for recipient in to {
            if said.starts_with('2') {
                said = self.ask(format!("RCPT TO:<{recipient}>\r\n")).await;
            }
        }
        if !said.starts_with('2') {
            return said;
        }
        assert_eq!(self.ask("DATA\r\n").await, "354 End data with <CR><LF>.<CR><LF>");
        self.ask(format!("{text}\r\n.\r\n")).await
    }
}

/// The response of PLAIN (RFC 4616).
pub fn plain(user: &str, secret: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{secret}"))
}

/// The id in `250 2.0.0 Ok: queued as msg_…`.
pub fn queued(answer: &str) -> String {
    let id =
        answer.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("not queued: {answer}"));
    assert!(id.starts_with("msg_"), "{id}");
    id.to_owned()
}

/// A mail with nothing special about it.
pub const TEXT: &str = "From: Acme <hello@acme.example>\r\nTo: ann@example.net\r\nSubject: Hello\r\n\
     Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@acme.example>\r\n\r\nHello, Ann.";
