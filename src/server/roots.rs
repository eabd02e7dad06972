//! Certificates that are trusted besides the machine's own: an organization's, or a test's.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Reads a PEM file. No file: none.
pub(super) fn load(path: Option<&Path>) -> Result<Vec<CertificateDer<'static>>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let what = || format!("POSTROAD_TLS_ROOTS: {}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).with_context(what)?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().with_context(what)?;
    ensure!(!certificates.is_empty(), "{} holds no certificate", what());
    Ok(certificates)
}
