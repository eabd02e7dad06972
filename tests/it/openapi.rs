//! `openapi.yaml` is the contract: here it is held against the routes, both ways, and against itself; and
//! [`validate_exchange`] holds answers against it, for the tests of the API.

mod answers;
pub mod routes;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Draft;
use postroad::domain::delivery::{DeliveryStatus, Priority};
use postroad::domain::event::EventType;
use postroad::domain::key::Scope;
use postroad::domain::outcome::BounceClass;
use postroad::domain::submission;
use postroad::http::error::Kind;
use serde_json::{Map, Value, json};

use answers::check;
pub use answers::validate_exchange;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The contract, as JSON.
pub fn contract() -> &'static Value {
    static CONTRACT: LazyLock<Value> =
        LazyLock::new(|| serde_yaml_ng::from_str(&read("openapi.yaml")).expect("the contract is YAML"));
    &CONTRACT
}

/// What a reference leads to; anything else is itself.
pub fn resolve(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            reference.strip_prefix('#').and_then(|pointer| contract().pointer(pointer)).unwrap()
        }
        None => value,
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// An operation with its place.
struct Operation {
    method: String,
    path: &'static str,
    item: &'static Value,
    /// Its own object.
    own: &'static Value,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn scope(&self) -> Option<String> {
        self.own.get("x-scope").map(|scope| scope.as_str().unwrap().to_owned())
    }

    /// Its parameters, with those of its path.
    fn parameters(&self) -> Vec<&'static Value> {
        let of =
            |value: &'static Value| value.get("parameters").and_then(Value::as_array).into_iter().flatten();
        of(self.item).chain(of(self.own)).map(resolve).collect()
    }

    fn statuses(&self) -> BTreeSet<&'static str> {
        self.own["responses"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn accepts(&self, content_type: &str) -> bool {
        self.own["requestBody"]["content"].get(content_type).is_some()
    }
}

fn operations() -> Vec<Operation> {
    let paths = contract()["paths"].as_object().unwrap().iter();
    let of_path = |(path, item): (&'static String, &'static Value)| {
        METHODS.into_iter().filter_map(move |method| {
            Some(Operation { method: method.to_uppercase(), path, item, own: item.get(method)? })
        })
    };
    paths.flat_map(of_path).collect()
}

/// Every value in the contract, with its pointer.
fn everything() -> Vec<(String, &'static Value)> {
    let mut found = Vec::new();
    let mut left = vec![(String::new(), contract())];
    while let Some((pointer, value)) = left.pop() {
        let below = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        match value {
            Value::Object(members) => left.extend(members.iter().map(|(name, value)| (below(name), value))),
            Value::Array(list) => {
                left.extend(list.iter().enumerate().map(|(index, value)| (below(&index.to_string()), value)));
            }
            _ => {}
        }
        found.push((pointer, value));
    }
    found
}

#[test]
fn the_contract_and_the_routes_agree() {
    let routes = routes::read(&read("src/http/mod.rs")).unwrap();
    let documented: routes::Routes =
        operations().iter().map(|o| ((o.method.clone(), o.path.to_owned()), o.scope())).collect();
    let api = |routes: &routes::Routes| -> routes::Routes {
        routes
            .iter()
            .filter(|((_, path), _)| path.starts_with("/v1/"))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    assert_eq!(api(&documented), api(&routes), "left: openapi.yaml, right: src/http/mod.rs");
    // Pages and their parts need not be in the contract; what is in it must be routed.
    for (operation, scope) in &documented {
        assert_eq!(routes.get(operation), Some(scope), "{operation:?} is not routed so");
    }
    assert!(api(&routes).values().all(Option::is_some), "everything below /v1/ demands a scope");
}

#[test]
fn it_has_the_form_of_openapi() {
    let form: Value = serde_yaml_ng::from_str(&read("tests/it/openapi/form.yaml")).unwrap();
    let form = jsonschema::options().with_draft(Draft::Draft202012).build(&form).unwrap();
    let wrong: Vec<String> =
        form.iter_errors(contract()).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_form_sees_what_is_wrong() {
    let form: Value = serde_yaml_ng::from_str(&read("tests/it/openapi/form.yaml")).unwrap();
    let form = jsonschema::options().with_draft(Draft::Draft202012).build(&form).unwrap();
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 5] = [
        ("an unknown member", |contract| contract["paths"]["/healthz"]["get"]["sumary"] = json!("x")),
        ("no responses", |contract| contract["paths"]["/healthz"]["get"]["responses"] = json!({})),
        ("a scope and no security", |contract| contract["paths"]["/v1/keys"]["get"]["security"] = json!([])),
        ("neither", |contract| {
            contract["paths"]["/healthz"]["get"].as_object_mut().unwrap().remove("security");
        }),
        ("an optional path parameter", |contract| {
            contract["components"]["parameters"]["MessageId"]["required"] = json!(false);
        }),
    ];
    for (what, change) in cases {
        let mut changed = contract().clone();
        change(&mut changed);
        assert!(!form.is_valid(&changed), "{what}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let mut used = BTreeSet::new();
    for (pointer, value) in everything() {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { continue };
        let target =
            reference.strip_prefix('#').unwrap_or_else(|| panic!("{pointer}: {reference} is not in here"));
        assert!(contract().pointer(target).is_some(), "{pointer}: {reference} leads nowhere");
        used.insert(target);
    }
    // Answered where there is no operation, and so nowhere referred to.
    used.insert("/components/responses/MethodNotAllowed");
    for kind in ["parameters", "headers", "responses", "schemas"] {
        for name in contract()["components"][kind].as_object().unwrap().keys() {
            let pointer = format!("/components/{kind}/{name}");
            assert!(used.contains(pointer.as_str()), "{pointer} is used nowhere");
        }
    }
}

#[test]
fn every_schema_is_a_schema() {
    let is_schema = |pointer: &str| {
        pointer.ends_with("/schema")
            || pointer.rsplit_once('/').is_some_and(|(above, _)| above == "/components/schemas")
    };
    let schemas: Vec<_> = everything().into_iter().filter(|(pointer, _)| is_schema(pointer)).collect();
    assert!(schemas.len() > 50, "they are found");
    for (pointer, schema) in schemas {
        if let Err(error) = jsonschema::draft202012::meta::validate(schema) {
            panic!("{pointer}: {error}");
        }
        // Compiles, with all that it refers to.
        drop(check(&pointer, &Value::Null));
        let unknown = unknown_keywords(schema);
        assert_eq!(unknown, [""; 0], "{pointer}: no keywords of JSON Schema that are used here");
    }
}

/// A misspelt keyword constrains nothing; the meta-schema lets it pass.
fn unknown_keywords(schema: &Value) -> Vec<String> {
    const KEYWORDS: &str = "$ref type enum const oneOf anyOf allOf not properties required additionalProperties \
        unevaluatedProperties propertyNames minProperties maxProperties items minItems maxItems uniqueItems minLength \
        maxLength pattern format minimum maximum contentEncoding default description title examples";
    let Some(members) = schema.as_object() else { return Vec::new() };
    let mut unknown: Vec<String> = members
        .keys()
        .filter(|name| !KEYWORDS.split_whitespace().any(|known| known == *name))
        .cloned()
        .collect();
    let inner = |name: &str| members.get(name).into_iter();
    unknown.extend(
        inner("properties").filter_map(Value::as_object).flat_map(Map::values).flat_map(unknown_keywords),
    );
    for name in ["oneOf", "anyOf", "allOf"] {
        unknown.extend(inner(name).filter_map(Value::as_array).flatten().flat_map(unknown_keywords));
    }
    for name in ["items", "additionalProperties", "propertyNames", "not"] {
        unknown.extend(inner(name).flat_map(unknown_keywords));
    }
    unknown
}

#[test]
fn every_operation_is_complete() {
    let tags: Vec<&str> =
        contract()["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut names = BTreeSet::new();
    for operation in operations() {
        let (name, own, statuses) = (operation.name(), operation.own, operation.statuses());
        assert!(tags.contains(&own["tags"][0].as_str().unwrap()), "{name}: its tag is not described");
        assert!(names.insert(own["operationId"].as_str().unwrap()), "{name}: its operationId is another's");
        assert!(
            statuses.iter().any(|status| matches!(status.as_bytes()[0], b'2' | b'3')),
            "{name}: never succeeds"
        );
        let wanted = wanted_statuses(&operation);
        let missing: Vec<_> = wanted.iter().filter(|status| !statuses.contains(**status)).collect();
        assert!(missing.is_empty(), "{name} can answer {missing:?} too");
    }
}

/// What an operation can answer by its nature.
fn wanted_statuses(operation: &Operation) -> Vec<&'static str> {
    let mut wanted = Vec::new();
    if operation.scope().is_some() {
        wanted.extend(["401", "403", "429", "500", "503", "507"]);
    }
    if operation.path.contains('{') {
        wanted.push("404");
    }
    if operation.accepts("application/json") {
        wanted.extend(["400", "413", "415", "422"]);
    }
    if operation.parameters().iter().any(|parameter| parameter["in"] == "query") {
        wanted.push("422");
    }
    wanted
}

#[test]
fn parameters_of_paths_are_declared_and_no_others() {
    for operation in operations() {
        let in_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters = operation.parameters();
        let declared = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let declared: BTreeSet<&str> =
            declared.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(declared, in_path.collect(), "{}", operation.name());
        let all: BTreeSet<String> = parameters.iter().map(|p| format!("{} {}", p["in"], p["name"])).collect();
        assert_eq!(all.len(), parameters.len(), "{}: a parameter is there twice", operation.name());
    }
}

#[test]
fn every_example_is_one() {
    let mut seen = 0;
    for (pointer, value) in everything() {
        let Some(schema) = value.get("schema").filter(|_| value.is_object()) else { continue };
        let schema_pointer = match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => reference[1..].to_owned(),
            None => format!("{pointer}/schema"),
        };
        let named = value.get("examples").and_then(Value::as_object).into_iter().flat_map(Map::values);
        for example in named.map(|named| &named["value"]).chain(value.get("example")) {
            seen += 1;
            if let Err(errors) = check(&schema_pointer, example) {
                panic!("the example at {pointer}:{errors}");
            }
        }
    }
    assert!(seen > 10, "they are found");
}

#[test]
fn problems_are_those_of_the_code() {
    let documented = texts("/components/schemas/Problem/properties/code/enum");
    // What submission refuses has codes of its own.
    let mut codes: Vec<&str> =
        vec!["domain_not_allowed", "stream_not_allowed", "sender_not_verified", "domain_paused"];
    codes.extend(Kind::ALL.map(|kind| kind.parts().1));
    assert_eq!(documented.iter().copied().collect::<BTreeSet<_>>(), codes.into_iter().collect());
    for kind in Kind::ALL {
        let (status, code, title) = kind.parts();
        let body = json!({
            "type": format!("urn:postroad:problem:{code}"), "title": title, "status": status, "detail": "x",
            "code": code, "errors": [{ "pointer": "", "code": "x", "message": "x" }],
        });
        let responses = contract()["components"]["responses"].as_object().unwrap();
        let describes = |name: &&String| {
            let pointer = format!("/components/responses/{name}/content/application~1problem+json/schema");
            contract().pointer(&pointer).is_some() && check(&pointer, &body).is_ok()
        };
        assert!(responses.keys().any(|name| describes(&name)), "no response describes {status} {code}");
    }
}

#[test]
fn words_are_those_of_the_code() {
    let schemas = "/components/schemas";
    assert_eq!(
        texts(&format!("{schemas}/DeliveryStatus/enum")),
        DeliveryStatus::ALL.map(DeliveryStatus::as_str)
    );
    assert_eq!(texts(&format!("{schemas}/BounceClass/enum")), BounceClass::ALL.map(BounceClass::as_str));
    assert_eq!(texts(&format!("{schemas}/EventType/enum")), EventType::ALL.map(EventType::as_str));
    assert_eq!(texts(&format!("{schemas}/Priority/enum")), Priority::ALL.map(Priority::as_str));
    assert_eq!(texts(&format!("{schemas}/Scope/enum")), Scope::ALL.map(Scope::as_str));
}

#[test]
fn limits_are_those_of_the_code() {
    let limit = |path: &str| {
        let pointer = format!("/components/schemas/SendRequest/properties/{path}");
        contract().pointer(&pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer}"))
    };
    let cases = [
        ("subject/maxLength", submission::MAX_SUBJECT),
        ("headers/maxProperties", submission::MAX_HEADERS),
        ("attachments/maxItems", submission::MAX_ATTACHMENTS),
        ("tags/maxItems", submission::MAX_TAGS),
        ("tags/items/maxLength", submission::MAX_TAG_LEN),
        ("metadata/maxProperties", submission::MAX_METADATA),
        ("metadata/propertyNames/maxLength", submission::MAX_METADATA_KEY),
        ("metadata/additionalProperties/maxLength", submission::MAX_METADATA_VALUE),
        ("ttl_seconds/minimum", submission::MIN_TTL.whole_seconds() as usize),
        ("ttl_seconds/maximum", submission::MAX_TTL.whole_seconds() as usize),
    ];
    for (path, expected) in cases {
        assert_eq!(limit(path), expected as u64, "{path}");
    }
}

fn texts(pointer: &str) -> Vec<&'static str> {
    let list =
        contract().pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("no list {pointer}"));
    list.iter().map(|text| text.as_str().unwrap()).collect()
}
