//! What must hold for every input, tried with inputs that nobody wrote. A few hundred each time the tests run;
//! `make fuzz` tries a hundred thousand.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::command::Command;
use super::data::{Progress, TextLimits, TextReader};
use super::mailroom::{Body, Charset, MailParams, RcptParams};

/// Pieces of which lines that are nearly commands are made.
fn nearly_a_command() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        select(vec![
            "MAIL FROM:",
            "mail from: ",
            "RCPT TO:",
            "AUTH ",
            "PLAIN ",
            "LOGIN ",
            "EHLO ",
            "<",
            ">",
            "<>",
            "@",
            "a",
            "a.b",
            "\"a b\"",
            "\"",
            "\\",
            "example.org",
            "[192.0.2.1]",
            "[IPv6:::1]",
            "é",
            "xn--",
            " ",
            " SIZE=",
            "1",
            "999",
            " BODY=8BITMIME",
            " SMTPUTF8",
            " RET=FULL",
            " ENVID=",
            "Q+2B",
            "+",
            "=",
            ";",
            "rfc822;",
            " NOTIFY=",
            "NEVER",
            "SUCCESS,",
            "DELAY",
            " ORCPT=",
            " AUTH=",
            "AGEAYg==",
            "postmaster",
            ":",
            ",",
            "@x:",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..3),
    ];
    vec(piece, 0..14).prop_map(|pieces| [pieces.concat(), b"\r\n".to_vec()].concat())
}

/// The one way in which a command is written that says nothing superfluous.
fn written(command: &Command) -> Option<String> {
    Some(match command {
        Command::Ehlo(host) => format!("EHLO {host}"),
        Command::Helo(host) => format!("HELO {host}"),
        Command::Mail { from, params } => format!("MAIL FROM:<{}>{}", from.as_str(), of_mail(params)),
        Command::Rcpt { to, params } => format!("RCPT TO:<{}>{}", to.as_str(), of_rcpt(params)),
        Command::Auth { mechanism, initial } => {
            format!("AUTH {mechanism}{}", initial.as_ref().map(|word| format!(" {word}")).unwrap_or_default())
        }
        _ => return None,
    })
}

fn of_mail(params: &MailParams) -> String {
    let mut text = String::new();
    if let Some(size) = params.size {
        text.push_str(&format!(" SIZE={size}"));
    }
    if params.body == Body::EightBitMime {
        text.push_str(" BODY=8BITMIME");
    }
    if params.charset == Charset::Utf8 {
        text.push_str(" SMTPUTF8");
    }
    if let Some(ret) = params.ret {
        text.push_str(&format!(" RET={}", ret.as_str()));
    }
    for (name, value) in [("ENVID", &params.envid), ("AUTH", &params.auth)] {
        if let Some(value) = value {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    text
}

fn of_rcpt(params: &RcptParams) -> String {
    let mut text = String::new();
    if let Some(notify) = params.notify {
        text.push_str(&format!(" NOTIFY={}", notify.keywords()));
    }
    if let Some(orcpt) = &params.orcpt {
        text.push_str(&format!(" ORCPT={orcpt}"));
    }
    text
}

/// The text of a mail and what follows it, read at once and without haste; `None`: it does not end. The text is
/// `None` if it must be refused.
fn read_slowly(wire: &[u8]) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
    // The line end of DATA itself counts (RFC 5321 §4.1.1.4).
    let wire = [b"\r\n", wire].concat();
    let end = wire.windows(5).position(|window| window == b"\r\n.\r\n")?;
    let (text, rest) = (&wire[2..end + 2], wire[end + 5..].to_vec());
    let text = String::from_utf8_lossy(text).into_owned();
    let bare = text.replace("\r\n", "");
    if bare.contains(['\r', '\n', '\0']) {
        return Some((None, rest));
    }
    let lines = text.split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line));
    Some((Some(lines.collect::<String>().into_bytes()), rest))
}

fn read_in_chunks(wire: &[u8], sizes: &[usize]) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
    let mut reader = TextReader::new(TextLimits { message: 1 << 20, line: None }, None);
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < wire.len() {
        let end = (at + sizes.next().copied().unwrap_or(1)).min(wire.len());
        match reader.feed(&wire[at..end]) {
            Progress::Done(used) => {
                let text = reader.finish().ok().map(|text| text.to_vec());
                return Some((text, wire[at + used..].to_vec()));
            }
            Progress::More => at = end,
            Progress::Flood => return None,
        }
    }
    None
}

proptest! {
    #[test]
    fn a_command_that_is_taken_can_be_written_in_one_way(line in nearly_a_command()) {
        if let Ok(command) = Command::parse(&line)
            && let Some(text) = written(&command)
        {
            prop_assert!(!text.contains(['\r', '\n', '\0']));
            let again = Command::parse(format!("{text}\r\n").as_bytes());
            prop_assert_eq!(again, Ok(command), "{}", text);
        }
    }

    #[test]
    fn a_mail_reads_the_same_however_it_arrives(
        pieces in vec(select(vec!["\r\n", "\r", "\n", ".", "..", "\0", "a", "bc", "\r\n.\r\n", "\r\n."]), 0..30),
        sizes in vec(1usize..7, 1..8),
    ) {
        let wire = pieces.concat().into_bytes();
        prop_assert_eq!(read_in_chunks(&wire, &sizes), read_slowly(&wire));
    }

    #[test]
    fn a_proxy_header_is_one_address_or_none(line in "PROXY (TCP4|TCP6|UNKNOWN|UDP4)( ([0-9a-f:.]{1,12}|192.0.2.1|::1|587)){0,5}\r\n", block in vec(any::<u8>(), 0..60)) {
        if let Some(Some(address)) = super::proxy::line_of(line.as_bytes()) {
            prop_assert!(line.contains(&address.ip().to_string()) || matches!(address, SocketAddr::V6(_)));
        }
        let (command, family) = (block.first().copied().unwrap_or(0x21), block.get(1).copied().unwrap_or(0x11));
        let read = super::proxy::block_of(command, family, block.get(2..).unwrap_or_default());
        prop_assert!(read.is_none() || matches!(command, 0x20 | 0x21));
    }
}
