//! From what providers' clients write into their texts to the templates of this house: Handlebars. Three dialects:
//! SparkPost's, the one that Brevo, MailerSend and Mailjet have of Django and Twig, and plain tokens. Pure; what has no
//! counterpart here is refused by its tag, and never sent as it stands.
//!
//! Invariant: what is not a tag of the dialect arrives as it was written, double braces included.

/// How a tag begins and ends.
type Marks = (&'static str, &'static str);

const BRACES: Marks = ("{{", "}}");
const RAW_BRACES: Marks = ("{{{", "}}}");
const BLOCK: Marks = ("{%", "%}");
const TOKEN: Marks = ("[%", "%]");

/// What has no counterpart: the tag as it was written.
pub type Untranslatable = String;

/// Who speaks the dialect of Django and Twig, and how he names variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twig {
    /// `{{ params.name }}`.
    Brevo,
    /// `{{ name }}`.
    MailerSend,
    /// `{{ var:name:"otherwise" }}`.
    Mailjet,
}

/// SparkPost, "Substitutions reference".
///
/// # Errors
/// See [`Untranslatable`].
pub fn sparkpost(source: &str) -> Result<String, Untranslatable> {
    let mut open = Vec::new();
    let translated = translate(source, &[RAW_BRACES, BRACES], |marks, tag| {
        let is_raw = marks == RAW_BRACES;
        let (word, rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        match (word, rest.trim()) {
            ("if", rest) => begin(&mut open, "if", rest, sparkpost_path),
            ("each", rest) => {
                open.push("each");
                Some(format!("{{{{#each {}}}}}", sparkpost_path(rest)?))
            }
            ("elseif", rest) => Some(format!("{{{{else if {}}}}}", condition(rest, sparkpost_path)?)),
            ("else", "") => Some("{{else}}".to_owned()),
            ("else", rest) => {
                Some(format!("{{{{else if {}}}}}", condition(rest.strip_prefix("if ")?, sparkpost_path)?))
            }
            ("end", "") => Some(format!("{{{{/{}}}}}", open.pop()?)),
            _ if tag == "opening_double_curly()" => Some("\\{{".to_owned()),
            _ if tag == "closing_double_curly()" => Some("}}".to_owned()),
            _ if tag == "opening_triple_curly()" => Some("\\{{{".to_owned()),
            _ if tag == "closing_triple_curly()" => Some("}}}".to_owned()),
            _ => match tag.split_once(" or ") {
                Some((path, otherwise)) => Some(value(&sparkpost_path(path)?, &literal(otherwise)?, is_raw)),
                None => Some(value(&sparkpost_path(tag)?, "\"\"", is_raw)),
            },
        }
    })?;
    closed(&open, translated)
}

fn sparkpost_path(text: &str) -> Option<String> {
    let text = text.trim();
    match text.strip_prefix("loop_var") {
        Some("") => Some("this".to_owned()),
        Some(rest) => Some(format!("this.{}", path(rest.strip_prefix('.')?)?)),
        None => path(text),
    }
}

/// What Brevo, MailerSend and Mailjet have of Django and Twig: values with a few filters, `if` and `for`.
///
/// # Errors
/// See [`Untranslatable`].
pub fn twig(source: &str, who: Twig) -> Result<String, Untranslatable> {
    let mut open = Vec::new();
    let translated = translate(source, &[BLOCK, BRACES], |marks, tag| {
        if marks == BRACES {
            return twig_value(tag, who);
        }
        let (word, rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        let of = |text: &str| twig_path(text, who);
        match (word, rest.trim()) {
            ("if", rest) => begin(&mut open, "if", rest, of),
            ("elif" | "elseif", rest) => Some(format!("{{{{else if {}}}}}", condition(rest, of)?)),
            ("else", "") => Some("{{else}}".to_owned()),
            ("endif", "") => (open.pop()? == "if").then(|| "{{/if}}".to_owned()),
            ("for", rest) => {
                let (name, list) = rest.split_once(" in ")?;
                open.push("each");
                Some(format!("{{{{#each {} as |{}|}}}}", of(list)?, identifier(name.trim())?))
            }
            ("endfor", "") => (open.pop()? == "each").then(|| "{{/each}}".to_owned()),
            _ => None,
        }
    })?;
    closed(&open, translated)
}

fn twig_path(text: &str, who: Twig) -> Option<String> {
    let text = text.trim();
    match who {
        Twig::Mailjet => path(text.strip_prefix("var:").unwrap_or(text)),
        Twig::Brevo | Twig::MailerSend => path(text),
    }
}

fn twig_value(tag: &str, who: Twig) -> Option<String> {
    let mut filters = split_outside_quotes(tag, '|');
    let named = filters.next()?;
    let (named, mut otherwise) = match (who, named.trim().strip_prefix("var:")) {
        (Twig::Mailjet, Some(rest)) => match rest.split_once(':') {
            Some((name, default)) => (name.to_owned(), Some(literal(default)?)),
            None => (rest.to_owned(), None),
        },
        _ => (named.trim().to_owned(), None),
    };
    let mut shown = path(&named)?;
    let mut is_raw = false;
    for filter in filters {
        let filter = filter.trim();
        match filter {
            "safe" | "raw" => is_raw = true,
            "upper" => shown = format!("(uppercase {})", or_nothing(&shown)),
            "lower" => shown = format!("(lowercase {})", or_nothing(&shown)),
            "capitalize" | "capfirst" => shown = format!("(capitalize {})", or_nothing(&shown)),
            "escape" | "e" => {}
            _ => {
                let given = filter.strip_prefix("default")?.trim();
                let given = given.strip_prefix(':').or_else(|| given.strip_prefix('(')?.strip_suffix(')'))?;
                otherwise = Some(literal(given)?);
            }
        }
    }
    match otherwise {
        Some(otherwise) => Some(value(&shown, &otherwise, is_raw)),
        // Mailjet sends nothing whose variables are missing; the others leave a gap.
        None if who == Twig::Mailjet && is_raw => Some(format!("{{{{{{{shown}}}}}}}")),
        None if who == Twig::Mailjet => Some(format!("{{{{{shown}}}}}")),
        None => Some(value(&shown, "\"\"", is_raw)),
    }
}

/// Netcore's `[%name%]`.
///
/// # Errors
/// See [`Untranslatable`].
pub fn tokens(source: &str) -> Result<String, Untranslatable> {
    translate(source, &[TOKEN], |_, name| Some(value(&format!("[{}]", bracketed(name)?), "\"\"", true)))
}

fn bracketed(name: &str) -> Option<&str> {
    let fits = !name.is_empty() && !name.contains(['[', ']', '"', '\'', '{', '}', '(', ')']);
    fits.then_some(name)
}

/// Replaces each tag by what `tag` makes of what is between its marks; of marks that begin alike, the longer come first.
fn translate(
    source: &str,
    marks: &[Marks],
    mut tag: impl FnMut(Marks, &str) -> Option<String>,
) -> Result<String, Untranslatable> {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    loop {
        let found = marks.iter().filter_map(|marks| Some((rest.find(marks.0)?, *marks)));
        // The first of those at the same place: the longer.
        let first = found.reduce(|best, next| if next.0 < best.0 { next } else { best });
        let Some((at, marks)) = first else {
            verbatim(&mut out, rest, false);
            return Ok(out);
        };
        verbatim(&mut out, &rest[..at], true);
        let inner = &rest[at + marks.0.len()..];
        let shown = |end: usize| rest[at..].chars().take(end).collect::<String>();
        let end = inner.find(marks.1).ok_or_else(|| shown(40))?;
        let translated = tag(marks, inner[..end].trim());
        out.push_str(&translated.ok_or_else(|| shown(end + marks.0.len() + marks.1.len()))?);
        rest = &inner[end + marks.1.len()..];
    }
}

/// Text that is no tag. A backslash before a tag would make it text.
fn verbatim(out: &mut String, text: &str, before_tag: bool) {
    out.push_str(&text.replace("{{", "\\{{"));
    if before_tag && text.ends_with('\\') {
        out.push('\\');
    }
}

fn closed(open: &[&str], translated: String) -> Result<String, Untranslatable> {
    match open.last() {
        None => Ok(translated),
        Some(word) => Err(format!("{word} without an end")),
    }
}

fn begin(
    open: &mut Vec<&'static str>,
    word: &'static str,
    text: &str,
    path: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    open.push(word);
    Some(format!("{{{{#{word} {}}}}}", condition(text, path)?))
}

/// A value, or what stands for it if it is missing or empty.
fn value(path: &str, otherwise: &str, is_raw: bool) -> String {
    if is_raw {
        format!("{{{{{{default {path} {otherwise}}}}}}}")
    } else {
        format!("{{{{default {path} {otherwise}}}}}")
    }
}

fn or_nothing(shown: &str) -> String {
    if shown.starts_with('(') { shown.to_owned() } else { format!("(default {shown} \"\")") }
}

/// Comparisons, `not`, and one kind of `and` and `or`.
fn condition(text: &str, path: impl Fn(&str) -> Option<String>) -> Option<String> {
    for (words, helper) in [([" or ", " || "], "or"), ([" and ", " && "], "and")] {
        for word in words {
            if let Some((left, right)) = text.split_once(word) {
                let (left, right) = (condition(left, &path as &dyn Fn(&str) -> Option<String>)?, right);
                let right = condition(right, &path as &dyn Fn(&str) -> Option<String>)?;
                return Some(format!("({helper} {left} {right})"));
            }
        }
    }
    let text = text.trim();
    if let Some(rest) =
        text.strip_prefix("not ").or_else(|| text.strip_prefix('!').filter(|it| !it.starts_with('=')))
    {
        return Some(format!("(not (default {} \"\"))", path(rest.trim())?));
    }
    for (sign, helper) in [("==", "eq"), ("!=", "ne"), (">=", "gte"), ("<=", "lte"), (">", "gt"), ("<", "lt")]
    {
        if let Some((left, right)) = text.split_once(sign) {
            let right = literal(right).or_else(|| Some(format!("(default {} \"\")", path(right.trim())?)))?;
            return Some(format!("({helper} (default {} \"\") {right})", path(left.trim())?));
        }
    }
    Some(format!("(default {} \"\")", path(text)?))
}

/// A text in quotes, a number, true or false.
fn literal(text: &str) -> Option<String> {
    let text = text.trim();
    if matches!(text, "true" | "false") || text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Some(text.to_owned());
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let fits = !inner.contains(['"', '\\', '\n', '\r', '{', '}']);
    fits.then(|| format!("\"{inner}\""))
}

/// `a.b.0`: each step a name or a number.
fn path(text: &str) -> Option<String> {
    let steps: Option<Vec<String>> = text.trim().split('.').map(identifier).collect();
    Some(steps?.join("."))
}

fn identifier(step: &str) -> Option<String> {
    let is_plain = !step.is_empty() && step.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    let is_wide = !step.is_empty() && step.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    match (is_plain, is_wide) {
        (true, _) => Some(step.to_owned()),
        (false, true) => Some(format!("[{step}]")),
        _ => None,
    }
}

fn split_outside_quotes(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quote = None;
    text.split(move |c| {
        match quote {
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        c == at && quote.is_none()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::render::{Bodies, Compiled, Source};

    fn rendered(source: Result<String, Untranslatable>, variables: &Value) -> String {
        let bodies = Bodies { html: Some(source.expect("a translation")), ..Bodies::default() };
        let compiled = Compiled::new(&Source { bodies, ..Source::default() }).expect("Handlebars");
        let filled = compiled.fill(variables.as_object().expect("an object")).expect("filled");
        filled.finish().expect("finished").html.expect("HTML")
    }

    #[test]
    fn sparkposts_texts_say_what_they_said_there() {
        let variables = json!({ "name": "A<b", "list": [{ "n": 1 }, { "n": 2 }], "yes": true, "age": 20 });
        for (source, wanted) in [
            ("Hi {{name}}{{ missing }}.", "Hi A&lt;b."),
            ("{{{name}}}", "A<b"),
            ("{{missing or 'you'}}", "you"),
            ("{{if yes}}a{{else}}b{{end}}", "a"),
            ("{{if missing}}a{{elseif age >= 18}}b{{end}}", "b"),
            ("{{if not missing and yes}}a{{end}}", "a"),
            ("{{if name == \"x\"}}a{{else}}b{{end}}", "b"),
            ("{{each list}}{{loop_var.n}};{{end}}", "1;2;"),
            ("{{opening_double_curly()}}x{{closing_double_curly()}}", "{{x}}"),
            ("plain } { }} text", "plain } { }} text"),
        ] {
            assert_eq!(rendered(sparkpost(source), &variables), wanted, "{source}");
        }
        for bad in ["{{render_dynamic_content(x)}}", "{{name", "{{if a}}", "{{end}}", "{{a b}}", "{{}}"] {
            assert!(sparkpost(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn djangos_and_twigs_texts_say_what_they_said_there() {
        let variables =
            json!({ "params": { "name": "Ann", "list": [1, 2] }, "name": "Bob", "list": [{ "n": "x" }] });
        for (who, source, wanted) in [
            (Twig::Brevo, "{{ params.name }}{{params.gone}}", "Ann"),
            (Twig::Brevo, "{{ params.gone | default : 'you' }}", "you"),
            (Twig::Brevo, "{{ params.name|upper }}", "ANN"),
            (Twig::Brevo, "{% if params.name == \"Ann\" %}a{% else %}b{% endif %}", "a"),
            (Twig::Brevo, "{% for it in params.list %}{{ it }},{% endfor %}", "1,2,"),
            (Twig::MailerSend, "{{ name }} {{ gone|default('x|y') }}", "Bob x|y"),
            (Twig::Mailjet, "{{var:name}} {{var:gone:\"you\"}}", "Bob you"),
            (Twig::Mailjet, "{% if var:name %}{{var:name}}{% endif %}", "Bob"),
            (Twig::Mailjet, "{% for it in var:list %}{{it.n}}{% endfor %}", "x"),
        ] {
            assert_eq!(rendered(twig(source, who), &variables), wanted, "{source}");
        }
        for bad in [
            "{{ a|unknown }}",
            "{% macro x %}",
            "{% if a %}",
            "{% endfor %}",
            "{{ a",
            "{% for x %}{% endfor %}",
        ] {
            assert!(twig(bad, Twig::Brevo).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_are_filled_in_and_braces_stay() {
        let variables = json!({ "first name": "A&B" });
        assert_eq!(rendered(tokens("{{x}} [%first name%]\\[%gone%]"), &variables), "{{x}} A&B\\");
        assert_eq!(tokens("[%a").expect_err("open"), "[%a");
    }
}
