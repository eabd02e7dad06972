//! What tenants are told about their account: by the API, by webhook, and by mail.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A required record of a sender domain is missing.
    DomainFailing,
    /// A sender domain is not verified any more.
    DomainLapsed,
    /// Somebody else has proved to rule over a sender domain.
    DomainMoved,
    /// A webhook failed for too long, or is gone.
    WebhookDisabled,
    /// A limit is nearly reached, or reached.
    QuotaReached,
    /// Complaints or bounces of a domain or stream rise.
    ReputationWarned,
    /// Mail is held for what recipients say of it.
    ReputationHeld,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::DomainFailing,
        Kind::DomainLapsed,
        Kind::DomainMoved,
        Kind::WebhookDisabled,
        Kind::QuotaReached,
        Kind::ReputationWarned,
        Kind::ReputationHeld,
    ];

    /// As the database, the API and webhooks have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::DomainFailing => "domain.failing",
            Kind::DomainLapsed => "domain.lapsed",
            Kind::DomainMoved => "domain.moved",
            Kind::WebhookDisabled => "webhook.disabled",
            Kind::QuotaReached => "quota.reached",
            Kind::ReputationWarned => "reputation.warned",
            Kind::ReputationHeld => "reputation.held",
        }
    }

    /// What a mail about it says first.
    pub const fn title(self) -> &'static str {
        match self {
            Kind::DomainFailing => "A sender domain needs care",
            Kind::DomainLapsed => "A sender domain is not verified any more",
            Kind::DomainMoved => "A sender domain has moved to another account",
            Kind::WebhookDisabled => "A webhook is disabled",
            Kind::QuotaReached => "A sending limit is reached",
            Kind::ReputationWarned => "Recipients complain about mail",
            Kind::ReputationHeld => "Mail is held",
        }
    }
}

/// A notice to be raised.
#[derive(Debug, Clone)]
pub struct NewNotice<'a> {
    /// What it is about.
    pub kind: Kind,
    /// About which thing: its id, or its name. Of one thing there is one notice of a kind a day.
    pub subject: &'a str,
    /// A sentence for people.
    pub message: &'a str,
    /// For programs.
    pub data: Value,
}

/// What is posted to webhooks: its type, when it happened, and what is known of it (Standard Webhooks).
pub fn posted(kind: &str, at: OffsetDateTime, data: Value) -> Value {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // Fails only for years that no clock here reaches.
    let timestamp = at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default();
    json!({ "type": kind, "timestamp": timestamp, "data": data })
}
