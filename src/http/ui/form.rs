//! Forms: what was sent, what was wrong with it, and the fields that show both, so that an error keeps what was typed.

use std::collections::BTreeMap;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use crate::http::App;
use crate::http::error::Problem;
use crate::http::extract::media_type;

/// Octets of a form: a template's sources and what their encoding adds.
const MAX_FORM: usize = 6 << 20;

/// A form, as it was sent or as it is shown first.
#[derive(Debug, Clone, Default)]
pub struct Form {
    values: BTreeMap<String, Vec<String>>,
    wrong: BTreeMap<String, String>,
    /// What is wrong with all of it; empty: nothing.
    pub problem: String,
}

impl FromRequest<App> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Form, Problem> {
        let (parts, body) = request.into_parts();
        if media_type(&parts.headers).as_deref() != Some("application/x-www-form-urlencoded") {
            let detail = "a form is sent as application/x-www-form-urlencoded";
            return Err(Problem::new(crate::http::error::Kind::UnsupportedMediaType, detail));
        }
        let body = app.budget.read(&parts.headers, body, MAX_FORM).await?;
        Ok(Form::parse(&body.bytes))
    }
}

impl Form {
    /// Reads `a=1&b=2`. Browsers send line ends as CRLF; here they are LF.
    pub fn parse(octets: &[u8]) -> Form {
        let mut form = Form::default();
        for (name, value) in url::form_urlencoded::parse(octets) {
            form.values.entry(name.into_owned()).or_default().push(value.replace("\r\n", "\n"));
        }
        form
    }

    /// With a value, to be shown first.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Form {
        self.values.insert(name.to_owned(), vec![value.into()]);
        self
    }

    /// With several values.
    #[must_use]
    pub fn with_all(mut self, name: &str, values: Vec<String>) -> Form {
        self.values.insert(name.to_owned(), values);
        self
    }

    /// With what was wrong with it.
    #[must_use]
    pub fn refused(mut self, problem: &Problem) -> Form {
        for violation in problem.violations() {
            let name = violation.pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
            self.wrong.entry(name.to_owned()).or_insert_with(|| violation.message.clone());
        }
        let shown = self.wrong.keys().all(|name| !name.is_empty()) && !self.wrong.is_empty();
        self.problem = if shown {
            "Not saved: look at the fields that are marked.".to_owned()
        } else {
            problem.detail().to_owned()
        };
        self
    }

    /// With what was wrong with one field.
    #[must_use]
    pub fn wrong(mut self, name: &str, message: impl Into<String>) -> Form {
        self.wrong.insert(name.to_owned(), message.into());
        self
    }

    /// Whether anything was wrong.
    pub fn is_wrong(&self) -> bool {
        !self.wrong.is_empty() || !self.problem.is_empty()
    }

    /// What was wrong with a field.
    pub fn error(&self, name: &str) -> Option<&str> {
        self.wrong.get(name).map(String::as_str)
    }

    /// A value without blanks around it; empty: none was given.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// A value as it was sent.
    pub fn raw(&self, name: &str) -> &str {
        self.values.get(name).and_then(|values| values.first()).map_or("", String::as_str)
    }

    /// A value, if one was given.
    pub fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Whether a box is ticked.
    pub fn on(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether one of several boxes of a name is ticked.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.values.get(name).is_some_and(|values| values.iter().any(|one| one == value))
    }

    /// All values of a name.
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The words of a value, between commas and blanks.
    pub fn words(&self, name: &str) -> Vec<String> {
        let words = self.raw(name).split(|c: char| c == ',' || c == ';' || c.is_whitespace());
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// The address of the next page: what is searched for, and where it begins.
    pub fn onward(&self, path: &str, filters: &[&str], before: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for name in filters {
            if let Some(value) = self.given(name) {
                query.append_pair(name, value);
            }
        }
        query.append_pair("before", before);
        format!("{path}?{}", query.finish())
    }

    /// These texts as the API has them in JSON; those that were not given are left out.
    pub fn json(&self, texts: &[&str]) -> Map<String, Value> {
        let given = texts.iter().filter_map(|name| Some(((*name).to_owned(), self.given(name)?.into())));
        given.collect()
    }

    /// A line to type in.
    pub fn input<'a>(&'a self, name: &'a str, label: &'a str, hint: &'a str) -> Field<'a> {
        self.field(name, label, hint, Kind::Line("text"))
    }

    /// A line that must be filled in.
    pub fn needed<'a>(&'a self, name: &'a str, label: &'a str, hint: &'a str) -> Field<'a> {
        Field { required: true, ..self.input(name, label, hint) }
    }

    /// A line of a kind that browsers know.
    pub fn line<'a>(&'a self, kind: &'static str, name: &'a str, label: &'a str, hint: &'a str) -> Field<'a> {
        self.field(name, label, hint, Kind::Line(kind))
    }

    /// Room for a text.
    pub fn area<'a>(&'a self, name: &'a str, label: &'a str, hint: &'a str) -> Field<'a> {
        self.field(name, label, hint, Kind::Area(""))
    }

    /// Room for sources.
    pub fn code<'a>(&'a self, name: &'a str, label: &'a str, hint: &'a str) -> Field<'a> {
        self.field(name, label, hint, Kind::Area("code"))
    }

    /// A choice of one.
    pub fn choice<'a>(
        &'a self,
        name: &'a str,
        label: &'a str,
        hint: &'a str,
        options: &'a [(&'a str, &'a str)],
    ) -> Field<'a> {
        self.field(name, label, hint, Kind::Choice(options))
    }

    /// A box to tick.
    pub fn tick<'a>(&'a self, name: &'a str, label: &'a str, hint: &'a str) -> Field<'a> {
        self.field(name, label, hint, Kind::Tick)
    }

    fn field<'a>(&'a self, name: &'a str, label: &'a str, hint: &'a str, kind: Kind<'a>) -> Field<'a> {
        let error = self.wrong.get(name).map_or("", String::as_str);
        let is_first = self.wrong.iter().next().is_some_and(|(first, _)| first == name);
        Field {
            name,
            label,
            hint,
            value: self.raw(name),
            error,
            is_first,
            required: false,
            on: self.on(name),
            kind,
        }
    }
}

/// How a field is filled in.
#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    Line(&'static str),
    Area(&'static str),
    Choice(&'a [(&'a str, &'a str)]),
    Tick,
}

/// A field with its label, what was typed, and what was wrong with it.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "ui/field.html")]
pub struct Field<'a> {
    name: &'a str,
    label: &'a str,
    hint: &'a str,
    value: &'a str,
    error: &'a str,
    is_first: bool,
    required: bool,
    on: bool,
    kind: Kind<'a>,
}

impl HtmlSafe for Field<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_what_was_typed_and_escapes_it() {
        let form = Form::parse(b"name=%22%3E%3Cscript%3E&tags=a%2C+b%0D%0Ac");
        let form = form.refused(&Problem::field("/name/0", "invalid_name", "not <so>"));
        let shown = form.input("name", "Name", "").to_string();
        assert!(shown.contains("&#34;&#62;&#60;script&#62;"), "{shown}");
        assert!(shown.contains("not &#60;so&#62;") && shown.contains("aria-invalid=\"true\""), "{shown}");
        assert_eq!(form.words("tags"), ["a", "b", "c"]);
        assert_eq!(form.problem, "Not saved: look at the fields that are marked.");
    }

    #[test]
    fn what_is_wrong_with_no_field_is_said_of_the_whole() {
        let form = Form::default().refused(&Problem::field("", "too_large", "too much"));
        assert_eq!(form.problem, "too much");
        assert!(form.is_wrong() && !Form::default().is_wrong());
    }
}
