//! The sink keeps its word. Each test talks to it over a raw socket, or through Python's smtplib.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A client that says exactly what the test says.
struct Client<S> {
    stream: BufReader<S>,
}

impl Client<TcpStream> {
    async fn of(sink: &SmtpSink) -> Self {
        Self { stream: BufReader::new(TcpStream::connect(sink.address()).await.expect("a listening sink")) }
    }

    /// Connected, greeted, introduced.
    async fn introduced(sink: &SmtpSink) -> Self {
        let mut client = Self::of(sink).await;
        assert_eq!(client.ask("").await, "220 sink.test ESMTP sink");
        assert!(client.ask("EHLO client.test\r\n").await.starts_with("250 "));
        client
    }

    async fn encrypt(
        self,
        trusted: &Identity,
        name: &str,
    ) -> std::io::Result<Client<impl AsyncRead + AsyncWrite + Unpin>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.certificate.clone()).expect("a certificate");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = name.to_owned().try_into().expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, self.stream.into_inner()).await?;
        Ok(Client { stream: BufReader::new(stream) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends, and returns the last line of one reply; empty if the sink closed instead.
    async fn ask(&mut self, lines: &str) -> String {
        self.try_ask(lines).await.expect("an open connection")
    }

    async fn try_ask(&mut self, lines: &str) -> std::io::Result<String> {
        self.stream.write_all(lines.as_bytes()).await?;
        loop {
            let mut line = Vec::new();
            self.stream.read_until(b'\n', &mut line).await?;
            if line.get(3) != Some(&b'-') {
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        }
    }

    async fn envelope(&mut self, from: &str, to: &[&str]) {
        assert!(self.ask(&format!("MAIL FROM:<{from}>\r\n")).await.starts_with("250 "));
        for to in to {
            assert!(self.ask(&format!("RCPT TO:<{to}>\r\n")).await.starts_with("250 "));
        }
    }

    async fn mail(&mut self, to: &str) -> std::io::Result<String> {
        self.envelope("a@client.test", &[to]).await;
        assert!(self.ask("DATA\r\n").await.starts_with("354 "));
        self.try_ask("Subject: x\r\n\r\ntext\r\n.\r\n").await
    }

    async fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await?;
        Ok(rest)
    }
}

#[tokio::test]
async fn an_unscripted_sink_takes_a_mail_and_remembers_every_octet() {
    let sink = SmtpSink::builder().start().await;
    let mut client = Client::introduced(&sink).await;
    client.ask("MAIL FROM:<a@client.test> SIZE=30 BODY=8BITMIME\r\n").await;
    let group = "RCPT TO:<b@sink.test> NOTIFY=NEVER\r\nRCPT TO:<c@sink.test>\r\nDATA\r\n";
    assert_eq!(client.ask(group).await, "250 2.1.5 ok");
    assert_eq!(client.ask("").await, "250 2.1.5 ok");
    assert_eq!(client.ask("").await, "354 go ahead");
    let wire = "Subject: x\r\n\r\n..dot\r\n.\n.x\r\n.\r\n";
    assert_eq!(client.ask(&format!("{wire}QUIT\r\n")).await, "250 2.0.0 taken");
    assert_eq!(client.rest().await.expect("a proper close"), b"221 2.0.0 bye\r\n");

    let mails = sink.wait_for(1, PATIENCE).await;
    let mail = &mails[0];
    assert_eq!((mail.connection, mail.from.as_str()), (1, "a@client.test"));
    assert_eq!(mail.params, ["SIZE=30", "BODY=8BITMIME"]);
    assert_eq!(mail.to(), ["b@sink.test", "c@sink.test"]);
    assert_eq!(mail.recipients[0].params, ["NOTIFY=NEVER"]);
    assert_eq!(mail.wire, wire.as_bytes());
    assert_eq!(mail.text(), "Subject: x\r\n\r\n.dot\r\n\n.x\r\n");
    assert_eq!((mail.encrypted, mail.user.clone()), (false, None));
    assert!(mail.at <= Instant::now());

    sink.wait_until(PATIENCE, |sink| sink.open_connections() == 0).await;
    let sent: Vec<_> = sink.transcript().into_iter().map(|line| (line.connection, line.what)).collect();
    assert!(
        sent.contains(&(1, What::Client("RCPT TO:<c@sink.test>".into(), Sent::Pipelined))),
        "{}",
        sink.story()
    );
    assert!(sent.contains(&(1, What::Client("DATA".into(), Sent::Alone))));
    assert!(sent.contains(&(1, What::Text(wire.len()))));
    assert_eq!(sent.first(), Some(&(1, What::Connected)));
    assert_eq!(sent.last(), Some(&(1, What::Closed)));
    assert!(sink.transcript().is_sorted_by_key(|line| line.at));
    assert_eq!(sink.commands().first().map(String::as_str), Some("EHLO client.test"));
}

#[tokio::test]
async fn recipients_and_senders_have_their_own_answers_and_their_own_tries() {
    let sink = SmtpSink::builder()
        .on_mail("bad@", reply("550 5.7.1 not you"))
        .on_rcpt("dead@", reply("550 5.1.1 no such user"))
        .on_rcpt("grey@", tries([reply("451 4.7.1 one"), reply("451 4.7.1 two"), usual()]))
        .start()
        .await;
    let mut client = Client::introduced(&sink).await;
    assert_eq!(client.ask("MAIL FROM:<bad@client.test>\r\n").await, "550 5.7.1 not you");
    client.envelope("a@client.test", &[]).await;
    let mut said = Vec::new();
    for to in
        ["grey@one.test", "grey@one.test", "grey@two.test", "dead@one.test", "grey@one.test", "grey@one.test"]
    {
        said.push(client.ask(&format!("RCPT TO:<{to}>\r\n")).await);
    }
    let ok = "250 2.1.5 ok";
    assert_eq!(said, ["451 4.7.1 one", "451 4.7.1 two", "451 4.7.1 one", "550 5.1.1 no such user", ok, ok]);
}

#[tokio::test]
async fn a_rule_may_be_for_one_connection_and_change_while_the_sink_runs() {
    let sink =
        SmtpSink::builder().when(at(Step::Connect).connection(2), reply("421 4.3.2 second")).start().await;
    let mut first = Client::introduced(&sink).await;
    let mut second = Client::of(&sink).await;
    assert_eq!(second.rest().await.expect("a proper close"), b"421 4.3.2 second\r\n");

    sink.set(at(Step::Noop), reply("250 noop"));
    sink.set(at(Step::Noop), reply("421 4.3.2 later rules win"));
    assert_eq!(first.ask("NOOP\r\n").await, "421 4.3.2 later rules win");
    assert_eq!(first.rest().await.expect("a proper close"), b"");

    drop((first, second));
    sink.wait_until(PATIENCE, |sink| sink.open_connections() == 0).await;
    sink.be_friendly();
    sink.set_keywords(["SIZE 5"]);
    let mut third = Client::introduced(&sink).await;
    assert_eq!(third.ask("EHLO again\r\n").await, "250 SIZE 5");
    assert_eq!(third.ask("NOOP\r\n").await, "250 2.0.0 ok");
    assert_eq!(third.ask("RSET\r\n").await, "250 2.0.0 reset");
    assert_eq!((sink.connections(), sink.most_open_connections()), (3, 2));
}

#[tokio::test]
async fn a_connection_may_end_at_the_final_dot_with_the_mail_taken_or_not() {
    let cases =
        [(take().then(close()), true, false), (close(), false, false), (take().then(reset()), true, true)];
    for (act, taken, is_reset) in cases {
        let sink = SmtpSink::builder().when(at(Step::Dot).of("b@"), act).start().await;
        let said = Client::introduced(&sink).await.mail("b@sink.test").await;
        match said {
            Ok(said) => assert!(said.is_empty() && !is_reset, "{said}"),
            Err(error) => assert!(is_reset && error.kind() == std::io::ErrorKind::ConnectionReset, "{error}"),
        }
        assert_eq!((sink.received().len(), sink.every_mail().len()), (usize::from(taken), 1));
    }
    let sink = SmtpSink::builder().drop_after_dot().start().await;
    assert_eq!(Client::introduced(&sink).await.mail("b@sink.test").await.expect("a proper close"), "");
    assert_eq!(sink.received().len(), 1);
}

#[tokio::test]
async fn a_refused_dot_is_remembered_but_not_received() {
    let sink = SmtpSink::builder().on(Step::Dot, tries([reply("552 5.3.4 too big"), usual()])).start().await;
    let mut client = Client::introduced(&sink).await;
    assert_eq!(client.mail("b@sink.test").await.expect("open"), "552 5.3.4 too big");
    assert_eq!(client.mail("b@sink.test").await.expect("open"), "250 2.0.0 taken");
    assert_eq!((sink.received().len(), sink.every_mail().len()), (1, 2));
}

#[tokio::test]
async fn replies_come_as_odd_as_they_are_written() {
    let gap = Duration::from_millis(1);
    let long = format!("250 {}", "x".repeat(9 * 1024));
    let sink = SmtpSink::builder()
        .greet(wait(gap).then(dribble("220 slow", gap)))
        .on(Step::Ehlo, endless("250-more"))
        .on(
            Step::Noop,
            tries([raw("250\r\n"), raw("250 lf\n"), raw(b"250 caf\xe9\r\n".to_vec()), reply(&long)]),
        )
        .start()
        .await;
    let mut client = Client::of(&sink).await;
    let before = Instant::now();
    assert_eq!(client.ask("").await, "220 slow");
    assert!(before.elapsed() >= gap * "220 slow\r\n".len() as u32);
    for expected in ["250", "250 lf", "250 caf\u{fffd}", &long] {
        assert_eq!(client.ask("NOOP\r\n").await, expected);
    }
    client.stream.write_all(b"EHLO client.test\r\n").await.expect("an open connection");
    for _ in 0..10_000 {
        let mut line = String::new();
        client.stream.read_line(&mut line).await.expect("an open connection");
        assert_eq!(line, "250-more\r\n");
    }
    drop(client);
    sink.wait_until(PATIENCE, |sink| sink.open_connections() == 0).await;
}

#[tokio::test]
async fn data_may_be_answered_against_all_sense() {
    let sink = SmtpSink::builder()
        .on_rcpt("", reply("550 5.1.1 nobody"))
        .on(Step::Data, tries([reply("250 2.0.0 what?"), reply("354 go ahead anyway")]))
        .start()
        .await;
    let mut client = Client::introduced(&sink).await;
    client.envelope("a@client.test", &[]).await;
    assert_eq!(client.ask("RCPT TO:<b@sink.test>\r\n").await, "550 5.1.1 nobody");
    assert_eq!(client.ask("DATA\r\n").await, "250 2.0.0 what?");
    assert_eq!(client.ask("DATA\r\n").await, "354 go ahead anyway");
    assert_eq!(client.ask(".\r\n").await, "250 2.0.0 taken");
    assert!(sink.received()[0].recipients.is_empty());
}

#[tokio::test]
async fn a_connection_may_end_in_the_middle_of_a_text() {
    let sink = SmtpSink::builder().when(at(Step::Text).octets(10 * 1024), reset()).start().await;
    let mut client = Client::introduced(&sink).await;
    client.envelope("a@client.test", &["b@sink.test"]).await;
    client.ask("DATA\r\n").await;
    let endless = async { while client.stream.write_all(&[b'x'; 1024]).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, endless).await.expect("the sink cuts the connection");
    assert!(sink.every_mail().is_empty());
}

#[tokio::test]
async fn a_test_may_hold_a_text_and_let_it_go() {
    let sink = SmtpSink::builder().start().await;
    let mut held = sink.signal_after_data_bytes(1_000);
    let mut client = Client::introduced(&sink).await;
    client.envelope("a@client.test", &["b@sink.test"]).await;
    client.ask("DATA\r\n").await;
    client.stream.write_all(&[b'x'; 2_000]).await.expect("an open connection");
    client.stream.write_all(b"\r\n.\r\n").await.expect("an open connection");
    tokio::time::timeout(PATIENCE, held.reached()).await.expect("a thousand octets are there");
    assert!(sink.every_mail().is_empty());
    held.release();
    assert_eq!(client.ask("").await, "250 2.0.0 taken");
    // The hold is gone: the next mail passes.
    assert_eq!(client.mail("b@sink.test").await.expect("open"), "250 2.0.0 taken");
}

#[tokio::test]
async fn starttls_is_offered_until_it_is_used() {
    let identity = self_signed("sink.test");
    let sink = SmtpSink::builder().keywords(["PIPELINING"]).starttls(&identity).start().await;
    let mut client = Client::introduced(&sink).await;
    assert_eq!(client.ask("STARTTLS\r\n").await, "220 2.0.0 go ahead");
    let mut client = client.encrypt(&identity, "sink.test").await.expect("a trusted certificate");
    assert_eq!(client.ask("MAIL FROM:<>\r\n").await, "503 5.5.1 hello first");
    assert_eq!(client.ask("EHLO client.test\r\n").await, "250 PIPELINING");
    assert_eq!(client.ask("STARTTLS\r\n").await, "502 5.5.1 no TLS here");
    client.mail("b@sink.test").await.expect("open");
    assert!(sink.received()[0].encrypted);
    assert!(sink.transcript().iter().any(|line| line.what == What::Encrypted));
}

#[tokio::test]
async fn bad_certificates_are_bad() {
    let (good, old) = (self_signed("sink.test"), expired("sink.test"));
    for (shown, name) in [(&good, "other.test"), (&old, "sink.test")] {
        let sink = SmtpSink::builder().implicit_tls(shown).start().await;
        assert!(Client::of(&sink).await.encrypt(shown, name).await.is_err(), "{name}");
    }
    let sink = SmtpSink::builder().implicit_tls(&good).start().await;
    assert!(Client::of(&sink).await.encrypt(&old, "sink.test").await.is_err(), "an unknown issuer");
    let mut client = Client::of(&sink).await.encrypt(&good, "sink.test").await.expect("a good certificate");
    assert_eq!(client.ask("").await, "220 sink.test ESMTP sink");
}

#[tokio::test]
async fn a_handshake_may_be_refused_or_answered_with_garbage() {
    let identity = self_signed("sink.test");
    let sink = SmtpSink::builder()
        .starttls(&identity)
        .on(Step::StartTls, tries([reply("454 4.7.0 not now"), usual()]))
        .on(Step::Handshake, tries([raw("garbage").then(close()), usual()]))
        .start()
        .await;
    let mut client = Client::introduced(&sink).await;
    assert_eq!(client.ask("STARTTLS\r\n").await, "454 4.7.0 not now");
    client.ask("STARTTLS\r\n").await;
    assert!(client.encrypt(&identity, "sink.test").await.is_err());
    let mut client = Client::introduced(&sink).await;
    client.ask("STARTTLS\r\n").await;
    assert!(client.encrypt(&identity, "sink.test").await.is_ok());
}

#[tokio::test]
async fn a_sink_with_an_account_takes_mail_from_no_one_else() {
    let sink = SmtpSink::builder().auth(["XOAUTH2"], "ann", "token").start().await;
    let mut client = Client::introduced(&sink).await;
    assert_eq!(client.ask("MAIL FROM:<>\r\n").await, "530 5.7.0 authenticate first");
    assert_eq!(client.ask("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n").await, "504 5.5.4 no such mechanism");
    // user=ann^Aauth=Bearer wrong^A^A
    let challenge = client.ask("AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgd3JvbmcBAQ==\r\n").await;
    assert!(challenge.starts_with("334 "), "{challenge}");
    assert_eq!(client.ask("\r\n").await, "535 5.7.8 wrong");
    assert_eq!(client.ask("AUTH XOAUTH2\r\n").await, "334");
    assert_eq!(client.ask("*\r\n").await, "501 5.5.2 cancelled or malformed");
    // user=ann^Aauth=Bearer token^A^A
    assert_eq!(
        client.ask("AUTH XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rZW4BAQ==\r\n").await,
        "235 2.7.0 welcome"
    );
    client.mail("b@sink.test").await.expect("open");
    assert_eq!(sink.received()[0].user.as_deref(), Some("ann"));
    let said =
        |secret: &str| Credentials { mechanism: "XOAUTH2".into(), user: "ann".into(), secret: secret.into() };
    assert_eq!(sink.credentials(), [said("wrong"), said("token")]);
}

#[tokio::test]
async fn python_authenticates_by_plain_and_login_over_starttls() {
    let identity = self_signed("localhost");
    for mechanism in ["PLAIN", "LOGIN"] {
        let sink = SmtpSink::builder().starttls(&identity).auth([mechanism], "ann", "secret").start().await;
        let script = format!(
            "import smtplib, ssl\n\
             s = smtplib.SMTP('localhost', {port})\n\
             s.starttls(context=ssl.create_default_context(cadata='''{pem}'''))\n\
             s.login('ann', 'secret')\n\
             s.sendmail('a@client.test', ['b@sink.test'], 'Subject: x\\r\\n\\r\\n.dot\\r\\n')\n\
             s.quit()\n",
            port = sink.address().port(),
            pem = identity.pem,
        );
        let python =
            tokio::process::Command::new("python3").args(["-c", &script]).stdin(Stdio::null()).output();
        let output = python.await.expect("python3 is installed");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), sink.story());
        let mails = sink.received();
        assert_eq!(mails[0].text(), "Subject: x\r\n\r\n.dot\r\n", "{mechanism}");
        assert_eq!((mails[0].user.as_deref(), mails[0].encrypted), (Some("ann"), true));
        assert_eq!(sink.credentials().last().map(|said| said.mechanism.as_str()), Some(mechanism));
    }
}

#[tokio::test]
async fn idle_clients_are_dealt_with() {
    let time = Duration::from_millis(10);
    let sink = SmtpSink::builder().idle(time).start().await;
    let mut client = Client::of(&sink).await;
    let said = client.rest().await.expect("a proper close");
    assert_eq!(String::from_utf8_lossy(&said), "220 sink.test ESMTP sink\r\n421 4.4.2 idle too long\r\n");

    sink.set(at(Step::Idle), close());
    let said = Client::of(&sink).await.rest().await.expect("a proper close");
    assert_eq!(said, b"220 sink.test ESMTP sink\r\n");
}

#[tokio::test]
async fn an_old_host_knows_helo_only() {
    let sink = SmtpSink::builder().helo_only().start().await;
    let mut client = Client::of(&sink).await;
    client.ask("").await;
    assert_eq!(client.ask("EHLO client.test\r\n").await, "502 5.5.1 command not implemented");
    assert_eq!(client.ask("MAIL FROM:<>\r\n").await, "503 5.5.1 hello first");
    assert_eq!(client.ask("HELO client.test\r\n").await, "250 sink.test");
    assert_eq!(client.mail("b@sink.test").await.expect("open"), "250 2.0.0 taken");
}

#[tokio::test]
async fn a_dropped_sink_is_gone_and_another_may_take_its_port() {
    let sink = SmtpSink::builder().start().await;
    let address = sink.address();
    let mut client = Client::introduced(&sink).await;
    drop(sink);
    // The session ends with the sink, by FIN or RST.
    let _ = client.rest().await;
    assert!(TcpStream::connect(address).await.is_err());
    let sink = SmtpSink::builder().start_at(address).await;
    Client::introduced(&sink).await;
}

#[tokio::test]
#[should_panic(expected = "EHLO client.test")]
async fn a_wait_in_vain_tells_the_whole_story() {
    let sink = SmtpSink::builder().start().await;
    Client::introduced(&sink).await;
    sink.wait_for(1, Duration::from_millis(1)).await;
}
