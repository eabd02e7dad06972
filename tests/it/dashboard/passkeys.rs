//! Passkeys as second factor, in a real browser with an authenticator that WebDriver plays.

use std::net::TcpListener;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::TestApp;

use super::browser::Browser;
use super::person::{ADMIN, PASSWORD};

const ADD: &str = "form[data-passkey=create] button";
const USE: &str = "form[data-passkey=get] button";

/// A postroad that the world reaches as `localhost`, where browsers make passkeys without TLS.
async fn at_localhost() -> (TestApp, String) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let site = format!("http://localhost:{}", free.port());
    let app = TestApp::builder()
        .dashboard()
        .set("POSTROAD_HTTP_ADDR", &free.to_string())
        .set("POSTROAD_PUBLIC_URL", &site);
    (app.start().await, site)
}

/// Signed in by password alone: what comes then is on the page.
async fn halfway(browser: &Browser) {
    browser.goto("/login").await;
    browser.fill("#email", ADMIN).await;
    browser.fill("#password", PASSWORD).await;
    browser.click("form button.primary").await;
    browser.wait_for(USE).await;
}

async fn sign_out(browser: &Browser) {
    browser.click("form[action='/ui/sign-out'] button").await;
    browser.wait_for("#password").await;
}

#[tokio::test]
async fn a_passkey_is_added_named_asked_for_after_the_password_and_removed() {
    let (app, site) = at_localhost().await;
    let browser = Browser::open(&site).await;
    let authenticator = browser.plug_in_authenticator().await;
    browser.sign_in().await;
    browser.goto("/ui/account").await;
    browser.fill("#passkey-name", "blue <key>").await;
    browser.click(ADD).await;
    let codes = browser.text("#codes").await;
    assert_eq!(codes.lines().count(), 10, "who had no recovery codes has some now: {codes}");
    let kept = "SELECT name || ' ' || (last_used_at IS NULL) FROM passkeys";
    assert_eq!(app.database.texts(kept).await, ["blue <key> true"]);
    assert_eq!(app.database.count("SELECT count(*) FROM passkey_ceremonies").await, 0, "answered once");

    // The same authenticator has one already, and the page says so.
    browser.goto("/ui/account").await;
    assert!(browser.text("main").await.contains("blue <key>"));
    assert!(browser.barriers().await.is_empty(), "{:#?}", browser.barriers().await);
    browser.fill("#passkey-name", "again").await;
    browser.click(ADD).await;
    browser
        .text_when("form[data-passkey] [data-problem]", |text| text.contains("has a passkey here already"))
        .await;

    sign_out(&browser).await;
    halfway(&browser).await;
    assert!(browser.path().await.starts_with("/ui/second-factor"));
    assert!(browser.barriers().await.is_empty(), "{:#?}", browser.barriers().await);
    browser.click(USE).await;
    browser.wait_for("#content h1").await;
    assert_eq!(browser.path().await, "/ui/");
    let methods = "SELECT method FROM sessions WHERE revoked_at IS NULL";
    assert_eq!(app.database.texts(methods).await, ["password+passkey"]);
    let used = "SELECT count(*) FROM passkeys WHERE last_used_at IS NOT NULL AND (key #>> '{cred,counter}')::int > 1";
    assert_eq!(app.database.count(used).await, 1, "its counter is kept");

    // Whoever is not recognised by it is not let in.
    sign_out(&browser).await;
    halfway(&browser).await;
    browser.set_recognised(&authenticator, false).await;
    browser.click(USE).await;
    browser.text_when("[data-problem]", |text| text.contains("Nothing was chosen")).await;
    assert!(!app.person().is_in().await);
    browser.set_recognised(&authenticator, true).await;
    browser.click(USE).await;
    browser.wait_for("#content h1").await;

    browser.goto("/ui/account").await;
    browser.click("form[action$='/delete'] button.danger").await;
    browser.click("#confirm button[value=yes]").await;
    browser.text_when("[role=status]", |text| text.contains("Deleted")).await;
    assert_eq!(
        app.database.count("SELECT count(*) FROM recovery_codes").await,
        0,
        "they have nothing to recover"
    );
    let logged = "SELECT action FROM audit_log WHERE action LIKE 'user.factor%' ORDER BY id";
    assert_eq!(app.database.texts(logged).await, ["user.factor_added", "user.factor_removed"]);
    assert_eq!(browser.strangers(), [""; 0]);
    browser.close().await;
    app.stop().await;
}

#[tokio::test]
async fn an_answer_holds_for_the_question_that_was_asked_last_and_once() {
    let (app, site) = at_localhost().await;
    let browser = Browser::open(&site).await;
    browser.plug_in_authenticator().await;
    browser.sign_in().await;
    browser.goto("/ui/account").await;
    browser.fill("#passkey-name", "laptop").await;
    browser.click(ADD).await;
    browser.wait_for("#codes").await;
    sign_out(&browser).await;
    halfway(&browser).await;

    // The page's own script answers; the form that it would send is kept.
    let keep = "window.send = HTMLFormElement.prototype.submit;
                HTMLFormElement.prototype.submit = function () { document.title = 'answered'; };";
    browser.run(keep, Value::Null).await;
    let ask_again = "const form = document.querySelector('form[data-passkey]');
                     return fetch(form.dataset.options, { method: 'POST', headers: { 'X-CSRF-Token': form.elements.csrf.value } })
                        .then((asked) => asked.status);";
    let send = "window.send.call(document.querySelector('form[data-passkey]'))";
    browser.click(USE).await;
    browser.text_when("title", |text| text == "answered").await;
    assert_eq!(browser.run(ask_again, Value::Null).await, json!(200));
    browser.run(send, Value::Null).await;
    browser.text_when("[role=alert]", |text| text.contains("not accepted")).await;

    // What is no answer at all is none, and each is counted.
    let forge = "const form = document.querySelector('form[data-passkey]'); form.elements.credential.value = '{}'; form.submit();";
    browser.run(forge, Value::Null).await;
    browser.text_when("[role=alert]", |text| text.contains("not accepted")).await;
    let refused = "SELECT count(*) FROM sign_ins WHERE method = 'passkey' AND outcome = 'refused'";
    assert_eq!(app.database.count(refused).await, 2);

    // An answer that comes too late is none.
    browser.run(keep, Value::Null).await;
    browser.click(USE).await;
    browser.text_when("title", |text| text == "answered").await;
    app.database.change("UPDATE passkey_ceremonies SET expires_at = clock_timestamp()").await;
    browser.run(send, Value::Null).await;
    browser.text_when("[role=alert]", |text| text.contains("too long")).await;
    browser.click(USE).await;
    browser.wait_for("#content h1").await;
    browser.close().await;
    app.stop().await;
}

#[tokio::test]
async fn a_passkey_is_its_owners_and_nobody_is_asked_who_has_not_given_a_password() {
    let (app, site) = at_localhost().await;
    let (mut nobody, mut ann) = (app.person(), app.admin().await);
    let csrf = nobody.get("/login").await.csrf();
    let ask = nobody.request(Method::POST, "/ui/second-factor/passkey/options").header("x-csrf-token", &csrf);
    assert_eq!(nobody.send(ask).await.status, StatusCode::FORBIDDEN);
    let page = nobody.post("/ui/second-factor/passkey", &csrf, &[("credential", "{}")]).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/login"));

    let mut bob = app.joined("bob@example.net", "owner").await;
    let insert = "INSERT INTO passkeys (user_id, id, credential, name, key, created_at)
                  SELECT id, id, '\\x01', 'hers', '{}', clock_timestamp() FROM users WHERE email = 'ann@acme.example'";
    app.database.change(insert).await;
    let remove = ann.get("/ui/account").await.find(r#"action="(/ui/account/passkeys/pky_[0-9a-v]+/delete)""#);
    assert_eq!(bob.post_from("/ui/account", &remove, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.database.count("SELECT count(*) FROM passkeys").await, 1);

    // What is dangerous wants a recent proof.
    app.database.change("UPDATE sessions SET proved_at = proved_at - interval '31 minutes'").await;
    let page = ann.post_from("/ui/account", &remove, &[]).await;
    assert_eq!(page.location(), "/ui/account/confirm?next=%2Fui%2Faccount");
    let ask = ann.request(Method::POST, "/ui/account/passkeys/options");
    let ask = ask.header("x-csrf-token", &ann.clone().get("/ui/account").await.csrf());
    assert_eq!(ann.send(ask).await.location(), "/ui/account/confirm?next=%2Fui%2Faccount");
    assert!(site.starts_with("http://localhost:"));
    app.stop().await;
}

#[tokio::test]
async fn without_tls_and_a_name_no_passkey_is_offered() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let page = ann.get("/ui/account").await;
    assert!(page.text.contains("at an https:// address with a name"), "{}", page.text);
    assert!(!page.text.contains("data-passkey"), "{}", page.text);
    let ask = ann.request(Method::POST, "/ui/account/passkeys/options").header("x-csrf-token", page.csrf());
    assert_eq!(ann.send(ask).await.status, StatusCode::CONFLICT);
    app.stop().await;
}
