//! `GET /v1/stats`: what is told of what happened.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Client, PATIENCE, mail, text};

fn tagged(to: &str, tags: &[&str], stream: &str) -> Value {
    let mut body = mail(to);
    body["tags"] = json!(tags);
    body["stream"] = json!(stream);
    body
}

/// Group and figures of every total, in the order of the answer.
async fn totals(client: &Client, query: &str) -> Vec<(Value, Vec<i64>)> {
    let answer = client.get(&format!("/v1/stats?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    let row = |row: Value| {
        let count = |name: &str| row[name].as_i64().expect("a count");
        let counts = ["accepted", "delivered", "bounced", "deferred", "hard_bounced"].map(count);
        (row["group"].clone(), counts.to_vec())
    };
    answer.list("/totals").into_iter().map(row).collect()
}

/// Waits until every event is counted: then answers come from the counters alone.
async fn all_counted(app: &TestApp) {
    let began = std::time::Instant::now();
    let left = "SELECT count(*) FROM events e, stats_cursor c WHERE (e.txid, e.id) > (c.txid, c.event_id)";
    while app.database.count(left).await > 0 {
        assert!(began.elapsed() < PATIENCE, "events are not counted");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn figures_are_right_before_and_after_they_are_rolled_up() {
    let app = TestApp::start().await;
    let mut sent = Vec::new();
    for body in [
        tagged("ann@gmail.com", &["a", "b"], "news"),
        tagged("bob@example.net", &["b"], "transactional"),
        tagged("bounced@simulator.postroad.test", &["b"], "transactional"),
    ] {
        sent.push(app.client.send_mail(body).await);
    }
    for id in &sent {
        app.client.ended(id).await;
    }
    let mut sandboxed = tagged("eve@example.net", &["b"], "news");
    sandboxed["sandbox"] = true.into();
    app.client.send_mail(sandboxed).await;
    let other = app.account("other").await;
    other.client.send_mail(tagged("mallory@example.net", &["b"], "news")).await;

    for counted in ["as it happened", "from the counters"] {
        let none = Value::Null;
        assert_eq!(totals(&app.client, "").await, [(none, vec![3, 2, 1, 0, 1])], "{counted}");
        let wanted = [(json!("b"), vec![3, 2, 1, 0, 1]), (json!("a"), vec![1, 1, 0, 0, 0])];
        assert_eq!(totals(&app.client, "group_by=tag&interval=hour").await, wanted, "{counted}");
        let wanted = [(json!("transactional"), vec![2, 1, 1, 0, 1]), (json!("news"), vec![1, 1, 0, 0, 0])];
        assert_eq!(totals(&app.client, "group_by=stream").await, wanted, "{counted}");
        let wanted = [(json!("acme.example"), vec![3, 2, 1, 0, 1])];
        assert_eq!(totals(&app.client, "group_by=domain").await, wanted, "{counted}");
        let mut providers = totals(&app.client, "group_by=provider").await;
        providers.sort_by_key(|(group, _)| text(group, ""));
        let wanted = [
            (json!("example.net"), vec![1, 1, 0, 0, 0]),
            (json!("google"), vec![1, 1, 0, 0, 0]),
            (json!("simulator.postroad.test"), vec![1, 0, 1, 0, 1]),
        ];
        assert_eq!(providers, wanted, "{counted}");
        let classes = totals(&app.client, "group_by=bounce_class").await;
        assert_eq!(classes, [(json!("invalid_recipient"), vec![0, 0, 1, 0, 1])], "{counted}");
        let wanted = [(json!("a"), vec![1, 1, 0, 0, 0])];
        assert_eq!(totals(&app.client, "group_by=tag&group=a").await, wanted, "{counted}");
        assert_eq!(totals(&app.client, "group_by=tag&limit=1").await.len(), 1, "{counted}");
        all_counted(&app).await;
    }
    app.stop().await;
}

#[tokio::test]
async fn an_answer_has_rates_delivery_times_and_a_csv_of_the_same() {
    let app = TestApp::start().await;
    for to in ["ann@example.net", "bounced@simulator.postroad.test"] {
        let id = app.client.send_mail(mail(to)).await;
        app.client.ended(&id).await;
    }

    let answer = app.client.get("/v1/stats?interval=hour").await;
    let rows = answer.list("/data");
    let counted: i64 = rows.iter().map(|row| row["accepted"].as_i64().expect("a count")).sum();
    let total = &answer.list("/totals")[0];
    assert_eq!((counted, total["rates"]["delivered"].clone()), (2, json!(0.5)));
    assert_eq!((&total["rates"]["bounced"], &total["rates"]["opened"]), (&json!(0.5), &json!(0.0)));
    let seconds = total["delivery_seconds"]["p99"].as_f64().expect("a time");
    assert!(seconds > 0.0 && seconds < PATIENCE.as_secs_f64(), "{seconds}");

    let file = app.client.download("/v1/stats?interval=hour&format=csv").await;
    let mut reader = csv::Reader::from_reader(file.as_slice());
    let names = reader.headers().expect("a head").clone();
    let at = |name: &str| names.iter().position(|column| column == name).expect("a column");
    let records: Vec<csv::StringRecord> = reader.records().map(|record| record.expect("a record")).collect();
    assert_eq!(records.len(), rows.len());
    for (record, row) in records.iter().zip(&rows) {
        assert_eq!(
            (&record[0], record[at("accepted")].to_owned()),
            (text(row, "/time").as_str(), row["accepted"].to_string())
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_question_is_named() {
    let app = TestApp::start().await;
    for (query, wanted) in [
        ("interval=week&group_by=colour&format=pdf", vec!["?format", "?group_by", "?interval"]),
        ("from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", vec!["?from"]),
        ("from=2024-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", vec!["?from"]),
        ("interval=hour&from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", vec!["?from"]),
        (
            "interval=hour&group_by=tag&limit=100&from=2026-01-01T00:00:00Z&to=2026-01-20T00:00:00Z",
            vec!["?limit"],
        ),
        ("group=a", vec!["?group"]),
        ("limit=0&color=red", vec!["?color", "?limit"]),
    ] {
        let answer = app.client.get(&format!("/v1/stats?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let mut pointers: Vec<String> = answer.list("/errors").iter().map(|e| text(e, "/pointer")).collect();
        pointers.sort();
        assert_eq!(pointers, wanted, "{query}");
    }
    app.stop().await;
}
