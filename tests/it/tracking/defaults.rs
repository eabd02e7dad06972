//! What is watched of mail that does not say, and where its links lead: a mail's own word stands over its stream's, and
//! that over its sender domain's; links lead over the sender's own host if that leads to us.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{PATIENCE, html, mail};
use crate::support::app::TestApp;
use crate::support::client::text;
use crate::support::dns::DnsServer;
use crate::support::domains::{publish, records};
use crate::support::sink::SmtpSink;

const HTML: &str = "<p><a href=\"https://shop.example/\">Shop</a></p>";

/// Sends a mail with these changes; gives the HTML that arrives.
async fn arrives(app: &TestApp, sink: &SmtpSink, changes: Value) -> String {
    let before = sink.received().len();
    let mut body = mail("ann@example.net");
    body["html"] = HTML.into();
    for (name, value) in changes.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let id = app.client.send_mail(body).await;
    app.client.ended(&id).await;
    html(&sink.wait_for(before + 1, PATIENCE).await[before].text)
}

#[tokio::test]
async fn a_mails_own_word_stands_over_its_streams_and_that_over_its_domains() {
    let dns = DnsServer::start().await;
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().dns(&dns).relay(sink.address().port()).start().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let path = format!("/v1/domains/{}", text(&domain, "/id"));
    assert_eq!(domain["tracking"], json!({ "opens": false, "clicks": false }));
    let watched = |html: &str| (html.contains("/t/o/"), html.contains("/t/c/"));

    assert_eq!(watched(&arrives(&app, &sink, json!({})).await), (false, false), "nobody has said anything");
    let changed = app.client.patch(&path, json!({ "tracking": { "opens": true } })).await;
    assert_eq!(changed.body["tracking"], json!({ "opens": true, "clicks": false }));
    assert_eq!(watched(&arrives(&app, &sink, json!({})).await), (true, false), "the domain's");
    let off = json!({ "tracking": { "opens": false, "clicks": false } });
    assert_eq!(watched(&arrives(&app, &sink, off).await), (false, false), "the mail's own");

    let undecided = app.client.post("/v1/streams", json!({ "name": "plain" })).await;
    assert_eq!((undecided.status, &undecided.body["tracking"]), (StatusCode::CREATED, &Value::Null));
    let clicks = json!({ "name": "news", "tracking": { "clicks": true } });
    assert_eq!(app.client.post("/v1/streams", clicks).await.status, StatusCode::CREATED);
    let never = json!({ "name": "quiet", "tracking": { "opens": false } });
    assert_eq!(app.client.post("/v1/streams", never).await.status, StatusCode::CREATED);
    // Streams are known within a second; the last one made is known last.
    let began = std::time::Instant::now();
    while watched(&arrives(&app, &sink, json!({ "stream": "quiet" })).await) != (false, false) {
        assert!(began.elapsed() < PATIENCE, "the stream decides");
    }
    assert_eq!(watched(&arrives(&app, &sink, json!({ "stream": "news" })).await), (false, true));
    assert_eq!(watched(&arrives(&app, &sink, json!({ "stream": "plain" })).await), (true, false));
    let own = json!({ "stream": "news", "tracking": { "opens": true, "clicks": false } });
    assert_eq!(watched(&arrives(&app, &sink, own).await), (true, false));
    app.stop().await;
}

#[tokio::test]
async fn links_lead_over_the_senders_own_host_once_that_leads_to_us() {
    let dns = DnsServer::start().await;
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder()
        .dns(&dns)
        .relay(sink.address().port())
        .set("POSTROAD_PUBLIC_URL", "https://m.host.example")
        .start()
        .await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let both = json!({ "tracking": { "opens": true, "clicks": true } });
    let before = arrives(&app, &sink, both.clone()).await;
    assert_eq!(before.matches("https://m.host.example/t/").count(), 2, "{before}");

    publish(&dns, &records(&domain, "tracking")[0]);
    app.client.verify_domain(&domain).await;
    let after = arrives(&app, &sink, both.clone()).await;
    assert_eq!(after.matches("https://track.acme.example/t/").count(), 2, "{after}");
    let link = after.split('"').find(|part| part.contains("/t/c/")).expect("a link");
    let path = link.strip_prefix("https://track.acme.example").expect("its host");
    let visitor = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let request = visitor.build().expect("a client").get(format!("{}{path}", app.client.url()));
    let answer = request.header("host", "track.acme.example").send().await.expect("answered");
    assert_eq!(answer.headers()["location"], "https://shop.example/");

    dns.clear("track.acme.example");
    app.client.verify_domain(&domain).await;
    let gone = arrives(&app, &sink, both).await;
    assert_eq!(gone.matches("https://m.host.example/t/").count(), 2, "{gone}");
    app.stop().await;
}

#[tokio::test]
async fn without_a_public_url_links_lead_to_the_port_that_was_found() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;
    let html = arrives(&app, &sink, json!({ "tracking": { "opens": true, "clicks": true } })).await;
    assert_eq!(html.matches(&format!("{}/t/", app.client.url())).count(), 2, "{html}");
    app.stop().await;
}
