//! Identifiers. Every id is a UUIDv7 (RFC 9562 §5.7), so that ids sort by the time they were made, and is
//! shown as a prefix and 26 characters that sort the same way: `msg_…`, `dlv_…`.
//!
//! Ids of mail carry more: the 12 bits after the version are the [`Lane`], the first ten random bits are the
//! microsecond, and the last ten bits of a message's family are an ordinal: 0 for the message itself, 1 to
//! 1,000 for its deliveries. So a delivery's message, lane and birth time are *derived*, never looked up, and
//! one message's deliveries are one range of keys.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use time::OffsetDateTime;
use uuid::Uuid;

/// What an id names: gives it its prefix.
pub trait Kind: 'static {
    /// Shown before the id, without the underscore.
    const PREFIX: &'static str;
}

/// An id of one kind. Ordered by time of birth.
pub struct Id<K: Kind>(Uuid, PhantomData<fn() -> K>);

/// Marker types for [`Id`].
pub mod kind {
    use super::Kind;

    /// A tenant.
    pub enum Tenant {}
    /// An API key.
    pub enum Key {}
    /// An accepted submission.
    pub enum Message {}
    /// One message to one recipient.
    pub enum Delivery {}
    /// A fact for tenants.
    pub enum Event {}
    /// An address not to mail.
    pub enum Suppression {}
    /// A tenant's route.
    pub enum Relay {}
    /// Mail that is held.
    pub enum Pause {}
    /// A domain a tenant sends as.
    pub enum Domain {}
    /// A DKIM key of a domain.
    pub enum DkimKey {}
    /// A line of a domain's history.
    pub enum DomainNote {}
    /// A mail kept by the capture route.
    pub enum Captured {}
    /// An entry of the audit log.
    pub enum Audit {}
    /// What a tenant is told about its account.
    pub enum AccountNotice {}
    /// A request to erase a recipient's data.
    pub enum Erasure {}
    /// A report about mail of a domain.
    pub enum DmarcReport {}
    /// A tenant's template.
    pub enum Template {}
    /// An endpoint of a tenant's.
    pub enum Webhook {}
    /// A request that was made to a webhook.
    pub enum Post {}
    /// A kind of a tenant's mail.
    pub enum Stream {}
    /// What a tenant wants done with mail that comes in.
    pub enum InboundRoute {}
    /// A mail that came in.
    pub enum Inbound {}
    /// An address that mail leaves from.
    pub enum Ip {}
    /// Which addresses mail uses.
    pub enum IpRule {}
    /// A person who uses the dashboard.
    pub enum User {}
    /// A signed-in browser.
    pub enum Session {}
    /// An invitation to join a tenant.
    pub enum Invitation {}
    /// A key of a person's authenticator.
    pub enum Passkey {}
    /// A try to sign in.
    pub enum SignIn {}

    impl Kind for Tenant {
        const PREFIX: &'static str = "ten";
    }
    impl Kind for Key {
        const PREFIX: &'static str = "key";
    }
    impl Kind for Message {
        const PREFIX: &'static str = "msg";
    }
    impl Kind for Delivery {
        const PREFIX: &'static str = "dlv";
    }
    impl Kind for Event {
        const PREFIX: &'static str = "evt";
    }
    impl Kind for Suppression {
        const PREFIX: &'static str = "sup";
    }
    impl Kind for Relay {
        const PREFIX: &'static str = "rly";
    }
    impl Kind for Pause {
        const PREFIX: &'static str = "pau";
    }
    impl Kind for Domain {
        const PREFIX: &'static str = "dom";
    }
    impl Kind for DkimKey {
        const PREFIX: &'static str = "dkm";
    }
    impl Kind for DomainNote {
        const PREFIX: &'static str = "dmn";
    }
    impl Kind for Captured {
        const PREFIX: &'static str = "cap";
    }
    impl Kind for Audit {
        const PREFIX: &'static str = "aud";
    }
    impl Kind for DmarcReport {
        const PREFIX: &'static str = "dmr";
    }
    impl Kind for Erasure {
        const PREFIX: &'static str = "ers";
    }
    impl Kind for AccountNotice {
        const PREFIX: &'static str = "not";
    }
    impl Kind for Template {
        const PREFIX: &'static str = "tpl";
    }
    impl Kind for Webhook {
        const PREFIX: &'static str = "whk";
    }
    impl Kind for Post {
        const PREFIX: &'static str = "whp";
    }
    impl Kind for Stream {
        const PREFIX: &'static str = "str";
    }
    impl Kind for InboundRoute {
        const PREFIX: &'static str = "inr";
    }
    impl Kind for Inbound {
        const PREFIX: &'static str = "inb";
    }
    impl Kind for Ip {
        const PREFIX: &'static str = "ip";
    }
    impl Kind for IpRule {
        const PREFIX: &'static str = "ipr";
    }
    impl Kind for User {
        const PREFIX: &'static str = "user";
    }
    impl Kind for Session {
        const PREFIX: &'static str = "ses";
    }
    impl Kind for Invitation {
        const PREFIX: &'static str = "inv";
    }
    impl Kind for Passkey {
        const PREFIX: &'static str = "pky";
    }
    impl Kind for SignIn {
        const PREFIX: &'static str = "sin";
    }
}

/// Names a tenant.
pub type TenantId = Id<kind::Tenant>;
/// Names an API key.
pub type KeyId = Id<kind::Key>;
/// Names a message; carries its lane and birth time.
pub type MessageId = Id<kind::Message>;
/// Names a delivery; carries its message.
pub type DeliveryId = Id<kind::Delivery>;
/// Names an event; ordered to the microsecond.
pub type EventId = Id<kind::Event>;
/// Names an address that mail leaves from.
pub type IpId = Id<kind::Ip>;
/// Names a rule of which addresses mail uses.
pub type IpRuleId = Id<kind::IpRule>;
/// Names a report about mail of a domain.
pub type DmarcReportId = Id<kind::DmarcReport>;
/// Names a request to erase a recipient's data.
pub type ErasureId = Id<kind::Erasure>;
/// Names a notice about an account.
pub type AccountNoticeId = Id<kind::AccountNotice>;
/// Names a suppression.
pub type SuppressionId = Id<kind::Suppression>;
/// Names a relay.
pub type RelayId = Id<kind::Relay>;
/// Names a pause.
pub type PauseId = Id<kind::Pause>;
/// Names a domain a tenant sends as.
pub type DomainId = Id<kind::Domain>;
/// Names a DKIM key.
pub type DkimKeyId = Id<kind::DkimKey>;
/// Names a line of a domain's history.
pub type DomainNoteId = Id<kind::DomainNote>;
/// Names a captured mail.
pub type CapturedId = Id<kind::Captured>;
/// Names an entry of the audit log.
pub type AuditId = Id<kind::Audit>;
/// Names a template.
pub type TemplateId = Id<kind::Template>;
/// Names a webhook.
pub type WebhookId = Id<kind::Webhook>;
/// Names a request that was made to a webhook.
pub type PostId = Id<kind::Post>;
/// Names a stream that a tenant has described.
pub type StreamId = Id<kind::Stream>;
/// Names an inbound route.
pub type InboundRouteId = Id<kind::InboundRoute>;
/// Names a mail that came in.
pub type InboundId = Id<kind::Inbound>;
/// Names a person who uses the dashboard.
pub type UserId = Id<kind::User>;
/// Names a signed-in browser.
pub type SessionId = Id<kind::Session>;
/// Names an invitation.
pub type InvitationId = Id<kind::Invitation>;
/// Names a key of a person's authenticator.
pub type PasskeyId = Id<kind::Passkey>;
/// Names a try to sign in.
pub type SignInId = Id<kind::SignIn>;

/// The most deliveries one message may have: the ordinal's ten bits, rounded down.
pub const MAX_DELIVERIES: usize = 1000;

/// The unit by which mail is spread over claims now, and over machines by a distributed Postgres later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(u16);

impl Lane {
    /// How many lanes an id can tell apart.
    pub const LIMIT: u16 = 1 << 12;

    /// The lane with this number, wrapped at [`Lane::LIMIT`].
    pub fn new(number: u16) -> Lane {
        Lane(number % Self::LIMIT)
    }

    /// As the database has it.
    pub fn number(self) -> i16 {
        // At most 4,095.
        self.0 as i16
    }
}

/// Set aside for the ordinal at the end of a mail id.
const ORDINAL_BITS: u32 = 10;
const ORDINAL_MASK: u128 = (1 << ORDINAL_BITS) - 1;

impl<K: Kind> Id<K> {
    /// Wraps a UUID as the database stored it.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Id(uuid, PhantomData)
    }

    /// The UUID, for the database.
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// A new id, born `now`, in lane 0: for what is not mail.
    pub fn new(now: OffsetDateTime) -> Self {
        Id::from_uuid(mint(now, Lane(0)))
    }

    /// When it was born, to the millisecond.
    pub fn born(self) -> OffsetDateTime {
        let millis = (self.0.as_u128() >> 80) as i128;
        OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The lane in it.
    pub fn lane(self) -> Lane {
        Lane::new((self.0.as_u128() >> 64) as u16 & (Lane::LIMIT - 1))
    }
}

impl MessageId {
    /// A new message's id: its last ten bits are left for its deliveries.
    pub fn in_lane(now: OffsetDateTime, lane: Lane) -> MessageId {
        Id::from_uuid(Uuid::from_u128(mint(now, lane).as_u128() & !ORDINAL_MASK))
    }

    /// The delivery with this ordinal, 1 to [`MAX_DELIVERIES`].
    pub fn delivery(self, ordinal: u16) -> DeliveryId {
        debug_assert!((1..=MAX_DELIVERIES).contains(&usize::from(ordinal)));
        Id::from_uuid(Uuid::from_u128(self.0.as_u128() | (u128::from(ordinal) & ORDINAL_MASK)))
    }

    /// Above every delivery of this message: the range of its deliveries is `(id, id.last_delivery()]`.
    pub fn last_delivery(self) -> DeliveryId {
        Id::from_uuid(Uuid::from_u128(self.0.as_u128() | ORDINAL_MASK))
    }
}

impl DeliveryId {
    /// The message it belongs to.
    pub fn message(self) -> MessageId {
        Id::from_uuid(Uuid::from_u128(self.0.as_u128() & !ORDINAL_MASK))
    }
}

impl EventId {
    /// A new event's id, in the lane of the delivery it tells of.
    pub fn of(now: OffsetDateTime, delivery: DeliveryId) -> EventId {
        Id::from_uuid(mint(now, delivery.lane()))
    }

    /// When it happened, to the microsecond.
    pub fn at(self) -> OffsetDateTime {
        let micros = (self.0.as_u128() >> 52) & 0x3ff;
        self.born() + time::Duration::microseconds(micros as i64)
    }
}

/// The smallest id that could have been born at `moment`: a bound for range scans and partitions.
pub fn floor_at(moment: OffsetDateTime) -> Uuid {
    Uuid::from_u128(u128::from(unix_millis(moment)) << 80)
}

fn unix_millis(moment: OffsetDateTime) -> u64 {
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(0) & 0xffff_ffff_ffff
}

/// UUIDv7 with the lane in `rand_a` and the microsecond at the head of `rand_b` (RFC 9562 §6.2, method 3).
fn mint(now: OffsetDateTime, lane: Lane) -> Uuid {
    let micros = u128::from(now.microsecond() % 1000);
    let mut random = [0u8; 8];
    // The generator fails only when the operating system has no entropy at all; then ids stay unique by
    // time and lane as far as they can, and the primary key refuses the rest.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let random = u128::from(u64::from_be_bytes(random)) & ((1 << 52) - 1);
    Uuid::from_u128(
        u128::from(unix_millis(now)) << 80
            | 7 << 76
            | u128::from(lane.0) << 64
            | 0b10 << 62
            | micros << 52
            | random,
    )
}

/// Base 32 whose characters sort like the bits they stand for (RFC 4648 §7), in lower case.
fn alphabet() -> &'static Encoding {
    static ALPHABET: std::sync::OnceLock<Encoding> = std::sync::OnceLock::new();
    ALPHABET.get_or_init(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("0123456789abcdefghijklmnopqrstuv");
        spec.encoding().expect("32 distinct ASCII symbols make an encoding")
    })
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 26];
        alphabet().encode_mut(self.0.as_bytes(), &mut text);
        let text = std::str::from_utf8(&text).map_err(|_| fmt::Error)?;
        write!(f, "{}_{text}", K::PREFIX)
    }
}

/// Not an id of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind")]
pub struct NotAnId;

impl<K: Kind> FromStr for Id<K> {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits = text.strip_prefix(K::PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or(NotAnId)?;
        let bytes = alphabet().decode(digits.as_bytes()).map_err(|_| NotAnId)?;
        Uuid::from_slice(&bytes).map(Id::from_uuid).map_err(|_| NotAnId)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Kind> Copy for Id<K> {}

impl<K: Kind> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: Kind> Eq for Id<K> {}

impl<K: Kind> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Kind> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<K: Kind> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-24 10:20:30.456789 UTC);

    #[test]
    fn an_id_of_mail_tells_its_lane_its_birth_and_its_message() {
        let message = MessageId::in_lane(NOW, Lane::new(4095));
        let delivery = message.delivery(1000);

        assert_eq!(message.lane(), Lane::new(4095));
        assert_eq!(message.born(), datetime!(2026-11-24 10:20:30.456 UTC));
        assert_eq!(delivery.lane(), message.lane());
        assert_eq!(delivery.message(), message);
        assert!(message.uuid() < delivery.uuid() && delivery <= message.last_delivery());
        assert_eq!(message.uuid().get_version_num(), 7);
        assert_eq!(message.uuid().get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn events_of_one_millisecond_sort_by_their_microsecond() {
        let delivery = MessageId::in_lane(NOW, Lane::new(3)).delivery(1);
        let earlier = EventId::of(NOW, delivery);
        let later = EventId::of(NOW + time::Duration::microseconds(1), delivery);

        assert!(earlier < later);
        assert_eq!(later.at(), datetime!(2026-11-24 10:20:30.456790 UTC));
    }

    #[test]
    fn text_sorts_like_the_id_and_reads_back() {
        let first = MessageId::in_lane(NOW, Lane::new(1));
        let second = MessageId::in_lane(NOW + time::Duration::seconds(1), Lane::new(0));

        assert!(first.to_string() < second.to_string());
        assert_eq!(first.to_string().parse::<MessageId>(), Ok(first));
        assert_eq!(first.to_string().len(), 30);
    }

    #[test]
    fn other_kinds_and_garbage_are_no_ids() {
        let message = MessageId::in_lane(NOW, Lane::new(1)).to_string();
        for text in [
            "",
            "msg_",
            "msg_0",
            &message.replace("msg_", "dlv_"),
            &message[..29],
            &format!("{message}0"),
            &message.to_uppercase(),
        ] {
            assert_eq!(text.parse::<MessageId>(), Err(NotAnId), "{text}");
        }
    }
}
