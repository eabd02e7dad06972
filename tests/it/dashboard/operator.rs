//! What those who run the installation do in pages: the queue by destination, addresses and their warm-up, reputation. And
//! a list that is imported in the browser.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::client::{mail, text};

use super::browser::Browser;
use super::person::Page;

fn assert_led(page: &Page, to: &str) {
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, to), "{}", page.text);
}

#[tokio::test]
async fn destinations_are_held_let_go_retried_and_purged_once_it_is_said_what_that_is() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let later = app.server().clock().now() + time::Duration::HOUR;
    let later = later.format(&time::format_description::well_known::Rfc3339).expect("a moment");
    let mut ids = Vec::new();
    for to in ["ann@slow.example", "bob@slow.example", "carl@other.example"] {
        let mut body = mail(to);
        body["send_at"] = later.as_str().into();
        ids.push(app.client.send_mail(body).await);
    }
    let queue = "/ui/operator/queue";
    for act in ["retry", "hold", "release", "purge"] {
        let page = ann.post_from(queue, &format!("{queue}/{act}"), &[]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{act}: nothing is ticked");
        assert!(page.text.contains("Tick the destinations"), "{}", page.text);
    }
    let slow = [("domain", "slow.example")];
    let both = [("domain", "slow.example"), ("domain", "other.example")];
    assert_led(&ann.post_from(queue, &format!("{queue}/hold"), &both).await, &format!("{queue}?done=held"));
    // Twice is once.
    assert_led(&ann.post_from(queue, &format!("{queue}/hold"), &slow).await, &format!("{queue}?done=held"));
    let pauses = app.client.get("/v1/site-pauses").await.list("/data");
    let held: Vec<_> = pauses.iter().map(|pause| text(pause, "/domain")).collect();
    assert_eq!(held, ["slow.example", "other.example"]);
    assert!(ann.get(queue).await.text.contains("everything @slow.example"));
    let released = ann.post_from(queue, &format!("{queue}/release"), &both).await;
    assert_led(&released, &format!("{queue}?done=resumed"));
    assert_eq!(app.client.get("/v1/site-pauses").await.list("/data").len(), 0);

    let page = ann.post_from(queue, &format!("{queue}/purge"), &slow).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text.contains("Cancel all mail to slow.example?") && page.text.contains("2 deliveries"),
        "{}",
        page.text
    );
    assert_eq!(app.database.count("SELECT count(*) FROM queue").await, 3, "nothing is done yet");
    let page = ann.post_from(queue, &format!("{queue}/purge"), &[slow[0], ("sure", "on")]).await;
    assert_led(&page, &format!("{queue}?done=purged"));
    for (id, wanted) in ids.iter().zip(["canceled", "canceled", "queued"]) {
        let message = app.client.get(&format!("/v1/messages/{id}")).await.body;
        assert_eq!(message["deliveries"][0]["status"], wanted);
    }
    let logged = "SELECT target || left(actor, 5) FROM audit_log WHERE action = 'queue.purge'";
    assert_eq!(app.database.texts(logged).await, ["slow.exampleuser_"]);
    app.database.change("UPDATE queue SET attempts = 1").await;
    let page = ann.post_from(queue, &format!("{queue}/retry"), &both).await;
    assert_led(&page, &format!("{queue}?done=retried"));
    assert_eq!(app.client.ended(&ids[2]).await["deliveries"][0]["status"], "delivered");
    app.stop().await;
}

#[tokio::test]
async fn an_address_is_added_warmed_up_ruled_and_removed() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let path = "/ui/operator/ips";
    assert!(ann.get(path).await.text.contains("No address is set up"));
    let wrong = [("address", "not one"), ("ehlo", "out1.mail.example"), ("state", "warming")];
    let page = ann.post_from(path, path, &wrong).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("value=\"not one\"") && page.text.contains("aria-invalid"), "{}", page.text);
    let fields =
        [("address", "192.0.2.10"), ("ehlo", "out1.mail.example"), ("pool", "bulk"), ("state", "warming")];
    assert_led(&ann.post_from(path, path, &fields).await, "/ui/operator/ips?done=saved");
    let page = ann.post_from(path, path, &fields).await;
    assert!(page.text.contains("the address is there already"), "{}", page.text);
    let ip = app.client.get("/v1/ips").await.list("/data").remove(0);
    assert_eq!((&ip["pool"], &ip["state"]), (&json!("bulk"), &json!("warming")));
    assert!(ann.get(path).await.text.contains("day 1"));

    let one = format!("{path}/{}", text(&ip, "/id"));
    let taken = "INSERT INTO ip_warmups (ip_id, day, provider, allowed, granted)
                 SELECT id, (clock_timestamp() AT TIME ZONE 'UTC')::date, 'google', 200, 50 FROM ips";
    app.database.change(taken).await;
    let page = ann.get(&one).await;
    assert!(page.text.contains("google") && page.text.contains("50 of 200"), "{}", page.text);
    let page =
        ann.post_from(&one, &one, &[("state", "active"), ("pool", "UP CASE"), ("ehlo", "x.example")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = ann
        .post_from(&one, &one, &[("state", "active"), ("pool", "bulk"), ("ehlo", "out2.mail.example")])
        .await;
    assert_led(&page, &format!("{one}?done=saved"));
    let ip = app.client.get("/v1/ips").await.list("/data").remove(0);
    assert_eq!((&ip["ehlo"], &ip["state"]), (&json!("out2.mail.example"), &json!("active")));

    let rules = "/ui/operator/ip-rules";
    let page = ann.post_from(path, rules, &[("pool", "bulk"), ("stream", "news"), ("weight", "many")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = ann.post_from(path, rules, &[("pool", "bulk"), ("stream", "news"), ("weight", "3")]).await;
    assert_led(&page, "/ui/operator/ips?done=saved");
    let rule = app.client.get("/v1/ip-rules").await.list("/data").remove(0);
    assert_eq!((&rule["stream"], &rule["weight"]), (&json!("news"), &json!(3)));
    let delete = format!("{rules}/{}/delete", text(&rule, "/id"));
    assert_led(&ann.post_from(path, &delete, &[]).await, "/ui/operator/ips?done=deleted");
    assert_led(&ann.post_from(path, &format!("{one}/delete"), &[]).await, "/ui/operator/ips?done=deleted");
    assert_eq!(ann.get(&one).await.status, StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test]
async fn who_stands_badly_is_seen_by_his_tenant_and_first_by_who_runs_the_installation() {
    let app = TestApp::with_dashboard().await;
    let other = app.account("other").await.tenant;
    let mut ann = app.admin().await;
    assert!(ann.get("/ui/reputation").await.text.contains("Nothing has been judged yet"));
    let rows = "INSERT INTO reputations (tenant_id, delivered, bounced, complained, changed_at, looked_at, subject, name, state)
                SELECT t.id, v.delivered, v.bounced, v.complained, clock_timestamp(), clock_timestamp(), v.subject, v.name, v.state
                FROM (VALUES ('default', 9700, 300, 4, 'domain', 'acme.example', 'good'),
                             ('other', 9000, 1500, 40, 'stream', 'news<1>', 'held'))
                  AS v (tenant, delivered, bounced, complained, subject, name, state) JOIN tenants t ON t.name = v.tenant";
    app.database.change(rows).await;
    let found = "INSERT INTO standings (checked_at, subject, name, findings) VALUES (clock_timestamp(), 'ip', '192.0.2.10',
                 '{\"fcrdns\": {\"status\": \"mismatch\", \"names\": [\"x.example\"]}, \"zones\": [{\"zone\": \"zen.example\", \"status\": \"listed\", \"codes\": [], \"text\": \"<b>spam</b>\"}]}')";
    app.database.change(found).await;
    let own = ann.get("/ui/reputation").await.text;
    assert!(own.contains("acme.example") && own.contains("3.0 %") && own.contains("0.04 %"), "{own}");
    assert!(!own.contains("news&#60;1&#62;") && !own.contains("192.0.2.10"), "{own}");
    let all = ann.get("/ui/operator/reputation").await.text;
    let at = |what: &str| all.find(what).unwrap_or_else(|| panic!("{what} in {all}"));
    assert!(at("news&#60;1&#62;") < at(">acme.example<"), "the worst is first");
    assert!(all.contains("zen.example: &#60;b&#62;spam") && all.contains("x.example"), "{all}");
    assert!(!other.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn a_list_of_another_provider_is_imported_in_the_browser() {
    let app = TestApp::with_dashboard().await;
    let browser = Browser::open(app.client.url()).await;
    browser.sign_in().await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bounces.csv");
    let lines = "status,reason,email,created\n5.1.1,\"550 no such user\",a@example.net,1757766400\n\
                 5.1.1,x,b@example.net,1757766400\n5.1.1,x,<script>alert('x')</script>,1757766400\n";
    std::fs::write(&file, lines).expect("written");
    browser.goto("/ui/suppressions").await;
    browser.choose_file("#import-file", &file).await;
    browser.fill("#import-stream", "news").await;
    browser.click("form[data-uploads] button").await;
    let told = browser.text_when("#import-result", |text| text.contains("added")).await;
    assert!(
        told.contains(
            "3 lines read, in the form of SendGrid: 2 added, 0 on the list already, 1 that cannot be used"
        ),
        "{told}"
    );
    assert!(told.contains("Line 4:"), "{told}");
    assert_eq!(browser.dialog().await, None);
    let listed = app.client.get("/v1/suppressions").await.list("/data");
    let shown: Vec<_> =
        listed.iter().map(|one| (text(one, "/email"), text(one, "/stream"), text(one, "/reason"))).collect();
    let entry = |email: &str| (email.to_owned(), "news".to_owned(), "bounce".to_owned());
    assert!(
        shown.len() == 2
            && shown.contains(&entry("a@example.net"))
            && shown.contains(&entry("b@example.net")),
        "{shown:?}"
    );

    std::fs::write(&file, "name,age\nann,7\n").expect("written");
    browser.goto("/ui/suppressions").await;
    browser.choose_file("#import-file", &file).await;
    browser.click("form[data-uploads] button").await;
    browser.text_when("#import-result", |text| text.contains("Not imported")).await;
    assert!(browser.barriers().await.is_empty(), "{:#?}", browser.barriers().await);
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|told| told.contains("422")), "{complaints:?}");
    browser.close().await;
    app.stop().await;
}
