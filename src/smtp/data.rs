//! The text of a mail as it comes after DATA: finding its end, removing the dots, watching its size.
//!
//! No I/O. Invariant: only CRLF `.` CRLF ends a mail (RFC 5321 §4.1.1.4), and a mail with a CR, LF or NUL of its
//! own is never handed on, so that two hosts can not disagree about where it ended ("SMTP smuggling"). Such a
//! mail, or one too large, is still read to its end, but no longer stored.

use bytes::Bytes;

use super::reply::{self, Reply};

/// How far beyond the size limit a refused mail is read, to be able to refuse it politely. Then the client is
/// cut off.
const MAX_UNSTORED: u64 = 256 * 1024 * 1024;
/// What one mail reserves before its text arrives, whatever SIZE its client declared.
const MAX_RESERVED: u64 = 64 * 1024;

/// What may be in a mail.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextLimits {
    /// Octets, counted as RFC 1870 §5 does: CRLFs count, dot stuffing and the final dot do not.
    pub(super) message: u64,
    /// Octets of one line without its CRLF; `None` takes lines as they come.
    pub(super) line: Option<usize>,
}

/// Reads one mail, chunk by chunk.
pub(super) struct TextReader {
    limits: TextLimits,
    state: State,
    text: Vec<u8>,
    /// Octets of the text so far, stored or not.
    size: u64,
    /// Octets of the current line so far.
    line: usize,
    fault: Option<Fault>,
}

/// Why a mail is refused. The gravest fault is the one that is told, however the text was cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    NoRoom,
    LongLine,
    TooBig,
    Unclean,
}

/// Where the reader stands after a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The chunk was all text.
    More,
    /// The mail ended after so many octets of the chunk; the rest are commands.
    Done(usize),
    /// The mail is refused and still does not end.
    Flood,
}

#[derive(Debug, Clone, Copy)]
enum State {
    LineStart,
    /// A dot at the start of a line: a stuffed one, or the end.
    Dot,
    DotCr,
    Text,
    Cr,
}

impl TextReader {
    /// `declared` is the SIZE of the MAIL command, if it had one: a hint, not a promise.
    pub(super) fn new(limits: TextLimits, declared: Option<u64>) -> Self {
        // At most 64 KiB, so it fits usize everywhere.
        let reserved = declared.unwrap_or(0).min(MAX_RESERVED) as usize;
        // RFC 5321 §4.1.1.4: the CRLF of the DATA line counts, so a dot may follow at once.
        let state = State::LineStart;
        Self { limits, state, text: Vec::with_capacity(reserved), size: 0, line: 0, fault: None }
    }

    /// Takes the next octets from the wire.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Progress {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            match (self.state, byte) {
                (State::LineStart, b'.') => (self.state, at) = (State::Dot, at + 1),
                (State::Dot, b'\r') => (self.state, at) = (State::DotCr, at + 1),
                (State::DotCr, b'\n') => return Progress::Done(at + 1),
                (State::Cr, b'\n') => {
                    self.keep(b"\r\n");
                    self.end_line();
                    (self.state, at) = (State::LineStart, at + 1);
                }
                (State::Cr | State::DotCr, _) => {
                    self.refuse(Fault::Unclean);
                    self.state = State::Text;
                }
                (State::LineStart | State::Dot | State::Text, _) => at = self.text(chunk, at),
            }
        }
        if self.fault.is_some() && self.size > self.limits.message.saturating_add(MAX_UNSTORED) {
            return Progress::Flood;
        }
        Progress::More
    }

    /// The octets of memory it holds.
    pub(super) fn holds(&self) -> usize {
        self.text.capacity()
    }

    /// There is no memory for it: it is read to its end, and refused for now.
    pub(super) fn give_up(&mut self) {
        self.refuse(Fault::NoRoom);
    }

    /// The whole text, every line ended by CRLF, or the reply that refuses it. To be called after `Done`.
    pub(super) fn finish(self) -> Result<Bytes, Reply> {
        match self.fault {
            None => Ok(Bytes::from(self.text)),
            Some(Fault::NoRoom) => Err(reply::NO_ROOM),
            Some(Fault::LongLine) => Err(reply::TEXT_LINE_TOO_LONG),
            Some(Fault::TooBig) => Err(reply::TOO_BIG),
            Some(Fault::Unclean) => Err(reply::UNCLEAN_TEXT),
        }
    }

    /// Takes text from `start` up to the next octet that needs thought: whole lines at a time, since most lines
    /// end cleanly and begin without a dot. Returns where that octet is.
    fn text(&mut self, chunk: &[u8], start: usize) -> usize {
        let mut line_start = start;
        let mut at = start;
        self.state = State::Text;
        while let Some(found) = memchr::memchr3(b'\r', b'\n', 0, &chunk[at..]) {
            at += found;
            if chunk[at..].starts_with(b"\r\n") {
                self.line += at - line_start;
                self.end_line();
                at += 2;
                line_start = at;
                match chunk.get(at) {
                    Some(b'.') | None => return self.took(chunk, start, at, State::LineStart),
                    Some(_) => continue,
                }
            }
            self.line += at - line_start;
            if chunk[at] == b'\r' {
                return self.took(chunk, start, at, State::Cr) + 1;
            }
            // A bare LF, or NUL (RFC 5321 §2.3.8, §4.5.2).
            self.refuse(Fault::Unclean);
            return self.took(chunk, start, at, State::Text) + 1;
        }
        self.line += chunk.len() - line_start;
        self.took(chunk, start, chunk.len(), State::Text)
    }

    fn took(&mut self, chunk: &[u8], start: usize, end: usize, state: State) -> usize {
        self.keep(&chunk[start..end]);
        self.state = state;
        end
    }

    fn keep(&mut self, octets: &[u8]) {
        self.size += octets.len() as u64;
        if self.size > self.limits.message {
            self.refuse(Fault::TooBig);
        }
        if self.fault.is_none() {
            self.text.extend_from_slice(octets);
        }
    }

    fn end_line(&mut self) {
        if self.limits.line.is_some_and(|limit| self.line > limit) {
            self.refuse(Fault::LongLine);
        }
        self.line = 0;
    }

    /// The text is dropped at once: nobody will read it.
    fn refuse(&mut self, fault: Fault) {
        self.fault = self.fault.max(Some(fault));
        self.text = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TextLimits = TextLimits { message: 1_000, line: None };

    /// The text or the code of the refusal, and what is left over for the next command; `None`: no end was seen.
    fn read_in(chunks: &[&[u8]], limits: TextLimits) -> Option<(Result<String, u16>, Vec<u8>)> {
        let mut reader = TextReader::new(limits, None);
        for (index, chunk) in chunks.iter().enumerate() {
            if let Progress::Done(used) = reader.feed(chunk) {
                let rest = [&chunk[used..], &chunks[index + 1..].concat()].concat();
                let text = reader.finish().map_err(|reply| reply.code());
                return Some((text.map(|text| String::from_utf8_lossy(&text).into_owned()), rest));
            }
        }
        None
    }

    fn read(wire: &str) -> Option<(Result<String, u16>, Vec<u8>)> {
        read_in(&[wire.as_bytes()], LIMITS)
    }

    fn text(text: &str) -> Option<(Result<String, u16>, Vec<u8>)> {
        Some((Ok(text.to_owned()), Vec::new()))
    }

    #[test]
    fn dots_are_unstuffed_and_only_there() {
        assert_eq!(read("a\r\n.\r\n"), text("a\r\n"));
        assert_eq!(read(".\r\n"), text(""));
        assert_eq!(read("..\r\n.\r\n"), text(".\r\n"));
        assert_eq!(read(".a\r\n..b\r\n...\r\n.\r\n"), text("a\r\n.b\r\n..\r\n"));
        assert_eq!(read("a.\r\n b.c\r\n.\r\n"), text("a.\r\n b.c\r\n"));
        assert_eq!(read("\r\n\r\n.\r\n"), text("\r\n\r\n"));
    }

    #[test]
    fn what_follows_the_dot_is_left_for_the_next_command() {
        assert_eq!(read("a\r\n.\r\nQUIT\r\n"), Some((Ok("a\r\n".into()), b"QUIT\r\n".to_vec())));
    }

    #[test]
    fn every_split_of_the_wire_reads_the_same() {
        let wires =
            ["Subject: x\r\n\r\n..dot\r\n.x\r\nlast\r\n.\r\nQUIT\r\n", "a\r\n.\r\r\nb\nc\0\r\n.\r\nQUIT\r\n"];
        for wire in wires.map(str::as_bytes) {
            let whole = read_in(&[wire], LIMITS);
            assert!(whole.is_some());
            for first in 0..=wire.len() {
                for second in first..=wire.len() {
                    let split = [&wire[..first], &wire[first..second], &wire[second..]];
                    assert_eq!(read_in(&split, LIMITS), whole, "split at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn no_ending_but_crlf_dot_crlf_ends_a_mail() {
        let breaks =
            ["\r\n", "\n", "\r", "\r\r\n", "\n\r", "\0\r\n", "\r\0\n", "\r\n\0", "\r\n ", "\n\n", "\r\r"];
        for before in breaks {
            for after in breaks {
                if before.ends_with("\r\n") && after.starts_with("\r\n") {
                    continue;
                }
                let wire = format!("text{before}.{after}MAIL FROM:<smuggled@example.org>\r\n.\r\n");
                let (text, rest) = read(&wire).expect("the last line ends the mail");
                assert_eq!(rest, b"", "{before:?} . {after:?} ended the mail early");
                let expected = if [before, after].iter().all(|part| ["\r\n", "\r\n "].contains(part)) {
                    // Proper CRLFs, but a space keeps the dot from standing alone.
                    Ok(())
                } else {
                    Err(550)
                };
                assert_eq!(text.map(|_| ()), expected, "{before:?} . {after:?}");
            }
        }
    }

    #[test]
    fn a_mail_of_exactly_the_limit_is_taken_and_one_octet_more_is_not() {
        let limits = TextLimits { message: 10, line: None };
        assert_eq!(read_in(&[b"12345678\r\n.\r\n"], limits), text("12345678\r\n"));
        assert_eq!(read_in(&[b"..345678\r\n.\r\n"], limits), text(".345678\r\n"));
        assert_eq!(read_in(&[b"123456789\r\n.\r\n"], limits), Some((Err(552), Vec::new())));
        assert_eq!(read_in(&[b"1\r\n2\r\n3\r\n4\r\n.\r\n"], limits), Some((Err(552), Vec::new())));
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_taken_and_one_octet_more_is_not() {
        let limits = TextLimits { message: 100, line: Some(5) };
        assert_eq!(read_in(&[b"12345\r\n.12345\r\n.\r\n"], limits), text("12345\r\n12345\r\n"));
        assert_eq!(read_in(&[b"1\r\n123", b"456\r", b"\n.\r\n"], limits), Some((Err(554), Vec::new())));
    }

    #[test]
    fn an_endless_mail_is_dropped_from_memory_and_then_cut_off() {
        let mut reader = TextReader::new(LIMITS, Some(u64::MAX));
        let chunk = vec![b'x'; 1024 * 1024];
        let mut fed = 0;
        while reader.feed(&chunk) == Progress::More {
            fed += 1;
            assert_eq!(reader.text.capacity(), 0);
            assert!(fed < 1_000, "a flood must end");
        }
        assert_eq!(fed as u64, MAX_UNSTORED / chunk.len() as u64);
    }
}
