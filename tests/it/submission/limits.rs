//! What a submitter hears when a limit of his tenant is reached: 452 until the day is over, 451 for a moment.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;

/// A tenant with these limits, logged in.
async fn limited(doors: &Doors, limits: Value) -> Raw {
    let acme = doors.app.account("acme").await;
    let path = format!("/v1/tenants/{}/limits", acme.tenant);
    assert_eq!(doors.app.client.patch(&path, limits).await.status, reqwest::StatusCode::OK);
    doors.app.server().quotas().reload().await.expect("read");
    let key = acme.client.make_key(json!({ "name": "x", "scopes": ["send"] })).await;
    doors.logged_in_with(&key.secret).await
}

/// The seconds in an answer, which is otherwise this.
fn wait_in(said: &str, before: &str) -> u64 {
    let rest = said.strip_prefix(before).unwrap_or_else(|| panic!("{said}"));
    rest.strip_suffix(" s").and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

#[tokio::test]
async fn a_days_limit_answers_452_with_the_limit_and_the_wait_and_the_session_goes_on() {
    let doors = Doors::open().await;
    let mut client = limited(&doors, json!({ "per_day": 3 })).await;
    let two = ["ann@example.net", "bob@example.net"];
    queued(&client.mail("a@acme.example", &two, TEXT).await);

    let said = client.mail("a@acme.example", &two, TEXT).await;
    let wait = wait_in(&said, "452 4.7.0 Limit of 3 a day reached, try again in ");
    assert!((1..=86_401).contains(&wait), "{said}");
    assert_eq!(
        doors.app.database.count("SELECT count(*) FROM deliveries").await,
        2,
        "nothing of it is stored"
    );
    queued(&client.mail("a@acme.example", &["ann@example.net"], TEXT).await);
    assert!(client.mail("a@acme.example", &["ann@example.net"], TEXT).await.starts_with("452 4.7.0 "));
    assert_eq!(client.ask("NOOP\r\n").await, "250 2.0.0 Ok");
    doors.close().await;
}

#[tokio::test]
async fn a_seconds_limit_answers_451_and_takes_the_mail_a_moment_later() {
    let doors = Doors::open().await;
    let mut client = limited(&doors, json!({ "per_second": 1 })).await;
    let began = Instant::now();
    let (mut taken, mut refused) = (0, 0);
    while taken < 3 {
        let said = client.mail("a@acme.example", &["ann@example.net"], TEXT).await;
        if said.starts_with("250 ") {
            taken += 1;
        } else {
            let wait = wait_in(&said, "451 4.7.0 Limit of 1 a second reached, try again in ");
            assert_eq!(wait, 1, "{said}");
            refused += 1;
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        assert!(began.elapsed() < PATIENCE, "{taken} taken");
    }
    assert!(refused > 0 && began.elapsed().as_millis() >= 1000, "{refused} refused in {:?}", began.elapsed());
    doors.close().await;
}

#[tokio::test]
async fn what_a_tenant_may_not_send_in_one_mail_is_refused_for_good() {
    let doors = Doors::open().await;
    let mut client = limited(&doors, json!({ "message_bytes": 2000, "recipients": 1 })).await;
    let two = ["ann@example.net", "bob@example.net"];
    let said = client.mail("a@acme.example", &two, TEXT).await;
    assert_eq!(said, "550 5.6.0 a mail of this tenant has at most 1 recipients, this one has 2");
    let large = format!("{TEXT}{}", "\r\nHello again.".repeat(300));
    let said = client.mail("a@acme.example", &["ann@example.net"], &large).await;
    assert!(said.starts_with("552 5.3.4 "), "{said}");
    queued(&client.mail("a@acme.example", &["ann@example.net"], TEXT).await);
    doors.close().await;
}
