//! What adapters share in making a mail of a provider's request, and in handing it on.

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::id::MessageId;
use crate::domain::submission::Submission;
use crate::domain::template::{Alias, MAX_TEMPLATE, TemplateName};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, HeldBody};
use crate::http::strict_json;
use crate::mail::Attachment;
use crate::mail::attachment::AttachmentError;
use crate::render::{self, Bodies};
use crate::submission::{AcceptError, Accepted, IdempotencyKey, Request, Unit, Violation};

/// Reads a body that must be JSON, whatever it is called: not all clients say.
///
/// # Errors
/// It is none, or too large.
pub async fn json(app: &App, headers: &HeaderMap, body: Body) -> Result<(Value, HeldBody), Problem> {
    let held = app.budget.read(headers, body, app.max_batch_bytes()).await?;
    let value = strict_json::parse(&held.bytes)
        .map_err(|error| Problem::new(Kind::InvalidJson, error.to_string()))?;
    Ok((value, held))
}

/// Accepts mails all together or not at all.
///
/// # Errors
/// Why not.
pub async fn accept(
    app: &App,
    principal: &Principal,
    mails: Vec<Submission>,
    key: Option<IdempotencyKey>,
) -> Result<Vec<Accepted>, Problem> {
    let alone = mails.len() == 1;
    let request = Request { items: mails.into_iter().map(Ok).collect(), key, unit: Unit::All };
    let answer = match app.accept.accept(&principal.caller(), request).await {
        Err(AcceptError::Refused(mut refused)) if alone && refused.len() == 1 => {
            return Err(refused.remove(0).1.into());
        }
        answer => answer?,
    };
    Ok(answer.items.into_iter().collect::<Result<Vec<Accepted>, _>>()?)
}

/// A message by its id here, or by the UUID that providers' ids have the form of.
pub fn message_id(text: &str) -> Option<MessageId> {
    text.parse().ok().or_else(|| Uuid::parse_str(text).ok().map(MessageId::from_uuid))
}

/// A template by its id here, or by an id or alias it had elsewhere: an imported template keeps that as its alias, in
/// the letters that aliases have here.
pub fn template_name(text: &str) -> Option<TemplateName> {
    TemplateName::parse(text).or_else(|| Alias::like(text).map(TemplateName::Alias))
}

/// Whether the sources of a template can be understood.
///
/// # Errors
/// What is wrong with them, told of `field`.
pub fn check_bodies(bodies: &Bodies, field: &str) -> Result<(), Problem> {
    if bodies.len() > MAX_TEMPLATE {
        let message = format!("a template has at most {MAX_TEMPLATE} octets");
        return Err(Problem::field(field, "too_large", message));
    }
    render::check(bodies).map_err(|faults| {
        let told = faults.iter().map(|fault| Violation::new(field, "invalid_template", fault.sentence()));
        Problem::invalid(told.collect())
    })
}

/// A file as clients describe it.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type; `None`: what its name says.
    pub kind: Option<&'a str>,
    /// By which the HTML shows it, with or without `cid:` and angle brackets; `None`: it is not shown there.
    pub content_id: Option<&'a str>,
    /// In base 64.
    pub content: &'a str,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Its content is no base 64.
    #[error("the content is not in base 64")]
    Base64,
    /// Anything else.
    #[error(transparent)]
    Other(#[from] AttachmentError),
}

/// Reads a file.
///
/// # Errors
/// See [`FileError`].
pub fn file(file: File<'_>) -> Result<Attachment, FileError> {
    let content = extract::base64(file.content).ok_or(FileError::Base64)?;
    Ok(attach(file.name, file.kind, file.content_id, content)?)
}

/// A file whose octets are there.
///
/// # Errors
/// See [`AttachmentError`].
pub fn attach(
    name: &str,
    kind: Option<&str>,
    content_id: Option<&str>,
    content: Bytes,
) -> Result<Attachment, AttachmentError> {
    let kind = kind.filter(|kind| !kind.trim().is_empty()).unwrap_or_else(|| type_of(name));
    let content_id = content_id.map(bare_id).filter(|id| !id.is_empty());
    Attachment::new(name, kind, content_id, content)
}

fn bare_id(id: &str) -> &str {
    let id = id.trim();
    let id = id.strip_prefix("cid:").unwrap_or(id);
    id.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(id)
}

/// The media type that the end of a file's name says.
pub fn type_of(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    match end.as_str() {
        "txt" | "log" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "ics" => "text/calendar",
        "vcf" => "text/vcard",
        "md" => "text/markdown",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "rtf" => "application/rtf",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls" => "application/vnd.ms-excel",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "ppt" => "application/vnd.ms-powerpoint",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "bmp" => "image/bmp",
        "ico" => "image/x-icon",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_clients_describe_it() {
        let logo =
            File { name: "logo.PNG", kind: None, content_id: Some("cid:<logo>"), content: "iVBO\nRw==" };
        let read = file(logo).expect("a file");
        assert_eq!((read.media_type(), read.content_id()), ("image/png", Some("logo")));
        let plain = File { content_id: Some(""), kind: Some(" "), ..logo };
        assert_eq!(file(plain).expect("a file").content_id(), None);
        assert!(matches!(file(File { content: "?", ..logo }), Err(FileError::Base64)));
        assert!(matches!(file(File { name: " ", ..logo }), Err(FileError::Other(_))));
    }
}
