//! Queries as providers' clients send them: what nobody reads is passed over, and what cannot be read counts as not
//! given, since that is how they are answered there.

use std::collections::BTreeMap;

use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::http::fields::parse_moment;

/// The values of a query by their names.
#[derive(Debug, Default)]
pub struct Asked(BTreeMap<String, Vec<String>>);

impl Asked {
    /// Reads `a=1&b=2`.
    pub fn parse(query: Option<&str>) -> Asked {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !value.is_empty() && !value.contains('\0') {
                values.entry(name.into_owned()).or_default().push(value.into_owned());
            }
        }
        Asked(values)
    }

    /// The last value of a name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.last().map(String::as_str)
    }

    /// All values of a name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.get(name).into_iter().flatten().map(String::as_str).collect()
    }

    /// A number within bounds; `usual` if none was given.
    pub fn number(&self, name: &str, usual: usize, most: usize) -> usize {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(usual).min(most)
    }

    /// A moment: seconds since 1970, RFC 3339, or a day.
    pub fn moment(&self, name: &str) -> Option<OffsetDateTime> {
        let text = self.text(name)?;
        let seconds = text.parse::<i64>().ok();
        let seconds = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        seconds.or_else(|| parse_moment(text)).or_else(|| day(text))
    }
}

/// `2026-11-24`.
pub fn day(text: &str) -> Option<OffsetDateTime> {
    let format = format_description!("[year]-[month]-[day]");
    Date::parse(text.get(..10)?, format).ok().map(|date| date.midnight().assume_utc())
}

/// As `2026-11-24`.
pub fn date(moment: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]");
    // Fails only for years that no clock here reaches.
    moment.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_their_clients_send_them() {
        let asked =
            Asked::parse(Some("limit=700&offset=x&start_time=1795514400&to=2026-11-24&event=a&event=b&e="));
        assert_eq!((asked.number("limit", 25, 500), asked.number("offset", 0, 500)), (500, 0));
        assert_eq!(asked.moment("start_time").map(OffsetDateTime::unix_timestamp), Some(1_795_514_400));
        assert_eq!(asked.moment("to").map(date).as_deref(), Some("2026-11-24"));
        assert_eq!(asked.all("event"), ["a", "b"]);
        assert_eq!((asked.text("e"), asked.moment("event")), (None, None));
    }
}
