//! What pages do, over HTTP as a browser sends it: each page's main act, errors that keep what was typed, and whose
//! things they are.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::client::{mail, text};
use crate::support::dns::DnsServer;
use crate::support::domains::publish_required;
use crate::webhooks::receiver::Receiver;

use super::person::Page;

fn assert_led(page: &Page, to: &str) {
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, to), "{}", page.text);
}

#[tokio::test]
async fn a_domain_is_added_explained_and_verified() {
    let dns = DnsServer::start().await;
    let app = TestApp::builder().dashboard().dns(&dns).start().await;
    let mut ann = app.admin().await;
    let page = ann
        .post_from("/ui/domains", "/ui/domains", &[("name", "not a domain"), ("return_path", "bounce")])
        .await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        page.text.contains("value=\"not a domain\"") && page.text.contains("aria-invalid"),
        "{}",
        page.text
    );

    let page = ann
        .post_from("/ui/domains", "/ui/domains", &[("name", "acme.example"), ("return_path", "bounce")])
        .await;
    let path = page.location().to_owned();
    let page = ann.get(&path).await;
    assert!(page.text.contains("bounce.acme.example") && page.text.contains(">pending<"), "{}", page.text);
    let verify = format!("{path}/verify");
    assert_led(&ann.post_from(&path, &verify, &[]).await, &format!("{path}?done=unverified"));

    let domain = &app.client.get("/v1/domains").await.list("/data")[0];
    publish_required(&dns, domain);
    let page = ann.post_from(&path, &verify, &[]).await;
    assert_led(&page, &format!("{path}?done=verified"));
    let page = ann.get(&format!("{path}?done=verified")).await;
    assert!(
        page.text.contains("the domain is verified") && page.text.contains(">verified<"),
        "{}",
        page.text
    );

    // A message tells what its domain proves.
    let id = app.client.send_mail(mail("delivered@simulator.postroad.test")).await;
    let page = ann.get(&format!("/ui/messages/{id}")).await;
    assert!(page.text.contains(&format!("<a href=\"{path}\">acme.example</a>")), "{}", page.text);

    assert_led(&ann.post_from(&path, &format!("{path}/pause"), &[]).await, &format!("{path}?done=paused"));
    assert_led(
        &ann.post_from(&path, &format!("{path}/pause"), &[("resume", "on")]).await,
        &format!("{path}?done=resumed"),
    );
    assert_led(&ann.post_from(&path, &format!("{path}/delete"), &[]).await, "/ui/domains?done=deleted");
    assert_eq!(app.client.get("/v1/domains").await.list("/data"), [json!(null); 0]);
    app.stop().await;
}

#[tokio::test]
async fn a_key_is_shown_once_and_revoked_and_the_log_names_the_person() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let fields = [
        ("name", "shop <1>"),
        ("scopes", "send"),
        ("domains", "acme.example, shop.example"),
        ("rate_per_second", "9"),
    ];
    let page = ann.post_from("/ui/keys", "/ui/keys", &fields).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let secret = page.find(r#"id="secret">([^<]+)<"#);
    assert!(!ann.get("/ui/keys").await.text.contains(&secret), "a key is shown once");
    let shop = app.client.with_key(&secret);
    assert_eq!(shop.post("/v1/messages", mail("ann@example.net")).await.status, StatusCode::ACCEPTED);
    let keys = app.client.get("/v1/keys").await.list("/data");
    let key = keys.iter().find(|key| key["name"] == "shop <1>").expect("the key");
    assert_eq!(
        (&key["domains"], &key["rate_per_second"]),
        (&json!(["acme.example", "shop.example"]), &json!(9))
    );

    let revoke = format!("/ui/keys/{}/revoke", text(key, "/id"));
    assert_led(&ann.post_from("/ui/keys", &revoke, &[]).await, "/ui/keys?done=revoked");
    let actors = "SELECT DISTINCT left(actor, 5) FROM audit_log WHERE action IN ('key.create', 'key.revoke') AND ip IS NOT NULL";
    assert_eq!(app.database.texts(actors).await, ["user_"]);

    let page =
        ann.post_from("/ui/keys", "/ui/keys", &[("name", "nothing"), ("rate_per_second", "many")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("at least one of send, read"), "{}", page.text);
    assert!(
        page.text.contains("value=\"many\"") && page.text.contains("a whole number from 1"),
        "{}",
        page.text
    );
    app.stop().await;
}

#[tokio::test]
async fn a_message_is_found_by_whatever_is_known_of_it() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let mut body = mail("delivered@simulator.postroad.test");
    body["tags"] = json!(["welcome"]);
    body["subject"] = json!("100% yours");
    let id = app.client.send_mail(body).await;
    let other = app.client.send_mail(mail("bounced@simulator.postroad.test")).await;
    app.client.ended(&id).await;
    app.client.ended(&other).await;
    let delivery = text(&app.client.get(&format!("/v1/messages/{id}")).await.body, "/deliveries/0/id");
    for q in [&id, &delivery] {
        assert_led(&ann.get(&format!("/ui/messages?q={q}")).await, &format!("/ui/messages/{id}"));
    }
    for query in [
        "q=Delivered%40simulator.postroad.test",
        "q=100%25",
        "tag=welcome",
        "status=delivered",
        "subject=yours&stream=transactional",
        "to=delivered%40simulator.postroad.test&since=2020-01-01",
    ] {
        let page = ann.get(&format!("/ui/messages?{query}")).await;
        assert!(page.text.contains(&id) && !page.text.contains(&other), "{query}: {}", page.text);
    }
    for query in ["q=100_", "tag=none", "until=2020-01-01", "stream=none", "status=canceled"] {
        let page = ann.get(&format!("/ui/messages?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        assert!(
            !page.text.contains(&id) && page.text.contains("No message is like that"),
            "{query}: {}",
            page.text
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn a_message_is_canceled_sent_again_and_its_recipient_suppressed() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let mut later = mail("ann@example.net");
    let at = app.server().clock().now() + time::Duration::hours(1);
    later["send_at"] = at.format(&time::format_description::well_known::Rfc3339).expect("a time").into();
    let answer = app.client.post("/v1/messages", later).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    let (id, delivery) = (answer.text("/id"), answer.text("/deliveries/0/id"));
    let path = format!("/ui/messages/{id}");
    assert!(ann.get(&path).await.text.contains("It is scheduled, and goes out in"));
    assert_led(&ann.post_from(&path, &format!("{path}/cancel"), &[]).await, &format!("{path}?done=canceled"));
    assert_led(&ann.post_from(&path, &format!("{path}/cancel"), &[]).await, &format!("{path}?done=too-late"));

    let page = ann.post_from(&path, &format!("{path}/resend"), &[]).await;
    let again = page.location().trim_end_matches("?done=sent").trim_start_matches("/ui/messages/").to_owned();
    assert!(page.status == StatusCode::SEE_OTHER && again != id, "{}", page.text);
    assert_eq!(app.client.ended(&again).await["subject"], "Hello");

    let suppress = format!("{path}/suppress");
    let page = ann.post_from(&path, &suppress, &[("delivery", &delivery)]).await;
    assert_led(&page, &format!("{path}?done=suppressed"));
    let listed = app.client.get("/v1/suppressions").await.list("/data");
    assert_eq!(listed.iter().map(|one| text(one, "/email")).collect::<Vec<_>>(), ["ann@example.net"]);
    app.stop().await;
}

#[tokio::test]
async fn a_mail_s_html_can_do_nothing_and_its_files_are_only_saved() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let mut body = mail("ann@example.net");
    body["html"] =
        json!("<h1 onclick=alert(1)>Hi</h1><script>alert(1)</script><img src=\"https://t.example/p.gif\">");
    body["attachments"] =
        json!([{ "filename": "a \"b\".html", "content": "PHNjcmlwdD4=", "content_type": "text/html" }]);
    let id = app.client.send_mail(body).await;
    let shown = ann.get(&format!("/ui/messages/{id}")).await;
    assert!(shown.text.contains(r#"sandbox="""#) && !shown.text.contains("t.example"), "{}", shown.text);
    let html = ann.get(&format!("/ui/messages/{id}/html")).await;
    assert!(html.text.contains("<h1>Hi</h1>"), "{}", html.text);
    for never in ["script", "onclick", "t.example"] {
        assert!(!html.text.contains(never), "{never} in {}", html.text);
    }
    let policy = html.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; img-src data: cid:; style-src 'unsafe-inline'"),
        "{policy}"
    );
    assert!(policy.ends_with("sandbox"), "{policy}");
    let file = ann.get(&format!("/ui/messages/{id}/files/0")).await;
    assert_eq!(file.header("content-type"), "application/octet-stream");
    assert!(
        file.header("content-disposition").starts_with("attachment; filename=\"a _b_.html\""),
        "{:?}",
        file.headers
    );
    assert_eq!(ann.get(&format!("/ui/messages/{id}/files/1")).await.status, StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test]
async fn addresses_are_suppressed_all_or_none_and_taken_off() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let (path, bad) = ("/ui/suppressions", "a@example.net\r\nnonsense");
    let page = ann.post_from(path, path, &[("emails", bad)]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        page.text.contains("nonsense (number 2)") && page.text.contains("a@example.net\nnonsense"),
        "{}",
        page.text
    );
    assert_eq!(app.client.get("/v1/suppressions").await.list("/data").len(), 0);

    let page = ann.post_from(path, path, &[("emails", "a@example.net, b@example.net")]).await;
    assert_led(&page, "/ui/suppressions?done=suppressed");
    let listed = app.client.get("/v1/suppressions?email=a@example.net").await.list("/data");
    let delete = format!("{path}/{}/delete", text(&listed[0], "/id"));
    assert_led(&ann.post_from(path, &delete, &[]).await, "/ui/suppressions?done=unsuppressed");
    assert_eq!(ann.post_from(path, &delete, &[]).await.status, StatusCode::NOT_FOUND);
    let file = ann.get("/ui/suppressions/export").await;
    assert!(file.text.contains("b@example.net") && !file.text.contains("a@example.net"), "{}", file.text);
    app.stop().await;
}

#[tokio::test]
async fn streams_are_described_changed_and_refused_by_name() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let path = "/ui/streams";
    let fields = [
        ("name", "news"),
        ("title", "Our news"),
        ("kind", "broadcast"),
        ("priority", "low"),
        ("opens", "on"),
    ];
    assert_led(&ann.post_from(path, path, &fields).await, "/ui/streams?done=saved");
    let page = ann.post_from(path, path, &fields).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("there is a stream of this name"), "{}", page.text);
    let news = || async {
        let all = app.client.get("/v1/streams").await.list("/data");
        all.into_iter().find(|stream| stream["name"] == "news").expect("the stream")
    };
    assert_eq!(news().await["tracking"], json!({ "opens": true, "clicks": false }));
    let one = format!("{path}/{}", text(&news().await, "/id"));
    let fields = [("title", "News"), ("kind", "broadcast"), ("priority", "normal"), ("clicks", "on")];
    assert_led(&ann.post_from(&one, &one, &fields).await, "/ui/streams?done=saved");
    let changed = news().await;
    assert_eq!((&changed["title"], &changed["priority"]), (&json!("News"), &json!("normal")));
    assert_eq!(changed["tracking"], json!({ "opens": false, "clicks": true }));
    assert_led(
        &ann.post_from(path, "/ui/streams/policy", &[("unknown", "refuse")]).await,
        "/ui/streams?done=saved",
    );
    assert_eq!(app.client.get("/v1/streams/policy").await.body["unknown"], "refuse");
    app.stop().await;
}

#[tokio::test]
async fn a_webhook_is_made_tested_rotated_and_its_events_posted_again() {
    let receiver = Receiver::start().await;
    let app = TestApp::builder().dashboard().set("POSTROAD_WEBHOOK_ALLOW", "127.0.0.0/8").start().await;
    let mut ann = app.admin().await;
    let path = "/ui/webhooks";
    let page = ann.post_from(path, path, &[("url", "ftp://x"), ("description", "kept")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("value=\"kept\""), "{}", page.text);

    let url = receiver.url("/hook");
    let page =
        ann.post_from(path, path, &[("url", &url), ("types", "delivered"), ("types", "bounced")]).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let secret = page.find(r#"id="secret">(whsec_[^<]+)<"#);
    let hook = app.client.get("/v1/webhooks").await.list("/data").remove(0);
    assert_eq!(hook["types"], json!(["bounced", "delivered"]));
    let one = format!("{path}/{}", text(&hook, "/id"));
    assert!(!ann.get(&one).await.text.contains(&secret), "a secret is shown once");
    assert_led(&ann.post_from(&one, &format!("{one}/test"), &[]).await, &format!("{one}?done=posted"));
    assert_eq!(receiver.received().len(), 1);

    let id = app.client.send_mail(mail("delivered@simulator.postroad.test")).await;
    app.client.ended(&id).await;
    receiver.wait_for(2).await;
    let page = ann.get(&one).await;
    let post = page.find(r#"name="post" value="(pst_[^"]+|[a-z]+_[^"]+)""#);
    assert_led(
        &ann.post_from(&one, &format!("{one}/replay"), &[("post", &post)]).await,
        &format!("{one}?done=queued"),
    );
    let received = receiver.wait_for(3).await;
    assert_eq!(
        received[1].header("webhook-id"),
        received[2].header("webhook-id"),
        "a replay is known by its id"
    );

    let rotated = ann.post_from(&one, &format!("{one}/rotate"), &[]).await;
    assert_ne!(rotated.find(r#"id="secret">(whsec_[^<]+)<"#), secret);
    assert_led(&ann.post_from(&one, &one, &[("switch", "on")]).await, &format!("{one}?done=saved"));
    assert_eq!(app.client.get(&format!("/v1/webhooks/{}", text(&hook, "/id"))).await.body["enabled"], false);
    app.stop().await;
}

#[tokio::test]
async fn a_template_s_faults_are_shown_and_its_versions_kept() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let (path, new) = ("/ui/templates", "/ui/templates/new");
    let page = ann
        .post_from(
            new,
            path,
            &[("name", "W"), ("alias", "w"), ("subject", "Hi {{#if"), ("html", "<p>kept</p>")],
        )
        .await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("kept") && page.text.contains("aria-invalid"), "{}", page.text);
    let fields = [
        ("name", "W"),
        ("alias", "w"),
        ("subject", "Hi {{name}}"),
        ("html", "<p>Dear {{name}}</p>"),
        ("publish", "on"),
    ];
    let page = ann.post_from(new, path, &fields).await;
    let one = page.location().trim_end_matches("?done=saved").to_owned();
    let draft =
        [("name", "W"), ("alias", "w"), ("subject", "Hello {{name}}"), ("html", "<p>Dear {{name}}</p>")];
    assert_led(&ann.post_from(&one, &one, &draft).await, &format!("{one}?done=saved"));
    let shown = app.client.get("/v1/templates/w").await;
    assert_eq!((&shown.body["latest_version"], &shown.body["published_version"]), (&json!(2), &json!(1)));
    let publish = format!("{one}/publish");
    assert_led(&ann.post_from(&one, &publish, &[("version", "2")]).await, &format!("{one}?done=published"));

    let preview = |variables: &'static str| {
        [("subject", "Hi"), ("html", "<p>Dear {{name}}</p>"), ("variables", variables)]
    };
    let page = ann.post_from(&one, "/ui/templates/preview", &preview("{\"name\": \"<Ann>\"}")).await;
    assert!(page.text.contains("Dear &lt;Ann&gt;"), "{}", page.text);
    assert!(page.header("content-security-policy").ends_with("sandbox"));
    let page = ann.post_from(&one, "/ui/templates/preview", &preview("{}")).await;
    assert!(page.text.contains("It cannot be shown yet"), "{}", page.text);
    let page = ann.post_from(&one, "/ui/templates/preview", &preview("nonsense")).await;
    assert!(page.text.contains("the variables are no JSON"), "{}", page.text);
    app.stop().await;
}

#[tokio::test]
async fn figures_are_shown_grouped_and_as_a_file() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let mut body = mail("delivered@simulator.postroad.test");
    body["tags"] = json!(["=evil()"]);
    let id = app.client.send_mail(body).await;
    app.client.ended(&id).await;
    let page = ann.get("/ui/stats?group=tag&measure=delivered").await;
    assert!(page.text.contains("Delivered over time") && page.text.contains("=evil()"), "{}", page.text);
    let file = ann.get("/ui/stats.csv?group=tag").await;
    assert!(
        file.header("content-type").starts_with("text/csv") && file.text.contains("evil()"),
        "{}",
        file.text
    );
    let page = ann.get("/ui/stats?from=nonsense").await;
    assert!(
        page.text.contains("a day, such as") && page.text.contains("value=\"nonsense\""),
        "{}",
        page.text
    );
    let overview = ann.get("/ui/").await;
    let delivered = overview.find(r#"data-count="delivered" data-value="(\d+)""#);
    assert_eq!(delivered, "1");
    app.stop().await;
}

#[tokio::test]
async fn mail_is_held_and_goes_on_from_the_settings_and_for_a_site() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let path = "/ui/settings";
    let page =
        ann.post_from(path, "/ui/settings/pauses", &[("domain", "no domain"), ("reason", "kept")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("this is no domain") && page.text.contains("value=\"kept\""), "{}", page.text);
    let page =
        ann.post_from(path, "/ui/settings/pauses", &[("domain", "example.net"), ("reason", "trial")]).await;
    assert_led(&page, "/ui/settings?done=paused");
    assert!(ann.get("/ui/").await.text.contains("one pause holds mail"), "the overview says so");
    let pause = app.client.get("/v1/pauses").await.list("/data").remove(0);
    let resume = format!("/ui/settings/pauses/{}/delete", text(&pause, "/id"));
    assert_led(&ann.post_from(path, &resume, &[]).await, "/ui/settings?done=resumed");
    let page = ann.post_from(path, "/ui/settings/notices", &[("dsn", "never")]).await;
    assert_led(&page, "/ui/settings?done=saved");

    let queue = "/ui/operator/queue";
    let page =
        ann.post_from(queue, "/ui/operator/queue/pauses", &[("site", "google"), ("reason", "x")]).await;
    assert_led(&page, "/ui/operator/queue?done=paused");
    let pause = app.client.get("/v1/site-pauses").await.list("/data").remove(0);
    let release = format!("/ui/operator/queue/pauses/{}/delete", text(&pause, "/id"));
    assert_led(&ann.post_from(queue, &release, &[]).await, "/ui/operator/queue?done=resumed");

    let tenants = "/ui/operator/tenants";
    assert_led(
        &ann.post_from(tenants, tenants, &[("name", "globex")]).await,
        "/ui/operator/tenants?done=saved",
    );
    let page = ann.post_from(tenants, tenants, &[("name", "globex")]).await;
    assert!(page.text.contains("another tenant has this name"), "{}", page.text);
    assert!(ann.get("/ui/operator/nodes").await.text.contains(">alive<"));
    app.stop().await;
}

/// Every page with an id, and every act on it, with another tenant's things.
#[tokio::test]
async fn another_tenant_s_things_are_not_there() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let account = app.account("other").await;
    let other = &account.client;
    let message = other.send_mail(mail("delivered@simulator.postroad.test")).await;
    other.ended(&message).await;
    let domain = text(&other.add_domain("other.example").await, "/id");
    let key = other.make_key(json!({ "name": "k", "scopes": ["read"] })).await.id;
    let template = other.post("/v1/templates", json!({ "alias": "secret", "text": "x" })).await.text("/id");
    let stream = other.post("/v1/streams", json!({ "name": "news" })).await.text("/id");
    let suppression =
        other.post("/v1/suppressions", json!({ "email": "never@example.net" })).await.text("/id");
    let body = json!({ "url": "https://hooks.acme.example/", "enabled": false });
    let webhook = other.post("/v1/webhooks", body).await.text("/id");
    let pause = other.post("/v1/pauses", json!({ "stream": "held" })).await.text("/id");
    let route = other
        .post("/v1/inbound-routes", json!({ "match": "other.example", "action": "store" }))
        .await
        .text("/id");
    let inbound = app.database.keep_inbound(&account.tenant, "other.example").await;

    let seen = [
        format!("/ui/messages/{message}"),
        format!("/ui/messages/{message}/stories"),
        format!("/ui/messages/{message}/html"),
        format!("/ui/messages/{message}/source"),
        format!("/ui/messages/{message}/files/0"),
        format!("/ui/inbound/{inbound}"),
        format!("/ui/inbound/{inbound}/html"),
        format!("/ui/inbound/{inbound}/source"),
        format!("/ui/inbound/{inbound}/files/0"),
        format!("/ui/domains/{domain}"),
        format!("/ui/templates/{template}"),
        "/ui/templates/secret".to_owned(),
        format!("/ui/streams/{stream}"),
        format!("/ui/webhooks/{webhook}"),
        "/ui/messages/nonsense".to_owned(),
    ];
    for path in seen {
        assert_eq!(ann.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let done = [
        format!("/ui/messages/{message}/cancel"),
        format!("/ui/messages/{message}/resend"),
        format!("/ui/messages/{message}/suppress"),
        format!("/ui/inbound/routes/{route}/delete"),
        format!("/ui/domains/{domain}/verify"),
        format!("/ui/domains/{domain}/rotate"),
        format!("/ui/domains/{domain}/pause"),
        format!("/ui/domains/{domain}/delete"),
        format!("/ui/keys/{key}/revoke"),
        format!("/ui/templates/{template}"),
        format!("/ui/templates/{template}/publish"),
        format!("/ui/templates/{template}/test"),
        format!("/ui/templates/{template}/delete"),
        format!("/ui/streams/{stream}"),
        format!("/ui/streams/{stream}/delete"),
        format!("/ui/suppressions/{suppression}/delete"),
        format!("/ui/webhooks/{webhook}"),
        format!("/ui/webhooks/{webhook}/test"),
        format!("/ui/webhooks/{webhook}/rotate"),
        format!("/ui/webhooks/{webhook}/replay"),
        format!("/ui/webhooks/{webhook}/delete"),
        format!("/ui/settings/pauses/{pause}/delete"),
    ];
    let csrf = ann.get("/ui/").await.csrf();
    for path in done {
        let page = ann
            .post(
                &path,
                &csrf,
                &[("subject", "x"), ("text", "x"), ("from", "a@b.example"), ("to", "c@d.example")],
            )
            .await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}: {}", page.text);
    }
    for path in [
        "/ui/messages",
        "/ui/domains",
        "/ui/keys",
        "/ui/templates",
        "/ui/streams",
        "/ui/suppressions",
        "/ui/webhooks",
        "/ui/inbound",
    ] {
        let page = ann.get(path).await;
        for id in [&message, &domain, &key, &template, &stream, &suppression, &webhook, &inbound] {
            assert!(!page.text.contains(id.as_str()), "{id} on {path}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn no_page_is_larger_than_150_kilobytes_with_all_it_loads_at_first() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    for number in 0..60 {
        let to = format!("delivered+{number}@simulator.postroad.test");
        app.client.send_mail(mail(&to)).await;
    }
    let assets = regex::Regex::new(r#""(/ui/assets/[^"]+)""#).expect("a pattern");
    for path in super::pages::PAGES {
        let page = ann.get(path).await;
        let mut size = page.text.len();
        for asset in assets.captures_iter(&page.text) {
            let request = ann.request(Method::GET, &asset[1]).header("accept-encoding", "gzip");
            let answer = request.send().await.expect("answered");
            assert_eq!(
                answer.headers()["cache-control"],
                "public, max-age=31536000, immutable",
                "{}",
                &asset[1]
            );
            size += answer.bytes().await.expect("read").len();
        }
        assert!(size < 150_000, "{path} has {size} octets");
    }
    assert_eq!(ann.get("/ui/assets/ui-0000.css").await.status, StatusCode::NOT_FOUND);
    app.stop().await;
}
