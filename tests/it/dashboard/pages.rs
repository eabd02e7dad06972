//! Pages in a real browser: the way from a key to a message's story, quiet and open pages, and hostile words.

use std::path::Path;

use postroad::domain::id::InboundId;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::text;
use crate::support::dns::DnsServer;

use super::browser::Browser;

/// Every page that can be opened without an id.
const PAGES: [&str; 23] = [
    "/ui/",
    "/ui/?span=month",
    "/ui/messages",
    "/ui/messages?status=bounced",
    "/ui/stats?group=provider",
    "/ui/reputation",
    "/ui/inbound",
    "/ui/domains",
    "/ui/keys",
    "/ui/templates",
    "/ui/templates/new",
    "/ui/streams",
    "/ui/suppressions",
    "/ui/webhooks",
    "/ui/settings",
    "/ui/team",
    "/ui/account",
    "/ui/audit",
    "/ui/operator/tenants",
    "/ui/operator/queue",
    "/ui/operator/ips",
    "/ui/operator/reputation",
    "/ui/operator/nodes",
];

#[tokio::test]
async fn from_a_key_to_a_mail_and_its_story() {
    let app = TestApp::with_dashboard().await;
    let browser = Browser::open(app.client.url()).await;
    browser.goto("/").await;
    assert!(browser.path().await.starts_with("/login"), "who is not signed in is asked to be");
    browser.sign_in().await;
    assert!(browser.source().await.contains("Send your first mail"), "an empty dashboard teaches");

    browser.click("nav a[href='/ui/keys']").await;
    browser.fill("#f-name", "shop").await;
    browser.click("form[action='/ui/keys'] button.primary").await;
    let secret = browser.text("#secret").await;
    let shop = app.client.with_key(&secret);

    browser.goto("/ui/").await;
    browser.wait_for(".live[data-state=on]").await;
    let mail = json!({ "from": "Acme <hello@acme.example>", "to": "bounced@simulator.postroad.test",
                       "subject": "Your order", "text": "Thanks." });
    let id = shop.send_mail(mail).await;
    app.client.ended(&id).await;
    browser.text_when("[data-count=bounced]", |text| text == "1").await;

    // Found by typing, without a mouse.
    browser.press("/").await;
    browser.press("bounced@simulator.postroad.test\u{e007}").await;
    browser.click("a.cover").await;
    assert_eq!(browser.path().await, format!("/ui/messages/{id}"));
    let story = browser.text("#stories").await;
    assert!(
        story.contains("refused this address: the mailbox does not exist. We will not try again."),
        "{story}"
    );
    assert!(story.contains("550") && story.contains("simulated: no such mailbox"), "{story}");
    assert_eq!(browser.complaints().await, [""; 0]);
    assert_eq!(browser.strangers(), [""; 0]);
    browser.close().await;
    app.stop().await;
}

#[tokio::test]
async fn a_message_that_waits_is_followed_until_it_ends() {
    let app = TestApp::with_dashboard().await;
    let browser = Browser::open(app.client.url()).await;
    browser.sign_in().await;
    let mail = json!({ "from": "hello@acme.example", "to": "deferred@simulator.postroad.test",
                       "subject": "Later", "text": "Hi." });
    let id = app.client.send_mail(mail).await;
    browser.goto(&format!("/ui/messages/{id}")).await;
    let story = browser.text_when("#stories", |text| text.contains("is responsible for it now")).await;
    assert!(story.contains("asked us to come again later"), "{story}");
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
    app.stop().await;
}

#[tokio::test]
async fn a_template_is_shown_as_it_is_typed_and_sent() {
    let app = TestApp::with_dashboard().await;
    let browser = Browser::open(app.client.url()).await;
    browser.sign_in().await;
    browser.goto("/ui/templates/new").await;
    browser.fill("#f-name", "Welcome").await;
    browser.fill("#f-alias", "welcome").await;
    browser.fill("#f-html", "<p style=\"color:#c00\">Dear {{name}}</p>").await;
    browser.fill("#f-variables", "{\"name\": \"Zoë\"}").await;
    browser.click("button[name=publish]").await;
    browser.wait_for("#test").await;
    assert!(browser.text("main").await.contains("sends use version 1"));
    browser.fill("#f-from", "hello@acme.example").await;
    browser.fill("#f-to", "delivered@simulator.postroad.test").await;
    browser.run("document.getElementById('f-variables').value = '{\"name\": \"Zoë\"}'", Value::Null).await;
    browser.click("#test button").await;
    browser.wait_for("#stories").await;
    let id =
        browser.path().await.trim_start_matches("/ui/messages/").split('?').next().expect("an id").to_owned();
    let raw = app.client.download(&format!("/v1/messages/{id}/raw")).await;
    assert!(String::from_utf8_lossy(&raw).contains("Dear Zo"), "{}", String::from_utf8_lossy(&raw));
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
    app.stop().await;
}

/// Words that would run, fetch or lead somewhere, if anybody believed them.
const HOSTILE: [&str; 4] = [
    "\"><script>alert('x')</script>",
    "'><img src=x onerror=alert('x')><svg onload=alert('x')>",
    "<img src=https://stranger.example/pixel.gif>{{7*7}}${7*7}",
    "<iframe src=https://stranger.example/></iframe></textarea></style><script>alert('x')</script>",
];

#[tokio::test]
async fn hostile_words_do_nothing_on_any_page() {
    let app = TestApp::with_dashboard().await;
    let mut opened = PAGES.map(str::to_owned).to_vec();
    for (number, words) in HOSTILE.iter().enumerate() {
        opened.extend(fill_with(&app, number, words).await);
    }
    let browser = Browser::open(app.client.url()).await;
    browser.sign_in().await;
    for path in &opened {
        browser.goto(path).await;
        browser.wait_for("#content h1").await;
        assert_eq!(browser.dialog().await, None, "{path}");
        assert_eq!(browser.complaints().await, [""; 0], "{path}");
    }
    // The search shows what is searched for.
    for words in HOSTILE {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", words).finish();
        browser.goto(&format!("/ui/messages?{query}&status=%22%3E%3Cscript%3E")).await;
        assert_eq!(browser.dialog().await, None, "{words}");
        assert_eq!(browser.complaints().await, [""; 0], "{words}");
    }
    assert_eq!(browser.strangers(), [""; 0]);
    browser.close().await;
    app.stop().await;
}

/// Puts words wherever a tenant can put any; gives the pages that show them.
async fn fill_with(app: &TestApp, number: usize, words: &str) -> Vec<String> {
    let client = &app.client;
    let html = format!(
        "<p>{words}</p><script>alert('x')</script><a href=\"javascript:alert('x')\">x</a>\
         <style>@import url(https://stranger.example/x.css);p{{background:url(https://stranger.example/y.png)}}</style>\
         <body background=https://stranger.example/z.png onload=alert('x')>"
    );
    let mail = json!({
        "from": { "email": "hello@acme.example", "name": words }, "to": format!("delivered+{number}@simulator.postroad.test"),
        "subject": words, "text": words, "html": html, "tags": [words], "metadata": { "words": words },
        "attachments": [{ "filename": format!("{}.html", words.replace(['/', '\\'], "_")), "content": "PGI+", "content_type": "text/html" }],
    });
    let message = client.send_mail(mail).await;
    client.ended(&message).await;
    let refused = format!("{number}-refused@example.net");
    client.post("/v1/suppressions", json!({ "email": refused })).await;
    let made = client.post("/v1/keys", json!({ "name": words, "scopes": ["send"] })).await;
    assert_eq!(made.status, 201, "{:#}", made.body);
    let alias = format!("t{number}");
    let template = json!({ "alias": alias, "name": words, "subject": words.replace(['{', '}'], ""),
                           "html": html.replace(['{', '}'], ""), "text": "x" });
    let template = client.post("/v1/templates", template).await;
    assert_eq!(template.status, 201, "{:#}", template.body);
    let stream = client.post("/v1/streams", json!({ "name": format!("s{number}"), "title": words })).await;
    assert_eq!(stream.status, 201, "{:#}", stream.body);
    let hook = json!({ "url": "https://hooks.acme.example/", "description": words, "enabled": false, "tags": [words] });
    let hook = client.post("/v1/webhooks", hook).await;
    assert_eq!(hook.status, 201, "{:#}", hook.body);
    let pause = client.post("/v1/pauses", json!({ "stream": "none", "reason": words })).await;
    assert_eq!(pause.status, 201, "{:#}", pause.body);
    let site = json!({ "site": words, "reason": words });
    assert_eq!(client.post("/v1/site-pauses", site).await.status, 201);
    let mut pages = vec![
        format!("/ui/templates/{}", template.text("/id")),
        format!("/ui/streams/{}", stream.text("/id")),
        format!("/ui/webhooks/{}", hook.text("/id")),
    ];
    let views = ["html", "text", "headers", "source", "files"];
    pages.extend(views.iter().map(|view| format!("/ui/messages/{message}?view={view}")));
    pages
}

/// What a picture is called that a developer asks for by `POSTROAD_PICTURES=<directory>`.
fn pictures() -> Option<std::path::PathBuf> {
    std::env::var_os("POSTROAD_PICTURES").map(Into::into)
}

#[tokio::test]
async fn every_page_is_open_to_everybody_and_quiet() {
    every_page(1360, "light").await;
}

#[tokio::test]
async fn every_page_is_open_to_everybody_in_the_dark() {
    every_page(1360, "dark").await;
}

#[tokio::test]
async fn every_page_is_open_to_everybody_on_a_phone() {
    every_page(390, "light").await;
}

/// Looks at every page, so wide and in these colours.
async fn every_page(width: u32, theme: &str) {
    let dns = DnsServer::start().await;
    let app = TestApp::builder().dashboard().dns(&dns).start().await;
    let mut pages: Vec<(String, String)> =
        PAGES.iter().map(|path| (name(path), (*path).to_owned())).collect();
    pages.extend(lived_in(&app, &dns).await);
    let browser = Browser::open(app.client.url()).await;
    browser.sign_in().await;
    let passkey = "INSERT INTO passkeys (user_id, id, credential, name, key, created_at, last_used_at)
                   SELECT id, id, '\\x01', 'Blue security key', '{}', clock_timestamp() - interval '9 days',
                          clock_timestamp() - interval '2 hours' FROM users WHERE email = 'ann@acme.example'";
    app.database.change(passkey).await;
    browser.resize(width, 900).await;
    let cookie = format!("document.cookie = 'postroad_theme={theme}; path=/ui'");
    browser.run(&cookie, Value::Null).await;
    let mut wrong = Vec::new();
    for (name, path) in &pages {
        browser.goto(path).await;
        browser.wait_for("#content h1").await;
        let shown = browser.run("return document.documentElement.dataset.theme", Value::Null).await;
        let barriers = browser.barriers().await;
        let wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        let wider = browser.run(wider, Value::Null).await;
        let complaints = browser.complaints().await;
        if shown != theme || !barriers.is_empty() || wider != json!(0) || !complaints.is_empty() {
            wrong.push(format!("{path} ({shown}): {barriers:#?}, {wider} too wide, {complaints:?}"));
        }
        if let Some(directory) = pictures() {
            take(&browser, &directory, &format!("{name}-{theme}-{width}")).await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(browser.strangers(), [""; 0]);
    browser.close().await;
    app.stop().await;
}

fn name(path: &str) -> String {
    path.trim_start_matches("/ui/").replace(['/', '?', '=', '&'], "-")
}

async fn take(browser: &Browser, directory: &Path, name: &str) {
    std::fs::create_dir_all(directory).expect("a directory");
    std::fs::write(directory.join(format!("{name}.png")), browser.picture().await).expect("written");
}

/// A dashboard that has been used; gives the pages of what is there.
async fn lived_in(app: &TestApp, dns: &DnsServer) -> Vec<(String, String)> {
    let client = &app.client;
    let domain = client.verified_domain(dns, "acme.example").await;
    let pending = client.add_domain("shop.example").await;
    let send = |to: &str, subject: &str, tag: &str| {
        let html = format!(
            "<table width=\"100%\" bgcolor=\"#eef2f7\"><tr><td align=\"center\" style=\"padding:32px\"><table width=\"480\" \
             bgcolor=\"#ffffff\"><tr><td style=\"padding:32px;font-family:sans-serif\"><h1 style=\"margin:0 0 16px\">{subject}</h1>\
             <p>Dear Ann, your order 4711 is on its way and will be with you on Thursday.</p><p><a style=\"background:#1d5bbf;\
             color:#ffffff;padding:10px 18px;text-decoration:none\" href=\"https://acme.example/\">Follow it</a></p></td></tr></table></td></tr></table>"
        );
        json!({ "from": "Acme <hello@acme.example>", "to": to, "subject": subject, "html": html, "tags": [tag],
                "text": format!("{subject}\n\nDear Ann, your order 4711 is on its way."), "metadata": { "order": "4711" },
                "attachments": [{ "filename": "invoice-4711.pdf", "content": "JVBERi0xLjQK", "content_type": "application/pdf" }] })
    };
    let mut ids = Vec::new();
    let mails = [
        ("delivered+ann@simulator.postroad.test", "Welcome to Acme", "welcome"),
        ("delivered+ben@simulator.postroad.test", "Reset your password", "password"),
        ("complained@simulator.postroad.test", "Our November news", "news"),
        ("deferred@simulator.postroad.test", "Your order 4711 is on its way", "order"),
        ("bounced@simulator.postroad.test", "Your invoice for November", "invoice"),
    ];
    for (to, subject, tag) in mails.iter().cycle().take(18) {
        let id = client.send_mail(send(to, subject, tag)).await;
        ids.push(id);
    }
    for id in &ids {
        client.ended(id).await;
    }
    let template = json!({ "alias": "welcome", "name": "Welcome", "subject": "Welcome, {{name}}",
                           "html": "<h1>Hello {{name}}</h1><p>We are glad that you are here.</p>" });
    let template = client.post("/v1/templates", template).await;
    let hook =
        json!({ "url": "https://hooks.acme.example/postroad", "description": "the shop", "enabled": false });
    let hook = client.post("/v1/webhooks", hook).await;
    let stream = client
        .post("/v1/streams", json!({ "name": "newsletter", "title": "Our news", "kind": "broadcast" }))
        .await;
    client.post("/v1/suppressions", json!({ "email": "gone@example.net" })).await;
    client.post("/v1/tenants", json!({ "name": "globex" })).await;
    let tenant = client.get("/v1/tenants").await.list("/data");
    let tenant = tenant.iter().find(|tenant| tenant["name"] == "default").map(|tenant| text(tenant, "/id"));
    let route = json!({ "match": "*@in.acme.example", "action": "store" });
    client.post("/v1/inbound-routes", route).await;
    let inbound = app.database.keep_inbound(&tenant.expect("the first tenant"), "in.acme.example").await;
    assert!(inbound.parse::<InboundId>().is_ok(), "{inbound}");
    let ip = installation(app).await;
    let of = |name: &str, path: String| (name.to_owned(), path);
    let mut pages = vec![
        of("message-bounced", format!("/ui/messages/{}", ids[4])),
        of("message-deferred", format!("/ui/messages/{}", ids[3])),
        of("message-complained", format!("/ui/messages/{}", ids[2])),
        of("domain-verified", format!("/ui/domains/{}", text(&domain, "/id"))),
        of("domain-pending", format!("/ui/domains/{}", text(&pending, "/id"))),
        of("template", format!("/ui/templates/{}", template.text("/id"))),
        of("webhook", format!("/ui/webhooks/{}", hook.text("/id"))),
        of("stream", format!("/ui/streams/{}", stream.text("/id"))),
        of("inbound-mail", format!("/ui/inbound/{inbound}")),
        of("ip", format!("/ui/operator/ips/{ip}")),
    ];
    let views = ["text", "headers", "source", "files"];
    pages.extend(
        views
            .iter()
            .map(|view| of(&format!("message-{view}"), format!("/ui/messages/{}?view={view}", ids[0]))),
    );
    pages
}

/// What those who run the installation see: addresses, senders that were judged, and mail that waits. Gives an address.
async fn installation(app: &TestApp) -> String {
    let client = &app.client;
    let warm = json!({ "address": "192.0.2.10", "address6": "2001:db8::10", "ehlo": "out1.mail.example" });
    let warm = client.post("/v1/ips", warm).await;
    let cold =
        json!({ "address": "192.0.2.11", "ehlo": "out2.mail.example", "pool": "bulk", "state": "warming" });
    let cold = client.post("/v1/ips", cold).await;
    assert_eq!((warm.status.as_u16(), cold.status.as_u16()), (201, 201), "{:#} {:#}", warm.body, cold.body);
    client.post("/v1/ip-rules", json!({ "stream": "newsletter", "pool": "bulk", "weight": 3 })).await;
    let statements = [
        "INSERT INTO ip_warmups (ip_id, day, provider, allowed, granted)
         SELECT id, (clock_timestamp() AT TIME ZONE 'UTC')::date, p.name, 400, p.taken
         FROM ips, (VALUES ('google', 310), ('microsoft', 120), ('yahoo', 400)) AS p (name, taken) WHERE state = 'warming'",
        "INSERT INTO reputations (tenant_id, delivered, bounced, complained, changed_at, looked_at, subject, name, state)
         SELECT id, v.delivered, v.bounced, v.complained, clock_timestamp() - interval '3 hours', clock_timestamp(), v.subject, v.name, v.state
         FROM tenants, (VALUES (48200, 310, 21, 'domain', 'acme.example', 'good'), (31050, 1900, 12, 'stream', 'newsletter', 'warned'),
                               (9020, 400, 41, 'domain', 'promo.acme.example', 'held'))
              AS v (delivered, bounced, complained, subject, name, state) WHERE tenants.name = 'default'",
        "INSERT INTO standings (checked_at, subject, name, findings)
         SELECT clock_timestamp() - interval '5 hours', v.subject, v.name, v.findings::jsonb FROM (VALUES
           ('ip', '192.0.2.10', '{\"fcrdns\": {\"status\": \"ok\", \"names\": [\"out1.mail.example\"]}, \"zones\": [{\"zone\": \"zen.example\", \"status\": \"clear\"}, {\"zone\": \"bl.example\", \"status\": \"clear\"}]}'),
           ('ip', '192.0.2.11', '{\"fcrdns\": {\"status\": \"mismatch\", \"names\": [\"host-11.isp.example\"]}, \"zones\": [{\"zone\": \"zen.example\", \"status\": \"listed\", \"text\": \"https://zen.example/query/192.0.2.11\"}, {\"zone\": \"bl.example\", \"status\": \"unknown\"}]}'),
           ('domain', 'acme.example', '{\"fcrdns\": null, \"zones\": [{\"zone\": \"dbl.example\", \"status\": \"clear\"}]}'))
           AS v (subject, name, findings)",
    ];
    for statement in statements {
        app.database.change(statement).await;
    }
    let later = app.server().clock().now() + time::Duration::hours(2);
    let later = later.format(&time::format_description::well_known::Rfc3339).expect("a moment");
    for number in 0..6 {
        let to = format!("u{number}@{}", ["gmail.com", "gmail.com", "slow.example"][number % 3]);
        let waiting = json!({ "from": "hello@acme.example", "to": to, "subject": "Later", "text": "x", "send_at": later });
        client.send_mail(waiting).await;
    }
    client
        .post(
            "/v1/site-pauses",
            json!({ "domain": "slow.example", "reason": "Their servers are being moved" }),
        )
        .await;
    warm.text("/id")
}
