//! Signing in and out: what is told to whom, what a session survives, and what no other site can do.

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use reqwest::{Method, StatusCode};

use crate::support::app::TestApp;

use super::person::{ADMIN, PASSWORD, Person};

#[tokio::test]
async fn who_has_the_password_is_in_and_out_again() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.person();
    let page = ann.get("/").await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/ui/"));
    let page = ann.get("/ui/messages?q=a%20b").await;
    let login = "/login?next=%2Fui%2Fmessages%3Fq%3Da%2520b";
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, login));
    let shown = ann.get(login).await;
    assert_eq!(shown.field("next"), "/ui/messages?q=a%20b");
    let fields = [("email", "ANN@acme.example"), ("password", PASSWORD), ("next", "/ui/messages?q=a%20b")];
    let page = ann.post("/login", &shown.csrf(), &fields).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/ui/messages?q=a%20b"));
    assert!(ann.is_in().await);

    let page = ann.post_from("/ui/", "/ui/sign-out", &[]).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/login"));
    assert!(!ann.is_in().await);
    app.stop().await;
}

#[tokio::test]
async fn what_was_wrong_is_not_told() {
    let app = TestApp::with_dashboard().await;
    let mut person = app.person();
    let mut told = Vec::new();
    for (email, password) in
        [(ADMIN, "wrong password"), ("nobody@acme.example", PASSWORD), ("no address", PASSWORD)]
    {
        let page = person.try_sign_in(email, password).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        assert!(!page.text.contains(password), "a password is not given back");
        told.push(page.text.replace(email, "…"));
    }
    assert!(told.iter().all(|text| *text == told[0]), "{told:#?}");
    assert!(!person.is_in().await);
    let logged = app.database.texts("SELECT method || ' ' || outcome FROM sign_ins ORDER BY id").await;
    assert_eq!(logged, ["password refused"; 3]);
    let kept = app.database.texts("SELECT email FROM sign_ins WHERE user_id IS NULL ORDER BY email").await;
    assert_eq!(kept, ["", "nobody@acme.example"], "what is no address may be a password");
    app.stop().await;
}

/// What this process has used so far. In it runs one test.
fn processor_time() -> f64 {
    let used = getrusage(UsageWho::RUSAGE_SELF).expect("every process has it");
    [used.user_time(), used.system_time()].iter().map(|it| it.num_microseconds() as f64 / 1e6).sum()
}

// The processor's time, and of each the least of nine: a busy machine makes only the clock on the wall late. A second
// hash, or none, would differ by far more than the bounds.
#[tokio::test]
async fn an_address_that_nobody_has_takes_as_long() {
    let app = TestApp::with_dashboard().await;
    let users = app.server().users().clone();
    let visitor = |n: u8| postroad::domain::session::Visitor::new([192, 0, 2, n].into(), "test");
    let (mut known, mut unknown) = (f64::MAX, f64::MAX);
    for n in 0..9 {
        for (email, least) in [(ADMIN, &mut known), ("nobody@acme.example", &mut unknown)] {
            let before = processor_time();
            let password = postroad::account::users::passwords::Password::given("wrong password");
            let refused = users.sign_in(email, password, &visitor(n), app.server().clock().now()).await;
            assert!(refused.is_err());
            *least = least.min(processor_time() - before);
        }
    }
    assert!((0.6..1.6).contains(&(known / unknown)), "{known} s, {unknown} s");
    app.stop().await;
}

#[tokio::test]
async fn guessing_is_stopped_and_says_for_how_long() {
    let app = TestApp::with_dashboard().await;
    let mut person = app.person();
    for _ in 0..10 {
        assert_eq!(person.try_sign_in(ADMIN, "a wrong guess").await.status, StatusCode::UNAUTHORIZED);
    }
    let page = person.try_sign_in(ADMIN, PASSWORD).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "even the right one");
    assert!(page.text.contains("wait 15 minutes"), "{}", page.text);
    app.stop().await;
}

#[tokio::test]
async fn what_another_site_sends_changes_nothing() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let csrf = ann.get("/ui/").await.csrf();
    let mut attempts = Vec::new();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        attempts.push(ann.request(Method::POST, "/ui/sign-out").header(name, value).form(&[("csrf", &csrf)]));
    }
    let other_session = app.admin().await.get("/ui/").await.csrf();
    let of_a_guest = app.person().get("/login").await.csrf();
    for token in ["", "x", &other_session, &of_a_guest, &csrf[1..]] {
        attempts.push(ann.request(Method::POST, "/ui/sign-out").form(&[("csrf", token)]));
    }
    attempts.push(ann.request(Method::POST, "/ui/sign-out"));
    attempts.push(
        ann.request(Method::POST, "/ui/sign-out")
            .header("content-type", "text/plain")
            .body(format!("csrf={csrf}")),
    );
    for attempt in attempts {
        let page = ann.send(attempt).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text);
    }
    assert!(ann.is_in().await);
    let by_script = ann.request(Method::POST, "/ui/sign-out").header("x-csrf-token", &csrf);
    assert_eq!(
        ann.send(by_script).await.status,
        StatusCode::SEE_OTHER,
        "a script of ours sends it in a header"
    );
    app.stop().await;
}

#[tokio::test]
async fn a_session_that_is_revoked_is_over_at_once_whatever_its_browser_shows() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let mut stolen = ann.clone();
    assert!(ann.is_in().await && stolen.is_in().await);
    ann.post_from("/ui/", "/ui/sign-out", &[]).await;
    assert!(!stolen.is_in().await, "a copy of its cookies is worth nothing");
    app.stop().await;
}

#[tokio::test]
async fn a_session_outlives_its_token_and_not_its_renewal() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let first = ann.cookies.remove("postroad-session").expect("a token");
    assert!(ann.is_in().await, "renewed");
    assert!(ann.cookies.contains_key("postroad-session"));
    ann.cookies.insert("postroad-session".to_owned(), format!("{first}x"));
    assert!(ann.is_in().await, "a token that cannot be read is as good as none");
    ann.cookies.retain(|name, _| name == "postroad-session");
    ann.cookies.insert("postroad-renewal".to_owned(), "forged".to_owned());
    ann.cookies.insert("postroad-session".to_owned(), "forged".to_owned());
    assert!(!ann.is_in().await);
    app.stop().await;
}

#[tokio::test]
async fn a_session_that_is_not_used_ends() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    app.database.change("UPDATE sessions SET expires_at = clock_timestamp()").await;
    assert!(!ann.is_in().await);
    app.stop().await;
}

#[tokio::test]
async fn pages_run_nothing_but_our_own_files_and_are_framed_by_nobody() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    for path in ["/login", "/ui/", "/ui/nowhere"] {
        let page = ann.get(path).await;
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let told =
            ["x-content-type-options", "referrer-policy", "cross-origin-opener-policy", "cache-control"];
        assert_eq!(
            told.map(|name| page.header(name)),
            ["nosniff", "same-origin", "same-origin", "no-store"],
            "{path}"
        );
        assert_eq!(page.header("strict-transport-security"), "", "only over TLS");
    }
    assert_eq!(ann.get("/ui/nowhere").await.status, StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test]
async fn behind_https_cookies_are_of_this_host_alone() {
    let app =
        TestApp::builder().dashboard().set("POSTROAD_PUBLIC_URL", "https://mail.acme.example").start().await;
    let mut ann = app.person();
    let shown = ann.get("/login").await;
    assert_eq!(shown.header("strict-transport-security"), "max-age=31536000");
    let form = [("csrf", shown.csrf()), ("email", ADMIN.to_owned()), ("password", PASSWORD.to_owned())];
    let request =
        ann.request(Method::POST, "/login").header("origin", "https://mail.acme.example").form(&form);
    let page = ann.send(request).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    for cookie in page.headers.get_all("set-cookie") {
        let cookie = cookie.to_str().expect("ASCII");
        assert!(cookie.starts_with("__Host-postroad-"), "{cookie}");
        for wanted in ["; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
            assert!(cookie.contains(wanted), "{cookie}");
        }
        assert!(!cookie.to_lowercase().contains("domain="), "{cookie}");
    }
    assert!(ann.is_in().await);
    app.stop().await;
}

#[tokio::test]
async fn the_first_person_enters_herself_by_a_link_that_works_once() {
    let app = TestApp::start().await;
    let path = app.server().setup_path().expect("nobody is there");
    // Another node prints a link of its own.
    let node = TestApp::builder().on(&app.database).start().await;
    let mut late = Person::at(node.client.url());
    let shown = late.get(&node.server().setup_path().expect("nobody is there")).await;
    let (late_csrf, late_token) = (shown.csrf(), shown.field("token"));
    let mut ann = app.person();
    assert_eq!(ann.get("/ui/setup?token=forged").await.status, StatusCode::GONE);
    let shown = ann.get(&path).await;
    let (csrf, token) = (shown.csrf(), shown.field("token"));
    let bad =
        [("token", token.as_str()), ("email", "<ann>"), ("name", "Ann \"A\" <Lee>"), ("password", "short")];
    let page = ann.post("/ui/setup", &csrf, &bad).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        page.text.contains("8 characters") && page.text.contains("e-mail address is needed"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("<Lee>"), "what was typed is kept, and escaped: {}", page.text);
    let good = [("token", token.as_str()), ("email", ADMIN), ("name", "Ann"), ("password", PASSWORD)];
    let page = ann.post("/ui/setup", &csrf, &good).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/ui/"), "{}", page.text);
    assert!(ann.is_in().await);

    assert_eq!(app.person().get(&path).await.status, StatusCode::GONE);
    let mut other = app.person();
    let guest = other.get("/login").await.csrf();
    let again = [("token", token.as_str()), ("email", "eve@acme.example"), ("password", PASSWORD)];
    assert_eq!(other.post("/ui/setup", &guest, &again).await.status, StatusCode::GONE);
    let second = [("token", late_token.as_str()), ("email", "eve@acme.example"), ("password", PASSWORD)];
    assert_eq!(
        late.post("/ui/setup", &late_csrf, &second).await.status,
        StatusCode::GONE,
        "somebody is there"
    );
    node.drain().await;
    let logged =
        app.database.texts("SELECT actor || ' ' || action FROM audit_log WHERE action LIKE 'user.%'").await;
    assert_eq!(logged, ["setup user.create"]);
    app.stop().await;
}

#[tokio::test]
async fn with_a_first_person_in_the_settings_there_is_no_set_up_link_and_her_password_stays_hers() {
    let app = TestApp::with_dashboard().await;
    assert_eq!(app.server().setup_path(), None);
    let database = app.drain().await;
    let again = TestApp::builder()
        .dashboard()
        .set("POSTROAD_ADMIN_PASSWORD", "another password")
        .on(&database)
        .start()
        .await;
    let mut ann = Person::at(again.client.url());
    ann.sign_in(ADMIN, PASSWORD).await;
    again.stop().await;
}
