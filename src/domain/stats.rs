//! Statistics: what is counted, by what, and how delivery times are kept small.
//!
//! Not how they are stored or asked for. Invariant: counting is a sum, so that facts may come in any order and
//! in any batches.

use std::collections::HashMap;
use std::str::FromStr;

use time::{Duration, OffsetDateTime};

use super::event::EventType;
use super::id::{DeliveryId, TenantId};

/// What is counted. The order is that of the stored list: new ones come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Deliveries that were stored.
    Accepted,
    /// Attempts that are to be repeated.
    Deferred,
    /// Deliveries a peer took.
    Delivered,
    /// Deliveries that cannot be made.
    Bounced,
    /// Of the bounced: the address is dead.
    HardBounced,
    /// Deliveries whose time ran out.
    Expired,
    /// Deliveries to addresses that are not to be mailed.
    Suppressed,
    /// Deliveries that were taken back.
    Canceled,
    /// Complaints.
    Complained,
    /// Opens, whoever did it and how often.
    Opened,
    /// Deliveries opened by a person for the first time.
    UniqueOpened,
    /// Of the opens: those by machines.
    MachineOpened,
    /// Links followed, whoever did it and how often.
    Clicked,
    /// Deliveries in which a person followed a link for the first time.
    UniqueClicked,
    /// Of the clicks: those by machines.
    MachineClicked,
    /// Recipients who want no more.
    Unsubscribed,
    /// Mail that came in.
    Received,
}

impl Counter {
    /// All, in the order in which they are stored.
    pub const ALL: [Counter; 17] = [
        Counter::Accepted,
        Counter::Deferred,
        Counter::Delivered,
        Counter::Bounced,
        Counter::HardBounced,
        Counter::Expired,
        Counter::Suppressed,
        Counter::Canceled,
        Counter::Complained,
        Counter::Opened,
        Counter::UniqueOpened,
        Counter::MachineOpened,
        Counter::Clicked,
        Counter::UniqueClicked,
        Counter::MachineClicked,
        Counter::Unsubscribed,
        Counter::Received,
    ];

    /// As the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Counter::Accepted => "accepted",
            Counter::Deferred => "deferred",
            Counter::Delivered => "delivered",
            Counter::Bounced => "bounced",
            Counter::HardBounced => "hard_bounced",
            Counter::Expired => "expired",
            Counter::Suppressed => "suppressed",
            Counter::Canceled => "canceled",
            Counter::Complained => "complained",
            Counter::Opened => "opened",
            Counter::UniqueOpened => "unique_opened",
            Counter::MachineOpened => "machine_opened",
            Counter::Clicked => "clicked",
            Counter::UniqueClicked => "unique_clicked",
            Counter::MachineClicked => "machine_clicked",
            Counter::Unsubscribed => "unsubscribed",
            Counter::Received => "received",
        }
    }

    /// What every event of a type adds to.
    const fn of(kind: EventType) -> Counter {
        match kind {
            EventType::Accepted => Counter::Accepted,
            EventType::Deferred => Counter::Deferred,
            EventType::Delivered => Counter::Delivered,
            EventType::Bounced => Counter::Bounced,
            EventType::Expired => Counter::Expired,
            EventType::Suppressed => Counter::Suppressed,
            EventType::Canceled => Counter::Canceled,
            EventType::Complained => Counter::Complained,
            EventType::Opened => Counter::Opened,
            EventType::Clicked => Counter::Clicked,
            EventType::Unsubscribed => Counter::Unsubscribed,
            EventType::Received => Counter::Received,
        }
    }
}

/// By what is counted, besides the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// All together.
    All,
    /// The message's stream.
    Stream,
    /// Each of the message's tags: a mail with two counts for both.
    Tag,
    /// The domain of From.
    Domain,
    /// Who keeps the recipient's mailbox.
    Provider,
    /// The message's template.
    Template,
    /// Why it was deferred, bounced or expired.
    BounceClass,
}

impl Dimension {
    /// All, in the order of their numbers.
    pub const ALL: [Dimension; 7] = [
        Dimension::All,
        Dimension::Stream,
        Dimension::Tag,
        Dimension::Domain,
        Dimension::Provider,
        Dimension::Template,
        Dimension::BounceClass,
    ];

    /// As the database has it.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// From the database's number; the table's CHECK allows no other.
    pub fn from_number(number: i16) -> Dimension {
        usize::try_from(number).ok().and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Dimension::All)
    }

    /// As the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Dimension::All => "all",
            Dimension::Stream => "stream",
            Dimension::Tag => "tag",
            Dimension::Domain => "domain",
            Dimension::Provider => "provider",
            Dimension::Template => "template",
            Dimension::BounceClass => "bounce_class",
        }
    }
}

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(text: &str) -> Result<Dimension, UnknownDimension> {
        let named = Dimension::ALL.into_iter().filter(|dimension| *dimension != Dimension::All);
        named.into_iter().find(|dimension| dimension.as_str() == text).ok_or(UnknownDimension)
    }
}

/// Not the name of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stream, tag, domain, provider, template or bounce_class is needed")]
pub struct UnknownDimension;

/// The length of the intervals, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grain {
    /// Hours.
    Hour,
    /// Days.
    Day,
}

impl Grain {
    /// Both.
    pub const ALL: [Grain; 2] = [Grain::Hour, Grain::Day];

    /// As the database has it.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// As the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Grain::Hour => "hour",
            Grain::Day => "day",
        }
    }

    /// How long one lasts.
    pub const fn length(self) -> Duration {
        match self {
            Grain::Hour => Duration::HOUR,
            Grain::Day => Duration::DAY,
        }
    }

    /// When the interval began that a moment is in.
    pub fn start(self, moment: OffsetDateTime) -> OffsetDateTime {
        let seconds = self.length().whole_seconds();
        let begun = moment.unix_timestamp().div_euclid(seconds) * seconds;
        OffsetDateTime::from_unix_timestamp(begun).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl FromStr for Grain {
    type Err = UnknownGrain;

    fn from_str(text: &str) -> Result<Grain, UnknownGrain> {
        Grain::ALL.into_iter().find(|grain| grain.as_str() == text).ok_or(UnknownGrain)
    }
}

/// Not the name of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hour or day is needed")]
pub struct UnknownGrain;

/// One number for each [`Counter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([i64; Counter::ALL.len()]);

impl Counts {
    /// From the stored list: what an older version did not count is 0, what a newer one does is passed over.
    pub fn from_stored(stored: &[i64]) -> Counts {
        let mut counts = Counts::default();
        counts.0.iter_mut().zip(stored).for_each(|(count, stored)| *count = *stored);
        counts
    }

    /// To be stored.
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }

    /// One of them.
    pub fn get(&self, counter: Counter) -> i64 {
        self.0[counter as usize]
    }

    /// One more.
    pub fn count(&mut self, counter: Counter) {
        self.0[counter as usize] += 1;
    }

    /// Adds others.
    pub fn merge(&mut self, others: &Counts) {
        self.0.iter_mut().zip(others.0).for_each(|(count, other)| *count += other);
    }
}

/// How long deliveries took, as a histogram of fixed buckets: two for each doubling, so that a percentile read
/// from it is off by less than a quarter. Sums of histograms are exact.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Times(Vec<i64>);

/// The first bucket ends here.
const FIRST_BUCKET_SECONDS: f64 = 0.01;
const BUCKETS_PER_DOUBLING: f64 = 2.0;
/// The last one holds everything from some nine days on.
const BUCKETS: usize = 54;

impl Times {
    /// From the stored list.
    pub fn from_stored(stored: Vec<i64>) -> Times {
        Times(stored)
    }

    /// To be stored: without zeros at the end.
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }

    /// One more delivery.
    pub fn count(&mut self, took: Duration) {
        let bucket = bucket_of(took);
        if self.0.len() <= bucket {
            self.0.resize(bucket + 1, 0);
        }
        self.0[bucket] += 1;
    }

    /// Adds others.
    pub fn merge(&mut self, others: &Times) {
        if self.0.len() < others.0.len() {
            self.0.resize(others.0.len(), 0);
        }
        self.0.iter_mut().zip(&others.0).for_each(|(count, other)| *count += other);
    }

    /// Within how many seconds this share (0 to 1) of the deliveries was made; `None`: there were none.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let total: i64 = self.0.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = (share * total as f64).ceil().max(1.0);
        let mut below = 0.0;
        for (bucket, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = *count as f64;
            if below + count >= rank {
                let (from, to) = (upper_end(bucket.checked_sub(1)), upper_end(Some(bucket)));
                return Some(from + (to - from) * (rank - below) / count);
            }
            below += count;
        }
        None
    }
}

fn bucket_of(took: Duration) -> usize {
    let seconds = took.as_seconds_f64();
    if seconds <= FIRST_BUCKET_SECONDS {
        return 0;
    }
    // Positive, since it is more than the first bucket's end.
    let doublings = (seconds / FIRST_BUCKET_SECONDS).log2();
    ((doublings * BUCKETS_PER_DOUBLING).ceil() as usize).min(BUCKETS - 1)
}

/// Where a bucket ends, in seconds; that of no bucket is 0.
fn upper_end(bucket: Option<usize>) -> f64 {
    bucket.map_or(0.0, |bucket| FIRST_BUCKET_SECONDS * (bucket as f64 / BUCKETS_PER_DOUBLING).exp2())
}

/// An event as far as statistics look at it.
#[derive(Debug, Clone)]
pub struct Fact {
    /// Whose.
    pub tenant: TenantId,
    /// What happened.
    pub kind: EventType,
    /// To which delivery.
    pub delivery: DeliveryId,
    /// When.
    pub at: OffsetDateTime,
    /// When the mail was to be sent first.
    pub since: OffsetDateTime,
    /// The message's stream.
    pub stream: String,
    /// The message's tags.
    pub tags: Vec<String>,
    /// The domain of From.
    pub sender_domain: String,
    /// The domain of the recipient.
    pub recipient_domain: String,
    /// The message's template.
    pub template: Option<String>,
    /// Why it was deferred, bounced or expired.
    pub class: Option<String>,
    /// The address is dead.
    pub hard: bool,
    /// The first of its kind for this delivery by a person.
    pub first: bool,
    /// A machine did it.
    pub machine: bool,
    /// The host that answered.
    pub host: Option<String>,
}

impl Fact {
    /// The dimensions it counts in, with its values there.
    pub fn places(&self, provider: &str) -> Vec<(Dimension, String)> {
        let mut places = vec![
            (Dimension::All, String::new()),
            (Dimension::Stream, self.stream.clone()),
            (Dimension::Domain, self.sender_domain.clone()),
            (Dimension::Provider, provider.to_owned()),
        ];
        places.extend(self.tags.iter().map(|tag| (Dimension::Tag, tag.clone())));
        places.extend(self.template.iter().map(|template| (Dimension::Template, template.clone())));
        places.extend(self.class.iter().map(|class| (Dimension::BounceClass, class.clone())));
        places
    }

    fn counters(&self) -> Vec<Counter> {
        let mut counters = vec![Counter::of(self.kind)];
        let more = match self.kind {
            EventType::Bounced if self.hard => Some(Counter::HardBounced),
            EventType::Opened if self.machine => Some(Counter::MachineOpened),
            EventType::Opened if self.first => Some(Counter::UniqueOpened),
            EventType::Clicked if self.machine => Some(Counter::MachineClicked),
            EventType::Clicked if self.first => Some(Counter::UniqueClicked),
            _ => None,
        };
        counters.extend(more);
        counters
    }
}

/// Where something is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Whose.
    pub tenant: TenantId,
    /// In intervals of this length.
    pub grain: Grain,
    /// By what.
    pub dimension: Dimension,
    /// When the interval began.
    pub start: OffsetDateTime,
    /// The value of the dimension; empty for all.
    pub value: String,
}

/// What is counted in one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// How many of what.
    pub counts: Counts,
    /// How long deliveries took.
    pub times: Times,
}

impl Cell {
    /// Counts one event.
    pub fn count(&mut self, fact: &Fact) {
        for counter in fact.counters() {
            self.counts.count(counter);
        }
        if fact.kind == EventType::Delivered {
            self.times.count(fact.at - fact.since);
        }
    }

    /// Adds another.
    pub fn merge(&mut self, other: &Cell) {
        self.counts.merge(&other.counts);
        self.times.merge(&other.times);
    }
}

/// What a batch of events adds, place by place.
pub type Tally = HashMap<Place, Cell>;

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn names_and_numbers_read_back() {
        for (at, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, at, "{}", counter.as_str());
        }
        for dimension in Dimension::ALL {
            assert_eq!(Dimension::from_number(dimension.number()), dimension);
            assert_eq!(dimension.as_str().parse::<Dimension>().is_ok(), dimension != Dimension::All);
        }
        for grain in Grain::ALL {
            assert_eq!(grain.as_str().parse(), Ok(grain));
        }
    }

    #[test]
    fn an_interval_begins_on_the_hour_or_at_midnight_of_utc() {
        let moment = datetime!(2026-11-25 23:59:59.9 -01:00);
        assert_eq!(Grain::Hour.start(moment), datetime!(2026-11-26 00:00 UTC));
        assert_eq!(Grain::Day.start(datetime!(2026-11-25 23:59:59 UTC)), datetime!(2026-11-25 00:00 UTC));
    }

    #[test]
    fn percentiles_are_off_by_less_than_a_quarter_and_sums_are_exact() {
        let (mut one, mut other) = (Times::default(), Times::default());
        for n in 1..=1000 {
            let half = if n % 2 == 0 { &mut one } else { &mut other };
            half.count(Duration::milliseconds(n * 7));
        }
        one.merge(&other);
        for (share, wanted) in [(0.5, 3.5), (0.9, 6.3), (0.99, 6.93)] {
            let found = one.percentile(share).expect("there are some");
            assert!((found / wanted - 1.0).abs() < 0.25, "{share}: {found} instead of {wanted}");
        }
        assert_eq!(Times::default().percentile(0.5), None);
        let mut extremes = Times::default();
        extremes.count(Duration::milliseconds(-5));
        extremes.count(Duration::days(300));
        assert_eq!(extremes.as_slice().len(), BUCKETS);
    }

    #[test]
    fn what_an_older_or_newer_version_stored_reads_as_far_as_it_goes() {
        assert_eq!(Counts::from_stored(&[3]).get(Counter::Accepted), 3);
        assert_eq!(Counts::from_stored(&[1; 40]), Counts::from_stored(&[1; Counter::ALL.len()]));
    }
}
