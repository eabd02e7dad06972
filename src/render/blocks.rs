//! `each` and `with`, in place of Handlebars' own: they need their variable unless they say what is shown without
//! it, and a loop pays for all its rounds before the first.

use handlebars::{
    BlockContext, BlockParams, Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output,
    PathAndJson, RenderContext, RenderError, RenderErrorReason, Renderable,
};
use serde_json::Value;

use super::missing::{Watch, too_long};
use super::shape::{Cost, Costs};

/// `{{#each list}}…{{else}}…{{/each}}`, over lists and objects; `@index`, `@key`, `@first`, `@last`, `as |value key|`.
pub struct Each {
    /// Where missing variables and steps are noted.
    pub watch: Watch,
    /// What partials cost.
    pub costs: Costs,
}

/// `{{#with object}}…{{else}}…{{/with}}`, `as |value|`.
pub struct With {
    /// Where missing variables are noted.
    pub watch: Watch,
}

/// What a round costs besides its elements: its names are set, whether anything reads them or not.
const ROUND: Cost = Cost::elements(4);

impl HelperDef for Each {
    fn call<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        r: &'reg Handlebars<'reg>,
        ctx: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = first(h, "each")?;
        let Some(template) = h.template() else { return Ok(()) };
        let rounds = rounds(value.value());
        if rounds.is_empty() {
            return otherwise(&self.watch, value, h, r, ctx, rc, out);
        }
        if !self.watch.spend(self.costs.of(template).and(ROUND), rounds.len()) {
            return Err(too_long());
        }
        rc.push_block(block_of(value));
        let last = rounds.len() - 1;
        for (index, (key, item)) in rounds.into_iter().enumerate() {
            if let Some(block) = rc.block_mut() {
                block.set_local_var("first", (index == 0).into());
                block.set_local_var("last", (index == last).into());
                block.set_local_var("index", index.into());
                if let Value::String(_) = key {
                    block.set_local_var("key", key.clone());
                }
                enter(block, value, &key, item, index == 0);
                name(block, h, value.context_path().is_some(), item, key)?;
            }
            template.render(r, ctx, rc, out)?;
        }
        rc.pop_block();
        Ok(())
    }
}

impl HelperDef for With {
    fn call<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        r: &'reg Handlebars<'reg>,
        ctx: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = first(h, "with")?;
        if !value.value().is_truthy(false) {
            return otherwise(&self.watch, value, h, r, ctx, rc, out);
        }
        let mut block = block_of(value);
        if let Some(outer) = rc.block() {
            block.local_variables_mut().clone_from(outer.local_variables());
        }
        name(&mut block, h, value.context_path().is_some(), value.value(), Value::Null)?;
        rc.push_block(block);
        if let Some(template) = h.template() {
            template.render(r, ctx, rc, out)?;
        }
        rc.pop_block();
        Ok(())
    }
}

fn first<'a, 'rc>(h: &'a Helper<'rc>, name: &'static str) -> Result<&'a PathAndJson<'rc>, RenderError> {
    h.param(0).ok_or_else(|| RenderErrorReason::ParamNotFoundForIndex(name, 0).into())
}

/// What is gone over: with the index for a list, the name for an object.
fn rounds(value: &Value) -> Vec<(Value, &Value)> {
    match value {
        Value::Array(list) => list.iter().enumerate().map(|(index, item)| (index.into(), item)).collect(),
        Value::Object(members) => members.iter().map(|(key, item)| (key.clone().into(), item)).collect(),
        _ => Vec::new(),
    }
}

/// What is shown instead, if anything is; else the variable must at least be there.
fn otherwise<'reg: 'rc, 'rc>(
    watch: &Watch,
    value: &PathAndJson<'rc>,
    h: &Helper<'rc>,
    r: &'reg Handlebars<'reg>,
    ctx: &'rc Context,
    rc: &mut RenderContext<'reg, 'rc>,
    out: &mut dyn Output,
) -> HelperResult {
    match h.inverse() {
        Some(template) => template.render(r, ctx, rc, out),
        None => {
            if value.is_value_missing() {
                watch.miss(value.relative_path().map_or("", String::as_str), rc);
            }
            Ok(())
        }
    }
}

/// A block that stands at a value: at its place among the variables, if it has one.
fn block_of<'rc>(value: &PathAndJson<'rc>) -> BlockContext<'rc> {
    let mut block = BlockContext::new();
    match value.context_path() {
        Some(path) => block.base_path_mut().clone_from(path),
        None => block.set_base_value(value.value().clone()),
    }
    block
}

/// Moves a loop's block to an item.
fn enter(block: &mut BlockContext<'_>, list: &PathAndJson<'_>, key: &Value, item: &Value, is_first: bool) {
    if list.context_path().is_none() {
        return block.set_base_value(item.clone());
    }
    let step = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    let path = block.base_path_mut();
    if !is_first {
        path.pop();
    }
    path.push(step);
}

/// Gives the item the name that the template has for it, and its key.
fn name<'rc>(
    block: &mut BlockContext<'rc>,
    h: &Helper<'rc>,
    has_place: bool,
    item: &Value,
    key: Value,
) -> Result<(), RenderError> {
    let mut params = BlockParams::new();
    let (item_name, key_name) = match (h.block_param(), h.block_param_pair()) {
        (Some(item), _) => (item, None),
        (None, Some((item, key))) => (item, Some(key)),
        (None, None) => return Ok(()),
    };
    if has_place {
        params.add_path(item_name, Vec::new())?;
    } else {
        params.add_value(item_name, item.clone())?;
    }
    if let Some(key_name) = key_name {
        params.add_value(key_name, key)?;
    }
    block.set_block_params(params);
    Ok(())
}
