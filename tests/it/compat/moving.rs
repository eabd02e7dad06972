//! `postroad import`: what comes along from another provider.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::app::{KEY, TestApp};

async fn import(app: &TestApp, provider: &str, files: &[(&str, String)]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_postroad"));
    command.args(["import", provider, "--url", app.client.url(), "--key", KEY]);
    for (name, content) in files {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("written");
        command.arg(path);
    }
    tokio::task::spawn_blocking(move || {
        let output = command.output().expect("run");
        drop(directory);
        output
    })
    .await
    .expect("its own thread")
}

#[tokio::test]
async fn suppressions_and_templates_come_along_and_work() {
    let app = TestApp::start().await;
    let bounces = json!([{ "created": 1_750_000_000, "email": "dead@example.net", "reason": "550 no", "status": "5.1.1" }]);
    let templates = json!({ "result": [{ "id": "d-0a1b", "name": "Welcome", "generation": "dynamic", "versions": [
        { "active": 1, "name": "one", "subject": "Hi {{name}}", "html_content": "<p>{{name}}</p>", "plain_content": "{{name}}" },
    ] }] });
    let files = [
        ("bounces.json", bounces.to_string()),
        ("unsubscribes.csv", "email,created\ngone@example.net,1750000000\n".to_owned()),
        ("templates.json", templates.to_string()),
    ];
    let output = import(&app, "sendgrid", &files).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let mut listed: Vec<(String, String)> = app
        .client
        .all_pages("/v1/suppressions", 100)
        .await
        .iter()
        .map(|entry| (entry["email"].to_string(), entry["reason"].to_string()))
        .collect();
    listed.sort();
    let row = |email: &str, reason: &str| (format!("\"{email}\""), format!("\"{reason}\""));
    assert_eq!(listed, [row("dead@example.net", "bounce"), row("gone@example.net", "unsubscribe")]);
    // By the id it had, as code has it.
    let body = json!({ "from": "a@acme.example", "to": "ann@example.net", "template": { "id": "d-0a1b", "variables": { "name": "Ann" } } });
    let id = app.client.send_mail(body).await;
    assert_eq!(app.client.get(&format!("/v1/messages/{id}")).await.text("/subject"), "Hi Ann");
    // Once more: nothing is there twice.
    let again = import(&app, "sendgrid", &files).await;
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(said.contains("0 addresses added, 1 known") && said.contains("changed"), "{said}");
    assert_eq!(app.client.all_pages("/v1/templates", 100).await.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn what_holds_nothing_that_is_known_is_said_and_fails() {
    let app = TestApp::start().await;
    let hollow: Value =
        json!({ "Templates": [{ "TemplateId": 1, "Name": "x", "TemplateType": "Standard" }] });
    let output =
        import(&app, "postmark", &[("list.json", hollow.to_string()), ("other.json", "{}".to_owned())]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success());
    assert!(
        said.contains("1 templates without sources") && said.contains("nothing of postmark that is known"),
        "{said}"
    );
    app.stop().await;
}

/// Ed25519, in PKCS #8.
const KEY_OF_DOMAIN: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

#[tokio::test]
async fn domains_and_the_keys_they_sign_with_come_along() {
    let app = TestApp::start().await;
    let domain = json!({ "results": [
        { "domain": "acme.example", "status": { "ownership_verified": true }, "dkim": { "selector": "scph", "private": KEY_OF_DOMAIN } },
        { "domain": "other.example", "status": {}, "dkim": { "selector": "scph", "public": "x" } },
    ] });
    let files =
        [("domains.json", domain.to_string()), ("s1._domainkey.third.example.pem", KEY_OF_DOMAIN.to_owned())];
    for _ in 0..2 {
        let output = import(&app, "sparkpost", &files).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("PRIVATE") && !said.contains("MC4CAQ"), "{said}");
    }
    let found: Vec<(String, Vec<String>)> = app
        .client
        .all_pages("/v1/domains", 100)
        .await
        .iter()
        .map(|domain| {
            let keys = domain["keys"].as_array().expect("a list").iter();
            let imported = keys.filter(|key| key["origin"] == "imported");
            (
                crate::support::client::text(domain, "/name"),
                imported.map(|key| key["selector"].to_string()).collect(),
            )
        })
        .collect();
    let row = |name: &str, keys: &[&str]| {
        (name.to_owned(), keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>())
    };
    assert_eq!(
        found,
        [row("acme.example", &["scph"]), row("other.example", &[]), row("third.example", &["s1"])]
    );
    let unnamed = import(&app, "ses", &[("key.pem", KEY_OF_DOMAIN.to_owned())]).await;
    assert!(
        !unnamed.status.success() && String::from_utf8_lossy(&unnamed.stdout).contains("whose key is it?")
    );
    app.stop().await;
}
