//! One command line into one [`Command`] (RFC 5321 §4.1, RFC 1870, 6152, 6531).
//!
//! The grammar only: whether a command makes sense now is the session's question. Written here rather than
//! taken from a crate because looseness in this place is an attack surface: a receiver that drops the quotes of
//! `"a@b"@example.org`, or skips a CR in the middle of a line, disagrees with the next host about what was said.
//! Invariant: what is accepted was said in exactly one way; anything else is answered with the reply in `Err`.

use std::borrow::Cow;

use super::mailroom::{Body, Charset, MailParams};
use super::path::{ForwardPath, ReversePath};
use super::reply::{self, Reply};

/// RFC 1870 §3: SIZE has at most 20 digits. Larger values than `u64` holds are too big anyway.
const MAX_SIZE_DIGITS: usize = 20;

/// A command that is grammatical.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Ehlo(String),
    Helo(String),
    Mail {
        from: ReversePath,
        params: MailParams,
    },
    Rcpt {
        to: ForwardPath,
    },
    Data,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
    StartTls,
    /// Known to SMTP, or to an extension that this host does not advertise.
    NotOffered,
    /// The first line of an HTTP request: a browser or proxy was pointed at this port, and what follows is not
    /// meant for us, whatever it looks like.
    Http,
}

impl Command {
    /// Reads a line, CRLF included. The error is the reply to give.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Reply> {
        let line = text_of(line)?;
        let (verb, argument) = match line.split_once(' ') {
            // RFC 5321 §4.1.1: white space before CRLF is tolerated, so it is never part of an argument.
            Some((verb, argument)) => (verb, argument.trim_matches(' ')),
            None => (line, ""),
        };
        // RFC 5321 §2.4: verbs are case-insensitive. The longest known one has eight letters.
        let mut upper = [0; 8];
        let Some(upper) = upper.get_mut(..verb.len()) else { return Err(reply::UNKNOWN_COMMAND) };
        upper.copy_from_slice(verb.as_bytes());
        upper.make_ascii_uppercase();
        Self::of(upper, argument)
    }

    fn of(verb: &[u8], argument: &str) -> Result<Self, Reply> {
        match verb {
            b"MAIL" => return mail(argument),
            b"RCPT" => return rcpt(argument),
            _ if !argument.is_ascii() => return Err(reply::BAD_OCTETS),
            _ => {}
        }
        match verb {
            b"EHLO" => host(argument).map(Self::Ehlo),
            b"HELO" => host(argument).map(Self::Helo),
            b"DATA" => alone(argument, Self::Data),
            b"RSET" => alone(argument, Self::Rset),
            b"QUIT" => alone(argument, Self::Quit),
            b"STARTTLS" => alone(argument, Self::StartTls),
            b"NOOP" => Ok(Self::Noop),
            b"HELP" => Ok(Self::Help),
            b"VRFY" if argument.is_empty() => Err(reply::SYNTAX),
            b"VRFY" => Ok(Self::Vrfy),
            b"AUTH" | b"BDAT" | b"BURL" | b"ETRN" | b"EXPN" | b"TURN" => Ok(Self::NotOffered),
            b"GET" | b"POST" | b"PUT" | b"CONNECT" | b"OPTIONS" => Ok(Self::Http),
            // LHLO too: this is SMTP, not LMTP (RFC 2033 §4.1).
            _ => Err(reply::UNKNOWN_COMMAND),
        }
    }
}

/// The line without CRLF, once it is certain to be printable text that ends where everyone thinks it ends.
fn text_of(line: &[u8]) -> Result<&str, Reply> {
    // RFC 5321 §2.3.8: CR and LF stand only together, as the end of the line.
    let text = line.strip_suffix(b"\r\n").ok_or(reply::BAD_LINE_END)?;
    if memchr::memchr(b'\r', text).is_some() {
        return Err(reply::BAD_LINE_END);
    }
    if text.iter().any(u8::is_ascii_control) {
        return Err(reply::BAD_OCTETS);
    }
    std::str::from_utf8(text).map_err(|_| reply::BAD_OCTETS)
}

fn alone(argument: &str, command: Command) -> Result<Command, Reply> {
    if argument.is_empty() { Ok(command) } else { Err(reply::NO_ARGUMENTS) }
}

/// RFC 5321 §4.1.1.1 wants a domain or address literal. Many honest clients say something else, and no one may be
/// refused for it (§4.1.4), so only what could corrupt a `Received` field is refused here.
fn host(argument: &str) -> Result<String, Reply> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]%+/".contains(&byte);
    if !argument.is_empty() && argument.len() <= 255 && argument.bytes().all(is_plain) {
        Ok(argument.to_owned())
    } else {
        Err(reply::BAD_HOST)
    }
}

fn mail(argument: &str) -> Result<Command, Reply> {
    let path = after_keyword(argument, "FROM:").ok_or(reply::BAD_SENDER)?;
    let (from, rest) = ReversePath::read(path).map_err(|_| reply::BAD_SENDER)?;
    let params = mail_params(rest)?;
    if !from.as_str().is_ascii() && params.charset == Charset::Ascii {
        // RFC 6531 §3.5.
        return Err(reply::NEEDS_SMTPUTF8);
    }
    Ok(Command::Mail { from, params })
}

fn rcpt(argument: &str) -> Result<Command, Reply> {
    let path = after_keyword(argument, "TO:").ok_or(reply::BAD_RECIPIENT)?;
    let (to, rest) = ForwardPath::read(path).map_err(|_| reply::BAD_RECIPIENT)?;
    match parameters(rest)?.next() {
        // RFC 5321 §4.1.1.11: no extension we advertise adds a parameter to RCPT.
        Some(_) => Err(reply::UNKNOWN_PARAMETER),
        None => Ok(Command::Rcpt { to }),
    }
}

/// RFC 5321 §3.3 forbids the space after the colon that so many scripts send; it can mean only one thing.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, tail) = argument.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| tail.trim_start_matches(' '))
}

fn mail_params(rest: &str) -> Result<MailParams, Reply> {
    let (mut size, mut body, mut charset) = (None, None, None);
    for (keyword, value) in parameters(rest)? {
        match (keyword.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(value)) => once(&mut size, octets(value)?)?,
            ("BODY", Some(value)) => once(&mut body, body_of(value)?)?,
            ("SMTPUTF8", None) => once(&mut charset, Charset::Utf8)?,
            ("SIZE" | "BODY" | "SMTPUTF8", _) => return Err(reply::BAD_PARAMETER),
            _ => return Err(reply::UNKNOWN_PARAMETER),
        }
    }
    Ok(MailParams { size, body: body.unwrap_or(Body::SevenBit), charset: charset.unwrap_or(Charset::Ascii) })
}

/// `SP keyword [= value]`, any number of times, directly after a path (RFC 5321 §4.1.2, esmtp-param).
fn parameters(rest: &str) -> Result<impl Iterator<Item = (&str, Option<&str>)>, Reply> {
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(reply::SYNTAX);
    }
    Ok(rest.split(' ').filter(|param| !param.is_empty()).map(|param| match param.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (param, None),
    }))
}

/// Two values for one parameter would let two readers choose differently.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Reply> {
    if slot.replace(value).is_some() { Err(reply::BAD_PARAMETER) } else { Ok(()) }
}

fn octets(value: &str) -> Result<u64, Reply> {
    let is_number = (1..=MAX_SIZE_DIGITS).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    if is_number { Ok(value.parse().unwrap_or(u64::MAX)) } else { Err(reply::BAD_PARAMETER) }
}

fn body_of(value: &str) -> Result<Body, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(Body::SevenBit),
        "8BITMIME" => Ok(Body::EightBitMime),
        // BINARYMIME needs CHUNKING (RFC 3030 §3), which is not advertised.
        _ => Err(reply::BAD_PARAMETER.saying(Cow::Borrowed("BODY is 7BIT or 8BITMIME"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, u16> {
        Command::parse(format!("{line}\r\n").as_bytes()).map_err(|reply| reply.code())
    }

    fn mail_from(path: &str, params: MailParams) -> Result<Command, u16> {
        let (from, _) = ReversePath::read(path).expect("grammatical");
        Ok(Command::Mail { from, params })
    }

    fn rcpt_to(path: &str) -> Result<Command, u16> {
        let (to, _) = ForwardPath::read(path).expect("grammatical");
        Ok(Command::Rcpt { to })
    }

    const PLAIN: MailParams = MailParams { size: None, body: Body::SevenBit, charset: Charset::Ascii };

    #[test]
    fn commands_are_read_whatever_their_case_and_trailing_space() {
        let cases = [
            ("EHLO client.example", Ok(Command::Ehlo("client.example".into()))),
            ("ehlo [192.0.2.1]", Ok(Command::Ehlo("[192.0.2.1]".into()))),
            ("Helo my_pc", Ok(Command::Helo("my_pc".into()))),
            ("DATA", Ok(Command::Data)),
            ("data  ", Ok(Command::Data)),
            ("RSET", Ok(Command::Rset)),
            ("NOOP", Ok(Command::Noop)),
            ("NOOP whatever it says", Ok(Command::Noop)),
            ("VRFY ann", Ok(Command::Vrfy)),
            ("HELP MAIL", Ok(Command::Help)),
            ("QUIT", Ok(Command::Quit)),
            ("StartTLS", Ok(Command::StartTls)),
            ("BDAT 5 LAST", Ok(Command::NotOffered)),
            ("AUTH PLAIN AGEAYg==", Ok(Command::NotOffered)),
            ("GET / HTTP/1.1", Ok(Command::Http)),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn mail_and_rcpt_carry_their_path_and_parameters() {
        let sized = MailParams { size: Some(1_000), ..PLAIN };
        let utf8 = MailParams { body: Body::EightBitMime, charset: Charset::Utf8, ..sized };
        let cases = [
            ("MAIL FROM:<>", mail_from("<>", PLAIN)),
            ("mail from: <a@example.org>", mail_from("<a@example.org>", PLAIN)),
            ("mail FROM:<a@example.org> size=1000", mail_from("<a@example.org>", sized)),
            ("MAIL FROM:<é@x.org> BODY=8bitmime  SMTPUTF8 SIZE=1000", mail_from("<é@x.org>", utf8)),
            (
                "MAIL FROM:<> SIZE=99999999999999999999",
                mail_from("<>", MailParams { size: Some(u64::MAX), ..PLAIN }),
            ),
            ("RCPT TO:<a@example.org>", rcpt_to("<a@example.org>")),
            ("rcpt to:<\"a b\"@example.org>", rcpt_to("<\"a b\"@example.org>")),
            ("RCPT TO:<Postmaster>", rcpt_to("<postmaster>")),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_not_grammatical_is_refused_with_its_own_code() {
        let cases = [
            ("", 500),
            (" ", 500),
            ("LHLO client.example", 500),
            ("STARTTLSX", 500),
            ("EHLOclient", 500),
            ("M\u{e4}IL FROM:<>", 500),
            ("NOOP \u{e9}", 500),
            ("EHLO", 501),
            ("EHLO two words", 501),
            ("EHLO <script>", 501),
            ("HELO a(b)", 501),
            ("DATA now", 501),
            ("RSET now", 501),
            ("QUIT now", 501),
            ("VRFY", 501),
            ("MAIL", 501),
            ("MAIL TO:<a@example.org>", 501),
            ("MAIL FROM:a@example.org", 501),
            ("MAIL FROM:<a@example.org>SIZE=1", 501),
            ("MAIL FROM:<a@example.org> SIZE=", 501),
            ("MAIL FROM:<a@example.org> SIZE=-1", 501),
            ("MAIL FROM:<a@example.org> SIZE=1 SIZE=2", 501),
            ("MAIL FROM:<a@example.org> SMTPUTF8=yes", 501),
            ("MAIL FROM:<a@example.org> BODY=BINARYMIME", 501),
            ("MAIL FROM:<a@example.org> RET=FULL", 555),
            ("MAIL FROM:<\u{e9}@example.org>", 553),
            ("RCPT TO:<>", 501),
            ("RCPT TO:<a@example.org>NOTIFY=NEVER", 501),
            ("RCPT TO:<a@example.org> NOTIFY=NEVER", 555),
        ];
        for (line, code) in cases {
            assert_eq!(parse(line), Err(code), "{line}");
        }
    }

    #[test]
    fn only_crlf_ends_a_line_and_no_control_stands_in_it() {
        let cases: [&[u8]; 7] = [
            b"NOOP\n",
            b"NOOP",
            b"NO\rOP\r\n",
            b"NOOP\r\r\n",
            b"NOOP \0\r\n",
            b"NOOP\t\r\n",
            b"NOOP \xff\xfe\r\n",
        ];
        for line in cases {
            assert_eq!(Command::parse(line).map_err(|reply| reply.code()), Err(500), "{line:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn no_text_after_a_verb_makes_the_parser_panic(verb in "MAIL FROM:|RCPT TO:|EHLO ", rest in "\\PC{0,80}") {
            let _ = Command::parse(format!("{verb}{rest}\r\n").as_bytes());
        }
    }
}
