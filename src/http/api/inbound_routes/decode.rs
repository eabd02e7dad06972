//! From the JSON of an inbound route to what its owner wishes.

use serde_json::Value;

use crate::account::inbound_routes::{NewInboundRoute, RouteChange};
use crate::domain::inbound::{Action, DEFAULT_PRIORITY, Pattern};
use crate::domain::webhook::{MAX_URL, WebhookSecret};
use crate::http::App;
use crate::http::error::Problem;
use crate::http::fields::Fields;
use crate::mail::EmailAddress;

use super::super::inbound_filters;

/// Reads a new route.
pub async fn new(app: &App, value: Value) -> Result<NewInboundRoute, Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    for name in ["match", "action"] {
        if !fields.is_given(name) {
            fields.wrong(name, "required", "it is needed");
        }
    }
    let change = read(app, &mut fields).await;
    let errors = fields.finish();
    match (change.pattern, change.action) {
        (Some(pattern), Some(action)) if errors.is_empty() => Ok(NewInboundRoute {
            pattern,
            priority: change.priority.unwrap_or(DEFAULT_PRIORITY),
            action,
            filters: change.filters.unwrap_or_default(),
        }),
        _ => Err(Problem::invalid(errors)),
    }
}

/// Reads a change.
pub async fn change(app: &App, value: Value) -> Result<RouteChange, Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let change = read(app, &mut fields).await;
    let errors = fields.finish();
    if errors.is_empty() { Ok(change) } else { Err(Problem::invalid(errors)) }
}

async fn read(app: &App, fields: &mut Fields) -> RouteChange {
    let pattern = fields.parsed("match", "invalid_match", Pattern::parse);
    let priority = fields.number("priority", 0..=10_000).and_then(|priority| i32::try_from(priority).ok());
    let action = action(app, fields).await;
    RouteChange { pattern, priority, action, filters: inbound_filters::decode(fields, "filters") }
}

async fn action(app: &App, fields: &mut Fields) -> Option<Action> {
    let Some(name) = fields.text("action") else {
        // Without its action, a URL or an address has no meaning.
        for given in ["url", "to"] {
            if fields.take(given).is_some() {
                fields.wrong(
                    given,
                    "needs_action",
                    format!("{given} is given with the action it belongs to"),
                );
            }
        }
        return None;
    };
    let action = match name.as_str() {
        "webhook" => webhook(app, fields).await,
        "forward" => forward(fields),
        "store" => Some(Action::Store),
        "reject" => Some(Action::Reject),
        _ => {
            fields.wrong("action", "invalid_action", "action is webhook, store, forward or reject");
            None
        }
    };
    for (given, of) in [("url", "webhook"), ("to", "forward")] {
        if name != of && fields.take(given).is_some() {
            fields.wrong(given, "wrong_action", format!("{given} belongs to the action {of}"));
        }
    }
    action
}

fn forward(fields: &mut Fields) -> Option<Action> {
    let text = fields.required_text("to")?;
    match EmailAddress::parse(&text) {
        Ok(to) => Some(Action::Forward(to)),
        Err(error) => {
            fields.wrong("to", "invalid_address", error.to_string());
            None
        }
    }
}

async fn webhook(app: &App, fields: &mut Fields) -> Option<Action> {
    let url = fields.required_text("url")?;
    if url.len() > MAX_URL {
        fields.wrong("url", "too_long", format!("at most {MAX_URL} octets are allowed"));
        return None;
    }
    if let Err(error) = app.outbound.check(&url).await {
        fields.wrong("url", "invalid_url", error.to_string());
        return None;
    }
    match WebhookSecret::generate() {
        Ok(secret) => Some(Action::Webhook { url, secret }),
        Err(error) => {
            fields.wrong("url", "no_secret", error.to_string());
            None
        }
    }
}
