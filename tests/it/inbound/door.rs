//! The door itself: whom it takes mail for, and that it never relays, loses, or is led astray.

use super::*;

// Security 5.11: the open-relay matrix, from loopback, which enjoys no trust.
#[tokio::test]
async fn nothing_is_ever_relayed() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let app = builder().set("POSTROAD_MX_ADDR", listen).start().await;
        let mut peer = Peer::of(door(&app)).await;
        let refused = [
            ("ann@example.net", "550 5.7.1"),
            ("ann%example.net@bounce.postroad.test", "550 5.1.1"),
            ("\"ann@example.net\"@bounce.postroad.test", "550 5.1.1"),
            ("@bounce.postroad.test:ann@example.net", "550 5.7.1"),
            ("ann@example.net@bounce.postroad.test", "501 5.1.3"),
            ("ann@[127.0.0.1]", "550 5.7.1"),
            ("ann@[IPv6:::1]", "550 5.7.1"),
            ("ann@", "501 5.1.3"),
            ("example.net!ann@bounce.postroad.test", "550 5.1.1"),
            ("example.net!ann", "501 5.1.3"),
            ("ann@localhost", "550 5.7.1"),
            ("ann@xbounce.postroad.test", "550 5.7.1"),
            ("ann@x.bounce.postroad.test", "550 5.7.1"),
            ("ann@bounce.postroad.test", "550 5.1.1"),
            ("postmaster@example.net", "550 5.7.1"),
        ];
        for from in ["", "hello@acme.example", "postmaster@bounce.postroad.test"] {
            for (to, code) in refused {
                let said = peer.send(from, &[to], "x").await;
                assert!(said.starts_with(code), "{from} to {to}: {said}");
            }
        }
        for to in ["postmaster", "POSTMASTER@Bounce.Postroad.Test", "abuse@mail.postroad.test"] {
            assert_eq!(peer.send("", &[to], "Subject: x\n\nx").await, "250 2.0.0 Ok: taken", "{to}");
        }
        assert_eq!(app.database.count("SELECT count(*) FROM inbound").await, 3);
        assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 0);
        app.stop().await;
    }
}

#[tokio::test]
async fn the_mail_of_postmaster_is_kept_with_its_trace_and_told() {
    let app = builder().start().await;
    let to = format!("postmaster@{OURS}");
    let content = "From: =?utf-8?q?Zo=C3=AB?= <zoe@example.net>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMessage-ID: <1@example.net>\n\n.\n";
    assert_eq!(post(door(&app), "zoe@example.net", &to, content).await, "250 2.0.0 Ok: taken");
    let row = "SELECT concat_ws('|', sender, recipient, author, subject, message_id, helo, host(peer)) FROM inbound";
    assert_eq!(
        app.database.texts(row).await,
        [format!(
            "zoe@example.net|{to}|Zoë <zoe@example.net>|Grüße|<1@example.net>|mx.example.net|127.0.0.1"
        )]
    );
    let raw = app.database.texts("SELECT convert_from(raw, 'UTF8') FROM inbound").await.remove(0);
    assert!(
        raw.starts_with("Return-Path: <zoe@example.net>\r\nReceived: from mx.example.net ([127.0.0.1])\r\n"),
        "{raw}"
    );
    assert!(raw.ends_with("\r\n\r\n.\r\n\r\n"), "{raw:?}");
    let told = app.client.get("/v1/events?type=received").await.list("/data");
    assert_eq!((told.len(), &told[0]["recipient"]), (1, &to.into()), "{told:#?}");
    assert_eq!(told[0]["message_id"], Value::Null);
    assert_eq!(told[0]["data"]["subject"], "Grüße");
    app.stop().await;
}

// D7.
#[tokio::test]
async fn a_loop_is_broken() {
    let app = builder().start().await;
    let to = format!("postmaster@{OURS}");
    let hops = |count| {
        format!("{}Subject: x\n\nx", "Received: from a by b; Wed, 25 Nov 2026 10:00:00 +0000\n".repeat(count))
    };
    let mut peer = Peer::of(door(&app)).await;
    assert_eq!(peer.send("", &[&to], &hops(101)).await, "554 5.4.6 Too many hops: the mail is in a loop");
    assert_eq!(peer.send("", &[&to], &hops(100)).await, "250 2.0.0 Ok: taken");
    app.stop().await;
}

// Smuggling: only CRLF . CRLF ends a mail; what looks like another end is no mail of its own.
#[tokio::test]
async fn no_mail_is_smuggled_in() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    let smuggled =
        format!("MAIL FROM:<>\r\nRCPT TO:<{}>\r\nDATA\r\nSubject: smuggled\r\n\r\nx", sent.return_path);
    for end in ["\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\n\n.\n\n", "\r\n\0.\r\n"] {
        let mut peer = Peer::of(door(&app)).await;
        peer.ask("MAIL FROM:<>\r\n").await;
        peer.ask(&format!("RCPT TO:<postmaster@{OURS}>\r\n")).await;
        peer.ask("DATA\r\n").await;
        let said = peer.ask(&format!("Subject: x\r\n\r\nx{end}{smuggled}\r\n.\r\n")).await;
        assert_eq!(said, "550 5.6.11 The mail holds a bare CR, a bare LF or a NUL", "{end:?}");
    }
    assert_eq!(app.database.count("SELECT count(*) FROM inbound").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn too_much_is_refused_by_number_size_and_time() {
    let app = builder().set("POSTROAD_MAX_MESSAGE_BYTES", "2000").start().await;
    let to = format!("postmaster@{OURS}");
    let mut peer = Peer::of(door(&app)).await;
    assert_eq!(
        peer.ask("MAIL FROM:<> SIZE=2001\r\n").await,
        "552 5.3.4 The mail is larger than this host accepts"
    );
    let large = format!("Subject: x\n\n{}", "x".repeat(2_000));
    assert_eq!(peer.send("", &[&to], &large).await, "552 5.3.4 The mail is larger than this host accepts");
    peer.ask("MAIL FROM:<>\r\n").await;
    let mut said = String::new();
    for _ in 0..=100 {
        said = peer.ask(&format!("RCPT TO:<{to}>\r\n")).await;
    }
    assert!(said.starts_with("452 4.5.3 "), "{said}");
    let mut inside = Vec::new();
    for _ in 0..49 {
        inside.push(Peer::of(door(&app)).await);
    }
    let mut one_more =
        Peer { stream: BufReader::new(TcpStream::connect(door(&app)).await.expect("connected")) };
    assert_eq!(one_more.rest().await, "421 4.7.0 Too many connections, try later\r\n");
    app.stop().await;
}

#[tokio::test]
async fn with_the_database_away_mail_is_put_off_and_comes_in_later() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    let text = notice(&sent.recipient, "5.1.1", "550 5.1.1 User unknown");
    let held = app.database.hold("deliveries").await;
    let said = post(door(&app), "", &sent.return_path, &text).await;
    assert_eq!(said, "451 4.3.0 The mail could not be stored, try again");
    drop(held);
    assert_eq!(post(door(&app), "", &sent.return_path, &text).await, "250 2.0.0 Ok: taken");
    assert_eq!(status(&app, &sent.id).await, "bounced");
    app.stop().await;
}

#[tokio::test]
async fn the_door_can_be_off() {
    let app = TestApp::builder().set("POSTROAD_MX_ADDR", "off").start().await;
    assert_eq!(app.server().mx_addr(), None);
    app.stop().await;
}
