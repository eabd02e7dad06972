//! API keys: shown once, known by their hash alone, restricted as they say, and gone when they are revoked
//! (security 5.2, fault H4).

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use time::format_description::well_known::Rfc3339;

use crate::support::app::{KEY, TestApp};
use crate::support::client::{Answer, Client, PATIENCE, mail, text};
use crate::support::program::{self, Settings};

async fn status(client: &Client) -> StatusCode {
    client.get("/v1/messages").await.status
}

/// Asks again and again until a key is refused; gives when it was last honoured.
async fn until_refused(client: &Client) -> Option<Instant> {
    let (began, mut honoured) = (Instant::now(), None);
    loop {
        let asked = Instant::now();
        match status(client).await {
            StatusCode::OK => honoured = Some(asked),
            StatusCode::UNAUTHORIZED => return honoured,
            other => panic!("{other}"),
        }
        assert!(began.elapsed() < PATIENCE, "it is never refused");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_known_by_its_hint() {
    let app = TestApp::start().await;
    let body = json!({
        "name": "Shop ☃", "scopes": ["read", "send", "read"], "domains": ["Acme.example", "münchen.example"],
        "streams": ["news"], "allow_ips": ["127.0.0.1", "2001:db8::/32"], "rate_per_second": 50,
        "expires_at": "2099-01-01T01:00:00+01:00",
    });

    let made = app.client.post("/v1/keys", body).await;

    assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
    let (id, secret) = (made.text("/id"), made.text("/key"));
    let mut shown = made.body.clone();
    let members = shown.as_object_mut().expect("an object");
    assert!(members.remove("key").is_some() && members.remove("created_at").is_some());
    let hint = format!("{}…", &secret[..12]);
    let wanted = json!({
        "id": id, "name": "Shop ☃", "hint": hint, "scopes": ["send", "read"], "test": false,
        "domains": ["acme.example", "xn--mnchen-3ya.example"], "streams": ["news"],
        "allow_ips": ["127.0.0.1/32", "2001:db8::/32"], "rate_per_second": 50,
        "access_key_id": null, "smtp_networks": null,
        "expires_at": "2099-01-01T00:00:00.000Z", "last_used_at": null, "revoked_at": null,
    });
    assert_eq!(shown, wanted);

    let read = app.client.get(&format!("/v1/keys/{id}")).await;
    let mut expected = made.body.clone();
    expected.as_object_mut().expect("an object").remove("key");
    assert_eq!(read.body, expected);
    let listed = app.client.all_pages("/v1/keys", 1).await;
    assert_eq!(listed.len(), 2, "the first key of all, and this one: oldest first");
    assert_eq!(listed[1], expected);
    let another = app.client.make_key(json!({ "name": "n", "scopes": ["send"], "test": true })).await;
    assert!(secret.starts_with("pr_live_") && another.secret.starts_with("pr_test_"));
    assert_ne!(secret[8..], another.secret[8..]);
    app.stop().await;
}

/// Every row of every table, as text; octets are in hexadecimal.
async fn dump(connection: &mut PgConnection) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'",
    )
    .fetch_all(&mut *connection)
    .await
    .expect("tables");
    assert!(tables.len() > 10, "{tables:?}");
    let mut all = String::new();
    for table in tables {
        let rows = format!("SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM {table} t");
        let rows: String =
            sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(&mut *connection).await.expect("rows");
        all.push_str(&rows);
        all.push('\n');
    }
    all
}

#[tokio::test]
async fn no_secret_is_in_the_database_or_in_the_log() {
    let app = TestApp::start().await;
    let database = app.drain().await;
    let directory = program::directory();
    let settings = Settings::embedded(directory.path()).database(&database.url);
    let mut program = settings.set("POSTROAD_LOG", "debug").set("POSTROAD_ALLOW_PRIVATE", "true").start();
    let client = program.client.clone();
    let key = client.make_key(json!({ "name": "visible-name", "scopes": ["send", "read", "manage"] })).await;
    let (password, client_secret, token) =
        ("hunter2-relay-password", "oauth-client-secret", "oauth-refresh-token");
    let relays = [
        json!({ "host": "127.0.0.1", "port": 9, "match": { "domain": "one.example" },
                "auth": { "type": "password", "username": "mailer", "password": password } }),
        json!({ "host": "127.0.0.1", "port": 9, "match": { "domain": "two.example" },
                "auth": { "type": "xoauth2", "username": "mailer", "token_url": "http://127.0.0.1:9/token",
                          "client_id": "id", "client_secret": client_secret, "refresh_token": token } }),
    ];
    for relay in relays {
        let made = key.client.post("/v1/relays", relay).await;
        assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
        for secret in [password, client_secret, token] {
            assert!(!made.body.to_string().contains(secret), "{:#}", made.body);
            let listed = key.client.get("/v1/relays").await.body.to_string();
            assert!(!listed.contains(secret), "{listed}");
        }
    }
    for to in ["ann@one.example", "ann@two.example"] {
        let id = key.client.send_mail(mail(to)).await;
        key.client
            .until(&id, |message| {
                !message["deliveries"][0]["attempts"].as_array().expect("a list").is_empty()
            })
            .await;
    }
    assert_eq!(status(&client.with_key("pr_live_wrong-key-in-clear")).await, StatusCode::UNAUTHORIZED);
    let mut connection = database.connect().await;
    let dump = dump(&mut connection).await;
    program.terminate();
    let log = program.log_text();

    assert!(dump.contains("visible-name"), "the dump shows what it should");
    assert!(log.contains("DEBUG"), "the log tells much");
    for secret in [&key.secret, KEY, password, client_secret, token, "pr_live_wrong-key-in-clear"] {
        let hex = data_encoding::HEXLOWER.encode(secret.as_bytes());
        let base64 = data_encoding::BASE64.encode(secret.as_bytes());
        for form in [secret, &hex, &base64] {
            assert!(!dump.contains(form), "{secret} is in the database");
            assert!(!log.contains(form), "{secret} is in the log");
        }
    }
    database.drop_now().await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_on_every_node_within_a_second() {
    let one = TestApp::start().await;
    let other = TestApp::builder().on(&one.database).start().await;
    let key = one.key(json!({ "name": "n", "scopes": ["read"] })).await;
    let elsewhere = other.client.with_key(&key.secret);
    for client in [&key.client, &elsewhere] {
        assert_eq!(status(client).await, StatusCode::OK);
    }
    let path = format!("/v1/keys/{}", key.id);

    let revoked = one.client.delete(&path).await;
    let revoked_at = Instant::now();
    assert_eq!((revoked.status, &revoked.body), (StatusCode::NO_CONTENT, &Value::String(String::new())));

    for client in [&key.client, &elsewhere] {
        let honoured = until_refused(client).await;
        let late = honoured.map(|at| at.saturating_duration_since(revoked_at)).unwrap_or_default();
        assert!(late < Duration::from_secs(1), "honoured {late:?} after it was revoked");
        for _ in 0..3 {
            assert_eq!(status(client).await, StatusCode::UNAUTHORIZED, "and it stays so");
        }
    }
    let shown = one.client.get(&path).await;
    assert_ne!(shown.body["revoked_at"], Value::Null);
    let again = one.client.delete(&path).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    assert_eq!(one.client.all_pages("/v1/keys", 100).await.len(), 2, "it stays in the list");
    other.drain().await;
    one.stop().await;
}

// H4: who cannot hear of changes relies on nothing that is in memory.
#[tokio::test]
async fn a_key_is_looked_up_anew_while_nobody_hears_of_changes() {
    let app = TestApp::start().await;
    let key = app.key(json!({ "name": "n", "scopes": ["read"] })).await;
    assert_eq!(status(&key.client).await, StatusCode::OK);
    let held = app.database.hold("revisions").await;
    app.database.change("UPDATE api_keys SET revoked_at = clock_timestamp() WHERE name = 'n'").await;
    until_refused(&key.client).await;
    drop(held);
    app.stop().await;
}

#[tokio::test]
async fn a_key_can_revoke_itself() {
    let app = TestApp::start().await;
    let key = app.key(json!({ "name": "n", "scopes": ["read", "manage"] })).await;
    let revoked = key.client.delete(&format!("/v1/keys/{}", key.id)).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    until_refused(&key.client).await;
    app.stop().await;
}

#[tokio::test]
async fn a_key_ends_when_it_says() {
    let app = TestApp::start().await;
    let end = app.server().clock().now() + time::Duration::milliseconds(1500);
    let at = |moment: time::OffsetDateTime| json!({ "name": "n", "scopes": ["read"], "expires_at": moment.format(&Rfc3339).expect("a moment") });
    let key = app.key(at(end)).await;

    assert_eq!(status(&key.client).await, StatusCode::OK);
    until_refused(&key.client).await;
    assert!(app.server().clock().now() >= end, "not before");

    let past = app.key(at(end - time::Duration::hours(1))).await;
    assert_eq!(status(&past.client).await, StatusCode::UNAUTHORIZED);
    app.stop().await;
}

#[tokio::test]
async fn a_key_bound_to_networks_is_refused_elsewhere() {
    let app = TestApp::builder().set("POSTROAD_TRUSTED_PROXIES", "127.0.0.0/8").start().await;
    let bound = |nets: Value| json!({ "name": "n", "scopes": ["read"], "allow_ips": nets });
    let local = app.key(bound(json!(["127.0.0.0/8"]))).await.client;
    let office = app.key(bound(json!(["192.0.2.0/24", "2001:db8::1"]))).await.client;
    let nowhere = app.key(bound(json!([]))).await.client;
    let from = |client: &Client, address: &str| {
        let request = client.request(Method::GET, "/v1/messages").header("X-Forwarded-For", address);
        let client = client.clone();
        async move { client.send(request).await }
    };
    assert_eq!(status(&local).await, StatusCode::OK);
    for (client, address, wanted) in [
        (&local, "192.0.2.1", StatusCode::FORBIDDEN),
        (&office, "192.0.2.77", StatusCode::OK),
        (&office, "::ffff:192.0.2.77", StatusCode::OK),
        (&office, "2001:db8::1", StatusCode::OK),
        (&office, "2001:db8::2", StatusCode::FORBIDDEN),
        (&office, "192.0.3.1", StatusCode::FORBIDDEN),
        // Only what the last proxy says counts.
        (&office, "192.0.2.77, 198.51.100.1", StatusCode::FORBIDDEN),
        (&nowhere, "127.0.0.1", StatusCode::FORBIDDEN),
    ] {
        let answer = from(client, address).await;
        assert_eq!(answer.status, wanted, "{address}: {:#}", answer.body);
    }
    app.stop().await;

    let direct = TestApp::start().await;
    let office = direct.key(bound(json!(["192.0.2.0/24"]))).await.client;
    assert_eq!(from(&office, "192.0.2.77").await.status, StatusCode::FORBIDDEN, "nobody's word is believed");
    direct.stop().await;
}

#[tokio::test]
async fn the_author_of_raw_mail_is_bound_too() {
    let app = TestApp::start().await;
    let limits = json!({ "name": "n", "scopes": ["send"], "domains": ["münchen.example"] });
    let client = app.key(limits).await.client;
    let raw = |query: &str, from: &str| {
        let path = format!("/v1/messages?to=ann@example.net{query}");
        let request = client.request(Method::POST, &path).header("Content-Type", "message/rfc822");
        client.send(request.body(format!("From: {from}\r\nSubject: x\r\n\r\nText\r\n")))
    };
    let refused = (StatusCode::FORBIDDEN, "domain_not_allowed".to_owned());
    let told = |answer: &Answer| (answer.status, answer.code());
    assert_eq!(raw("", "a@xn--mnchen-3ya.example").await.status, StatusCode::ACCEPTED);
    assert_eq!(told(&raw("", "a@acme.example").await), refused);
    assert_eq!(told(&raw("&from=a@xn--mnchen-3ya.example", "a@acme.example").await), refused, "the author");
    assert_eq!(told(&raw("&from=a@acme.example", "a@xn--mnchen-3ya.example").await), refused, "the envelope");
    let json = client.post("/v1/messages", mail("ann@example.net")).await;
    assert_eq!(told(&json), refused);
    app.stop().await;
}

#[tokio::test]
async fn a_key_with_a_rate_is_slowed_down_and_told_when_to_come_again() {
    let app = TestApp::start().await;
    let limited = json!({ "name": "n", "scopes": ["read"], "rate_per_second": 3 });
    let (slow, other) = (app.key(limited.clone()).await.client, app.key(limited).await.client);
    let began = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let client = slow.clone();
        calls.spawn(async move { client.get("/v1/messages").await });
    }
    let answers = calls.join_all().await;
    let (passed, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status.is_success());

    let most = 3 + 3 * (began.elapsed().as_secs() as usize + 1);
    assert!((3..=most).contains(&passed.len()), "{} passed", passed.len());
    for answer in &passed {
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=1"));
        assert!(answer.header("ratelimit").is_some_and(|left| left.starts_with("\"default\";r=")));
    }
    for answer in &refused {
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"));
        assert_eq!(answer.header("ratelimit"), Some("\"default\";r=0;t=1"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert!(!refused.is_empty());
    assert_eq!(status(&other).await, StatusCode::OK, "each key has its own share");
    assert_eq!(app.client.get("/v1/messages").await.header("ratelimit"), None, "no rate, no header");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&slow).await, StatusCode::OK, "as Retry-After said");
    app.stop().await;
}

#[tokio::test]
async fn an_installation_can_give_every_key_a_rate() {
    let app = TestApp::builder().set("POSTROAD_KEY_RATE", "1000").start().await;
    let answer = app.client.get("/v1/messages").await;
    assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=1000;w=1"));
    let own = app.key(json!({ "name": "n", "scopes": ["read"], "rate_per_second": 7 })).await;
    let answer = own.client.get("/v1/messages").await;
    assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=7;w=1"));
    app.stop().await;
}

#[tokio::test]
async fn a_key_tells_when_it_was_last_used() {
    let app = TestApp::start().await;
    let (used, idle) = (
        app.key(json!({ "name": "used", "scopes": ["read"] })).await,
        app.key(json!({ "name": "idle", "scopes": ["read"] })).await,
    );
    let before = app.server().clock().now();
    assert_eq!(status(&used.client).await, StatusCode::OK);
    // What is noted in memory is written every half a minute, and when the process ends.
    let database = app.drain().await;
    let app = TestApp::builder().on(&database).start().await;
    let shown = app.client.get(&format!("/v1/keys/{}", used.id)).await.body;
    let at = time::OffsetDateTime::parse(&text(&shown, "/last_used_at"), &Rfc3339).expect("a moment");
    assert!(at >= before - time::Duration::MILLISECOND && at <= app.server().clock().now());
    let shown = app.client.get(&format!("/v1/keys/{}", idle.id)).await.body;
    assert_eq!(shown["last_used_at"], Value::Null);
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_key_is_named() {
    let app = TestApp::start().await;
    let cases = [
        (json!({ "name": null }), "/name", "required"),
        (json!({ "name": "" }), "/name", "invalid_name"),
        (json!({ "name": 7 }), "/name", "wrong_type"),
        (json!({ "name": "x".repeat(101) }), "/name", "invalid_name"),
        (json!({ "name": "a\nb" }), "/name", "invalid_name"),
        (json!({ "scopes": null }), "/scopes", "required"),
        (json!({ "scopes": [] }), "/scopes", "required"),
        (json!({ "scopes": "send" }), "/scopes", "wrong_type"),
        (json!({ "scopes": ["send", "Read"] }), "/scopes/1", "invalid_scope"),
        (json!({ "test": "yes" }), "/test", "wrong_type"),
        (json!({ "expires_at": "soon" }), "/expires_at", "invalid_time"),
        (json!({ "domains": ["acme.example", "a b"] }), "/domains/1", "invalid_domain"),
        (json!({ "streams": ["News"] }), "/streams/0", "invalid_stream"),
        (json!({ "allow_ips": ["127.0.0.1", "300.0.0.1"] }), "/allow_ips/1", "invalid_network"),
        (json!({ "allow_ips": "127.0.0.1" }), "/allow_ips", "wrong_type"),
        (json!({ "rate_per_second": 0 }), "/rate_per_second", "out_of_range"),
        (json!({ "rate_per_second": 1_000_001 }), "/rate_per_second", "out_of_range"),
        (json!({ "tenant_id": "default" }), "/tenant_id", "invalid_id"),
        (json!({ "key": "mine" }), "/key", "unknown_field"),
    ];
    for (changes, pointer, code) in cases {
        let mut body = json!({ "name": "n", "scopes": ["send"] });
        body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let answer = app.client.post("/v1/keys", body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{changes}: {:#}", answer.body);
        let found = answer.violations();
        assert!(found.contains(&(pointer.to_owned(), code.to_owned())), "{changes}: {found:?}");
        assert_eq!(found.len(), 1, "{changes}: {found:?}");
    }
    assert_eq!(app.client.all_pages("/v1/keys", 100).await.len(), 1);
    app.stop().await;
}
