//! From templates and variables to the contents of a mail: Handlebars, MJML, CSS that is inlined, and a plain text
//! made of the HTML. Not where templates come from, and not the mail around the contents (`mail/compose`).
//!
//! Invariant: everything here is a pure function of its arguments: no file, no network, no clock, no chance. A
//! template cannot run for long, grow without bound or call itself: what could is refused before it is run, and
//! what is run counts its steps ([`limits`]).
//!
//! In reading order:
//! - [`Source`]: what is rendered; [`Compiled`]: the same, understood; [`Filled`]: with the variables in it;
//!   [`Rendered`]: ready to be sent.
//! - `syntax`: what a source may nest; `shape`: what a template may refer to, and what it costs.
//! - `engine`: Handlebars itself; `helpers`: the functions that templates may call; `blocks`: its loops.
//! - [`tokens`]: the other way to fill in: literal tokens, replaced by values.
//! - `html`: MJML, CSS, and HTML as plain text; `markup`: how deep these nest.

mod blocks;
mod engine;
mod fault;
mod helpers;
mod html;
pub mod limits;
mod markup;
mod missing;
mod shape;
mod syntax;
pub mod tokens;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use fault::{Fault, Trouble};

use engine::Engine;

/// A part of a mail that is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The subject: one line, not escaped.
    Subject,
    /// The plain text, not escaped.
    Text,
    /// The HTML: what variables bring is escaped.
    Html,
    /// MJML, of which the HTML is made: escaped like it.
    Mjml,
    /// AMP for e-mail: escaped like HTML.
    Amp,
}

impl Part {
    /// Every part, in the order in which they are told of.
    pub const ALL: [Part; 5] = [Part::Subject, Part::Text, Part::Html, Part::Mjml, Part::Amp];

    /// As the API calls the field.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Subject => "subject",
            Part::Text => "text",
            Part::Html => "html",
            Part::Mjml => "mjml",
            Part::Amp => "amp",
        }
    }
}

/// The sources of one template's parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bodies {
    /// See [`Part::Subject`].
    pub subject: Option<String>,
    /// See [`Part::Text`]. Without one, it is made of the HTML.
    pub text: Option<String>,
    /// See [`Part::Html`].
    pub html: Option<String>,
    /// See [`Part::Mjml`]. Instead of HTML, never beside it.
    pub mjml: Option<String>,
    /// See [`Part::Amp`].
    pub amp: Option<String>,
}

impl Bodies {
    /// The source of a part.
    pub fn get(&self, part: Part) -> Option<&str> {
        match part {
            Part::Subject => self.subject.as_deref(),
            Part::Text => self.text.as_deref(),
            Part::Html => self.html.as_deref(),
            Part::Mjml => self.mjml.as_deref(),
            Part::Amp => self.amp.as_deref(),
        }
    }

    /// Where the source of a part is kept.
    pub fn get_mut(&mut self, part: Part) -> &mut Option<String> {
        match part {
            Part::Subject => &mut self.subject,
            Part::Text => &mut self.text,
            Part::Html => &mut self.html,
            Part::Mjml => &mut self.mjml,
            Part::Amp => &mut self.amp,
        }
    }

    /// How long all sources are together, in octets.
    pub fn len(&self) -> usize {
        Part::ALL.iter().filter_map(|part| self.get(*part)).map(str::len).sum()
    }

    /// Whether there is nothing to render at all.
    pub fn is_empty(&self) -> bool {
        Part::ALL.iter().all(|part| self.get(*part).is_none())
    }
}

/// What is rendered: a template's parts, and the partials that they may include by name. In each part a partial
/// stands for its own part of the same kind; in a subject also for its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// The template.
    pub bodies: Bodies,
    /// What `{{> name}}` includes.
    pub partials: BTreeMap<String, Bodies>,
}

/// What becomes of a variable that a template shows and nobody gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gaps {
    /// Nothing is rendered, and the variable is named.
    #[default]
    Refused,
    /// It is empty, as many template languages have it.
    Empty,
}

/// A source that has been understood and can be rendered many times, from many threads.
#[derive(Debug)]
pub struct Compiled {
    engines: Vec<Engine>,
}

impl Compiled {
    /// Reads the parts and all partials they include.
    ///
    /// # Errors
    /// Everything that cannot be understood, found or afforded.
    pub fn new(source: &Source) -> Result<Compiled, Vec<Fault>> {
        let mut engines = Vec::new();
        let mut faults = Vec::new();
        for part in Part::ALL {
            match source.bodies.get(part).map(|text| Engine::new(part, text, &source.partials)) {
                Some(Ok(engine)) => engines.push(engine),
                Some(Err(found)) => faults.extend(found),
                None => {}
            }
        }
        if faults.is_empty() { Ok(Compiled { engines }) } else { Err(faults) }
    }

    /// Puts the variables in. Whatever a part needs and is not among them is named.
    ///
    /// # Errors
    /// Every missing variable of every part, or what else stopped one.
    pub fn fill(&self, variables: &Map<String, Value>) -> Result<Filled, Vec<Fault>> {
        self.fill_with(variables, Gaps::Refused)
    }

    /// The same, where what is missing need not be a fault.
    ///
    /// # Errors
    /// As [`Compiled::fill`].
    pub fn fill_with(&self, variables: &Map<String, Value>, gaps: Gaps) -> Result<Filled, Vec<Fault>> {
        let variables = engine::Variables::new(variables);
        let mut filled = Filled::default();
        let mut faults = Vec::new();
        for engine in &self.engines {
            match engine.render(&variables, gaps) {
                Ok((text, steps)) => {
                    *filled.bodies.get_mut(engine.part()) = Some(text);
                    filled.steps += steps;
                }
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(filled) } else { Err(fault::distinct(faults)) }
    }

    /// Renders: [`Compiled::fill`], then [`Filled::finish`].
    ///
    /// # Errors
    /// As these.
    pub fn render(&self, variables: &Map<String, Value>) -> Result<Rendered, Vec<Fault>> {
        self.fill(variables)?.finish().map_err(|fault| vec![fault])
    }
}

/// The parts with the variables in them; MJML is still MJML, CSS still in its own place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filled {
    bodies: Bodies,
    steps: u64,
}

impl Filled {
    /// The subject, one line.
    pub fn subject(&self) -> &str {
        self.bodies.subject.as_deref().unwrap_or_default().trim()
    }

    /// How long all parts are together, in octets.
    pub fn size(&self) -> usize {
        self.bodies.len()
    }

    /// How much work it was.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether [`Filled::finish`] has more to do than to hand over.
    pub fn is_unfinished(&self) -> bool {
        let Bodies { text, html, mjml, .. } = &self.bodies;
        mjml.is_some() || html.as_ref().is_some_and(|html| text.is_none() || html.contains('<'))
    }

    /// Makes HTML of MJML, inlines CSS, and makes a plain text where there is none.
    ///
    /// # Errors
    /// The MJML or the HTML is not such.
    pub fn finish(self) -> Result<Rendered, Fault> {
        let subject = self.subject().to_owned();
        let Bodies { text, html, mjml, amp, .. } = self.bodies;
        let html = match (html, mjml) {
            (_, Some(mjml)) => Some(html::from_mjml(&mjml)?),
            (Some(html), None) => Some(html::inline_css(html)?),
            (None, None) => None,
        };
        let text = match (text, &html) {
            (None, Some(html)) => html::as_text(html),
            (text, _) => text,
        };
        Ok(Rendered { subject, text, html, amp })
    }
}

/// The contents of a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: Option<String>,
    /// The HTML, its CSS inlined.
    pub html: Option<String>,
    /// AMP for e-mail.
    pub amp: Option<String>,
}

/// The partials that sources include by name, of all their parts; what cannot be read includes nothing.
pub fn partials_of(bodies: &Bodies) -> Vec<String> {
    let mut names: Vec<String> =
        Part::ALL.iter().filter_map(|part| bodies.get(*part)).flat_map(shape::partials_of).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether a template's own parts can be understood, whatever its partials are.
///
/// # Errors
/// Everything that cannot.
pub fn check(bodies: &Bodies) -> Result<(), Vec<Fault>> {
    let checked = Part::ALL.iter().filter_map(|part| bodies.get(*part).map(|text| (*part, text)));
    let faults: Vec<Fault> =
        checked.filter_map(|(part, text)| shape::understand(part, None, text).err()).flatten().collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The variables of one recipient over those of all: a name that both give is the recipient's.
pub fn over(common: &Map<String, Value>, own: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = common.clone();
    merged.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    merged
}

#[cfg(test)]
mod tests;
