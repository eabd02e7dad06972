//! The links of a plain text: what mail programs make a link of although nothing marks it. Everything else stays as it
//! is, octet for octet.

use std::sync::OnceLock;

use regex::Regex;

/// Puts what `link` gives in the place of web addresses. `None`: nothing changes.
pub fn mark_text(text: &[u8], link: impl Fn(&str) -> Option<String>) -> Option<Vec<u8>> {
    static ADDRESS: OnceLock<Regex> = OnceLock::new();
    let address = ADDRESS.get_or_init(|| {
        Regex::new(r#"(?i)\bhttps?://[^\s<>"]+"#).expect("a constant, which a test compiles")
    });
    let text = std::str::from_utf8(text).ok()?;
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for found in address.find_iter(text) {
        let url = without_the_sentence(found.as_str());
        if let Some(target) = link(url) {
            out.push_str(&text[at..found.start()]);
            out.push_str(&target);
            at = found.start() + url.len();
        }
    }
    out.push_str(&text[at..]);
    (at > 0).then(|| out.into_bytes())
}

/// A link without what belongs to the sentence around it: `(see https://acme.example/a_(b)).`
fn without_the_sentence(found: &str) -> &str {
    let mut url = found;
    while let Some(last) = url.chars().next_back() {
        let opening = match last {
            ')' => Some('('),
            ']' => Some('['),
            '}' => Some('{'),
            _ => None,
        };
        let is_of_the_sentence = match opening {
            Some(opening) => url.matches(opening).count() < url.matches(last).count(),
            None => ".,;:!?'*_".contains(last),
        };
        if !is_of_the_sentence {
            break;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
    url
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marked(text: &str) -> Option<String> {
        let link = |url: &str| (!url.contains("keep")).then(|| format!("T/{}", url.len()));
        mark_text(text.as_bytes(), link).map(|text| String::from_utf8(text).expect("UTF-8"))
    }

    #[test]
    fn links_change_and_the_sentence_around_them_stays() {
        for (text, wanted) in [
            ("See https://a.example/x.", "See T/19."),
            ("(https://a.example/a_(b)), HTTP://b.example!", "(T/23), T/16!"),
            ("<https://a.example/>\r\n> https://b.example?c=d&e\r\n", "<T/18>\r\n> T/23\r\n"),
            ("https://keep.example/ and *https://a.example*", "https://keep.example/ and *T/17*"),
        ] {
            assert_eq!(marked(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["", "acme.example", "mailto:a@b.example xhttps://a.example", "https://keep.example/"] {
            assert_eq!(marked(text), None, "{text}");
        }
        assert_eq!(mark_text(b"https://a.example/ \xff", |_| Some("T".to_owned())), None, "no UTF-8");
    }

    proptest! {
        #[test]
        fn nothing_but_links_changes(text in "(https://a.example/\\(x|see |\\)|\\.|,|<|>|\\r\\n|ü|\\PC){0,30}") {
            let marked = mark_text(text.as_bytes(), |_| Some("\u{1}".to_owned()));
            if let Some(marked) = marked {
                let marked = String::from_utf8(marked).expect("UTF-8");
                // What stands between the marks is found in the original, in this order.
                let mut rest = text.as_str();
                for piece in marked.split('\u{1}') {
                    let at = rest.find(piece);
                    prop_assert!(at.is_some(), "{:?} is not in {:?}", piece, rest);
                    rest = &rest[at.unwrap_or(0) + piece.len()..];
                }
            }
        }
    }
}
