//! What holds on every page, over all routes as `src/http/ui/mod.rs` and `pages.rs` have them: nobody who is not signed in sees anything,
//! nothing is changed without a form's token, and each role may what the table of roles says.

use std::collections::BTreeSet;

use postroad::domain::id::TenantId;
use reqwest::{Method, StatusCode};

use crate::openapi::routes;
use crate::support::app::TestApp;

use super::person::Person;

/// The ways in, and the files of pages: open to all.
const OPEN: [&str; 12] = [
    "/login",
    "/ui",
    "/ui/setup",
    "/ui/forgot",
    "/ui/reset",
    "/ui/invitation",
    "/ui/second-factor",
    "/ui/second-factor/passkey",
    "/ui/second-factor/passkey/options",
    "/ui/oidc/start",
    "/ui/oidc/callback",
    "/ui/assets/{name}",
];

/// What everybody may change, since it is her own; and what is sent as a form and changes nothing.
const OWN: [&str; 4] = ["/ui/sign-out", "/ui/tenant", "/ui/account", "/ui/templates/preview"];
/// What a developer may not change, and an admin may.
const OF_ADMINS: [&str; 3] = ["/ui/team", "/ui/settings/notices", "/ui/operator"];

fn all() -> BTreeSet<(Method, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/ui");
    let of = |method: &str| Method::from_bytes(method.as_bytes()).expect("a method");
    let mut all = BTreeSet::new();
    for name in ["mod.rs", "pages.rs"] {
        let page = std::fs::read_to_string(format!("{folder}/{name}")).expect("the routes");
        let routes = routes::read(&page).expect("routes that are understood");
        all.extend(routes.into_keys().map(|(method, path)| (of(&method), path)));
    }
    all
}

/// A path with something in each of its places that nobody has.
fn filled(path: &str) -> String {
    let nobodys = TenantId::from_uuid(uuid::Uuid::from_u128(1)).to_string();
    let parts = path.split('/').map(|part| if part.starts_with('{') { nobodys.as_str() } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn is_open(path: &str) -> bool {
    OPEN.contains(&path)
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_asked_to_be_on_every_page() {
    let app = TestApp::with_dashboard().await;
    let mut nobody = app.person();
    let csrf = nobody.get("/login").await.csrf();
    for (method, path) in all().into_iter().filter(|(_, path)| !is_open(path)) {
        let request = nobody.request(method.clone(), &filled(&path));
        let request = if method == Method::GET { request } else { request.header("x-csrf-token", &csrf) };
        let page = nobody.send(request).await;
        let led = page.status == StatusCode::SEE_OTHER && page.location().starts_with("/login");
        assert!(
            led || page.status == StatusCode::UNAUTHORIZED,
            "{method} {path}: {} {}",
            page.status,
            page.text
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn nothing_is_changed_without_a_forms_token_on_any_page() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    for (method, path) in all().into_iter().filter(|(method, _)| *method != Method::GET) {
        let request = ann.request(method.clone(), &filled(&path)).form(&[("csrf", "guessed")]);
        let page = ann.send(request).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{method} {path}: {}", page.text);
    }
    assert!(ann.is_in().await);
    app.stop().await;
}

async fn changes_as(person: &mut Person) -> Vec<(String, StatusCode)> {
    let csrf = person.get("/ui/account").await.csrf();
    let mut answered = Vec::new();
    for (method, path) in all().into_iter().filter(|(method, path)| *method != Method::GET && !is_open(path))
    {
        if OWN.iter().any(|own| path.starts_with(own)) {
            continue;
        }
        let request =
            person.request(method, &filled(&path)).header("x-csrf-token", &csrf).form(&[("x", "y")]);
        answered.push((path, person.send(request).await.status));
    }
    answered
}

#[tokio::test]
async fn a_viewer_changes_nothing_and_only_who_runs_the_installation_runs_it() {
    let app = TestApp::with_dashboard().await;
    // All join before anybody changes anything: a pause would hold the others' invitations.
    let mut viewer = app.joined("vera@example.net", "viewer").await;
    let mut developer = app.joined("dev@example.net", "developer").await;
    let mut owner = app.joined("otto@example.net", "owner").await;
    for (path, status) in changes_as(&mut viewer).await {
        assert_eq!(status, StatusCode::FORBIDDEN, "a viewer: {path}");
    }
    for (path, status) in changes_as(&mut developer).await {
        let is_above = OF_ADMINS.iter().any(|above| path.starts_with(above));
        assert_eq!(status == StatusCode::FORBIDDEN, is_above, "a developer: {path} {status}");
    }
    for (path, status) in changes_as(&mut owner).await {
        let is_above = path.starts_with("/ui/operator");
        assert_eq!(status == StatusCode::FORBIDDEN, is_above, "an owner: {path} {status}");
    }
    for path in
        all().into_iter().filter(|(method, path)| *method == Method::GET && path.starts_with("/ui/operator"))
    {
        assert_eq!(
            owner.get(&filled(&path.1)).await.status,
            StatusCode::FORBIDDEN,
            "an owner sees {}",
            path.1
        );
    }
    app.stop().await;
}
