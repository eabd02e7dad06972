//! What adapters share around the send: suppressions by reason, figures by day, things by a number.

use time::{Duration, OffsetDateTime};

use crate::account::suppressions::{self as operation, NewSuppression};
use crate::domain::id::{SuppressionId, TenantId};
use crate::domain::stats::{Cell, Dimension, Grain};
use crate::domain::suppression::{Reason, Suppression};
use crate::domain::template::TemplateName;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::mail::EmailAddress;
use crate::reporting::figures::{self, Question};
use crate::store::suppressions::{self, SuppressionFilter};
use crate::store::templates::{self, StoredTemplate, StoredVersion};
use crate::webhooks::number;

/// How far into a list a caller may page by counting.
const MOST_OFFSET: usize = 10_000;
/// Versions of a template that are shown.
const MOST_VERSIONS: usize = 20;

/// Which entries of the list are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// For these reasons.
    pub reasons: &'a [Reason],
    /// For this stream alone; empty: for all streams; `None`: either.
    pub stream: Option<String>,
    /// Only this address.
    pub address: Option<&'a EmailAddress>,
    /// Since this moment or later, and before that one.
    pub time: (Option<OffsetDateTime>, Option<OffsetDateTime>),
    /// Older than this one.
    pub before: Option<SuppressionId>,
}

/// Entries of a tenant's list, newest first.
///
/// # Errors
/// The offset is too far.
pub async fn suppressed(
    app: &App,
    tenant: TenantId,
    wanted: &Wanted<'_>,
    (offset, limit): (usize, usize),
) -> Result<Vec<Suppression>, Problem> {
    if offset > MOST_OFFSET {
        return Err(Problem::new(Kind::InvalidRequest, "the offset is too large"));
    }
    let mut connection = app.database.serve().acquire().await?;
    let mut found = Vec::new();
    for reason in wanted.reasons {
        let filter = SuppressionFilter {
            address: wanted.address.map(EmailAddress::key),
            reason: Some(*reason),
            stream: wanted.stream.clone(),
            since: wanted.time.0,
            until: wanted.time.1,
        };
        let most = (offset + limit) as i64;
        found.extend(suppressions::list(&mut connection, tenant, &filter, wanted.before, most).await?);
    }
    found.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    Ok(found.into_iter().skip(offset).take(limit).collect())
}

/// One entry of a tenant's list.
///
/// # Errors
/// See [`Problem`].
pub async fn entry(app: &App, tenant: TenantId, id: SuppressionId) -> Result<Option<Suppression>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    Ok(suppressions::find(&mut connection, tenant, id).await?)
}

/// Suppresses addresses for a reason; those on the list already stay as they are.
///
/// # Errors
/// See [`Problem`].
pub async fn suppress(
    app: &App,
    principal: &Principal,
    addresses: Vec<(EmailAddress, Option<OffsetDateTime>)>,
    (reason, stream): (Reason, &str),
) -> Result<(), Problem> {
    let new: Vec<NewSuppression> = addresses
        .into_iter()
        .map(|(address, since)| NewSuppression { address, stream: stream.to_owned(), reason, since })
        .collect();
    let (actor, tenant) = (principal.actor(), principal.tenant());
    operation::create_many(&app.database, &actor, tenant, &new, app.clock.now()).await?;
    Ok(())
}

/// Takes entries off the list; gives how many there were.
///
/// # Errors
/// See [`Problem`].
pub async fn unsuppress(app: &App, principal: &Principal, wanted: &Wanted<'_>) -> Result<usize, Problem> {
    let found = suppressed(app, principal.tenant(), wanted, (0, MOST_OFFSET)).await?;
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    for entry in &found {
        operation::delete(&app.database, &actor, tenant, entry.id, now).await?;
    }
    Ok(found.len())
}

/// Takes one entry off the list, if it is there for one of these reasons.
///
/// # Errors
/// See [`Problem`].
pub async fn unsuppress_one(
    app: &App,
    principal: &Principal,
    id: SuppressionId,
    reasons: &[Reason],
) -> Result<Option<Suppression>, Problem> {
    let found = entry(app, principal.tenant(), id).await?;
    let Some(entry) = found.filter(|entry| reasons.contains(&entry.reason)) else { return Ok(None) };
    let (actor, tenant) = (principal.actor(), principal.tenant());
    operation::delete(&app.database, &actor, tenant, id, app.clock.now()).await?;
    Ok(Some(entry))
}

/// The counters of each day from `from` to `to`, of days on which something happened.
///
/// # Errors
/// It is too long a time.
pub async fn by_day(
    app: &App,
    tenant: TenantId,
    (from, to): (OffsetDateTime, OffsetDateTime),
    tag: Option<String>,
) -> Result<Vec<(OffsetDateTime, Cell)>, Problem> {
    if to <= from || to - from > Duration::days(400) {
        return Err(Problem::new(Kind::InvalidRequest, "at most 400 days may be asked for"));
    }
    let question = Question {
        from,
        to,
        grain: Grain::Day,
        dimension: if tag.is_some() { Dimension::Tag } else { Dimension::All },
        values: tag.into_iter().collect(),
        limit: 1,
    };
    let figures = figures::answer(&app.database, tenant, &question, app.clock.now()).await?;
    Ok(figures.rows.into_iter().map(|(time, _, cell)| (time, cell)).collect())
}

/// A template by its id, its alias, or the number that providers' ids are.
///
/// # Errors
/// See [`Problem`].
pub async fn template(app: &App, tenant: TenantId, text: &str) -> Result<Option<StoredTemplate>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    if let Some(name) = super::parts::template_name(text)
        && let Some(found) = templates::find(&mut connection, tenant, &name).await?
    {
        return Ok(Some(found));
    }
    let Ok(wanted) = text.parse::<i64>() else { return Ok(None) };
    let all = templates::list(&mut connection, tenant, None, MOST_OFFSET as i64).await?;
    Ok(all.into_iter().find(|template| number(template.id.uuid()) == wanted))
}

/// The newest versions of a template that say anything: the first one may have been made empty.
///
/// # Errors
/// See [`Problem`].
pub async fn versions(
    app: &App,
    tenant: TenantId,
    template: &StoredTemplate,
) -> Result<Vec<StoredVersion>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let numbers = templates::versions(&mut connection, tenant, template.id).await?;
    let mut versions = Vec::new();
    for (number, _) in numbers.into_iter().take(MOST_VERSIONS) {
        let version = templates::version(&mut connection, tenant, template.id, number).await?;
        versions.extend(version.filter(|version| !version.contents.common.is_empty()));
    }
    Ok(versions)
}

/// The same, by the name that operations take.
///
/// # Errors
/// There is none.
pub async fn template_named(app: &App, tenant: TenantId, text: &str) -> Result<TemplateName, Problem> {
    let found = template(app, tenant, text).await?;
    found.map(|found| TemplateName::Id(found.id)).ok_or_else(|| Problem::not_found("template"))
}
