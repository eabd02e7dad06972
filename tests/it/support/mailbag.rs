//! Mail put straight into the store, by the statement that accept uses: for tests of what comes after, which need
//! thousands of mails, moments of their own, or leases that nobody works on.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use time::{Duration, OffsetDateTime};

use postroad::domain::delivery::{Priority, Role};
use postroad::domain::handling::{Handling, Particulars};
use postroad::domain::handoff::Outgoing;
use postroad::domain::id::{Lane, MessageId, TenantId};
use postroad::domain::message::{Addresses, NewDelivery, NewMessage};
use postroad::domain::submission::Sending;
use postroad::domain::tenant::TenantName;
use postroad::mail::EmailAddress;
use postroad::store::accept::{self, Birth, Inserted, Moments, Parcel};
use postroad::store::{PgConnection, nodes, tenants};

/// A mail to be put into the store.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Whose.
    pub tenant: TenantId,
    /// Its id: born when and in the lane that it says.
    pub id: MessageId,
    /// To whom, one delivery each.
    pub to: Vec<String>,
    /// The author.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// The stream.
    pub stream: String,
    /// Labels.
    pub tags: Vec<String>,
    /// Its rank.
    pub priority: Priority,
    /// Not before this moment.
    pub send_at: Option<OffsetDateTime>,
    /// How long it is tried.
    pub ttl: Duration,
    /// Whether it leaves the house.
    pub sending: Sending,
    /// The incarnation in whose hands it is born.
    pub leased_by: Option<i32>,
}

impl Letter {
    /// A plain one, born `now` in a lane.
    pub fn new(tenant: TenantId, now: OffsetDateTime, lane: u16) -> Letter {
        Letter {
            tenant,
            id: MessageId::in_lane(now, Lane::new(lane)),
            to: vec!["ann@example.net".to_owned()],
            from: "hello@acme.example".to_owned(),
            subject: "Hello".to_owned(),
            stream: "transactional".to_owned(),
            tags: Vec::new(),
            priority: Priority::Normal,
            send_at: None,
            ttl: Duration::days(3),
            sending: Sending::Real,
            leased_by: None,
        }
    }

    /// To these.
    pub fn to<T: Into<String>>(mut self, to: impl IntoIterator<Item = T>) -> Letter {
        self.to = to.into_iter().map(Into::into).collect();
        self
    }

    /// With this rank.
    pub fn priority(mut self, priority: Priority) -> Letter {
        self.priority = priority;
        self
    }

    fn birth(self) -> Birth {
        let deliveries = (1..).zip(&self.to).map(|(ordinal, to)| NewDelivery {
            suppressed_as: None,
            id: self.id.delivery(ordinal),
            role: Role::To,
            recipient: EmailAddress::parse(to).expect("an address"),
            particulars: Particulars::default(),
        });
        let message_id = format!("<{}@acme.example>", self.id.uuid().simple());
        let raw = format!(
            "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nFrom: {}\r\nMessage-ID: {message_id}\r\n\r\nText.\r\n",
            self.from
        );
        let message = NewMessage {
            key: None,
            outgoing: Arc::new(Outgoing {
                id: self.id,
                tenant: self.tenant,
                stream: self.stream,
                sender_domain: "acme.example".to_owned(),
                raw: Bytes::from(raw),
                blueprint: None,
                needs_smtputf8: false,
                eight_bit: false,
                protected: false,
                handling: Handling::default(),
                head: tokio::sync::OnceCell::new(),
            }),
            message_id,
            addresses: Addresses { from: self.from.clone(), to: self.to.clone(), ..Addresses::default() },
            sender: self.from,
            subject: self.subject,
            priority: self.priority,
            tags: self.tags,
            metadata: BTreeMap::new(),
            send_at: self.send_at,
            ttl: self.ttl,
            sending: self.sending,
            deliveries: deliveries.collect(),
        };
        Birth { message, leased_by: self.leased_by }
    }
}

/// How long the leases of letters that are born leased last.
pub const LEASE: Duration = Duration::minutes(60);

/// Stores letters, each as a request of its own, all in one transaction.
pub async fn put(connection: &mut PgConnection, now: OffsetDateTime, letters: Vec<Letter>) -> Inserted {
    let parcel = |letter: Letter| Parcel { idempotency: None, messages: vec![letter.birth()] };
    let parcels: Vec<Parcel> = letters.into_iter().map(parcel).collect();
    let moments = Moments { now, lease_until: now + LEASE };
    accept::insert(connection, moments, &parcels, None).await.expect("stored")
}

/// A tenant, made without an API.
pub async fn tenant(connection: &mut PgConnection, name: &str) -> TenantId {
    let now = now(connection).await;
    let (id, name) = (TenantId::new(now), TenantName::parse(name).expect("a name"));
    tenants::insert(connection, id, &name, now).await.expect("a new name");
    id
}

/// The database's time, which everything here goes by.
pub async fn now(connection: &mut PgConnection) -> OffsetDateTime {
    nodes::database_time(connection).await.expect("asked")
}
