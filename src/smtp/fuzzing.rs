//! What `fuzz/` tries: parts of this module that nobody else sees. Built only under `--cfg fuzzing`.

use time::OffsetDateTime;

use crate::domain::srs::Rewriter;
use crate::mail::EmailAddress;
use crate::seal::MasterKey;

use super::command::Command;
use super::data::{Progress, TextLimits, TextReader};

/// Reads a line as a command.
pub fn command(line: &[u8]) {
    let line = [line, b"\r\n"].concat();
    if let Err(reply) = Command::parse(&line) {
        assert!((400..600).contains(&reply.code()), "{reply:?}");
    }
}

/// Reads a text in pieces of a length, and at once: both are the same.
pub fn text(wire: &[u8], piece: usize) {
    let whole = read(wire, wire.len());
    assert_eq!(read(wire, piece), whole);
    if let Some((Some(text), _)) = whole {
        let bare = |window: &[u8]| (window[0] == b'\r') != (window[1] == b'\n');
        assert!(!text.windows(2).any(bare) && !text.contains(&0), "an unclean text was taken");
    }
}

/// The text, if it is taken, and how many octets it ended after; `None`: it does not end.
fn read(wire: &[u8], piece: usize) -> Option<(Option<Vec<u8>>, usize)> {
    let limits = TextLimits { message: 100_000, line: None };
    let mut reader = TextReader::new(limits, None);
    let mut read = 0;
    for chunk in wire.chunks(piece.max(1)) {
        match reader.feed(chunk) {
            Progress::More => read += chunk.len(),
            Progress::Done(octets) => return Some((reader.finish().ok().map(Vec::from), read + octets)),
            Progress::Flood => return None,
        }
    }
    None
}

/// Reads a local part as a rewritten sender, and rewrites an address and back.
pub fn rewritten(text: &str) {
    let Ok(master) = MasterKey::parse("bWFzdGVyIGtleSBvZiBhbGwgdGVzdHMsIDMyIG9jdHM=") else { return };
    let rewriter = Rewriter::new(&master);
    rewriter.read(text);
    if let Ok(address) = EmailAddress::parse(text)
        && let Some(local) = rewriter.rewrite(&address, epoch())
    {
        assert!(rewriter.read(&local).is_some(), "{local}");
    }
}

/// A moment.
pub fn epoch() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
}
