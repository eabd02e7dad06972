//! What a mail says, be it sent or received: its HTML in a sandbox, its text, its header, its source and its files.

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::domain::id::{DeliveryId, MessageId};
use crate::http::App;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::mail::preview;
use crate::mail::reading::{self, Reading};
use crate::submission::own;

use super::form::Form;
use super::frame::{Failed, Page};
use super::show;

/// Octets of a source that a page shows; all of it can be downloaded.
const MAX_SOURCE: usize = 60_000;

/// What a page shows of a mail's content.
pub struct Content {
    /// The page of the mail, below which its parts are.
    pub base: String,
    /// Which part: `html`, `text`, `headers`, `source` or `files`.
    pub view: &'static str,
    /// The parts there are, each with its label.
    pub views: Vec<(&'static str, String)>,
    /// The text, the source, or nothing.
    pub text: String,
    /// The source is longer.
    pub is_cut: bool,
    /// The fields of the header.
    pub headers: Vec<(String, String)>,
    /// The files: number, name, type and size.
    pub files: Vec<(usize, String, String, String)>,
    /// It has left by retention.
    pub is_gone: bool,
    /// `?delivery=…`, where each recipient has a mail of his own.
    pub of: String,
}

const LABELS: [(&str, &str); 5] =
    [("html", "HTML"), ("text", "Text"), ("headers", "Headers"), ("source", "Source"), ("files", "Files")];

/// The part of a sent message that is asked for.
pub async fn read(app: &App, page: &Page, id: MessageId, form: &Form) -> Result<Content, Failed> {
    let delivery = form.given("delivery").and_then(|text| text.parse().ok());
    let of = delivery.map_or_else(String::new, |delivery: DeliveryId| format!("delivery={delivery}"));
    let raw = raw(app, page, id, delivery).await?;
    Ok(content(raw, format!("/ui/messages/{id}"), of, form).await)
}

/// The part of a mail that is asked for; `None`: it has left by retention.
pub async fn content(raw: Option<Vec<u8>>, base: String, of: String, form: &Form) -> Content {
    let Some(raw) = raw else { return Content { is_gone: true, ..nothing(base, of) } };
    let (reading, raw) = off_runtime(move || (reading::read(&raw), raw)).await;
    let views: Vec<(&'static str, String)> = LABELS
        .into_iter()
        .filter(|(view, _)| match *view {
            "html" => reading.html.is_some(),
            "text" => reading.text.is_some(),
            "files" => !reading.attachments.is_empty(),
            _ => true,
        })
        .map(|(view, label)| match view {
            "files" => (view, format!("{label} ({})", reading.attachments.len())),
            _ => (view, label.to_owned()),
        })
        .collect();
    let wanted = views.iter().map(|(view, _)| *view).find(|view| *view == form.text("view"));
    let view = wanted.or_else(|| views.first().map(|(view, _)| *view)).unwrap_or("source");
    part(Content { view, views, ..nothing(base, of) }, &raw, reading)
}

fn part(mut content: Content, raw: &[u8], reading: Reading) -> Content {
    match content.view {
        "text" => content.text = reading.text.unwrap_or_default(),
        "headers" => content.headers = reading.headers,
        "source" => {
            content.is_cut = raw.len() > MAX_SOURCE;
            content.text = String::from_utf8_lossy(&raw[..raw.len().min(MAX_SOURCE)]).into_owned();
        }
        "files" => {
            let file = |(number, file): (usize, &reading::File)| {
                let name = file.filename.clone().unwrap_or_else(|| "(no name)".to_owned());
                (number, name, file.content_type.clone(), show::octets(file.content.len() as u64))
            };
            content.files = reading.attachments.iter().enumerate().map(file).collect();
        }
        _ => {}
    }
    content
}

fn nothing(base: String, of: String) -> Content {
    Content {
        base,
        view: "",
        views: Vec::new(),
        text: String::new(),
        is_cut: false,
        headers: Vec::new(),
        files: Vec::new(),
        is_gone: false,
        of,
    }
}

async fn raw(
    app: &App,
    page: &Page,
    id: MessageId,
    delivery: Option<DeliveryId>,
) -> Result<Option<Vec<u8>>, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    Ok(own::raw(&mut connection, page.tenant(), id, delivery).await?)
}

async fn stored(app: &App, page: &Page, id: &str, query: Option<String>) -> Result<Vec<u8>, Failed> {
    let id: MessageId = extract::id(id, "message")?;
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let delivery = form.given("delivery").and_then(|text| text.parse().ok());
    let found = raw(app, page, id, delivery).await?;
    Ok(found.ok_or_else(|| Problem::not_found("message, or its content is no longer stored"))?)
}

/// The HTML of a message, made harmless, for a sandboxed frame.
pub async fn html(
    State(app): State<App>,
    page: Page,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    harmless(stored(&app, &page, &id, query).await?).await
}

/// The HTML of a mail, made harmless.
pub async fn harmless(raw: Vec<u8>) -> Result<Response, Failed> {
    let reading = off_runtime(move || reading::read(&raw)).await;
    let html = reading.html.ok_or_else(|| Problem::not_found("HTML in this mail"))?;
    let shown = off_runtime(move || preview::page(&html, &reading.attachments)).await;
    Ok(in_sandbox(shown))
}

/// A page that a sandboxed frame of ours shows, and that can do nothing.
pub fn in_sandbox(html: String) -> Response {
    let policy = "default-src 'none'; img-src data: cid:; style-src 'unsafe-inline'; frame-ancestors 'self'; \
                  base-uri 'none'; form-action 'none'; sandbox";
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)];
    (headers, html).into_response()
}

/// Reading somebody's mail may take some milliseconds: not on the threads that serve everybody.
pub async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The source, as a file.
pub async fn source(
    State(app): State<App>,
    page: Page,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let raw = stored(&app, &page, &id, query).await?;
    Ok(download("message.eml", raw))
}

/// One file of a message.
pub async fn file(
    State(app): State<App>,
    page: Page,
    Path((id, number)): Path<(String, usize)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    one_file(stored(&app, &page, &id, query).await?, number).await
}

/// One file of a mail.
pub async fn one_file(raw: Vec<u8>, number: usize) -> Result<Response, Failed> {
    let reading = off_runtime(move || reading::read(&raw)).await;
    let file = reading.attachments.into_iter().nth(number).ok_or_else(|| Problem::not_found("file"))?;
    Ok(download(file.filename.as_deref().unwrap_or("file"), file.content))
}

/// Octets to save, never to show: a browser does not look at what they are.
pub fn download(name: &str, octets: Vec<u8>) -> Response {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' }).collect();
    // RFC 6266 §4.1, with the name in UTF-8 beside its plain form (RFC 8187).
    let exact = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    let disposition = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}");
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
    ];
    (headers, octets).into_response()
}
