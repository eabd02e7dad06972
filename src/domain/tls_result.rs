//! How a session with a recipient domain's server fared, as TLS reporting counts it (RFC 8460 §4). Pure.

/// Which policy of the domain was applied (RFC 8460 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyType {
    /// MTA-STS.
    Sts,
    /// DANE.
    Tlsa,
    /// It has none.
    None,
}

impl PolicyType {
    /// As reports and the database have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            PolicyType::Sts => "sts",
            PolicyType::Tlsa => "tlsa",
            PolicyType::None => "no-policy-found",
        }
    }
}

/// What came of it (RFC 8460 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsResult {
    /// It was encrypted as the policy wants it.
    Successful,
    /// The server does not offer STARTTLS.
    StartTlsNotSupported,
    /// Its certificate is for another name.
    HostMismatch,
    /// Its certificate is too old.
    Expired,
    /// Its certificate leads to no root that is trusted.
    NotTrusted,
    /// Another failure: of the handshake, or since the policy does not name the server.
    ValidationFailure,
    /// None of the TLSA records can be used, or describes the certificate.
    TlsaInvalid,
    /// The records could not be proved.
    DnssecInvalid,
    /// The policy could not be fetched.
    StsFetchError,
    /// What was fetched is no policy.
    StsInvalid,
}

impl TlsResult {
    /// As reports and the database have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            TlsResult::Successful => "successful",
            TlsResult::StartTlsNotSupported => "starttls-not-supported",
            TlsResult::HostMismatch => "certificate-host-mismatch",
            TlsResult::Expired => "certificate-expired",
            TlsResult::NotTrusted => "certificate-not-trusted",
            TlsResult::ValidationFailure => "validation-failure",
            TlsResult::TlsaInvalid => "tlsa-invalid",
            TlsResult::DnssecInvalid => "dnssec-invalid",
            TlsResult::StsFetchError => "sts-policy-fetch-error",
            TlsResult::StsInvalid => "sts-policy-invalid",
        }
    }

    /// From what was said about a handshake that failed, or a certificate that does not verify.
    pub fn of_words(words: &str) -> TlsResult {
        let words = words.to_ascii_lowercase();
        let has = |part: &str| words.contains(part);
        if has("does not offer starttls") {
            TlsResult::StartTlsNotSupported
        } else if has("records are not known") {
            TlsResult::DnssecInvalid
        } else if has("applicationverificationfailure") {
            TlsResult::TlsaInvalid
        } else if has("expired") {
            TlsResult::Expired
        } else if has("not valid for name") || has("notvalidforname") || has("wrong name") {
            TlsResult::HostMismatch
        } else if has("unknownissuer") || has("unknown issuer") || has("badsignature") || has("bad signature")
        {
            // Another one than the root that bears its issuer's name has signed it.
            TlsResult::NotTrusted
        } else {
            TlsResult::ValidationFailure
        }
    }
}

/// One kind of session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsSession {
    /// The domain whose mail it was for.
    pub domain: String,
    /// What it wants.
    pub policy: PolicyType,
    /// What came of it.
    pub result: TlsResult,
    /// The server; empty: none was reached.
    pub mx: String,
    /// The address of ours; empty: whichever the system picked.
    pub source: String,
    /// The server's address; empty: none was dialled.
    pub ip: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_handshake_tells_the_result() {
        let cases = [
            (
                "TLS is required by MTA-STS, and the peer does not offer STARTTLS",
                TlsResult::StartTlsNotSupported,
            ),
            (
                "and failed: invalid peer certificate: certificate expired: verification time 1",
                TlsResult::Expired,
            ),
            ("and failed: invalid peer certificate: Expired", TlsResult::Expired),
            (
                "invalid peer certificate: certificate not valid for name \"mx.example\"",
                TlsResult::HostMismatch,
            ),
            ("invalid peer certificate: UnknownIssuer", TlsResult::NotTrusted),
            ("invalid peer certificate: BadSignature", TlsResult::NotTrusted),
            ("invalid peer certificate: ApplicationVerificationFailure", TlsResult::TlsaInvalid),
            ("received fatal alert: ProtocolVersion", TlsResult::ValidationFailure),
            ("unverified (wrong name)", TlsResult::HostMismatch),
            ("TLS may be required by DANE, and the records are not known: timeout", TlsResult::DnssecInvalid),
        ];
        for (words, expected) in cases {
            assert_eq!(TlsResult::of_words(words), expected, "{words}");
        }
    }
}
