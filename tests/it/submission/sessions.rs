//! The dialogue: what is offered when, what must come first, and what strange clients get (H6).

use super::*;

#[tokio::test]
async fn logins_are_offered_over_tls_alone() {
    let doors = Doors::open().await;
    let mut client = doors.greeted().await;
    let offered = client.lines("EHLO client.test\r\n").await;
    assert_eq!(
        offered,
        [
            "250-mail.postroad.test",
            "250-PIPELINING",
            "250-SIZE 26214400",
            "250-STARTTLS",
            "250-DSN",
            "250-ENHANCEDSTATUSCODES",
            "250-8BITMIME",
            "250 SMTPUTF8"
        ]
    );
    let mut client = client.starttls(&doors.root).await;
    let offered = client.lines("EHLO client.test\r\n").await;
    assert_eq!(
        offered,
        [
            "250-mail.postroad.test",
            "250-PIPELINING",
            "250-SIZE 26214400",
            "250-AUTH PLAIN LOGIN",
            "250-DSN",
            "250-ENHANCEDSTATUSCODES",
            "250-8BITMIME",
            "250 SMTPUTF8"
        ]
    );
    let mut implicit = Raw::connect(doors.submissions()).await.encrypt(&doors.root).await;
    assert_eq!(implicit.ask("").await, GREETING);
    assert_eq!(implicit.lines("EHLO client.test\r\n").await, offered);
    doors.close().await;
}

#[tokio::test]
async fn nothing_is_taken_before_tls_and_a_login() {
    let doors = Doors::open().await;
    let mut client = doors.greeted().await;
    let login = format!("AUTH PLAIN {}\r\n", plain("x", KEY));
    assert_eq!(client.ask("MAIL FROM:<a@acme.example>\r\n").await, "503 5.5.1 Say EHLO first");
    client.ask("EHLO client.test\r\n").await;
    assert_eq!(
        client.ask("MAIL FROM:<a@acme.example>\r\n").await,
        "530 5.7.0 Must issue a STARTTLS command first"
    );
    let refused = "538 5.7.11 Logins are taken over TLS only: STARTTLS first";
    assert_eq!(client.ask(&login).await, refused);
    assert_eq!(client.ask("AUTH LOGIN\r\n").await, refused);
    let mut client = client.starttls(&doors.root).await;
    assert_eq!(client.ask(&login).await, "503 5.5.1 Say EHLO first");
    client.ask("EHLO client.test\r\n").await;
    assert_eq!(client.ask("MAIL FROM:<a@acme.example>\r\n").await, "530 5.7.0 Authentication required");
    assert_eq!(client.ask("RCPT TO:<ann@example.net>\r\n").await, "503 5.5.1 MAIL first");
    assert_eq!(client.ask("DATA\r\n").await, "503 5.5.1 MAIL first");
    assert_eq!(client.ask(&login).await, "235 2.7.0 Ok");
    assert_eq!(client.ask(&login).await, "503 5.5.1 You have logged in already");
    assert_eq!(client.ask("MAIL FROM:<a@acme.example>\r\n").await, "250 2.1.0 Ok");
    assert_eq!(client.ask("STARTTLS\r\n").await, "503 5.5.1 TLS is active already");
    doors.close().await;
}

#[tokio::test]
async fn every_way_to_log_in_is_understood_and_nonsense_is_not() {
    let doors = Doors::open().await;
    let (user, secret) = (STANDARD.encode("anybody"), STANDARD.encode(KEY));
    let good: [&[&str]; 5] = [
        &["AUTH PLAIN", &plain("anybody", KEY)],
        &["auth plain", &STANDARD.encode(format!("somebody\0anybody\0{KEY}"))],
        &["AUTH LOGIN", &user, &secret],
        &[&format!("AUTH LOGIN {user}"), &secret],
        &["AUTH LOGIN =", &secret],
    ];
    for exchange in good {
        let mut client = doors.encrypted().await;
        assert_eq!(client.ask_all(exchange).await, "235 2.7.0 Ok", "{exchange:?}");
    }
    let mut client = doors.encrypted().await;
    assert_eq!(client.ask("AUTH LOGIN\r\n").await, "334 VXNlcm5hbWU6");
    assert_eq!(client.ask(format!("{user}\r\n")).await, "334 UGFzc3dvcmQ6");
    assert_eq!(client.ask("*\r\n").await, "501 5.7.0 Canceled");
    assert_eq!(client.ask("AUTH PLAIN\r\n").await, "334");
    assert_eq!(client.ask("*\r\n").await, "501 5.7.0 Canceled");
    let bad = "501 5.5.2 That is no base 64 of a login";
    let nonsense: [(&[&str], &str); 8] = [
        (&["AUTH PLAIN !!!"], bad),
        (&["AUTH PLAIN ="], bad),
        (&["AUTH PLAIN", "QUIT"], bad),
        (&["AUTH PLAIN", &STANDARD.encode("no zeros")], bad),
        (&["AUTH PLAIN", &STANDARD.encode(b"\0\xff\xfe\0x")], bad),
        (&["AUTH LOGIN", "x"], bad),
        (&["AUTH CRAM-MD5"], "504 5.5.4 AUTH PLAIN or AUTH LOGIN"),
        (&["AUTH"], "501 5.5.2 Syntax error"),
    ];
    for (exchange, expected) in nonsense {
        assert_eq!(client.ask_all(exchange).await, expected, "{exchange:?}");
    }
    assert_eq!(client.log_in(KEY).await, "235 2.7.0 Ok", "the session has survived all that");
    doors.close().await;
}

// RFC 4954 §4: no AUTH in a transaction.
#[tokio::test]
async fn nobody_else_can_log_in_in_the_middle_of_a_session() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    client.ask("MAIL FROM:<a@acme.example>\r\n").await;
    let again = format!("AUTH PLAIN {}\r\n", plain("x", KEY));
    assert_eq!(client.ask(&again).await, "503 5.5.1 You have logged in already");
    assert_eq!(client.ask("RCPT TO:<ann@example.net>\r\n").await, "250 2.1.5 Ok", "the transaction lives");
    doors.close().await;
}

// T3, CVE-2011-0411
#[tokio::test]
async fn what_was_said_before_the_handshake_is_forgotten() {
    let doors = Doors::open().await;
    let mut client = doors.greeted().await;
    client.ask("EHLO client.test\r\n").await;
    let injected = format!(
        "STARTTLS\r\nEHLO injected\r\nAUTH PLAIN {}\r\nMAIL FROM:<x@acme.example>\r\n",
        plain("x", KEY)
    );
    assert_eq!(client.ask(injected).await, "220 2.0.0 Ready to start TLS");
    let mut client = client.encrypt(&doors.root).await;
    assert_eq!(client.ask("NOOP\r\n").await, "250 2.0.0 Ok", "no injected command was answered");
    assert_eq!(client.ask("MAIL FROM:<a@acme.example>\r\n").await, "503 5.5.1 Say EHLO first");
    doors.close().await;
}

// H6
#[tokio::test]
async fn pipelined_commands_are_answered_in_order_and_garbage_among_them_is_refused() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    let group = [
        &b"MAIL FROM:<a@acme.example>\r\n"[..],
        b"RCPT TO:<ann@example.net>\r\n",
        b"\x80\xff\xfe garbage\r\n",
        b"RCPT TO:<b\r\n",
        b"XYZZY\r\n",
        b"RCPT TO:<bob@example.net>\r\n",
        b"RSET\r\n",
        b"DATA\r\n",
        b"NOOP\r\n",
    ];
    let mut said = vec![client.ask(group.concat()).await];
    for _ in 1..group.len() {
        said.push(client.ask("").await);
    }
    let codes: Vec<&str> = said.iter().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "500", "501", "500", "250", "250", "503", "250"]);
    doors.close().await;
}

// H6
#[tokio::test]
async fn half_a_mail_and_a_reset_leave_nothing() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    client.ask_all(&["MAIL FROM:<a@acme.example>", "RCPT TO:<ann@example.net>", "DATA"]).await;
    client.send(&TEXT[..TEXT.len() / 2]).await;
    drop(client);
    let id = queued(&doors.logged_in().await.mail("a@acme.example", &["ann@example.net"], TEXT).await);
    let listed = doors.app.client.all_pages("/v1/messages", 100).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["id"], id);
    doors.close().await;
}

// H6
#[tokio::test]
async fn who_only_resets_or_only_errs_is_sent_away() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    client.send("RSET\r\n".repeat(300)).await;
    assert!(client.rest().await.ends_with("421 4.7.0 Too many commands without mail, closing\r\n"));
    let mut client = doors.logged_in().await;
    client.send("XYZZY\r\n".repeat(50)).await;
    assert!(client.rest().await.ends_with("421 4.7.0 Too many errors, closing\r\n"));
    let mut client = doors.greeted().await;
    client.send(vec![b'x'; 2 << 20]).await;
    assert!(client.rest().await.ends_with("500 5.5.2 Line too long\r\n"), "a line that never ends");
    doors.close().await;
}

#[tokio::test]
async fn parameters_of_a_submission_are_taken_and_others_refused() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    let cases = [
        ("MAIL FROM:<a@acme.example> RET=HDRS ENVID=QQ314159 AUTH=<> SIZE=1000 BODY=8BITMIME", "250"),
        ("RCPT TO:<ann@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Ann@example.net", "250"),
        ("RCPT TO:<bob@example.net> NOTIFY=NEVER", "250"),
        ("RCPT TO:<bob@example.net> NOTIFY=NEVER,DELAY", "501"),
        ("RCPT TO:<bob@example.net> HOLDFOR=10", "555"),
        ("RSET", "250"),
        ("MAIL FROM:<a@acme.example> SIZE=26214401", "552"),
        ("MAIL FROM:<a@acme.example> BODY=BINARYMIME", "501"),
        ("BDAT 4 LAST", "502"),
        ("VRFY ann", "252"),
        ("EXPN list", "502"),
        ("RCPT TO:<Postmaster>", "503"),
    ];
    for (command, code) in cases {
        let said = client.ask(format!("{command}\r\n")).await;
        assert_eq!(&said[..3], code, "{command}: {said}");
    }
    doors.close().await;
}

// H3, in small: idle sessions are held cheaply, and the cap of one address does not touch another's.
#[tokio::test]
async fn an_address_with_all_its_sessions_is_turned_away_and_another_is_not() {
    let doors = Doors::open().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(doors.greeted().await);
    }
    let mut beyond = Raw::connect(doors.submission()).await;
    assert_eq!(beyond.rest().await, "421 4.7.0 Too many connections, try later\r\n");
    let mut other = Raw::from("127.0.0.2", doors.submission()).await;
    assert_eq!(other.ask("").await, GREETING);
    drop(idle);
    doors.close().await;
}

#[tokio::test]
async fn a_drain_tells_idle_sessions_and_finishes_mail() {
    let doors = Doors::open().await;
    let mut idle = doors.encrypted().await;
    let mut busy = doors.logged_in().await;
    busy.ask_all(&["MAIL FROM:<a@acme.example>", "RCPT TO:<ann@example.net>", "DATA"]).await;
    let Doors { app, directory, .. } = doors;
    let draining = tokio::spawn(app.drain());
    assert_eq!(idle.rest().await, "421 4.3.2 Shutting down, try again\r\n");
    let id = queued(&busy.ask(format!("{TEXT}\r\n.\r\n")).await);
    assert_eq!(busy.rest().await, "421 4.3.2 Shutting down, try again\r\n");
    let database = draining.await.expect("drained");
    let again = TestApp::builder().on(&database).start().await;
    again.client.ended(&id).await;
    drop(directory);
    again.stop().await;
}
