//! `/ui/messages/{id}`: one message, and what happened to it, told delivery by delivery.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::Value;

use crate::delivery::control::{self, Canceled};
use crate::domain::delivery::{DeliveryStatus, Role};
use crate::domain::explain::{Mood, Told};
use crate::domain::id::MessageId;
use crate::domain::user::Act;
use crate::http::App;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::mail::{EmailAddress, Mailbox};
use crate::store::events::{self, EventFilter};
use crate::store::messages::{self, DeliveryRow, MessageRow};
use crate::store::suppressions;
use crate::store::{PgConnection, StoreError};
use crate::submission::resend::{self, Resent};

use super::content::{self, Content};
use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, shown};
use super::messages::address;
use super::show::{self, At, Badge, Tone};
use super::story::{self, Line};

const WHAT: &str = "message";
/// Deliveries that are told of at first, and at most.
const FEW: usize = 25;
const MOST: usize = 1000;
/// Events that are read for their stories.
const EVENTS: i64 = 5000;

#[derive(Template)]
#[template(path = "ui/message.html")]
struct OneMessage {
    frame: Frame,
    id: String,
    subject: String,
    facts: Vec<(&'static str, String)>,
    accepted: At,
    send_at: Option<At>,
    tags: Vec<String>,
    metadata: Vec<(String, String)>,
    sandbox: bool,
    summary: Vec<(Badge, String)>,
    stories: Vec<Story>,
    /// Deliveries that are not told of here.
    untold: usize,
    is_moving: bool,
    sender: Option<Sender>,
    content: Content,
}

#[derive(Template)]
#[template(path = "ui/message_stories.html")]
struct Stories {
    frame: Frame,
    id: String,
    summary: Vec<(Badge, String)>,
    stories: Vec<Story>,
    untold: usize,
    is_moving: bool,
}

/// A delivery and its story.
struct Story {
    id: String,
    recipient: String,
    role: &'static str,
    badge: Badge,
    verdict: Told,
    next: Option<At>,
    lines: Vec<Line>,
    suppressed: bool,
    is_open: bool,
}

/// How well the sender's domain is known.
struct Sender {
    domain: String,
    path: String,
    badge: Badge,
    records: Vec<(&'static str, Badge)>,
}

/// What is read of a message at one moment.
struct Read {
    row: MessageRow,
    summary: Vec<(Badge, String)>,
    stories: Vec<Story>,
    untold: usize,
    is_moving: bool,
}

async fn read(app: &App, page: &Page, id: MessageId, form: &Form) -> Result<Read, Failed> {
    let tenant = page.tenant();
    // One moment for all: else an attempt could be there whose delivery is still shown as being sent.
    let mut connection = app.database.snapshot().await?;
    let row = messages::find(&mut connection, tenant, id).await?.ok_or_else(|| Problem::not_found(WHAT))?;
    let deliveries = messages::deliveries(&mut connection, tenant, id).await?;
    let attempts = messages::attempts(&mut connection, tenant, id).await?;
    let filter = EventFilter { message: Some(id), ..EventFilter::default() };
    let events = events::list(&mut connection, tenant, &filter, None, EVENTS).await?;
    let most = if form.on("all") { MOST } else { FEW };
    let now = app.clock.now();
    let mut told: Vec<&DeliveryRow> = deliveries.iter().collect();
    // What needs a look comes first.
    told.sort_by_key(|delivery| urgency(delivery.status));
    told.truncate(most);
    let mut stories = Vec::with_capacity(told.len());
    for delivery in told {
        let suppressed = is_suppressed(&mut connection, page, delivery, &row.stream).await?;
        stories.push(Story {
            id: delivery.id.to_string(),
            recipient: delivery.recipient.clone(),
            role: Role::from_number(delivery.role).as_str(),
            badge: show::status(delivery.status),
            verdict: story::verdict(delivery, &attempts, suppressed, now),
            next: delivery.next_attempt_at.map(show::ago),
            lines: story::lines(delivery, &attempts, &events),
            suppressed,
            is_open: deliveries.len() <= 3,
        });
    }
    drop(connection);
    let waits = |status| matches!(status, DeliveryStatus::Queued | DeliveryStatus::Sending);
    Ok(Read {
        row,
        summary: summary(&deliveries),
        untold: deliveries.len().saturating_sub(stories.len()),
        is_moving: deliveries.iter().any(|delivery| waits(delivery.status)),
        stories,
    })
}

fn urgency(status: DeliveryStatus) -> u8 {
    match show::status(status).1 {
        Tone::Bad => 0,
        Tone::Warn => 1,
        Tone::Info => 2,
        Tone::Good | Tone::Plain => 3,
    }
}

fn summary(deliveries: &[DeliveryRow]) -> Vec<(Badge, String)> {
    let counts = DeliveryStatus::ALL.into_iter().map(|status| {
        let count = deliveries.iter().filter(|delivery| delivery.status == status).count();
        (show::status(status), count)
    });
    let counts = counts.filter(|(_, count)| *count > 0);
    counts.map(|(badge, count)| (badge, show::count(i64::try_from(count).unwrap_or(i64::MAX)))).collect()
}

async fn is_suppressed(
    connection: &mut PgConnection,
    page: &Page,
    delivery: &DeliveryRow,
    stream: &str,
) -> Result<bool, StoreError> {
    let ended = matches!(show::status(delivery.status).1, Tone::Bad | Tone::Warn | Tone::Good);
    let Some(address) = EmailAddress::parse(&delivery.recipient).ok().filter(|_| ended) else {
        return Ok(false);
    };
    for stream in ["", stream] {
        if suppressions::of_address(connection, page.tenant(), &address.key(), stream).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The page.
pub async fn one(
    State(app): State<App>,
    page: Page,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let id: MessageId = extract::id(&id, WHAT)?;
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let read = read(&app, &page, id, &form).await?;
    let content = content::read(&app, &page, id, &form).await?;
    let sender = sender(&app, &page, &read.row).await?;
    let row = &read.row;
    let title = if row.subject.is_empty() { "(no subject)".to_owned() } else { row.subject.clone() };
    shown(&OneMessage {
        frame: page.frame(title.clone(), "messages"),
        id: id.to_string(),
        subject: title,
        facts: facts(row),
        accepted: show::clock(id.born()),
        send_at: row.send_at.map(show::clock),
        tags: row.tags.clone(),
        metadata: metadata(&row.metadata),
        sandbox: row.sandbox,
        summary: read.summary,
        stories: read.stories,
        untold: read.untold,
        is_moving: read.is_moving,
        sender,
        content,
    })
}

/// The part of the page that changes by itself.
pub async fn stories(
    State(app): State<App>,
    page: Page,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let id: MessageId = extract::id(&id, WHAT)?;
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let Read { summary, stories, untold, is_moving, .. } = read(&app, &page, id, &form).await?;
    let frame = page.frame("", "messages");
    shown(&Stories { frame, id: id.to_string(), summary, stories, untold, is_moving })
}

fn facts(row: &MessageRow) -> Vec<(&'static str, String)> {
    let list = |name: &str| {
        let value = row.addresses.get(name);
        let many = value.and_then(Value::as_array).into_iter().flatten().filter_map(mailbox);
        let one = value.into_iter().filter(|value| !value.is_array()).filter_map(mailbox);
        let all: Vec<String> = many.chain(one).collect();
        let shown = all.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        if all.len() > 5 { format!("{shown} and {} more", all.len() - 5) } else { shown }
    };
    let facts = [
        ("From", list("from")),
        ("To", list("to")),
        ("Cc", list("cc")),
        ("Bcc", list("bcc")),
        ("Reply to", list("reply_to")),
        ("Stream", row.stream.clone()),
        ("Size", show::octets(u64::try_from(row.size_bytes).unwrap_or_default())),
        ("Message-ID", row.message_id.clone()),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn mailbox(value: &Value) -> Option<String> {
    let address = address(value)?;
    let name = value.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    Some(name.map_or_else(|| address.clone(), |name| format!("{name} <{address}>")))
}

fn metadata(value: &Value) -> Vec<(String, String)> {
    let members = value.as_object().into_iter().flatten();
    members
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect()
}

/// What the sender's domain proves; `None`: the tenant has no domain of that name.
async fn sender(app: &App, page: &Page, row: &MessageRow) -> Result<Option<Sender>, Failed> {
    let from = row.addresses.get("from").and_then(address).and_then(|text| Mailbox::parse(&text).ok());
    let Some(from) = from else { return Ok(None) };
    let domain = from.address.domain();
    let views = app.domains.list(page.tenant(), None, 100).await?;
    let holds =
        |name: &str| domain.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let view =
        views.into_iter().filter(|view| holds(&view.domain.name)).max_by_key(|view| view.domain.name.len());
    Ok(view.map(|view| Sender {
        path: format!("/ui/domains/{}", view.domain.id),
        badge: super::domains::state(&view.domain),
        records: super::domains::summary(&view),
        domain: view.domain.name,
    }))
}

fn path(id: MessageId) -> String {
    format!("/ui/messages/{id}")
}

/// Takes a message back, as far as it is not on the wire.
pub async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Send)?;
    let id: MessageId = extract::id(&id, WHAT)?;
    match control::cancel(&app.database, &posted.page.actor(), posted.page.tenant(), id, app.clock.now())
        .await?
    {
        Canceled::NotFound => Err(Problem::not_found(WHAT).into()),
        Canceled::TooLate => Ok(done(&path(id), "too-late")),
        Canceled::Now { .. } => Ok(done(&path(id), "canceled")),
    }
}

/// Sends a message again, and leads to the new one.
pub async fn resend(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Send)?;
    let id: MessageId = extract::id(&id, WHAT)?;
    match resend::resend(&app.accept, &posted.page.caller(), id).await? {
        Resent::NotFound => Err(Problem::not_found(WHAT).into()),
        Resent::NoContent => Ok(done(&path(id), "no-content")),
        Resent::Answer(mut answer) => {
            let accepted = answer.items.pop().ok_or_else(|| Problem::new(Kind::Internal, "no answer"))?;
            Ok(done(&path(accepted?.id), "sent"))
        }
    }
}

/// Puts a recipient on the suppression list.
pub async fn suppress(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: MessageId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let deliveries = messages::deliveries(&mut connection, posted.page.tenant(), id).await?;
    drop(connection);
    let wanted =
        deliveries.into_iter().find(|delivery| delivery.id.to_string() == posted.form.text("delivery"));
    let delivery = wanted.ok_or_else(|| Problem::not_found("delivery"))?;
    super::suppressions::suppress(&app, &posted.page, &delivery.recipient).await?;
    Ok(done(&path(id), "suppressed"))
}

impl Story {
    fn tone(&self) -> &'static str {
        match self.verdict.mood {
            Mood::Good => "ok",
            Mood::Waiting => "info",
            Mood::Bad => "bad",
            Mood::Neutral => "",
        }
    }
}
