//! TLS: which versions, whose certificate, and that it is renewed while sessions go on (security 5.12).

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_renewed_certificate_serves_new_sessions_and_leaves_open_ones_alone() {
    let doors = Doors::open().await;
    let mut open = doors.logged_in().await;
    // Half of a pair: it fits nothing, and changes nothing.
    let old_key = std::fs::read(doors.directory.path().join("key.pem")).expect("read");
    let renewed = renew(&doors.directory);
    let new_key = std::fs::read(doors.directory.path().join("key.pem")).expect("read");
    std::fs::write(doors.directory.path().join("key.pem"), old_key).expect("written");
    std::fs::write(doors.directory.path().join("key.pem"), new_key).expect("written");
    let began = Instant::now();
    loop {
        let client = Raw::connect(doors.submissions()).await;
        if let Ok(mut client) = client.try_encrypt(&renewed).await {
            assert_eq!(client.ask("").await, GREETING);
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the old certificate is still shown");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    queued(&open.mail("a@acme.example", &["ann@example.net"], TEXT).await);
    doors.close().await;
}

#[tokio::test]
async fn a_certificate_is_made_once_if_none_is_given() {
    let app = TestApp::builder().set("POSTROAD_SUBMISSIONS_ADDR", "127.0.0.1:0").start().await;
    let address = app.server().ports().submissions.expect("it is open");
    let directory = app.data_directory().to_owned();
    let pem = std::fs::read(directory.join("tls-certificate.pem")).expect("made");
    let root = {
        use rustls::pki_types::pem::PemObject;
        CertificateDer::from_pem_slice(&pem).expect("PEM")
    };
    let mut client = Raw::connect(address).await.encrypt(&root).await;
    assert_eq!(client.ask("").await, GREETING);
    let mode = {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(directory.join("tls-key.pem")).expect("made").permissions().mode()
    };
    assert_eq!(mode & 0o077, 0, "nobody else reads the key");
    drop(client);
    app.stop().await;
}

/// What openssl makes of an address with these options; the first is how it is to begin.
async fn openssl(address: SocketAddr, options: &[&str]) -> bool {
    let target = address.to_string();
    let arguments = [&["s_client", "-connect", &target, "-brief"][..], options].concat();
    let output = super::clients::run_with("openssl", &arguments, "QUIT\r\n").await;
    output.status.success()
}

#[tokio::test]
async fn nothing_older_than_tls_1_2_is_spoken() {
    let doors = Doors::open().await;
    for (option, spoken) in [("-tls1_2", true), ("-tls1_3", true), ("-tls1_1", false), ("-tls1", false)] {
        let weak = [option, "-cipher", "ALL:@SECLEVEL=0"];
        let options = if spoken { &[option][..] } else { &weak[..] };
        assert_eq!(openssl(doors.submissions(), options).await, spoken, "{option}, implicit");
        let starttls = [options, &["-starttls", "smtp"]].concat();
        assert_eq!(openssl(doors.submission(), &starttls).await, spoken, "{option}, STARTTLS");
    }
    for cipher in ["RC4", "3DES", "NULL", "aNULL", "EXPORT", "kRSA"] {
        let options = ["-tls1_2", "-cipher", &format!("{cipher}:@SECLEVEL=0")];
        assert!(!openssl(doors.submissions(), &options).await, "{cipher}");
    }
    doors.close().await;
}

#[tokio::test]
async fn the_api_answers_over_tls_with_the_same_certificate() {
    let doors = Doors::of(TestApp::builder().set("POSTROAD_HTTPS_ADDR", "127.0.0.1:0")).await;
    let address = doors.app.server().ports().https.expect("it is open");
    let trusting = |root: &CertificateDer<'static>| {
        let root = reqwest::Certificate::from_der(root).expect("a certificate");
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
        http.resolve("localhost", address).build().expect("a client")
    };
    let http = trusting(&doors.root);
    let url = format!("https://localhost:{}/v1/messages", address.port());
    let body = crate::support::client::mail("ann@example.net");
    let answer = http.post(&url).bearer_auth(KEY).json(&body).send().await.expect("answered");
    assert_eq!(answer.status(), reqwest::StatusCode::ACCEPTED);
    let plain = http.get(url.replace("https", "http")).send().await;
    assert!(plain.is_err(), "in clear it is not spoken there");
    // And with the one that it is renewed by.
    let http = trusting(&renew(&doors.directory));
    let began = Instant::now();
    while http.get(&url).bearer_auth(KEY).send().await.is_err() {
        assert!(began.elapsed() < PATIENCE, "the old certificate is still shown");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    doors.close().await;
}

#[tokio::test]
async fn the_door_for_the_world_offers_tls_and_no_logins() {
    let doors = Doors::of(TestApp::builder().set("POSTROAD_MX_ADDR", "127.0.0.1:0")).await;
    let mut client = Raw::connect(doors.app.server().mx_addr().expect("it is open")).await;
    assert_eq!(client.ask("").await, GREETING);
    let offered = client.lines("EHLO client.test\r\n").await;
    assert!(offered.contains(&"250-STARTTLS".to_owned()), "{offered:?}");
    let mut client = client.starttls(&doors.root).await;
    let offered = client.lines("EHLO client.test\r\n").await;
    let is_ours = |line: &String| line.contains("AUTH") || line.contains("DSN") || line.contains("STARTTLS");
    assert!(!offered.iter().any(is_ours), "{offered:?}");
    assert_eq!(client.log_in(KEY).await, "502 5.5.1 Not offered here");
    let said = client.mail("zoe@example.net", &["postmaster@mail.postroad.test"], TEXT).await;
    assert_eq!(said, "250 2.0.0 Ok: taken");
    let kept = "SELECT tls || ' ' || convert_from(raw, 'UTF8') FROM inbound";
    let kept = doors.app.database.texts(kept).await.remove(0);
    assert!(kept.starts_with("TLSv1_3 "), "{kept}");
    assert!(kept.contains("with ESMTPS\r\n\t(TLSv1_3 "), "{kept}");
    assert_eq!(
        client.ask("MAIL FROM:<a@acme.example> RET=FULL\r\n").await,
        "555 5.5.4 Parameter not offered here"
    );
    doors.close().await;
}
