//! The audit log (security 5.14): every route that changes something writes who did it, from where, and how it was
//! before; it is read by its tenant alone, filtered and paged.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{mail, text};
use crate::support::dns::DnsServer;
use crate::support::domains::publish_required;
use crate::support::routes::ROUTES;

/// What changes nothing that an audit log is about, and why.
const EXEMPT: [(&str, &str, &str); 8] = [
    ("POST", "/v1/messages", "a mail is its own record, with the key that sent it"),
    ("POST", "/v1/messages/batch", "likewise"),
    ("POST", "/v1/messages/{id}/resend", "likewise"),
    ("POST", "/v1/notices/read", "that somebody has read changes nothing"),
    ("POST", "/v1/notices/{id}/read", "likewise"),
    ("POST", "/v1/addresses/validate", "looks, and changes nothing"),
    ("POST", "/v1/templates/{id}/render", "shows, and changes nothing"),
    ("POST", "/v1/webhooks/{id}/test", "posts, and changes nothing; the webhook's own log has it"),
];

/// The Ed25519 key of RFC 8032 §7.1.
const KNOWN_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

/// Calls routes, and looks whether each writes what it did.
struct Journey<'a> {
    app: &'a TestApp,
    key: String,
    tried: BTreeSet<(&'static str, &'static str)>,
}

impl Journey<'_> {
    /// A change by a route; `id` is what stands in its path.
    async fn change(
        &mut self,
        (method, path): (&'static str, &'static str),
        id: &str,
        body: Value,
        action: &str,
    ) -> Value {
        let written = format!(
            "SELECT count(*) FROM audit_log WHERE action = '{action}' AND actor = '{}' AND host(ip) = '127.0.0.1'
             AND details ?& ARRAY['before', 'after'] AND details <> '{{\"before\": null, \"after\": null}}'",
            self.key
        );
        let before = self.app.database.count(&written).await;
        let verb: Method = method.parse().expect("a method");
        let request = self.app.client.request(verb, &path.replace("{id}", id));
        let request = match &body {
            Value::String(csv) => request.header("content-type", "text/csv").body(csv.clone()),
            body => request.json(body),
        };
        let answer = self.app.client.send(request).await;
        assert!(answer.status.is_success(), "{method} {path}: {:#}", answer.body);
        let after = self.app.database.count(&written).await;
        assert_eq!(after - before, 1, "{method} {path} writes {action}, once, and by whom");
        self.tried.insert((method, path));
        answer.body
    }

    async fn messages(&mut self) {
        let now = self.app.server().clock().now() + time::Duration::hours(1);
        let moment = now.format(&time::format_description::well_known::Rfc3339).expect("a moment");
        let mut body = mail("ann@example.net");
        body["send_at"] = moment.as_str().into();
        let id = self.app.client.send_mail(body).await;
        let body = json!({ "send_at": moment });
        self.change(("PATCH", "/v1/messages/{id}"), &id, body, "message.reschedule").await;
        self.change(("POST", "/v1/messages/{id}/cancel"), &id, json!({}), "message.cancel").await;
    }

    async fn keys_relays_and_pauses(&mut self) {
        let body = json!({ "name": "n", "scopes": ["read"] });
        let key = self.change(("POST", "/v1/keys"), "", body, "key.create").await;
        self.change(("DELETE", "/v1/keys/{id}"), &text(&key, "/id"), json!({}), "key.revoke").await;
        let body = json!({ "host": "smtp.acme.example" });
        let relay = self.change(("POST", "/v1/relays"), "", body, "relay.create").await;
        self.change(("DELETE", "/v1/relays/{id}"), &text(&relay, "/id"), json!({}), "relay.delete").await;
        let pause =
            self.change(("POST", "/v1/pauses"), "", json!({ "stream": "held" }), "pause.create").await;
        self.change(("DELETE", "/v1/pauses/{id}"), &text(&pause, "/id"), json!({}), "pause.delete").await;
        let body = json!({ "site": "mx.acme.example" });
        let pause = self.change(("POST", "/v1/site-pauses"), "", body, "pause.create").await;
        self.change(("DELETE", "/v1/site-pauses/{id}"), &text(&pause, "/id"), json!({}), "pause.delete")
            .await;
        self.app.database.change("INSERT INTO sites (site, source) VALUES ('mx.acme.example', '')").await;
        let body = json!({ "email": "zoe@example.net" });
        self.change(("POST", "/v1/erasures"), "", body, "erasure.create").await;
        let body = json!({ "emails": ["ops@acme.example"] });
        self.change(("PATCH", "/v1/notices/settings"), "", body, "notice.settings").await;
        let body = json!({ "site": "mx.acme.example" });
        self.change(("POST", "/v1/sites/resume"), "", body, "site.resume").await;
        let body = json!({ "address": "127.0.0.11", "ehlo": "out.acme.example" });
        let ip = text(&self.change(("POST", "/v1/ips"), "", body, "ip.create").await, "/id");
        self.change(("PATCH", "/v1/ips/{id}"), &ip, json!({ "pool": "bulk" }), "ip.update").await;
        self.change(("DELETE", "/v1/ips/{id}"), &ip, json!({}), "ip.delete").await;
        let body = json!({ "stream": "broadcast", "pool": "bulk" });
        let rule = text(&self.change(("POST", "/v1/ip-rules"), "", body, "ip_rule.create").await, "/id");
        self.change(("DELETE", "/v1/ip-rules/{id}"), &rule, json!({}), "ip_rule.delete").await;
        for (path, action) in [("/v1/queue/retry", "queue.retry"), ("/v1/queue/purge", "queue.purge")] {
            self.wait_for_a_next_try().await;
            self.change(("POST", path), "", json!({ "domain": "slow.example" }), action).await;
        }
    }

    /// A mail that waits for its next try.
    async fn wait_for_a_next_try(&self) {
        let moment = self.app.server().clock().now() + time::Duration::hours(1);
        let moment = moment.format(&time::format_description::well_known::Rfc3339).expect("a moment");
        let mut waiting = mail("ann@slow.example");
        waiting["send_at"] = moment.into();
        self.app.client.send_mail(waiting).await;
        self.app.database.change("UPDATE queue SET attempts = 1 WHERE domain = 'slow.example'").await;
    }

    async fn domains(&mut self, dns: &DnsServer) {
        let body = json!({ "name": "acme.example" });
        let domain = self.change(("POST", "/v1/domains"), "", body, "domain.create").await;
        let id = text(&domain, "/id");
        publish_required(dns, &domain);
        self.change(("POST", "/v1/domains/{id}/verify"), &id, json!({}), "domain.status").await;
        self.change(("PATCH", "/v1/domains/{id}"), &id, json!({ "paused": true }), "domain.update").await;
        self.change(("POST", "/v1/domains/{id}/rotate"), &id, json!({}), "domain.rotate").await;
        let body = json!({ "selector": "mine", "private_key": KNOWN_KEY });
        self.change(("POST", "/v1/domains/{id}/keys"), &id, body, "domain.import_key").await;
        self.change(("DELETE", "/v1/domains/{id}"), &id, json!({}), "domain.delete").await;
    }

    async fn suppressions(&mut self) {
        let one = |email: &str| json!({ "email": email });
        let made =
            self.change(("POST", "/v1/suppressions"), "", one("a@example.net"), "suppression.create").await;
        let id = text(&made, "/id");
        self.change(("DELETE", "/v1/suppressions/{id}"), &id, json!({}), "suppression.delete").await;
        let list = json!([one("b@example.net"), one("c@example.net")]);
        self.change(("POST", "/v1/suppressions/batch"), "", list, "suppression.import").await;
        let list = json!({ "emails": ["b@example.net"] });
        self.change(("POST", "/v1/suppressions/delete"), "", list, "suppression.delete").await;
        let csv = json!("email\nd@example.net\n");
        self.change(("POST", "/v1/suppressions/import"), "", csv, "suppression.import").await;
    }

    async fn webhooks_streams_and_routes(&mut self) {
        let body = json!({ "url": "https://hooks.acme.example/", "enabled": false });
        let id = text(&self.change(("POST", "/v1/webhooks"), "", body, "webhook.create").await, "/id");
        self.change(("PATCH", "/v1/webhooks/{id}"), &id, json!({ "description": "x" }), "webhook.update")
            .await;
        self.change(("POST", "/v1/webhooks/{id}/rotate"), &id, json!({}), "webhook.rotate").await;
        let message = self.app.client.send_mail(mail("ann@example.net")).await;
        self.app.client.ended(&message).await;
        let time = json!({ "since": "2026-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z" });
        self.change(("POST", "/v1/webhooks/{id}/replay"), &id, time, "webhook.replay").await;
        self.change(("DELETE", "/v1/webhooks/{id}"), &id, json!({}), "webhook.delete").await;
        let id = text(
            &self.change(("POST", "/v1/streams"), "", json!({ "name": "news" }), "stream.create").await,
            "/id",
        );
        self.change(("PATCH", "/v1/streams/{id}"), &id, json!({ "title": "N" }), "stream.update").await;
        self.change(("DELETE", "/v1/streams/{id}"), &id, json!({}), "stream.delete").await;
        let body = json!({ "unknown": "refuse" });
        self.change(("PATCH", "/v1/streams/policy"), "", body, "stream.policy").await;
        let body = json!({ "match": "in.acme.example", "action": "store" });
        let made = self.change(("POST", "/v1/inbound-routes"), "", body, "inbound_route.create").await;
        let id = text(&made, "/id");
        let body = json!({ "priority": 7 });
        self.change(("PATCH", "/v1/inbound-routes/{id}"), &id, body, "inbound_route.update").await;
        let body = json!({ "filters": [] });
        self.change(("PATCH", "/v1/inbound-filters"), "", body, "inbound_filters.set").await;
        self.change(("DELETE", "/v1/inbound-routes/{id}"), &id, json!({}), "inbound_route.delete").await;
    }

    async fn templates_and_tenants(&mut self) {
        let body = json!({ "alias": "welcome", "text": "Hello" });
        let id = text(&self.change(("POST", "/v1/templates"), "", body, "template.create").await, "/id");
        self.change(("PATCH", "/v1/templates/{id}"), &id, json!({ "text": "Hi" }), "template.update").await;
        self.change(("POST", "/v1/templates/{id}/publish"), &id, json!({}), "template.publish").await;
        self.change(("DELETE", "/v1/templates/{id}"), &id, json!({}), "template.delete").await;
        let id = text(
            &self.change(("POST", "/v1/tenants"), "", json!({ "name": "one" }), "tenant.create").await,
            "/id",
        );
        self.change(("PATCH", "/v1/tenants/{id}"), &id, json!({ "name": "two" }), "tenant.update").await;
        let body = json!({ "per_day": 7 });
        self.change(("PATCH", "/v1/tenants/{id}/limits"), &id, body, "tenant.limits").await;
        self.change(("DELETE", "/v1/tenants/{id}"), &id, json!({}), "tenant.delete").await;
    }
}

#[tokio::test]
async fn every_route_that_changes_something_writes_who_did_it_and_how_it_was() {
    let dns = DnsServer::start().await;
    let app = TestApp::builder().dns(&dns).start().await;
    let key = text(&app.client.all_pages("/v1/keys", 100).await[0], "/id");
    let mut journey = Journey { app: &app, key, tried: BTreeSet::new() };
    journey.messages().await;
    journey.keys_relays_and_pauses().await;
    journey.domains(&dns).await;
    journey.suppressions().await;
    journey.webhooks_streams_and_routes().await;
    journey.templates_and_tenants().await;

    // ROUTES is held against the router, and the router against openapi.yaml, by tests of their own.
    let changing: BTreeSet<_> =
        ROUTES.iter().filter(|route| route.method != "GET").map(|route| (route.method, route.path)).collect();
    let exempt: BTreeSet<_> = EXEMPT.iter().map(|(method, path, _)| (*method, *path)).collect();
    let seen: BTreeSet<_> = journey.tried.union(&exempt).copied().collect();
    assert_eq!(seen, changing, "left: tried here or exempt; right: every route that is no GET");
    app.stop().await;
}

#[tokio::test]
async fn the_log_is_read_filtered_and_paged_with_before_and_after() {
    let app = TestApp::start().await;
    let acme = app.account("acme").await;
    let stream =
        acme.client.post("/v1/streams", json!({ "name": "news", "title": "News" })).await.text("/id");
    acme.client.patch(&format!("/v1/streams/{stream}"), json!({ "title": "Weekly" })).await;
    acme.client.post("/v1/suppressions", json!({ "email": "ann@example.net" })).await;
    acme.client.delete(&format!("/v1/streams/{stream}")).await;

    let actions = |entries: &[Value]| entries.iter().map(|entry| text(entry, "/action")).collect::<Vec<_>>();
    let all = acme.client.all_pages("/v1/audit", 2).await;
    assert_eq!(
        actions(&all),
        [
            "stream.delete",
            "suppression.create",
            "stream.update",
            "stream.create",
            "key.create",
            "tenant.create"
        ]
    );
    let updated = &all[2];
    assert_eq!((&updated["before"]["title"], &updated["after"]["title"]), (&json!("News"), &json!("Weekly")));
    assert_eq!((&updated["resource"], &updated["ip"]), (&json!(stream), &json!("127.0.0.1")));
    assert_eq!((&all[0]["after"], &all[3]["before"]), (&Value::Null, &Value::Null));

    let own = text(updated, "/actor");
    let cases = [
        (format!("actor={own}"), 4),
        ("action=stream".to_owned(), 3),
        ("action=stream.update".to_owned(), 1),
        ("action=stre".to_owned(), 0),
        (format!("resource={stream}"), 3),
        (format!("resource={stream}&action=stream.delete"), 1),
        ("since=2100-01-01T00:00:00Z".to_owned(), 0),
        ("until=2100-01-01T00:00:00Z".to_owned(), 6),
    ];
    for (query, count) in cases {
        assert_eq!(acme.client.all_pages(&format!("/v1/audit?{query}"), 100).await.len(), count, "{query}");
    }
    let wrong = acme.client.get("/v1/audit?since=yesterday&who=me&cursor=x").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let reader = acme.client.make_key(json!({ "name": "r", "scopes": ["read"] })).await.client;
    assert_eq!(reader.get("/v1/audit").await.status, StatusCode::FORBIDDEN);
    let other = app.account("other").await;
    let theirs = other.client.all_pages("/v1/audit", 100).await;
    assert_eq!(actions(&theirs), ["key.create", "tenant.create"], "nothing of others");
    app.stop().await;
}
