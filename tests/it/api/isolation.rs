//! Who may see and do what, held for every route there is: tenants know nothing of each other, a key does what its
//! scopes say, and without a key there is nothing (security 5.1).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;

use postroad::domain::id::{
    AccountNoticeId, CapturedId, DomainId, ErasureId, InboundId, InboundRouteId, IpId, IpRuleId, KeyId, Lane,
    MessageId, PauseId, RelayId, StreamId, SuppressionId, TemplateId, TenantId, WebhookId,
};
use postroad::domain::key::Scope;

use crate::support::account::Account;
use crate::support::app::TestApp;
use crate::support::client::{Answer, Client, mail, text};
use crate::support::routes::{Named, ROUTES, Route};
use crate::support::sse::EventStream;

/// The ids of what a tenant has: one of each kind.
#[derive(Debug)]
struct Belongings {
    account: Account,
    message: String,
    captured: String,
    key: String,
    relay: String,
    template: String,
    domain: String,
    pause: String,
    inbound: String,
    inbound_route: String,
    suppression: String,
    webhook: String,
    stream: String,
    notice: String,
    erasure: String,
}

impl Belongings {
    /// A tenant with one of everything.
    async fn of(app: &TestApp, name: &str) -> Belongings {
        let account = app.account(name).await;
        let client = &account.client;
        let mut body = mail(&format!("secret-{name}@example.net"));
        body["tags"] = json!([format!("tag-{name}")]);
        let message = client.send_mail(body).await;
        client.ended(&message).await;
        let captured = text(&client.all_pages("/v1/captured", 100).await[0], "/id");
        let key = client.make_key(json!({ "name": "another", "scopes": ["read"] })).await.id;
        let body = json!({ "host": "smtp.acme.example", "match": { "domain": "nowhere.example" } });
        let relay = client.post("/v1/relays", body).await.text("/id");
        let body = json!({ "alias": "same", "text": format!("secret of {name}") });
        let template = client.post("/v1/templates", body).await.text("/id");
        let pause = client.post("/v1/pauses", json!({ "stream": "held" })).await.text("/id");
        let domain = format!("{name}.example");
        let body = json!({ "match": domain, "action": "store" });
        let inbound_route = client.post("/v1/inbound-routes", body).await.text("/id");
        let inbound = app.database.keep_inbound(&account.tenant, &domain).await;
        let domain = text(&client.add_domain(&domain).await, "/id");
        let body = json!({ "email": format!("never-{name}@example.net") });
        let suppression = client.post("/v1/suppressions", body).await.text("/id");
        // It is never called: the owner disabled it.
        let body = json!({ "url": "https://hooks.acme.example/", "enabled": false });
        let webhook = client.post("/v1/webhooks", body).await.text("/id");
        let stream = client.post("/v1/streams", json!({ "name": "news" })).await.text("/id");
        let erasure = client.erase(&format!("nobody-{name}@example.net"), false).await;
        let notice = app.database.raise_notice(&account.tenant).await;
        Belongings {
            account,
            message,
            captured,
            key,
            relay,
            domain,
            inbound,
            inbound_route,
            suppression,
            webhook,
            stream,
            notice,
            erasure,
            pause,
            template,
        }
    }

    fn id(&self, named: Named) -> &str {
        match named {
            Named::Message => &self.message,
            Named::Captured => &self.captured,
            Named::Key => &self.key,
            Named::Relay => &self.relay,
            Named::Template => &self.template,
            Named::Domain => &self.domain,
            Named::Pause => &self.pause,
            // The installation's: no tenant has one.
            Named::SitePause => "pau_none",
            Named::Ip => "ip_none",
            Named::IpRule => "ipr_none",
            Named::Inbound => &self.inbound,
            Named::InboundRoute => &self.inbound_route,
            Named::Suppression => &self.suppression,
            Named::Webhook => &self.webhook,
            Named::Stream => &self.stream,
            Named::Notice => &self.notice,
            Named::Erasure => &self.erasure,
            Named::Tenant => &self.account.tenant,
        }
    }
}

/// A well-formed id that nothing has.
fn unknown(named: Named) -> String {
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
    match named {
        Named::Message => MessageId::in_lane(now, Lane::new(3)).to_string(),
        Named::Captured => CapturedId::new(now).to_string(),
        Named::Key => KeyId::new(now).to_string(),
        Named::Relay => RelayId::new(now).to_string(),
        Named::Template => TemplateId::new(now).to_string(),
        Named::Domain => DomainId::new(now).to_string(),
        Named::Pause | Named::SitePause => PauseId::new(now).to_string(),
        Named::Ip => IpId::new(now).to_string(),
        Named::IpRule => IpRuleId::new(now).to_string(),
        Named::Inbound => InboundId::new(now).to_string(),
        Named::InboundRoute => InboundRouteId::new(now).to_string(),
        Named::Suppression => SuppressionId::new(now).to_string(),
        Named::Webhook => WebhookId::new(now).to_string(),
        Named::Stream => StreamId::new(now).to_string(),
        Named::Notice => AccountNoticeId::new(now).to_string(),
        Named::Erasure => ErasureId::new(now).to_string(),
        Named::Tenant => TenantId::new(now).to_string(),
    }
}

/// A body that the route could use.
fn body(route: &Route) -> Option<Value> {
    match (route.method, route.path) {
        ("PATCH", "/v1/messages/{id}") => Some(json!({ "send_at": "2026-01-01T00:00:00Z" })),
        ("PATCH", "/v1/templates/{id}") => Some(json!({ "text": "stolen" })),
        ("PATCH", "/v1/domains/{id}") => Some(json!({ "paused": true })),
        ("PATCH", "/v1/tenants/{id}") => Some(json!({ "suspended": true })),
        ("PATCH", "/v1/ips/{id}") => Some(json!({ "state": "paused" })),
        ("PATCH", "/v1/streams/{id}") => Some(json!({ "title": "changed" })),
        ("PATCH", "/v1/tenants/{id}/limits") => Some(json!({ "per_day": null })),
        ("PATCH", "/v1/notices/settings") => Some(json!({ "emails": [] })),
        ("PATCH", "/v1/streams/policy") => Some(json!({ "unknown": "accept" })),
        ("PATCH", "/v1/inbound-routes/{id}") => Some(json!({ "priority": 7 })),
        ("PATCH", "/v1/webhooks/{id}") => Some(json!({ "description": "changed" })),
        ("POST", _) => Some(json!({})),
        _ => None,
    }
}

async fn call(client: &Client, route: &Route, id: &str) -> Answer {
    let request = client.request(route.method(), &route.with(id));
    let request = match body(route) {
        Some(body) => request.json(&body),
        None => request,
    };
    client.send(request).await
}

/// Everything a tenant can see of its own.
async fn sight(owner: &Belongings) -> Vec<Value> {
    let mut seen = Vec::new();
    for route in ROUTES.iter().filter(|route| route.method == "GET" && route.scope != Scope::Operate) {
        let id = route.id.map_or("", |named| owner.id(named));
        if route.path == "/v1/events/stream" {
            continue;
        }
        let mut answer = call(&owner.account.client, route, id).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", route.path);
        forget_last_use(&mut answer.body);
        seen.push(answer.body);
    }
    seen
}

/// Keys are used by looking, and figures are as of the moment.
fn forget_last_use(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("last_used_at");
            members.remove("as_of");
            members.remove("since");
            members.remove("until");
            members.values_mut().for_each(forget_last_use);
        }
        Value::Array(list) => list.iter_mut().for_each(forget_last_use),
        _ => {}
    }
}

#[tokio::test]
async fn the_things_of_others_are_unknown_on_every_route_and_stay_as_they_are() {
    let app = TestApp::start().await;
    let (mine, theirs) = (Belongings::of(&app, "mine").await, Belongings::of(&app, "theirs").await);
    let before = sight(&theirs).await;

    let mut tried = 0;
    for route in ROUTES.iter().filter(|route| route.scope != Scope::Operate) {
        let Some(named) = route.id else { continue };
        let foreign = call(&mine.account.client, route, theirs.id(named)).await;
        let nothing = call(&mine.account.client, route, &unknown(named)).await;
        let name = format!("{} {}", route.method, route.path);
        assert_eq!((foreign.status, foreign.code().as_str()), (StatusCode::NOT_FOUND, "not_found"), "{name}");
        assert_eq!(foreign.anonymous(), nothing.anonymous(), "{name}");
        assert_eq!(names(&foreign), names(&nothing), "{name}");
        tried += 1;
    }

    assert_eq!(tried, 45, "every route with an id of a tenant's own");
    assert_eq!(sight(&theirs).await, before);
    let moved = app.database.count("SELECT count(*) FROM messages").await;
    assert_eq!(moved, 2, "nothing was sent again");
    app.stop().await;
}

fn names(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<&str> = answer.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn lists_filters_and_cursors_show_nothing_of_others() {
    let app = TestApp::start().await;
    let theirs = Belongings::of(&app, "theirs").await;
    let mine = app.account("mine").await;
    let events = theirs.account.client.all_pages("/v1/events", 100).await;
    let event = text(&events[0], "/id");
    let later = format!("msg_v{}", &theirs.message[5..]);
    let queries = [
        "/v1/messages".to_owned(),
        "/v1/messages?to=secret-theirs@example.net".to_owned(),
        "/v1/messages?status=delivered".to_owned(),
        "/v1/messages?tag=tag-theirs".to_owned(),
        "/v1/messages?subject=Hello".to_owned(),
        "/v1/messages?from=hello@acme.example".to_owned(),
        format!("/v1/messages?cursor={}", theirs.message),
        format!("/v1/messages?cursor={later}"),
        "/v1/events".to_owned(),
        "/v1/events?recipient=secret-theirs@example.net".to_owned(),
        "/v1/events?tag=tag-theirs".to_owned(),
        "/v1/events?type=delivered".to_owned(),
        format!("/v1/events?message_id={}", theirs.message),
        format!("/v1/events?cursor={event}"),
        format!("/v1/events?cursor=evt_v{}", &event[5..]),
        "/v1/captured".to_owned(),
        format!("/v1/captured?cursor=cap_v{}", &theirs.captured[5..]),
        "/v1/relays".to_owned(),
        "/v1/templates".to_owned(),
        "/v1/domains".to_owned(),
        "/v1/pauses".to_owned(),
        "/v1/inbound".to_owned(),
        "/v1/inbound?recipient=ann@theirs.example".to_owned(),
        format!("/v1/inbound?cursor=inb_v{}", &theirs.inbound[5..]),
        "/v1/inbound-routes".to_owned(),
        "/v1/webhooks".to_owned(),
        "/v1/streams".to_owned(),
        "/v1/notices".to_owned(),
        "/v1/erasures".to_owned(),
        "/v1/suppressions".to_owned(),
        "/v1/suppressions?email=never-theirs@example.net".to_owned(),
        format!("/v1/suppressions?cursor=sup_v{}", &theirs.suppression[5..]),
        format!(
            "/v1/keys?cursor={}",
            mine.client.all_pages("/v1/keys", 100).await[0]["id"].as_str().expect("an id")
        ),
    ];
    for query in queries {
        let answer = mine.client.get(&query).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        assert_eq!(answer.body, json!({ "data": [], "next_cursor": null }), "{query}");
    }
    let keys = mine.client.all_pages("/v1/keys", 100).await;
    assert_eq!(keys.len(), 1, "my own: {keys:#?}");
    app.stop().await;
}

#[tokio::test]
async fn the_stream_shows_nothing_of_others_even_from_their_place_on() {
    let app = TestApp::start().await;
    let (mine, theirs) = (app.account("mine").await, app.account("theirs").await);
    let mut their_stream = EventStream::open(&theirs.client, "", None).await;
    let mut my_stream = EventStream::open(&mine.client, "", None).await;

    theirs.client.send_mail(mail("ann@example.net")).await;
    let place = their_stream.take(2).await.remove(0).id;
    let message = mine.client.send_mail(mail("bob@example.net")).await;

    let mut resumed = EventStream::open(&mine.client, "", Some(&place)).await;
    for stream in [&mut my_stream, &mut resumed] {
        for sent in stream.take(2).await {
            assert_eq!(text(&sent.data, "/message_id"), message);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_key_lets_through_what_its_scope_says_and_nothing_else() {
    let app = TestApp::start().await;
    for scope in Scope::ALL {
        let client = app.key(json!({ "name": "n", "scopes": [scope.as_str()] })).await.client;
        for route in ROUTES {
            let id = route.id.map(unknown).unwrap_or_default();
            let name = format!("{} {} with {}", route.method, route.path, scope.as_str());
            if route.scope == scope {
                // The stream has no end: its status is enough.
                let request = client.request(route.method(), &route.with(&id)).json(&body(&route));
                let status = request.send().await.expect("answered").status();
                assert!(
                    status != StatusCode::FORBIDDEN && status != StatusCode::UNAUTHORIZED,
                    "{name}: {status}"
                );
                assert!(!status.is_server_error(), "{name}: {status}");
            } else {
                let answer = call(&client, &route, &id).await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (StatusCode::FORBIDDEN, "forbidden"),
                    "{name}"
                );
            }
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn without_a_key_that_is_known_there_is_nothing() {
    let app = TestApp::start().await;
    let theirs = Belongings::of(&app, "theirs").await;
    let anonymous = reqwest::Client::builder().no_proxy().build().expect("a client");
    for route in ROUTES {
        let id = route.id.map(|named| theirs.id(named).to_owned()).unwrap_or_default();
        let path = route.with(&id);
        let url = format!("{}{path}", app.client.url());
        let name = format!("{} {path}", route.method);
        let bare = app.client.send(anonymous.request(route.method(), &url)).await;
        assert_eq!((bare.status, bare.code().as_str()), (StatusCode::UNAUTHORIZED, "unauthorized"), "{name}");
        assert_eq!(bare.header("www-authenticate"), Some("Bearer realm=\"postroad\""));
        let wrong = call(&app.client.with_key("pr_live_nothing"), &route, &id).await;
        assert_eq!(
            (wrong.status, wrong.code().as_str()),
            (StatusCode::UNAUTHORIZED, "unauthorized"),
            "{name}"
        );
        let basic = anonymous.request(route.method(), &url).basic_auth("x", Some(crate::support::app::KEY));
        assert_eq!(app.client.send(basic).await.status, StatusCode::UNAUTHORIZED, "{name}");
        let in_query = anonymous.request(route.method(), format!("{url}?key={}", crate::support::app::KEY));
        assert_eq!(app.client.send(in_query).await.status, StatusCode::UNAUTHORIZED, "{name}");
    }
    assert_eq!(theirs.account.client.get(&format!("/v1/keys/{}", theirs.key)).await.status, StatusCode::OK);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_id_names_nothing() {
    let app = TestApp::start().await;
    for route in ROUTES {
        let Some(named) = route.id else { continue };
        let valid = unknown(named);
        let malformed = [
            "x".to_owned(),
            valid[..4].to_owned(),
            valid.to_uppercase(),
            format!("{valid}0"),
            valid[..valid.len() - 1].to_owned(),
            format!("evt_{}", &valid[4..]),
            valid.replace('_', "-"),
            "00000000-0000-0000-0000-000000000000".to_owned(),
            "%00".to_owned(),
            "%ff".to_owned(),
            "%27%20OR%201=1--".to_owned(),
            "..%2f..%2fetc".to_owned(),
            "9".repeat(2000),
        ];
        for id in malformed {
            let answer = call(&app.client, &route, &id).await;
            let name = format!("{} {} {id}", route.method, route.path);
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (StatusCode::NOT_FOUND, "not_found"),
                "{name}"
            );
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn nobody_makes_a_key_that_can_more_than_his_own_or_for_others() {
    let app = TestApp::start().await;
    let (mine, theirs) = (app.account("mine").await, app.account("theirs").await);
    let manager = mine.client.make_key(json!({ "name": "m", "scopes": ["manage"] })).await.client;
    let cases = [
        (&mine.client, json!({ "name": "n", "scopes": ["operate"] })),
        (&manager, json!({ "name": "n", "scopes": ["send"] })),
        (&manager, json!({ "name": "n", "scopes": ["manage", "read"] })),
        (&mine.client, json!({ "name": "n", "scopes": ["read"], "tenant_id": theirs.tenant })),
        (&mine.client, json!({ "name": "n", "scopes": ["read"], "tenant_id": unknown(Named::Tenant) })),
    ];
    let keys = app.database.count("SELECT count(*) FROM api_keys").await;
    for (client, body) in cases {
        let answer = client.post("/v1/keys", body.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::FORBIDDEN, "forbidden"), "{body}");
    }
    assert_eq!(app.database.count("SELECT count(*) FROM api_keys").await, keys);
    let gone = app
        .client
        .post("/v1/keys", json!({ "name": "n", "scopes": ["read"], "tenant_id": unknown(Named::Tenant) }))
        .await;
    assert_eq!(gone.violations(), [("/tenant_id".into(), "not_found".into())]);
    app.stop().await;
}

#[tokio::test]
async fn a_path_that_is_none_and_a_method_that_is_none_say_so() {
    let app = TestApp::start().await;
    let nothing = app.client.get("/v1/nothing").await;
    assert_eq!((nothing.status, nothing.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    for route in ROUTES {
        let request = app.client.request(Method::PUT, &route.with("x"));
        let answer = app.client.send(request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{}", route.path);
        assert!(answer.header("allow").is_some_and(|allow| allow.contains(route.method)), "{}", route.path);
    }
    app.stop().await;
}
