//! What text may stand in one header field, whoever gives it: a subject, a display name, a file name, a custom
//! field's value. Not how it is encoded (`words`), and nothing about bodies.
//!
//! Invariant: a text that passes has no character that any reader takes for the end of the field.

/// The longest text of one field, in octets before encoding: what sixteen lines of the longest legal length
/// (RFC 5322 §2.1.1) would hold. Postfix cuts a header block at 100 kB, others earlier.
pub const MAX_TEXT_OCTETS: usize = 16 * 998;

/// Why a text cannot stand in a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// CR, LF, or one of the characters that Unicode adds to them (U+0085, U+2028, U+2029).
    #[error("it contains a line break, and a header field is one line")]
    LineBreak,
    /// Any other control character (C0 but for the tab, DEL, C1).
    #[error("it contains the control character U+{:04X}", u32::from(*.0))]
    Control(char),
    /// A character that reorders the text around it, so that it reads as something else.
    #[error("it contains the invisible character U+{:04X}, which reorders the text around it", u32::from(*.0))]
    Bidi(char),
    /// Over [`MAX_TEXT_OCTETS`].
    #[error("it is longer than {MAX_TEXT_OCTETS} octets")]
    TooLong,
}

/// Checks a text that people write freely, such as a subject: no line break, no control character but the tab.
///
/// Percent-encoded line breaks pass: nothing here decodes them.
///
/// # Errors
/// The first reason why it cannot stand in a header field.
pub fn check(text: &str) -> Result<(), TextError> {
    if text.len() > MAX_TEXT_OCTETS {
        return Err(TextError::TooLong);
    }
    check_controls(text)
}

/// [`check`] for text of any length.
pub(super) fn check_controls(text: &str) -> Result<(), TextError> {
    if text.bytes().all(|c| matches!(c, b' '..=b'~')) {
        return Ok(());
    }
    match text.chars().find(|&c| c != '\t' && (c.is_control() || is_line_break(c))) {
        Some(c) if is_line_break(c) => Err(TextError::LineBreak),
        Some(c) => Err(TextError::Control(c)),
        None => Ok(()),
    }
}

/// Checks a text that names someone or something: as [`check`], and neither a tab nor a character that
/// reorders its surroundings, with which `exe.fdp` is shown as a PDF and one sender as another.
///
/// # Errors
/// The first reason why it cannot be such a name.
pub fn check_name(text: &str) -> Result<(), TextError> {
    check(text)?;
    match text.chars().find(|&c| c == '\t' || reorders(c)) {
        Some('\t') => Err(TextError::Control('\t')),
        Some(c) => Err(TextError::Bidi(c)),
        None => Ok(()),
    }
}

/// Whether some reader ends a line here.
pub(super) fn is_line_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Embeddings, overrides and isolates of the Unicode bidirectional algorithm (UAX #9 §2). The marks U+200E,
/// U+200F and U+061C are left: Hebrew and Arabic names use them, and they reorder nothing but themselves.
pub(super) fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_passes_in_any_script() {
        for text in
            ["", "Hello, world", "Größe", "שלום \u{200f}", "日本語", "👩‍👩‍👧", "100% %0d%0aBcc: x", "a\tb"]
        {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
        assert_eq!(check_name("Søren Ærø"), Ok(()));
    }

    #[test]
    fn every_line_break_is_refused() {
        for text in
            ["a\rb", "a\nb", "a\r\nBcc: x", "a\r\n folded", "a\u{85}b", "a\u{2028}b", "a\u{2029}b", "a\u{b}b"]
        {
            assert_eq!(check(text), Err(TextError::LineBreak), "{text:?}");
            assert_eq!(check_name(text), Err(TextError::LineBreak), "{text:?}");
        }
    }

    #[test]
    fn other_control_characters_are_refused_by_name() {
        assert_eq!(check("a\0b"), Err(TextError::Control('\0')));
        assert_eq!(check("\u{1b}[2J"), Err(TextError::Control('\u{1b}')));
        assert_eq!(check("a\u{7f}"), Err(TextError::Control('\u{7f}')));
        assert_eq!(check("a\u{9b}"), Err(TextError::Control('\u{9b}')));
        assert_eq!(check("a\u{7f}").unwrap_err().to_string(), "it contains the control character U+007F");
    }

    #[test]
    fn a_name_neither_reorders_nor_holds_tabs() {
        assert_eq!(check_name("invoice\u{202e}fdp.exe"), Err(TextError::Bidi('\u{202e}')));
        assert_eq!(check_name("a\u{2066}b"), Err(TextError::Bidi('\u{2066}')));
        assert_eq!(check_name("a\tb"), Err(TextError::Control('\t')));
        assert_eq!(check("\u{202b}שלום\u{202c}"), Ok(()));
    }

    #[test]
    fn the_length_is_counted_in_octets() {
        assert_eq!(check(&"é".repeat(MAX_TEXT_OCTETS / 2)), Ok(()));
        assert_eq!(check(&"é".repeat(MAX_TEXT_OCTETS / 2 + 1)), Err(TextError::TooLong));
    }
}
