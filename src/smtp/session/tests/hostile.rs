//! Clients that mean harm, or are broken: floods, garbage, storms, silence, half a mail.

use std::time::Duration;

use proptest::strategy::Strategy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use tokio_rustls::rustls::{CipherSuite, ProtocolVersion};

use super::support::{PEER, Room, Script, converse, dialogue};
use super::*;
use crate::smtp::mailroom::TlsSession;
use crate::smtp::settings::Door;

const OPEN: &str = "HELO c\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n";

fn impatient(idle: Duration, session: Duration) -> Settings {
    let timeouts = crate::smtp::settings::Timeouts { idle, session, handshake: idle };
    Settings { timeouts, ..settings() }
}

/// The last reply of a session that was sent these octets, why it ended, and how many mails it took.
async fn outcome(settings: &Settings, octets: impl Into<Vec<u8>>) -> (String, End, usize) {
    let room = Room::default();
    let (said, end) = converse(settings, &room, vec![octets.into()]).await;
    let last = said.lines().next_back().unwrap_or_default().to_owned();
    (last, end, room.mails().len())
}

#[tokio::test]
async fn half_a_mail_is_no_mail() {
    for wire in ["Subject: x\r\n", "Subject: x\r\n\r\nhalf", "Subject: x\r\n.", "Subject: x\r\n.\r"] {
        let (last, end, mails) = outcome(&settings(), format!("{OPEN}{wire}")).await;
        assert_eq!((last.as_str(), mails), ("354 End data with <CR><LF>.<CR><LF>", 0), "{wire:?}");
        assert!(matches!(end, End::Lost(_)), "{wire:?}: {end}");
    }
}

#[tokio::test]
async fn an_unclean_mail_is_refused_whole_and_the_session_goes_on() {
    let smuggled = "MAIL FROM:<smuggled@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nspam\r\n";
    for ending in
        ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n.\r\r\n", "\r\n\0.\r\n", "\0"]
    {
        let room = Room::default();
        let sent = format!("{OPEN}Subject: x\r\n\r\nhello{ending}{smuggled}.\r\nNOOP\r\nQUIT\r\n");
        let (said, end) = converse(&settings(), &room, vec![sent.into_bytes()]).await;
        let last: Vec<_> = said.lines().rev().take(3).collect();
        let refused = "550 5.6.11 The mail holds a bare CR, a bare LF or a NUL";
        assert_eq!(last, ["221 2.0.0 Bye", "250 2.0.0 Ok", refused], "{ending:?}");
        assert!(room.mails().is_empty() && matches!(end, End::Quit), "{ending:?}");
    }
}

#[tokio::test]
async fn garbage_is_answered_and_then_the_client_is_turned_away() {
    let garbage = "\u{0}\u{7f}???\r\n\n\r\n\r\rfoo\r\nMAIL\r\n\u{e4}\u{f6}\r\n".repeat(10);
    let (last, end, _) = outcome(&settings(), garbage).await;
    assert_eq!(last, "421 4.7.0 Too many errors, closing");
    assert!(matches!(end, End::TurnedAway), "{end}");
}

#[tokio::test]
async fn octets_above_ascii_in_commands_are_refused_and_the_session_survives() {
    let high: Vec<u8> = (0x80..=0xff).collect();
    for command in [&b"MAIL FROM:<"[..], b"EHLO ", b"NOOP ", b""] {
        let sent = [command, &high, b">\r\nNOOP\r\nQUIT\r\n"].concat();
        let room = Room::default();
        let (said, _) = converse(&settings(), &room, vec![sent]).await;
        let replies: Vec<_> = said.lines().map(|line| &line[..3]).collect();
        assert_eq!(replies, ["220", "500", "250", "221"], "{command:?}");
    }
}

#[tokio::test]
async fn a_storm_of_resets_ends_and_mail_calms_it() {
    let (last, end, _) = outcome(&settings(), "RSET\r\n".repeat(10_000)).await;
    assert_eq!(last, "421 4.7.0 Too many commands without mail, closing");
    assert!(matches!(end, End::TurnedAway), "{end}");

    let mail = format!("{}x\r\n.\r\n", OPEN.replace("HELO c\r\n", ""));
    let storm = format!("HELO c\r\n{}", format!("{}{mail}", "RSET\r\n".repeat(150)).repeat(20));
    let (last, end, mails) = outcome(&settings(), storm).await;
    assert_eq!((last.as_str(), mails), ("250 2.0.0 Ok: mail 20", 20));
    assert!(matches!(end, End::Lost(_)), "{end}");
}

#[tokio::test]
async fn a_line_without_end_is_skipped_and_then_cut_off() {
    let (last, end, _) = outcome(&settings(), format!("{}\r\nQUIT\r\n", "x".repeat(500_000))).await;
    assert_eq!(last, "221 2.0.0 Bye");
    assert!(matches!(end, End::Quit), "{end}");

    let (last, end, _) = outcome(&settings(), "x".repeat(2_000_000)).await;
    assert_eq!(last, "500 5.5.2 Line too long");
    assert!(matches!(end, End::TurnedAway), "{end}");
}

#[tokio::test]
async fn two_gibibytes_without_a_line_end_are_neither_stored_nor_read() {
    struct Endless {
        opening: std::io::Cursor<Vec<u8>>,
        given: u64,
        largest: usize,
    }
    impl AsyncRead for Endless {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            self.largest = self.largest.max(buf.remaining());
            if self.opening.position() < self.opening.get_ref().len() as u64 {
                return std::pin::Pin::new(&mut self.opening).poll_read(cx, buf);
            }
            let octets = buf.remaining();
            self.given += octets as u64;
            assert!(self.given < 2 << 30, "the session reads on and on");
            buf.initialize_unfilled().fill(b'x');
            buf.advance(octets);
            std::task::Poll::Ready(Ok(()))
        }
    }
    let (theirs, ours) = tokio::io::duplex(1 << 20);
    let mut reader = Endless { opening: std::io::Cursor::new(OPEN.into()), given: 0, largest: 0 };
    let (room, settings) = (Room::default(), settings());
    let stream = tokio::io::join(&mut reader, ours);
    let end = Session::new(stream, PEER, &room, &settings, CancellationToken::new()).run().await;
    let mut said = String::new();
    tokio::io::BufReader::new(theirs).read_to_string(&mut said).await.expect("replies are ASCII");
    assert_eq!(said.lines().next_back(), Some("552 5.3.4 The mail is larger than this host accepts"));
    assert!(matches!(end, End::TurnedAway), "{end}");
    assert!(reader.largest <= 128 * 1024, "a read of {}", reader.largest);
}

#[tokio::test]
async fn silence_ends_the_session() {
    let settings = impatient(Duration::from_millis(20), Duration::from_secs(60));
    for opening in ["", "NOO", OPEN, &format!("{OPEN}half")] {
        let (mut theirs, ours) = tokio::io::duplex(4096);
        theirs.write_all(opening.as_bytes()).await.expect("room");
        let room = Room::default();
        let end = Session::new(ours, PEER, &room, &settings, CancellationToken::new()).run().await;
        let mut said = String::new();
        theirs.read_to_string(&mut said).await.expect("replies are ASCII");
        assert_eq!(said.lines().next_back(), Some("421 4.4.2 Waited too long, closing"), "{opening:?}");
        assert!(matches!(end, End::TimedOut), "{opening:?}: {end}");
    }
}

#[tokio::test]
async fn a_client_that_never_pauses_still_has_only_its_time() {
    let settings = impatient(Duration::from_secs(60), Duration::ZERO);
    let (sent, _) = dialogue("C: NOOP");
    let (last, end, _) = outcome(&settings, sent.repeat(3)).await;
    assert_eq!(last, "421 4.4.2 Waited too long, closing");
    assert!(matches!(end, End::TimedOut), "{end}");
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_waited_for() {
    let settings = impatient(Duration::from_millis(20), Duration::from_secs(60));
    let (mut theirs, ours) = tokio::io::duplex(64);
    let room = Room::default();
    let session = Session::new(ours, PEER, &room, &settings, CancellationToken::new()).run();
    let storm = async {
        // Fails once the session has given up.
        while theirs.write_all(b"HELP\r\n").await.is_ok() {}
    };
    let (end, ()) = tokio::join!(session, storm);
    assert!(matches!(end, End::Deaf), "{end}");
}

#[tokio::test]
async fn draining_ends_idle_sessions_but_lets_a_mail_finish() {
    let (mut theirs, ours) = tokio::io::duplex(4096);
    let (room, settings, drain) = (Room::default(), settings(), CancellationToken::new());
    let session = Session::new(ours, PEER, &room, &settings, drain.child_token()).run();
    let client = async {
        theirs.write_all(format!("{OPEN}half a ").as_bytes()).await.expect("room");
        let mut greeted = vec![0; 200];
        let mut heard = String::new();
        while !heard.contains("354") {
            let octets = theirs.read(&mut greeted).await.expect("an open session");
            heard.push_str(&String::from_utf8_lossy(&greeted[..octets]));
        }
        drain.cancel();
        theirs.write_all(b"mail\r\n.\r\nNOOP\r\n").await.expect("room");
        let mut rest = String::new();
        theirs.read_to_string(&mut rest).await.expect("replies are ASCII");
        rest
    };
    let (end, rest) = tokio::join!(session, client);
    assert_eq!(rest, "250 2.0.0 Ok: mail 1\r\n421 4.3.2 Shutting down, try again\r\n");
    assert!(matches!(end, End::Drained), "{end}");

    let (mut theirs, ours) = tokio::io::duplex(4096);
    let end = Session::new(ours, PEER, &room, &settings, drain).run().await;
    let mut said = String::new();
    theirs.read_to_string(&mut said).await.expect("replies are ASCII");
    assert_eq!(said, "220 mx.example ESMTP postroad\r\n421 4.3.2 Shutting down, try again\r\n");
    assert!(matches!(end, End::Drained), "{end}");
}

#[tokio::test]
async fn early_talkers_are_refused_where_that_is_asked_for() {
    let pause = Duration::from_millis(20);
    let strict = Settings { early_talk: EarlyTalk::Refuse { pause }, ..settings() };
    let room = Room::default();
    let (said, end) = converse(&strict, &room, vec![b"EHLO early\r\n".to_vec()]).await;
    assert_eq!(said, "554 5.5.1 You spoke before the greeting\r\n");
    assert!(matches!(end, End::TurnedAway), "{end}");

    let (mut theirs, ours) = tokio::io::duplex(4096);
    let session = Session::new(ours, PEER, &room, &strict, CancellationToken::new()).run();
    let client = async {
        let mut greeting = [0; "220 mx.example ESMTP postroad\r\n".len()];
        theirs.read_exact(&mut greeting).await.expect("a greeting after the pause");
        theirs.write_all(b"QUIT\r\n").await.expect("room");
        String::from_utf8_lossy(&greeting).into_owned()
    };
    let (end, greeting) = tokio::join!(session, client);
    assert!(greeting.starts_with("220 "), "{greeting}");
    assert!(matches!(end, End::Quit), "{end}");
}

proptest::proptest! {
    #[test]
    fn no_input_makes_a_session_panic(chunks in proptest::collection::vec(
        proptest::prop_oneof![
            proptest::collection::vec(proptest::num::u8::ANY, 0..40),
            proptest::sample::select(vec![
                "EHLO x\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n", ".\r\n", "\r\n.\r\n", "RSET\r\n",
                "\r", "\n", ".", "STARTTLS\r\n", "QUIT\r\n", "AUTH PLAIN AGEAYg==\r\n", "AUTH LOGIN\r\n", "YQ==\r\n",
                "*\r\n", "RCPT TO:<c@d> NOTIFY=NEVER\r\n", "MAIL FROM:<> RET=FULL ENVID=x\r\n",
            ]).prop_map(|text| text.as_bytes().to_vec()),
        ],
        0..40,
    )) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (plain, _) = runtime.block_on(converse(&settings(), &Room::default(), chunks.clone()));
        // As if over TLS, so that logins are read.
        let (settings, room) = (Settings { door: Door::Submission, ..settings() }, Room::default());
        let mut stream = Script::new(chunks);
        let mut session = Session::new(&mut stream, PEER, &room, &settings, CancellationToken::new());
        session.info.tls = Some(TlsSession {
            version: ProtocolVersion::TLSv1_3,
            cipher: CipherSuite::TLS13_AES_128_GCM_SHA256,
        });
        runtime.block_on(session.run());
        proptest::prop_assert!(room.mails().is_empty(), "nobody has logged in");
        for line in plain.lines().chain(stream.said().lines()) {
            proptest::prop_assert!(line.len() <= 510 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit));
        }
    }
}
