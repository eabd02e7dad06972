//! How pages write what they show: moments, states, numbers, pictures. Pure; each writes HTML that is safe as it is.

use std::fmt::{Display, Formatter, Result};

use askama::filters::HtmlSafe;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::domain::delivery::{DeliveryStatus, Ending};
use crate::http::api::moment;

/// A moment. The browser tells it in its own time zone, and the exact instant on hover; without scripts it is in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At(pub OffsetDateTime, pub Style);

/// How a moment is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// How long it is ago.
    Ago,
    /// By the clock.
    Clock,
}

/// How long a moment is ago.
pub fn ago(at: OffsetDateTime) -> At {
    At(at, Style::Ago)
}

/// A moment by the clock.
pub fn clock(at: OffsetDateTime) -> At {
    At(at, Style::Clock)
}

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let exact = moment(self.0);
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        // Fails only for years that no clock here reaches.
        let plain = self.0.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default();
        let style = match self.1 {
            Style::Ago => "",
            Style::Clock => r#" data-style="clock""#,
        };
        write!(f, r#"<time datetime="{exact}" title="{exact}"{style}>{plain}</time>"#)
    }
}

impl HtmlSafe for At {}

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Needs a look.
    Warn,
    /// Wrong.
    Bad,
    /// Under way.
    Info,
    /// Neither.
    Plain,
}

impl Tone {
    /// The class that colours it.
    pub const fn class(self) -> &'static str {
        match self {
            Tone::Good => "ok",
            Tone::Warn => "warn",
            Tone::Bad => "bad",
            Tone::Info => "info",
            Tone::Plain => "",
        }
    }
}

impl Display for Tone {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.class())
    }
}

impl HtmlSafe for Tone {}

/// A state in a word, coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge(pub &'static str, pub Tone);

impl Display for Badge {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, r#"<span class="badge {}">{}</span>"#, self.1, self.0)
    }
}

impl HtmlSafe for Badge {}

/// Where a delivery stands.
pub fn status(status: DeliveryStatus) -> Badge {
    let tone = match status {
        DeliveryStatus::Queued | DeliveryStatus::Sending => Tone::Info,
        DeliveryStatus::Ended(Ending::Delivered) => Tone::Good,
        DeliveryStatus::Ended(Ending::Bounced | Ending::Expired) => Tone::Bad,
        DeliveryStatus::Ended(Ending::Suppressed) => Tone::Warn,
        DeliveryStatus::Ended(Ending::Canceled) => Tone::Plain,
    };
    Badge(status.as_str(), tone)
}

/// A whole number in groups of three digits.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        grouped.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share as a percentage; `–` where there is no whole.
pub fn share(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "–".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    if part > 0 && percent < 0.1 { "< 0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

/// A size in octets, as people say it.
pub fn octets(size: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "kB", "MB", "GB"];
    let mut value = size as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{size} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A length of time, as people say it.
pub fn lasting(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// `1 message`, `2 messages`.
pub fn many(number: i64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// A picture beside a word: nothing that anybody must see.
#[derive(Debug, Clone, Copy)]
pub struct Icon(&'static str);

/// The picture of this name; an unknown one is empty.
pub fn icon(name: &str) -> Icon {
    Icon(ICONS.iter().find(|(known, _)| *known == name).map_or("", |(_, paths)| paths))
}

impl Display for Icon {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(
            f,
            r#"<svg width="18" height="18" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{}</svg>"#,
            self.0
        )
    }
}

impl HtmlSafe for Icon {}

const ICONS: [(&str, &str); 25] = [
    ("brand", r#"<path d="M3 6h18v12H3z"/><path d="m3.5 6.5 8.5 6.5 8.5-6.5"/>"#),
    ("overview", r#"<path d="M4 20V11M10 20V4M16 20v-6M22 20H2"/>"#),
    ("messages", r#"<path d="M4 6h16v12H4z"/><path d="m4 7 8 6 8-6"/>"#),
    ("inbound", r#"<path d="M4 13V6h16v7M4 13v5h16v-5M4 13h5l1.5 2.5h3L15 13h5"/>"#),
    ("stats", r#"<path d="M3 17 9 11l4 4 8-9"/><path d="M16 6h5v5"/>"#),
    ("suppressions", r#"<circle cx="12" cy="12" r="8.5"/><path d="m6 6 12 12"/>"#),
    ("templates", r#"<path d="M4 4h16v16H4zM4 9h16M10 9v11"/>"#),
    ("streams", r#"<path d="M3 7c3-3 6 3 9 0s6 3 9 0M3 12c3-3 6 3 9 0s6 3 9 0M3 17c3-3 6 3 9 0s6 3 9 0"/>"#),
    (
        "domains",
        r#"<circle cx="12" cy="12" r="8.5"/><path d="M3.5 12h17M12 3.5c5 5 5 12 0 17M12 3.5c-5 5-5 12 0 17"/>"#,
    ),
    ("keys", r#"<circle cx="8" cy="15" r="4"/><path d="m11 12 8.5-8.5M16 7l3 3"/>"#),
    (
        "webhooks",
        r#"<path d="M9 7a3.5 3.5 0 1 1 5 3l3 6M7 17h9M7 17a3.5 3.5 0 1 1-1-5"/><circle cx="17.5" cy="17" r="2.5"/>"#,
    ),
    (
        "team",
        r#"<circle cx="9" cy="8" r="3.5"/><path d="M2.5 20c0-4 3-6 6.5-6s6.5 2 6.5 6M16 5a3.5 3.5 0 0 1 0 6.5M18 14.5c2 .8 3.5 2.5 3.5 5.5"/>"#,
    ),
    ("audit", r#"<path d="M6 3h9l4 4v14H6zM9 12h7M9 16h7M9 8h3"/>"#),
    (
        "settings",
        r#"<path d="M4 7h9M17 7h3M4 17h3M11 17h9"/><circle cx="15" cy="7" r="2"/><circle cx="9" cy="17" r="2"/>"#,
    ),
    (
        "tenants",
        r#"<path d="M4 21V5l8-2v18M12 9l8 2v10M2 21h20M8 8v.01M8 12v.01M8 16v.01M16 14v.01M16 17v.01"/>"#,
    ),
    ("queue", r#"<path d="M4 6h16M4 11h16M4 16h9"/><path d="m16 16 2.5 2.5L22 14"/>"#),
    (
        "ips",
        r#"<path d="M12 21s7-6 7-11.5A7 7 0 0 0 5 9.500C5 15 12 21 12 21z"/><circle cx="12" cy="9.500" r="2.5"/>"#,
    ),
    (
        "reputation",
        r#"<path d="M12 3l7.500 3v5.500c0 4.500-3 7.700-7.500 9.500-4.500-1.800-7.500-5-7.500-9.500V6z"/><path d="m8.500 12 2.500 2.500 4.500-5"/>"#,
    ),
    (
        "reputations",
        r#"<path d="M12 3l7.500 3v5.500c0 4.500-3 7.700-7.500 9.500-4.500-1.800-7.500-5-7.500-9.500V6z"/><path d="M8.500 13.500v-2M12 13.500V9M15.500 13.500v-3"/>"#,
    ),
    ("nodes", r#"<path d="M4 4h16v6H4zM4 14h16v6H4zM8 7v.01M8 17v.01"/>"#),
    ("search", r#"<circle cx="11" cy="11" r="6.5"/><path d="m16 16 4.5 4.5"/>"#),
    ("menu", r#"<path d="M4 7h16M4 12h16M4 17h16"/>"#),
    (
        "theme",
        r#"<circle cx="12" cy="12" r="8.5"/><path d="M12 3.5v17a8.5 8.5 0 0 0 0-17z" fill="currentColor"/>"#,
    ),
    ("warning", r#"<path d="M12 4 2.5 20h19zM12 10v4.5M12 17.3v.01"/>"#),
    ("file", r#"<path d="M6 3h8l4 4v14H6zM14 3v4h4"/>"#),
];

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn numbers_are_told_as_people_read_them() {
        let counts = [0, 7, 999, 1000, 1_234_567, -1000].map(count);
        assert_eq!(counts, ["0", "7", "999", "1,000", "1,234,567", "-1,000"]);
        assert_eq!(
            [share(0, 0), share(1, 3), share(1, 9999), share(0, 5)],
            ["–", "33.3 %", "< 0.1 %", "0.0 %"]
        );
        assert_eq!([octets(12), octets(1500), octets(26_214_400)], ["12 bytes", "1.5 kB", "26.2 MB"]);
        assert_eq!([0.012, 2.0, 600.0, 7200.0].map(lasting), ["12 ms", "2.0 s", "10 min", "2.0 h"]);
        assert_eq!([many(1, "key", "keys"), many(2, "key", "keys")], ["1 key", "2 keys"]);
    }

    #[test]
    fn a_moment_is_exact_for_the_browser_and_readable_without() {
        let shown = clock(datetime!(2026-11-29 10:00:00.5 +01:00)).to_string();
        let exact = "2026-11-29T09:00:00.500Z";
        let wanted = format!(
            r#"<time datetime="{exact}" title="{exact}" data-style="clock">2026-11-29 09:00:00</time>"#
        );
        assert_eq!(shown, wanted);
    }
}
