//! Tenants: made, renamed, suspended and deleted by operators; suspension holds mail, and loses none (fault H4).

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::account::Account;
use crate::support::app::TestApp;
use crate::support::client::{Answer, Client, PATIENCE, mail, statuses};
use crate::support::sink::{SmtpSink, Step, at, hold, reply, usual};

async fn change(app: &TestApp, account: &Account, body: Value) -> Answer {
    let answer = app.client.patch(&format!("/v1/tenants/{}", account.tenant), body).await;
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    answer
}

/// Waits until the tenant's key is answered so.
async fn until_answered(client: &Client, wanted: StatusCode) -> Answer {
    let began = Instant::now();
    loop {
        let answer = client.get("/v1/messages").await;
        if answer.status == wanted {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{}: {:#}", answer.status, answer.body);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_tenant_is_made_read_renamed_and_deleted() {
    let app = TestApp::start().await;
    let made = app.client.post("/v1/tenants", json!({ "name": "acme.shop-1_a" })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let path = format!("/v1/tenants/{}", made.text("/id"));
    let mut shown = made.body.clone();
    assert!(shown.as_object_mut().expect("an object").remove("created_at").is_some());
    let wanted = json!({ "id": made.text("/id"), "name": "acme.shop-1_a", "suspended": false, "suspended_at": null, "dsn": "asked", "require_tls": false });
    assert_eq!(shown, wanted);
    assert_eq!(app.client.get(&path).await.body, made.body);

    let renamed = app.client.patch(&path, json!({ "name": "other" })).await;
    assert_eq!((renamed.status, renamed.text("/name")), (StatusCode::OK, "other".into()));
    assert_eq!(app.client.patch(&path, json!({})).await.body, renamed.body, "what is not named stays");

    assert_eq!(app.client.delete(&path).await.status, StatusCode::NO_CONTENT);
    for answer in [
        app.client.get(&path).await,
        app.client.delete(&path).await,
        app.client.patch(&path, json!({})).await,
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    }
    app.stop().await;
}

#[tokio::test]
async fn names_are_unique_and_plain() {
    let app = TestApp::start().await;
    let taken = app.account("taken").await;
    let other = app.account("other").await;
    let conflict = |answer: Answer| (answer.status, answer.code());
    let wanted = (StatusCode::CONFLICT, "conflict".to_owned());
    assert_eq!(conflict(app.client.post("/v1/tenants", json!({ "name": "taken" })).await), wanted);
    let path = format!("/v1/tenants/{}", other.tenant);
    assert_eq!(
        conflict(app.client.patch(&path, json!({ "name": "taken", "suspended": true })).await),
        wanted
    );
    assert_eq!(app.client.get(&path).await.body["suspended"], json!(false), "all or nothing");
    change(&app, &taken, json!({ "name": "taken" })).await;
    for (body, pointer, code) in [
        (json!({}), "/name", "required"),
        (json!({ "name": 7 }), "/name", "wrong_type"),
        (json!({ "name": "" }), "/name", "invalid_name"),
        (json!({ "name": "Acme" }), "/name", "invalid_name"),
        (json!({ "name": "-a" }), "/name", "invalid_name"),
        (json!({ "name": "a".repeat(64) }), "/name", "invalid_name"),
        (json!({ "name": "a", "plan": "free" }), "/plan", "unknown_field"),
        (json!([]), "", "wrong_type"),
    ] {
        let answer = app.client.post("/v1/tenants", body.clone()).await;
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    let answer = app.client.patch(&path, json!({ "suspended": "yes" })).await;
    assert_eq!(answer.violations(), [("/suspended".into(), "wrong_type".into())]);
    app.stop().await;
}

#[tokio::test]
async fn a_suspended_tenants_keys_are_refused_on_every_node_within_a_second() {
    let app = TestApp::start().await;
    let other = TestApp::builder().on(&app.database).start().await;
    let acme = app.account("acme").await;
    let elsewhere = {
        let key = acme.client.make_key(json!({ "name": "n", "scopes": ["read"] })).await;
        other.client.with_key(&key.secret)
    };
    until_answered(&elsewhere, StatusCode::OK).await;

    let suspended = change(&app, &acme, json!({ "suspended": true })).await;
    let at = Instant::now();
    assert!(suspended.body["suspended"] == json!(true) && suspended.body["suspended_at"].is_string());

    for client in [&acme.client, &elsewhere] {
        let mut honoured = None;
        loop {
            let asked = Instant::now();
            let answer = client.get("/v1/messages").await;
            if answer.status != StatusCode::OK {
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (StatusCode::FORBIDDEN, "tenant_suspended")
                );
                break;
            }
            honoured = Some(asked);
        }
        let late = honoured.map(|asked| asked.saturating_duration_since(at)).unwrap_or_default();
        assert!(late < Duration::from_secs(1), "honoured {late:?} after the suspension");
    }
    let refused = acme.client.post("/v1/messages", mail("ann@example.net")).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "tenant_suspended"));

    let again = change(&app, &acme, json!({ "suspended": true })).await;
    assert_eq!(again.body, suspended.body, "since the first time");
    change(&app, &acme, json!({ "suspended": false })).await;
    for client in [&acme.client, &elsewhere] {
        until_answered(client, StatusCode::OK).await;
    }
    other.drain().await;
    app.stop().await;
}

#[tokio::test]
async fn what_a_suspended_tenant_has_queued_is_held_and_goes_when_it_is_reinstated() {
    let sink = SmtpSink::builder().on_rcpt("held", reply("451 4.7.1 later")).start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;
    let (acme, other) = (app.account("acme").await, app.account("other").await);
    let mut held = Vec::new();
    for number in 0..20 {
        let id = acme.client.send_mail(mail(&format!("held{number}@example.net"))).await;
        acme.client.until(&id, |message| message["deliveries"][0]["next_attempt_at"].is_string()).await;
        held.push(id);
    }
    let mut waiting = Vec::new();
    for number in 0..5 {
        let id = other.client.send_mail(mail(&format!("held-too{number}@example.net"))).await;
        other.client.until(&id, |message| message["deliveries"][0]["next_attempt_at"].is_string()).await;
        waiting.push(id);
    }
    change(&app, &acme, json!({ "suspended": true })).await;
    sink.be_friendly();
    app.database.make_due().await;

    // Mail of others goes its way meanwhile: what waits beside it, and so has been claimed, and what is new.
    for id in waiting {
        other.client.ended(&id).await;
    }
    for number in 0..5 {
        let id = other.client.send_mail(mail(&format!("r{number}@example.net"))).await;
        other.client.ended(&id).await;
    }
    assert_eq!(sink.received().len(), 10, "nothing of the suspended tenant");
    let waiting = "SELECT count(*) FROM queue WHERE leased_by IS NULL AND attempts = 1";
    assert_eq!(app.database.count(waiting).await, 20, "all of it is there, untried");

    change(&app, &acme, json!({ "suspended": false })).await;
    until_answered(&acme.client, StatusCode::OK).await;
    for id in held {
        assert_eq!(statuses(&acme.client.ended(&id).await), ["delivered"]);
    }
    assert_eq!(sink.received().len(), 30);
    app.stop().await;
}

#[tokio::test]
async fn what_waits_in_memory_for_a_connection_is_held_too() {
    let (stop, mut held) = hold();
    let sink = SmtpSink::builder().when(at(Step::Connect), stop.then(usual())).start().await;
    let route = format!("smtp://127.0.0.1:{}?tls=none&connections=1", sink.address().port());
    let app = TestApp::builder().set("POSTROAD_ROUTE", &route).start().await;
    let acme = app.account("acme").await;
    let mut sent = Vec::new();
    for number in 0..20 {
        sent.push(acme.client.send_mail(mail(&format!("r{number}@example.net"))).await);
    }
    held.reached().await;

    change(&app, &acme, json!({ "suspended": true })).await;
    until_answered(&acme.client, StatusCode::FORBIDDEN).await;
    held.release();
    let other = app.account("other").await;
    let next = other.client.send_mail(mail("next@example.net")).await;
    other.client.ended(&next).await;

    // One may have been on its way already.
    let of_acme = sink.received().iter().filter(|mail| mail.to() != ["next@example.net"]).count();
    assert!(of_acme <= 1, "{of_acme} were sent after the suspension");
    change(&app, &acme, json!({ "suspended": false })).await;
    until_answered(&acme.client, StatusCode::OK).await;
    for id in sent {
        assert_eq!(statuses(&acme.client.ended(&id).await), ["delivered"]);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_tenant_with_queued_mail_is_not_deleted_and_one_without_is_gone_with_its_keys() {
    let app = TestApp::start().await;
    let acme = app.account("acme").await;
    let path = format!("/v1/tenants/{}", acme.tenant);
    let later = app.server().clock().now() + time::Duration::hours(1);
    let mut body = mail("ann@example.net");
    body["send_at"] = later.format(&time::format_description::well_known::Rfc3339).expect("a moment").into();
    let id = acme.client.send_mail(body).await;
    let relay = json!({ "host": "smtp.acme.example" });
    assert_eq!(acme.client.post("/v1/relays", relay).await.status, StatusCode::CREATED);

    let refused = app.client.delete(&path).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "conflict"));
    let canceled = acme.client.post(&format!("/v1/messages/{id}/cancel"), json!({})).await;
    assert_eq!(canceled.status, StatusCode::OK);

    assert_eq!(app.client.delete(&path).await.status, StatusCode::NO_CONTENT);
    until_answered(&acme.client, StatusCode::UNAUTHORIZED).await;
    for table in ["api_keys", "relays"] {
        let left = format!("SELECT count(*) FROM {table} WHERE tenant_id NOT IN (SELECT id FROM tenants)");
        assert_eq!(app.database.count(&left).await, 0, "{table}");
    }
    let again = app.account("acme").await;
    assert_eq!(
        again.client.all_pages("/v1/messages", 100).await,
        Vec::<Value>::new(),
        "the name is free, and new"
    );
    app.stop().await;
}

#[tokio::test]
async fn nobody_deletes_his_own_tenant() {
    let app = TestApp::start().await;
    let own = app.client.all_pages("/v1/tenants", 100).await[0]["id"].as_str().expect("an id").to_owned();
    let answer = app.client.delete(&format!("/v1/tenants/{own}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::CONFLICT, "conflict"));
    app.stop().await;
}

#[tokio::test]
async fn what_operators_do_is_written_down_with_who_did_it() {
    let app = TestApp::start().await;
    let acme = app.account("acme").await;
    change(&app, &acme, json!({ "suspended": true })).await;
    app.client.delete(&format!("/v1/tenants/{}", acme.tenant)).await;
    let mut connection = app.database.connect().await;
    let entries: Vec<(String, String, Option<String>)> =
        sqlx::query_as("SELECT action, actor, host(ip) FROM audit_log WHERE target = $1 ORDER BY id")
            .bind(&acme.tenant)
            .fetch_all(&mut connection)
            .await
            .expect("entries");
    let actions: Vec<&str> = entries.iter().map(|(action, _, _)| action.as_str()).collect();
    assert_eq!(actions, ["tenant.create", "tenant.update", "tenant.delete"]);
    let key = app.client.all_pages("/v1/keys", 100).await[0]["id"].clone();
    for (action, actor, ip) in &entries {
        assert_eq!((json!(actor), ip.as_deref()), (key.clone(), Some("127.0.0.1")), "{action}");
    }
    app.stop().await;
}
