//! How the API writes times and pages, and how it is asked for pages.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::domain::id::{Id, Kind};
use crate::http::error::Problem;
use crate::http::extract::Query;

/// A moment as the API writes it: RFC 3339, UTC, milliseconds.
pub fn moment(moment: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // Fails only for years that no clock here reaches.
    moment.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// Its entries.
    pub data: Vec<T>,
    /// Where the next one begins; null: this is the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// From one more entry than was asked for, if there were so many.
    pub fn of<R>(
        mut rows: Vec<R>,
        limit: usize,
        cursor: impl Fn(&R) -> String,
        show: impl Fn(R) -> T,
    ) -> Page<T> {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(cursor);
        Page { data: rows.into_iter().map(show).collect(), next_cursor }
    }
}

/// Which page is asked for of a list that is asked nothing else: `?limit=` and `?cursor=`.
#[derive(Debug)]
pub struct Paging<I> {
    /// The last page ended here; `None`: it begins with the first entry.
    pub from: Option<I>,
    limit: usize,
}

impl<S: Send + Sync, K: Kind> FromRequestParts<S> for Paging<Id<K>> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Paging<Id<K>>, Problem> {
        let mut query = Query::parse(parts.uri.query());
        let paging = Paging { from: query.cursor(), limit: query.limit() };
        query.finish()?;
        Ok(paging)
    }
}

impl<I: ToString> Paging<I> {
    /// How many entries to read: one more than a page has, which tells whether there is another page.
    pub fn wanted(&self) -> i64 {
        self.limit as i64 + 1
    }

    /// The page, from as many entries as there were.
    pub fn page<R, T>(&self, rows: Vec<R>, id: impl Fn(&R) -> I, show: impl Fn(R) -> T) -> Page<T> {
        Page::of(rows, self.limit, |row| id(row).to_string(), show)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn moments_are_utc_with_milliseconds() {
        assert_eq!(moment(datetime!(2026-11-24 12:00:00.5 +02:00)), "2026-11-24T10:00:00.500Z");
    }

    #[test]
    fn a_page_has_a_next_one_only_if_there_is_more() {
        let page = |rows: Vec<u32>| Page::of(rows, 2, ToString::to_string, |row| row);
        assert_eq!(page(vec![1, 2]).next_cursor, None);
        let more = page(vec![1, 2, 3]);
        assert_eq!((more.data, more.next_cursor.as_deref()), (vec![1, 2], Some("2")));
    }
}
