//! Settings of certificates by ACME.

use url::Url;

use crate::mail::EmailAddress;

use super::Source;

/// letsencrypt.org/docs/acme-protocol-updates
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Certificates by ACME (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Whom the authority writes to.
    pub contact: EmailAddress,
    /// Its directory.
    pub directory: Url,
}

pub(super) fn read(source: &mut Source) -> Option<Acme> {
    let directory = source.parsed("ACME_DIRECTORY", LETS_ENCRYPT, http_url);
    let contact = source.parsed("ACME", "off", |text| match text {
        "off" => Ok(None),
        address => EmailAddress::parse(address).map(Some),
    });
    Some(Acme { contact: contact.flatten()?, directory: directory? })
}

pub(super) fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or("an absolute http or https URL is needed")
}
