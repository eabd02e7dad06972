//! From the templates that other providers keep to the templates of this house, when they are brought here: as a whole
//! by `postroad import`, or one by one at a provider's door. Theirs are Handlebars with functions of their own
//! (SendGrid, Mailgun), Mustachio (Postmark), or what `dialect` knows. Not what comes with a mail: see `dialect`.
//!
//! Invariant: a template that asks for nothing of a provider's own is left as it was written.

use super::dialect::{self, Twig, Untranslatable};

/// Functions that open a block with a comparison there, and what compares here.
const COMPARISONS: [(&str, &str); 8] = [
    ("equals", "eq"),
    ("equal", "eq"),
    ("notEquals", "ne"),
    ("notEqual", "ne"),
    ("greaterThan", "gt"),
    ("lessThan", "lt"),
    ("and", "and"),
    ("or", "or"),
];
/// Blocks that mean here what they mean there.
const BLOCKS: [&str; 4] = ["if", "unless", "each", "with"];

/// The source of a template as a provider keeps it.
///
/// # Errors
/// A tag that has no counterpart, as it was written.
pub fn of(provider: &str, source: &str) -> Result<String, Untranslatable> {
    match provider {
        "postmark" => Ok(mustachio(source)),
        "sendgrid" | "mailgun" => Ok(handlebars(source)),
        "sparkpost" => dialect::sparkpost(source),
        "brevo" => dialect::twig(source, Twig::Brevo),
        "mailersend" => dialect::twig(source, Twig::MailerSend),
        "mailjet" => dialect::twig(source, Twig::Mailjet),
        "netcore" => dialect::tokens(source),
        _ => Ok(source.to_owned()),
    }
}

/// docs.sendgrid.com, "Using Handlebars", and Mailgun's "Templates": blocks that compare, `insert` with what stands for
/// it if it is missing, and `length`.
pub fn handlebars(source: &str) -> String {
    tags(source, |tag| {
        if let Some(rest) = tag.strip_prefix('#') {
            let (word, arguments) = split(rest);
            let plain = functions(arguments);
            return match COMPARISONS.iter().find(|(theirs, _)| *theirs == word) {
                Some((_, ours)) => Some(format!("#if ({ours} {plain})")),
                None => (plain != arguments).then(|| format!("#{word} {plain}")),
            };
        }
        if let Some(word) = tag.strip_prefix('/') {
            let compares = COMPARISONS.iter().any(|(theirs, _)| *theirs == word.trim());
            return compares.then(|| "/if".to_owned());
        }
        let plain = functions(tag);
        match split(&plain) {
            ("insert", arguments) => insert(arguments).or(Some(plain.clone())),
            ("length", list) if !list.is_empty() => Some(format!("len {list}")),
            _ => (plain != tag).then_some(plain),
        }
    })
}

/// `(length list)`, within other calls.
fn functions(text: &str) -> String {
    text.replace("(length ", "(len ")
}

/// `insert name "default=you"`, in either order.
fn insert(arguments: &str) -> Option<String> {
    let at = arguments.find("\"default=").or_else(|| arguments.find("'default="))?;
    let quote = arguments[at..].chars().next()?;
    let rest = &arguments[at + "\"default=".len()..];
    let (otherwise, after) = rest.split_once(quote)?;
    let name = format!("{}{after}", &arguments[..at]);
    (!name.trim().is_empty()).then(|| format!("default {} {quote}{otherwise}{quote}", name.trim()))
}

/// postmarkapp.com/support, "Mustachio": a section is entered if there is anything in it, `^` is its contrary, and a
/// dot is what is gone over.
pub fn mustachio(source: &str) -> String {
    let mut open: Vec<&'static str> = Vec::new();
    tags(source, |tag| {
        let (mark, rest) = tag.split_at_checked(1)?;
        let (word, arguments) = split(rest);
        match mark {
            "#" => match BLOCKS.iter().find(|block| **block == word && !arguments.is_empty()) {
                Some(block) => {
                    open.push(block);
                    None
                }
                None => {
                    open.push("with");
                    Some(format!("#with {rest}"))
                }
            },
            "^" if !rest.trim().is_empty() => {
                open.push("unless");
                Some(format!("#unless {rest}"))
            }
            "/" => open.pop().map(|block| format!("/{block}")),
            _ if tag == "." => Some("this".to_owned()),
            _ => None,
        }
    })
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

/// Puts other tags in the place of those that `tag` has something for; comments and what is escaped stay.
fn tags(source: &str, mut tag: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{{") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let marks = if from.starts_with("{{{") { ("{{{", "}}}") } else { ("{{", "}}") };
        let inner = &from[marks.0.len()..];
        let end = if inner.starts_with("!--") {
            inner.find("--}}").map(|end| end + 2)
        } else {
            inner.find(marks.1)
        };
        let Some(end) = end else {
            out.push_str(from);
            return out;
        };
        let is_verbatim = before.ends_with('\\') || inner.starts_with('!');
        let other = if is_verbatim { None } else { tag(inner[..end].trim()) };
        out.push_str(marks.0);
        out.push_str(other.as_deref().unwrap_or(&inner[..end]));
        out.push_str(marks.1);
        rest = &inner[end + marks.1.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::{Bodies, Compiled, Gaps, Source};

    fn rendered(source: String) -> String {
        let variables = json!({
            "name": "Ann", "n": 3, "list": ["a", "b"], "company": { "name": "Acme" }, "none": [], "yes": true,
        });
        let bodies = Bodies { text: Some(source), ..Bodies::default() };
        let compiled = Compiled::new(&Source { bodies, ..Source::default() }).expect("Handlebars");
        let filled =
            compiled.fill_with(variables.as_object().expect("an object"), Gaps::Empty).expect("filled");
        filled.finish().expect("finished").text.expect("a text")
    }

    #[test]
    fn sendgrids_functions_do_what_they_did() {
        for (source, wanted) in [
            ("Hi {{insert name \"default=you\"}}{{{insert gone 'default=!'}}}", "Hi Ann!"),
            ("{{#equals name \"Ann\"}}a{{else}}b{{/equals}}", "a"),
            ("{{#notEquals name 'Ann'}}a{{else}}b{{/notEquals}}", "b"),
            ("{{#greaterThan n 2}}a{{#lessThan n 3}}x{{else}}y{{/lessThan}}{{/greaterThan}}", "ay"),
            ("{{#and name yes}}a{{/and}}{{#or gone yes}}b{{/or}}", "ab"),
            ("{{#greaterThan (length list) 1}}many{{/greaterThan}} {{length list}}", "many 2"),
            ("{{#each list}}{{this}}{{/each}}{{#if gone}}x{{/if}}{{gone}}", "ab"),
            ("{{#if (length list)}}some{{/if}}", "some"),
            ("{{!-- {{insert x}} --}}\\{{insert}} {{! no }}}", "{{insert}} }"),
        ] {
            assert_eq!(rendered(handlebars(source)), wanted, "{source}");
        }
    }

    #[test]
    fn mustachios_sections_do_what_they_did() {
        for (source, wanted) in [
            ("{{#company}}{{name}} {{../name}}{{/company}}{{^company}}no{{/company}}", "Acme Ann"),
            ("{{#each list}}{{.}},{{/each}}", "a,b,"),
            ("{{^gone}}nobody{{/gone}}{{#gone}}x{{/gone}}{{gone}}", "nobody"),
            ("{{^none}}empty{{/none}}{{# company }}{{ name }}{{/ company }}", "emptyAcme"),
        ] {
            assert_eq!(rendered(mustachio(source)), wanted, "{source}");
        }
    }

    #[test]
    fn what_asks_for_nothing_of_a_provider_stays() {
        let source = "Hi {{name}} {{{ name }}} {{#if a}}x{{else}}y{{/if}} {{ open {{";
        assert_eq!(handlebars(source), source);
        assert_eq!(mustachio(source), source);
        assert_eq!(of("ses", source).as_deref(), Ok(source));
    }
}
