//! The trace field of a submitted mail (RFC 5321 §4.4): where, how and when it came in.
//!
//! Not from where: the name and address of the client are those of somebody's own machine, which the recipients have
//! no business to know, so that there is no `from` clause. Our log and the stored message tell which key sent it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio_rustls::rustls::ProtocolVersion;

use crate::smtp::mailroom::{Charset, MailParams, Means, SessionInfo};

/// The field, with its CRLF.
pub(super) fn received(
    hostname: &str,
    session: &SessionInfo,
    params: &MailParams,
    now: OffsetDateTime,
) -> String {
    // RFC 3848, RFC 6531 §4.3: extended, over TLS, authenticated; a client known by its address alone may be neither.
    let secure = if session.tls.is_some() { "S" } else { "" };
    let logged_in = session.login.as_ref().is_some_and(|login| login.by != Means::Address);
    let authenticated = if logged_in { "A" } else { "" };
    let extended = match params.charset {
        Charset::Ascii => "ESMTP",
        Charset::Utf8 => "UTF8SMTP",
    };
    let protocol = format!("{extended}{secure}{authenticated}");
    let tls = session.tls.map_or_else(String::new, |tls| {
        let version = match tls.version {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLSv1.2",
        };
        format!(" ({version} {})", tls.cipher.as_str().unwrap_or("unknown cipher"))
    });
    // The format fails only for years beyond 9999.
    let date = now.format(&Rfc2822).unwrap_or_default();
    format!("Received: by {hostname} (postroad) with {protocol}{tls};\r\n\t{date}\r\n")
}
