//! TLS reports (RFC 8460): who wants them, and what they look like. Not what is counted.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Where a domain wants its reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// By mail to this address.
    Mail(String),
    /// By HTTPS to this URL.
    Https(String),
}

/// Places of one record that are read.
const MOST: usize = 5;

/// What the TXT records at `_smtp._tls` say (RFC 8460 §3). Empty: nothing is wanted; so it is, too, if more than one
/// record claims to say it.
pub fn destinations(records: &[String]) -> Vec<Destination> {
    let is_ours = |text: &&String| text.split(';').next().is_some_and(|first| first.trim() == "v=TLSRPTv1");
    let mut ours = records.iter().filter(is_ours);
    let (Some(record), None) = (ours.next(), ours.next()) else { return Vec::new() };
    let fields = record.split(';').filter_map(|field| field.trim().split_once('='));
    let rua = fields.filter(|(name, _)| name.trim() == "rua").flat_map(|(_, value)| value.split(','));
    rua.filter_map(|place| destination(place.trim())).take(MOST).collect()
}

fn destination(place: &str) -> Option<Destination> {
    if let Some(address) = place.strip_prefix("mailto:") {
        // Parameters of the URI mean nothing here.
        let address = address.split('?').next().unwrap_or_default();
        let decoded = percent_encoding::percent_decode_str(address).decode_utf8().ok()?;
        return Some(Destination::Mail(decoded.into_owned()));
    }
    place.starts_with("https://").then(|| Destination::Https(place.to_owned()))
}

/// A report as a mail (RFC 8460 §5.3).
#[derive(Debug)]
pub struct ReportMail<'a> {
    /// The address it is from.
    pub from: &'a str,
    /// The address it goes to.
    pub to: &'a str,
    /// The host that reports.
    pub submitter: &'a str,
    /// The domain it is about.
    pub domain: &'a str,
    /// The report's id.
    pub id: &'a str,
    /// Its file's name.
    pub file: &'a str,
    /// When it is written.
    pub date: OffsetDateTime,
    /// The report, compressed.
    pub gzip: &'a [u8],
}

impl ReportMail<'_> {
    /// In its RFC 5322 form.
    pub fn write(&self) -> Vec<u8> {
        let ReportMail { from, to, submitter, domain, id, file, .. } = self;
        // Fails only for years beyond 9999.
        let date = self.date.format(&Rfc2822).unwrap_or_default();
        let boundary = "=_tls_report";
        let content = base64_lines(self.gzip);
        format!(
            "From: {from}\r\nTo: {to}\r\nDate: {date}\r\nMessage-ID: <{id}>\r\n\
             Subject: Report Domain: {domain}\r\n Submitter: {submitter}\r\n Report-ID: <{id}>\r\n\
             TLS-Report-Domain: {domain}\r\nTLS-Report-Submitter: {submitter}\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is a report (RFC 8460) of how mail was carried to servers of {domain}.\r\n\r\n\
             --{boundary}\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n filename=\"{file}\"\r\n\r\n{content}--{boundary}--\r\n"
        )
        .into_bytes()
    }
}

fn base64_lines(octets: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(octets);
    let lines = text.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok());
    lines.map(|line| format!("{line}\r\n")).collect()
}

/// A report as JSON, compressed.
///
/// # Errors
/// Writing to memory does not fail; the type says that it could.
pub fn compress(report: &Value) -> std::io::Result<Vec<u8>> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(report.to_string().as_bytes())?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_where_reports_go() {
        let of = |records: &[&str]| {
            destinations(&records.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let (mail, https) =
            (|at: &str| Destination::Mail(at.to_owned()), |at: &str| Destination::Https(at.to_owned()));
        assert_eq!(of(&["v=TLSRPTv1; rua=mailto:reports@example.com"]), [mail("reports@example.com")]);
        assert_eq!(
            of(&["v=TLSRPTv1;rua=mailto:a%2Bb@example.com?x=1, https://example.com/v1/tlsrpt ;"]),
            [mail("a+b@example.com"), https("https://example.com/v1/tlsrpt")]
        );
        for none in [
            &["v=TLSRPTv1; rua=http://example.com/"][..],
            &["v=spf1 -all"],
            &["rua=mailto:a@b.example; v=TLSRPTv1"],
            &["v=TLSRPTv1; rua=mailto:a@b.example", "v=TLSRPTv1; rua=mailto:c@d.example"],
        ] {
            assert_eq!(of(none), [], "{none:?}");
        }
    }
}
