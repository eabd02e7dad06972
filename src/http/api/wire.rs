//! How the API writes times and pages.

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

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
