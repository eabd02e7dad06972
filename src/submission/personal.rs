//! Mails of many recipients, each of its own: everything is rendered for everyone once, to find what is wrong before
//! anything is accepted, and then only the blueprint is kept.

use crate::domain::blueprint::{Blueprint, BlueprintError, Marked, Template, Wording};
use crate::domain::handling::{OwnMail, Particulars};
use crate::domain::id::{MessageId, TemplateId};
use crate::domain::message::NewDelivery;
use crate::domain::submission::{Parts, Personal, Words};
use crate::mail::{Mailbox, text};
use crate::render::tokens::Tokens;
use crate::render::{Filled, Rendered};

use super::render::{self, Sources};
use super::template::{Pointers, violations};
use super::{Rejected, Violation};

/// What is wrong is told of so many things; nobody reads more.
const MAX_TOLD: usize = 200;
/// MJML, CSS and plain texts are tried for so many octets of a call; the first recipients stand for the rest. What
/// such a template makes of other variables differs in words and hardly ever in form.
const FINISHED: usize = 16 << 20;

/// The mails of a blueprint, looked at.
pub(super) struct Examined {
    /// The subject of the first one.
    pub subject: String,
    /// The octets of the largest.
    pub largest: usize,
}

/// How the mails come to their words, and of which template.
pub(super) fn wording(
    parts: &Parts,
    sources: &Sources,
) -> Result<(Wording, Option<TemplateId>, Pointers<'static>), Rejected> {
    const NOWHERE: Pointers<'static> = Pointers { variables: "", template: None, parts: "" };
    let Some(rendering) = &parts.rendering else {
        return Ok((Wording::Verbatim(render::verbatim(parts)), None, NOWHERE));
    };
    if let Words::Tokens = &rendering.of {
        let marked = Marked { contents: render::verbatim(parts), variables: rendering.variables.clone() };
        return Ok((Wording::Tokens(Box::new(marked)), None, NOWHERE));
    }
    let origin = render::origin(parts, rendering, sources)?;
    let template = Template::new(origin.source, rendering.variables.clone(), rendering.gaps);
    template.compiled().map_err(|faults| Rejected::invalid(violations(faults, origin.pointers)))?;
    Ok((Wording::Template(Box::new(template)), origin.template, origin.pointers))
}

/// Renders every mail, and writes the largest.
pub(super) fn examine(
    blueprint: &Blueprint,
    message: MessageId,
    personal: &[Personal],
    sources: &Sources,
    pointers: Pointers<'static>,
) -> Result<Examined, Rejected> {
    let mut found = Vec::new();
    for (index, own) in personal.iter().enumerate() {
        found.extend(bad_names(index, own));
    }
    let (subject, largest) = match &blueprint.wording {
        Wording::Verbatim(contents) => (contents.subject.clone(), Some((0, contents.clone()))),
        Wording::Tokens(marked) => return examine_tokens(blueprint, marked, message, personal, found),
        Wording::Template(template) => {
            let mut inspection = Inspection { template, sources, pointers, finished: 0, found: &mut found };
            inspection.all(personal)?
        }
    };
    if !found.is_empty() {
        return Err(Rejected::invalid(found));
    }
    let Some((index, contents)) = largest else { return Ok(Examined { subject, largest: 0 }) };
    let own = OwnMail { ordinal: 1, to: personal[index].to.clone(), cc: personal[index].cc.clone() };
    let octets = blueprint.write(message, &own, &contents).map_err(|error| refused(&error))?;
    Ok(Examined { subject, largest: octets.len() })
}

/// As [`examine`], where tokens are filled in: cheap enough to be done for everyone.
fn examine_tokens(
    blueprint: &Blueprint,
    marked: &Marked,
    message: MessageId,
    personal: &[Personal],
    mut found: Vec<Violation>,
) -> Result<Examined, Rejected> {
    let mut subject = None;
    let mut largest: Option<(usize, Rendered, Tokens)> = None;
    for (index, own) in personal.iter().enumerate() {
        let tokens = marked.tokens(&own.variables);
        let variables = format!("/recipients/{index}/variables");
        let contents = tokens.fill_all(&marked.contents);
        found.extend(render::bad_subject(&contents.subject, &variables));
        if let Err(error) = blueprint.headers_with(&tokens) {
            found.push(Violation::new(variables, "invalid_header", error.to_string()));
        }
        if found.len() >= MAX_TOLD {
            break;
        }
        subject.get_or_insert_with(|| contents.subject.clone());
        if largest.as_ref().is_none_or(|(_, most, _)| size(&contents) > size(most)) {
            largest = Some((index, contents, tokens));
        }
    }
    if !found.is_empty() {
        return Err(Rejected::invalid(found));
    }
    let subject = subject.unwrap_or_default();
    let Some((index, contents, tokens)) = largest else { return Ok(Examined { subject, largest: 0 }) };
    let own = OwnMail { ordinal: 1, to: personal[index].to.clone(), cc: personal[index].cc.clone() };
    let octets = blueprint.write_with(message, &own, &contents, &tokens).map_err(|error| refused(&error))?;
    Ok(Examined { subject, largest: octets.len() })
}

fn size(contents: &Rendered) -> usize {
    [&contents.text, &contents.html].into_iter().flatten().map(String::len).sum()
}

struct Inspection<'a> {
    template: &'a Template,
    sources: &'a Sources,
    pointers: Pointers<'static>,
    finished: usize,
    found: &'a mut Vec<Violation>,
}

impl Inspection<'_> {
    /// The first subject, and the largest contents with the index of whose they are.
    fn all(&mut self, personal: &[Personal]) -> Result<(String, Option<(usize, Rendered)>), Rejected> {
        let mut first = None;
        let mut largest: Option<(usize, Filled)> = None;
        for (index, own) in personal.iter().enumerate() {
            let variables = format!("/recipients/{index}/variables");
            let Some(filled) = self.fill(own, &variables)? else { continue };
            first.get_or_insert_with(|| filled.subject().to_owned());
            self.found.extend(render::bad_subject(filled.subject(), &variables));
            self.try_to_finish(&filled, &variables);
            if largest.as_ref().is_none_or(|(_, most)| filled.size() > most.size()) {
                largest = Some((index, filled));
            }
            if self.found.len() >= MAX_TOLD {
                break;
            }
        }
        let largest = match largest {
            Some((index, filled)) => match filled.finish() {
                Ok(contents) => Some((index, contents)),
                Err(fault) => {
                    let variables = format!("/recipients/{index}/variables");
                    self.found.extend(self.told(vec![fault], &variables));
                    None
                }
            },
            None => None,
        };
        Ok((first.unwrap_or_default(), largest))
    }

    fn fill(&mut self, own: &Personal, variables: &str) -> Result<Option<Filled>, Rejected> {
        match self.template.fill(&own.variables) {
            Ok(filled) => {
                self.sources.spend(&filled, "/recipients")?;
                Ok(Some(filled))
            }
            Err(faults) => {
                let told = self.told(faults, variables);
                self.found.extend(told);
                Ok(None)
            }
        }
    }

    fn try_to_finish(&mut self, filled: &Filled, variables: &str) {
        if !filled.is_unfinished() || self.finished > FINISHED {
            return;
        }
        self.finished += filled.size();
        if let Err(fault) = filled.clone().finish() {
            let told = self.told(vec![fault], variables);
            self.found.extend(told);
        }
    }

    fn told(&self, faults: Vec<crate::render::Fault>, variables: &str) -> Vec<Violation> {
        // What only this recipient's variables bring about is shown there.
        violations(faults, Pointers { variables, template: Some(variables), parts: self.pointers.parts })
    }
}

fn bad_names(index: usize, own: &Personal) -> Option<Violation> {
    let mut names =
        std::iter::once(&own.to).chain(&own.cc).filter_map(|mailbox: &Mailbox| mailbox.name.as_deref());
    let error = names.find_map(|name| text::check_name(name).err())?;
    Some(Violation::new(format!("/recipients/{index}/to"), "invalid_name", error.to_string()))
}

fn refused(error: &BlueprintError) -> Rejected {
    match error {
        BlueprintError::Compose(error) => super::compose::rejected_draft(error),
        other => {
            Rejected::invalid(vec![Violation::new("/recipients", "invalid_template", other.to_string())])
        }
    }
}

/// A delivery for every address of every mail, ordinals from 1: the addressee's comes first and names the mail.
pub(super) fn deliveries(personal: &[Personal], message: MessageId) -> Vec<NewDelivery> {
    let mut deliveries = Vec::new();
    let mut ordinal = 0;
    for own in personal {
        let mail = ordinal + 1;
        for (role, recipient) in own.distinct() {
            ordinal += 1;
            deliveries.push(NewDelivery {
                id: message.delivery(ordinal),
                role,
                recipient: recipient.clone(),
                particulars: Particulars {
                    variables: own.variables.clone(),
                    metadata: own.metadata.clone(),
                    own: Some(OwnMail { ordinal: mail, to: own.to.clone(), cc: own.cc.clone() }),
                    ..Particulars::default()
                },
                suppressed_as: None,
            });
        }
    }
    deliveries
}
