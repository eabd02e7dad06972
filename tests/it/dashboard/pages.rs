//! Pages in a real browser: the way from a key to a message's story, quiet and open pages, and hostile words.

use std::path::Path;

use postroad::domain::id::InboundId;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::text;
use crate::support::dns::DnsServer;

use super::browser::Browser;

/// Every page that can be opened without an id.
const PAGES: [&str; 20] = [
    "/ui/",
    "/ui/?span=month",
    "/ui/messages",
    "/ui/messages?status=bounced",
    "/ui/stats?group=provider",
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
    let dns = DnsServer::start().await;
    let app = TestApp::builder().dashboard().dns(&dns).start().await;
    let mut pages: Vec<(String, String)> =
        PAGES.iter().map(|path| (name(path), (*path).to_owned())).collect();
    pages.extend(lived_in(&app, &dns).await);
    let browser = Browser::open(app.client.url()).await;
    browser.sign_in().await;
    for (width, theme) in [(1360, "light"), (1360, "dark"), (390, "light")] {
        browser.resize(width, 900).await;
        let cookie = format!("document.cookie = 'postroad_theme={theme}; path=/ui'");
        browser.run(&cookie, Value::Null).await;
        for (name, path) in &pages {
            browser.goto(path).await;
            browser.wait_for("#content h1").await;
            assert_eq!(
                browser.run("return document.documentElement.dataset.theme", Value::Null).await,
                theme
            );
            let barriers = browser.barriers().await;
            assert!(barriers.is_empty(), "{path} ({theme}, {width}): {barriers:#?}");
            let wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.run(wider, Value::Null).await, json!(0), "{path} is wider than {width}");
            assert_eq!(browser.complaints().await, [""; 0], "{path}");
            if let Some(directory) = pictures() {
                take(&browser, &directory, &format!("{name}-{theme}-{width}")).await;
            }
        }
    }
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
    ];
    let views = ["text", "headers", "source", "files"];
    pages.extend(
        views
            .iter()
            .map(|view| of(&format!("message-{view}"), format!("/ui/messages/{}?view={view}", ids[0]))),
    );
    pages
}
