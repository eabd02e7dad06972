//! Handlebars for one part: the part's own template and the partials it includes, with our helpers and our watch.
//!
//! Invariant: an engine's renderings take turns, since they share one watch.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Mutex, PoisonError};

use handlebars::{Context, Handlebars, RenderError, RenderErrorReason, html_escape, no_escape};
use serde_json::{Map, Value};

use super::blocks::{Each, With};
use super::limits::{MAX_DEPTH, MAX_OUTPUT, MAX_PARTIALS, MAX_STEPS};
use super::missing::{Missed, Watch};
use super::shape::{self, Cost, Costs, Included, Understood};
use super::{Bodies, Fault, Gaps, Part, Trouble, helpers};

/// The name of the part's own template: no partial can have it.
const BODY: &str = "@body";

/// Renders one part.
#[derive(Debug)]
pub struct Engine {
    part: Part,
    registry: Handlebars<'static>,
    watch: Watch,
    /// What running the part once costs, loops counted as one round.
    cost: Cost,
    turn: Mutex<()>,
}

/// Variables, as every part's engine takes them.
pub struct Variables {
    context: Context,
    /// What including a partial costs in steps: the variables are copied for it.
    per_partial: u64,
}

impl Variables {
    /// Of one rendering.
    pub fn new(variables: &Map<String, Value>) -> Variables {
        let size = variables.iter().map(|(name, value)| name.len() + weigh(value)).sum::<usize>();
        let context = Context::wraps(variables).unwrap_or_else(|_| Context::null());
        Variables { context, per_partial: 4 + size as u64 / 32 }
    }
}

/// About how many octets a value holds. Its depth is bounded where it came in.
fn weigh(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 8,
        Value::Array(list) => list.iter().map(weigh).sum::<usize>() + 8,
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + 8 + weigh(value)).sum(),
        _ => 8,
    }
}

impl Engine {
    /// Reads a part's source and all partials it includes.
    ///
    /// # Errors
    /// Everything that cannot be understood, found or afforded.
    pub fn new(part: Part, source: &str, partials: &BTreeMap<String, Bodies>) -> Result<Engine, Vec<Fault>> {
        let body = shape::understand(part, None, source)?;
        let found = gather(part, &body, partials)?;
        let costs = weigh_all(part, &body, &found)?;
        let cost = costs.of(&body.template);
        if cost.steps(1) > MAX_STEPS {
            return Err(vec![too_complex(part, "it has too many elements")]);
        }
        let watch = Watch::default();
        let mut registry = Handlebars::new();
        registry.register_escape_fn(match part {
            Part::Subject | Part::Text => no_escape,
            Part::Html | Part::Mjml | Part::Amp => html_escape,
        });
        // It would write to the log of the server.
        registry.unregister_helper("log");
        registry.register_helper("helperMissing", Box::new(Missed(watch.clone())));
        registry.register_helper("each", Box::new(Each { watch: watch.clone(), costs }));
        registry.register_helper("with", Box::new(With { watch: watch.clone() }));
        helpers::register(&mut registry, &watch);
        for (name, partial) in found {
            registry.register_template(&name, partial.template);
        }
        registry.register_template(BODY, body.template);
        Ok(Engine { part, registry, watch, cost, turn: Mutex::new(()) })
    }

    /// The part it renders.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Renders the part; tells how many steps it took.
    ///
    /// # Errors
    /// All missing variables, unless these may be empty; else what stopped it.
    pub fn render(&self, variables: &Variables, gaps: Gaps) -> Result<(String, u64), Vec<Fault>> {
        // Nothing is left half-done by a panic: the next rendering begins its notes anew.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.watch.begin(variables.per_partial);
        let mut out = Bounded(Vec::new());
        let result = if self.watch.spend(self.cost, 1) {
            self.registry.render_with_context_to_write(BODY, &variables.context, &mut out)
        } else {
            Err(super::missing::too_long())
        };
        let (missing, steps) = self.watch.end();
        if !missing.is_empty() && gaps == Gaps::Refused {
            return Err(missing
                .into_iter()
                .map(|path| Fault::of(self.part, Trouble::Missing(path)))
                .collect());
        }
        let Some(steps) = steps else {
            return Err(vec![too_complex(self.part, "it would run for too long")]);
        };
        result.map_err(|error| vec![self.fault(&error)])?;
        let text = String::from_utf8(out.0).map_err(|_| vec![self.fault_of_text("it is not UTF-8")])?;
        Ok((text, steps))
    }

    fn fault(&self, error: &RenderError) -> Fault {
        let trouble = match error.reason() {
            RenderErrorReason::IOError(_) => {
                Trouble::TooLarge(format!("with its variables it has more than {MAX_OUTPUT} octets"))
            }
            RenderErrorReason::HelperNotFound(name) => Trouble::UnknownHelper(name.clone()),
            reason => Trouble::Helper(reason.to_string()),
        };
        Fault {
            part: self.part,
            partial: error.template_name.clone().filter(|name| name != BODY),
            place: error.line_no.zip(error.column_no),
            trouble,
        }
    }

    fn fault_of_text(&self, text: &str) -> Fault {
        Fault::of(self.part, Trouble::Helper(text.to_owned()))
    }
}

fn too_complex(part: Part, text: &str) -> Fault {
    Fault::of(part, Trouble::TooComplex(text.to_owned()))
}

/// All partials that a part includes, directly and through others.
fn gather(
    part: Part,
    body: &Understood,
    partials: &BTreeMap<String, Bodies>,
) -> Result<BTreeMap<String, Understood>, Vec<Fault>> {
    let mut found: BTreeMap<String, Understood> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut wanted: Vec<(Option<String>, Included)> =
        body.partials.iter().map(|partial| (None, partial.clone())).collect();
    while let Some((within, partial)) = wanted.pop() {
        if found.contains_key(&partial.name) {
            continue;
        }
        let Some(source) = partials.get(&partial.name).and_then(|bodies| source_of(bodies, part)) else {
            let trouble = Trouble::UnknownPartial(partial.name);
            faults.push(Fault { part, partial: within, place: partial.place, trouble });
            continue;
        };
        match shape::understand(part, Some(&partial.name), source) {
            Ok(understood) => {
                let within = Some(partial.name.clone());
                wanted.extend(understood.partials.iter().map(|inner| (within.clone(), inner.clone())));
                found.insert(partial.name, understood);
            }
            Err(more) => faults.extend(more),
        }
        if found.len() > MAX_PARTIALS {
            return Err(vec![too_complex(part, "it includes too many partials")]);
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

/// What a partial stands for in a part.
fn source_of(bodies: &Bodies, part: Part) -> Option<&str> {
    let or_text = if part == Part::Subject { bodies.get(Part::Text) } else { None };
    bodies.get(part).or(or_text)
}

/// What each partial costs, innermost first; none may include itself, and all together must not be too deep.
fn weigh_all(
    part: Part,
    body: &Understood,
    found: &BTreeMap<String, Understood>,
) -> Result<Costs, Vec<Fault>> {
    let mut known: HashMap<String, (Cost, usize)> = HashMap::new();
    let mut open: Vec<String> = Vec::new();
    for partial in &body.partials {
        weigh_one(part, &partial.name, found, &mut known, &mut open)?;
    }
    let deepest =
        body.partials.iter().map(|partial| partial.depth + known.get(&partial.name).map_or(0, |it| it.1));
    if deepest.max().unwrap_or(0).max(body.depth) > MAX_DEPTH {
        return Err(vec![too_complex(part, "its blocks and partials are nested too deeply")]);
    }
    Ok(Costs::new(known.into_iter().map(|(name, (cost, _))| (name, cost)).collect()))
}

/// Calls itself for what a partial includes: no deeper than there are blocks allowed.
fn weigh_one(
    part: Part,
    name: &str,
    found: &BTreeMap<String, Understood>,
    known: &mut HashMap<String, (Cost, usize)>,
    open: &mut Vec<String>,
) -> Result<(), Vec<Fault>> {
    if known.contains_key(name) {
        return Ok(());
    }
    if open.iter().any(|outer| outer == name) {
        return Err(vec![Fault::of(part, Trouble::Recursion(name.to_owned()))]);
    }
    if open.len() >= MAX_DEPTH {
        return Err(vec![too_complex(part, "its partials are nested too deeply")]);
    }
    let Some(understood) = found.get(name) else { return Ok(()) };
    open.push(name.to_owned());
    let mut depth = understood.depth;
    for inner in &understood.partials {
        weigh_one(part, &inner.name, found, known, open)?;
        depth = depth.max(inner.depth + known.get(&inner.name).map_or(0, |it| it.1));
    }
    open.pop();
    let costs = Costs::new(known.iter().map(|(name, (cost, _))| (name.clone(), *cost)).collect());
    // An inclusion is a level of its own.
    known.insert(name.to_owned(), (costs.of(&understood.template), depth + 1));
    Ok(())
}

/// Takes no more than a part may have.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.0.len() + octets.len() > MAX_OUTPUT {
            return Err(io::Error::other("more than a part may have"));
        }
        self.0.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
