//! From JSON to templates and changes of them; every bad field is named.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::account::templates::{NewTemplate, Publication, TemplateChange};
use crate::domain::template::{Alias, Contents, Locale, MAX_LOCALES, MAX_NAME, MAX_TEMPLATE};
use crate::http::error::Problem;
use crate::http::fields::Fields;
use crate::render::{self, Bodies, Part};
use crate::submission::Violation;
use crate::submission::template::{Pointers, violations};

/// Reads a template to make.
pub fn new(value: Value) -> Result<NewTemplate, Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let alias = fields.parsed("alias", "invalid_alias", Alias::parse);
    let name = name(&mut fields).unwrap_or_default();
    let publication = publication(&mut fields).unwrap_or(Publication::Published);
    let contents = contents(&mut fields, Contents::default());
    if contents.common.is_empty() && contents.locales.is_empty() && !any_wrong(&fields) {
        fields.wrong("text", "required", "a template needs a subject, text, html or mjml");
    }
    finish(fields)?;
    Ok(NewTemplate { alias, name, contents, publication })
}

/// Reads a change of a template whose newest version is this.
pub fn change(value: Value, newest: &Contents) -> Result<TemplateChange, Problem> {
    let is_given = |name: &str| value.get(name).is_some();
    let removes_alias = value.get("alias").is_some_and(Value::is_null);
    let changes_contents = Part::ALL.iter().any(|part| is_given(part.name())) || is_given("locales");
    // What is null is taken away: what is given stands over what there is.
    let mut start = newest.clone();
    for part in Part::ALL.into_iter().filter(|part| is_given(part.name())) {
        *start.common.get_mut(part) = None;
    }
    if is_given("locales") {
        start.locales.clear();
    }
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let alias = fields.parsed("alias", "invalid_alias", Alias::parse);
    let name = name(&mut fields);
    let publication = publication(&mut fields);
    let contents = contents(&mut fields, start);
    finish(fields)?;
    Ok(TemplateChange {
        alias: if removes_alias { Some(None) } else { alias.map(Some) },
        name,
        contents: changes_contents.then_some(contents),
        publication,
    })
}

fn any_wrong(fields: &Fields) -> bool {
    Part::ALL.iter().any(|part| fields.is_wrong(part.name())) || fields.is_wrong("locales")
}

fn finish(fields: Fields) -> Result<(), Problem> {
    let errors = fields.finish();
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
}

fn name(fields: &mut Fields) -> Option<String> {
    let name = fields.text("name")?;
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let message = format!("a name has at most {MAX_NAME} characters, none of them a control character");
        fields.wrong("name", "invalid_name", message);
    }
    Some(name)
}

fn publication(fields: &mut Fields) -> Option<Publication> {
    fields
        .flag("published")
        .map(|published| if published { Publication::Published } else { Publication::Draft })
}

fn contents(fields: &mut Fields, start: Contents) -> Contents {
    let mut contents = start;
    bodies(fields, &mut contents.common);
    if let Some(mut object) = fields.object("locales") {
        contents.locales = locales(&mut object);
        fields.absorb(object);
    }
    if contents.size() > MAX_TEMPLATE {
        let message = format!("a template has at most {MAX_TEMPLATE} octets over all parts and languages");
        fields.wrong_at(Violation::new("", "too_large", message));
    }
    contents
}

fn locales(object: &mut Fields) -> BTreeMap<Locale, Bodies> {
    let mut locales = BTreeMap::new();
    let given = object.rest();
    if given.len() > MAX_LOCALES {
        let message = format!("at most {MAX_LOCALES} languages are allowed, these are {}", given.len());
        object.wrong_at(Violation::new("/locales", "too_many", message));
        return locales;
    }
    for (tag, value) in given {
        let locale = match Locale::parse(&tag) {
            Ok(locale) => locale,
            Err(error) => {
                object.wrong(&tag, "invalid_locale", error.to_string());
                continue;
            }
        };
        match Fields::of(value, &object.pointer(&tag)) {
            Ok(mut own) => {
                let mut parts = Bodies::default();
                bodies(&mut own, &mut parts);
                object.absorb(own);
                locales.insert(locale, parts);
            }
            Err(violation) => object.wrong_at(violation),
        }
    }
    locales
}

/// Reads the parts, and looks whether they can be understood.
fn bodies(fields: &mut Fields, bodies: &mut Bodies) {
    let mut given = Bodies::default();
    for part in Part::ALL {
        if let Some(text) = fields.text(part.name()) {
            *given.get_mut(part) = Some(text.clone());
            *bodies.get_mut(part) = Some(text);
        }
    }
    if bodies.html.is_some() && bodies.mjml.is_some() {
        fields.wrong("mjml", "html_and_mjml", "HTML is either given or made of MJML, not both");
    }
    if let Err(faults) = render::check(&given) {
        let base = fields.pointer("");
        let parts = base.trim_end_matches('/');
        for violation in violations(faults, Pointers { variables: parts, template: None, parts }) {
            fields.wrong_at(violation);
        }
    }
}
