//! `/v1/templates`: versions, drafts, languages, and what is refused.

use super::*;

#[tokio::test]
async fn a_template_is_made_published_and_rendered_as_the_contract_says() {
    let app = TestApp::start().await;
    let body = json!({ "alias": "welcome", "subject": "Hi {{name}}", "html": "<p>{{name}}</p>", "text": "Hi {{name}}!" });
    let made = template(&app.client, body).await;
    assert!(made.text("/id").starts_with("tpl_"));
    assert_eq!(
        (&made.body["alias"], &made.body["version"], &made.body["published"]),
        (&json!("welcome"), &json!(1), &json!(true))
    );

    for name in ["welcome".to_owned(), made.text("/id")] {
        let path = format!("/v1/templates/{name}/render");
        let rendered = app.client.post(&path, json!({ "variables": { "name": "A & B" } })).await;
        assert_eq!(rendered.status, StatusCode::OK, "{:#}", rendered.body);
        assert_eq!(
            rendered.body,
            json!({ "subject": "Hi A & B", "html": "<p>A &amp; B</p>", "text": "Hi A & B!" })
        );
        assert_eq!(app.client.get(&format!("/v1/templates/{name}")).await.body, made.body);
    }
    let again = app.client.post("/v1/templates", json!({ "alias": "welcome", "text": "x" })).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    app.stop().await;
}

#[tokio::test]
async fn a_change_is_a_draft_until_it_is_published_and_an_older_version_can_come_back() {
    let app = TestApp::start().await;
    let first = json!({ "alias": "news", "text": "one", "html": "<p>one</p>", "published": false });
    template(&app.client, first).await;
    assert_eq!(
        refused(
            &app.client,
            "/v1/messages",
            with(bare("a@b.example"), json!({ "template": { "id": "news" } }))
        )
        .await,
        wrong(&[("/template/id", "not_published")])
    );
    let render = async |body: Value| app.client.post("/v1/templates/news/render", body).await.text("/text");
    assert_eq!(render(json!({})).await, "one", "a draft can be looked at");

    let published = app.client.post("/v1/templates/news/publish", json!({})).await;
    assert_eq!((published.status, &published.body["published_version"]), (StatusCode::OK, &json!(1)));
    let changed = app.client.patch("/v1/templates/news", json!({ "text": "two", "html": null })).await;
    assert_eq!(changed.status, StatusCode::OK, "{:#}", changed.body);
    assert_eq!((&changed.body["version"], &changed.body["published"]), (&json!(2), &json!(false)));
    assert_eq!((&changed.body["text"], &changed.body["html"]), (&json!("two"), &Value::Null));
    assert_eq!(render(json!({})).await, "one");
    assert_eq!(render(json!({ "version": 2 })).await, "two");

    app.client.post("/v1/templates/news/publish", json!({ "version": 2 })).await;
    assert_eq!(render(json!({})).await, "two");
    let third = json!({ "text": "three", "published": true, "name": "News", "alias": "newsletter" });
    let changed = app.client.patch("/v1/templates/news", third).await;
    assert_eq!((&changed.body["version"], &changed.body["published"]), (&json!(3), &json!(true)));
    assert_eq!(app.client.get("/v1/templates/news").await.status, StatusCode::NOT_FOUND);

    let back = app.client.post("/v1/templates/newsletter/publish", json!({ "version": 1 })).await;
    assert_eq!((&back.body["text"], &back.body["published_version"]), (&json!("one"), &json!(1)));
    let versions = app.client.get("/v1/templates/newsletter/versions").await.list("/data");
    let told: Vec<_> = versions.iter().map(|it| (it["version"].clone(), it["published"].clone())).collect();
    assert_eq!(told, [(json!(3), json!(false)), (json!(2), json!(false)), (json!(1), json!(true))]);
    assert_eq!(app.client.get("/v1/templates/newsletter?version=2").await.text("/text"), "two");
    assert_eq!(
        refused(&app.client, "/v1/templates/newsletter/publish", json!({ "version": 9 })).await,
        wrong(&[("/version", "unknown_version")])
    );
    let actions = "SELECT count(*) FROM audit_log WHERE action LIKE 'template.%'";
    assert_eq!(app.database.count(actions).await, 6);

    assert_eq!(app.client.delete("/v1/templates/newsletter").await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.get("/v1/templates/newsletter").await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.database.count("SELECT count(*) FROM template_versions").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn each_part_is_shown_in_the_most_particular_language() {
    let app = TestApp::start().await;
    let locales = json!({ "de": { "subject": "Hallo", "text": "Guten Tag" }, "de-AT": { "text": "Servus" } });
    template(
        &app.client,
        json!({ "alias": "t", "subject": "Hello", "text": "Good day", "locales": locales }),
    )
    .await;
    for (locale, subject, text) in
        [("de-AT", "Hallo", "Servus"), ("de_CH", "Hallo", "Guten Tag"), ("fr", "Hello", "Good day")]
    {
        let rendered = app.client.post("/v1/templates/t/render", json!({ "locale": locale })).await;
        assert_eq!(
            (rendered.text("/subject"), rendered.text("/text")),
            (subject.into(), text.into()),
            "{locale}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_template_is_refused_with_its_place() {
    let app = TestApp::start().await;
    let cases = [
        (json!({}), "/text", "required"),
        (json!({ "alias": "No", "text": "x" }), "/alias", "invalid_alias"),
        (json!({ "text": "{{#if x}}" }), "/text", "invalid_template"),
        (json!({ "html": "{{wibble x}}" }), "/html", "unknown_helper"),
        (json!({ "html": "x", "mjml": "<mjml></mjml>" }), "/mjml", "html_and_mjml"),
        (
            json!({ "text": "x", "locales": { "de": { "subject": "{{" } } }),
            "/locales/de/subject",
            "invalid_template",
        ),
        (json!({ "text": "x", "locales": { "x": {} } }), "/locales/x", "invalid_locale"),
        (json!({ "text": "x".repeat(600_000) }), "/text", "too_large"),
        (json!({ "text": "x", "sbuject": "y" }), "/sbuject", "unknown_field"),
    ];
    for (body, pointer, code) in cases {
        let found = refused(&app.client, "/v1/templates", body.clone()).await;
        assert_eq!(found, wrong(&[(pointer, code)]), "{:.100}", body.to_string());
    }
    let answer = app.client.post("/v1/templates", json!({ "text": "a\nb {{#if x}}" })).await;
    assert!(
        answer.body["errors"][0]["message"].as_str().expect("words").contains("line 2"),
        "{:#}",
        answer.body
    );
    assert_eq!(app.client.all_pages("/v1/templates", 100).await, [] as [Value; 0]);
    app.stop().await;
}

#[tokio::test]
async fn a_rendering_names_every_missing_variable_and_includes_only_ones_own_partials() {
    let app = TestApp::start().await;
    let other = app.account("other").await;
    template(&other.client, json!({ "alias": "foot", "text": "theirs" })).await;
    let body = json!({ "alias": "t", "subject": "{{a}} {{b.c}}", "text": "{{a}} {{> foot}}" });
    template(&app.client, body).await;
    assert_eq!(
        refused(&app.client, "/v1/templates/t/render", json!({ "variables": { "b": {} } })).await,
        wrong(&[("", "unknown_partial")])
    );
    template(&app.client, json!({ "alias": "foot", "text": "mine, {{d}}" })).await;
    assert_eq!(
        refused(&app.client, "/v1/templates/t/render", json!({ "variables": { "b": {} } })).await,
        wrong(&[
            ("/variables/a", "missing_variable"),
            ("/variables/b/c", "missing_variable"),
            ("/variables/d", "missing_variable"),
        ])
    );
    let given = json!({ "variables": { "a": 1, "b": { "c": 2 }, "d": 3 } });
    assert_eq!(app.client.post("/v1/templates/t/render", given).await.text("/text"), "1 mine, 3");
    app.stop().await;
}
