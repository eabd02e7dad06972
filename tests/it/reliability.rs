//! `docs/reliability.md` and `SECURITY.md` cannot lie: every test they name is there, and they are what
//! `scripts/reliability.py` would write now.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn matrix() -> Table {
    let text = std::fs::read_to_string(root().join("docs/reliability.toml")).expect("the matrix");
    text.parse().expect("TOML")
}

fn rows(matrix: &Table) -> Vec<&Table> {
    let parts = matrix["part"].as_array().expect("parts").iter();
    let faults = parts.flat_map(|part| part["row"].as_array().expect("rows"));
    let security = matrix["security"].as_array().expect("rows");
    faults.chain(security).map(|row| row.as_table().expect("a row")).collect()
}

fn tests_of(row: &Table) -> Vec<&str> {
    let tests = row.get("tests").and_then(Value::as_array);
    tests.into_iter().flatten().map(|name| name.as_str().expect("a name")).collect()
}

/// Every test there is, by its name, with the files that have one.
fn sources() -> HashMap<String, Vec<PathBuf>> {
    let mut found = HashMap::<String, Vec<PathBuf>>::new();
    let mut directories = vec![root().join("src"), root().join("tests/it")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                for name in tests_in(&text) {
                    found.entry(name.to_owned()).or_default().push(path.clone());
                }
            }
        }
    }
    found
}

/// The names of the functions that follow an attribute of a test, or are in a block of properties.
fn tests_in(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_next = false;
    for line in text.lines().map(str::trim) {
        is_next |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let (true, Some(name)) = (is_next, name) {
            names.extend(name.split(['(', '<']).next());
            is_next = false;
        }
    }
    names
}

/// Where a test of this path has to be: its module's file, or one beside it.
fn belongs(test: &str, file: &Path) -> bool {
    let (root, path) = match test.strip_prefix("it::") {
        Some(path) => (root().join("tests/it"), path),
        None => (root().join("src"), test),
    };
    let modules: Vec<_> = path.split("::").collect();
    let modules = &modules[..modules.len() - 1];
    let modules: Vec<_> = modules.iter().take_while(|module| **module != "tests").collect();
    let file = file.strip_prefix(&root).map(|file| file.with_extension("")).unwrap_or_default();
    let folder: PathBuf = modules[..modules.len() - 1].iter().collect();
    file.starts_with(&folder) && modules.last().is_some_and(|last| file.to_string_lossy().contains(**last))
}

#[test]
fn every_row_names_tests_that_are_there() {
    let matrix = matrix();
    let sources = sources();
    for row in rows(&matrix) {
        for test in tests_of(row) {
            let name = test.rsplit("::").next().expect("a name");
            let files = sources.get(name).map(Vec::as_slice).unwrap_or_default();
            assert!(files.iter().any(|file| belongs(test, file)), "{}: there is no {test}", row["id"]);
        }
    }
}

#[test]
fn every_row_says_what_holds_or_that_it_is_open() {
    let matrix = matrix();
    let rows = rows(&matrix);
    assert!(rows.len() >= 70, "{} rows", rows.len());
    let mut ids = std::collections::HashSet::new();
    for row in rows {
        assert!(ids.insert(row["id"].as_str()), "{} is there twice", row["id"]);
        assert!(
            !tests_of(row).is_empty() || row.contains_key("gap"),
            "{} is open and does not say so",
            row["id"]
        );
    }
}

#[test]
fn a_renamed_or_moved_test_is_seen() {
    let sources = sources();
    let here = "every_row_names_tests_that_are_there";
    assert!(sources.contains_key(here) && !sources.contains_key("tests_of"));
    let file = &sources[here][0];
    assert!(belongs(&format!("it::reliability::{here}"), file));
    assert!(!belongs(&format!("it::crash::{here}"), file));
    assert!(!belongs(&format!("reliability::tests::{here}"), file));
}

#[test]
fn the_pages_are_what_the_tests_said() {
    let script = root().join("scripts/reliability.py");
    let output = Command::new("python3").arg(script).arg("--check").output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
