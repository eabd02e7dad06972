//! Reading JSON objects field by field, with everything that is wrong named at once, each by its pointer
//! (RFC 6901). A field nobody reads is an error too: a misspelt `send_at` must not send at once.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::mail::EmailAddress;
use crate::submission::Violation;

/// One object being read.
#[derive(Debug)]
pub struct Fields {
    members: Map<String, Value>,
    base: String,
    errors: Vec<Violation>,
}

impl Fields {
    /// Reads a value that must be an object, found at `base`.
    ///
    /// # Errors
    /// It is something else.
    pub fn of(value: Value, base: &str) -> Result<Fields, Violation> {
        match value {
            Value::Object(members) => Ok(Fields { members, base: base.to_owned(), errors: Vec::new() }),
            other => {
                let message = format!("an object is needed, not {}", kind(&other));
                Err(Violation::new(base, "wrong_type", message))
            }
        }
    }

    /// The pointer of a member.
    pub fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.base, name.replace('~', "~0").replace('/', "~1"))
    }

    /// Notes something wrong with a member.
    pub fn wrong(&mut self, name: &str, code: &str, message: impl Into<String>) {
        let pointer = self.pointer(name);
        self.errors.push(Violation::new(pointer, code, message));
    }

    /// Notes something wrong at a pointer of its own.
    pub fn wrong_at(&mut self, violation: Violation) {
        self.errors.push(violation);
    }

    /// Whether something wrong with a member, or within it, has been noted: what is wrong is not missing.
    pub fn is_wrong(&self, name: &str) -> bool {
        let pointer = self.pointer(name);
        let within = |found: &str| {
            found.strip_prefix(&pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.errors.iter().any(|error| within(&error.pointer))
    }

    /// Whether a member is given, be it null.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Whether a member is given, and not null.
    pub fn is_given(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// Takes a member; null is as good as nothing.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    /// A text, without NUL: the database has none.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) if text.contains('\0') => {
                self.wrong(name, "invalid_character", "it contains the character U+0000");
                None
            }
            Value::String(text) => Some(text),
            other => {
                self.wrong_type(name, "a string", &other);
                None
            }
        }
    }

    /// A text that must be there.
    pub fn required_text(&mut self, name: &str) -> Option<String> {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.members.remove(name);
            self.wrong(name, "required", "it is needed");
            return None;
        }
        self.text(name)
    }

    /// True or false.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(flag) => Some(flag),
            other => {
                self.wrong_type(name, "true or false", &other);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn number(&mut self, name: &str, bounds: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = self.take(name)?;
        let number = value.as_i64().filter(|number| bounds.contains(number));
        if number.is_none() {
            let message = format!("a whole number from {} to {} is needed", bounds.start(), bounds.end());
            self.wrong(name, "out_of_range", message);
        }
        number
    }

    /// A moment (RFC 3339).
    pub fn moment(&mut self, name: &str) -> Option<OffsetDateTime> {
        let text = self.text(name)?;
        match parse_moment(&text) {
            Some(moment) => Some(moment),
            None => {
                self.wrong(name, "invalid_time", "a time is written as 2026-11-24T10:00:00Z (RFC 3339)");
                None
            }
        }
    }

    /// A text that `parse` understands.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        code: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(name, code, error.to_string());
                None
            }
        }
    }

    /// A list of texts; a missing one is `None`.
    pub fn texts(&mut self, name: &str, limit: usize) -> Option<Vec<String>> {
        let list = self.list(name, limit)?;
        let mut texts = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            match value {
                Value::String(text) if !text.contains('\0') => texts.push(text),
                _ => {
                    let pointer = format!("{}/{index}", self.pointer(name));
                    self.wrong_at(Violation::new(pointer, "wrong_type", "a string is needed"));
                }
            }
        }
        Some(texts)
    }

    /// A list of anything; a missing one is `None`.
    pub fn list(&mut self, name: &str, limit: usize) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(list) if list.len() > limit => {
                self.wrong(
                    name,
                    "too_many",
                    format!("at most {limit} are allowed, these are {}", list.len()),
                );
                None
            }
            Value::Array(list) => Some(list),
            other => {
                self.wrong_type(name, "a list", &other);
                None
            }
        }
    }

    /// An object, to be read with a reader of its own; a missing one is `None`.
    pub fn object(&mut self, name: &str) -> Option<Fields> {
        let value = self.take(name)?;
        match Fields::of(value, &self.pointer(name)) {
            Ok(fields) => Some(fields),
            Err(violation) => {
                self.wrong_at(violation);
                None
            }
        }
    }

    /// Takes over what another reader found.
    pub fn absorb(&mut self, other: Fields) {
        self.errors.extend(other.finish());
    }

    /// The names that nobody has taken yet.
    pub fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.members)
    }

    /// Everything that was wrong; what nobody read is wrong too.
    pub fn finish(mut self) -> Vec<Violation> {
        for name in std::mem::take(&mut self.members).keys() {
            self.wrong(name, "unknown_field", "there is no field of this name");
        }
        self.errors
    }

    fn wrong_type(&mut self, name: &str, wanted: &str, got: &Value) {
        self.wrong(name, "wrong_type", format!("{wanted} is needed, not {}", kind(got)));
    }
}

/// A moment as the API takes it.
pub fn parse_moment(text: &str) -> Option<OffsetDateTime> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?.to_offset(time::UtcOffset::UTC);
    (1970..=9000).contains(&moment.year()).then_some(moment)
}

/// A domain as the API takes it, in its A-labels.
pub fn parse_domain(text: &str) -> Option<String> {
    EmailAddress::parse(&format!("x@{text}")).ok().map(|address| address.domain().to_owned())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let body = json!({"name": 7, "age": 200, "sned_at": "x", "when": "soon", "a/b": 1, "ok": null});
        let mut fields = Fields::of(body, "").expect("an object");
        assert_eq!(fields.text("name"), None);
        assert_eq!(fields.number("age", 0..=150), None);
        assert_eq!(fields.moment("when"), None);
        assert_eq!(fields.required_text("ok"), None);

        assert!(fields.is_wrong("name") && fields.is_wrong("ok") && !fields.is_wrong("nam"));

        let mut found: Vec<_> = fields.finish().into_iter().map(|v| (v.pointer, v.code)).collect();
        found.sort();
        let expected = [
            ("/age", "out_of_range"),
            ("/a~1b", "unknown_field"),
            ("/name", "wrong_type"),
            ("/ok", "required"),
            ("/sned_at", "unknown_field"),
            ("/when", "invalid_time"),
        ];
        assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    }

    #[test]
    fn moments_are_rfc_3339_and_bounded() {
        assert!(parse_moment("2026-11-24T10:00:00.5+02:00").is_some());
        for bad in [
            "2026-11-24",
            "10:00",
            "2026-13-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "1900-01-01T00:00:00Z",
            "",
        ] {
            assert_eq!(parse_moment(bad), None, "{bad}");
        }
    }
}
