//! Reading the variables of templates: an object of anything, bounded in size and depth.

use serde_json::{Map, Value};

use crate::http::fields::Fields;
use crate::render::limits::{MAX_VARIABLES, MAX_VARIABLES_DEPTH};

/// Takes a member as variables; `None`: there is none, or it is wrong.
pub fn take(fields: &mut Fields, name: &str) -> Option<Map<String, Value>> {
    let mut object = fields.object(name)?;
    let members = object.rest();
    fields.absorb(object);
    let mut size = 2;
    for (key, value) in &members {
        match measure(value, 1) {
            Ok(octets) => size += key.len() + 4 + octets,
            Err(why) => fields.wrong(name, why.0, why.1),
        }
        if key.contains('\0') {
            fields.wrong(name, NUL.0, NUL.1);
        }
    }
    if size > MAX_VARIABLES {
        fields.wrong(
            name,
            "too_large",
            format!("variables have at most {MAX_VARIABLES} octets, these have {size}"),
        );
    }
    (!fields.is_wrong(name)).then_some(members)
}

type Why = (&'static str, &'static str);

const NUL: Why = ("invalid_character", "they contain the character U+0000");
const DEEP: Why = ("too_deep", "their objects and lists are nested too deeply");

/// About how many octets a value has as JSON. The depth is bounded before it is descended into.
fn measure(value: &Value, depth: usize) -> Result<usize, Why> {
    if depth > MAX_VARIABLES_DEPTH {
        return Err(DEEP);
    }
    match value {
        Value::String(text) if text.contains('\0') => Err(NUL),
        Value::String(text) => Ok(text.len() + 2),
        Value::Array(list) => list.iter().map(|item| Ok(measure(item, depth + 1)? + 1)).sum(),
        Value::Object(members) => {
            members
                .iter()
                .map(|(key, item)| {
                    if key.contains('\0') { Err(NUL) } else { Ok(key.len() + 4 + measure(item, depth + 1)?) }
                })
                .sum()
        }
        other => Ok(other.to_string().len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn codes(value: Value) -> Vec<String> {
        let mut fields = Fields::of(json!({ "v": value }), "").expect("an object");
        take(&mut fields, "v");
        fields.finish().into_iter().map(|violation| violation.code).collect()
    }

    #[test]
    fn variables_are_an_object_and_bounded() {
        assert_eq!(codes(json!({ "a": [1, { "b": null }] })), [""; 0]);
        assert_eq!(codes(json!([])), ["wrong_type"]);
        assert_eq!(codes(json!({ "a": "x".repeat(MAX_VARIABLES) })), ["too_large"]);
        assert_eq!(codes(json!({ "a": { "b": "\0" } })), ["invalid_character"]);
        let deep = (0..MAX_VARIABLES_DEPTH).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(codes(json!({ "a": deep })), ["too_deep"]);
    }
}
