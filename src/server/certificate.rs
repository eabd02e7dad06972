//! The certificates that the doors show: the operator's files, or one made for development in the data directory;
//! and, by name, those got by ACME.
//!
//! Files are looked at every second, certificates by ACME when their revision rises; then the next handshake uses
//! them, and open sessions are not disturbed. Invariant: what is in force is a certificate with its own key; files
//! that are half written, or do not fit each other, change nothing and are told.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::certificates::{self, Opened};
use crate::clock::Clock;
use crate::config::{Config, TlsFiles};
use crate::seal::Subkey;
use crate::store::Database;
use crate::store::revisions::Known;

const INTERVAL: Duration = Duration::from_secs(1);
const CERTIFICATE: &str = "tls-certificate.pem";
const KEY: &str = "tls-key.pem";

/// What the doors show to clients; the values change when the files do.
#[derive(Debug, Clone)]
pub struct Shown {
    /// For SMTP.
    pub smtp: watch::Receiver<Arc<ServerConfig>>,
    /// For HTTP: with ALPN (RFC 7301).
    pub https: watch::Receiver<Arc<ServerConfig>>,
}

/// Watches the files, and the certificates that others get.
pub struct Certificate {
    files: TlsFiles,
    read: Pem,
    shelf: Shelf,
    issued: Issued,
    seen: Option<i64>,
    smtp: watch::Sender<Arc<ServerConfig>>,
    https: watch::Sender<Arc<ServerConfig>>,
}

/// Where certificates got by ACME come from.
pub struct Issued {
    /// Where they are.
    pub database: Database,
    /// Opens their keys.
    pub seal: Subkey,
    /// The time.
    pub clock: Clock,
    /// Tells when there are others.
    pub known: watch::Receiver<Known>,
}

/// The contents of both files.
#[derive(Debug, PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads the operator's files, or those of the data directory, which are made if they are not there; and what was
    /// got by ACME.
    ///
    /// # Errors
    /// The files cannot be read or used.
    pub async fn load(config: &Config, data_dir: &Path, issued: Issued) -> Result<(Certificate, Shown)> {
        let (files, made_for_development) = match &config.tls_files {
            Some(files) => (files.clone(), false),
            None => (made(&config.hostname, data_dir)?, true),
        };
        let read = Pem {
            certificate: fs::read(&files.certificate)
                .with_context(|| format!("cannot read {}", files.certificate.display()))?,
            key: fs::read(&files.key).with_context(|| format!("cannot read {}", files.key.display()))?,
        };
        let from_files = certified(&read.certificate, &read.key)
            .with_context(|| format!("{} cannot be used", files.certificate.display()))?;
        let shelf = Shelf {
            from_files,
            by_name: Arc::default(),
            // What nobody trusts gives way to what the world does.
            preferred: made_for_development.then(|| config.hostname.to_ascii_lowercase()),
        };
        let (smtp, https) = configs(&shelf)?;
        let (smtp, smtp_shown) = watch::channel(smtp);
        let (https, https_shown) = watch::channel(https);
        let shown = Shown { smtp: smtp_shown, https: https_shown };
        let mut certificate = Certificate { files, read, shelf, issued, seen: None, smtp, https };
        if let Err(error) = certificate.tick_issued().await {
            tracing::warn!(error = format!("{error:#}"), "certificates got by ACME could not be read");
        }
        Ok((certificate, shown))
    }

    /// Follows the files and what is got until `stop`.
    pub async fn follow(mut self, stop: CancellationToken) {
        let mut told = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let looked = match self.tick().await {
                Ok(change) => self.tick_issued().await.map(|issued| change.max(issued)),
                Err(error) => Err(error),
            };
            match looked {
                Ok(Change::None) => {}
                Ok(Change::Renewed) => tracing::info!("a certificate was renewed"),
                Err(error) => {
                    // Once for each kind of trouble, not every second.
                    let text = format!("{error:#}");
                    if text != told {
                        tracing::warn!(error = %text, "a certificate cannot be used; the one before stays");
                        told = text;
                    }
                }
            }
        }
    }

    async fn tick(&mut self) -> Result<Change> {
        let read = Pem {
            certificate: tokio::fs::read(&self.files.certificate).await?,
            key: tokio::fs::read(&self.files.key).await?,
        };
        if read == self.read {
            return Ok(Change::None);
        }
        self.shelf.from_files = certified(&read.certificate, &read.key)?;
        self.read = read;
        self.show()
    }

    /// Takes over what was got by ACME, here or elsewhere.
    async fn tick_issued(&mut self) -> Result<Change> {
        let revision = self.issued.known.borrow().revisions.certificates;
        if self.seen == Some(revision) {
            return Ok(Change::None);
        }
        let Issued { database, seal, clock, .. } = &self.issued;
        let opened = certificates::open_all(database, seal, clock.now()).await?;
        let usable = |Opened { name, chain, key }: Opened| match certified(chain.as_bytes(), &key) {
            Ok(certified) => Some((name, certified)),
            Err(error) => {
                tracing::error!(
                    name,
                    error = format!("{error:#}"),
                    "a certificate got by ACME cannot be used"
                );
                None
            }
        };
        self.shelf.by_name = Arc::new(opened.into_iter().filter_map(usable).collect());
        self.seen = Some(revision);
        if self.shelf.by_name.is_empty() { Ok(Change::None) } else { self.show() }
    }

    fn show(&self) -> Result<Change> {
        let (smtp, https) = configs(&self.shelf)?;
        self.smtp.send_replace(smtp);
        self.https.send_replace(https);
        Ok(Change::Renewed)
    }
}

/// What is shown to whom. Who names no host, or one that is not known, gets that of the files, or, where they were made
/// for development, that of the host name if it was got.
#[derive(Debug, Clone)]
struct Shelf {
    from_files: Arc<CertifiedKey>,
    by_name: Arc<HashMap<String, Arc<CertifiedKey>>>,
    preferred: Option<String>,
}

impl ResolvesServerCert for Shelf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.by_name.get(&name.to_ascii_lowercase()));
        let preferred = || self.preferred.as_ref().and_then(|name| self.by_name.get(name));
        Some(Arc::clone(named.or_else(preferred).unwrap_or(&self.from_files)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    None,
    Renewed,
}

/// A chain with the key of its first certificate.
fn certified(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .context("the certificate is no PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key).context("the key is no PEM")?;
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    Ok(Arc::new(certified.context("certificate and key do not fit each other")?))
}

/// TLS 1.2 and 1.3 with the cipher suites of the library, all of them with forward secrecy.
fn configs(shelf: &Shelf) -> Result<(Arc<ServerConfig>, Arc<ServerConfig>)> {
    let smtp = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shelf.clone()));
    let mut https = smtp.clone();
    https.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(smtp), Arc::new(https)))
}

/// A certificate that nobody has reason to trust: encrypts all the same, for development.
fn made(hostname: &str, data_dir: &Path) -> Result<TlsFiles> {
    let files = TlsFiles { certificate: data_dir.join(CERTIFICATE), key: data_dir.join(KEY) };
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let names = [hostname, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).context("no certificate could be made")?;
    write(&files.key, &made.signing_key.serialize_pem(), 0o600)?;
    write(&files.certificate, &made.cert.pem(), 0o644)?;
    tracing::info!(path = %files.certificate.display(), "a certificate for development was made");
    Ok(files)
}

/// Whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let partial = path.with_extension("new");
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
