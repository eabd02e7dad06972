//! Dependencies: every crate that is built has a licence that `deny.toml` allows, and comes from the registry (security
//! 5.17). What cargo-deny checks beyond that, `make deny` has it check.

use std::collections::HashSet;
use std::process::Command;

use serde_json::Value;
use toml::Table;

/// Where crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn deny() -> Table {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    std::fs::read_to_string(path).expect("deny.toml").parse().expect("TOML")
}

fn texts<'a>(table: &'a Table, section: &str, list: &str) -> Vec<&'a str> {
    let list = table[section][list].as_array().expect("a list").iter();
    list.map(|entry| entry.as_str().unwrap_or_else(|| entry["crate"].as_str().expect("a crate"))).collect()
}

/// All of them, for whatever platform: cargo fetches what no build here needed.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// Whether one of the ways in which an expression may be read is allowed as a whole (SPDX 2.3, annex D; the old `/` is
/// OR).
fn allows(expression: &str, allowed: &HashSet<&str>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let verdict = any(&mut rest, allowed);
    verdict && rest.is_empty()
}

/// Terms joined by OR, which binds least.
fn any(words: &mut &[&str], allowed: &HashSet<&str>) -> bool {
    let mut verdict = all(words, allowed);
    while take(words, "OR") {
        verdict |= all(words, allowed);
    }
    verdict
}

/// Terms joined by AND.
fn all(words: &mut &[&str], allowed: &HashSet<&str>) -> bool {
    let mut verdict = one(words, allowed);
    while take(words, "AND") {
        verdict &= one(words, allowed);
    }
    verdict
}

fn one(words: &mut &[&str], allowed: &HashSet<&str>) -> bool {
    if take(words, "(") {
        let verdict = any(words, allowed);
        return take(words, ")") && verdict;
    }
    let Some((name, rest)) = words.split_first() else { return false };
    *words = rest;
    if take(words, "WITH") {
        let Some((exception, rest)) = words.split_first() else { return false };
        *words = rest;
        return allowed.contains(format!("{name} WITH {exception}").as_str());
    }
    allowed.contains(name)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[test]
fn every_crate_has_a_licence_that_we_take_and_comes_from_the_registry() {
    let deny = deny();
    let allowed: HashSet<&str> = texts(&deny, "licenses", "allow").into_iter().collect();
    let banned = texts(&deny, "bans", "deny");
    let packages = packages();
    assert!(packages.len() > 200, "{} packages", packages.len());
    for package in &packages {
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(allows(licence, &allowed), "{name}: {licence:?} is not in deny.toml");
        assert!(!banned.contains(&name), "{name} is banned by deny.toml");
        if name != env!("CARGO_PKG_NAME") {
            assert_eq!(package["source"], REGISTRY, "{name} comes from elsewhere");
        }
    }
}

#[test]
fn expressions_are_read_as_they_bind() {
    let allowed = HashSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
    for taken in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(GPL-3.0 OR ISC) AND MIT",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(allows(taken, &allowed), "{taken}");
    }
    for refused in ["", "GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR MIT AND GPL-2.0", "(MIT", "MIT)", "MIT ISC"]
    {
        assert!(!allows(refused, &allowed), "{refused}");
    }
}
