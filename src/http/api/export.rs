//! `GET /v1/events/export`: a tenant's events as one long file, page by page, so that neither memory nor a
//! transaction grows with its length.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};

use crate::domain::event::Event;
use crate::domain::id::{EventId, TenantId};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::cells;
use crate::http::error::Problem;
use crate::http::extract::Query;
use crate::store::StoreError;
use crate::store::events::{self as stored, EventFilter};

use super::events;
use super::wire::moment;

/// Events read at once.
const PAGE: i64 = 1000;

/// The columns of CSV; what is structured is JSON in its field.
const COLUMNS: [&str; 10] = [
    "id",
    "type",
    "created_at",
    "message_id",
    "delivery_id",
    "recipient",
    "stream",
    "tags",
    "metadata",
    "data",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Ndjson,
}

impl Format {
    fn parse(text: &str) -> Result<Format, &'static str> {
        match text {
            "csv" => Ok(Format::Csv),
            "ndjson" => Ok(Format::Ndjson),
            _ => Err("csv or ndjson is needed"),
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            Format::Ndjson => "application/x-ndjson",
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Format::Csv => "attachment; filename=\"events.csv\"",
            Format::Ndjson => "attachment; filename=\"events.ndjson\"",
        }
    }

    fn head(self) -> Bytes {
        match self {
            Format::Csv => written(std::iter::once(COLUMNS.map(str::to_owned))),
            Format::Ndjson => Bytes::new(),
        }
    }

    fn page(self, events: &[Event]) -> Bytes {
        match self {
            Format::Csv => written(events.iter().map(record)),
            Format::Ndjson => {
                events.iter().map(|event| format!("{}\n", events::show(event))).collect::<String>().into()
            }
        }
    }
}

fn written(records: impl Iterator<Item = [String; COLUMNS.len()]>) -> Bytes {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        // Writing to memory does not fail, and every record has as many fields as the first.
        let _ = writer.write_record(record);
    }
    writer.into_inner().unwrap_or_default().into()
}

fn record(event: &Event) -> [String; COLUMNS.len()] {
    [
        event.id.to_string(),
        event.kind.as_str().to_owned(),
        moment(event.at()),
        event.message().to_string(),
        event.delivery.to_string(),
        cells::write(&event.recipient).into_owned(),
        cells::write(&event.stream).into_owned(),
        serde_json::Value::from(event.tags.clone()).to_string(),
        event.metadata.to_string(),
        event.data.to_string(),
    ]
}

/// Where an export stands.
struct Export {
    app: App,
    tenant: TenantId,
    filter: EventFilter,
    format: Format,
    /// Events before this one are still to come; `None`: all that there are.
    before: Option<EventId>,
    ended: bool,
}

/// Why an export breaks off: the client sees that the file is not whole.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the process drains")]
    Drains,
}

/// `GET /v1/events/export`: newest first, with the filters of the list.
pub async fn export(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query.as_deref());
    let format = query.parsed("format", "invalid_format", Format::parse).unwrap_or(Format::Ndjson);
    let filter = events::filter(&mut query);
    query.finish()?;
    let mut export = Export { app, tenant: principal.tenant(), filter, format, before: None, ended: false };
    // The first page is read before anything is answered, so that trouble is told as a problem.
    let first = export.page().await?;
    let head = stream::iter([Ok::<_, Infallible>(format.head()), Ok(first)]);
    let body = head.map(|part| Ok(part.unwrap_or_else(|never| match never {}))).chain(rest(export));
    let headers = [(header::CONTENT_TYPE, format.media_type()), (header::CONTENT_DISPOSITION, format.file())];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The pages that follow the first, as the client takes them.
fn rest(export: Export) -> impl Stream<Item = Result<Bytes, BrokenOff>> {
    stream::try_unfold(export, |mut export| async move {
        if export.ended {
            return Ok(None);
        }
        if export.app.stopping.is_cancelled() {
            return Err(BrokenOff::Drains);
        }
        let page = export.page().await.inspect_err(|error| {
            tracing::warn!(error = %error, "an export breaks off");
        })?;
        Ok(Some((page, export)))
    })
}

impl Export {
    async fn page(&mut self) -> Result<Bytes, StoreError> {
        let mut connection = self.app.database.serve().acquire().await?;
        let rows = stored::list(&mut connection, self.tenant, &self.filter, self.before, PAGE).await?;
        drop(connection);
        self.ended = rows.len() < PAGE as usize;
        self.before = rows.last().map(|event| event.id).or(self.before);
        Ok(self.format.page(&rows))
    }
}
