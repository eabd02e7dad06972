//! The guard of reputation: who is complained about too much sends no more broadcast mail, until somebody lets it go on.

use std::time::{Duration, Instant};

use postroad::domain::reputation::Thresholds;
use postroad::worker::guard;
use serde_json::json;

use super::*;
use crate::support::client::{PATIENCE, statuses};

fn thresholds() -> Thresholds {
    let percent = |text: &str| text.parse().ok();
    Thresholds {
        complaint_warn: percent("0.08"),
        complaint_hold: percent("0.3"),
        bounce_warn: percent("5"),
        bounce_hold: percent("10"),
        least_mails: 5,
    }
}

async fn looks(app: &TestApp) -> guard::Looked {
    let now = app.server().clock().now();
    guard::tick(app.server().database(), &thresholds(), now).await.expect("the database answers")
}

/// Looks until so many senders stand so: mail is counted within a second or two.
async fn until(app: &TestApp, wanted: impl Fn(guard::Looked) -> bool) {
    let began = Instant::now();
    while !wanted(looks(app).await) {
        assert!(began.elapsed() < PATIENCE, "{:#}", app.client.get("/v1/reputation").await.body);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// So many mails of this hour, as the roll-up counts them.
async fn counted(app: &TestApp, domain: &str, delivered: i64, dead: i64, complained: i64) {
    let counts = format!("'{{0,0,{delivered},{dead},{dead},0,0,0,{complained},0,0,0,0,0,0,0,0}}'");
    let statement = format!(
        "INSERT INTO stats (tenant_id, grain, dimension, start, value, counts, times)
         SELECT id, 0, 3, date_trunc('hour', now()), '{domain}', {counts}, '{{}}' FROM tenants WHERE name = 'default'"
    );
    app.database.change(&statement).await;
}

async fn notes(app: &TestApp) -> Vec<String> {
    let query = "SELECT action || ' ' || target FROM audit_log WHERE actor = 'postroad' AND action LIKE 'reputation.%'
                 ORDER BY action, target";
    app.database.texts(query).await
}

#[tokio::test]
async fn complaints_hold_broadcast_mail_and_a_hand_lets_it_go_on_for_good() {
    let app = builder().start().await;
    let mut first = None;
    for n in 0..8 {
        let mut body = mail(&format!("r{n}@example.net"));
        body["stream"] = json!("broadcast");
        let id = app.client.send_mail(body).await;
        app.client.ended(&id).await;
        first.get_or_insert(id);
    }
    let id = first.expect("sent");
    let arrived = app.client.arrived(&id).await;
    let (recipient, return_path) = ("r0@example.net".to_owned(), arrived[0].return_path.clone());
    let sent = Sent { id, recipient, return_path };
    let text = complaints::report(&app, "about-others", &sent).await;
    assert_eq!(post(door(&app), "", &sent.return_path, &text).await, "250 2.0.0 Ok: taken");
    until(&app, |looked| looked.held == 2).await;

    let shown = app.client.get("/v1/reputation").await;
    let senders = shown.list("/senders");
    let domain = senders.iter().find(|sender| sender["subject"] == "domain").expect("the domain");
    assert_eq!(
        (&domain["name"], &domain["standing"], &domain["delivered"], &domain["complained"]),
        (&json!("acme.example"), &json!("held"), &json!(8), &json!(1)),
    );
    let pauses = app.client.get("/v1/pauses").await.list("/data");
    assert_eq!(pauses.len(), 2, "{pauses:#?}");
    assert!(pauses.iter().all(|pause| pause["broadcast_only"] == true), "{pauses:#?}");
    assert_eq!(notes(&app).await, ["reputation.held acme.example", "reputation.held broadcast"]);
    assert_eq!(looks(&app).await.changed, 0, "it is told once");

    // Its broadcast mail waits; everything else goes.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut body = mail("later@example.net");
    body["stream"] = json!("broadcast");
    let waiting = app.client.send_mail(body).await;
    let other = app.client.send_mail(mail("other@example.net")).await;
    assert_eq!(statuses(&app.client.ended(&other).await), ["delivered"]);
    assert_eq!(status(&app, &waiting).await, "queued");

    for pause in pauses {
        let path = format!("/v1/pauses/{}", text_of(&pause));
        assert_eq!(app.client.delete(&path).await.status, 204);
    }
    assert_eq!(statuses(&app.client.ended(&waiting).await), ["delivered"]);
    let looked = looks(&app).await;
    assert_eq!((looked.held, looked.warned, looked.changed), (0, 0, 2), "{looked:?}");
    assert_eq!(looks(&app).await.held, 0, "what was counted before counts no more");
    assert!(notes(&app).await.contains(&"reputation.released acme.example".to_owned()));
    app.stop().await;
}

fn text_of(pause: &Value) -> String {
    text(pause, "/id")
}

#[tokio::test]
async fn owners_are_warned_before_and_told_when_all_is_well_again() {
    let app = builder().start().await;
    let domain = app.client.post("/v1/domains", json!({ "name": "warned.example" })).await.text("/id");
    counted(&app, "warned.example", 100_000, 0, 90).await;
    counted(&app, "dead.example", 90, 10, 0).await;
    counted(&app, "small.example", 2, 2, 2).await;
    let looked = looks(&app).await;
    assert_eq!((looked.warned, looked.held, looked.changed), (1, 1, 2), "{looked:?}");
    assert_eq!(notes(&app).await, ["reputation.held dead.example", "reputation.warned warned.example"]);
    let history = app.client.get(&format!("/v1/domains/{domain}")).await;
    let told = history.list("/history");
    let warned = told.iter().find(|note| note["kind"] == "reputation_warned").expect("it is told");
    assert!(text(warned, "/message").contains("0.09 % of its recipients complained"), "{warned:#}");

    let notices = app.client.get("/v1/notices").await.list("/data");
    let mut told: Vec<_> = notices.iter().map(|notice| (&notice["type"], &notice["subject"])).collect();
    told.sort_by_key(|(kind, _)| kind.to_string());
    assert_eq!(
        told,
        [
            (&json!("reputation.held"), &json!("dead.example")),
            (&json!("reputation.warned"), &json!("warned.example")),
        ],
    );

    app.database.change("UPDATE stats SET counts[9] = 10 WHERE value = 'warned.example'").await;
    assert_eq!(looks(&app).await.warned, 0);
    assert!(notes(&app).await.contains(&"reputation.recovered warned.example".to_owned()));
    // Others see nothing of it.
    let other = app.account("other").await;
    assert_eq!(other.client.get("/v1/reputation").await.list("/senders").len(), 0);
    app.stop().await;
}
