//! ARC (RFC 8617): the seal of a host that passes mail on, by which hosts after it can see what it found.
//!
//! Not the checks, whose results are sealed. Invariant: a chain that is broken already is not sealed again (§5.1.2).

use mail_auth::arc::ArcSealer;
use mail_auth::common::crypto::{Algorithm as Method, Sha256, SigningKey};
use mail_auth::common::headers::{HeaderWriter, Writable};
use mail_auth::{ArcOutput, AuthenticatedMessage, AuthenticationResults};

use super::dkim::Signer;
use super::trace;

/// What the seal holds fast, as far as the mail has it: what the reader sees, and what says whose it is. What it has not
/// may still come: signatures of ours do.
const SEALED: [&str; 16] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Unsubscribe",
    "DKIM-Signature",
];

/// The three fields of a set over `raw`, of which `message` is the parsed form, CRLF included, to be put before the mail. `None`: it cannot be sealed.
pub fn seal(
    signer: &Signer,
    raw: &[u8],
    message: &AuthenticatedMessage<'_>,
    results: &AuthenticationResults<'_>,
    chain: &ArcOutput<'_>,
) -> Option<String> {
    let sealer = ArcSealer::from_key(Lent(signer)).domain(signer.domain()).selector(signer.selector());
    let sealed = SEALED.into_iter().filter(|name| trace::count(raw, name) > 0);
    sealer.headers(sealed).seal(message, results, chain).ok().map(|set| set.to_header())
}

/// The library wants to own its key.
struct Lent<'a>(&'a Signer);

impl SigningKey for Lent<'_> {
    type Hasher = Sha256;

    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        self.0.key().sign(input)
    }

    fn algorithm(&self) -> Method {
        self.0.key().algorithm()
    }
}
