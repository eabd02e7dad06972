//! What one rendering notes while it runs: the variables that are missing, and the steps that are left.
//!
//! Handlebars' own strict mode stops at the first missing variable, and counts nothing. So it runs in its lenient
//! mode, in which a missing variable calls a hook, and the hook and the loops note what they see here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError,
    RenderErrorReason,
};

use super::limits::MAX_STEPS;
use super::shape::Cost;

/// The notes of an engine's renderings, one at a time.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Notes>>);

/// The notes of one rendering.
#[derive(Debug, Default)]
pub struct Notes {
    /// Variables that were needed and not there.
    pub missing: Vec<Vec<String>>,
    /// What including a partial costs besides its elements: its context is copied.
    pub per_partial: u64,
    /// Steps that are left; `None`: it ran out of them.
    steps: Option<u64>,
}

/// Far more than anybody reads.
const MAX_MISSING: usize = 50;

impl Watch {
    /// Begins the notes of a rendering.
    pub fn begin(&self, per_partial: u64) {
        *self.notes() = Notes { missing: Vec::new(), per_partial, steps: Some(MAX_STEPS) };
    }

    /// The missing variables, and the steps that were run; `None`: there were not enough.
    pub fn end(&self) -> (Vec<Vec<String>>, Option<u64>) {
        let mut notes = self.notes();
        (std::mem::take(&mut notes.missing), notes.steps.map(|left| MAX_STEPS - left))
    }

    /// Takes `times` the cost of something from the steps that are left. False: they do not suffice.
    pub fn spend(&self, cost: Cost, times: usize) -> bool {
        let mut notes = self.notes();
        let price = cost.steps(notes.per_partial).saturating_mul(times as u64);
        notes.steps = notes.steps.and_then(|left| left.checked_sub(price));
        notes.steps.is_some()
    }

    /// Notes a missing variable, as it is written where `rc` stands.
    pub fn miss(&self, written: &str, rc: &RenderContext<'_, '_>) {
        let path = absolute(written, rc);
        let mut notes = self.notes();
        if notes.missing.len() < MAX_MISSING && !notes.missing.contains(&path) {
            notes.missing.push(path);
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Plain counters: usable whatever happened to another rendering.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names from the outermost variable on, as far as they can be told.
fn absolute(written: &str, rc: &RenderContext<'_, '_>) -> Vec<String> {
    let names = split(written);
    let from_root = written.starts_with('@') || written.starts_with("..");
    let Some(block) = rc.block().filter(|_| !from_root) else { return names };
    let is_alias = names.first().is_some_and(|first| block.get_block_param(first).is_some());
    let rest = names.into_iter().skip(usize::from(is_alias));
    block.base_path().iter().cloned().chain(rest).collect()
}

fn split(written: &str) -> Vec<String> {
    let names = written.split(['.', '/']).map(|name| name.trim_matches(['[', ']']));
    names.filter(|name| !matches!(*name, "" | "this" | "@root")).map(str::to_owned).collect()
}

/// Handlebars calls it for what is neither a variable nor a helper.
pub struct Missed(pub Watch);

impl HelperDef for Missed {
    fn call<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn Output,
    ) -> HelperResult {
        if h.params().is_empty() && h.hash().is_empty() {
            self.0.miss(h.name(), rc);
            return Ok(());
        }
        Err(RenderErrorReason::HelperNotFound(h.name().to_owned()).into())
    }
}

/// The error of what ran out of steps.
pub fn too_long() -> RenderError {
    RenderErrorReason::Other("it would run for too long".to_owned()).into()
}
