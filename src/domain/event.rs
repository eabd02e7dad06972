//! Events: the append-only facts that tenants see, query and have posted to them.

use std::str::FromStr;

use serde_json::Value;
use time::OffsetDateTime;

use super::id::{DeliveryId, EventId, InboundId, MessageId};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// The mail was stored; one event for each delivery.
    Accepted,
    /// It will be tried again.
    Deferred,
    /// The peer took it.
    Delivered,
    /// It cannot be delivered.
    Bounced,
    /// Its time ran out.
    Expired,
    /// The recipient is not to be mailed.
    Suppressed,
    /// The sender took it back.
    Canceled,
    /// The recipient called it spam.
    Complained,
    /// It was opened.
    Opened,
    /// A link in it was followed.
    Clicked,
    /// The recipient wants no more.
    Unsubscribed,
    /// Mail came in.
    Received,
}

impl EventType {
    /// All, in the order of a mail's life.
    pub const ALL: [EventType; 12] = [
        EventType::Accepted,
        EventType::Deferred,
        EventType::Delivered,
        EventType::Bounced,
        EventType::Expired,
        EventType::Suppressed,
        EventType::Canceled,
        EventType::Complained,
        EventType::Opened,
        EventType::Clicked,
        EventType::Unsubscribed,
        EventType::Received,
    ];

    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventType::Accepted => "accepted",
            EventType::Deferred => "deferred",
            EventType::Delivered => "delivered",
            EventType::Bounced => "bounced",
            EventType::Expired => "expired",
            EventType::Suppressed => "suppressed",
            EventType::Canceled => "canceled",
            EventType::Complained => "complained",
            EventType::Opened => "opened",
            EventType::Clicked => "clicked",
            EventType::Unsubscribed => "unsubscribed",
            EventType::Received => "received",
        }
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<EventType, UnknownEventType> {
        EventType::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownEventType)
    }
}

/// Not the name of an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a type of event")]
pub struct UnknownEventType;

/// A fact about one delivery, with what its readers need of the message.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name; carries the moment.
    pub id: EventId,
    /// What happened.
    pub kind: EventType,
    /// To which delivery; of mail that came in: its own id, see [`Event::inbound`].
    pub delivery: DeliveryId,
    /// The delivery's recipient, or whom the mail came for.
    pub recipient: String,
    /// The message's stream; empty for mail that came in.
    pub stream: String,
    /// The message's tags.
    pub tags: Vec<String>,
    /// The message's metadata: an object of strings.
    pub metadata: Value,
    /// What else is known of it: an object.
    pub data: Value,
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> OffsetDateTime {
        self.id.at()
    }

    /// The mail that came in, if that is what it tells: there is no message and no delivery then.
    pub fn inbound(&self) -> Option<InboundId> {
        (self.kind == EventType::Received).then(|| InboundId::from_uuid(self.delivery.uuid()))
    }

    /// The message it belongs to, unless it tells of mail that came in.
    pub fn message(&self) -> MessageId {
        self.delivery.message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back() {
        for kind in EventType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!("sent".parse::<EventType>(), Err(UnknownEventType));
    }
}
