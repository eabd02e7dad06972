//! Reading requests: bodies within bounds of size, time and memory; JSON; paths and queries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::domain::id::{Id, Kind as IdKind};
use crate::submission::Violation;

use super::error::{Kind, Problem};
use super::strict_json;

/// The memory that bodies being read may take together. Beyond: 503.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

const UNIT: usize = 1024;
/// A body whose length is not told is paid for in steps of this size.
const STEP: usize = 64 * 1024;
/// Between two pieces of a body.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);
/// For all of it: this, and more for what has come, at the slowest rate that is borne.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const SLOWEST: u64 = 50 * 1024;

/// A body, and the memory it holds until it is dropped.
#[derive(Debug)]
pub struct HeldBody {
    /// The octets.
    pub bytes: Bytes,
    _held: Vec<OwnedSemaphorePermit>,
}

impl Budget {
    /// So many octets.
    pub fn new(bytes: usize) -> Budget {
        Budget(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let busy = |_| {
            Problem::new(Kind::Overloaded, "too much is being uploaded at once; try again").retry_after(1)
        };
        Arc::clone(&self.0).try_acquire_many_owned(units).map_err(busy)
    }

    /// Reads a body of at most `limit` octets.
    ///
    /// # Errors
    /// It is too large, too slow, broken, or there is no memory for it now.
    pub async fn read(&self, headers: &HeaderMap, body: Body, limit: usize) -> Result<HeldBody, Problem> {
        let coding = headers.get(header::CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            // RFC 9110 §8.4.1. What expands is not worth its risk here.
            return Err(Problem::new(Kind::UnsupportedMediaType, "send the body without a Content-Encoding"));
        }
        let told =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if told.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        self.collect(told, body, limit).await
    }

    async fn collect(&self, told: Option<usize>, mut body: Body, limit: usize) -> Result<HeldBody, Problem> {
        let began = Instant::now();
        let mut held = vec![self.take(told.unwrap_or(STEP))?];
        let mut paid = told.unwrap_or(STEP);
        let mut bytes = Vec::with_capacity(told.unwrap_or(0).min(limit));
        loop {
            let until = began + BODY_TIMEOUT + Duration::from_secs(bytes.len() as u64 / SLOWEST);
            let until = until.min(Instant::now() + PIECE_TIMEOUT);
            let piece = tokio::time::timeout_at(until, body.frame()).await.map_err(|_| too_slow())?;
            let Some(piece) = piece else { break };
            let piece = piece.map_err(|_| Problem::new(Kind::InvalidRequest, "the body broke off"))?;
            let Ok(data) = piece.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            while bytes.len() + data.len() > paid {
                held.push(self.take(STEP)?);
                paid += STEP;
            }
            bytes.extend_from_slice(&data);
        }
        Ok(HeldBody { bytes: bytes.into(), _held: held })
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("the body may have at most {limit} octets"))
}

fn too_slow() -> Problem {
    Problem::new(Kind::InvalidRequest, "the body came too slowly")
}

/// The media type, without parameters, in lower case; `None`: none was given.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Reads JSON.
///
/// # Errors
/// It is called something else, or is no usable JSON.
pub fn json(headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    match media_type(headers).as_deref() {
        None | Some("application/json") => {}
        Some(other) if other.ends_with("+json") => {}
        Some(_) => {
            return Err(Problem::new(Kind::UnsupportedMediaType, "send application/json"));
        }
    }
    strict_json::parse(body).map_err(|error| Problem::new(Kind::InvalidJson, error.to_string()))
}

/// Octets in base 64, as RFC 4648 has it; line breaks, which MIME encoders add, are passed over.
pub fn base64(text: &str) -> Option<Bytes> {
    if text.bytes().any(|c| c.is_ascii_whitespace()) {
        let text: Vec<u8> = text.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
        return STANDARD.decode(text).ok().map(Bytes::from);
    }
    STANDARD.decode(text).ok().map(Bytes::from)
}

/// What stands in a path, as axum's own extractor reads it; but what cannot be read names nothing, in our words.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(Kind::NotFound, "the path is not in UTF-8: it names nothing"))?;
        Ok(Path(value))
    }
}

/// An id from a path. What is no id names nothing.
///
/// # Errors
/// 404.
pub fn id<K: IdKind>(text: &str, what: &str) -> Result<Id<K>, Problem> {
    text.parse().map_err(|_| Problem::not_found(what))
}

/// A query being read: what nobody reads, and what cannot be read, is named.
#[derive(Debug)]
pub struct Query {
    values: BTreeMap<String, Vec<String>>,
    errors: Vec<Violation>,
}

/// The most entries of a page.
const MAX_PAGE: usize = 100;
const DEFAULT_PAGE: usize = 25;

impl Query {
    /// Reads `a=1&b=2`; names may repeat.
    pub fn parse(text: Option<&str>) -> Query {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            values.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        Query { values, errors: Vec::new() }
    }

    /// The only value of a name; an empty one is as good as none.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let mut values = self.values.remove(name)?;
        if values.len() > 1 {
            self.wrong(name, "repeated", "it is given more than once");
        }
        if values.iter().any(|value| value.contains('\0')) {
            self.wrong(name, "invalid_character", "it contains the character U+0000");
            return None;
        }
        values.pop().filter(|value| !value.is_empty())
    }

    /// All values of a name.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        self.values.remove(name).unwrap_or_default()
    }

    /// A value that `parse` understands.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        code: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(name, code, error.to_string());
                None
            }
        }
    }

    /// A moment (RFC 3339).
    pub fn moment(&mut self, name: &str) -> Option<time::OffsetDateTime> {
        let wanted = "a time is written as 2026-11-24T10:00:00Z (RFC 3339)";
        self.parsed(name, "invalid_time", |text| super::fields::parse_moment(text).ok_or(wanted))
    }

    /// How many entries a page shall have.
    pub fn limit(&mut self) -> usize {
        let wanted = format!("a number from 1 to {MAX_PAGE} is needed");
        let parse = |text: &str| text.parse().ok().filter(|n| (1..=MAX_PAGE).contains(n)).ok_or(wanted);
        self.parsed("limit", "out_of_range", parse).unwrap_or(DEFAULT_PAGE)
    }

    /// Where a page begins: what the last page's `next_cursor` said.
    pub fn cursor<K: IdKind>(&mut self) -> Option<Id<K>> {
        self.parsed("cursor", "invalid_cursor", |text| {
            text.parse().map_err(|_| "this is no cursor of this list")
        })
    }

    /// Notes something wrong.
    pub fn wrong(&mut self, name: &str, code: &str, message: impl Into<String>) {
        self.errors.push(Violation::new(format!("?{name}"), code, message));
    }

    /// Done.
    ///
    /// # Errors
    /// 422 with everything that was wrong.
    pub fn finish(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.values).keys() {
            self.wrong(name, "unknown_parameter", "there is no parameter of this name");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }
}
