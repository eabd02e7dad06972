//! Where the tags of HTML and MJML are, and how deep they nest: read before the real readers, which call themselves
//! for what is within an element and must not be led beyond their stack. Not a parser: it builds nothing.
//!
//! Invariant: elements are counted at least as deep as any reader nests them. Where a closing tag is in doubt, it
//! closes nothing; where a tag itself is in doubt, the markup is refused.

use super::limits::MAX_ELEMENTS_DEPTH;

/// Something that looks like a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Its name, as it is written.
    pub name: &'a str,
    /// Where it begins.
    pub at: usize,
    /// `</x>`.
    pub closes: bool,
    /// `<x/>`.
    pub is_empty: bool,
}

/// Why markup is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Elements within elements.
    #[error("more than {MAX_ELEMENTS_DEPTH} elements are within each other")]
    TooDeep,
    /// A quote where none can be.
    #[error("a tag has a quote outside of an attribute's value")]
    StrayQuote,
}

/// All tags of a markup; comments, and what is in scripts and styles, hold none.
///
/// # Errors
/// See [`Refused::StrayQuote`].
pub fn tags(markup: &str) -> Result<Vec<Tag<'_>>, Refused> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = memchr::memchr(b'<', &markup.as_bytes()[at..]) {
        let start = at + next;
        let rest = &markup[start + 1..];
        if let Some(after) = rest.strip_prefix("!--") {
            at = markup.len() - after.len() + comment_end(after);
            continue;
        }
        let closes = rest.starts_with('/');
        let named = rest.strip_prefix('/').unwrap_or(rest);
        let name =
            named.split(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>').next().unwrap_or_default();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            at = start + 1;
            continue;
        }
        let attributes = &named[name.len()..];
        let (end, is_empty) = tag_end(attributes)?;
        found.push(Tag { name, at: start, closes, is_empty });
        at = markup.len() - attributes.len() + end;
        if !closes && !is_empty && holds_raw_text(name) {
            at += raw_text_end(&markup[at..], name);
        }
    }
    Ok(found)
}

/// Where a comment ends, from after its `<!--` (HTML §13.2.5.43: also at `-->` that overlaps its beginning).
fn comment_end(after: &str) -> usize {
    for early in [">", "->"] {
        if after.starts_with(early) {
            return early.len();
        }
    }
    let ends = ["-->", "--!>"]
        .map(|end| memchr::memmem::find(after.as_bytes(), end.as_bytes()).map(|at| at + end.len()));
    ends.into_iter().flatten().min().unwrap_or(after.len())
}

/// Where a tag ends, from after its name, and whether it is `<x/>`.
fn tag_end(attributes: &str) -> Result<(usize, bool), Refused> {
    let octets = attributes.as_bytes();
    let mut at = 0;
    let mut after_equals = false;
    while let Some(octet) = octets.get(at) {
        match octet {
            b'>' => return Ok((at + 1, octets[..at].ends_with(b"/"))),
            quote @ (b'"' | b'\'') if after_equals => {
                let Some(end) = memchr::memchr(*quote, &octets[at + 1..]) else { break };
                at += end + 1;
                after_equals = false;
            }
            b'"' | b'\'' => return Err(Refused::StrayQuote),
            b'=' => after_equals = true,
            octet if octet.is_ascii_whitespace() => {}
            _ => after_equals = false,
        }
        at += 1;
    }
    Ok((octets.len(), false))
}

fn holds_raw_text(name: &str) -> bool {
    ["style", "script", "title", "textarea", "mj-style", "mj-title"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(name))
}

/// Where the text of a raw element ends: at its closing tag, or nowhere.
fn raw_text_end(text: &str, name: &str) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&text.as_bytes()[at..], b"</") {
        let start = at + found;
        if text.as_bytes()[start + 2..]
            .get(..name.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
        {
            return start;
        }
        at = start + 2;
    }
    text.len()
}

/// Checks how deep a markup is.
///
/// # Errors
/// See [`Refused`].
pub fn check_depth(markup: &str) -> Result<(), Refused> {
    let mut open: Vec<&str> = Vec::new();
    for tag in tags(markup)?.iter().filter(|tag| !never_nests(tag.name)) {
        if tag.closes {
            close(&mut open, tag.name);
        } else if !tag.is_empty || is_html_that_ignores_it(tag.name) {
            open.push(tag.name);
        }
        if open.len() > MAX_ELEMENTS_DEPTH {
            return Err(Refused::TooDeep);
        }
    }
    Ok(())
}

/// Closes the innermost element of a name, with what is in it. Formatting goes on beyond the end of what it is in
/// (HTML §13.2.4.3), so that only its own end closes it.
fn close(open: &mut Vec<&str>, name: &str) {
    let Some(place) = open.iter().rposition(|opened| opened.eq_ignore_ascii_case(name)) else { return };
    if is_formatting(name) {
        open.remove(place);
        return;
    }
    let mut index = 0;
    open.retain(|opened| {
        index += 1;
        index <= place || is_formatting(opened)
    });
}

/// In HTML `<div/>` opens a div; MJML's own elements are XML.
fn is_html_that_ignores_it(name: &str) -> bool {
    !name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("mj-"))
}

fn is_formatting(name: &str) -> bool {
    const NAMES: [&str; 14] =
        ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Elements without content, and those whose end HTML lets one leave out: such do not nest in themselves.
fn never_nests(name: &str) -> bool {
    const NAMES: [&str; 27] = [
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
        "track", "wbr", "p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody",
        "tfoot", "colgroup",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_mail_passes_however_carelessly_it_is_written() {
        let rows = "<tr><td><p>a<br>b<img src=\"x>y\"><li>c".repeat(2000);
        let good = [
            format!(
                "<!doctype html><html><head><title>a < b</title></head><body><table>{rows}</table></body></html>"
            ),
            "<div><b>x</b></div>".repeat(5000),
            "<!--[if mso]><table><tr><td><![endif]-->".repeat(2000),
            "1 < 2 && 3 > 2 <> </ <3".repeat(1000),
            "<mjml><mj-body><mj-section><mj-column><mj-spacer/></mj-column></mj-section></mj-body></mjml>"
                .to_owned(),
        ];
        for markup in good {
            assert_eq!(check_depth(&markup), Ok(()), "{}", &markup[..60.min(markup.len())]);
        }
    }

    #[test]
    fn what_would_nest_too_deeply_is_seen_through_every_disguise() {
        for unit in [
            "<div>",
            "<DIV class='x'>",
            "<div></span>",
            "<div title=\"</div>\">",
            "<div><!-- </div> -->",
            "<!--><div>",
            "<div><style></div></style>",
            "<div/>",
            "<div><b></div><i></div>",
            "<li><ul>",
            "<table><tr><td>",
        ] {
            assert_eq!(check_depth(&unit.repeat(MAX_ELEMENTS_DEPTH + 1)), Err(Refused::TooDeep), "{unit}");
        }
        assert_eq!(check_depth("<div \"></div>\">"), Err(Refused::StrayQuote));
    }
}
