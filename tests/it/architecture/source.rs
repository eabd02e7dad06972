//! Source text as the rules read it: without comments, strings and tests, and with every line where it was.
//!
//! Not a parser of Rust: it knows where comments and literals begin and end, which items are for tests alone, and
//! what a path that begins with `crate`, `super` or `postroad` leads to. Code that rustfmt has formatted needs no more.

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A file of `src/`.
#[derive(Debug, Clone)]
pub struct Source {
    /// Below `src/`, such as `http/auth/mod.rs`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// With comments, literals and test items blanked out. Line ends stay.
    pub code: String,
    /// The contents of its string literals outside of test items.
    pub strings: Vec<Literal>,
}

/// A string literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// Where it begins, counted from 1.
    pub line: usize,
    /// What is between its quotes, escapes and all.
    pub text: String,
}

/// A path that leads into a module at the root of the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where, counted from 1.
    pub line: usize,
    /// The first segment after the root.
    pub to: String,
}

/// Every file of `src/` but those that only tests compile, by path.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let name = |file: &Path| file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    let read = |file: &PathBuf| Source::new(&name(file), &fs::read_to_string(file).unwrap());
    let sources: Vec<Source> = files.iter().map(read).collect();
    let for_tests: HashSet<String> = sources.iter().flat_map(Source::test_modules).collect();
    // `x.rs`, and what is below `x/`.
    let is_test = |path: &str| {
        for_tests.iter().any(|module| {
            path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    };
    sources.into_iter().filter(|source| !is_test(&source.path)).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    /// Reads a text as the file of that path.
    pub fn new(path: &str, text: &str) -> Source {
        let (blanked, literals) = blank(text);
        let mut code = blanked.into_bytes();
        let tests = test_items(std::str::from_utf8(&code).unwrap());
        for range in &tests {
            erase(&mut code[range.clone()]);
        }
        let in_tests = |at: usize| tests.iter().any(|range| range.contains(&at));
        let outside = literals.into_iter().filter(|(at, _)| !in_tests(*at));
        let strings =
            outside.map(|(at, content)| Literal { line: line_of(text, at), text: content }).collect();
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code: String::from_utf8(code).unwrap(),
            strings,
        }
    }

    /// The module at the root of the crate that the file belongs to; `lib` for the root itself.
    pub fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// What its paths lead to.
    pub fn references(&self) -> Vec<Reference> {
        let roots = regex::Regex::new(r"\b(crate|postroad)\s*::\s*|\b(super\s*::\s*)+").unwrap();
        let mut found = Vec::new();
        for root in roots.find_iter(&self.code) {
            let climbs = root.as_str().matches("super").count();
            if climbs > 0 && climbs < self.depth() {
                continue;
            }
            let line = line_of(&self.code, root.start());
            found.extend(heads(&self.code[root.end()..]).into_iter().map(|to| Reference { line, to }));
        }
        found
    }

    /// How many `super` lead from the file's module to the root of the crate.
    fn depth(&self) -> usize {
        let segments = self.path.split('/').count();
        if self.path.ends_with("/mod.rs") { segments - 1 } else { segments }
    }

    /// The modules in other files that it declares for tests alone: paths below `src/`, without `.rs`.
    fn test_modules(&self) -> Vec<String> {
        let (blanked, _) = blank(&self.text);
        let directory = match self.path.strip_suffix("/mod.rs").or(self.path.strip_suffix(".rs")).unwrap() {
            "lib" => String::new(),
            module => format!("{module}/"),
        };
        let declared = |item: Range<usize>| {
            let name = blanked[item].trim().strip_prefix("mod ")?.strip_suffix(';')?.to_owned();
            Some(format!("{directory}{name}"))
        };
        test_items(&blanked).into_iter().filter_map(declared).collect()
    }
}

/// The line of a place in a text, counted from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The first segments of what follows `crate::`: one, or those of a group.
fn heads(rest: &str) -> Vec<String> {
    let ident = |text: &str| -> Option<String> {
        let name: String =
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '*').collect();
        (!name.is_empty()).then_some(name)
    };
    let Some(group) = rest.strip_prefix('{') else { return ident(rest).into_iter().collect() };
    let (mut depth, mut begin, mut heads) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(ident(&group[begin..at]));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

/// Blanks out comments and the insides of literals; gives the string literals with their places.
fn blank(text: &str) -> (String, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut literals = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let in_word = at > 0 && is_word(bytes[at - 1]);
        if rest.starts_with(b"//") {
            let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            erase(&mut code[at..at + length]);
            at += length;
        } else if rest.starts_with(b"/*") {
            let length = block_comment(rest);
            erase(&mut code[at..at + length]);
            at += length;
        } else if let Some(quotes) = Quotes::opening(rest).filter(|_| !in_word) {
            let inside = at + quotes.open..at + quotes.open + quotes.content(&rest[quotes.open..]);
            literals.push((at, text[inside.clone()].to_owned()));
            erase(&mut code[inside.clone()]);
            at = (inside.end + quotes.close()).min(bytes.len());
        } else if let Some(length) = char_literal(rest) {
            erase(&mut code[at + 1..at + length - 1]);
            at += length;
        } else {
            at += 1;
        }
    }
    (String::from_utf8(code).expect("only whole characters are replaced"), literals)
}

/// Makes everything a space but line ends.
fn erase(code: &mut [u8]) {
    for byte in code.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The length of the block comment that begins here. They nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(rest.len())
}

/// How a string literal is delimited.
struct Quotes {
    /// The length of what opens it.
    open: usize,
    /// Of a raw one: how many `#` follow its quotes.
    raw: Option<usize>,
}

impl Quotes {
    /// Of the literal that begins here; `None`: none does.
    fn opening(rest: &[u8]) -> Option<Quotes> {
        let letters = rest.iter().take_while(|byte| matches!(byte, b'b' | b'c' | b'r')).count();
        let hashes = rest[letters..].iter().take_while(|byte| **byte == b'#').count();
        let raw = match &rest[..letters] {
            b"" | b"b" | b"c" if hashes == 0 => None,
            b"r" | b"br" | b"cr" => Some(hashes),
            _ => return None,
        };
        (rest.get(letters + hashes) == Some(&b'"')).then_some(Quotes { open: letters + hashes + 1, raw })
    }

    /// The length of what closes it.
    fn close(&self) -> usize {
        1 + self.raw.unwrap_or(0)
    }

    /// The length of the content that begins here.
    fn content(&self, inside: &[u8]) -> usize {
        let mut at = 0;
        while at < inside.len() {
            match (inside[at], self.raw) {
                (b'\\', None) => at += 2,
                (b'"', None) => break,
                (b'"', Some(hashes))
                    if inside[at + 1..].iter().take_while(|b| **b == b'#').count() >= hashes =>
                {
                    break;
                }
                _ => at += 1,
            }
        }
        at.min(inside.len())
    }
}

/// The length of the character literal that begins here; `None`: it is none, perhaps a lifetime.
fn char_literal(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\'', b'\\', _, more @ ..] => Some(4 + more.iter().position(|byte| *byte == b'\'')?),
        [b'\'', first, more @ ..] => {
            let others = more.iter().take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count();
            (*first != b'\'' && more.get(others) == Some(&b'\'')).then_some(others + 3)
        }
        _ => None,
    }
}

/// The items under `#[cfg(test)]`, attributes left out, in code without comments and literals.
fn test_items(code: &str) -> Vec<Range<usize>> {
    const MARK: &str = "#[cfg(test)]";
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find(MARK) {
        let begin = from + found + MARK.len();
        let end = begin + item_len(&code.as_bytes()[begin..]);
        items.push(begin..end);
        from = end;
    }
    items
}

/// The length of an item: up to its semicolon, or the brace that closes its first one.
fn item_len(code: &[u8]) -> usize {
    let mut depth = 0;
    for (at, byte) in code.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}
