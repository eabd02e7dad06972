//! Parsing a list as it comes. Runs on a thread of its own, since the parser reads as from a file.
//!
//! Invariant: no line grows beyond [`MAX_LINE`] in memory, however a quote is left open.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use axum::body::Bytes;
use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use tokio::sync::mpsc;

use crate::account::suppressions::NewSuppression;

use super::columns::{BadLine, Columns, Defaults};

/// The longest line, in octets: far beyond any address and any peer's reply.
const MAX_LINE: u64 = 256 * 1024;
/// Rows stored together.
const BATCH: usize = 2000;

/// Rows that belong together, and the lines among them that cannot be used.
pub struct Batch {
    /// What the columns were taken for.
    pub format: &'static str,
    /// Rows to store.
    pub rows: Vec<NewSuppression>,
    /// Lines that are passed over.
    pub errors: Vec<LineError>,
}

/// A line that cannot be used.
#[derive(Debug)]
pub struct LineError {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong, for programs.
    pub code: &'static str,
    /// And for people.
    pub message: String,
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// No column is known to hold addresses.
    #[error("no column holds addresses: name one email, or send addresses without a header line")]
    NoAddresses,
    /// See [`MAX_LINE`].
    #[error("a line is longer than {MAX_LINE} octets; is a quote left open?")]
    LineTooLong,
    /// It is no CSV.
    #[error("the file is no CSV: {0}")]
    Broken(String),
}

impl Unreadable {
    /// For programs.
    pub fn code(&self) -> &'static str {
        match self {
            Unreadable::NoAddresses => "unknown_columns",
            Unreadable::LineTooLong => "line_too_long",
            Unreadable::Broken(_) => "invalid_csv",
        }
    }
}

/// Reads all lines; gives them to `sink` in batches, until it wants no more.
pub fn parse(
    input: Chunks,
    defaults: &Defaults,
    mut sink: impl FnMut(Batch) -> bool,
) -> Result<(), Unreadable> {
    let done = Rc::clone(&input.done);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
    let mut record = ByteRecord::new();
    let mut columns: Option<Columns> = None;
    let mut batch = Batch { format: "empty", rows: Vec::new(), errors: Vec::new() };
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        done.set(reader.position().byte());
        if record.iter().all(|field| field.trim_ascii().is_empty()) {
            continue;
        }
        let columns = match &columns {
            Some(columns) => columns,
            None => {
                let recognised = Columns::recognise(&record).ok_or(Unreadable::NoAddresses)?;
                let columns = columns.insert(recognised);
                batch.format = columns.format();
                if columns.has_header() {
                    continue;
                }
                columns
            }
        };
        match columns.read(&record, defaults) {
            Ok(new) => batch.rows.push(new),
            Err(BadLine { code, message }) => {
                let within: usize = record.iter().map(count_lines).sum();
                let line = (reader.position().line() - 1).saturating_sub(within as u64);
                batch.errors.push(LineError { line, code, message });
            }
        }
        if batch.rows.len() + batch.errors.len() >= BATCH {
            let next = Batch { format: batch.format, rows: Vec::new(), errors: Vec::new() };
            if !sink(std::mem::replace(&mut batch, next)) {
                return Ok(());
            }
        }
    }
    // Whether anybody still wants it makes no difference any more.
    sink(batch);
    Ok(())
}

fn count_lines(field: &[u8]) -> usize {
    field.iter().filter(|octet| **octet == b'\n').count()
}

fn unreadable(error: csv::Error) -> Unreadable {
    match error.kind() {
        ErrorKind::Io(inner) if inner.kind() == io::ErrorKind::FileTooLarge => Unreadable::LineTooLong,
        _ => Unreadable::Broken(error.to_string()),
    }
}

/// The body, as a reader that waits for it. Lines end with a line feed, the last one too, whatever they ended with
/// when they came, so that they can be counted.
pub struct Chunks {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
    /// The octet that came last; a carriage return is held back until it is known what follows.
    last: u8,
    came: u64,
    /// Where the last whole line ended.
    done: Rc<Cell<u64>>,
}

impl Chunks {
    /// Waits for pieces from there.
    pub fn new(pieces: mpsc::Receiver<Bytes>) -> Chunks {
        Chunks { pieces, current: Bytes::new(), last: b'\n', came: 0, done: Rc::default() }
    }

    /// The next piece, perhaps empty; `None`: that was all.
    fn next(&mut self) -> Option<Bytes> {
        let Some(piece) = self.pieces.blocking_recv() else {
            let unfinished = std::mem::replace(&mut self.last, b'\n') != b'\n';
            return unfinished.then(|| Bytes::from_static(b"\n"));
        };
        let mut lines = Vec::with_capacity(piece.len() + 1);
        for octet in piece {
            match (self.last, octet) {
                (b'\r', b'\n') => lines.push(b'\n'),
                (b'\r', b'\r') => lines.push(b'\n'),
                (b'\r', other) => lines.extend([b'\n', other]),
                (_, b'\r') => {}
                (_, other) => lines.push(other),
            }
            self.last = octet;
        }
        Some(lines.into())
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.came.saturating_sub(self.done.get()) > MAX_LINE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        while self.current.is_empty() {
            match self.next() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        self.came += count as u64;
        Ok(count)
    }
}
