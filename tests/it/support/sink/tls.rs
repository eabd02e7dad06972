//! Certificates for a sink, good and bad, and its streams.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{io, mem};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate that signs itself, and the server that shows it. A client trusts it by trusting exactly it.
#[derive(Clone)]
pub struct Identity {
    /// For `SinkBuilder::starttls` and `implicit_tls`.
    pub server: Arc<ServerConfig>,
    /// What a client may add to its roots.
    pub certificate: CertificateDer<'static>,
    /// The same as PEM, for clients that are other programs.
    pub pem: String,
    /// Its public key, as the certificate holds it.
    pub key: Vec<u8>,
}

/// Who signed a certificate.
pub struct Authority {
    /// Its own certificate.
    pub certificate: CertificateDer<'static>,
    /// Its public key.
    pub key: Vec<u8>,
}

/// Valid for `name` until the year 4096, signed by an authority that nobody knows; the server shows both.
pub fn issued(name: &str) -> (Identity, Authority) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority");
    let authority = params.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(params, &authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a DNS name or address");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let chain = vec![certificate.der().clone(), authority.der().clone()];
    let authority =
        Authority { certificate: authority.der().clone(), key: authority_key.subject_public_key_info() };
    (identity(&certificate, chain, &key), authority)
}

/// Valid for `name` until the year 4096. For a wrong name, give another than the client will ask for.
pub fn self_signed(name: &str) -> Identity {
    signed(CertificateParams::new([name.to_owned()]).expect("a DNS name or address"))
}

/// Valid for `name` until the end of 2020.
pub fn expired(name: &str) -> Identity {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a DNS name or address");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2020, 12, 31);
    signed(params)
}

fn signed(params: CertificateParams) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    identity(&certificate, vec![certificate.der().clone()], &key)
}

fn identity(certificate: &Certificate, chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Identity {
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .expect("a matching key");
    Identity {
        server: Arc::new(server),
        certificate: certificate.der().clone(),
        pem: certificate.pem(),
        key: key.subject_public_key_info(),
    }
}

/// A connection, plain or encrypted.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Only during a handshake.
    Gone,
}

impl Stream {
    pub(super) async fn encrypt(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let Self::Plain(stream) = mem::replace(self, Self::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        *self = Self::Tls(Box::new(TlsAcceptor::from(config).accept(stream).await?));
        Ok(())
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Makes the close that follows a reset.
    pub(super) fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.set_zero_linger(),
            Self::Tls(stream) => stream.get_ref().0.set_zero_linger(),
            Self::Gone => Ok(()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
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
