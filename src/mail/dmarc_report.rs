//! Aggregate reports of DMARC (RFC 9990, and RFC 7489 §7.2 before it), out of the mails they come in: XML, bare, in
//! gzip or in zip.
//!
//! Invariant: reading one is bounded, whatever it unpacks to: one file of an archive is read, so many octets of it,
//! and so many rows.

use std::io::{Cursor, Read};
use std::net::IpAddr;

use mail_auth::report::{ActionDisposition, Disposition, DmarcResult, Record, Report};
use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};
use time::OffsetDateTime;

use super::structure;

/// The most octets of XML.
const MAX_XML: usize = 4 << 20;
/// The most rows.
const MAX_ROWS: usize = 5000;
/// The longest name that is kept.
const MAX_NAME: usize = 200;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateReport {
    /// Who reports.
    pub reporter: String,
    /// Its own name for the report.
    pub id: String,
    /// The domain it is about, in lower case.
    pub domain: String,
    /// What the domain asked of receivers; empty: it did not say.
    pub policy: &'static str,
    /// From when.
    pub begins_at: OffsetDateTime,
    /// Until when.
    pub ends_at: OffsetDateTime,
    /// What came.
    pub rows: Vec<AggregateRow>,
}

/// Mail from one place that was judged alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateRow {
    /// From where.
    pub source: IpAddr,
    /// How much.
    pub messages: u32,
    /// Whether a signature of the domain held.
    pub dkim_aligned: bool,
    /// Whether SPF passed for the domain.
    pub spf_aligned: bool,
    /// What the receiver did.
    pub disposition: &'static str,
}

/// Reads the report in a mail; `None`: there is none in it that can be used.
pub fn read(raw: &[u8]) -> Option<AggregateReport> {
    // What is built to exhaust its reader is nobody's report.
    structure::parse(raw).ok()?;
    let message = MessageParser::default().parse(raw)?;
    let xml = find(&message)?;
    let report = Report::parse_xml(&xml).ok()?;
    let moment = |seconds: u64| OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok();
    let (begins_at, ends_at) = (moment(report.date_range_begin())?, moment(report.date_range_end())?);
    let is_plausible = begins_at <= ends_at && (2000..=9000).contains(&ends_at.year());
    let domain = report.domain().trim_end_matches('.').to_ascii_lowercase();
    if !is_plausible || domain.is_empty() || report.report_id().is_empty() {
        return None;
    }
    Some(AggregateReport {
        reporter: short(report.org_name()),
        id: short(report.report_id()),
        domain: short(&domain),
        policy: policy(report.p()),
        begins_at,
        ends_at,
        rows: report.records().iter().take(MAX_ROWS).filter_map(row).collect(),
    })
}

/// The first part that may be one, unpacked.
fn find(message: &Message<'_>) -> Option<Vec<u8>> {
    message.parts.iter().find_map(|part| {
        let octets: &[u8] = match &part.body {
            PartType::Text(text) => text.as_bytes(),
            PartType::Binary(octets) | PartType::InlineBinary(octets) => octets,
            _ => return None,
        };
        unpacked(kind(part)?, octets)
    })
}

#[derive(Debug, Clone, Copy)]
enum Packing {
    Bare,
    Gzip,
    Zip,
}

/// By its type, else by its name: RFC 9990 wants application/gzip and text/xml, and is often not heard.
fn kind(part: &MessagePart<'_>) -> Option<Packing> {
    let subtype = part.content_type().and_then(|kind| kind.subtype()).unwrap_or_default();
    let ending = part.attachment_name().and_then(|name| name.rsplit('.').next()).unwrap_or_default();
    let of = |word: &str| match word.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" | "gz" => Some(Packing::Gzip),
        "zip" | "x-zip" | "x-zip-compressed" => Some(Packing::Zip),
        "xml" => Some(Packing::Bare),
        _ => None,
    };
    of(subtype).or_else(|| of(ending))
}

fn unpacked(packing: Packing, octets: &[u8]) -> Option<Vec<u8>> {
    match packing {
        Packing::Bare => (octets.len() <= MAX_XML).then(|| octets.to_vec()),
        Packing::Gzip => bounded(flate2::read::GzDecoder::new(octets)),
        Packing::Zip => {
            let mut archive = zip::ZipArchive::new(Cursor::new(octets)).ok()?;
            bounded(archive.by_index(0).ok()?)
        }
    }
}

fn bounded(reader: impl Read) -> Option<Vec<u8>> {
    let mut xml = Vec::new();
    reader.take(MAX_XML as u64 + 1).read_to_end(&mut xml).ok()?;
    (xml.len() <= MAX_XML).then_some(xml)
}

fn row(record: &Record) -> Option<AggregateRow> {
    Some(AggregateRow {
        source: record.source_ip()?,
        messages: record.count(),
        dkim_aligned: record.dmarc_dkim_result() == DmarcResult::Pass,
        spf_aligned: record.dmarc_spf_result() == DmarcResult::Pass,
        disposition: match record.action_disposition() {
            ActionDisposition::Quarantine => "quarantine",
            ActionDisposition::Reject => "reject",
            _ => "none",
        },
    })
}

fn policy(asked: Disposition) -> &'static str {
    match asked {
        Disposition::None => "none",
        Disposition::Quarantine => "quarantine",
        Disposition::Reject => "reject",
        Disposition::Unspecified => "",
    }
}

/// A name that can be stored and shown.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use time::macros::datetime;

    use super::*;

    const XML: &str = "<?xml version=\"1.0\"?><feedback><version>1.0</version>\
        <report_metadata><org_name>Receiver Inc.</org_name><email>noreply@receiver.example</email>\
        <report_id>7</report_id><date_range><begin>1795910400</begin><end>1795996799</end></date_range></report_metadata>\
        <policy_published><domain>Acme.Example</domain><adkim>r</adkim><aspf>r</aspf><p>reject</p><sp>none</sp></policy_published>\
        <record><row><source_ip>192.0.2.7</source_ip><count>12</count><policy_evaluated><disposition>none</disposition>\
        <dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>acme.example</header_from></identifiers>\
        <auth_results><dkim><domain>acme.example</domain><result>pass</result></dkim></auth_results></record>\
        <record><row><source_ip>2001:db8::1</source_ip><count>3</count><policy_evaluated><disposition>reject</disposition>\
        <dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>acme.example</header_from></identifiers>\
        <auth_results></auth_results></record></feedback>";

    fn mail(kind: &str, name: &str, octets: &[u8]) -> Vec<u8> {
        let encoded = BASE64_STANDARD.encode(octets);
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!(
            "From: noreply@receiver.example\r\nSubject: Report\r\nMIME-Version: 1.0\r\nContent-Type: {kind}; name=\"{name}\"\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            lines.join("\r\n")
        )
        .into_bytes()
    }

    fn gzip(octets: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(octets).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zipped(octets: &[u8]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("report.xml", zip::write::SimpleFileOptions::default()).expect("memory");
        writer.write_all(octets).expect("memory");
        writer.finish().expect("memory").into_inner()
    }

    #[test]
    fn a_report_is_read_however_it_is_packed() {
        let row = |source: &str, messages, dkim_aligned, disposition| AggregateRow {
            source: source.parse().expect("an address"),
            messages,
            dkim_aligned,
            spf_aligned: false,
            disposition,
        };
        let expected = AggregateReport {
            reporter: "Receiver Inc.".to_owned(),
            id: "7".to_owned(),
            domain: "acme.example".to_owned(),
            policy: "reject",
            begins_at: datetime!(2026-11-29 0:00 UTC),
            ends_at: datetime!(2026-11-29 23:59:59 UTC),
            rows: vec![row("192.0.2.7", 12, true, "none"), row("2001:db8::1", 3, false, "reject")],
        };
        let xml = XML.as_bytes();
        for (kind, name, octets) in [
            ("text/xml", "r.xml", xml.to_vec()),
            ("application/xml", "r", xml.to_vec()),
            ("application/gzip", "r.xml.gz", gzip(xml)),
            ("application/octet-stream", "r.xml.gz", gzip(xml)),
            ("application/zip", "r.zip", zipped(xml)),
            ("application/x-zip-compressed", "r", zipped(xml)),
        ] {
            assert_eq!(read(&mail(kind, name, &octets)).as_ref(), Some(&expected), "{kind} {name}");
        }
    }

    #[test]
    fn what_is_none_or_unpacks_without_end_is_none() {
        // A report that could be read, but for its size.
        let bomb = [XML.as_bytes(), &vec![b' '; MAX_XML]].concat();
        let cases = [
            mail("application/gzip", "r.xml.gz", &gzip(&bomb)),
            mail("application/zip", "r.zip", &zipped(&bomb)),
            mail("text/xml", "r.xml", &bomb),
            mail("application/gzip", "r.xml.gz", b"no gzip"),
            mail("application/zip", "r.zip", b"PK no zip"),
            mail("text/xml", "r.xml", b"<feedback>"),
            mail("text/xml", "r.xml", XML.replace("Acme.Example", "").as_bytes()),
            mail("text/xml", "r.xml", XML.replace("1795996799", "99999999999999999").as_bytes()),
            mail("text/plain", "r.txt", XML.as_bytes()),
            b"Subject: hello\r\n\r\nNo report.\r\n".to_vec(),
            Vec::new(),
        ];
        for case in cases {
            assert_eq!(read(&case), None, "{}", String::from_utf8_lossy(&case[..case.len().min(300)]));
        }
    }
}
