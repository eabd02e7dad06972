//! `POST /v1/suppressions/import`: a list as CSV, of any length. The body is read, parsed and stored in step:
//! what is in memory is a few pieces of the body and two batches of rows, whatever comes.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::account::Actor;
use crate::account::suppressions::create_many;
use crate::domain::id::TenantId;
use crate::domain::submission::StreamName;
use crate::domain::suppression::Reason;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Query};

use super::columns::Defaults;
use super::parse::{self, Batch, Chunks, LineError, Unreadable};

/// The most octets of one file: tens of millions of addresses.
const MAX_BYTES: u64 = 4 << 30;
/// Between two pieces of the body.
const PIECE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// Pieces of the body that wait to be parsed.
const PIECES: usize = 8;
/// What is still read of a file that is not stored any more.
const DRAINED: usize = 64 << 20;
/// Lines that are told of; the rest is counted.
const TOLD: usize = 100;

/// What became of the lines.
#[derive(Debug, Default)]
pub struct Tally {
    /// Lines that were read.
    pub read: u64,
    /// Addresses that are on the list now.
    pub added: u64,
    /// Addresses that were.
    pub already: u64,
    /// Lines that could not be used.
    pub invalid: u64,
    /// The first of them.
    pub errors: Vec<LineError>,
    /// Whose form the file has.
    pub format: &'static str,
}

/// Imports a list.
pub async fn import(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let who = (principal.actor(), principal.tenant());
    let tally = of_tenant(&app, who, query.as_deref(), &headers, body).await?;
    let error =
        |error: &LineError| json!({ "line": error.line, "code": error.code, "message": error.message });
    Ok(Json(json!({
        "format": tally.format,
        "read": tally.read,
        "added": tally.added,
        "already": tally.already,
        "invalid": tally.invalid,
        "errors": tally.errors.iter().map(error).collect::<Vec<_>>(),
    })))
}

/// Imports a list for a tenant.
///
/// # Errors
/// It cannot be read to its end, or not be stored; what was stored before stays so, and importing again is safe.
pub async fn of_tenant(
    app: &App,
    (actor, tenant): (Actor, TenantId),
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Tally, Problem> {
    match extract::media_type(headers).as_deref() {
        None | Some("text/csv" | "application/csv" | "text/plain") => {}
        Some(_) => return Err(Problem::new(Kind::UnsupportedMediaType, "send text/csv")),
    }
    let mut query = Query::parse(query);
    let defaults = Defaults {
        stream: query
            .parsed("stream", "invalid_stream", StreamName::parse)
            .map_or_else(String::new, |stream| stream.as_str().to_owned()),
        reason: query.parsed("reason", "invalid_reason", str::parse::<Reason>),
    };
    query.finish()?;
    let (pieces, chunks) = mpsc::channel(PIECES);
    let (batches, mut parsed) = mpsc::channel(1);
    let parser = tokio::task::spawn_blocking(move || {
        parse::parse(Chunks::new(chunks), &defaults, |batch| batches.blocking_send(batch).is_ok())
    });
    let (fed, stored) = tokio::join!(feed(body, pieces), store(app, &actor, tenant, &mut parsed));
    // The store's own trouble comes first: it is what stopped the others. Then the parser's.
    let tally = stored?;
    let read = parser.await.map_err(|_| Problem::new(Kind::Internal, "the file could not be read"))?;
    fed?;
    read.map_err(|unreadable| refusal(&unreadable, &tally))?;
    Ok(tally)
}

fn refusal(unreadable: &Unreadable, tally: &Tally) -> Problem {
    let stored = if tally.read == 0 {
        "nothing was stored".to_owned()
    } else {
        format!("the {} lines before it were stored; importing again is safe", tally.read)
    };
    Problem::field("", unreadable.code(), format!("{unreadable}; {stored}"))
}

/// Hands the body on, piece by piece, as fast as it is parsed. Ends early when the parser has.
async fn feed(mut body: Body, pieces: mpsc::Sender<Bytes>) -> Result<(), Problem> {
    let mut came = 0;
    loop {
        let frame = tokio::time::timeout(PIECE_TIMEOUT, body.frame())
            .await
            .map_err(|_| Problem::new(Kind::InvalidRequest, "the body came too slowly"))?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|_| {
            Problem::new(Kind::InvalidRequest, "the body broke off; what came before was stored")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        came += data.len() as u64;
        if came > MAX_BYTES {
            return Err(Problem::new(Kind::TooLarge, format!("a file has at most {MAX_BYTES} octets")));
        }
        if pieces.send(data).await.is_err() {
            drain(body).await;
            return Ok(());
        }
    }
}

/// Reads on for nothing, within bounds: a client that is still writing when the connection is closed would not see
/// the answer that says why (RFC 9112 §9.6).
async fn drain(mut body: Body) {
    let mut left = DRAINED;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            left -= frame.data_ref().map_or(0, Bytes::len).min(left);
            if left == 0 {
                break;
            }
        }
    };
    // Whatever comes of it, the answer is the same.
    let _ = tokio::time::timeout(PIECE_TIMEOUT, read).await;
}

async fn store(
    app: &App,
    actor: &Actor,
    tenant: TenantId,
    parsed: &mut mpsc::Receiver<Batch>,
) -> Result<Tally, Problem> {
    let mut tally = Tally { format: "empty", ..Tally::default() };
    while let Some(batch) = parsed.recv().await {
        let now = app.clock.now();
        let stored = create_many(&app.database, actor, tenant, &batch.rows, now).await;
        let added = match stored {
            Ok(added) => added,
            Err(error) => {
                // So that the parser, and with it the feeder, stop.
                parsed.close();
                return Err(error.into());
            }
        };
        tally.format = batch.format;
        tally.read += (batch.rows.len() + batch.errors.len()) as u64;
        tally.added += added;
        tally.already += batch.rows.len() as u64 - added;
        tally.invalid += batch.errors.len() as u64;
        let room = TOLD - tally.errors.len();
        tally.errors.extend(batch.errors.into_iter().take(room));
    }
    Ok(tally)
}
