//! Opens and clicks: what is watched by default (`defaults`), and from a mail that was marked for its recipient, through a visit, to the event.

mod defaults;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mail_parser::MessageParser;
use regex::Regex;
use reqwest::{Method, Response, StatusCode, redirect};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{PATIENCE, mail, text};
use crate::support::sink::SmtpSink;

/// Where the world reaches postroad.
pub const BASE: &str = "https://m.acme.example";
/// How a browser names itself.
pub const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const SHOP: &str = "https://shop.example/?order=7&x=ü";
const HTML: &str = "<html><BODY class='a'>\n<a href=\"https://shop.example/?order=7&amp;x=ü\">Shop</a> \
    <a HREF='https://other.example/'>Other</a> <a href=\"https://plain.example/\" data-postroad-track=\"off\">Plain</a> \
    <a href=\"mailto:help@acme.example\">Mail</a> <a href=\"https://acme.example/unsubscribe/7\">Leave</a>\n</BODY></html>";

/// A postroad that delivers to a sink, and a visitor of its links.
struct Scene {
    app: TestApp,
    sink: SmtpSink,
    visitor: reqwest::Client,
}

impl Scene {
    async fn set() -> Scene {
        let sink = SmtpSink::builder().start().await;
        let app =
            TestApp::builder().relay(sink.address().port()).set("POSTROAD_PUBLIC_URL", BASE).start().await;
        let visitor = reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none());
        Scene { app, sink, visitor: visitor.build().expect("a client") }
    }

    /// Sends a mail; gives its id when all of it has arrived, an hour ago as far as visits are concerned.
    async fn send(&self, body: Value) -> String {
        let id = self.app.client.send_mail(body).await;
        self.app.client.ended(&id).await;
        self.app.database.change("UPDATE outcomes SET at = at - interval '1 hour'").await;
        id
    }

    async fn visit(&self, method: Method, url: &str, agent: &str) -> Response {
        let path = url.strip_prefix(BASE).expect("it leads through us");
        let request = self.visitor.request(method, format!("{}{path}", self.app.client.url()));
        request.header("user-agent", agent).send().await.expect("answered")
    }

    async fn events(&self, message: &str, count: usize) -> Vec<Value> {
        events(&self.app, message, count).await
    }
}

/// Waits for so many opens and clicks of a message, and gives them, the earliest first.
pub async fn events(app: &TestApp, message: &str, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let path = format!("/v1/events?message_id={message}&type=opened,clicked");
        let mut events = app.client.all_pages(&path, 100).await;
        if events.len() >= count {
            events.reverse();
            return events;
        }
        assert!(began.elapsed() < PATIENCE, "{} of {count} events", events.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn tracked(to: &[&str]) -> Value {
    let mut body = mail(to[0]);
    body["to"] = json!(to);
    body["text"] = json!("https://shop.example/");
    body["html"] = json!(HTML);
    body["tracking"] = json!({ "opens": true, "clicks": true });
    body
}

/// The HTML of a mail, decoded.
pub fn html(raw: &[u8]) -> String {
    let read = MessageParser::default().parse(raw).expect("a message");
    read.body_html(0).expect("HTML").into_owned()
}

/// The links and the pixel that lead through us.
pub fn marks(html: &str) -> (Vec<String>, String) {
    let find = |pattern: &str| -> Vec<String> {
        let pattern = Regex::new(&format!("{}{pattern}", regex::escape(BASE))).expect("a pattern");
        pattern.find_iter(html).map(|found| found.as_str().to_owned()).collect()
    };
    (find("/t/c/[A-Za-z0-9_-]+"), find("/t/o/[A-Za-z0-9_-]+\\.gif").pop().expect("a pixel"))
}

#[tokio::test]
async fn a_visit_becomes_an_event_of_its_recipient() {
    let scene = Scene::set().await;
    let id = scene.send(tracked(&["ann@example.net", "bob@example.net"])).await;
    let mails = scene.sink.wait_for(2, PATIENCE).await;
    let ann = mails.iter().find(|mail| mail.to() == ["ann@example.net"]).expect("Ann's");
    let bob = mails.iter().find(|mail| mail.to() == ["bob@example.net"]).expect("Bob's");
    let (links, pixel) = marks(&html(&ann.text));
    let (others, other_pixel) = marks(&html(&bob.text));
    assert_eq!((links.len(), others.len()), (2, 2));
    assert!(pixel != other_pixel && links.iter().all(|link| !others.contains(link)), "each has its own");

    // Nothing but the two targets, the opt-out and the pixel has changed; other parts have not.
    let image = Regex::new("<img src=\"[^\"]+\" width=\"1\" height=\"1\"[^>]*>").expect("a pattern");
    let unmarked = html(&ann.text)
        .replace(&links[0], "https://shop.example/?order=7&amp;x=ü")
        .replace(&links[1], "https://other.example/")
        .replace("plain.example/\">", "plain.example/\" data-postroad-track=\"off\">");
    assert_eq!(image.replace(&unmarked, "").replace("\r\n", "\n").trim_end(), HTML);
    let read = MessageParser::default().parse(&ann.text).expect("a message");
    assert_eq!(read.body_text(0).expect("text").trim_end(), "https://shop.example/");
    assert!(ann.text().lines().all(|line| line.len() <= 998), "lines stay short");

    for _ in 0..2 {
        let answer = scene.visit(Method::GET, &pixel, FIREFOX).await;
        assert_eq!(
            (answer.status(), answer.headers()["content-type"].clone()),
            (StatusCode::OK, "image/gif".parse().expect("a value"))
        );
        assert!(answer.headers()["cache-control"].to_str().expect("text").contains("no-store"));
        assert!(answer.headers().get("set-cookie").is_none());
        assert!(answer.bytes().await.expect("read").starts_with(b"GIF89a"));
        scene.events(&id, 1).await;
    }
    let click = scene.visit(Method::GET, &links[0], FIREFOX).await;
    assert_eq!(click.status(), StatusCode::FOUND);
    assert_eq!(click.headers()["location"], SHOP.replace('ü', "%C3%BC"));
    assert_eq!(click.headers()["cache-control"], "no-store");
    scene.events(&id, 3).await;
    scene.visit(Method::GET, &other_pixel, "Mozilla/5.0").await;
    scene.events(&id, 4).await;
    scene.visit(Method::HEAD, &links[1], FIREFOX).await;

    let events = scene.events(&id, 5).await;
    let told = |event: &Value| {
        let data = &event["data"];
        (
            text(event, "/type"),
            text(event, "/recipient"),
            data["first"] == true,
            data["machine"] == true,
            data["machine_kind"].as_str().map(str::to_owned),
        )
    };
    let row = |kind: &str, to: &str, first, machine: Option<&str>| {
        (kind.to_owned(), to.to_owned(), first, machine.is_some(), machine.map(str::to_owned))
    };
    let wanted = [
        row("opened", "ann@example.net", true, None),
        row("opened", "ann@example.net", false, None),
        row("clicked", "ann@example.net", true, None),
        row("opened", "bob@example.net", false, Some("apple_privacy")),
        row("clicked", "ann@example.net", false, Some("head")),
    ];
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), wanted);
    let data = &events[2]["data"];
    assert_eq!(
        (data["url"].clone(), data["ip"].clone()),
        (json!(SHOP.replace('ü', "%C3%BC")), json!("127.0.0.0"))
    );
    assert_eq!(
        (text(data, "/client"), text(data, "/os"), text(data, "/device")),
        ("Firefox".into(), "Linux".into(), "pc".into())
    );

    let totals = scene.app.client.get("/v1/stats?interval=hour").await.list("/totals");
    let counts =
        ["opened", "unique_opened", "machine_opened", "clicked", "unique_clicked", "machine_clicked"];
    assert_eq!(counts.map(|name| totals[0][name].as_i64().expect("a count")), [3, 1, 1, 2, 1, 1]);
    scene.app.stop().await;
}

#[tokio::test]
async fn a_visit_within_a_second_of_the_delivery_is_a_machines() {
    let scene = Scene::set().await;
    let id = scene.app.client.send_mail(tracked(&["ann@example.net"])).await;
    scene.app.client.ended(&id).await;
    scene.app.database.change("UPDATE outcomes SET at = clock_timestamp() + interval '1 minute'").await;
    let (links, _) = marks(&html(&scene.sink.wait_for(1, PATIENCE).await[0].text));
    scene.visit(Method::GET, &links[0], FIREFOX).await;
    let data = scene.events(&id, 1).await[0]["data"].clone();
    assert_eq!(
        (&data["machine"], &data["machine_kind"], &data["first"]),
        (&json!(true), &json!("timing"), &json!(false))
    );
    scene.app.stop().await;
}

#[tokio::test]
async fn only_what_is_asked_for_is_marked() {
    let scene = Scene::set().await;
    for (opens, clicks, wanted) in [(false, false, (0, 0)), (true, false, (0, 1)), (false, true, (2, 0))] {
        let mut body = tracked(&["ann@example.net"]);
        body["tracking"] = json!({ "opens": opens, "clicks": clicks });
        let before = scene.sink.received().len();
        scene.send(body).await;
        let text = html(&scene.sink.wait_for(before + 1, PATIENCE).await[before].text);
        let found = (text.matches("/t/c/").count(), text.matches("/t/o/").count());
        assert_eq!(found, wanted, "opens {opens}, clicks {clicks}");
        assert_eq!(text.contains("data-postroad-track"), wanted == (0, 0));
    }
    scene.app.stop().await;
}

#[tokio::test]
async fn the_links_of_a_text_are_followed_if_that_is_asked_for() {
    let scene = Scene::set().await;
    let mut body = tracked(&["ann@example.net"]);
    body["text"] = json!("See https://shop.example/?order=7, or leave: https://acme.example/unsubscribe/7\n");
    body["tracking"] = json!({ "clicks": true, "text": true });
    let id = scene.send(body).await;
    let raw = scene.sink.wait_for(1, PATIENCE).await[0].text.clone();
    let read = MessageParser::default().parse(&raw).expect("a message");
    let shown = read.body_text(0).expect("text").into_owned();
    let link = Regex::new(&format!("{}/t/c/[A-Za-z0-9_-]+", regex::escape(BASE))).expect("a pattern");
    let found: Vec<&str> = link.find_iter(&shown).map(|found| found.as_str()).collect();
    let [found] = found.as_slice() else { panic!("{shown}") };
    let unmarked = shown.replace(found, "https://shop.example/?order=7");
    assert_eq!(
        unmarked.trim_end(),
        "See https://shop.example/?order=7, or leave: https://acme.example/unsubscribe/7"
    );
    assert_eq!(marks_of_links(&html(&raw)), 2, "those of the HTML as ever");

    let click = scene.visit(Method::GET, found, FIREFOX).await;
    assert_eq!(click.headers()["location"], "https://shop.example/?order=7");
    assert_eq!(scene.events(&id, 1).await[0]["data"]["url"], "https://shop.example/?order=7");
    scene.app.stop().await;
}

fn marks_of_links(html: &str) -> usize {
    html.matches("/t/c/").count()
}

#[tokio::test]
async fn no_forged_or_altered_token_leads_anywhere() {
    let scene = Scene::set().await;
    let id = scene.send(tracked(&["ann@example.net"])).await;
    let (links, pixel) = marks(&html(&scene.sink.wait_for(1, PATIENCE).await[0].text));
    let mut forged: Vec<String> = Vec::new();
    for url in [&links[0], &pixel] {
        let token = url.rfind('/').expect("a token") + 1;
        for at in token..url.len() {
            let mut changed = url.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            forged.push(String::from_utf8(changed).expect("ASCII"));
        }
        forged.push(url[..url.len() - 5].to_owned());
    }
    forged.extend([
        links[0].replace("/t/c/", "/t/o/") + ".gif",
        pixel.replace("/t/o/", "/t/c/").replace(".gif", ""),
    ]);
    forged.extend(
        ["/t/c/https:%2F%2Fevil.example", "/t/c/x%0d%0aLocation:%20https:%2F%2Fevil.example", "/t/o/.gif"]
            .map(|path| format!("{BASE}{path}")),
    );
    for url in &forged {
        let answer = scene.visit(Method::GET, url, FIREFOX).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{url}");
        assert!(answer.headers().get("location").is_none(), "{url}");
    }
    println!("tracking: {} forged or altered tokens, none led anywhere", forged.len());
    scene.visit(Method::GET, &pixel, FIREFOX).await;
    assert_eq!(scene.events(&id, 1).await.len(), 1, "only the genuine one is told");
    scene.app.stop().await;
}

#[tokio::test]
async fn many_visits_at_once_are_all_told_in_few_batches() {
    const VISITS: usize = 3000;
    let scene = Scene::set().await;
    let id = scene.send(tracked(&["ann@example.net"])).await;
    let (links, _) = marks(&html(&scene.sink.wait_for(1, PATIENCE).await[0].text));
    let began = Instant::now();
    let visitors = (0..30).map(|_| async {
        for _ in 0..VISITS / 30 {
            assert_eq!(scene.visit(Method::GET, &links[0], FIREFOX).await.status(), StatusCode::FOUND);
        }
    });
    futures_util::future::join_all(visitors).await;
    let took = began.elapsed();
    let count = "SELECT count(*) FROM events WHERE type = 'clicked'";
    while scene.app.database.count(count).await < VISITS as i64 {
        assert!(began.elapsed() < PATIENCE, "visits are missing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let firsts = "SELECT count(*) FROM events WHERE data -> 'first' = 'true'";
    assert_eq!(
        (scene.app.database.count(count).await, scene.app.database.count(firsts).await),
        (VISITS as i64, 1)
    );
    let batches =
        scene.app.database.count("SELECT count(DISTINCT txid) FROM events WHERE type = 'clicked'").await;
    let ids: HashSet<String> =
        scene.events(&id, VISITS).await.iter().map(|event| text(event, "/id")).collect();
    assert_eq!(ids.len(), VISITS);
    println!(
        "tracking: {VISITS} clicks in {took:?}, {:.0}/s, written in {batches} batches",
        VISITS as f64 / took.as_secs_f64()
    );
    assert!(batches < VISITS as i64 / 2);
    scene.app.stop().await;
}
