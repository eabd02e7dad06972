//! What is posted: a mail in JSON, or as the submission door takes it, with places for the numbers that make each mail
//! another one.

use serde_json::{Value, json};

use super::load::{Keyed, Parts, Shape};

/// A request as it goes over the wire, with places for numbers.
pub struct Template {
    /// The octets, to be written as they are.
    pub bytes: Vec<u8>,
    /// Where the number of the n-th mail stands, each [`DIGITS`] long.
    places: Vec<(usize, u64)>,
}

/// What stands in the text where a number goes, with the mail's place in its request behind it.
const MARK: &str = "\u{1}";
const DIGITS: usize = 10;

impl Template {
    /// The HTTP request of one connection, which its seed makes unlike others.
    pub fn new(shape: &Shape, key: &str, seed: u64) -> Template {
        let mails: Vec<Value> = (0..shape.batch).map(|nth| mail(shape, nth, seed)).collect();
        let (path, body) = match mails.as_slice() {
            [one] => ("/v1/messages", one.to_string()),
            many => ("/v1/messages/batch", Value::from(many).to_string()),
        };
        // JSON writes the mark as an escape.
        let body = body.replace("\\u0001", MARK);
        let keyed = match shape.keyed {
            Keyed::Yes => format!("Idempotency-Key: bench-{MARK}00000{MARK}\r\n"),
            Keyed::No => String::new(),
        };
        let marked = format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\n{keyed}Content-Length: {length}\r\n\r\n{body}",
            length = filled_length(&body),
        );
        Template::fill(&marked)
    }

    /// Replaces each mark, which looks like `\u{1}00007\u{1}`, by digits, and notes where they are.
    pub fn fill(marked: &str) -> Template {
        let mut bytes = Vec::with_capacity(marked.len() + 64);
        let mut places = Vec::new();
        let mut parts = marked.split(MARK);
        bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
        while let (Some(nth), Some(text)) = (parts.next(), parts.next()) {
            places.push((bytes.len(), nth.parse().unwrap_or(0)));
            bytes.extend_from_slice(&[b'0'; DIGITS]);
            bytes.extend_from_slice(text.as_bytes());
        }
        Template { bytes, places }
    }

    /// Makes it the request whose first mail has this number.
    pub fn renumber(&mut self, first: u64) {
        for (place, nth) in &self.places {
            let mut rest = first + nth;
            for digit in self.bytes[*place..*place + DIGITS].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }
}

/// How long the body is once its marks (two octets and five digits) have become numbers.
fn filled_length(body: &str) -> usize {
    let marks = body.matches(MARK).count() / 2;
    body.len() - marks * 7 + marks * DIGITS
}

/// What the header of a composed mail takes, more or less.
const HEADER: usize = 380;

fn mail(shape: &Shape, nth: usize, seed: u64) -> Value {
    let number = format!("{MARK}{nth:05}{MARK}");
    let room = shape.size.saturating_sub(HEADER);
    let mut mail = json!({
        "from": "Acme Shop <orders@acme.example>",
        "to": format!("Ann Example <ann.{number}@customers.example>"),
        "subject": format!("Your order {number} is on its way"),
    });
    match shape.parts {
        Parts::Text => mail["text"] = prose(room, seed, "").into(),
        Parts::TextAndHtml => {
            mail["text"] = prose(room / 2, seed, "").into();
            mail["html"] = prose(room / 2, seed, "<p>").into();
        }
    }
    if let Some(send_at) = &shape.send_at {
        mail["send_at"] = send_at.clone().into();
    }
    mail
}

/// A mail for the submission door: its envelope, and its text with the final dot.
pub fn submission(shape: &Shape, seed: u64) -> (String, String) {
    let number = format!("{MARK}00000{MARK}");
    let keyed = match shape.keyed {
        Keyed::Yes => format!("X-Postroad-Idempotency-Key: bench-{number}\r\n"),
        Keyed::No => String::new(),
    };
    let send_at =
        shape.send_at.as_ref().map(|at| format!("X-Postroad-Send-At: {at}\r\n")).unwrap_or_default();
    let body = prose(shape.size.saturating_sub(HEADER), seed, "").replace('\n', "\r\n");
    let envelope =
        format!("MAIL FROM:<orders@acme.example>\r\nRCPT TO:<ann.{number}@customers.example>\r\nDATA\r\n");
    let text = format!(
        "{keyed}{send_at}From: Acme Shop <orders@acme.example>\r\n\
         To: Ann Example <ann.{number}@customers.example>\r\n\
         Subject: Your order {number} is on its way\r\nDate: Sun, 29 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <order-{number}@acme.example>\r\n\r\n{body}\r\n.\r\n"
    );
    (envelope, text)
}

const WORDS: [&str; 32] = [
    "your",
    "order",
    "has",
    "left",
    "our",
    "warehouse",
    "and",
    "will",
    "arrive",
    "within",
    "three",
    "working",
    "days",
    "the",
    "parcel",
    "number",
    "below",
    "tells",
    "where",
    "it",
    "is",
    "if",
    "nobody",
    "home",
    "courier",
    "leaves",
    "card",
    "with",
    "neighbour",
    "thank",
    "you",
    "again",
];

/// Lines of words in no order: they compress about as well as a letter does.
fn prose(length: usize, seed: u64, line_start: &str) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(length + 16);
    text.push_str(line_start);
    let mut line = 0;
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = WORDS[(state >> 59) as usize];
        text.push_str(word);
        line += word.len() + 1;
        if line > 64 {
            text.push('\n');
            text.push_str(line_start);
            line = 0;
        } else {
            text.push(' ');
        }
    }
    text
}
