//! The least SMTP client that can drive the submission door: TLS, one login, and then one mail
//! after the other, its envelope in one segment (RFC 2920). Not a client for anything else.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How a session comes to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// From the first octet (RFC 8314).
    Tls,
    /// By STARTTLS (RFC 3207).
    StartTls,
}

/// A session that has logged in.
pub struct Session {
    stream: Box<BufStream<TlsStream<TcpStream>>>,
    line: Vec<u8>,
}

/// What clients of a service trust: the certificate that it has made for itself.
///
/// # Errors
/// It has made none.
pub fn trust(data: &Path) -> Result<Arc<ClientConfig>> {
    let path = data.join("tls-certificate.pem");
    let certificate = CertificateDer::from_pem_file(&path)
        .with_context(|| format!("no certificate in {}", path.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The door is shut, or does not know the key.
    pub async fn open(
        address: SocketAddr,
        entry: Entry,
        trust: Arc<ClientConfig>,
        key: &str,
    ) -> Result<Session> {
        let mut socket =
            TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        socket.set_nodelay(true)?;
        if entry == Entry::StartTls {
            for (said, last) in [("", "220 "), ("EHLO bench.example\r\n", "250 "), ("STARTTLS\r\n", "220 ")] {
                socket.write_all(said.as_bytes()).await?;
                in_clear(&mut socket, last).await?;
            }
        }
        let name = ServerName::try_from("localhost")?;
        let stream = BufStream::new(TlsConnector::from(trust).connect(name, socket).await?);
        let mut session = Session { stream: Box::new(stream), line: Vec::with_capacity(512) };
        if entry == Entry::Tls {
            session.expect(220).await?;
        }
        session.say(b"EHLO bench.example\r\n").await?;
        session.expect(250).await?;
        let login = STANDARD.encode(format!("\0bench\0{key}"));
        session.say(format!("AUTH PLAIN {login}\r\n").as_bytes()).await?;
        session.expect(235).await?;
        Ok(session)
    }

    /// Submits a mail: MAIL, RCPT and DATA in one segment, then the text with its final dot. Gives the code of the last
    /// reply, and its text.
    ///
    /// # Errors
    /// The session ended, or the envelope was refused for good.
    pub async fn submit(&mut self, envelope: &[u8], text: &[u8]) -> Result<(u16, String)> {
        self.say(envelope).await?;
        for expected in [250, 250, 354] {
            let code = self.reply().await?;
            if code != expected {
                return Ok((code, self.said()));
            }
        }
        self.say(text).await?;
        let code = self.reply().await?;
        Ok((code, self.said()))
    }

    async fn say(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.write_all(octets).await?;
        Ok(self.stream.flush().await?)
    }

    async fn expect(&mut self, code: u16) -> Result<()> {
        let got = self.reply().await?;
        ensure!(got == code, "{}", self.said());
        Ok(())
    }

    /// One reply; its last line stays to be read.
    async fn reply(&mut self) -> Result<u16> {
        loop {
            self.line.clear();
            while !self.line.ends_with(b"\r\n") {
                self.line.push(self.stream.read_u8().await.context("the door closed the session")?);
            }
            if self.line.get(3) != Some(&b'-') {
                let code = std::str::from_utf8(&self.line[..3]).ok().and_then(|code| code.parse().ok());
                return code.with_context(|| format!("no reply: {}", self.said()));
            }
        }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.line).trim_end().to_owned()
    }
}

/// Reads up to the end of a line that begins so, octet by octet: what comes after it belongs to the handshake.
async fn in_clear(socket: &mut TcpStream, last: &str) -> Result<()> {
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(socket.read_u8().await.context("the door closed the session")?);
        }
        if line.starts_with(last.as_bytes()) {
            return Ok(());
        }
        ensure!(line.get(3) == Some(&b'-'), "{}", String::from_utf8_lossy(&line));
    }
}
