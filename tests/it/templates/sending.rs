//! Mail made of templates, and of its own contents with variables.

use crate::support::captured::{contains, field};

use super::*;

#[tokio::test]
async fn a_mail_is_made_of_the_published_version_by_alias_or_id() {
    let app = TestApp::start().await;
    let body = json!({
        "alias": "welcome", "subject": "Hi {{name}}", "html": "<p>{{name}}</p>",
        "locales": { "de": { "subject": "Hallo {{name}}" } },
    });
    let id = template(&app.client, body).await.text("/id");
    app.client.patch("/v1/templates/welcome", json!({ "subject": "Draft {{name}}" })).await;
    for (of, subject) in [
        (json!({ "id": "welcome", "variables": { "name": "Ä <x>" } }), "Hi Ä <x>"),
        (json!({ "id": id, "locale": "de-AT", "variables": { "name": "Ann" } }), "Hallo Ann"),
        (json!({ "id": id, "version": 2, "variables": { "name": "Ann" } }), "Draft Ann"),
    ] {
        let sent = app.client.send_mail(with(bare("ann@example.net"), json!({ "template": of }))).await;
        let message = app.client.ended(&sent).await;
        assert_eq!(message["subject"], subject, "as it was read");
        let raw = app.client.only_arrived(&sent).await;
        assert!(contains(&raw, "multipart/alternative"), "the text is made of the HTML");
    }
    let common = json!({ "template": { "id": "welcome" }, "variables": { "name": "Bob" } });
    let sent = app.client.send_mail(with(bare("bob@example.net"), common)).await;
    assert_eq!(field(&app.client.only_arrived(&sent).await, "Subject"), "Hi Bob");
    app.stop().await;
}

#[tokio::test]
async fn inline_contents_are_rendered_only_if_variables_are_given() {
    let app = TestApp::start().await;
    let body = json!({ "subject": "{{n}}", "text": "{{n}} & {{{{raw}}}}", "html": "<b>{{n}}</b>" });
    let verbatim = app.client.send_mail(with(bare("ann@example.net"), body)).await;
    let raw = app.client.only_arrived(&verbatim).await;
    assert_eq!(field(&raw, "Subject"), "{{n}}");
    assert!(contains(&raw, "{{{{raw}}}}"));

    let body =
        json!({ "subject": "{{n}}", "text": "{{n}}", "html": "<b>{{n}}</b>", "variables": { "n": "<7>" } });
    let rendered = app.client.send_mail(with(bare("ann@example.net"), body)).await;
    let raw = app.client.only_arrived(&rendered).await;
    assert_eq!(field(&raw, "Subject"), "<7>");
    assert!(contains(&raw, "<b>&lt;7&gt;</b>"));
    app.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_that_cannot_be_rendered() {
    let app = TestApp::start().await;
    let other = app.account("other").await;
    template(&other.client, json!({ "alias": "theirs", "text": "secret" })).await;
    template(
        &app.client,
        json!({ "alias": "t", "subject": "{{a}}", "text": "{{b.c}} {{#each l}}{{x}}{{/each}}" }),
    )
    .await;
    let of = |template: Value| with(bare("ann@example.net"), json!({ "template": template }));
    let cases = [
        (of(json!({ "id": "theirs" })), vec![("/template/id", "unknown_template")]),
        (of(json!({ "id": "No Such" })), vec![("/template/id", "unknown_template")]),
        (of(json!({ "id": "t", "version": 7 })), vec![("/template/version", "unknown_version")]),
        (of(json!({})), vec![("/template/id", "required")]),
        (of(json!({ "id": "t", "variables": [] })), vec![("/template/variables", "wrong_type")]),
        (of(json!({ "id": "t", "locale": "?" })), vec![("/template/locale", "invalid_locale")]),
        (
            of(json!({ "id": "t", "variables": { "l": [{}] } })),
            vec![
                ("/template/variables/a", "missing_variable"),
                ("/template/variables/b/c", "missing_variable"),
                ("/template/variables/l/0/x", "missing_variable"),
            ],
        ),
        (
            of(
                json!({ "id": "t", "variables": { "a": "x\r\nBcc: evil@example.org", "b": { "c": 1 }, "l": [] } }),
            ),
            vec![("/template/variables", "invalid_subject")],
        ),
        (with(of(json!({ "id": "t" })), json!({ "html": "x" })), vec![("/html", "not_with_template")]),
        (
            with(
                bare("ann@example.net"),
                json!({ "subject": "s", "text": "{{a}} {{#if}}", "variables": {} }),
            ),
            vec![("/text", "invalid_template")],
        ),
        (
            with(bare("ann@example.net"), json!({ "subject": "{{a}}", "text": "x", "variables": {} })),
            vec![("/variables/a", "missing_variable")],
        ),
    ];
    for (body, expected) in cases {
        let found = refused(&app.client, "/v1/messages", body.clone()).await;
        assert_eq!(found, wrong(&expected), "{body}");
    }
    assert!(app.client.all_pages("/v1/messages", 100).await.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn a_batch_of_one_template_is_rendered_item_by_item() {
    let app = TestApp::start().await;
    template(&app.client, json!({ "alias": "t", "subject": "Hi {{name}}", "text": "x" })).await;
    let item = |variables: Value| {
        with(bare("ann@example.net"), json!({ "template": { "id": "t", "variables": variables } }))
    };
    let items = json!([item(json!({ "name": "A" })), item(json!({})), item(json!({ "name": "B" }))]);
    let answer = app.client.post("/v1/messages/batch", items).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let error = &answer.body["data"][1]["error"]["errors"][0];
    assert_eq!(error["pointer"], "/template/variables/name", "{:#}", answer.body);
    for (index, subject) in [(0, "Hi A"), (2, "Hi B")] {
        let id = answer.text(&format!("/data/{index}/id"));
        assert_eq!(app.client.get(&format!("/v1/messages/{id}")).await.text("/subject"), subject);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_key_stands_for_the_same_template_and_variables_only() {
    let app = TestApp::start().await;
    template(&app.client, json!({ "alias": "t", "text": "{{a}}" })).await;
    let send = async |variables: Value| {
        let body =
            with(bare("ann@example.net"), json!({ "template": { "id": "t", "variables": variables } }));
        let request =
            app.client.request(reqwest::Method::POST, "/v1/messages").header("idempotency-key", "k");
        app.client.send(request.json(&body)).await
    };
    let first = send(json!({ "a": 1 })).await;
    let again = send(json!({ "a": 1 })).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
    assert_eq!(send(json!({ "a": 2 })).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    app.stop().await;
}

#[tokio::test]
async fn amp_stands_between_the_text_and_the_html() {
    let app = TestApp::start().await;
    let body =
        json!({ "alias": "t", "subject": "s", "text": "T", "html": "<p>H", "amp": "<html amp4email>{{a}}" });
    template(&app.client, body).await;
    let of = json!({ "template": { "id": "t", "variables": { "a": "<&>" } } });
    let sent = app.client.send_mail(with(bare("ann@example.net"), of)).await;
    let raw = String::from_utf8(app.client.only_arrived(&sent).await).expect("ASCII");
    let places = ["text/plain", "text/x-amp-html", "&lt;&amp;&gt;", "text/html"].map(|it| raw.find(it));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{raw}");
    app.stop().await;
}
