//! TLS and credentials towards relays: what is demanded, what is recorded, and what is never said in clear (T4).

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::support::client::statuses;
use crate::support::program::{Program, Settings};
use crate::support::sink::{Identity, Step, expired, raw, reply, self_signed};

const USER: &str = "postroad";
const PASSWORD: &str = "correct horse";

fn mode(sink: &SmtpSink, tls: &str) -> String {
    format!("smtp://{}?tls={tls}", sink.address())
}

fn tls_of(message: &Value) -> String {
    attempts(message)
        .last()
        .and_then(|attempt| attempt.pointer("/smtp/tls")?.as_str().map(str::to_owned))
        .unwrap_or_default()
}

async fn through(url: &str) -> TestApp {
    TestApp::builder().set("POSTROAD_ROUTE", url).start().await
}

/// The real program, which trusts this certificate and no other.
struct Trusting {
    node: Program,
    _directory: tempfile::TempDir,
    _database: crate::support::database::TestDatabase,
}

async fn trusting(identity: &Identity, url: &str) -> Trusting {
    let directory = tempfile::tempdir().expect("a directory");
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, &identity.pem).expect("written");
    let database = crate::support::database::TestDatabase::fresh().await;
    let settings = Settings::embedded(directory.path()).database(&database.url).set("POSTROAD_ROUTE", url);
    let node = settings.set("SSL_CERT_FILE", &roots.display().to_string()).start();
    Trusting { node, _directory: directory, _database: database }
}

#[tokio::test]
async fn opportunistic_tls_takes_any_certificate_and_records_what_is_wrong_with_it() {
    for identity in [self_signed("127.0.0.1"), expired("127.0.0.1"), self_signed("other.example")] {
        let sink = SmtpSink::builder().starttls(&identity).start().await;
        let app = through(&mode(&sink, "opportunistic")).await;
        let id = app.client.send_mail(mail("ann@example.net")).await;
        let message = app.client.ended(&id).await;
        assert_eq!(statuses(&message), ["delivered"]);
        let tls = tls_of(&message);
        assert!(tls.starts_with("TLSv1.3 ") && tls.contains("unverified ("), "{tls}");
        app.stop().await;
    }
}

#[tokio::test]
async fn opportunistic_tls_goes_in_clear_where_there_is_none_or_it_fails() {
    let identity = self_signed("127.0.0.1");
    let garbage = SmtpSink::builder().starttls(&identity).on(Step::Handshake, raw("this is no TLS\r\n"));
    let refused =
        SmtpSink::builder().starttls(&identity).on(Step::StartTls, reply("454 4.7.0 not available"));
    for sink in [SmtpSink::builder(), garbage, refused] {
        let sink = sink.start().await;
        let app = through(&mode(&sink, "opportunistic")).await;
        let id = app.client.send_mail(mail("ann@example.net")).await;
        let message = app.client.ended(&id).await;
        assert_eq!((statuses(&message), tls_of(&message)), (vec!["delivered".to_owned()], String::new()));
        app.stop().await;
    }
}

#[tokio::test]
async fn required_tls_says_nothing_of_the_mail_to_a_peer_that_does_not_prove_itself() {
    let unknown = SmtpSink::builder().starttls(&self_signed("127.0.0.1"));
    let late = SmtpSink::builder().starttls(&expired("127.0.0.1"));
    let stripped = SmtpSink::builder();
    let garbage =
        SmtpSink::builder().starttls(&self_signed("127.0.0.1")).on(Step::Handshake, raw("no TLS\r\n"));
    for sink in [unknown, late, stripped, garbage] {
        let sink = sink.start().await;
        let app = through(&mode(&sink, "required")).await;
        let id = app.client.send_mail(mail("ann@example.net")).await;
        let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
        assert!(last_told(&message).starts_with("deferred "), "{}", last_told(&message));
        let words = words(&attempts(&message)[0]);
        assert!(words.contains("TLS is required"), "{words}");
        assert!(!sink.story().contains("MAIL FROM"), "{}", sink.story());
        app.stop().await;
    }
}

#[tokio::test]
async fn required_and_implicit_tls_deliver_to_a_peer_that_proves_itself() {
    let identity = self_signed("127.0.0.1");
    let starttls = SmtpSink::builder().starttls(&identity).start().await;
    let implicit = SmtpSink::builder().implicit_tls(&identity).start().await;
    for (sink, url) in [
        (&starttls, mode(&starttls, "required")),
        (&implicit, format!("smtps://{}", implicit.address())),
        (&starttls, mode(&starttls, "opportunistic")),
    ] {
        let trusting = trusting(&identity, &url).await;
        let id = trusting.node.client.send_mail(mail("ann@example.net")).await;
        let message = trusting.node.client.ended(&id).await;
        assert_eq!(statuses(&message), ["delivered"], "{url}: {}", sink.story());
        assert!(tls_of(&message).ends_with(" verified"), "{url}: {}", tls_of(&message));
    }
}

// RFC 3207 §4.2: what is said in clear before the handshake counts for nothing after it (CVE-2011-0411).
#[tokio::test]
async fn replies_injected_before_the_handshake_are_not_believed() {
    // In one segment: what comes later falls into the handshake, and breaks that. The sink goes on by the last code.
    let injected = raw("220 2.0.0 go ahead\r\n250 2.0.0 injected\r\n220 2.0.0 injected\r\n");
    let identity = self_signed("127.0.0.1");
    let sink = SmtpSink::builder().starttls(&identity).on(Step::StartTls, injected).start().await;
    let trusting = trusting(&identity, &mode(&sink, "required")).await;
    let client = &trusting.node.client;

    let id = client.send_mail(mail("ann@example.net")).await;

    let message = client.until(&id, |message| !attempts(message).is_empty()).await;
    assert!(last_told(&message).starts_with("deferred "), "{}", last_told(&message));
    assert!(!sink.story().contains("MAIL FROM"), "{}", sink.story());
}

#[tokio::test]
async fn a_password_is_shown_over_tls_by_the_mechanism_the_relay_offers() {
    let identity = self_signed("127.0.0.1");
    for mechanism in ["PLAIN", "LOGIN"] {
        let sink = SmtpSink::builder().starttls(&identity).auth([mechanism], USER, PASSWORD).start().await;
        let url = format!("smtp://{USER}:correct%20horse@{}", sink.address());
        let trusting = trusting(&identity, &url).await;
        let id = trusting.node.client.send_mail(mail("ann@example.net")).await;
        assert_eq!(statuses(&trusting.node.client.ended(&id).await), ["delivered"], "{}", sink.story());
        let [said] = sink.credentials().try_into().expect("once");
        assert_eq!(
            (said.mechanism.as_str(), said.user.as_str(), said.secret.as_str()),
            (mechanism, USER, PASSWORD)
        );
    }
}

#[tokio::test]
async fn refused_credentials_lose_no_mail() {
    let identity = self_signed("127.0.0.1");
    let sink = SmtpSink::builder().starttls(&identity).auth(["PLAIN"], USER, "changed since").start().await;
    let url = format!("smtp://{USER}:correct%20horse@{}", sink.address());
    let trusting = trusting(&identity, &url).await;

    let id = trusting.node.client.send_mail(mail("ann@example.net")).await;

    let message = trusting.node.client.until(&id, |message| !attempts(message).is_empty()).await;
    assert!(
        last_told(&message).starts_with("deferred ") && last_told(&message).contains(" auth 535"),
        "{}",
        last_told(&message)
    );
    assert!(!trusting.node.log_text().contains("correct horse"), "no secret in the log");
}

// T4
#[tokio::test]
async fn credentials_are_never_said_in_clear() {
    // Stripped of STARTTLS by somebody on the way.
    let sink = SmtpSink::builder().auth(["PLAIN", "LOGIN", "XOAUTH2"], USER, PASSWORD).start().await;
    for tls in ["required", "opportunistic"] {
        let url = format!("smtp://{USER}:correct%20horse@{}?tls={tls}", sink.address());
        let app = through(&url).await;
        let id = app.client.send_mail(mail("ann@example.net")).await;
        let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
        assert!(last_told(&message).starts_with("deferred "), "{}", last_told(&message));
        assert!(sink.credentials().is_empty() && !sink.story().contains("AUTH PLAIN "), "{}", sink.story());
        app.stop().await;
    }
}

/// A token endpoint (RFC 6749) that gives tokens in turn and remembers what it was asked.
#[derive(Clone, Default)]
struct Endpoint {
    asked: Arc<Mutex<Vec<HashMap<String, String>>>>,
}

impl Endpoint {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let router = Router::new().route("/token", post(Endpoint::give)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/token")
    }

    async fn give(State(endpoint): State<Endpoint>, form: String) -> (StatusCode, String) {
        let mut asked = endpoint.asked.lock().expect("nobody panics with it");
        asked.push(url::form_urlencoded::parse(form.as_bytes()).into_owned().collect());
        // Lives for less than the margin after which a token is fetched anew.
        let life = if asked.len() == 1 { 30 } else { 3600 };
        let body = format!(
            r#"{{"access_token": "token-{}", "token_type": "Bearer", "expires_in": {life}}}"#,
            asked.len()
        );
        (StatusCode::OK, body)
    }

    fn asked(&self) -> Vec<HashMap<String, String>> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

#[tokio::test]
async fn a_bearer_token_is_fetched_kept_and_fetched_again_before_it_expires() {
    let identity = self_signed("127.0.0.1");
    let endpoint = Endpoint::default();
    let token_url = endpoint.start().await;
    let sink = SmtpSink::builder().starttls(&identity).auth(["XOAUTH2"], USER, "token-1").start().await;
    let url = format!(
        "smtp://{USER}@{}?auth=xoauth2&token_url={}&client_id=i&client_secret=s&refresh_token=r&connections=1",
        sink.address(),
        token_url.replace(':', "%3A").replace('/', "%2F"),
    );
    let trusting = trusting(&identity, &url).await;
    let client = &trusting.node.client;

    let id = client.send_mail(mail("ann@example.net")).await;
    assert_eq!(statuses(&client.ended(&id).await), ["delivered"], "{}", sink.story());
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 1);
    let field = |name: &str| asked[0].get(name).map(String::as_str);
    assert_eq!(
        (field("grant_type"), field("refresh_token"), field("client_id")),
        (Some("refresh_token"), Some("r"), Some("i"))
    );
    assert_eq!(sink.credentials()[0].secret, "token-1");
    assert!(!trusting.node.log_text().contains("token-1"), "no secret in the log");
}

#[tokio::test]
async fn a_token_that_cannot_be_had_defers_the_mail() {
    let identity = self_signed("127.0.0.1");
    let sink = SmtpSink::builder().starttls(&identity).auth(["XOAUTH2"], USER, "token-1").start().await;
    let url = format!(
        "smtp://{USER}@{}?auth=xoauth2&token_url=http%3A%2F%2F127.0.0.1%3A1%2Ftoken&client_id=i&client_secret=s",
        sink.address()
    );
    let app = through(&url).await;

    let id = app.client.send_mail(mail("ann@example.net")).await;

    let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
    assert!(last_told(&message).starts_with("deferred "), "{}", last_told(&message));
    assert!(words(&attempts(&message)[0]).contains("token"), "{}", words(&attempts(&message)[0]));
    app.stop().await;
}
