//! The routes of the HTTP door, read from the one page that holds them all.
//!
//! Not from the router itself, which cannot be asked. Whatever is not written in the ways that this understands fails
//! the tests, so that no route is missed silently.

use std::collections::BTreeMap;

use regex::Regex;

/// A method at a path, and the scope it demands; `None`: it is open to all.
pub type Routes = BTreeMap<(String, String), Option<String>>;

/// Reads `.route("…", …)` and what is in it: `on(scope, get(…).post(…))` and the like, joined by `merge`, or open.
///
/// # Errors
/// What is written in another way.
pub fn read(page: &str) -> Result<Routes, String> {
    let mut routes = Routes::new();
    for other in [".nest(", ".nest_service(", ".route_service(", "any("] {
        if page.contains(other) {
            return Err(format!("{other}…) is not understood; teach tests/it/openapi/routes.rs to read it"));
        }
    }
    for (at, _) in page.match_indices(".route(") {
        let arguments = inside(&page[at + ".route(".len()..]);
        let (path, handlers) = arguments
            .trim_start()
            .strip_prefix('"')
            .and_then(|rest| rest.split_once('"'))
            .ok_or_else(|| format!("the path of a route must be a literal: {arguments}"))?;
        add(&mut routes, path, handlers)?;
    }
    if routes.is_empty() { Err("there are no routes on this page".to_owned()) } else { Ok(routes) }
}

fn add(routes: &mut Routes, path: &str, handlers: &str) -> Result<(), String> {
    let guards = Regex::new(r"\b(?:on|upload)\(\s*(\w+),").unwrap();
    let methods = Regex::new(r"\b(get|post|put|patch|delete)\(").unwrap();
    let mut open = handlers.to_owned();
    let mut found = Vec::new();
    for guard in guards.captures_iter(handlers) {
        let whole = guard.get(0).unwrap();
        let guarded = inside(&handlers[whole.end()..]);
        found.extend(
            methods.captures_iter(guarded).map(|method| (method[1].to_owned(), Some(guard[1].to_owned()))),
        );
        open.replace_range(
            whole.start()..whole.end() + guarded.len(),
            &" ".repeat(whole.len() + guarded.len()),
        );
    }
    found.extend(methods.captures_iter(&open).map(|method| (method[1].to_owned(), None)));
    if found.is_empty() {
        return Err(format!("no method is understood at {path}: {handlers}"));
    }
    for (method, scope) in found {
        if routes.insert((method.to_uppercase(), path.to_owned()), scope).is_some() {
            return Err(format!("{method} {path} is there twice"));
        }
    }
    Ok(())
}

/// Up to the parenthesis that closes one opened before.
fn inside(text: &str) -> &str {
    let mut depth = 0;
    let end = text.char_indices().find(|(_, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth < 0
    });
    end.map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_route_is_read() {
        let page = r#"
            .route("/", get(docs::root))
            .route("/v1/x", upload(send, post(x::create)).merge(on(read, get(x::list))))
            .route(
                "/v1/x/{id}",
                on(manage, get(x::one).delete(x::delete)).merge(on(operate, patch(x::update))),
            )
        "#;
        let scope = |name: &str| Some(name.to_owned());
        let expected = [
            ("DELETE", "/v1/x/{id}", scope("manage")),
            ("GET", "/", None),
            ("GET", "/v1/x", scope("read")),
            ("GET", "/v1/x/{id}", scope("manage")),
            ("PATCH", "/v1/x/{id}", scope("operate")),
            ("POST", "/v1/x", scope("send")),
        ];
        let expected = expected.map(|(method, path, scope)| ((method.to_owned(), path.to_owned()), scope));
        assert_eq!(read(page), Ok(Routes::from(expected)));
    }

    #[test]
    fn other_ways_are_refused() {
        let pages = [
            "",
            ".route(PATH, get(x))",
            r#".route("/x", handlers())"#,
            r#".route("/x", get(x)).route("/x", get(y))"#,
            r#".route("/x", get(x)).nest("/y", more())"#,
        ];
        for page in pages {
            assert!(read(page).is_err(), "{page}");
        }
    }
}
