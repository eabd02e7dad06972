//! The links of an HTML text, and where a picture that nobody sees goes. lol_html finds them, as a browser would;
//! what is changed is changed by octet ranges, so that everything else stays as it is.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use lol_html::html_content::{Attribute, Element, EndTag};
use lol_html::{HtmlRewriter, Settings, element};

/// On a link: `off` says that it is to be left alone. It is taken out in either case.
pub const OPT_OUT: &str = "data-postroad-track";

struct Edit {
    place: Range<usize>,
    text: String,
}

/// Puts what `link` gives in the place of the targets of links, and `pixel` before the body's end. `None`: nothing
/// changes, or the text is such that browsers might read it otherwise than we do.
///
/// `link` gets each target with its character references resolved, and must give what needs no quoting.
pub fn mark(html: &[u8], link: impl Fn(&str) -> Option<String>, pixel: Option<&str>) -> Option<Vec<u8>> {
    let edits = RefCell::new(Vec::new());
    let body_end = Rc::new(Cell::new(None));
    let links = |element: &mut Element<'_, '_>| {
        edits.borrow_mut().extend(retarget(element, &link));
        Ok(())
    };
    let opt_outs = |element: &mut Element<'_, '_>| {
        edits.borrow_mut().extend(take_out(html, element));
        Ok(())
    };
    let body = {
        let body_end = Rc::clone(&body_end);
        move |element: &mut Element<'_, '_>| {
            let body_end = Rc::clone(&body_end);
            element.on_end_tag(Box::new(move |end: &mut EndTag<'_>| {
                body_end.set(Some(end.source_location().bytes().start));
                Ok(())
            }))
        }
    };
    let settings = Settings::new()
        .append_element_content_handler(element!("a[href], area[href]", links))
        .append_element_content_handler(element!("[data-postroad-track]", opt_outs))
        .append_element_content_handler(element!("body", body));
    let mut reader = HtmlRewriter::new(settings, |_: &[u8]| {});
    reader.write(html).and_then(|()| reader.end()).ok()?;
    let mut edits = edits.into_inner();
    edits.extend(pixel.map(|pixel| {
        let at = body_end.get().unwrap_or(html.len());
        Edit { place: at..at, text: pixel.to_owned() }
    }));
    (!edits.is_empty()).then(|| apply(html, edits))
}

fn attribute<'a, 'b>(element: &'a Element<'_, 'b>, name: &str) -> Option<&'a Attribute<'b>> {
    // Of two of one name the first counts (HTML §13.2.5.33).
    element.attributes().iter().find(|attribute| attribute.name() == name)
}

fn retarget(element: &Element<'_, '_>, link: &impl Fn(&str) -> Option<String>) -> Option<Edit> {
    let is_off =
        attribute(element, OPT_OUT).is_some_and(|own| own.value().trim().eq_ignore_ascii_case("off"));
    if is_off {
        return None;
    }
    let href = attribute(element, "href")?;
    let text = link(resolve(&href.value())?.trim())?;
    Some(Edit { place: href.value_source_location()?.bytes(), text })
}

/// The attribute with the space before it.
fn take_out(html: &[u8], element: &Element<'_, '_>) -> Option<Edit> {
    let own = attribute(element, OPT_OUT)?;
    let name = own.name_source_location()?.bytes();
    let space = html[..name.start].iter().rev().take_while(|c| c.is_ascii_whitespace()).count();
    let end = match own.value_source_location().map(|value| value.bytes()) {
        Some(value) => {
            let quote = html[..value.start].last().filter(|c| matches!(c, b'"' | b'\''));
            let closes = quote.is_some() && html.get(value.end) == quote;
            value.end + usize::from(closes)
        }
        None => name.end,
    };
    Some(Edit { place: name.start - space..end, text: String::new() })
}

/// The value of an attribute without its character references (HTML §13.5). `None`: it has one that is not known
/// here, and is better left alone.
fn resolve(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '#').unwrap_or(rest.len());
        if !rest[name..].starts_with(';') {
            // In an attribute `&copy=1` is text; numbers alone are resolved without their semicolon.
            if rest.starts_with('#') {
                return None;
            }
            out.push('&');
            continue;
        }
        out.push(referred(&rest[..name])?);
        rest = &rest[name + 1..];
    }
    out.push_str(rest);
    Some(out)
}

fn referred(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        let named = [("amp", '&'), ("quot", '"'), ("apos", '\''), ("lt", '<'), ("gt", '>')];
        return named.iter().find(|(known, _)| *known == name).map(|(_, c)| *c);
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    // What lies between DEL and U+00A0 is read as another character set.
    char::from_u32(code).filter(|c| !c.is_control() && *c > '\u{1f}')
}

fn apply(html: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|edit| (edit.place.start, edit.place.end));
    let mut out = Vec::with_capacity(html.len() + edits.iter().map(|edit| edit.text.len()).sum::<usize>());
    let mut at = 0;
    for edit in edits.iter().filter(|edit| edit.place.end <= html.len()) {
        if edit.place.start < at {
            continue;
        }
        out.extend_from_slice(&html[at..edit.place.start]);
        out.extend_from_slice(edit.text.as_bytes());
        at = edit.place.end;
    }
    out.extend_from_slice(&html[at..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counts links by their length, so that what was found can be seen.
    fn counted(href: &str) -> Option<String> {
        href.starts_with("http").then(|| format!("T/{}", href.len()))
    }

    fn marked(html: &str) -> Option<String> {
        mark(html.as_bytes(), counted, Some("<P>")).map(|html| String::from_utf8(html).expect("UTF-8"))
    }

    #[test]
    fn targets_change_and_all_around_them_stays() {
        for (html, wanted) in [
            (
                "<BODY><A  Class=x HREF='http://a/' >x</A></BODY >\n",
                "<BODY><A  Class=x HREF='T/9' >x</A><P></BODY >\n",
            ),
            ("<a href=http://a/?b&amp;c>x", "<a href=T/13>x<P>"),
            ("<a href=\"http://a/?x&#61;1&copy=2\">x</a>", "<a href=\"T/20\">x</a><P>"),
            (
                "<area href=\" http://a/ \"><a href='mailto:a@b'><a href='#x'><a name=y>",
                "<area href=\"T/9\"><a href='mailto:a@b'><a href='#x'><a name=y><P>",
            ),
            ("<a href='http://a/' data-postroad-track=\"off\" id=1>", "<a href='http://a/' id=1><P>"),
            ("<a data-postroad-track=OFF href='http://a/'>", "<a href='http://a/'><P>"),
            ("<a href='http://a/'\n data-postroad-track='on'>", "<a href='T/9'><P>"),
            ("<a href='http://a/' data-postroad-track>", "<a href='T/9'><P>"),
            ("<a href='http://a/&middot;'>", "<a href='http://a/&middot;'><P>"),
            ("<a href='http://a/&#10;'>", "<a href='http://a/&#10;'><P>"),
            ("<a href='http://a/' href='http://bb/'>", "<a href='T/9' href='http://bb/'><P>"),
            (
                "<!-- <a href='http://a/'> --><script>'<a href=\"http://a/\">'</script>",
                "<!-- <a href='http://a/'> --><script>'<a href=\"http://a/\">'</script><P>",
            ),
            ("<html><body>x</html>", "<html><body>x<P></html>"),
        ] {
            assert_eq!(marked(html).as_deref(), Some(wanted), "{html}");
        }
        assert_eq!(mark(b"<p>no link</p>", counted, None), None);
    }

    proptest! {
        #[test]
        fn nothing_but_targets_pixel_and_opt_outs_changes(html in "(<a href='https://x/|'>|</a>|<p class=\"|\">|</body>|<body>|&|<!--|-->|<a |href=|http://y |>|ü|\\PC|<script>|</script>|<title>|data-x=off ){0,40}") {
            if let Some(marked) = mark(html.as_bytes(), |href| href.starts_with("http").then(|| "\u{1}".to_owned()), Some("\u{2}")) {
                let marked = String::from_utf8(marked).expect("UTF-8");
                prop_assert_eq!(marked.matches('\u{2}').count(), 1);
                // What stands between the marks is found in the original, in this order.
                let mut rest = html.as_str();
                for piece in marked.split(['\u{1}', '\u{2}']) {
                    let at = rest.find(piece);
                    prop_assert!(at.is_some(), "{:?} is not in {:?}", piece, rest);
                    rest = &rest[at.unwrap_or(0) + piece.len()..];
                }
            }
        }

        #[test]
        fn octets_of_any_kind_do_no_harm(html in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(marked) = mark(&html, counted, Some("<P>")) {
                prop_assert!(marked.len() >= html.len());
            }
        }
    }
}
