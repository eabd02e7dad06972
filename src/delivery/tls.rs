//! TLS towards peers: what is demanded of a certificate, and what is recorded about it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::domain::relay::TlsMode;

use super::dane::DaneVerifier;

/// Makes TLS connections to peers. One for the process: sessions are resumed across connections.
#[derive(Debug, Clone)]
pub struct PeerTls {
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    verified: Arc<ClientConfig>,
    lenient: Arc<ClientConfig>,
}

/// How a connection is protected.
#[derive(Debug, Clone)]
pub enum Protection {
    /// In clear.
    None,
    /// STARTTLS if it is offered, whatever the certificate; in clear if it fails (RFC 7435).
    Opportunistic,
    /// STARTTLS, or nothing.
    StartTls(Demand),
    /// TLS from the first octet (RFC 8314), or nothing.
    Implicit(Demand),
}

impl Protection {
    /// Whether the mail may be said in clear.
    pub fn allows_clear(&self) -> bool {
        matches!(self, Protection::None | Protection::Opportunistic)
    }
}

impl Demand {
    /// Who demands it, for people.
    pub fn reason(&self) -> &'static str {
        match self {
            Demand::Anything | Demand::Verified => "TLS is required",
            Demand::MtaSts => "TLS is required by MTA-STS",
            Demand::Dane(_) | Demand::Encrypted => "TLS is required by DANE",
        }
    }
}

impl From<TlsMode> for Protection {
    fn from(mode: TlsMode) -> Protection {
        match mode {
            TlsMode::None => Protection::None,
            TlsMode::Opportunistic => Protection::Opportunistic,
            TlsMode::Required => Protection::StartTls(Demand::Verified),
            TlsMode::Implicit => Protection::Implicit(Demand::Verified),
        }
    }
}

/// What is demanded of the peer's certificate.
#[derive(Debug, Clone)]
pub enum Demand {
    /// It must verify for the peer's name, or there is no connection: the sender or the route wants it.
    Verified,
    /// The same, because the domain's policy wants it (RFC 8461).
    MtaSts,
    /// It must be what the domain's TLSA records describe (RFC 7672).
    Dane(Arc<DaneVerifier>),
    /// Anything, but not in clear: there are TLSA records, and none that can be used (RFC 7672 §2.2).
    Encrypted,
    /// Anything: an unverified peer is still better than none (RFC 7435). The result is recorded.
    Anything,
}

impl PeerTls {
    /// With the machine's trusted roots (or those in the file that `SSL_CERT_FILE` names), and `extra` ones.
    ///
    /// # Errors
    /// The machine has no usable roots, or one of the extra ones is none.
    pub fn new(extra: Vec<CertificateDer<'static>>) -> Result<PeerTls, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> =
            Arc::new(Verifier::new_with_extra_roots(extra, Arc::clone(&provider))?);
        let lenient: Arc<dyn ServerCertVerifier> = Arc::new(TrustAnybody(Arc::clone(&provider)));
        let (verified, lenient) = (config(&provider, &verifier)?, config(&provider, &lenient)?);
        Ok(PeerTls { provider, verifier, verified, lenient })
    }

    /// What makes handshakes.
    pub fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Encrypts a connection to the peer called `host`, and tells how: version, cipher suite, verification.
    ///
    /// # Errors
    /// The handshake failed, or the certificate is not what was demanded.
    pub async fn connect(
        &self,
        socket: TcpStream,
        host: &str,
        demand: &Demand,
    ) -> std::io::Result<(TlsStream<TcpStream>, String)> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            std::io::Error::new(std::io::ErrorKind::InvalidInput, "the host has no name TLS can check")
        })?;
        let config = match demand {
            Demand::Verified | Demand::MtaSts => Arc::clone(&self.verified),
            Demand::Anything | Demand::Encrypted => Arc::clone(&self.lenient),
            Demand::Dane(verifier) => {
                let verifier: Arc<dyn ServerCertVerifier> = verifier.clone();
                config(&self.provider, &verifier).map_err(std::io::Error::other)?
            }
        };
        let stream = TlsConnector::from(config).connect(name.clone(), socket).await?;
        let told = self.describe(&stream, &name, demand);
        Ok((stream, told))
    }

    fn describe(&self, stream: &TlsStream<TcpStream>, name: &ServerName<'_>, demand: &Demand) -> String {
        let session = stream.get_ref().1;
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("?");
        let verification = match demand {
            Demand::Verified => "verified".to_owned(),
            Demand::MtaSts => "mta-sts".to_owned(),
            Demand::Dane(_) => "dane".to_owned(),
            Demand::Anything | Demand::Encrypted => {
                self.verification(session.peer_certificates().unwrap_or_default(), name)
            }
        };
        format!("{version} {suite} {verification}")
    }

    /// How the certificate would have fared, had it been demanded to verify.
    fn verification(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> String {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return "unverified (no certificate)".to_owned();
        };
        match self.verifier.verify_server_cert(leaf, intermediates, name, &[], UnixTime::now()) {
            Ok(_) => "verified".to_owned(),
            Err(Error::InvalidCertificate(reason)) => format!("unverified ({})", short(&reason)),
            Err(_) => "unverified".to_owned(),
        }
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, Error> {
    Ok(Arc::new(
        ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(verifier))
            .with_no_client_auth(),
    ))
}

/// The reason in a word, as TLS reporting counts it.
fn short(reason: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Bad;
    match reason {
        Bad::Expired | Bad::ExpiredContext { .. } => "expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "not valid yet",
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "wrong name",
        Bad::UnknownIssuer => "unknown issuer",
        Bad::BadSignature => "bad signature",
        Bad::Revoked => "revoked",
        _ => "invalid",
    }
}

/// Believes any certificate, but not a forged handshake: signatures are checked.
#[derive(Debug)]
struct TrustAnybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
