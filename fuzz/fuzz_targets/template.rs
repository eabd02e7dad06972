//! A tenant's template: rendered within the limits, or refused with a reason.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use postroad::render::{Bodies, Compiled, Part, Source};
use serde_json::json;

fuzz_target!(|template: &str| {
    let given = json!({ "name": "Ann", "p": [1, { "name": null }], "deep": { "a": { "b": "<c>" } } });
    let given = given.as_object().expect("an object");
    for part in [Part::Subject, Part::Text, Part::Html] {
        let mut bodies = Bodies::default();
        *bodies.get_mut(part) = Some(template.to_owned());
        let compiled = Compiled::new(&Source { bodies, partials: BTreeMap::new() });
        if let Err(faults) = compiled.and_then(|compiled| compiled.render(given).map(drop)) {
            assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.sentence().is_empty()));
        }
    }
});
