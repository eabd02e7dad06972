//! One command line into one [`Command`] (RFC 5321 §4.1, RFC 1870, 3461, 4954, 6152, 6531).
//!
//! The grammar only: whether a command makes sense now is the session's question. Written here rather than
//! taken from a crate because looseness in this place is an attack surface: a receiver that drops the quotes of
//! `"a@b"@example.org`, or skips a CR in the middle of a line, disagrees with the next host about what was said.
//! Invariant: what is accepted was said in exactly one way; anything else is answered with the reply in `Err`.

use std::borrow::Cow;

use crate::domain::handling::{Notify, Ret};
use crate::mail::xtext;

use super::mailroom::{Body, Charset, MailParams, RcptParams};
use super::path::{ForwardPath, ReversePath};
use super::reply::{self, Reply};

/// RFC 1870 §3: SIZE has at most 20 digits. Larger values than `u64` holds are too big anyway.
const MAX_SIZE_DIGITS: usize = 20;
/// RFC 3461 §4.4, §4.2.
const MAX_ENVID: usize = 100;
const MAX_ORCPT: usize = 500;

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
        params: RcptParams,
    },
    Auth {
        /// In capitals; perhaps none that we know.
        mechanism: String,
        /// The initial response, still encoded.
        initial: Option<String>,
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
            b"AUTH" => auth(argument),
            b"BDAT" | b"BURL" | b"ETRN" | b"EXPN" | b"TURN" => Ok(Self::NotOffered),
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
    let (mut notify, mut orcpt) = (None, None);
    for (keyword, value) in parameters(rest)? {
        match (keyword.to_ascii_uppercase().as_str(), value) {
            ("NOTIFY", Some(value)) => {
                let value: Notify = value.parse().map_err(|_| reply::BAD_PARAMETER)?;
                once(&mut notify, value)?;
            }
            ("ORCPT", Some(value)) => once(&mut orcpt, original_recipient(value)?)?,
            ("NOTIFY" | "ORCPT", None) => return Err(reply::BAD_PARAMETER),
            _ => return Err(reply::UNKNOWN_PARAMETER),
        }
    }
    Ok(Command::Rcpt { to, params: RcptParams { notify, orcpt } })
}

/// RFC 4954 §4: a mechanism, and perhaps an initial response in one word.
fn auth(argument: &str) -> Result<Command, Reply> {
    let (mechanism, initial) = match argument.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial)),
        None => (argument, None),
    };
    let is_mechanism = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_one_word = initial.is_none_or(|word| !word.is_empty() && !word.contains(' '));
    if mechanism.is_empty() || !mechanism.bytes().all(is_mechanism) || !is_one_word {
        return Err(reply::SYNTAX);
    }
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial: initial.map(str::to_owned) })
}

/// RFC 3461 §4.2: the address as its first sender wrote it, with the type that tells how to read it.
fn original_recipient(value: &str) -> Result<Box<str>, Reply> {
    let Some((kind, address)) = value.split_once(';') else { return Err(reply::BAD_PARAMETER) };
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = value.len() <= MAX_ORCPT
        && !kind.is_empty()
        && kind.bytes().all(is_atom)
        && !address.is_empty()
        && xtext::decode(address).is_some();
    if fits { Ok(value.into()) } else { Err(reply::BAD_PARAMETER) }
}

/// RFC 3461 §4.4.
fn envelope_id(value: &str) -> Result<Box<str>, Reply> {
    let fits = (1..=MAX_ENVID).contains(&value.len()) && xtext::decode(value).is_some();
    if fits { Ok(value.into()) } else { Err(reply::BAD_PARAMETER) }
}

fn ret_of(value: &str) -> Result<Ret, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Ret::Full),
        "HDRS" => Ok(Ret::Headers),
        _ => Err(reply::BAD_PARAMETER.saying(Cow::Borrowed("RET is FULL or HDRS"))),
    }
}

/// RFC 5321 §3.3 forbids the space after the colon that so many scripts send; it can mean only one thing.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, tail) = argument.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| tail.trim_start_matches(' '))
}

fn mail_params(rest: &str) -> Result<MailParams, Reply> {
    let (mut size, mut body, mut charset) = (None, None, None);
    let (mut ret, mut envid, mut auth) = (None, None, None);
    for (keyword, value) in parameters(rest)? {
        match (keyword.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(value)) => once(&mut size, octets(value)?)?,
            ("BODY", Some(value)) => once(&mut body, body_of(value)?)?,
            ("SMTPUTF8", None) => once(&mut charset, Charset::Utf8)?,
            ("RET", Some(value)) => once(&mut ret, ret_of(value)?)?,
            ("ENVID", Some(value)) => once(&mut envid, envelope_id(value)?)?,
            ("AUTH", Some(value)) if value == "<>" || xtext::decode(value).is_some() => {
                once(&mut auth, value.into())?;
            }
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH", _) => return Err(reply::BAD_PARAMETER),
            _ => return Err(reply::UNKNOWN_PARAMETER),
        }
    }
    let (body, charset) = (body.unwrap_or(Body::SevenBit), charset.unwrap_or(Charset::Ascii));
    Ok(MailParams { size, body, charset, ret, envid, auth })
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
        Ok(Command::Rcpt { to, params: RcptParams::default() })
    }

    const PLAIN: MailParams = MailParams {
        size: None,
        body: Body::SevenBit,
        charset: Charset::Ascii,
        ret: None,
        envid: None,
        auth: None,
    };

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
            ("auth plain", Ok(Command::Auth { mechanism: "PLAIN".into(), initial: None })),
            (
                "AUTH PLAIN AGEAYg==",
                Ok(Command::Auth { mechanism: "PLAIN".into(), initial: Some("AGEAYg==".into()) }),
            ),
            ("GET / HTTP/1.1", Ok(Command::Http)),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn mail_and_rcpt_carry_their_path_and_parameters() {
        let sized = MailParams { size: Some(1_000), ..PLAIN };
        let utf8 = MailParams { body: Body::EightBitMime, charset: Charset::Utf8, ..sized.clone() };
        let told = MailParams {
            ret: Some(Ret::Headers),
            envid: Some("Q+2B1".into()),
            auth: Some("<>".into()),
            ..PLAIN
        };
        let asked = RcptParams {
            notify: Some(Notify { success: true, delay: true, failure: false }),
            orcpt: Some("rfc822;ann+2Bx@example.org".into()),
        };
        let cases = [
            ("MAIL FROM:<>", mail_from("<>", PLAIN)),
            ("mail from: <a@example.org>", mail_from("<a@example.org>", PLAIN)),
            ("mail FROM:<a@example.org> size=1000", mail_from("<a@example.org>", sized)),
            ("MAIL FROM:<é@x.org> BODY=8bitmime  SMTPUTF8 SIZE=1000", mail_from("<é@x.org>", utf8)),
            (
                "MAIL FROM:<> SIZE=99999999999999999999",
                mail_from("<>", MailParams { size: Some(u64::MAX), ..PLAIN }),
            ),
            ("MAIL FROM:<> RET=hdrs ENVID=Q+2B1 AUTH=<>", mail_from("<>", told)),
            ("RCPT TO:<a@example.org>", rcpt_to("<a@example.org>")),
            (
                "RCPT TO:<a@example.org> NOTIFY=SUCCESS,delay ORCPT=rfc822;ann+2Bx@example.org",
                rcpt_to("<a@example.org>").map(|command| match command {
                    Command::Rcpt { to, .. } => Command::Rcpt { to, params: asked },
                    other => other,
                }),
            ),
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
            ("MAIL FROM:<a@example.org> RET=SOME", 501),
            ("MAIL FROM:<a@example.org> RET=FULL RET=FULL", 501),
            ("MAIL FROM:<a@example.org> ENVID=a+2", 501),
            ("MAIL FROM:<a@example.org> ENVID=a+0d+0a", 501),
            ("MAIL FROM:<a@example.org> HOLDFOR=7", 555),
            ("AUTH", 501),
            ("AUTH PLAIN two words", 501),
            ("AUTH PL(AIN)", 501),
            ("MAIL FROM:<\u{e9}@example.org>", 553),
            ("RCPT TO:<>", 501),
            ("RCPT TO:<a@example.org>NOTIFY=NEVER", 501),
            ("RCPT TO:<a@example.org> NOTIFY=NEVER,SUCCESS", 501),
            ("RCPT TO:<a@example.org> NOTIFY", 501),
            ("RCPT TO:<a@example.org> ORCPT=ann@example.org", 501),
            ("RCPT TO:<a@example.org> ORCPT=rfc822;a+xyb", 501),
            ("RCPT TO:<a@example.org> ORCPT=rfc822;a ORCPT=rfc822;a", 501),
            ("RCPT TO:<a@example.org> BY=7", 555),
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
