//! JSON that means one thing: as serde_json reads it, but with duplicate names refused. Two readers of
//! `{"to": a, "to": b}` need not agree on who gets the mail (RFC 8259 §4).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads one JSON text.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(Strict)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Strict)?;
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name {name:?} occurs twice in one object")));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_reads_as_usual() {
        let text = br#"{"a": [1, -2, 3.5, "x", null, true], "b": {"c": ""}}"#;
        assert_eq!(parse(text).ok(), Some(json!({"a": [1, -2, 3.5, "x", null, true], "b": {"c": ""}})));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let deep = "[".repeat(10_000);
        let cases: [&[u8]; 8] = [
            br#"{"to": 1, "to": 2}"#,
            br#"[{"a": {"b": 1, "b": 1}}]"#,
            b"NaN",
            b"{} {}",
            b"\"\xff\"",
            br#""\ud800""#,
            b"[1,]",
            deep.as_bytes(),
        ];
        for text in cases {
            assert!(parse(text).is_err(), "{:?}", String::from_utf8_lossy(&text[..text.len().min(40)]));
        }
    }

    /// JSON as it may be written, and whether an object in it has a name twice.
    fn written() -> impl Strategy<Value = (String, bool)> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,3})?(e-?[0-9]{1,2})?",
            "\"([a-zäß🥳 ]|\\\\[nrt\"\\\\/]|\\\\u00[0-9a-f]{2}|\\\\ud83e\\\\udd73){0,6}\"",
        ];
        leaf.prop_map(|text| (text, false)).prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(|items| {
                    let texts: Vec<String> = items.iter().map(|(text, _)| text.clone()).collect();
                    (format!("[{}]", texts.join(", ")), items.iter().any(|(_, twice)| *twice))
                }),
                vec(("[a-d]{1,2}", inner), 0..5).prop_map(|members| {
                    let names: HashSet<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
                    let twice = names.len() < members.len() || members.iter().any(|(_, (_, twice))| *twice);
                    let texts: Vec<String> =
                        members.iter().map(|(name, (text, _))| format!("\"{name}\": {text}")).collect();
                    (format!("{{{}}}", texts.join(", ")), twice)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_others_read_and_no_name_stands_twice((text, twice) in written()) {
            let wanted = if twice { None } else { serde_json::from_str::<Value>(&text).ok() };
            prop_assert_eq!(parse(text.as_bytes()).ok(), wanted);
        }

        #[test]
        fn octets_that_are_no_json_are_refused_and_not_more(octets: Vec<u8>) {
            let _ = parse(&octets);
        }
    }
}
