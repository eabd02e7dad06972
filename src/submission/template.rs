//! From the name of a template to what is rendered: its version, its language, and the partials it includes. And
//! what is wrong with a rendering, as violations.

use std::collections::BTreeMap;

use crate::domain::id::{TemplateId, TenantId};
use crate::domain::template::{Contents, Locale, Selection};
use crate::render::limits::MAX_PARTIALS;
use crate::render::{self, Bodies, Fault, Source, Trouble};
use crate::store::templates::{self, StoredTemplate};
use crate::store::{PgConnection, StoreError};

use super::Violation;

/// What is rendered for a selection, or what is wrong with the selection, at `pointer`.
///
/// # Errors
/// See [`StoreError`].
pub async fn select(
    connection: &mut PgConnection,
    tenant: TenantId,
    selection: &Selection,
    pointer: &str,
) -> Result<Result<(TemplateId, Source), Violation>, StoreError> {
    let Some(template) = templates::find(connection, tenant, &selection.name).await? else {
        let violation =
            Violation::new(format!("{pointer}/id"), "unknown_template", "there is no such template");
        return Ok(Err(violation));
    };
    let Some(number) = selection.version.or(template.published) else {
        let message = "no version of this template is published yet";
        return Ok(Err(Violation::new(format!("{pointer}/id"), "not_published", message)));
    };
    let Some(version) = templates::version(connection, tenant, template.id, number).await? else {
        let message = format!("there is no version {number} of this template");
        return Ok(Err(Violation::new(format!("{pointer}/version"), "unknown_version", message)));
    };
    let source = source(connection, tenant, &version.contents, selection.locale.as_ref()).await?;
    Ok(Ok((template.id, source)))
}

/// The version that a rendering for the eye shows when none is named: the published one, else the newest.
pub fn shown(template: &StoredTemplate) -> i32 {
    template.published.unwrap_or(template.latest)
}

/// Contents in a language, with the partials they include, directly and through others.
///
/// # Errors
/// See [`StoreError`].
pub async fn source(
    connection: &mut PgConnection,
    tenant: TenantId,
    contents: &Contents,
    locale: Option<&Locale>,
) -> Result<Source, StoreError> {
    let bodies = contents.in_locale(locale);
    let partials = partials(connection, tenant, &bodies, locale).await?;
    Ok(Source { bodies, partials })
}

/// The partials that sources include: the tenant's published templates of these aliases. One question for each
/// level of inclusion; what is not found is missing when the source is compiled.
///
/// # Errors
/// See [`StoreError`].
pub async fn partials(
    connection: &mut PgConnection,
    tenant: TenantId,
    bodies: &Bodies,
    locale: Option<&Locale>,
) -> Result<BTreeMap<String, Bodies>, StoreError> {
    let mut found: BTreeMap<String, Bodies> = BTreeMap::new();
    let mut wanted = render::partials_of(bodies);
    while !wanted.is_empty() && found.len() <= MAX_PARTIALS {
        let loaded = templates::published(connection, tenant, &wanted).await?;
        let mut next = Vec::new();
        for (alias, contents) in loaded {
            let bodies = contents.in_locale(locale);
            next.extend(render::partials_of(&bodies));
            found.insert(alias, bodies);
        }
        next.retain(|name| !found.contains_key(name));
        wanted = next;
    }
    Ok(found)
}

/// Where what is wrong with a rendering is shown.
#[derive(Debug, Clone, Copy)]
pub struct Pointers<'a> {
    /// Of the object of variables.
    pub variables: &'a str,
    /// Of the template; `None`: of the part itself, below `parts`.
    pub template: Option<&'a str>,
    /// What stands before the parts' names.
    pub parts: &'a str,
}

/// Faults as violations: a missing variable at its place among the variables, all else at the template.
pub fn violations(faults: Vec<Fault>, pointers: Pointers<'_>) -> Vec<Violation> {
    let violation = |fault: Fault| {
        let pointer = match (&fault.trouble, pointers.template) {
            (Trouble::Missing(path), _) => {
                let steps =
                    path.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")));
                format!("{}{}", pointers.variables, steps.collect::<String>())
            }
            (_, Some(template)) => template.to_owned(),
            (_, None) => format!("{}/{}", pointers.parts, fault.part.name()),
        };
        let sentence = match pointers.template {
            Some(_) if !matches!(fault.trouble, Trouble::Missing(_)) => {
                format!("{}: {}", fault.part.name(), fault.sentence())
            }
            _ => fault.sentence(),
        };
        Violation::new(pointer, fault.trouble.code(), sentence)
    };
    faults.into_iter().map(violation).collect()
}
