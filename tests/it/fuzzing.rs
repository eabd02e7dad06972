//! What `make fuzz` takes: a list of names in nextest's configuration, which nobody remembers.

use std::fs;
use std::path::Path;

use regex::Regex;

/// The modules below a directory: paths of them, and texts.
fn modules(directory: &Path, path: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(modules(&entry.path(), &format!("{path}{name}::")));
        } else if let Some(name) = name.strip_suffix(".rs") {
            found.push((format!("{path}{name}"), fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found
}

#[test]
fn make_fuzz_takes_every_property() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config: toml::Value =
        toml::from_str(&fs::read_to_string(root.join(".config/nextest.toml")).unwrap()).unwrap();
    let filter = config["profile"]["fuzz"]["default-filter"].as_str().unwrap();
    let pattern = filter.strip_prefix("test(/").unwrap().strip_suffix("/)").unwrap();
    let taken = Regex::new(pattern).unwrap();
    // A test that is given something `in` a strategy.
    let property = Regex::new(r"fn (\w+)\(\s*[\w(), &]+\bin\s").unwrap();
    let mut names = Vec::new();
    for (module, text) in modules(&root.join("src"), "") {
        names.extend(property.captures_iter(&text).map(|found| format!("{module}::{}", &found[1])));
    }
    assert!(names.len() > 30, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !taken.is_match(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // No word of the pattern is left over from a test that is gone.
    for word in pattern.split('|').filter(|word| !word.contains(['(', ')'])) {
        let word = Regex::new(word).unwrap();
        assert!(names.iter().any(|name| word.is_match(name)), "{word}");
    }
}
