//! STARTTLS: what it protects, and what it must forget (RFC 3207, CVE-2011-0411).

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ProtocolVersion;

use super::support::{PEER, Room};
use super::*;
use crate::testing::identity;

fn with_tls(tls: Tls) -> Settings {
    Settings { tls, ..settings() }
}

/// Sends lines and reads until a reply's last line; returns that line.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), lines: &str) -> String {
    stream.write_all(lines.as_bytes()).await.expect("an open session");
    let mut reader = BufReader::with_capacity(1, stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.expect("an open session");
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

async fn encrypt(
    theirs: DuplexStream,
    connector: &TlsConnector,
) -> tokio_rustls::client::TlsStream<DuplexStream> {
    let name = "mx.example".try_into().expect("a name");
    connector.connect(name, theirs).await.expect("a trusted certificate")
}

#[tokio::test]
async fn starttls_forgets_hello_and_transaction_and_drops_what_was_injected() {
    let (config, connector) = identity("mx.example");
    let (_sender, config) = watch::channel(config);
    let (room, settings) = (Room::default(), with_tls(Tls::StartTls(config)));
    let (mut theirs, ours) = tokio::io::duplex(1 << 16);
    let session = Session::new(ours, PEER, &room, &settings, CancellationToken::new()).run();
    let client = async {
        assert_eq!(ask(&mut theirs, "").await, "220 mx.example ESMTP postroad\r\n");
        assert_eq!(ask(&mut theirs, "EHLO client.example\r\n").await, "250 SMTPUTF8\r\n");
        assert_eq!(ask(&mut theirs, "MAIL FROM:<plain@client.example>\r\n").await, "250 2.1.0 Ok\r\n");
        let injected = "STARTTLS\r\nEHLO injected\r\nMAIL FROM:<injected@client.example>\r\n";
        assert_eq!(ask(&mut theirs, injected).await, "220 2.0.0 Ready to start TLS\r\n");
        let mut theirs = encrypt(theirs, &connector).await;
        // Neither the name nor the transaction survived, and nothing injected is answered first.
        assert_eq!(ask(&mut theirs, "RCPT TO:<b@mx.example>\r\n").await, "503 5.5.1 MAIL first\r\n");
        assert_eq!(ask(&mut theirs, "MAIL FROM:<>\r\n").await, "503 5.5.1 Say EHLO first\r\n");
        theirs.write_all(b"EHLO client.example\r\nSTARTTLS\r\nQUIT\r\n").await.expect("an open session");
        let mut rest = String::new();
        theirs.read_to_string(&mut rest).await.expect("a clean close");
        rest
    };
    let (end, rest) = tokio::join!(session, client);
    assert!(matches!(end, End::Quit), "{end}");
    assert!(!rest.contains("250-STARTTLS"), "not offered twice: {rest}");
    assert!(rest.ends_with("503 5.5.1 TLS is active already\r\n221 2.0.0 Bye\r\n"), "{rest}");
    assert!(room.mails().is_empty());
}

#[tokio::test]
async fn implicit_tls_greets_over_tls_and_says_so_to_the_mailroom() {
    let (config, connector) = identity("mx.example");
    let (_sender, config) = watch::channel(config);
    let (room, settings) = (Room::default(), with_tls(Tls::Implicit(config)));
    let (theirs, ours) = tokio::io::duplex(1 << 16);
    let mut session = Session::new(ours, PEER, &room, &settings, CancellationToken::new());
    let client = async {
        let mut theirs = encrypt(theirs, &connector).await;
        ask(&mut theirs, "").await
    };
    let (greeted, greeting) = tokio::join!(
        async {
            session.greet().await?;
            session.flush().await
        },
        client
    );
    assert!(greeted.is_ok());
    assert_eq!(greeting, "220 mx.example ESMTP postroad\r\n");
    assert_eq!(session.info.tls.map(|tls| tls.version), Some(ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn a_renewed_certificate_serves_the_next_handshake() {
    let (old, _) = identity("mx.example");
    let (new, connector) = identity("mx.example");
    let (sender, config) = watch::channel(old);
    let (room, settings) = (Room::default(), with_tls(Tls::StartTls(config)));
    sender.send(new).expect("the settings hold a receiver");
    let (mut theirs, ours) = tokio::io::duplex(1 << 16);
    let session = Session::new(ours, PEER, &room, &settings, CancellationToken::new()).run();
    let client = async {
        ask(&mut theirs, "").await;
        ask(&mut theirs, "STARTTLS\r\n").await;
        // The client trusts the new certificate only.
        ask(&mut encrypt(theirs, &connector).await, "QUIT\r\n").await
    };
    let (_, bye) = tokio::join!(session, client);
    assert_eq!(bye, "221 2.0.0 Bye\r\n");
}

#[tokio::test]
async fn a_broken_handshake_ends_the_session_without_another_plain_word() {
    let (config, _) = identity("mx.example");
    let (_sender, config) = watch::channel(config);
    let (room, settings) = (Room::default(), with_tls(Tls::StartTls(config)));
    let (mut theirs, ours) = tokio::io::duplex(1 << 16);
    let session = Session::new(ours, PEER, &room, &settings, CancellationToken::new()).run();
    let client = async {
        ask(&mut theirs, "").await;
        ask(&mut theirs, "STARTTLS\r\n").await;
        theirs.write_all(b"EHLO still.plain\r\nMAIL FROM:<>\r\n").await.expect("room");
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.expect("a close");
        rest
    };
    let (end, rest) = tokio::join!(session, client);
    assert!(matches!(end, End::Handshake(_)), "{end}");
    assert!(!rest.windows(4).any(|window| window == b"250 " || window == b"503 "), "{rest:?}");
}
