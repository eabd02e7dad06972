//! Lists: what filters select, and pages that neither lose nor repeat anything while mail comes in.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Client, mail, text};

async fn ids(client: &Client, path: &str) -> Vec<String> {
    client.all_pages(path, 100).await.iter().map(|entry| text(entry, "/id")).collect()
}

fn newest_first(sent: &[String]) -> Vec<String> {
    sent.iter().rev().cloned().collect()
}

#[tokio::test]
async fn messages_are_filtered_by_everything_that_can_be_known_of_them() {
    let app = TestApp::start().await;
    let send = |changes: Value| {
        let mut body = mail("ann@example.net");
        body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        app.client.send_mail(body)
    };
    let plain = send(json!({})).await;
    let tagged = send(json!({ "tags": ["a", "b"], "stream": "news" })).await;
    let bounced = send(json!({ "to": ["bounced@simulator.postroad.test", "Bob@example.net"] })).await;
    let other = send(json!({ "from": "Other@acme.example", "subject": "100% Größe_1" })).await;
    for id in [&plain, &tagged, &bounced, &other] {
        app.client.ended(id).await;
    }
    let planned = send(json!({ "send_at": "2026-11-24T00:00:00Z", "sandbox": true })).await;
    let all = [plain.clone(), tagged.clone(), bounced.clone(), other.clone(), planned.clone()];
    let moment = text(&app.client.get(&format!("/v1/messages/{bounced}")).await.body, "/created_at");
    let cases: Vec<(String, Vec<&String>)> = vec![
        (String::new(), all.iter().rev().collect()),
        ("status=bounced".into(), vec![&bounced]),
        ("status=delivered".into(), all.iter().rev().collect()),
        ("status=queued".into(), vec![]),
        ("to=BOB@Example.net".into(), vec![&bounced]),
        ("to=ann@example.net".into(), vec![&planned, &other, &tagged, &plain]),
        ("to=ann@example.net&status=bounced".into(), vec![]),
        ("from=OTHER@acme.example".into(), vec![&other]),
        ("subject=hell".into(), vec![&planned, &bounced, &tagged, &plain]),
        ("subject=GRÖSSE_1".into(), vec![]),
        ("subject=größe_1".into(), vec![&other]),
        ("subject=100%25".into(), vec![&other]),
        // Nothing in it is a pattern.
        ("subject=H_llo".into(), vec![]),
        ("subject=H%25o".into(), vec![]),
        ("subject=%5C".into(), vec![]),
        ("tag=a".into(), vec![&tagged]),
        ("tag=A".into(), vec![]),
        ("stream=news".into(), vec![&tagged]),
        (
            "stream=news&tag=b&from=hello@acme.example&to=ann@example.net&status=delivered".into(),
            vec![&tagged],
        ),
        (format!("since={moment}"), vec![&planned, &other, &bounced]),
        (format!("until={moment}"), vec![&tagged, &plain]),
        (format!("since={moment}&until={moment}"), vec![]),
    ];
    for (query, wanted) in cases {
        let found = ids(&app.client, &format!("/v1/messages?{query}")).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{query}");
    }
    let listed = app.client.get("/v1/messages?status=bounced").await;
    assert_eq!(listed.body["data"][0]["statuses"], json!({ "bounced": 1, "delivered": 1 }));
    app.stop().await;
}

#[tokio::test]
async fn pages_stay_as_they_are_while_mail_comes_in() {
    let app = TestApp::start().await;
    let mut sent = Vec::new();
    for number in 0..9 {
        let mut body = mail(&format!("r{number}@example.net"));
        body["sandbox"] = json!(true);
        sent.push(app.client.send_mail(body).await);
    }
    for query in ["", "status=delivered&", "subject=Hello&"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        let before = newest_first(&sent);
        loop {
            let page = app.client.get(&format!("/v1/messages?{query}limit=2{cursor}")).await;
            seen.extend(page.list("/data").iter().map(|entry| text(entry, "/id")));
            // Between two pages there is always something new.
            let mut body = mail("late@example.net");
            body["sandbox"] = json!(true);
            sent.push(app.client.send_mail(body).await);
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, before, "{query}");
    }
    app.stop().await;
}

#[tokio::test]
async fn every_list_is_whole_at_every_page_size() {
    let app = TestApp::start().await;
    let tenants = ["one", "two", "three"];
    for name in tenants {
        app.client.post("/v1/tenants", json!({ "name": name })).await;
        app.client.make_key(json!({ "name": name, "scopes": ["read"] })).await;
        let body = json!({ "host": "smtp.acme.example", "match": { "domain": format!("{name}.example") } });
        app.client.post("/v1/relays", body).await;
        let id = app.client.send_mail(mail("ann@example.net")).await;
        app.client.ended(&id).await;
    }
    for (path, count) in [
        ("/v1/messages", 3),
        ("/v1/messages?to=ann@example.net", 3),
        ("/v1/events", 6),
        ("/v1/captured", 3),
        ("/v1/keys", 4),
        ("/v1/relays", 3),
        ("/v1/tenants", 4),
    ] {
        let whole = ids(&app.client, path).await;
        assert_eq!(whole.len(), count, "{path}");
        let mut sorted = whole.clone();
        sorted.sort();
        if !["/v1/keys", "/v1/relays", "/v1/tenants"].contains(&path) {
            sorted.reverse();
        }
        assert_eq!(whole, sorted, "{path} is in order");
        for size in 1..=count {
            let pages: Vec<String> =
                app.client.all_pages(path, size).await.iter().map(|entry| text(entry, "/id")).collect();
            assert_eq!(pages, whole, "{path} by {size}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_page_has_25_entries_if_nothing_else_is_asked_for() {
    let app = TestApp::start().await;
    let mut body = mail("ann@example.net");
    body["sandbox"] = json!(true);
    let batch: Value = std::iter::repeat_n(body, 101).collect();
    app.client.post("/v1/messages/batch", batch).await;
    for (query, count) in [("", 25), ("?limit=1", 1), ("?limit=100", 100), ("?limit=", 25)] {
        let page = app.client.get(&format!("/v1/messages{query}")).await;
        assert_eq!(page.list("/data").len(), count, "{query}");
        assert!(page.body["next_cursor"].is_string(), "{query}");
    }
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_named() {
    let app = TestApp::start().await;
    let message = app.client.send_mail(mail("ann@example.net")).await;
    let lists = ["/v1/messages", "/v1/events", "/v1/captured", "/v1/keys", "/v1/relays", "/v1/tenants"];
    let everywhere = [
        ("limit=0", "?limit", "out_of_range"),
        ("limit=101", "?limit", "out_of_range"),
        ("limit=-1", "?limit", "out_of_range"),
        ("limit=ten", "?limit", "out_of_range"),
        ("limit=5&limit=5", "?limit", "repeated"),
        ("cursor=x", "?cursor", "invalid_cursor"),
        ("cursor=%00", "?cursor", "invalid_character"),
        ("cursor=%27%3B--", "?cursor", "invalid_cursor"),
        ("sort=asc", "?sort", "unknown_parameter"),
    ];
    let mut cases: Vec<(String, &str, &str)> = Vec::new();
    for list in lists {
        cases.extend(everywhere.map(|(query, pointer, code)| (format!("{list}?{query}"), pointer, code)));
    }
    for (query, pointer, code) in [
        ("/v1/messages?status=lost", "?status", "invalid_status"),
        ("/v1/messages?status=", "", ""),
        ("/v1/messages?since=yesterday", "?since", "invalid_time"),
        ("/v1/messages?until=2026-11-24", "?until", "invalid_time"),
        ("/v1/messages?to=a&to=b", "?to", "repeated"),
        ("/v1/messages?to=a%00b", "?to", "invalid_character"),
        ("/v1/messages?recipient=a", "?recipient", "unknown_parameter"),
        ("/v1/events?type=lost", "?type", "invalid_type"),
        ("/v1/events?type=delivered,lost", "?type", "invalid_type"),
        ("/v1/events?message_id=x", "?message_id", "invalid_id"),
        ("/v1/events?to=a", "?to", "unknown_parameter"),
        ("/v1/keys?status=x", "?status", "unknown_parameter"),
    ] {
        cases.push((query.to_owned(), pointer, code));
    }
    // A cursor of one list is none of another.
    cases.push((format!("/v1/events?cursor={message}"), "?cursor", "invalid_cursor"));
    for (path, pointer, code) in cases {
        let answer = app.client.get(&path).await;
        if code.is_empty() {
            assert_eq!(answer.status, StatusCode::OK, "{path}: {:#}", answer.body);
            continue;
        }
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {:#}", answer.body);
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{path}");
    }
    let answer = app.client.get("/v1/messages?limit=x&since=y&foo=z").await;
    assert_eq!(answer.violations().len(), 3, "all at once: {:#}", answer.body);
    app.stop().await;
}
