//! HTML out of MJML, CSS brought to the elements it is for, and the plain text of an HTML part.
//!
//! Invariant: nothing is fetched. Stylesheets elsewhere, and files that MJML would include, stay where they are.

use std::borrow::Cow;

use css_inline::CSSInliner;
use mrml::mj_style::StyleInlineMode;
use mrml::mjml::Mjml;
use mrml::prelude::parser::{Error, ParserOptions};
use mrml::prelude::render::RenderOptions;

use super::limits::{MAX_CSS, MAX_OUTPUT};
use super::markup::{self, Refused, Tag};
use super::{Fault, Part, Trouble, syntax};

/// The columns of a plain text: what fits everywhere when it is quoted once.
const COLUMNS: usize = 76;

/// The HTML that MJML stands for.
///
/// # Errors
/// It is no MJML.
pub fn from_mjml(mjml: &str) -> Result<String, Fault> {
    check_depth(Part::Mjml, mjml)?;
    let parsed =
        mrml::parse_with_options(mjml, &ParserOptions::default()).map_err(|error| not_mjml(mjml, &error))?;
    let options = RenderOptions { disable_comments: true, ..RenderOptions::default() };
    let html = parsed.element.render(&options).map_err(|error| fault(Part::Mjml, error.to_string()))?;
    let css = inline_styles(&parsed.element);
    let html = if css.is_empty() { html } else { with_styles(Part::Mjml, &html, Some(css))? };
    bounded(Part::Mjml, html)
}

/// What `<mj-style inline="inline">` holds.
fn inline_styles(mjml: &Mjml) -> String {
    let head = mjml.children.head.iter().flat_map(|head| &head.children);
    let styles = head.filter_map(|child| child.as_mj_style());
    styles
        .filter(|style| style.inline_mode() == StyleInlineMode::Inline)
        .map(|style| style.children())
        .collect()
}

fn not_mjml(mjml: &str, error: &Error) -> Fault {
    let place = match error {
        Error::UnexpectedElement { position, .. }
        | Error::UnexpectedToken { position, .. }
        | Error::MissingAttribute { position, .. }
        | Error::InvalidAttribute { position, .. }
        | Error::InvalidFormat { position, .. }
        | Error::IncludeLoaderError { position, .. } => Some(syntax::place(mjml, position.start)),
        _ => None,
    };
    Fault { place, ..fault(Part::Mjml, format!("it is no MJML: {error}")) }
}

/// Brings the CSS of `<style>` to the elements it is for; media queries and the like stay.
///
/// # Errors
/// The CSS is too long, or the HTML too deep.
pub fn inline_css(html: String) -> Result<String, Fault> {
    check_depth(Part::Html, &html)?;
    if !has_style(&html) {
        return Ok(html);
    }
    bounded(Part::Html, with_styles(Part::Html, &html, None)?)
}

fn with_styles(part: Part, html: &str, css: Option<String>) -> Result<String, Fault> {
    let length = css.as_ref().map_or_else(|| styles_length(html), String::len);
    if length > MAX_CSS {
        return Err(Fault::of(part, Trouble::TooLarge(format!("its CSS has more than {MAX_CSS} octets"))));
    }
    let from_document = css.is_none();
    let inliner = CSSInliner::options()
        .load_remote_stylesheets(false)
        .keep_link_tags(true)
        .inline_style_tags(from_document)
        .keep_style_tags(!from_document)
        .keep_at_rules(from_document)
        .extra_css(css.map(Cow::Owned))
        .build();
    inliner.inline(html).map_err(|error| fault(part, format!("its CSS cannot be inlined: {error}")))
}

fn has_style(html: &str) -> bool {
    tags(html).iter().any(|tag| tag.name.eq_ignore_ascii_case("style"))
}

/// The octets between `<style>` and its end, over the whole document: at most all of it.
fn styles_length(html: &str) -> usize {
    let mut length = 0;
    let mut opened = None;
    for tag in tags(html).into_iter().filter(|tag| tag.name.eq_ignore_ascii_case("style")) {
        match (tag.closes, opened) {
            (false, None) => opened = Some(tag.at),
            (true, Some(start)) => {
                length += tag.at - start;
                opened = None;
            }
            _ => {}
        }
    }
    length + opened.map_or(0, |start| html.len() - start)
}

/// What an HTML part says, without its form; `None`: nothing.
pub fn as_text(html: &str) -> Option<String> {
    let plain = html2text::config::plain().raw_mode(true).no_table_borders().allow_width_overflow();
    // Whoever cannot be shown HTML is shown what there is: a mail without a text is better than none.
    let text = plain.string_from_read(html.as_bytes(), COLUMNS).ok()?;
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let text = lines.join("\n");
    let text = text.trim_matches('\n');
    (!text.trim().is_empty()).then(|| format!("{text}\n"))
}

fn bounded(part: Part, html: String) -> Result<String, Fault> {
    if html.len() > 2 * MAX_OUTPUT {
        let text = format!("as HTML it has more than {} octets", 2 * MAX_OUTPUT);
        return Err(Fault::of(part, Trouble::TooLarge(text)));
    }
    Ok(html)
}

fn fault(part: Part, text: String) -> Fault {
    Fault::of(part, Trouble::Markup(text))
}

fn check_depth(part: Part, markup: &str) -> Result<(), Fault> {
    markup::check_depth(markup).map_err(|refused| {
        Fault::of(
            part,
            match refused {
                Refused::TooDeep => Trouble::TooComplex(refused.to_string()),
                Refused::StrayQuote => Trouble::Markup(refused.to_string()),
            },
        )
    })
}

/// All tags; none, where they cannot be told, which has been refused before.
fn tags(html: &str) -> Vec<Tag<'_>> {
    markup::tags(html).unwrap_or_default()
}
