//! Cells of CSV files that people open in spreadsheets: what would be taken for a formula there is written so that it
//! is a text, and read back as it was (OWASP, CSV Injection).

use std::borrow::Cow;

/// What a spreadsheet takes for the beginning of a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];
/// What says that a text follows. A text that begins with it gets another.
const TEXT: char = '\'';

fn is_marked(text: &str) -> bool {
    text.starts_with(FORMULA) || text.starts_with(TEXT)
}

/// A text as a cell.
pub fn write(text: &str) -> Cow<'_, str> {
    if is_marked(text) { Cow::Owned(format!("{TEXT}{text}")) } else { Cow::Borrowed(text) }
}

/// The text of a cell, as [`write`] or anybody else wrote it.
pub fn read(cell: &str) -> &str {
    cell.strip_prefix(TEXT).filter(|rest| is_marked(rest)).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_each_reads_back() {
        let texts = [
            "",
            "ann@example.net",
            "=1+1@example.net",
            "+1@example.net",
            "-a@example.net",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "'=1",
            "''",
            "'ann@example.net",
            "a=1",
        ];
        for text in texts {
            let cell = write(text);
            assert!(!cell.starts_with(FORMULA), "{cell}");
            assert_eq!(read(&cell), text, "{cell}");
        }
        assert_eq!(read("'ann@example.net"), "'ann@example.net", "what others wrote stays");
    }
}
