//! The house rules that the compiler does not know: which module may use which, and what belongs where. They are told
//! in `ARCHITECTURE.md`; here they are held, by reading `src/`.
//!
//! Each rule is a function from one source to what is wrong with it, so that a test below can show it a source that
//! breaks it. A violation tells file, line, what, and why.

mod source;

use std::fmt::Write;

use regex::Regex;

use source::{Source, line_of};

/// The modules by level: imports run strictly downward, and siblings never import each other.
const LEVELS: [(u8, &[&str]); 9] = [
    (0, &["admission", "clock", "mail", "render", "seal"]),
    (1, &["domain"]),
    (2, &["dns", "outbound", "store"]),
    (3, &["identities", "submission"]),
    (4, &["account", "certificates", "delivery", "feedback", "live", "reporting", "webhooks"]),
    (5, &["http", "smtp", "worker"]),
    (6, &["config", "embedded"]),
    (7, &["doctor", "server"]),
    (8, &["cli", "main"]),
];

/// A library, and the only places that know it: prefixes of paths below `src/`, with the reason.
struct Home {
    library: &'static str,
    places: &'static [&'static str],
    why: &'static str,
}

const HOMES: [Home; 17] = [
    Home {
        library: "lettre",
        places: &["mail/", "delivery/transmit/", "delivery/stream.rs"],
        why: "it composes mail in mail/ and speaks SMTP in delivery/transmit/, over the stream in delivery/stream.rs",
    },
    Home { library: "axum", places: &["http/"], why: "HTTP is known to its door alone" },
    Home { library: "hyper", places: &["http/"], why: "HTTP is known to its door alone" },
    Home { library: "askama", places: &["http/"], why: "pages are made by the door that shows them" },
    Home {
        library: "jsonwebtoken",
        places: &["http/ui/session/token", "account/users/oidc/", "delivery/oauth.rs"],
        why: "tokens are read where browsers and OpenID providers show them, and made where relays want them",
    },
    Home {
        library: "argon2",
        places: &["account/users/passwords.rs"],
        why: "passwords are hashed in one place",
    },
    Home {
        library: "webauthn_rs",
        places: &["account/users/passkeys.rs"],
        why: "passkeys are asked in one place",
    },
    Home {
        library: "sqlx",
        places: &["store/", "embedded/", "doctor.rs", "worker/listen.rs", "http/error.rs"],
        why: "the database is known to store/ alone (embedded/ and doctor.rs name how it is reached)",
    },
    Home { library: "lol_html", places: &["mail/links.rs"], why: "HTML is read in one place" },
    Home {
        library: "ammonia",
        places: &["mail/preview.rs"],
        why: "others' HTML is made harmless in one place",
    },
    Home { library: "woothee", places: &["domain/visitor.rs"], why: "user agents are read in one place" },
    Home {
        library: "maxminddb",
        places: &["feedback/visits.rs"],
        why: "countries are looked up in one place",
    },
    Home {
        library: "hickory_resolver",
        places: &["dns/"],
        why: "names are looked up in one place, within its bounds",
    },
    Home {
        library: "toml",
        places: &["config.rs", "delivery/policy/read.rs"],
        why: "config.rs is the only reader of settings, but for the table of paces",
    },
    Home {
        library: "instant_acme",
        places: &["certificates/", "outbound/acme.rs"],
        why: "certificates are got in one place",
    },
    Home { library: "clap", places: &["cli.rs", "main.rs"], why: "the command line is read in one place" },
    Home {
        library: "anyhow",
        places: &["server/", "cli.rs", "cli/", "main.rs"],
        why: "an operation's errors are an enum whose variants callers tell apart; only assembly just reports them",
    },
];

/// A way to write something that must not be written, where it may be all the same, and why it must not.
struct Ban {
    pattern: &'static str,
    but_in: &'static [&'static str],
    why: &'static str,
}

const BANS: [Ban; 9] = [
    Ban { pattern: r"\b(todo|unimplemented|dbg)!", but_in: &[], why: "nothing is left undone" },
    Ban {
        pattern: r"#!?\[allow\b",
        but_in: &[],
        why: "say #[expect(lint, reason = …)]: it tells when it is not needed",
    },
    Ban { pattern: r"#\[ignore\b", but_in: &[], why: "a test that does not run holds nothing" },
    Ban {
        pattern: r"\bSystemTime::now\b",
        but_in: &[],
        why: "time comes from Clock, which follows the database",
    },
    Ban {
        pattern: r"\.unwrap\(\)",
        but_in: &[],
        why: "no input may end the process; expect() says why it cannot",
    },
    Ban {
        pattern: r"\benv::vars?(_os)?\b",
        but_in: &["config.rs", "embedded/"],
        why: "config.rs is the only reader of the environment (embedded/ looks for programs, and hides it from Postgres)",
    },
    Ban {
        pattern: r"\.begin\(\)",
        but_in: &[
            "store/",
            "submission/",
            "account/",
            "certificates/",
            "delivery/",
            "feedback/",
            "reporting/",
            "webhooks/",
        ],
        why: "a transaction begins and ends in one operation; doors and loops own none",
    },
    Ban { pattern: r"\bstatic\s+mut\b", but_in: &[], why: "there are no globals that change" },
    Ban {
        pattern: r"\bunsafe\b",
        but_in: &["embedded/"],
        why: "only what speaks with the kernel may need it",
    },
];

/// The most lines of a file.
const MOST_LINES: usize = 600;

/// One thing that is wrong: where, and what and why.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    place: String,
    text: String,
}

impl Violation {
    fn new(source: &Source, line: usize, text: impl Into<String>) -> Violation {
        Violation { place: format!("src/{}:{line}", source.path), text: text.into() }
    }
}

fn assert_none(violations: Vec<Violation>) {
    let mut report = String::new();
    for Violation { place, text } in &violations {
        write!(report, "\n  {place}: {text}").expect("a String takes everything");
    }
    assert!(
        violations.is_empty(),
        "{} violations (ARCHITECTURE.md tells the rules):{report}",
        violations.len()
    );
}

fn assert_all(rule: impl Fn(&Source) -> Vec<Violation>) {
    assert_none(source::all().iter().flat_map(rule).collect());
}

fn level(module: &str) -> Option<u8> {
    LEVELS.iter().find(|(_, modules)| modules.contains(&module)).map(|(level, _)| *level)
}

fn upward_imports(source: &Source) -> Vec<Violation> {
    let own = source.module();
    // The root declares modules and uses none of them.
    let own_level = if own == "lib" { Some(0) } else { level(own) };
    let wrong = |to: &str| match (own_level, level(to)) {
        _ if own == to => None,
        (None, _) => Some(format!("`{own}` has no level; give it one in tests/it/architecture.rs")),
        (_, None) => {
            Some(format!("`{to}` is no module with a level; name things by the module that holds them"))
        }
        (Some(from), Some(below)) if below < from => None,
        (Some(from), Some(other)) => Some(format!(
            "`{own}` (level {from}) uses `{to}` (level {other}): imports run strictly downward; what both need \
             belongs one level down"
        )),
    };
    let references = source.references().into_iter();
    references.filter_map(|found| Some(Violation::new(source, found.line, wrong(&found.to)?))).collect()
}

fn strays(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for Home { library, places, why } in &HOMES {
        if is_in(source, places) {
            continue;
        }
        let named = Regex::new(&format!(r"\b{library}\s*::|\buse\s+{library}\b")).unwrap();
        let stray = |at: regex::Match<'_>| {
            Violation::new(
                source,
                line_of(&source.code, at.start()),
                format!("`{library}` does not belong here: {why}"),
            )
        };
        found.extend(named.find_iter(&source.code).map(stray));
    }
    found
}

fn banned(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for Ban { pattern, why, .. } in BANS.iter().filter(|ban| !is_in(source, ban.but_in)) {
        let hits = Regex::new(pattern).unwrap();
        let hit = |at: regex::Match<'_>| {
            Violation::new(source, line_of(&source.code, at.start()), format!("`{}`: {why}", at.as_str()))
        };
        found.extend(hits.find_iter(&source.code).map(hit));
    }
    found
}

fn is_in(source: &Source, places: &[&str]) -> bool {
    places.iter().any(|place| source.path.starts_with(place))
}

fn stray_sql(source: &Source) -> Vec<Violation> {
    if is_in(source, &["store/", "embedded/cluster.rs"]) {
        return Vec::new();
    }
    let sql = Regex::new(
        r"(?ix)^\s*(select\s.+\sfrom\s|select\s+\d|insert\s+into\s|delete\s+from\s|update\s+\w+\s+set\s|with\s+\w+\s+as\s
          |(create|alter|drop)\s+(table|database|role|index|type|function|schema|user)\s|truncate\s|(un)?listen\s+\w+$|notify\s+\w+$
          |copy\s+\w+\s+(from|to)\s|set\s+(local\s+)?[a-z_.]+\s*=\s)",
    )
    .unwrap();
    let stray = source.strings.iter().filter(|literal| sql.is_match(&literal.text));
    stray.map(|literal| Violation::new(source, literal.line, "SQL belongs to store/")).collect()
}

fn wire_formats(source: &Source) -> Vec<Violation> {
    if !is_in(source, &["domain/", "mail/", "seal.rs", "clock.rs"]) {
        return Vec::new();
    }
    let serde = Regex::new(r"\bserde\b|\b(Des|S)erialize\b").unwrap();
    let wrong = |at: regex::Match<'_>| {
        let text = "domain types know no wire format: each door owns its own, and converts";
        Violation::new(source, line_of(&source.code, at.start()), text)
    };
    serde.find_iter(&source.code).map(wrong).collect()
}

fn shape(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    if !source.text.starts_with("//!") {
        found.push(Violation::new(
            source,
            1,
            "a module begins with //!: what it is, what it is not, its invariant",
        ));
    }
    let lines = source.text.lines().count();
    if lines > MOST_LINES {
        let text = format!("{lines} lines: a file fits one idea; split it at {MOST_LINES}");
        found.push(Violation::new(source, lines, text));
    }
    found
}

#[test]
fn imports_run_strictly_downward() {
    assert_all(upward_imports);
}

#[test]
fn every_module_has_a_level_and_every_level_its_modules() {
    let root = source::all().into_iter().find(|source| source.path == "lib.rs").unwrap();
    let declared = Regex::new(r"(?m)^pub mod (\w+);$").unwrap();
    let mut declared: Vec<&str> =
        declared.captures_iter(&root.code).map(|m| m.get(1).unwrap().as_str()).collect();
    // The binary's own two.
    declared.extend(["cli", "main"]);
    declared.sort_unstable();
    let mut levelled: Vec<&str> = LEVELS.iter().flat_map(|(_, modules)| *modules).copied().collect();
    levelled.sort_unstable();
    assert_eq!(declared, levelled, "src/lib.rs and LEVELS must name the same modules");
}

#[test]
fn libraries_stay_at_home() {
    assert_all(strays);
}

#[test]
fn homes_and_exceptions_are_real() {
    let sources = source::all();
    let places = HOMES.iter().flat_map(|home| home.places).chain(BANS.iter().flat_map(|ban| ban.but_in));
    for place in places {
        assert!(sources.iter().any(|source| source.path.starts_with(place)), "there is no src/{place}");
    }
}

#[test]
fn sql_is_written_in_the_store_alone() {
    assert_all(stray_sql);
}

#[test]
fn the_nouns_know_no_wire_format() {
    assert_all(wire_formats);
}

#[test]
fn nothing_is_left_undone_or_silenced() {
    assert_all(banned);
}

#[test]
fn files_are_small_and_say_what_they_are() {
    assert_all(shape);
}

/// What the rules must see: a source that breaks each of them, and one that only looks as if.
mod seen {
    use super::*;

    fn wrong(rule: impl Fn(&Source) -> Vec<Violation>, path: &str, text: &str) -> Vec<String> {
        rule(&Source::new(path, text)).into_iter().map(|violation| violation.place).collect()
    }

    #[test]
    fn an_upward_or_sideward_import_is_seen_however_it_is_written() {
        let cases = [
            ("domain/id.rs", "use crate::store::Link;"),
            ("domain/id.rs", "use crate::{mail::Mailbox, store::{Link, Use}};"),
            ("domain/id.rs", "fn f(link: &crate::store::Link) {}"),
            ("domain/mod.rs", "use super::store::Link;"),
            ("domain/id.rs", "use super::super::store::Link;"),
            ("domain/id.rs", "use crate :: store;"),
            ("http/mod.rs", "use crate::smtp::Listener;"),
            ("worker/rescue.rs", "use crate::{\n    http,\n};"),
            ("store/link.rs", "use crate::*;"),
            ("clock.rs", "use super::seal::Secret;"),
            ("nowhere.rs", "use crate::clock::Clock;"),
        ];
        for (path, text) in cases {
            assert_eq!(wrong(upward_imports, path, text), [format!("src/{path}:1")], "{text}");
        }
        let three = "use crate::clock::Clock;\n\nuse crate::{\n    store,\n    http};\nfn f() { postroad::server::x() }";
        assert_eq!(
            wrong(upward_imports, "domain/x.rs", three),
            ["src/domain/x.rs:3", "src/domain/x.rs:3", "src/domain/x.rs:6"]
        );
    }

    #[test]
    fn what_is_no_import_is_none() {
        let cases = [
            (
                "http/api/mod.rs",
                "use super::fields::Fields; use crate::http::App; use crate::{clock, store::{self}};",
            ),
            (
                "domain/id.rs",
                "// use crate::store;\n/* crate::http /* crate::http */ crate::http */ use super::key;",
            ),
            (
                "domain/id.rs",
                "//! [`crate::store`]\nconst A: &str = \"crate::store\"; const B: &str = r#\"\"crate::store\"#;",
            ),
            (
                "domain/id.rs",
                "pub(crate) fn f() { let c = '\"'; let d = '\\''; let _ = (c, d); } // crate::store\nfn g<'a>() {}",
            ),
            (
                "domain/id.rs",
                "#[cfg(test)]\nmod tests {\n    use crate::store::X;\n    fn f() { if true {} }\n}",
            ),
            ("domain/id.rs", "#[cfg(test)]\nuse crate::store::X;\nfn f() {}"),
        ];
        for (path, text) in cases {
            assert_eq!(wrong(upward_imports, path, text), [""; 0], "{text}");
        }
        let after = "#[cfg(test)]\nmod tests { fn f() { \"}\"; } }\nuse crate::store::X;";
        assert_eq!(
            wrong(upward_imports, "domain/id.rs", after),
            ["src/domain/id.rs:3"],
            "code goes on after tests"
        );
    }

    #[test]
    fn a_stray_library_is_seen() {
        assert_eq!(wrong(strays, "smtp/session.rs", "use lettre::message::Body;"), ["src/smtp/session.rs:1"]);
        assert_eq!(
            wrong(strays, "delivery/mod.rs", "\nfn f(_: lettre::Address) {}"),
            ["src/delivery/mod.rs:2"]
        );
        assert_eq!(wrong(strays, "account/keys.rs", "use sqlx;"), ["src/account/keys.rs:1"]);
        assert_eq!(wrong(strays, "http/ui/session/token.rs", "use jsonwebtoken::decode;"), [""; 0]);
        assert_eq!(wrong(strays, "worker/mod.rs", "let hyper_fast = my_axum::x();"), [""; 0]);
    }

    #[test]
    fn stray_sql_is_seen_and_words_are_not() {
        let sql = [
            "SELECT id FROM queue",
            "select 1",
            "\\n  INSERT INTO queue VALUES (1)",
            "UPDATE queue SET due_at = $1",
            "WITH won AS (",
            "ALTER TABLE queue ADD x int",
            "LISTEN postroad_due",
            "SET LOCAL jit = off",
        ];
        for text in sql {
            let text = text.replace("\\n", "\n");
            assert_eq!(
                wrong(stray_sql, "http/mod.rs", &format!("f(r#\"{text}\"#)")),
                ["src/http/mod.rs:1"],
                "{text}"
            );
            assert_eq!(wrong(stray_sql, "store/queue.rs", &format!("f(r#\"{text}\"#)")), [""; 0]);
        }
        let words = [
            "Select a name from the list? No:",
            "update it",
            "with care",
            "set it to 1",
            "listen to them",
            "drop it",
        ];
        for text in words.iter().skip(1) {
            assert_eq!(wrong(stray_sql, "http/mod.rs", &format!("f(\"{text}\")")), [""; 0], "{text}");
        }
        assert_eq!(wrong(stray_sql, "http/mod.rs", "// SELECT id FROM queue"), [""; 0]);
    }

    #[test]
    fn what_is_banned_is_seen_and_tests_may_unwrap() {
        let cases = [
            "todo!()",
            "#[allow(dead_code)] fn f() {}",
            "#![allow(dead_code)]",
            "let now = std::time::SystemTime::now();",
            "x.unwrap();",
            "std::env::var(\"X\")",
            "connection.begin().await",
            "unsafe { f() }",
        ];
        for text in cases {
            assert_eq!(wrong(banned, "http/mod.rs", text), ["src/http/mod.rs:1"], "{text}");
        }
        let fine = "#[expect(dead_code, reason = \"…\")] fn f() { x.unwrap_or(1); }\n#[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }";
        assert_eq!(wrong(banned, "http/mod.rs", fine), [""; 0]);
    }

    #[test]
    fn serde_among_the_nouns_is_seen() {
        assert_eq!(
            wrong(wire_formats, "domain/key.rs", "#[derive(Debug, Serialize)]\nstruct A;"),
            ["src/domain/key.rs:1"]
        );
        assert_eq!(wrong(wire_formats, "domain/key.rs", "use serde_json::Value;"), [""; 0]);
        assert_eq!(wrong(wire_formats, "http/key.rs", "use serde::Serialize;"), [""; 0]);
    }

    #[test]
    fn large_and_nameless_files_are_seen() {
        let long = "//! x\n".repeat(MOST_LINES + 1);
        assert_eq!(wrong(shape, "http/mod.rs", &long), [format!("src/http/mod.rs:{}", MOST_LINES + 1)]);
        assert_eq!(wrong(shape, "http/mod.rs", "use a;\n"), ["src/http/mod.rs:1"]);
    }

    #[test]
    fn files_of_tests_alone_are_not_read() {
        let sources = source::all();
        let read = |path: &str| sources.iter().any(|source| source.path == path);
        assert!(read("mail/compose.rs") && read("smtp/session/commands.rs"));
        assert!(!read("mail/compose/tests.rs") && !read("smtp/session/tests/hostile.rs"));
    }
}
