//! Sessions without sockets: transcripts, hostile input, limits, draining, STARTTLS.

mod hostile;
mod starttls;
mod support;

use support::{Pace, Room, converse, dialogue};

use super::*;

/// `C:` is what the client sends, `S:` what the receiver must answer, in this order.
const TRANSCRIPTS: &[(&str, &str)] = &[
    (
        "a whole mail",
        "S: 220 mx.example ESMTP postroad
         C: EHLO client.example
         S: 250-mx.example
         S: 250-PIPELINING
         S: 250-SIZE 2000
         S: 250-ENHANCEDSTATUSCODES
         S: 250-8BITMIME
         S: 250 SMTPUTF8
         C: MAIL FROM:<a@client.example> SIZE=100 BODY=8BITMIME
         S: 250 2.1.0 Ok
         C: RCPT TO:<b@mx.example>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: Subject: x
         C:
         C: ..stuffed
         C: .
         S: 250 2.0.0 Ok: mail 1
         C: QUIT
         S: 221 2.0.0 Bye",
    ),
    (
        "HELO offers no extensions, and several mails fit one session",
        "S: 220 mx.example ESMTP postroad
         C: HELO client.example
         S: 250 mx.example
         C: MAIL FROM:<>
         S: 250 2.1.0 Ok
         C: RCPT TO:<b@mx.example>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: .
         S: 250 2.0.0 Ok: mail 1
         C: MAIL FROM:<a@client.example>
         S: 250 2.1.0 Ok
         C: RCPT TO:<Postmaster>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: two
         C: .
         S: 250 2.0.0 Ok: mail 2
         C: QUIT
         S: 221 2.0.0 Bye",
    ),
    (
        "commands out of order are refused and change nothing",
        "S: 220 mx.example ESMTP postroad
         C: MAIL FROM:<a@client.example>
         S: 503 5.5.1 Say EHLO first
         C: LHLO client.example
         S: 500 5.5.2 Command not recognized
         C: HELO client.example
         S: 250 mx.example
         C: RCPT TO:<b@mx.example>
         S: 503 5.5.1 MAIL first
         C: DATA
         S: 503 5.5.1 MAIL first
         C: MAIL FROM:<a@client.example>
         S: 250 2.1.0 Ok
         C: MAIL FROM:<c@client.example>
         S: 503 5.5.1 A transaction is open already
         C: DATA
         S: 554 5.5.1 No valid recipients
         C: RCPT TO:<b@mx.example>
         S: 250 2.1.5 Ok
         C: STARTTLS
         S: 502 5.5.1 Not offered here
         C: AUTH PLAIN AGEAYg==
         S: 502 5.5.1 Not offered here
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: .
         S: 250 2.0.0 Ok: mail 1
         C: QUIT
         S: 221 2.0.0 Bye",
    ),
    (
        "a new hello and RSET forget the transaction",
        "S: 220 mx.example ESMTP postroad
         C: HELO client.example
         S: 250 mx.example
         C: MAIL FROM:<a@client.example>
         S: 250 2.1.0 Ok
         C: HELO client.example
         S: 250 mx.example
         C: RCPT TO:<b@mx.example>
         S: 503 5.5.1 MAIL first
         C: MAIL FROM:<a@client.example>
         S: 250 2.1.0 Ok
         C: RCPT TO:<b@mx.example>
         S: 250 2.1.5 Ok
         C: RSET
         S: 250 2.0.0 Ok
         C: DATA
         S: 503 5.5.1 MAIL first
         C: NOOP
         S: 250 2.0.0 Ok
         C: VRFY b
         S: 252 2.5.0 Send some mail, and see
         C: HELP
         S: 214 2.0.0 See RFC 5321
         C: QUIT
         S: 221 2.0.0 Bye",
    ),
    (
        "the mailroom's refusals are said in its words and only to those concerned",
        "S: 220 mx.example ESMTP postroad
         C: HELO client.example
         S: 250 mx.example
         C: MAIL FROM:<refused@client.example>
         S: 550 5.7.1 Not you
         C: MAIL FROM:<a@client.example>
         S: 250 2.1.0 Ok
         C: RCPT TO:<refused@mx.example>
         S: 550 5.1.1 No such mailbox
         C: RCPT TO:<b@mx.example>
         S: 250 2.1.5 Ok
         C: RCPT TO:<b@mx.example>
         S: 250 2.1.5 Ok
         C: RCPT TO:<c@mx.example>
         S: 250 2.1.5 Ok
         C: RCPT TO:<d@mx.example>
         S: 452 4.5.3 Too many recipients, send the rest separately
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: later
         C: .
         S: 451 4.3.0 Later
         C: MAIL FROM:<a@client.example>
         S: 250 2.1.0 Ok
         C: RCPT TO:<leave@mx.example>
         S: 421 4.7.0 Leave",
    ),
    (
        "sizes: declared, too large, with overlong lines",
        "S: 220 mx.example ESMTP postroad
         C: HELO client.example
         S: 250 mx.example
         C: MAIL FROM:<a@client.example> SIZE=2001
         S: 552 5.3.4 The mail is larger than this host accepts
         C: MAIL FROM:<a@client.example> SIZE=2000
         S: 250 2.1.0 Ok
         C: RCPT TO:<b@mx.example>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: {2000 x}
         C: .
         S: 552 5.3.4 The mail is larger than this host accepts
         C: MAIL FROM:<a@client.example>
         S: 250 2.1.0 Ok
         C: RCPT TO:<b@mx.example>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: {999 x}
         C: .
         S: 554 5.6.0 The mail holds an overlong line
         C: NOOP {600 x}
         S: 500 5.5.2 Line too long
         C: QUIT
         S: 221 2.0.0 Bye",
    ),
    (
        "non-ASCII addresses need SMTPUTF8 on their own mail",
        "S: 220 mx.example ESMTP postroad
         C: EHLO client.example
         S: 250-mx.example
         S: 250-PIPELINING
         S: 250-SIZE 2000
         S: 250-ENHANCEDSTATUSCODES
         S: 250-8BITMIME
         S: 250 SMTPUTF8
         C: MAIL FROM:<é@client.example>
         S: 553 5.6.7 Non-ASCII addresses need SMTPUTF8
         C: MAIL FROM:<a@client.example>
         S: 250 2.1.0 Ok
         C: RCPT TO:<é@mx.example>
         S: 553 5.6.7 Non-ASCII addresses need SMTPUTF8
         C: RSET
         S: 250 2.0.0 Ok
         C: MAIL FROM:<é@client.example> SMTPUTF8
         S: 250 2.1.0 Ok
         C: RCPT TO:<é@mx.example>
         S: 250 2.1.5 Ok
         C: QUIT
         S: 221 2.0.0 Bye",
    ),
    (
        "a web browser is shown the door",
        "S: 220 mx.example ESMTP postroad
         C: POST / HTTP/1.1
         S: 421 4.7.0 This is not that protocol",
    ),
];

fn settings() -> Settings {
    let limits = Limits { message: 2_000, recipients: 3, text_line: Some(998), ..Limits::default() };
    Settings { limits, ..Settings::new("mx.example") }
}

#[tokio::test]
async fn transcripts_hold_pipelined_line_by_line_and_octet_by_octet() {
    for (name, transcript) in TRANSCRIPTS {
        let (sent, expected) = dialogue(transcript);
        for pace in [Pace::AtOnce, Pace::Lines, Pace::Octets] {
            let room = Room::default();
            let (said, _) = converse(&settings(), &room, pace.chunks(&sent)).await;
            assert_eq!(said, expected, "{name}, {pace:?}");
        }
    }
}

#[tokio::test]
async fn a_transcript_may_be_cut_anywhere() {
    let (sent, expected) = dialogue(TRANSCRIPTS[0].1);
    for cut in 0..=sent.len() {
        let room = Room::default();
        let (said, end) =
            converse(&settings(), &room, vec![sent[..cut].to_vec(), sent[cut..].to_vec()]).await;
        assert_eq!(said, expected, "cut at {cut}");
        assert!(matches!(end, End::Quit), "cut at {cut}: {end}");
        let mails = room.mails();
        assert_eq!(mails.len(), 1, "cut at {cut}");
        assert_eq!(mails[0].text, "Subject: x\r\n\r\n.stuffed\r\n", "cut at {cut}");
    }
}

#[tokio::test]
async fn the_mailroom_gets_the_envelope_as_it_was_accepted() {
    let (sent, _) = dialogue(
        "C: EHLO client.example
         C: MAIL FROM:<\"a b\"@client.example> SMTPUTF8 SIZE=7
         C: RCPT TO:<b@mx.example>
         C: RCPT TO:<refused@mx.example>
         C: RCPT TO:<é@mx.example>
         C: DATA
         C: x
         C: .",
    );
    let room = Room::default();
    converse(&settings(), &room, vec![sent]).await;
    let mails = room.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].hello, Hello::Ehlo("client.example".into()));
    assert_eq!(mails[0].envelope.return_path.as_str(), "\"a b\"@client.example");
    assert_eq!(mails[0].envelope.params.size, Some(7));
    let recipients: Vec<_> = mails[0].envelope.recipients.iter().map(ForwardPath::as_str).collect();
    assert_eq!(recipients, ["b@mx.example", "é@mx.example"]);
}

#[tokio::test]
async fn a_pipelined_group_is_answered_in_one_write() {
    let (sent, _) = dialogue(
        "C: HELO client.example
         C: MAIL FROM:<>
         C: RCPT TO:<b@mx.example>
         C: DATA",
    );
    let mut stream = support::Script::new(vec![sent]);
    let room = Room::default();
    Session::new(&mut stream, support::PEER, &room, &settings(), CancellationToken::new()).run().await;
    // The greeting goes before anything is read.
    assert_eq!(stream.writes, 2);
}
