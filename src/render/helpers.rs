//! The functions that templates may call, besides Handlebars' own: defaults, letters, numbers, dates, plurals.
//!
//! Invariant: each is a pure function of its arguments. A missing argument is a missing variable, but for `default`.
//! A name that is given as a variable, and called without arguments, is that variable.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, RenderContext, RenderError, RenderErrorReason, ScopedJson,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use time::format_description::parse_strftime_borrowed;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};

use super::limits::MAX_OUTPUT;
use super::missing::Watch;

/// Handlebars' own that templates may call.
const BUILT_IN: [&str; 16] = [
    "if", "unless", "each", "with", "lookup", "raw", "eq", "ne", "gt", "gte", "lt", "lte", "and", "or",
    "not", "len",
];

/// Ours, in alphabetical order.
const OURS: [(&str, Function); 12] = [
    ("capitalize", |given| Ok(capitalized(&given.text(0)?).into())),
    ("concat", concat),
    ("currency", |given| number(given, 2)),
    ("date", date),
    ("default", default),
    ("join", join),
    ("lowercase", |given| Ok(given.text(0)?.to_lowercase().into())),
    ("number", |given| number(given, 0)),
    ("plural", plural),
    ("truncate", truncate),
    ("uppercase", |given| Ok(given.text(0)?.to_uppercase().into())),
    ("urlencode", |given| Ok(utf8_percent_encode(&given.text(0)?, NON_ALPHANUMERIC).to_string().into())),
];

type Function = fn(&Given<'_, '_>) -> Result<Value, String>;

/// Whether a template may call this.
pub fn is_known(name: &str) -> bool {
    BUILT_IN.contains(&name) || OURS.iter().any(|(known, _)| *known == name)
}

/// Adds ours to a registry.
pub fn register(registry: &mut Handlebars<'static>, watch: &Watch) {
    for (name, function) in OURS {
        registry.register_helper(name, Box::new(Ours { name, function, watch: watch.clone() }));
    }
}

/// One of ours.
struct Ours {
    name: &'static str,
    function: Function,
    watch: Watch,
}

/// The arguments of a call.
struct Given<'a, 'rc>(&'a Helper<'rc>);

impl Given<'_, '_> {
    fn value(&self, index: usize) -> Option<&Value> {
        self.0.param(index).map(|given| given.value())
    }

    /// An argument as text.
    fn text(&self, index: usize) -> Result<String, String> {
        match self.value(index) {
            Some(value) => plain(value),
            None => Err(format!("argument {} of {} is needed", index + 1, self.0.name())),
        }
    }

    /// A named argument as text.
    fn named(&self, name: &str) -> Result<Option<String>, String> {
        self.0.hash_get(name).map(|given| plain(given.value())).transpose()
    }

    fn count(&self) -> usize {
        self.0.params().len()
    }
}

/// A value as it is shown; lists and objects are not.
fn plain(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => {
            Err("a text or a number is needed, not a list or an object".to_owned())
        }
    }
}

impl HelperDef for Ours {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        ctx: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        if h.params().is_empty() && h.hash().is_empty() {
            return self.as_variable(ctx, rc);
        }
        if self.name != "default" {
            let missing: Vec<_> =
                h.params().iter().chain(h.hash().values()).filter(|it| it.is_value_missing()).collect();
            if !missing.is_empty() {
                missing
                    .iter()
                    .for_each(|it| self.watch.miss(it.relative_path().map_or("", String::as_str), rc));
                return Ok(ScopedJson::Derived(Value::Null));
            }
        }
        let value = (self.function)(&Given(h)).map_err(|text| other(&format!("{}: {text}", self.name)))?;
        Ok(ScopedJson::Derived(value))
    }
}

impl Ours {
    /// `{{date}}` is the variable of that name.
    fn as_variable<'reg: 'rc, 'rc>(
        &self,
        ctx: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let found = rc.evaluate(ctx, self.name)?;
        if found.is_missing() {
            self.watch.miss(self.name, rc);
            return Ok(ScopedJson::Derived(Value::Null));
        }
        Ok(found)
    }
}

fn other(text: &str) -> RenderError {
    RenderErrorReason::Other(text.to_owned()).into()
}

/// The first argument that is there and not empty.
fn default(given: &Given<'_, '_>) -> Result<Value, String> {
    let is_something = |value: &&Value| !matches!(value, Value::Null) && value.as_str() != Some("");
    let found = (0..given.count()).filter_map(|index| given.value(index)).find(is_something);
    Ok(found.cloned().unwrap_or_else(|| Value::String(String::new())))
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn concat(given: &Given<'_, '_>) -> Result<Value, String> {
    let mut joined = String::new();
    for index in 0..given.count() {
        joined.push_str(&given.text(index)?);
    }
    bounded(joined)
}

/// `{{join list ", " last=" and "}}`.
fn join(given: &Given<'_, '_>) -> Result<Value, String> {
    let Some(Value::Array(list)) = given.value(0) else { return Err("a list is needed".to_owned()) };
    let between = if given.count() > 1 { given.text(1)? } else { ", ".to_owned() };
    let last = given.named("last")?.unwrap_or_else(|| between.clone());
    let mut joined = String::new();
    for (index, value) in list.iter().enumerate() {
        if index > 0 {
            joined.push_str(if index + 1 == list.len() { &last } else { &between });
        }
        joined.push_str(&plain(value)?);
        if joined.len() > MAX_OUTPUT {
            break;
        }
    }
    bounded(joined)
}

fn bounded(text: String) -> Result<Value, String> {
    if text.len() > MAX_OUTPUT { Err("the text becomes too long".to_owned()) } else { Ok(text.into()) }
}

/// `{{truncate text 80 end="…"}}`: at most so many characters, the end's included.
fn truncate(given: &Given<'_, '_>) -> Result<Value, String> {
    let text = given.text(0)?;
    let most = given.value(1).and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok());
    let most = most.ok_or("the second argument is the most characters")?;
    if text.chars().count() <= most {
        return Ok(text.into());
    }
    let end = given.named("end")?.unwrap_or_else(|| "…".to_owned());
    let kept: String = text.chars().take(most.saturating_sub(end.chars().count())).collect();
    Ok(format!("{}{end}", kept.trim_end()).into())
}

/// `{{plural n "message" "messages"}}`; with three forms, the first is for nothing at all.
fn plural(given: &Given<'_, '_>) -> Result<Value, String> {
    let count = as_number(given.value(0))?;
    let forms: Vec<String> = (1..given.count()).map(|index| given.text(index)).collect::<Result<_, _>>()?;
    let form = match forms.as_slice() {
        [none, one, many] => {
            [none, one, many][usize::from(count != 0.0) + usize::from(count != 0.0 && count != 1.0)]
        }
        [one, many] => [one, many][usize::from(count != 1.0)],
        _ => return Err("two forms are needed, or three with one for nothing at all".to_owned()),
    };
    Ok(form.clone().into())
}

fn as_number(value: Option<&Value>) -> Result<f64, String> {
    let number = match value {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Array(list)) => Some(list.len() as f64),
        _ => None,
    };
    number.filter(|number| number.is_finite()).ok_or_else(|| "a number is needed".to_owned())
}

/// `{{number n decimals=2 thousands="." decimal=","}}`.
fn number(given: &Given<'_, '_>, usual_decimals: usize) -> Result<Value, String> {
    let number = as_number(given.value(0))?;
    let decimals = match given.named("decimals")? {
        Some(text) => text.parse().ok().filter(|decimals| *decimals <= 12).ok_or("decimals is 0 to 12")?,
        None => usual_decimals,
    };
    let thousands = given.named("thousands")?.unwrap_or_else(|| ",".to_owned());
    let point = given.named("decimal")?.unwrap_or_else(|| ".".to_owned());
    let written = format!("{:.decimals$}", number.abs());
    let (whole, fraction) = written.split_once('.').unwrap_or((&written, ""));
    let mut text = String::new();
    if number < 0.0 && written.bytes().any(|digit| matches!(digit, b'1'..=b'9')) {
        text.push('-');
    }
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push_str(&thousands);
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push_str(&point);
        text.push_str(fraction);
    }
    bounded(text)
}

/// `{{date when "%d.%m.%Y %H:%M" offset="+01:00"}}`: RFC 3339, a date alone, or seconds since 1970; strftime's
/// directives, names in English.
fn date(given: &Given<'_, '_>) -> Result<Value, String> {
    let moment = moment(given.value(0))?;
    let format = if given.count() > 1 { given.text(1)? } else { "%Y-%m-%d".to_owned() };
    let moment = match given.named("offset")? {
        Some(text) => moment.to_offset(offset(&text)?),
        None => moment,
    };
    let items =
        parse_strftime_borrowed(&format).map_err(|error| format!("the format {format:?}: {error}"))?;
    moment.format(&items).map(Value::String).map_err(|error| format!("the format {format:?}: {error}"))
}

fn moment(value: Option<&Value>) -> Result<OffsetDateTime, String> {
    let parsed = match value {
        Some(Value::Number(number)) => {
            number.as_i64().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        }
        Some(Value::String(text)) => OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| day(text)),
        _ => None,
    };
    parsed
        .ok_or_else(|| "a time is needed: 2026-11-24T10:00:00Z, 2026-11-24, or seconds since 1970".to_owned())
}

fn day(text: &str) -> Option<OffsetDateTime> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    Some(day.midnight().assume_utc())
}

fn offset(text: &str) -> Result<UtcOffset, String> {
    let format = format_description!("[offset_hour sign:mandatory]:[offset_minute]");
    UtcOffset::parse(text, format).map_err(|_| "an offset is written as +01:00".to_owned())
}
