//! DANE (RFC 7672, RFC 6698): a server's certificate as its domain's signed TLSA records describe it. Pure.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::dns::Tlsa;

/// RFC 6698 §2.1.1.
const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;

/// The records that can be used (RFC 7672 §3.1): of usage DANE-TA or DANE-EE, with a selector and a matching type
/// that are known, and of the length that belongs to it. Others are as if they were not there.
pub fn usable(records: Vec<Tlsa>) -> Vec<Tlsa> {
    let fits = |record: &Tlsa| {
        let length = record.association.len();
        let matching = match record.matching {
            0 => length > 0,
            1 => length == 32,
            2 => length == 64,
            _ => false,
        };
        matching && matches!(record.usage, DANE_TA | DANE_EE) && record.selector <= 1
    };
    records.into_iter().filter(fits).collect()
}

/// Believes the certificates that the records describe, and no others.
#[derive(Debug)]
pub struct DaneVerifier {
    records: Vec<Tlsa>,
    names: Vec<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl DaneVerifier {
    /// By usable records. `names`: what the server may be called (RFC 7672 §3.2.2).
    pub fn new(records: Vec<Tlsa>, names: &[String], provider: Arc<CryptoProvider>) -> DaneVerifier {
        let names = names.iter().filter_map(|name| ServerName::try_from(name.clone()).ok()).collect();
        DaneVerifier { records, names, provider }
    }

    /// RFC 7672 §3.1.1: the key is all that counts; neither names nor dates do.
    fn is_end_entity(&self, leaf: &CertificateDer<'_>) -> bool {
        self.of(DANE_EE).any(|record| matches(record, leaf))
    }

    /// RFC 7672 §3.1.2: the server's chain leads to a certificate that a record describes, and its own bears one of
    /// the names.
    fn leads_to_anchor(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let whole = self.of(DANE_TA).filter(|record| (record.selector, record.matching) == (0, 0));
        let told = whole.map(|record| CertificateDer::from(record.association.clone()));
        let shown = chain.iter().filter(|link| self.of(DANE_TA).any(|record| matches(record, link)));
        let anchors: Vec<_> = told.chain(shown.map(|link| link.clone().into_owned())).collect();
        anchors.into_iter().any(|anchor| self.chains(leaf, chain, anchor, now))
    }

    fn chains(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        anchor: CertificateDer<'static>,
        now: UnixTime,
    ) -> bool {
        let mut roots = RootCertStore::empty();
        if roots.add(anchor).is_err() {
            return false;
        }
        let provider = Arc::clone(&self.provider);
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let Ok(verifier) = built else { return false };
        self.names.iter().any(|name| verifier.verify_server_cert(leaf, chain, name, &[], now).is_ok())
    }

    fn of(&self, usage: u8) -> impl Iterator<Item = &Tlsa> {
        self.records.iter().filter(move |record| record.usage == usage)
    }
}

/// Whether a record describes a certificate (RFC 6698 §2.1).
fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let key;
    let selected: &[u8] = if record.selector == 0 {
        certificate
    } else {
        let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
        key = parsed.subject_public_key_info();
        &key
    };
    match record.matching {
        0 => record.association == selected,
        1 => record.association == digest(&SHA256, selected).as_ref(),
        2 => record.association == digest(&SHA512, selected).as_ref(),
        _ => false,
    }
}

impl ServerCertVerifier for DaneVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_end_entity(end_entity) || self.leads_to_anchor(end_entity, intermediates, now) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("the certificate is not what the TLSA records describe".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_that_mean_something_to_smtp_are_usable() {
        let record = |usage, selector, matching, length| Tlsa {
            usage,
            selector,
            matching,
            association: vec![7; length],
        };
        for good in [record(3, 1, 1, 32), record(2, 0, 2, 64), record(3, 0, 0, 700)] {
            assert_eq!(usable(vec![good.clone()]), [good]);
        }
        for bad in [
            record(0, 1, 1, 32),
            record(1, 1, 1, 32),
            record(3, 2, 1, 32),
            record(3, 1, 1, 31),
            record(3, 1, 3, 32),
            record(3, 1, 0, 0),
        ] {
            assert_eq!(usable(vec![bad.clone()]), [], "{bad:?}");
        }
    }
}
