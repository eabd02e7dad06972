//! `/ui/`: how things are: figures over time, the queue, what needs attention, and the newest mail. `/ui/live` tells
//! it what happens while it is looked at.

use std::collections::HashMap;
use std::convert::Infallible;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::response::sse::{Event as ServerEvent, KeepAlive, Sse};
use futures_util::Stream;
use serde_json::json;
use time::Duration;

use crate::domain::attention::{self, Facts, Matter, Urgency};
use crate::domain::event::EventType;
use crate::domain::id::MessageId;
use crate::domain::identity::DomainStatus;
use crate::domain::stats::{Cell, Counter, Dimension, Grain};
use crate::http::App;
use crate::reporting::figures::{self, Figures, Question};
use crate::store::messages::{self, MessageFilter, MessageRow};
use crate::store::queue::{self, MOST_COUNTED, OwnQueue};
use crate::store::{keys, pauses, tenants, webhooks};
use crate::submission::SenderPolicy;

use super::form::Form;
use super::frame::{Failed, Frame, Page, shown};
use super::messages::{Row, row};
use super::show::{self, At};

/// Messages that are shown.
const NEWEST: usize = 8;
/// Domains, webhooks, keys and pauses that are looked at.
const LOOK: i64 = 100;

#[derive(Template)]
#[template(path = "ui/overview.html")]
struct Overview {
    frame: Frame,
    spans: Vec<(&'static str, &'static str, bool)>,
    tiles: Vec<Tile>,
    chart: String,
    rows: Vec<(At, Vec<String>)>,
    as_of: At,
    queue: Queue,
    matters: Vec<Matter>,
    newest: Vec<Row>,
    /// Nothing has ever been sent.
    is_new: bool,
    url: String,
}

/// One figure.
struct Tile {
    name: &'static str,
    label: &'static str,
    value: i64,
    shown: String,
    note: String,
}

struct Queue {
    depth: String,
    sending: String,
    due: String,
    again: String,
    due_since: Option<At>,
    median: String,
    slow: String,
}

/// How long a time is shown, and in what steps.
struct Span {
    code: &'static str,
    label: &'static str,
    length: Duration,
    grain: Grain,
}

const SPANS: [Span; 3] = [
    Span { code: "day", label: "24 hours", length: Duration::hours(23), grain: Grain::Hour },
    Span { code: "week", label: "7 days", length: Duration::days(6), grain: Grain::Day },
    Span { code: "month", label: "30 days", length: Duration::days(29), grain: Grain::Day },
];

/// The lines of the chart.
const LINES: [Counter; 4] = [Counter::Accepted, Counter::Delivered, Counter::Deferred, Counter::Bounced];

/// The page.
pub async fn overview(
    State(app): State<App>,
    page: Page,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let span = SPANS.iter().find(|span| span.code == form.text("span")).unwrap_or(&SPANS[0]);
    let now = app.clock.now();
    let question = Question {
        from: now - span.length,
        to: now,
        grain: span.grain,
        dimension: Dimension::All,
        values: Vec::new(),
        limit: 1,
    };
    let figures = figures::answer(&app.database, page.tenant(), &question, now).await?;
    let total = figures.totals.first().map(|(_, cell)| cell.clone()).unwrap_or_default();
    let (queue, newest) = now_in_queue(&app, &page).await?;
    let facts = facts(&app, &page, &total, &queue).await?;
    let series = Series::of(&question, &figures);
    shown(&Overview {
        frame: page.frame("Overview", "overview"),
        spans: SPANS.iter().map(|one| (one.code, one.label, one.code == span.code)).collect(),
        tiles: tiles(&total),
        chart: series.chart(&LINES),
        rows: series.rows(&LINES),
        as_of: show::clock(figures.as_of),
        queue: shown_queue(&queue, &total),
        matters: attention::matters(&facts, now),
        is_new: newest.is_empty(),
        newest,
        url: app.site.origin().to_owned(),
    })
}

async fn now_in_queue(app: &App, page: &Page) -> Result<(OwnQueue, Vec<Row>), Failed> {
    let (tenant, now) = (page.tenant(), app.clock.now());
    let mut connection = app.database.serve().acquire().await?;
    let queue = queue::of_tenant(&mut connection, tenant, now).await?;
    let found = messages::list(&mut connection, tenant, &MessageFilter::default(), None, NEWEST).await?;
    let ids: Vec<MessageId> = found.messages.iter().map(MessageRow::id).collect();
    let counts = messages::status_counts(&mut connection, tenant, &ids).await?;
    Ok((queue, found.messages.iter().map(|message| row(message, &counts)).collect()))
}

fn tiles(total: &Cell) -> Vec<Tile> {
    let count = |counter| total.counts.get(counter);
    let ended = count(Counter::Delivered) + count(Counter::Bounced) + count(Counter::Expired);
    let delivered = count(Counter::Delivered);
    let tile = |counter: Counter, name, label, whole: Option<(i64, &str)>| {
        let value = count(counter);
        let note = whole.map(|(whole, of)| format!("{} {of}", show::share(value, whole))).unwrap_or_default();
        Tile { name, label, value, shown: show::count(value), note }
    };
    vec![
        tile(Counter::Accepted, "accepted", "Sent", None),
        tile(Counter::Delivered, "delivered", "Delivered", Some((ended, "of what ended"))),
        tile(Counter::Bounced, "bounced", "Bounced", Some((ended, "of what ended"))),
        tile(Counter::Complained, "complained", "Complained", Some((delivered, "of delivered"))),
        tile(Counter::UniqueOpened, "opened", "Opened", Some((delivered, "of delivered"))),
        tile(Counter::UniqueClicked, "clicked", "Clicked", Some((delivered, "of delivered"))),
    ]
}

fn shown_queue(queue: &OwnQueue, total: &Cell) -> Queue {
    let counted = |number: i64| {
        if number > MOST_COUNTED {
            format!("more than {}", show::count(MOST_COUNTED))
        } else {
            show::count(number)
        }
    };
    let within = |share| total.times.percentile(share).map_or_else(|| "–".to_owned(), show::lasting);
    Queue {
        depth: counted(queue.depth),
        sending: counted(queue.sending),
        due: counted(queue.due),
        again: counted(queue.again),
        due_since: queue.due_since.map(show::ago),
        median: within(0.5),
        slow: within(0.99),
    }
}

/// What is looked at to say what needs attention.
async fn facts(app: &App, page: &Page, total: &Cell, queue: &OwnQueue) -> Result<Facts, Failed> {
    let tenant = page.tenant();
    let domains = app.domains.list(tenant, None, LOOK).await?;
    let mut connection = app.database.serve().acquire().await?;
    let webhooks = webhooks::list(&mut connection, tenant, None, LOOK).await?;
    let keys = keys::list(&mut connection, tenant, None, LOOK).await?;
    let pauses = pauses::list(&mut connection, Some(tenant), None, LOOK).await?;
    let own = tenants::find(&mut connection, tenant).await?;
    let of_status = |wanted: DomainStatus| {
        let found = domains.iter().filter(|view| view.domain.status == wanted);
        found.map(|view| (view.domain.id.to_string(), view.domain.name.clone())).collect::<Vec<_>>()
    };
    let hooks = |wanted: fn(&webhooks::StoredWebhook) -> bool| {
        let found = webhooks.iter().filter(|webhook| wanted(webhook));
        found.map(|webhook| (webhook.id.to_string(), webhook.url.clone())).collect::<Vec<_>>()
    };
    let expiring = keys.iter().filter(|key| key.revoked_at.is_none());
    let needs_domain = app.accept.limits.sender_policy == SenderPolicy::Verified;
    let count = |counter| total.counts.get(counter);
    Ok(Facts {
        delivered: count(Counter::Delivered),
        bounced: count(Counter::Bounced),
        expired: count(Counter::Expired),
        complained: count(Counter::Complained),
        due_since: queue.due_since,
        failing_domains: of_status(DomainStatus::Failing),
        pending_domains: of_status(DomainStatus::Pending),
        disabled_webhooks: hooks(|webhook| {
            webhook.disabled.as_ref().is_some_and(|(_, because)| because != "manual")
        }),
        failing_webhooks: hooks(|webhook| webhook.disabled.is_none() && webhook.failing_since.is_some()),
        expiring_keys: expiring.filter_map(|key| Some((key.name.clone(), key.limits.expires_at?))).collect(),
        pauses: pauses.len(),
        is_suspended: own.is_some_and(|own| own.suspended_at.is_some()),
        is_captured: app.installation.is_captured,
        lacks_domain: needs_domain && domains.is_empty(),
    })
}

/// Figures by interval, without gaps.
pub struct Series {
    starts: Vec<time::OffsetDateTime>,
    cells: HashMap<time::OffsetDateTime, Cell>,
}

impl Series {
    /// Of the figures of one group.
    pub fn of(question: &Question, figures: &Figures) -> Series {
        let mut starts = Vec::new();
        let mut start = question.first();
        while start < question.end() {
            starts.push(start);
            start += question.grain.length();
        }
        let mut cells: HashMap<_, Cell> = HashMap::new();
        for (start, _, cell) in &figures.rows {
            cells.entry(*start).or_default().merge(cell);
        }
        Series { starts, cells }
    }

    fn counts(&self, counter: Counter) -> Vec<i64> {
        let of = |start| self.cells.get(start).map_or(0, |cell| cell.counts.get(counter));
        self.starts.iter().map(of).collect()
    }

    /// What the browser draws.
    pub fn chart(&self, lines: &[Counter]) -> String {
        let times: Vec<i64> = self.starts.iter().map(|start| start.unix_timestamp()).collect();
        let series = lines.iter().map(|counter| {
            json!({ "key": counter.as_str(), "label": counter.as_str(), "values": self.counts(*counter) })
        });
        json!({ "times": times, "series": series.collect::<Vec<_>>() }).to_string()
    }

    /// The same as a table.
    pub fn rows(&self, lines: &[Counter]) -> Vec<(At, Vec<String>)> {
        let columns: Vec<Vec<i64>> = lines.iter().map(|counter| self.counts(*counter)).collect();
        let row = |(place, start): (usize, &time::OffsetDateTime)| {
            (show::clock(*start), columns.iter().map(|column| show::count(column[place])).collect())
        };
        self.starts.iter().enumerate().map(row).collect()
    }
}

/// What happens, as it happens: how much of what, since the page was made.
pub async fn live(
    State(app): State<App>,
    page: Page,
) -> Result<Sse<impl Stream<Item = Result<ServerEvent, Infallible>>>, Failed> {
    let watch = app.live.watch(&app.database, page.tenant(), None).await?;
    let stopping = app.stopping.clone();
    let events = futures_util::stream::unfold((watch, stopping), |(mut watch, stopping)| async {
        loop {
            let next = tokio::select! {
                () = stopping.cancelled() => return None,
                next = watch.next() => next,
            };
            let followed = next.ok().flatten()?;
            if let Some(name) = counted(followed.event.kind, &followed.event.data) {
                let event = ServerEvent::default().event("count").data(json!({ name: 1 }).to_string());
                return Some((Ok(event), (watch, stopping)));
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// The figure that an event adds to; `None`: to none that is shown.
fn counted(kind: EventType, data: &serde_json::Value) -> Option<&'static str> {
    let is = |name: &str| data.get(name) == Some(&serde_json::Value::Bool(true));
    match kind {
        EventType::Opened | EventType::Clicked if is("machine") || !is("first") => None,
        EventType::Delivered if is("sandbox") => None,
        EventType::Accepted
        | EventType::Delivered
        | EventType::Deferred
        | EventType::Bounced
        | EventType::Complained
        | EventType::Opened
        | EventType::Clicked => Some(kind.as_str()),
        _ => None,
    }
}

fn dot(matter: &Matter) -> &'static str {
    match matter.urgency {
        Urgency::Now => "bad",
        Urgency::Soon => "warn",
        Urgency::Note => "info",
    }
}
