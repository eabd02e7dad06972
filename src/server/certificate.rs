//! The certificate that the doors show: the operator's files, or one made for development in the data directory.
//!
//! Files are looked at every second; when they have changed, the next handshake uses them, and open sessions are
//! not disturbed. Invariant: what is in force is a certificate with its own key; files that are half written, or do
//! not fit each other, change nothing and are told.

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
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, TlsFiles};

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

/// Watches the files.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    read: Pem,
    smtp: watch::Sender<Arc<ServerConfig>>,
    https: watch::Sender<Arc<ServerConfig>>,
}

/// The contents of both files.
#[derive(Debug, PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads the operator's files, or those of the data directory, which are made if they are not there.
    ///
    /// # Errors
    /// The files cannot be read or used.
    pub fn load(config: &Config, data_dir: &Path) -> Result<(Certificate, Shown)> {
        let files = match &config.tls_files {
            Some(files) => files.clone(),
            None => made(&config.hostname, data_dir)?,
        };
        let read = Pem {
            certificate: fs::read(&files.certificate)
                .with_context(|| format!("cannot read {}", files.certificate.display()))?,
            key: fs::read(&files.key).with_context(|| format!("cannot read {}", files.key.display()))?,
        };
        let (smtp, https) =
            configs(&read).with_context(|| format!("{} cannot be used", files.certificate.display()))?;
        let (smtp, smtp_shown) = watch::channel(smtp);
        let (https, https_shown) = watch::channel(https);
        let shown = Shown { smtp: smtp_shown, https: https_shown };
        Ok((Certificate { files, read, smtp, https }, shown))
    }

    /// Follows the files until `stop`.
    pub async fn follow(mut self, stop: CancellationToken) {
        let mut told = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            match self.tick().await {
                Ok(Change::None) => {}
                Ok(Change::Renewed) => tracing::info!("the certificate was renewed"),
                Err(error) => {
                    // Once for each kind of trouble, not every second.
                    let text = format!("{error:#}");
                    if text != told {
                        tracing::warn!(error = %text, "the certificate's files cannot be used; the one before stays");
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
        let (smtp, https) = configs(&read)?;
        self.smtp.send_replace(smtp);
        self.https.send_replace(https);
        self.read = read;
        Ok(Change::Renewed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Renewed,
}

/// TLS 1.2 and 1.3 with the cipher suites of the library, all of them with forward secrecy.
fn configs(pem: &Pem) -> Result<(Arc<ServerConfig>, Arc<ServerConfig>)> {
    let chain = CertificateDer::pem_slice_iter(&pem.certificate)
        .collect::<Result<Vec<_>, _>>()
        .context("the certificate is no PEM")?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key).context("the key is no PEM")?;
    let smtp = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not fit each other")?;
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
