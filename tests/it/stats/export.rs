//! `GET /v1/events/export`: the whole list as one file, and nobody else's.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use postroad::domain::id::Id;

use crate::support::app::TestApp;
use crate::support::client::{mail, text};
use crate::support::mailbag::{self, Letter};

fn lines(file: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(file).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

#[tokio::test]
async fn an_export_is_the_whole_list_over_many_pages_each_event_once() {
    let app = TestApp::start().await;
    let account = app.account("exporter").await;
    let tenant = account.tenant.parse().expect("an id");
    let mut database = app.database.connect().await;
    let now = mailbag::now(&mut database).await;
    let later = now + time::Duration::days(1);
    for part in 0..5u16 {
        let letter = |n: u16| {
            let mut letter = Letter::new(tenant, now, n % 16).to([format!("u{part}-{n}@example.net")]);
            letter.send_at = Some(later);
            letter.tags = vec![format!("part-{part}")];
            letter
        };
        mailbag::put(&mut database, now, (0..500).map(letter).collect()).await;
    }
    app.client.send_mail(mail("foreign@example.net")).await;

    let events = lines(&account.client.download("/v1/events/export").await);
    let ids: HashSet<String> = events.iter().map(|event| text(event, "/id")).collect();
    assert_eq!((events.len(), ids.len()), (2500, 2500));
    assert!(events.windows(2).all(|pair| text(&pair[0], "/id") > text(&pair[1], "/id")), "newest first");
    assert_eq!(events[..3], account.client.get("/v1/events?limit=3").await.list("/data"));

    let filtered = lines(&account.client.download("/v1/events/export?format=ndjson&tag=part-3").await);
    assert_eq!(filtered.len(), 500);
    let file = account.client.download("/v1/events/export?format=csv&recipient=U1-7@example.net").await;
    let mut reader = csv::Reader::from_reader(file.as_slice());
    let records: Vec<csv::StringRecord> = reader.records().map(|record| record.expect("a record")).collect();
    assert_eq!(records.len(), 1);
    let shown: Vec<&str> = records[0].iter().skip(5).collect();
    assert_eq!(
        (&records[0][1], shown),
        ("accepted", vec!["u1-7@example.net", "transactional", "[\"part-1\"]", "{}", "{}"])
    );
    let _: Id<postroad::domain::id::kind::Event> = records[0][0].parse().expect("an id");
    app.stop().await;
}

#[tokio::test]
async fn an_export_says_what_is_wrong_before_it_begins() {
    let app = TestApp::start().await;
    let request = app.client.request(Method::GET, "/v1/events/export?format=xml&type=sent&limit=5");
    let answer = app.client.send(request).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let mut pointers: Vec<String> =
        answer.list("/errors").iter().map(|error| text(error, "/pointer")).collect();
    pointers.sort();
    assert_eq!(pointers, ["?format", "?limit", "?type"]);
    app.stop().await;
}
