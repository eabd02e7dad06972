//! What a template's source may nest, found before it is parsed: the parser calls itself for every nested block and
//! parenthesis, and must not be led beyond its stack. Not whether the source is well formed: the parser says that.
//!
//! Invariant: this counts at least what the parser will nest. What the two could read differently is refused:
//! raw blocks, and quotes within brackets.

use super::limits::{MAX_DEPTH, MAX_NESTED_CALLS};

/// Checks what a source nests.
///
/// # Errors
/// Why it cannot be parsed, and the line and column.
pub fn check(source: &str) -> Result<(), (String, (usize, usize))> {
    let mut scan = Scan { source: source.as_bytes(), at: 0, blocks: Vec::new() };
    scan.run().map_err(|message| (message.to_owned(), place(source, scan.at)))
}

/// Line and column of an octet, from 1.
pub fn place(source: &str, at: usize) -> (usize, usize) {
    let before = &source.as_bytes()[..at.min(source.len())];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (line, before.len() - start + 1)
}

struct Scan<'a> {
    source: &'a [u8],
    at: usize,
    /// The open blocks, each with the depth it adds: one, and one for each `else` of its own.
    blocks: Vec<usize>,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), &'static str> {
        while let Some(found) = memchr::memmem::find(&self.source[self.at..], b"{{") {
            self.at += found;
            let escapes = self.source[..self.at].iter().rev().take_while(|octet| **octet == b'\\').count();
            // One backslash makes it text; two are a backslash, and a tag.
            if escapes == 1 {
                self.at += 2;
                continue;
            }
            if self.rest().starts_with(b"{{{{") {
                return Err("raw blocks ({{{{…}}}}) are not available");
            }
            self.tag()?;
        }
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.source[self.at..]
    }

    fn tag(&mut self) -> Result<(), &'static str> {
        self.at += 2;
        if self.rest().starts_with(b"!--") {
            return self.skip_past(b"--}}");
        }
        if self.rest().starts_with(b"!") {
            return self.skip_past(b"}}");
        }
        let lead = self
            .rest()
            .iter()
            .take_while(|octet| matches!(octet, b'~' | b'{' | b' ' | b'\t' | b'\r' | b'\n'));
        self.at += lead.count();
        self.block()?;
        self.inside()
    }

    /// Opens, divides or closes a block.
    fn block(&mut self) -> Result<(), &'static str> {
        match self.rest() {
            [b'#', ..] => self.blocks.push(1),
            [b'/', ..] => {
                self.blocks.pop();
            }
            [b'^', ..] | [b'e', b'l', b's', b'e', ..] => {
                if let Some(innermost) = self.blocks.last_mut() {
                    *innermost += 1;
                }
            }
            _ => {}
        }
        let depth: usize = self.blocks.iter().sum();
        if depth > MAX_DEPTH { Err("blocks are nested too deeply") } else { Ok(()) }
    }

    /// Up to the tag's end: counts what is nested, passes over strings.
    fn inside(&mut self) -> Result<(), &'static str> {
        let mut depth: usize = 0;
        loop {
            match *self.rest() {
                [] => return Ok(()),
                [b'}', b'}', ..] if depth == 0 => {
                    self.at += 2;
                    return Ok(());
                }
                [b'"' | b'\'', ..] => self.string()?,
                [b'[', ..] => self.brackets()?,
                [b'(' | b'{', ..] => {
                    depth += 1;
                    self.at += 1;
                }
                [b')' | b'}', ..] => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            if depth > MAX_NESTED_CALLS {
                return Err("parentheses are nested too deeply");
            }
        }
    }

    fn string(&mut self) -> Result<(), &'static str> {
        let quote = self.source[self.at];
        self.at += 1;
        while let Some(octet) = self.source.get(self.at) {
            match octet {
                b'\\' => self.at += 2,
                octet if *octet == quote => {
                    self.at += 1;
                    return Ok(());
                }
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.source.len());
        Err("a string does not end")
    }

    fn brackets(&mut self) -> Result<(), &'static str> {
        let Some(end) = memchr::memchr(b']', self.rest()) else { return Err("a bracket does not close") };
        if self.rest()[1..end].iter().any(|octet| matches!(octet, b'"' | b'\'' | b'[' | b'(' | b'{' | b'}')) {
            return Err("brackets in a tag hold a name or numbers, no quotes and no further brackets");
        }
        self.at += end + 1;
        Ok(())
    }

    fn skip_past(&mut self, end: &[u8]) -> Result<(), &'static str> {
        match memchr::memmem::find(self.rest(), end) {
            Some(found) => {
                self.at += found + end.len();
                Ok(())
            }
            None => Err("a comment does not end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_templates_pass() {
        for good in [
            "",
            "{ {} } plain }} text (((((((((((((((((((((((",
            "{{name}} {{{html}}} {{&raw}} {{~ trimmed ~}}",
            "{{#if a}}x{{else if b}}y{{else}}z{{/if}}",
            "{{default (lookup names [first name]) \"it's }} {{ (\"}}",
            "{{! it's }}{{!-- \" }} --}}{{x}}",
            "a \\{{ \" {{x}}",
            "{{lookup [1, 2] 0}}",
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn what_nests_too_deeply_or_could_be_read_otherwise_is_refused_at_its_place() {
        let blocks = "{{#if a}}".repeat(MAX_DEPTH + 1);
        let elses = format!("{{{{#if a}}}}{}", "{{else if b}}".repeat(MAX_DEPTH));
        let calls = format!("{{{{f {}}}}}", "(f ".repeat(MAX_NESTED_CALLS + 1));
        let hidden = format!("{{{{f \"}}}}\" {}}}}}", "(f ".repeat(MAX_NESTED_CALLS + 1));
        let after_escape = format!("\\{{{{ ' {{{{f {}}}}} '", "(f ".repeat(MAX_NESTED_CALLS + 1));
        let objects = format!("{{{{f {}}}}}", "{\"a\":".repeat(MAX_NESTED_CALLS + 1));
        for bad in [&blocks, &elses, &calls, &hidden, &after_escape, &objects] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for bad in ["{{f \"a}}", "{{[it's]}}", "{{f [[1]]}}", "{{{{raw}}}} {{{{/raw}}}}", "{{!-- x", "{{[a"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(check("a\nbc {{{{x}}}}").map_err(|(_, place)| place), Err((2, 4)));
    }
}
