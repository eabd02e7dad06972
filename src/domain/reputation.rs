//! How a sender stands with its recipients: rates of complaints and dead addresses, and what follows from them. Pure.
//!
//! Receivers act by such rates. Google: below 0.1 % complaints, never 0.3 %
//! (https://support.google.com/a/answer/81126); Yahoo: below 0.3 %. What follows here comes a little before.

use std::fmt;
use std::str::FromStr;

use time::{Duration, OffsetDateTime};

use super::id::{PauseId, TenantId};

/// How far back mail counts.
pub const WINDOW: Duration = Duration::days(7);

/// What is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// Whose.
    pub tenant: TenantId,
    /// Which of his.
    pub kind: SubjectKind,
    /// Its name.
    pub name: String,
}

/// What kind of thing is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    /// A domain in From.
    Domain,
    /// A stream.
    Stream,
}

impl SubjectKind {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            SubjectKind::Domain => "domain",
            SubjectKind::Stream => "stream",
        }
    }

    /// Reads it.
    pub fn parse(text: &str) -> Option<SubjectKind> {
        [SubjectKind::Domain, SubjectKind::Stream].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Mails a peer took.
    pub delivered: i64,
    /// Mails to dead addresses.
    pub bounced: i64,
    /// Complaints.
    pub complained: i64,
}

impl Figures {
    /// Complaints among what was delivered: 0 to 1.
    pub fn complaint_rate(self) -> f64 {
        ratio(self.complained, self.delivered)
    }

    /// Dead addresses among those that were tried to the end: 0 to 1.
    pub fn bounce_rate(self) -> f64 {
        ratio(self.bounced, self.delivered + self.bounced)
    }
}

fn ratio(part: i64, whole: i64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}

/// A part of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

/// Not a percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a percentage is needed, above 0 and up to 100, such as 0.3; or off")]
pub struct BadPercent;

impl Percent {
    /// As a part of one.
    pub fn ratio(self) -> f64 {
        self.0 / 100.0
    }
}

impl FromStr for Percent {
    type Err = BadPercent;

    fn from_str(text: &str) -> Result<Percent, BadPercent> {
        let number = text.trim_end_matches('%').trim().parse().ok();
        number.filter(|number| *number > 0.0 && *number <= 100.0).map(Percent).ok_or(BadPercent)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// What rates mean. `None`: nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// From so many complaints on its owner is warned.
    pub complaint_warn: Option<Percent>,
    /// From so many on its broadcast mail is held.
    pub complaint_hold: Option<Percent>,
    /// The same of dead addresses.
    pub bounce_warn: Option<Percent>,
    /// The same.
    pub bounce_hold: Option<Percent>,
    /// Below so many mails in the window nothing is concluded.
    pub least_mails: i64,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Well.
    Good,
    /// Its owner was told.
    Warned,
    /// Its broadcast mail is held.
    Held,
}

impl Standing {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Good => "good",
            Standing::Warned => "warned",
            Standing::Held => "held",
        }
    }

    /// Reads it.
    pub fn parse(text: &str) -> Option<Standing> {
        [Standing::Good, Standing::Warned, Standing::Held].into_iter().find(|state| state.as_str() == text)
    }
}

/// Where something would stand by its figures, and why, in words.
pub fn judge(figures: Figures, thresholds: &Thresholds) -> (Standing, String) {
    if figures.delivered + figures.bounced < thresholds.least_mails {
        return (Standing::Good, String::new());
    }
    let (complaints, bounces) = (figures.complaint_rate(), figures.bounce_rate());
    let reaches =
        |rate: f64, limit: Option<Percent>| limit.filter(|limit| rate > 0.0 && rate >= limit.ratio());
    let complained =
        |limit| format!("{:.2} % of its recipients complained ({limit} is the limit)", complaints * 100.0);
    let bounced =
        |limit| format!("{:.1} % of its addresses are dead ({limit} is the limit)", bounces * 100.0);
    let rules = [
        (Standing::Held, reaches(complaints, thresholds.complaint_hold).map(complained)),
        (Standing::Held, reaches(bounces, thresholds.bounce_hold).map(bounced)),
        (Standing::Warned, reaches(complaints, thresholds.complaint_warn).map(complained)),
        (Standing::Warned, reaches(bounces, thresholds.bounce_warn).map(bounced)),
    ];
    let first = rules.into_iter().find_map(|(standing, why)| Some((standing, why?)));
    first.unwrap_or((Standing::Good, String::new()))
}

/// How something stood when it was looked at last.
#[derive(Debug, Clone, PartialEq)]
pub struct Reputation {
    /// What.
    pub subject: Subject,
    /// How.
    pub standing: Standing,
    /// What had been counted.
    pub figures: Figures,
    /// Nothing before counts.
    pub counted_from: Option<OffsetDateTime>,
    /// What holds its broadcast mail.
    pub pause: Option<PauseId>,
    /// Since when it stands so.
    pub changed_at: OffsetDateTime,
    /// When it was looked at.
    pub looked_at: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thresholds() -> Thresholds {
        let percent = |text: &str| text.parse().ok();
        Thresholds {
            complaint_warn: percent("0.08"),
            complaint_hold: percent("0.3%"),
            bounce_warn: percent("5"),
            bounce_hold: percent("10"),
            least_mails: 1000,
        }
    }

    #[test]
    fn rates_are_judged_by_their_limits_and_few_mails_not_at_all() {
        let cases = [
            ((999, 0, 500), Standing::Good),
            ((100_000, 0, 79), Standing::Good),
            ((100_000, 0, 80), Standing::Warned),
            ((100_000, 0, 299), Standing::Warned),
            ((100_000, 0, 300), Standing::Held),
            ((9_600, 400, 0), Standing::Good),
            ((9_500, 500, 0), Standing::Warned),
            ((9_000, 1_000, 0), Standing::Held),
            ((0, 1_000, 0), Standing::Held),
            ((9_500, 500, 40), Standing::Held),
        ];
        for ((delivered, bounced, complained), expected) in cases {
            let figures = Figures { delivered, bounced, complained };
            assert_eq!(judge(figures, &thresholds()).0, expected, "{figures:?}");
        }
        let off = Thresholds {
            complaint_warn: None,
            complaint_hold: None,
            bounce_warn: None,
            bounce_hold: None,
            ..thresholds()
        };
        let bad = Figures { delivered: 1000, bounced: 900, complained: 900 };
        assert_eq!(judge(bad, &off).0, Standing::Good);
        let (_, why) = judge(Figures { delivered: 10_000, bounced: 0, complained: 40 }, &thresholds());
        assert_eq!(why, "0.40 % of its recipients complained (0.3 % is the limit)");
    }

    #[test]
    fn percentages_are_read_strictly() {
        for bad in ["", "0", "-1", "101", "x", "nan"] {
            assert_eq!(bad.parse::<Percent>(), Err(BadPercent), "{bad}");
        }
        assert!("0.08".parse::<Percent>().is_ok_and(|percent| (percent.ratio() - 0.0008).abs() < 1e-12));
    }
}
