//! From the JSON of a webhook to what its owner wishes.

use serde_json::Value;

use crate::account::webhooks::{State, Wishes};
use crate::domain::account_notice::Kind;
use crate::domain::submission::{MAX_TAG_LEN, StreamName};
use crate::domain::webhook::{MAX_BATCH, MAX_FILTER, MAX_URL, WebhookSecret, is_type};
use crate::domain::webhook_format::Format;
use crate::http::App;
use crate::http::error::Problem;
use crate::http::fields::Fields;
use crate::outbound::{BadUrl, Outbound};
use crate::submission::Violation;

const MAX_DESCRIPTION: usize = 200;

/// What is to be changed. Of what can be null, `Some(None)` is null.
#[derive(Debug, Default)]
pub struct Change {
    url: Option<String>,
    description: Option<String>,
    types: Option<Option<Vec<String>>>,
    streams: Option<Option<Vec<String>>>,
    tags: Option<Option<Vec<String>>>,
    batch_size: Option<i32>,
    state: Option<State>,
}

impl Change {
    /// Makes the change.
    pub fn apply(self, before: Wishes) -> Wishes {
        Wishes {
            url: self.url.unwrap_or(before.url),
            description: self.description.unwrap_or(before.description),
            format: before.format,
            types: self.types.unwrap_or(before.types),
            streams: self.streams.unwrap_or(before.streams),
            tags: self.tags.unwrap_or(before.tags),
            // Who takes no batches gets none.
            batch_size: self
                .batch_size
                .filter(|_| before.format.takes_batches())
                .unwrap_or(before.batch_size),
            state: self.state.unwrap_or(before.state),
        }
    }
}

/// Reads a new webhook, and the secret its owner wants for it.
pub async fn new(app: &App, value: Value) -> Result<(Wishes, Option<WebhookSecret>), Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let secret = fields.parsed("secret", "invalid_secret", WebhookSecret::parse);
    let format = fields.parsed("format", "invalid_format", str::parse).unwrap_or(Format::Postroad);
    let given = fields.has("url");
    let change = read(&app.outbound, &mut fields).await;
    if !given {
        fields.wrong("url", "required", "it is needed");
    }
    if change.batch_size.is_some_and(|size| size > 1) && !format.takes_batches() {
        let message = format!("{} posts each event alone", format.as_str());
        fields.wrong("batch_size", "not_with_format", message);
    }
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let nothing = Wishes {
        url: String::new(),
        description: String::new(),
        format,
        types: None,
        streams: None,
        tags: None,
        batch_size: 1,
        state: State::Enabled,
    };
    Ok((change.apply(nothing), secret))
}

/// Reads a change.
pub async fn change(app: &App, value: Value) -> Result<Change, Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let change = read(&app.outbound, &mut fields).await;
    let errors = fields.finish();
    if errors.is_empty() { Ok(change) } else { Err(Problem::invalid(errors)) }
}

async fn read(outbound: &Outbound, fields: &mut Fields) -> Change {
    let description = fields.text("description");
    if description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
        fields.wrong("description", "too_long", format!("at most {MAX_DESCRIPTION} characters"));
    }
    let notices = Kind::ALL.map(Kind::as_str);
    let types = list(fields, "types", "invalid_type", |text| {
        let message =
            || format!("{text:?} is no type of event, nor one of the notices {}", notices.join(", "));
        is_type(text).then_some(()).ok_or_else(message)
    });
    let streams = list(fields, "streams", "invalid_stream", |text| {
        StreamName::parse(text).map(|_| ()).map_err(|error| error.to_string())
    });
    let tags = list(fields, "tags", "invalid_tag", |text| {
        let fits = (1..=MAX_TAG_LEN).contains(&text.chars().count());
        fits.then_some(()).ok_or_else(|| format!("a tag has 1 to {MAX_TAG_LEN} characters"))
    });
    let batch_size = fields.number("batch_size", 1..=MAX_BATCH).and_then(|size| i32::try_from(size).ok());
    let state = fields.flag("enabled").map(|enabled| if enabled { State::Enabled } else { State::Disabled });
    Change { url: url(outbound, fields).await, description, types, streams, tags, batch_size, state }
}

async fn url(outbound: &Outbound, fields: &mut Fields) -> Option<String> {
    let text = fields.text("url")?;
    if text.len() > MAX_URL {
        fields.wrong("url", "too_long", format!("a URL has at most {MAX_URL} octets"));
        return None;
    }
    match outbound.check(&text).await {
        Ok(url) => Some(url.to_string()),
        Err(error) => {
            let code = match error {
                BadUrl::Form | BadUrl::Userinfo => "invalid_url",
                BadUrl::Forbidden(_) => "forbidden_url",
            };
            fields.wrong("url", code, error.to_string());
            None
        }
    }
}

/// A list that may be null, which means all; an empty one would mean nothing, and is refused.
fn list(
    fields: &mut Fields,
    name: &str,
    code: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Option<Option<Vec<String>>> {
    if !fields.has(name) {
        return None;
    }
    let Some(mut texts) = fields.texts(name, MAX_FILTER) else { return Some(None) };
    if texts.is_empty() && !fields.is_wrong(name) {
        fields.wrong(name, "empty", "an empty list would let nothing through; null means all");
    }
    for (index, text) in texts.iter().enumerate() {
        if let Err(message) = check(text) {
            let pointer = format!("{}/{index}", fields.pointer(name));
            fields.wrong_at(Violation::new(pointer, code, message));
        }
    }
    texts.sort();
    texts.dedup();
    Some(Some(texts))
}
