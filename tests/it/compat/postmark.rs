//! Postmark: its Node client, postmarker, and its words.

use reqwest::Method;
use serde_json::{Value, json};

use super::clients::{assert_whole, run};
use super::matrix::Row;
use super::{ask, id_of};
use crate::support::app::{KEY, TestApp};
use crate::support::captured::field;
use crate::support::client::text;
use crate::tracking;

/// What is shown of it in `docs/compatibility.md`.
pub const ROWS: &[Row] = &[
    Row::yes(
        "One mail: addresses with names, Cc, Bcc, ReplyTo, text, HTML, headers, files, inline pictures",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes(
        "Tag, Metadata, MessageStream, TrackOpens, TrackLinks",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes(
        "Batches, each mail for itself; templates by alias or number",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes(
        "Suppressions, templates, messages, bounces, server, stats",
        "its_node_client_finds_what_is_around_the_send",
    ),
    Row::yes("Opens and clicks, of all mails or of one", "its_node_client_finds_opens_and_clicks"),
    Row::yes("Domains: made, verified, keys renewed", "its_node_client_finds_what_is_around_the_send"),
    Row::yes("Mustachio: sections, what is missing is empty", "its_node_client_sends_everything_it_can"),
    Row::yes("Inactive recipients, invalid addresses, wrong keys", "its_node_client_understands_refusals"),
    Row::yes("ErrorCodes", "errors_have_its_numbers"),
    Row::yes(
        "Explicit nulls and trailing slashes (postmarker)",
        "postmarker_sends_nulls_and_trailing_slashes",
    ),
    Row::ignored("InlineCss (always done), unknown fields", "as there"),
];

#[tokio::test]
async fn its_node_client_sends_everything_it_can() {
    let app = TestApp::start().await;
    let out = run(&app, "postmark.cjs", &[], &[]).await;
    assert_eq!((&out["whole"]["ErrorCode"], &out["whole"]["Message"]), (&json!(0), &json!("OK")));
    assert_eq!(out["whole"]["To"], "Ann Ä <ann@example.net>", "as it was given");
    let whole = id_of(&text(&out, "/whole/MessageID"));
    assert_whole(&app, &whole).await;
    let shown = app.client.get(&format!("/v1/messages/{whole}")).await.body;
    assert_eq!((&shown["tags"], &shown["metadata"]), (&json!(["welcome"]), &json!({ "order": "7" })));
    let codes = |name: &str| -> Vec<i64> {
        out[name].as_array().expect("a list").iter().filter_map(|item| item["ErrorCode"].as_i64()).collect()
    };
    assert_eq!((codes("batch"), codes("templateBatch")), (vec![0, 300, 0], vec![0, 1101]));
    for name in ["byAlias", "byId"] {
        let raw = app.client.only_arrived(&id_of(&text(&out[name], "/MessageID"))).await;
        assert_eq!(field(&raw, "Subject"), "Hi Ann", "{name}");
    }
    // Mustachio's sections, and what is missing left empty.
    let sections = super::clients::by_recipient(&app, &id_of(&text(&out, "/sections/MessageID"))).await;
    assert_eq!(super::clients::text_of(&sections[0].1), "Acme, nobody");
    app.stop().await;
}

#[tokio::test]
async fn its_node_client_finds_what_is_around_the_send() {
    let app = TestApp::start().await;
    // Below its name, as clients do whose host takes a path.
    let out = run(&app, "postmark.cjs", &[], &[("POSTROAD_PREFIX", "/compat/postmark")]).await;
    assert_eq!(out["templates"], json!(["welcome"]));
    assert_eq!(
        (&out["template"]["Subject"], &out["template"]["Alias"]),
        (&json!("Hi {{name}}"), &json!("welcome"))
    );
    assert_eq!(out["suppressed"]["Suppressions"][0]["Status"], "Suppressed");
    assert_eq!(out["suppressions"], json!([["gone@example.net", "ManualSuppression"]]));
    assert_eq!(out["unsuppressed"]["Suppressions"][0]["Status"], "Deleted");
    assert_eq!(out["messages"], json!(["Grüße"]));
    assert_eq!(out["details"]["TextBody"].as_str().map(str::trim_end), Some("Hallo Ann"));
    assert_eq!(
        (&out["server"], &out["bounces"], &out["deleted"]["ErrorCode"]),
        (&json!(1), &json!(0), &json!(0))
    );
    assert!(out["stats"].as_i64() > Some(0));
    assert_eq!(out["domain"], json!(["pm.example", "returns.pm.example", false, "Pending", true]));
    assert_eq!((&out["verified"], &out["read"]), (&json!(false), &json!(true)));
    assert!(out["domains"].as_array().is_some_and(|all| all.contains(&json!("pm.example"))));
    assert_eq!((&out["again"]["code"], &out["noDomain"]["code"]), (&json!(504), &json!(510)));
    assert_eq!(out["goneDomain"]["ErrorCode"], 0);
    app.stop().await;
}

#[tokio::test]
async fn its_node_client_finds_opens_and_clicks() {
    let app = TestApp::builder().set("POSTROAD_PUBLIC_URL", tracking::BASE).start().await;
    let mail = json!({
        "From": "hello@acme.example", "To": "ann@example.net", "Subject": "Hello", "Tag": "seen", "MessageStream": "outbound",
        "HtmlBody": "<p><a href=\"https://shop.example/\">Shop</a></p>", "TrackOpens": true, "TrackLinks": "HtmlAndText",
    });
    let sent = ask(&app, Method::POST, "/email", &[("x-postmark-server-token", KEY)], mail).await;
    let uuid = text(&sent.body, "/MessageID");
    let raw = app.client.only_arrived(&id_of(&uuid)).await;
    // Whoever comes within moments of the delivery is taken for a scanner.
    app.database.change("UPDATE outcomes SET at = at - interval '1 hour'").await;
    let (links, pixel) = tracking::marks(&tracking::html(&raw));
    let visitor = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let visitor = visitor.build().expect("a client");
    for url in [&pixel, &links[0]] {
        let path = url.strip_prefix(tracking::BASE).expect("it leads through us");
        let request = visitor.get(format!("{}{path}", app.client.url()));
        request.header("user-agent", tracking::FIREFOX).send().await.expect("answered");
    }
    tracking::events(&app, &id_of(&uuid), 2).await;

    let out = run(&app, "postmark_visits.cjs", &[&uuid], &[]).await;
    assert_eq!(
        (&out["opens"]["TotalCount"], &out["clicks"]["TotalCount"]),
        (&json!(1), &json!(1)),
        "{out:#}"
    );
    assert_eq!((&out["opensOfOne"], &out["clicksOfOne"]), (&out["opens"], &out["clicks"]));
    let (open, click) = (&out["opens"]["Opens"][0], &out["clicks"]["Clicks"][0]);
    assert_eq!((&open["FirstOpen"], &open["Recipient"]), (&json!(true), &json!("ann@example.net")));
    assert_eq!(
        (&click["OriginalLink"], &click["ClickLocation"]),
        (&json!("https://shop.example/"), &json!("HTML"))
    );
    for seen in [open, click] {
        assert_eq!((&seen["MessageID"], &seen["Tag"]), (&json!(uuid), &json!("seen")));
        assert_eq!(
            (&seen["Client"]["Family"], &seen["MessageStream"]),
            (&json!("Firefox"), &json!("outbound"))
        );
    }
    assert_eq!((&out["others"], &out["nobody"]), (&json!(0), &json!(0)));
    assert_eq!(out["unknown"], json!(404));
    app.stop().await;
}

#[tokio::test]
async fn its_node_client_understands_refusals() {
    let app = TestApp::start().await;
    let out = run(&app, "postmark.cjs", &[], &[]).await;
    let inactive = &out["inactive"];
    assert_eq!((&inactive["name"], &inactive["code"]), (&json!("InactiveRecipientsError"), &json!(406)));
    assert_eq!(
        inactive["recipients"],
        json!(["gone@example.net"]),
        "the client takes them out of the sentence"
    );
    let partly = text(&out, "/partly/Message");
    assert!(
        partly
            .starts_with("Message OK, but will not deliver to these inactive addresses: gone@example.net. ")
    );
    assert_eq!((&out["badTo"]["code"], &out["badTo"]["status"]), (&json!(300), &json!(422)));
    assert_eq!(out["badTo"]["message"], "Invalid 'To' address: 'nobody'.");
    assert_eq!(out["noBody"]["message"], "Provide either email TextBody or HtmlBody or both.");
    assert_eq!(
        (&out["wrongKey"]["name"], &out["wrongKey"]["code"]),
        (&json!("InvalidAPIKeyError"), &json!(10))
    );
    app.stop().await;
}

#[tokio::test]
async fn postmarker_sends_nulls_and_trailing_slashes() {
    let app = TestApp::start().await;
    let out = run(&app, "postmarker_client.py", &[], &[]).await;
    app.client.only_arrived(&id_of(&text(&out, "/one/MessageID"))).await;
    assert_eq!(out["batch"].as_array().map(Vec::len), Some(2));
    assert_eq!(out["bad_to"]["code"], 300);
    app.stop().await;
}

#[tokio::test]
async fn errors_have_its_numbers() {
    let app = TestApp::builder().set("POSTROAD_SENDER_POLICY", "verified").start().await;
    let headers = [("x-postmark-server-token", KEY)];
    let mail = json!({ "From": "a@other.example", "To": "b@example.net", "TextBody": "x" });
    let said = ask(&app, Method::POST, "/email", &headers, mail.clone()).await;
    assert_eq!((said.status, &said.body["ErrorCode"]), (422, &json!(400)), "{:#}", said.body);
    let with = |name: &str, value: Value| {
        let mut mail = mail.clone();
        mail[name] = value;
        mail
    };
    let many: Vec<String> = (0..51).map(|n| format!("a{n}@example.net")).collect();
    let cases = [
        ("/email", json!({ "To": "b@example.net", "TextBody": "x" }), 422, 300),
        ("/email/", with("To", json!("")), 422, 300),
        ("/email", with("To", json!(many.join(","))), 422, 300),
        ("/email", with("MessageStream", json!("No Stream")), 422, 1235),
        ("/email/withTemplate", with("TemplateAlias", json!("none")), 422, 300),
        ("/email", with("Attachments", json!([{ "Name": "a", "Content": "?" }])), 422, 300),
        ("/email", json!("{"), 422, 402),
        ("/email/batch", json!({}), 422, 402),
        ("/compat/postmark/email/nothing", json!({}), 404, 404),
    ];
    for (path, body, status, code) in cases {
        let said = ask(&app, Method::POST, path, &headers, body.clone()).await;
        assert_eq!(
            (said.status, &said.body["ErrorCode"]),
            (status, &json!(code)),
            "{path} {body}: {:#}",
            said.body
        );
    }
    let too_many = Value::Array((0..501).map(|_| json!({})).collect());
    let said = ask(&app, Method::POST, "/email/batch", &headers, too_many).await;
    assert_eq!((said.status, &said.body["ErrorCode"]), (422, &json!(410)));
    let said = ask(&app, Method::POST, "/email", &[], json!({})).await;
    assert_eq!((said.status, &said.body["ErrorCode"]), (401, &json!(10)));
    app.stop().await;
}
