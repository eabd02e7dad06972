//! Filling in by literal tokens: wherever a token such as `%recipient.name%` or `-name-` stands, its value is put, as it
//! is. Not a language: there are no conditions, no escaping, and a token without a value stays.
//!
//! Invariant: what a value brings is not looked through again, so that no value can call for another.

use std::borrow::Cow;

use memchr::memmem;
use serde_json::{Map, Value};

use super::Rendered;

/// Tokens and what stands in their place.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<(String, String)>);

impl Tokens {
    /// By name; a value that is no text is written as JSON. An empty token stands nowhere.
    pub fn new(variables: &Map<String, Value>) -> Tokens {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let tokens = variables.iter().filter(|(token, _)| !token.is_empty());
        Tokens(tokens.map(|(token, value)| (token.clone(), text(value))).collect())
    }

    /// A text with the values in it.
    pub fn fill<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut found: Vec<(usize, &str, &str)> = Vec::new();
        for (token, value) in &self.0 {
            found.extend(
                memmem::find_iter(text.as_bytes(), token).map(|at| (at, token.as_str(), value.as_str())),
            );
        }
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        // Of tokens that begin at one place, the longest is meant.
        found.sort_by_key(|(at, token, _)| (*at, std::cmp::Reverse(token.len())));
        let mut filled = String::with_capacity(text.len());
        let mut done = 0;
        for (at, token, value) in found {
            if at < done {
                continue;
            }
            filled.push_str(&text[done..at]);
            filled.push_str(value);
            done = at + token.len();
        }
        filled.push_str(&text[done..]);
        Cow::Owned(filled)
    }

    /// Contents with the values in them.
    pub fn fill_all(&self, contents: &Rendered) -> Rendered {
        let part = |part: &Option<String>| part.as_ref().map(|text| self.fill(text).into_owned());
        Rendered {
            subject: self.fill(&contents.subject).into_owned(),
            text: part(&contents.text),
            html: part(&contents.html),
            amp: part(&contents.amp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(text: &str, values: Value) -> String {
        let Value::Object(values) = values else { panic!("an object") };
        Tokens::new(&values).fill(text).into_owned()
    }

    #[test]
    fn tokens_are_replaced_once_and_the_longest_is_meant() {
        let cases = [
            ("Hi %a%, %a%!", json!({ "%a%": "Ann" }), "Hi Ann, Ann!"),
            ("-name- -name-x", json!({ "-name-": "A", "-name-x": "B" }), "A B"),
            ("%a% %b%", json!({ "%a%": "%b%", "%b%": "%a%" }), "%b% %a%"),
            ("é%a%é", json!({ "%a%": 7 }), "é7é"),
            ("%a%%b%", json!({ "%a%": null }), "%b%"),
            ("%%a%", json!({ "%a%": { "b": [1] } }), "%{\"b\":[1]}"),
            ("as it is", json!({ "": "x" }), "as it is"),
            ("aaa", json!({ "aa": "b" }), "ba"),
        ];
        for (text, values, expected) in cases {
            assert_eq!(fill(text, values), expected, "{text}");
        }
    }
}
