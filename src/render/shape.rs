//! What a template refers to and what it costs, read off its parsed form before it is run: helpers that nobody
//! knows, partials, how deep it is, and how many elements it has.
//!
//! Invariant: what passes here cannot call itself. Inline partials, computed names and blocks handed to a partial
//! could, and are refused.

use std::collections::HashMap;
use std::sync::Arc;

use handlebars::template::{DecoratorTemplate, HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, Template};

use super::limits::{MAX_DEPTH, MAX_SOURCE};
use super::{Fault, Part, Trouble, helpers, syntax};

/// What running something once costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    elements: u64,
    partials: u64,
}

impl Cost {
    const ONE: Cost = Cost::elements(1);

    /// Of so many elements.
    pub const fn elements(count: u64) -> Cost {
        Cost { elements: count, partials: 0 }
    }

    /// In steps, when including a partial costs so much besides its elements.
    pub fn steps(self, per_partial: u64) -> u64 {
        self.elements.saturating_add(self.partials.saturating_mul(per_partial))
    }

    /// Of both.
    pub fn and(self, other: Cost) -> Cost {
        Cost {
            elements: self.elements.saturating_add(other.elements),
            partials: self.partials.saturating_add(other.partials),
        }
    }
}

/// What the partials of a template cost, each with those it includes itself.
#[derive(Debug, Clone, Default)]
pub struct Costs(Arc<HashMap<String, Cost>>);

impl Costs {
    /// Of these.
    pub fn new(partials: HashMap<String, Cost>) -> Costs {
        Costs(Arc::new(partials))
    }

    /// What running a template once costs, loops counted as one round.
    pub fn of(&self, template: &Template) -> Cost {
        let mut cost = Cost::default();
        walk(template, 0, None, &mut |seen, _, _| match seen {
            Seen::Element => cost = cost.and(Cost::ONE),
            Seen::Partial { name } => {
                let inner = self.0.get(name).copied().unwrap_or_default();
                cost = cost.and(inner).and(Cost { elements: 1, partials: 1 });
            }
            Seen::Helper { .. } | Seen::Forbidden { .. } => {}
        });
        cost
    }
}

/// One source, understood.
#[derive(Debug)]
pub struct Understood {
    /// Its parsed form.
    pub template: Template,
    /// The partials it includes, each at the depth and place of its first inclusion.
    pub partials: Vec<Included>,
    /// How deep it is by itself.
    pub depth: usize,
}

/// A partial that is included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    /// Its name.
    pub name: String,
    /// The deepest block in which it is.
    pub depth: usize,
    /// Line and column.
    pub place: Option<(usize, usize)>,
}

/// Parses a source and looks at everything in it. `partial` is its name, if it is one.
///
/// # Errors
/// Everything that is wrong with it.
pub fn understand(part: Part, partial: Option<&str>, source: &str) -> Result<Understood, Vec<Fault>> {
    let fault = |place, trouble| Fault { part, partial: partial.map(str::to_owned), place, trouble };
    if source.len() > MAX_SOURCE {
        let text = format!("a part of a template has at most {MAX_SOURCE} octets, this has {}", source.len());
        return Err(vec![fault(None, Trouble::TooLarge(text))]);
    }
    syntax::check(source).map_err(|(message, place)| vec![fault(Some(place), Trouble::Syntax(message))])?;
    let template = Template::compile(source)
        .map_err(|error| vec![fault(error.pos(), Trouble::Syntax(error.reason().to_string()))])?;
    let (mut partials, mut faults, mut deepest) = (Vec::<Included>::new(), Vec::new(), 0);
    walk(&template, 0, None, &mut |seen, depth, place| {
        deepest = deepest.max(depth);
        match seen {
            Seen::Partial { name } => match partials.iter_mut().find(|known| known.name == name) {
                Some(known) => known.depth = known.depth.max(depth),
                None => partials.push(Included { name: name.to_owned(), depth, place }),
            },
            Seen::Helper { name } if !helpers::is_known(name) => {
                faults.push(fault(place, Trouble::UnknownHelper(name.to_owned())));
            }
            Seen::Forbidden { why } => faults.push(fault(place, Trouble::Syntax(why.to_owned()))),
            Seen::Helper { .. } | Seen::Element => {}
        }
    });
    if deepest > MAX_DEPTH {
        faults.push(fault(None, Trouble::TooComplex("blocks are nested too deeply".to_owned())));
    }
    if faults.is_empty() { Ok(Understood { template, partials, depth: deepest }) } else { Err(faults) }
}

/// The partials a source includes; none, if it cannot be read.
pub fn partials_of(source: &str) -> Vec<String> {
    let understood = understand(Part::Text, None, source);
    understood.map(|it| it.partials.into_iter().map(|partial| partial.name).collect()).unwrap_or_default()
}

/// What a walk over a template meets.
enum Seen<'a> {
    Element,
    Helper { name: &'a str },
    Partial { name: &'a str },
    Forbidden { why: &'static str },
}

type Place = Option<(usize, usize)>;

fn walk(template: &Template, depth: usize, around: Place, see: &mut dyn FnMut(Seen<'_>, usize, Place)) {
    for (index, element) in template.elements.iter().enumerate() {
        let place = template.mapping.get(index).map(|at| (at.0, at.1)).or(around);
        see(Seen::Element, depth, place);
        match element {
            TemplateElement::Expression(helper)
            | TemplateElement::HtmlExpression(helper)
            | TemplateElement::HelperBlock(helper) => called(helper, depth, place, see),
            TemplateElement::PartialExpression(partial) => included(partial, depth, place, see),
            TemplateElement::PartialBlock(_) => {
                see(
                    Seen::Forbidden { why: "a partial with a block ({{#> name}}) is not available" },
                    depth,
                    place,
                );
            }
            TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => {
                see(
                    Seen::Forbidden { why: "decorators and inline partials are not available" },
                    depth,
                    place,
                );
            }
            _ => {}
        }
    }
}

fn called(helper: &HelperTemplate, depth: usize, place: Place, see: &mut dyn FnMut(Seen<'_>, usize, Place)) {
    let has_arguments = !helper.params.is_empty() || !helper.hash.is_empty();
    match &helper.name {
        Parameter::Name(name) if helper.block || has_arguments => see(Seen::Helper { name }, depth, place),
        Parameter::Path(path) if helper.block || has_arguments => {
            see(Seen::Helper { name: raw(path) }, depth, place);
        }
        Parameter::Subexpression(_) => argument(&helper.name, depth, place, see),
        _ => {}
    }
    for parameter in helper.params.iter().chain(helper.hash.values()) {
        argument(parameter, depth, place, see);
    }
    for inner in [&helper.template, &helper.inverse].into_iter().flatten() {
        walk(inner, depth + 1, place, see);
    }
}

/// What a call within a call refers to.
fn argument(parameter: &Parameter, depth: usize, place: Place, see: &mut dyn FnMut(Seen<'_>, usize, Place)) {
    see(Seen::Element, depth, place);
    let Parameter::Subexpression(inner) = parameter else { return };
    if let TemplateElement::Expression(helper) = inner.as_element() {
        called(helper, depth, place, see);
    }
}

fn included(
    partial: &DecoratorTemplate,
    depth: usize,
    place: Place,
    see: &mut dyn FnMut(Seen<'_>, usize, Place),
) {
    match &partial.name {
        Parameter::Name(name) => {
            see(Seen::Partial { name: name.trim_matches(['[', ']', '\'']) }, depth, place)
        }
        Parameter::Path(path) => see(Seen::Partial { name: raw(path) }, depth, place),
        _ => see(Seen::Forbidden { why: "a partial is named, not computed" }, depth, place),
    }
    for parameter in partial.params.iter().chain(partial.hash.values()) {
        argument(parameter, depth, place, see);
    }
}

/// A path as it is written.
fn raw(path: &Path) -> &str {
    match path {
        Path::Relative((_, raw)) | Path::Local((_, _, raw)) => raw,
    }
}
