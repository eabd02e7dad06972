//! The contents of mails that are rendered: the sources they need are read first, each once, then everything is
//! rendered strictly, so that what is accepted can be rendered again.
//!
//! Invariant: one call does a bounded amount of work, however many mails it has.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::id::{TemplateId, TenantId};
use crate::domain::submission::{Content, Parts, Rendering, Submission, Words};
use crate::domain::template::Selection;
use crate::mail::text;
use crate::render::tokens::Tokens;
use crate::render::{Bodies, Compiled, Fault, Filled, Rendered, Source};
use crate::store::{Database, StoreError};

use super::template::{self, Pointers, violations};
use super::{Rejected, Violation};

/// Steps of all renderings of a call. A usual mail takes some hundred, so that a thousand of them take a tenth.
const MAX_STEPS: u64 = 20_000_000;
/// What a rendered mail is taken to cost more than another, in octets: enough to know where to compose it.
pub(super) const WORK: usize = 64 * 1024;

/// The templates that the mails of one call name.
#[derive(Debug, Default)]
pub(super) struct Sources {
    selected: BTreeMap<Selection, Result<Selected, Violation>>,
    steps: AtomicU64,
}

#[derive(Debug)]
struct Selected {
    template: TemplateId,
    source: Source,
    compiled: OnceLock<Result<Compiled, Vec<Fault>>>,
}

impl Sources {
    /// Reads what these mails name; nothing at all, if they name nothing.
    pub(super) async fn read(
        database: &Database,
        tenant: TenantId,
        items: &[Result<Submission, Rejected>],
    ) -> Result<Sources, StoreError> {
        let mut wanted: Vec<&Selection> = items.iter().flatten().filter_map(selection).collect();
        if wanted.is_empty() {
            return Ok(Sources::default());
        }
        wanted.sort_unstable();
        wanted.dedup();
        Box::pin(Sources::select(database, tenant, wanted)).await
    }

    async fn select(
        database: &Database,
        tenant: TenantId,
        wanted: Vec<&Selection>,
    ) -> Result<Sources, StoreError> {
        let mut sources = Sources::default();
        let mut connection = database.serve().acquire().await?;
        for selection in wanted {
            let found = template::select(&mut connection, tenant, selection, "/template").await?;
            let selected =
                found.map(|(template, source)| Selected { template, source, compiled: OnceLock::new() });
            sources.selected.insert(selection.clone(), selected);
        }
        Ok(sources)
    }

    fn get(&self, selection: &Selection) -> Result<&Selected, Rejected> {
        match self.selected.get(selection) {
            Some(Ok(selected)) => Ok(selected),
            Some(Err(violation)) => Err(Rejected::invalid(vec![violation.clone()])),
            None => Err(Rejected::invalid(vec![Violation::new(
                "/template/id",
                "unknown_template",
                "there is no such template",
            )])),
        }
    }

    /// Adds to the work of the call.
    ///
    /// # Errors
    /// It is too much.
    pub(super) fn spend(&self, filled: &Filled, pointer: &str) -> Result<(), Rejected> {
        let before = self.steps.fetch_add(filled.steps(), Ordering::Relaxed);
        if before + filled.steps() <= MAX_STEPS {
            return Ok(());
        }
        let message =
            "there is too much to render in one call; send it in several, or make the template simpler";
        Err(Rejected::invalid(vec![Violation::new(pointer, "too_complex", message)]))
    }
}

fn selection(submission: &Submission) -> Option<&Selection> {
    let Content::Parts(Parts { rendering: Some(rendering), .. }) = &submission.content else { return None };
    match &rendering.of {
        Words::Template(selection) => Some(selection),
        Words::Inline | Words::Tokens | Words::Stored(_) => None,
    }
}

/// What is rendered, and where what is wrong with it is shown.
pub(super) struct Origin {
    /// Of which template.
    pub template: Option<TemplateId>,
    /// What.
    pub source: Source,
    /// For faults.
    pub pointers: Pointers<'static>,
}

const OF_TEMPLATE: Pointers<'static> =
    Pointers { variables: "/template/variables", template: Some("/template/id"), parts: "" };
const INLINE: Pointers<'static> = Pointers { variables: "/variables", template: None, parts: "" };

/// What the parts are rendered of.
pub(super) fn origin(parts: &Parts, rendering: &Rendering, sources: &Sources) -> Result<Origin, Rejected> {
    Ok(match &rendering.of {
        Words::Template(selection) => {
            let selected = sources.get(selection)?;
            Origin {
                template: Some(selected.template),
                source: selected.source.clone(),
                pointers: OF_TEMPLATE,
            }
        }
        Words::Stored(source) => Origin { template: None, source: (**source).clone(), pointers: INLINE },
        // Who fills in tokens asks for no source.
        Words::Inline | Words::Tokens => Origin { template: None, source: inline(parts), pointers: INLINE },
    })
}

/// The contents as they were given.
pub(super) fn verbatim(parts: &Parts) -> Rendered {
    let Parts { subject, text, html, .. } = parts;
    Rendered { subject: subject.clone(), text: text.clone(), html: html.clone(), amp: None }
}

fn inline(parts: &Parts) -> Source {
    let bodies = Bodies {
        subject: Some(parts.subject.clone()),
        text: parts.text.clone(),
        html: parts.html.clone(),
        ..Bodies::default()
    };
    Source { bodies, partials: BTreeMap::new() }
}

/// Renders a mail that is the same for all its recipients.
pub(super) fn once(
    parts: &Parts,
    rendering: &Rendering,
    sources: &Sources,
) -> Result<(Option<TemplateId>, Rendered), Rejected> {
    let refused = |faults, pointers| Rejected::invalid(violations(faults, pointers));
    if let Words::Tokens = &rendering.of {
        let filled = Tokens::new(&rendering.variables).fill_all(&verbatim(parts));
        let bad = bad_subject(&filled.subject, INLINE.variables);
        return bad.map_or(Ok((None, filled)), |violation| Err(Rejected::invalid(vec![violation])));
    }
    if let Words::Template(selection) = &rendering.of {
        let selected = sources.get(selection)?;
        let compiled = selected.compiled.get_or_init(|| Compiled::new(&selected.source));
        let compiled = compiled.as_ref().map_err(|faults| refused(faults.clone(), OF_TEMPLATE))?;
        let rendered = render(compiled, rendering, sources, OF_TEMPLATE)?;
        return Ok((Some(selected.template), rendered));
    }
    let origin = origin(parts, rendering, sources)?;
    let compiled = Compiled::new(&origin.source).map_err(|faults| refused(faults, origin.pointers))?;
    let rendered = render(&compiled, rendering, sources, origin.pointers)?;
    Ok((origin.template, rendered))
}

fn render(
    compiled: &Compiled,
    rendering: &Rendering,
    sources: &Sources,
    pointers: Pointers<'static>,
) -> Result<Rendered, Rejected> {
    let refused = |faults| Rejected::invalid(violations(faults, pointers));
    let filled = compiled.fill_with(&rendering.variables, rendering.gaps).map_err(refused)?;
    sources.spend(&filled, pointers.variables)?;
    if let Some(violation) = bad_subject(filled.subject(), pointers.variables) {
        return Err(Rejected::invalid(vec![violation]));
    }
    filled.finish().map_err(|fault| refused(vec![fault]))
}

/// What is wrong with a rendered subject: variables can bring line breaks and whatever else must not be in a header.
pub(super) fn bad_subject(subject: &str, pointer: &str) -> Option<Violation> {
    let most = crate::domain::submission::MAX_SUBJECT;
    let why = match text::check(subject) {
        Err(error) => error.to_string(),
        Ok(()) if subject.chars().count() > most => format!("it has more than {most} characters"),
        Ok(()) => return None,
    };
    let message = format!("the subject that comes of it cannot be used: {why}");
    Some(Violation::new(pointer, "invalid_subject", message))
}
