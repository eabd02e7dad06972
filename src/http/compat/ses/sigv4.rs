//! AWS Signature Version 4 of a request's header ("Signature Version 4 signing process", AWS IAM User Guide): whether
//! a request was signed with a secret, and not changed since. Pure; whose secret it is, and whether he may, is not asked
//! here.
//!
//! Invariant: nothing that was not signed is taken for signed. The body is hashed as it came, whatever a header says of
//! it, and the host must be among the signed fields. Query strings that bear a signature are none to this.

use std::fmt::Write;

use aws_lc_rs::{constant_time, digest, hmac};
use axum::http::{HeaderMap, Method, Uri, header};
use data_encoding::HEXLOWER;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::domain::access_key::{AccessKeyId, signing_key};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const STAMP: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");
/// How far a client's clock may be off.
pub const SKEW: Duration = Duration::minutes(15);

/// What a request says of its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub access_key_id: AccessKeyId,
    /// `20150830/us-east-1/ses/aws4_request`.
    scope: String,
    date: String,
    region: String,
    service: String,
    signed: Vec<String>,
    signature: Vec<u8>,
}

/// Why a request has no good signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// It has none at all.
    #[error("Missing Authentication Token")]
    Missing,
    /// It has one that cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// It was signed too long ago.
    #[error("Signature expired: {signed} is now earlier than {bound} ({now} - 15 min.)")]
    Expired {
        /// When it was signed.
        signed: String,
        /// The earliest moment that is borne.
        bound: String,
        /// The time here.
        now: String,
    },
    /// It will be signed.
    #[error("Signature not yet current: {signed} is still later than {bound} ({now} + 15 min.)")]
    Early {
        /// When it was signed.
        signed: String,
        /// The latest moment that is borne.
        bound: String,
        /// The time here.
        now: String,
    },
    /// It was signed with something else, or changed since.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Signable<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target, as the client wrote it.
    pub uri: &'a Uri,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
}

impl Claim {
    /// Reads `Authorization: AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
    ///
    /// # Errors
    /// It is missing, or not of this form.
    pub fn read(headers: &HeaderMap) -> Result<Claim, Unsigned> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let fields = value.and_then(|value| value.strip_prefix(ALGORITHM)).ok_or(Unsigned::Missing)?;
        let part = |name: &str| {
            let mut parts = fields.split(',').map(str::trim);
            let found = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.filter(|found| !found.is_empty()).ok_or_else(|| {
                Unsigned::Malformed(format!("Authorization header requires '{name}' parameter."))
            })
        };
        let credential = part("Credential")?;
        let signature = HEXLOWER.decode(part("Signature")?.as_bytes()).map_err(|_| Unsigned::Mismatch)?;
        let mut signed: Vec<String> = part("SignedHeaders")?.split(';').map(str::to_owned).collect();
        signed.sort_unstable();
        if !signed.iter().any(|name| name == "host") {
            return Err(Unsigned::Malformed(
                "'Host' must be a 'SignedHeader' in the AWS Authorization.".into(),
            ));
        }
        // An id of the operator's choice may hold a slash.
        let mut steps = credential.rsplitn(5, '/');
        let (end, service, region, date, id) =
            (steps.next(), steps.next(), steps.next(), steps.next(), steps.next());
        let bad = || {
            Unsigned::Malformed(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
            ))
        };
        let (Some("aws4_request"), Some(service), Some(region), Some(date), Some(id)) =
            (end, service, region, date, id)
        else {
            return Err(bad());
        };
        Ok(Claim {
            access_key_id: AccessKeyId::parse(id).map_err(|_| bad())?,
            scope: format!("{date}/{region}/{service}/aws4_request"),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed,
            signature,
        })
    }

    /// Whether the request was signed with this secret, for one of these services, about now.
    ///
    /// # Errors
    /// See [`Unsigned`].
    pub fn verify(
        &self,
        request: Signable<'_>,
        secret: &str,
        services: &[&str],
        now: OffsetDateTime,
    ) -> Result<(), Unsigned> {
        let moment = moment(request.headers)?;
        let stamp = stamp(moment);
        if !stamp.starts_with(&self.date) || self.date.len() != 8 {
            let text = format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}', from '{stamp}'.",
                self.date,
                stamp.get(..8).unwrap_or_default()
            );
            return Err(Unsigned::Malformed(text));
        }
        if !services.contains(&self.service.as_str()) {
            let text =
                format!("Credential should be scoped to correct service: '{}'.", services.join("' or '"));
            return Err(Unsigned::Malformed(text));
        }
        in_time(moment, now)?;
        let key = signing_key(secret, &self.date, &self.region, &self.service);
        let wanted = hmac::sign(&key, self.string_to_sign(request, &stamp).as_bytes());
        constant_time::verify_slices_are_equal(wanted.as_ref(), &self.signature)
            .map_err(|_| Unsigned::Mismatch)
    }

    fn string_to_sign(&self, request: Signable<'_>, stamp: &str) -> String {
        let canonical = canonical_request(request, &self.signed);
        format!("{ALGORITHM}\n{stamp}\n{}\n{}", self.scope, sha256(canonical.as_bytes()))
    }
}

/// When the request says it was signed.
fn moment(headers: &HeaderMap) -> Result<OffsetDateTime, Unsigned> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = match text("x-amz-date") {
        Some(stamp) => PrimitiveDateTime::parse(stamp, STAMP).ok().map(PrimitiveDateTime::assume_utc),
        None => text("date").and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()),
    };
    given.ok_or_else(|| {
        Unsigned::Malformed(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".into(),
        )
    })
}

fn stamp(moment: OffsetDateTime) -> String {
    // Fails only for years beyond 9999.
    moment.to_offset(time::UtcOffset::UTC).format(STAMP).unwrap_or_default()
}

fn in_time(moment: OffsetDateTime, now: OffsetDateTime) -> Result<(), Unsigned> {
    let (earliest, latest) = (now - SKEW, now + SKEW);
    let (signed, now) = (stamp(moment), stamp(now));
    if moment < earliest {
        return Err(Unsigned::Expired { signed, bound: stamp(earliest), now });
    }
    if moment > latest {
        return Err(Unsigned::Early { signed, bound: stamp(latest), now });
    }
    Ok(())
}

/// "Create a canonical request". The hash of the body is ours: a client that says another one has another signature.
fn canonical_request(request: Signable<'_>, signed: &[String]) -> String {
    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method,
        canonical_path(request.uri.path()),
        canonical_query(request.uri.query().unwrap_or_default())
    );
    for name in signed {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name}:{}", canonical_value(request, name));
    }
    let _ = write!(text, "\n{}\n{}", signed.join(";"), sha256(request.body));
    text
}

/// The path without its empty and dot segments, each octet of it encoded: once more than on the wire, as all services
/// but S3 have it.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let ends = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    let encoded: Vec<String> = segments.into_iter().map(|segment| encode(segment.as_bytes())).collect();
    format!("/{}{ends}", encoded.join("/"))
}

/// Names and values encoded, sorted by both.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (recode(name), recode(value))
        })
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// As it is written on the wire, in the one way there is.
fn recode(text: &str) -> String {
    encode(&percent_encoding::percent_decode_str(text).collect::<Vec<u8>>())
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for octet in octets {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(*octet));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(text, "%{octet:02X}");
        }
    }
    text
}

/// A field's values, joined by commas, without white space around and runs of it within.
fn canonical_value(request: Signable<'_>, name: &str) -> String {
    let values: Vec<String> = request
        .headers
        .get_all(name)
        .iter()
        .map(|value| {
            String::from_utf8_lossy(value.as_bytes()).split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect();
    if values.is_empty() && name == "host" {
        // HTTP/2 has it in the target.
        return request.uri.authority().map(|authority| authority.to_string()).unwrap_or_default();
    }
    values.join(",")
}

fn sha256(octets: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, octets).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const NOON: OffsetDateTime = datetime!(2015-08-30 12:36:00 UTC);

    /// A request of AWS's test suite, and its claim.
    struct Vector {
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Vec<u8>,
    }

    fn vector(method: &str, target: &str, fields: &[(&str, &str)], body: &str, signature: &str) -> Vector {
        let mut headers = HeaderMap::new();
        let usual = [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")];
        let mut names: Vec<String> = Vec::new();
        for (name, value) in usual.iter().chain(fields) {
            let name: header::HeaderName = name.parse().expect("a name");
            headers.append(&name, value.parse().expect("a value"));
            names.push(name.to_string());
        }
        names.sort_unstable();
        names.dedup();
        let value = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={}, Signature={signature}",
            names.join(";")
        );
        headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
        Vector {
            method: method.parse().expect("a method"),
            uri: target.parse().expect("a target"),
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    impl Vector {
        fn signable(&self) -> Signable<'_> {
            Signable { method: &self.method, uri: &self.uri, headers: &self.headers, body: &self.body }
        }

        fn verify_at(&self, now: OffsetDateTime) -> Result<(), Unsigned> {
            Claim::read(&self.headers)?.verify(self.signable(), SECRET, &["service"], now)
        }

        fn verify(&self) -> Result<(), Unsigned> {
            self.verify_at(NOON)
        }
    }

    const VANILLA: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

    #[test]
    fn the_requests_of_awss_test_suite_are_signed() {
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let cases = [
            ("GET", "/", &[][..], "", VANILLA),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                &[],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("POST", "/", &[], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "POST",
                "/",
                &[form],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "POST",
                "/",
                &[("My-Header1", "value1")],
                "",
                "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            ),
            (
                "GET",
                "/",
                &[("My-Header1", " value1 "), ("My-Header2", " \"a   b   c\" ")],
                "",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "GET",
                "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                &[],
                "",
                "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            ),
            ("GET", "/example/..", &[], "", VANILLA),
            ("GET", "/./", &[], "", VANILLA),
            ("GET", "//", &[], "", VANILLA),
        ];
        for (method, target, fields, body, signature) in cases {
            let vector = vector(method, target, fields, body, signature);
            assert_eq!(vector.verify(), Ok(()), "{method} {target} {fields:?}");
        }
    }

    #[test]
    fn whatever_is_changed_breaks_the_signature() {
        let good = || vector("GET", "/", &[], "", VANILLA);
        let mut changed = [good(), good(), good(), good(), good()];
        changed[0].body = b"x".to_vec();
        changed[1].method = Method::POST;
        changed[2].uri = "/?a=b".parse().expect("a target");
        changed[3].headers.insert("host", "other.example".parse().expect("a value"));
        changed[4].headers.append("x-amz-date", "20150830T123601Z".parse().expect("a value"));
        for (index, vector) in changed.iter().enumerate() {
            assert_eq!(vector.verify(), Err(Unsigned::Mismatch), "{index}");
        }
        let claim = Claim::read(&good().headers).expect("a claim");
        let with = |secret, services: &[&str]| claim.verify(good().signable(), secret, services, NOON);
        assert_eq!(with("another", &["service"]), Err(Unsigned::Mismatch));
        assert!(matches!(with(SECRET, &["ses"]), Err(Unsigned::Malformed(_))));
    }

    #[test]
    fn a_clock_may_be_off_by_a_quarter_of_an_hour() {
        let vector = vector("GET", "/", &[], "", VANILLA);
        assert_eq!(vector.verify_at(NOON + SKEW), Ok(()));
        assert_eq!(vector.verify_at(NOON - SKEW), Ok(()));
        let late = vector.verify_at(NOON + SKEW + Duration::SECOND).expect_err("too late");
        let text = "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)";
        assert_eq!(late.to_string(), text);
        let early = vector.verify_at(NOON - SKEW - Duration::SECOND);
        assert!(matches!(early, Err(Unsigned::Early { .. })));
    }

    #[test]
    fn what_is_no_signature_is_told() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            Claim::read(&headers)
        };
        assert_eq!(Claim::read(&HeaderMap::new()), Err(Unsigned::Missing));
        assert_eq!(read("Bearer x"), Err(Unsigned::Missing));
        let good =
            "Credential=AKIDEXAMPLE/20150830/us-east-1/ses/aws4_request, SignedHeaders=host, Signature=00";
        assert!(read(&format!("{ALGORITHM} {good}")).is_ok());
        for bad in [
            good.replace("Credential", "credential"),
            good.replace("/ses", ""),
            good.replace("aws4_request", "aws3_request"),
            good.replace("=host", "=date"),
            good.replace("=host", "="),
            good.replace("Signature=00", ""),
            good.replace("AKIDEXAMPLE", "short"),
        ] {
            assert!(matches!(read(&format!("{ALGORITHM} {bad}")), Err(Unsigned::Malformed(_))), "{bad}");
        }
        assert_eq!(read(&format!("{ALGORITHM} {good}0x")), Err(Unsigned::Mismatch));
        let mut undated = vector("GET", "/", &[], "", VANILLA);
        undated.headers.remove("x-amz-date");
        assert!(matches!(undated.verify(), Err(Unsigned::Malformed(_))));
    }
}
