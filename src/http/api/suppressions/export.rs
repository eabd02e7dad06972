//! `GET /v1/suppressions/export`: the whole list as CSV (RFC 4180), page by page, never in memory at once. The
//! form is the one that import reads.

use axum::body::{Body, Bytes};
use axum::extract::{Extension, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::domain::id::{SuppressionId, TenantId};
use crate::domain::suppression::Suppression;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::cells;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Query;
use crate::store::suppressions;

/// Entries read at once.
const PAGE: i64 = 2000;
const HEADER: [&str; 5] = ["email", "stream", "reason", "created_at", "delivery_id"];

/// Streams the tenant's list.
pub async fn export(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref()).finish()?;
    of_tenant(app, principal.tenant()).await
}

/// The list of a tenant as a file.
///
/// # Errors
/// The database does not answer.
pub async fn of_tenant(app: App, tenant: TenantId) -> Result<Response, Problem> {
    // The first page before the answer begins: what is wrong with the database is then told as a problem.
    let first = page(&app, tenant, None).await?;
    let pages = futures_util::stream::unfold(Some((first, app, tenant)), |state| async {
        let (current, app, tenant) = state?;
        let next = match current.after {
            None => None,
            Some(after) => match page(&app, tenant, Some(after)).await {
                Ok(next) => Some((next, app, tenant)),
                Err(_) => {
                    // The answer breaks off, so that nobody takes a part for the whole.
                    let broken = std::io::Error::other("the list could not be read on");
                    return Some((Err(broken), None));
                }
            },
        };
        Some((Ok(current.text), next))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"suppressions.csv\""),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

struct CsvPage {
    text: Bytes,
    /// Where the next one begins; `None`: this is the last.
    after: Option<SuppressionId>,
}

async fn page(app: &App, tenant: TenantId, after: Option<SuppressionId>) -> Result<CsvPage, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = suppressions::walk(&mut connection, tenant, after, PAGE).await?;
    drop(connection);
    let next = rows.last().filter(|_| rows.len() as i64 == PAGE).map(|row| row.id);
    let text = write(&rows, after.is_none())
        .map_err(|_| Problem::new(Kind::Internal, "the list could not be written"))?;
    Ok(CsvPage { text, after: next })
}

fn write(rows: &[Suppression], first: bool) -> csv::Result<Bytes> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if first {
        writer.write_record(HEADER)?;
    }
    for row in rows {
        let delivery = row.delivery.map(|delivery| delivery.to_string()).unwrap_or_default();
        let since = moment(row.created_at());
        let (address, stream) = (cells::write(&row.address), cells::write(&row.stream));
        writer.write_record([&*address, &*stream, row.reason.as_str(), &since, &delivery])?;
    }
    let text = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(text.into())
}
