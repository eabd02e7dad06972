//! Invitations, forgotten passwords and second factors, as people go through them; the mail goes out by the capture route.

use std::time::Instant;

use postroad::domain::totp::TotpSecret;
use reqwest::StatusCode;

use crate::support::app::TestApp;
use crate::support::client::{PATIENCE, text};

use super::person::{ADMIN, PASSWORD, Page, Person};

impl TestApp {
    /// The path of the link in the newest mail to an address, once one has come whose text contains `wanted`.
    pub async fn link_to(&self, address: &str, wanted: &str) -> String {
        let began = Instant::now();
        loop {
            for mail in self.client.all_pages("/v1/captured", 100).await {
                if mail["recipients"][0] != *address {
                    continue;
                }
                let raw = self.client.download(&format!("/v1/captured/{}/raw", text(&mail, "/id"))).await;
                let raw = String::from_utf8(raw).expect("text").replace("=\r\n", "").replace("=3D", "=");
                if raw.contains(wanted) {
                    let link = raw.lines().find(|line| line.contains("/ui/")).expect("a link");
                    return link
                        .trim()
                        .strip_prefix(self.client.url())
                        .expect("below the dashboard")
                        .to_owned();
                }
            }
            assert!(began.elapsed() < PATIENCE, "no mail to {address}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Somebody new, who was invited and has joined.
    pub async fn joined(&self, email: &str, role: &str) -> Person {
        let mut admin = self.admin().await;
        let page =
            admin.post_from("/ui/team", "/ui/team/invitations", &[("email", email), ("role", role)]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        let path = self.link_to(email, "invites you").await;
        let mut person = self.person();
        let shown = person.get(&path).await;
        let fields = [("token", &*shown.field("token")), ("name", "Bob"), ("password", PASSWORD)];
        let page = person.post("/ui/invitation", &shown.csrf(), &fields).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/ui/"), "{}", page.text);
        person
    }
}

/// What was decided about people, and by whom (security 5.14).
const LOGGED: &str = "SELECT action || ' ' || left(actor, 5) FROM audit_log
    WHERE action IN ('member.update', 'member.delete', 'user.password') AND ip IS NOT NULL ORDER BY id";

#[tokio::test]
async fn who_is_invited_joins_by_the_link_in_her_mail_once() {
    let app = TestApp::with_dashboard().await;
    let mut bob = app.joined("bob@example.net", "viewer").await;
    assert!(bob.is_in().await);
    let path = app.link_to("bob@example.net", "invites you").await;
    assert_eq!(app.person().get(&path).await.status, StatusCode::GONE, "used");
    let roles = app
        .database
        .texts(
            "SELECT u.email || ' ' || m.role FROM memberships m JOIN users u ON u.id = m.user_id ORDER BY 1",
        )
        .await;
    assert_eq!(roles, ["ann@acme.example owner", "bob@example.net viewer"]);
    let logged = app.database.texts("SELECT action FROM audit_log WHERE action LIKE 'invitation.%' OR action = 'user.create' ORDER BY id").await;
    assert_eq!(logged, ["user.create", "invitation.create", "user.create"]);

    // What the mail says is its recipient's alone, though it is mail of the tenant.
    let sent = app.client.all_pages("/v1/messages?tag=postroad", 100).await;
    assert_eq!(sent.len(), 1);
    let raw = app.client.get(&format!("/v1/messages/{}/raw", text(&sent[0], "/id"))).await;
    assert_eq!(raw.status, StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test]
async fn who_has_an_account_signs_in_to_join_another_tenant_and_switches_between_them() {
    let app = TestApp::with_dashboard().await;
    let other = app.account("other").await;
    let mut bob = app.joined("bob@example.net", "developer").await;
    // An owner of the other tenant invites Bob there, too.
    let made = "INSERT INTO memberships SELECT t.id, u.id, 'owner', clock_timestamp() FROM tenants t, users u WHERE t.name = 'other' AND u.email = 'ann@acme.example'";
    app.database.change(made).await;
    let mut ann = app.admin().await;
    let page = ann.post_from("/ui/team", "/ui/tenant", &[("tenant", &other.tenant)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let page = ann
        .post_from("/ui/team", "/ui/team/invitations", &[("email", "bob@example.net"), ("role", "admin")])
        .await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    let path = app.link_to("bob@example.net", "\"other\"").await;

    let mut stranger = app.person();
    let shown = stranger.get(&path).await;
    assert!(shown.text.contains("You have an account here already"), "{}", shown.text);
    let token = path.split('=').nth(1).expect("a token");
    let page = stranger
        .post(
            "/ui/invitation",
            &stranger.clone().get("/login").await.csrf(),
            &[("token", token), ("password", "another password")],
        )
        .await;
    assert!(page.status != StatusCode::SEE_OTHER, "the link alone does not get into an account");

    let shown = bob.get(&path).await;
    let page = bob.post("/ui/invitation", &shown.csrf(), &[("token", token)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    assert!(bob.get("/ui/team").await.text.contains("Who may what in other"));
    let default = app.server().default_tenant().to_string();
    bob.post_from("/ui/team", "/ui/tenant", &[("tenant", &default)]).await;
    assert!(bob.get("/ui/team").await.text.contains("Who may what in default"));
    let strange = app.account("third").await.tenant;
    let page = bob.post_from("/ui/team", "/ui/tenant", &[("tenant", &strange)]).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND, "of which he is no member");
    app.stop().await;
}

#[tokio::test]
async fn a_forgotten_password_is_chosen_anew_by_a_link_and_all_browsers_are_signed_out() {
    let app = TestApp::with_dashboard().await;
    let (mut ann, mut person) = (app.admin().await, app.person());
    let told = |page: &Page, email: &str| (page.status, page.text.replace(email, "…"));
    let known = person.post_from("/ui/forgot", "/ui/forgot", &[("email", ADMIN)]).await;
    let unknown = person.post_from("/ui/forgot", "/ui/forgot", &[("email", "nobody@acme.example")]).await;
    assert_eq!(
        told(&known, ADMIN),
        told(&unknown, "nobody@acme.example"),
        "nobody is told whether anybody has the address"
    );
    let path = app.link_to(ADMIN, "new password").await;

    let shown = person.get(&path).await;
    let (csrf, token) = (shown.csrf(), shown.field("token"));
    let short = person.post("/ui/reset", &csrf, &[("token", &token), ("password", "short")]).await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    let done =
        person.post("/ui/reset", &csrf, &[("token", &token), ("password", "a new long password")]).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    assert!(!ann.is_in().await, "whoever was in is out");
    let again = person.post("/ui/reset", &csrf, &[("token", &token), ("password", "another password")]).await;
    assert_eq!(again.status, StatusCode::GONE, "a link works once");
    assert_eq!(person.try_sign_in(ADMIN, PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    person.sign_in(ADMIN, "a new long password").await;
    assert_eq!(app.client.all_pages("/v1/messages?tag=postroad", 100).await.len(), 1, "no mail to nobody");
    app.stop().await;
}

#[tokio::test]
async fn a_changed_password_signs_out_every_other_browser() {
    let app = TestApp::with_dashboard().await;
    let (mut here, mut there) = (app.admin().await, app.admin().await);
    let wrong = [("present", "not my password"), ("password", "a new long password")];
    let page = here.post_from("/ui/account", "/ui/account/password", &wrong).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("not your present password"), "{}", page.text);
    let right = [("present", PASSWORD), ("password", "a new long password")];
    let page = here.post_from("/ui/account", "/ui/account/password", &right).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    assert!(here.is_in().await && !there.is_in().await);
    assert_eq!(app.database.texts(LOGGED).await, ["user.password user_"]);
    app.stop().await;
}

/// Adds an authenticator app; gives its secret and the recovery codes.
async fn with_app(person: &mut Person, app: &TestApp) -> (TotpSecret, Vec<String>) {
    let shown = person.post_from("/ui/account", "/ui/account/app", &[]).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    let secret = shown.find(r#"<code[^>]*id="secret">([A-Z2-7 ]+)</code>"#).replace(' ', "");
    let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).expect("base 32");
    let secret = TotpSecret::from_octets(secret);
    let wrong = person.post("/ui/account/app/confirm", &shown.csrf(), &[("code", "000000")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let code = secret.code_at(app.server().clock().now());
    let page = person.post("/ui/account/app/confirm", &shown.csrf(), &[("code", &code)]).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let codes = page.find(r#"(?s)<pre[^>]*id="codes">(.*?)</pre>"#);
    (secret, codes.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[tokio::test]
async fn with_an_authenticator_app_a_password_alone_lets_nobody_in() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let (secret, codes) = with_app(&mut ann, &app).await;
    assert_eq!(codes.len(), 10);
    let stored: Vec<String> = app.database.texts("SELECT encode(secret, 'escape') FROM totp_factors").await;
    assert!(!stored[0].contains(&secret.to_base32()), "sealed");

    let mut person = app.person();
    let page = person.try_sign_in(ADMIN, PASSWORD).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/ui/second-factor?next=%2Fui%2F"));
    assert!(!person.is_in().await, "halfway is not in");
    let used = secret.code_at(app.server().clock().now());
    let later = secret.code_at(app.server().clock().now() + time::Duration::seconds(30));
    for code in ["", "123456", &*used] {
        let page = person.post_from("/ui/second-factor", "/ui/second-factor", &[("code", code)]).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{code}: a code works once: {}", page.text);
    }
    let page = person.post_from("/ui/second-factor", "/ui/second-factor", &[("code", &later)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    assert!(person.is_in().await);

    let recovery = codes[0].to_uppercase();
    for wanted in [StatusCode::SEE_OTHER, StatusCode::UNAUTHORIZED] {
        let mut lost = app.person();
        lost.try_sign_in(ADMIN, PASSWORD).await;
        let page = lost.post_from("/ui/second-factor", "/ui/second-factor", &[("code", &recovery)]).await;
        assert_eq!(page.status, wanted, "a recovery code works once");
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_dangerous_wants_a_recent_proof() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    app.database.change("UPDATE sessions SET proved_at = proved_at - interval '31 minutes'").await;
    let page = ann.post_from("/ui/account", "/ui/account/app", &[]).await;
    assert_eq!(
        (page.status, page.location()),
        (StatusCode::SEE_OTHER, "/ui/account/confirm?next=%2Fui%2Faccount")
    );
    let at = "/ui/account/confirm?next=%2Fui%2Faccount";
    let page = ann.post_from(at, "/ui/account/confirm", &[("password", "wrong password")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page =
        ann.post_from(at, "/ui/account/confirm", &[("password", PASSWORD), ("next", "/ui/account")]).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/ui/account"));
    assert_eq!(ann.post_from("/ui/account", "/ui/account/app", &[]).await.status, StatusCode::OK);
    app.stop().await;
}

#[tokio::test]
async fn a_browser_is_signed_out_from_another_one() {
    let app = TestApp::with_dashboard().await;
    let (mut here, mut there) = (app.admin().await, app.admin().await);
    let mut bob = app.joined("bob@example.net", "owner").await;
    let page = here.get("/ui/account").await;
    let id = page.find(r"/ui/account/sessions/(ses_[0-9a-v]+)/end");
    let strange = bob.post_from("/ui/account", &format!("/ui/account/sessions/{id}/end"), &[]).await;
    assert_eq!(strange.status, StatusCode::NOT_FOUND, "it is not his");
    let page = here.post("/ui/account/sessions/end-others", &page.csrf(), &[]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert!(here.is_in().await && !there.is_in().await && bob.is_in().await);
    app.stop().await;
}

#[tokio::test]
async fn nobody_decides_about_what_is_above_her_and_a_tenant_keeps_an_owner() {
    let app = TestApp::with_dashboard().await;
    let mut ann = app.admin().await;
    let mut bob = app.joined("bob@example.net", "admin").await;
    let team = ann.get("/ui/team").await;
    let bobs = team.find(r#"action="/ui/team/members/(user_[0-9a-v]+)">"#);
    let anns = team.find(r"/ui/team/members/(user_[0-9a-v]+)/delete[^>]*Leave");
    let csrf = bob.get("/ui/team").await.csrf();
    let to = |who: &str| format!("/ui/team/members/{who}");
    for (path, role) in [(to(&anns), "viewer"), (to(&bobs), "owner"), (format!("{}/delete", to(&anns)), "")] {
        let page = bob.post(&path, &csrf, &[("role", role)]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {role}");
    }
    let page =
        bob.post("/ui/team/invitations", &csrf, &[("email", "eve@example.net"), ("role", "owner")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "nor may he invite one");

    let csrf = team.csrf();
    for path in [to(&anns), format!("{}/delete", to(&anns))] {
        let page = ann.post(&path, &csrf, &[("role", "viewer")]).await;
        assert_eq!(page.status, StatusCode::CONFLICT, "the last owner stays: {path}");
    }
    assert_eq!(ann.post(&to(&bobs), &csrf, &[("role", "owner")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(ann.post(&to(&anns), &csrf, &[("role", "viewer")]).await.status, StatusCode::SEE_OTHER);
    let page = ann.post(&to(&bobs), &csrf, &[("role", "viewer")]).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "at once, on every page");
    assert_eq!(
        bob.post_from("/ui/team", &format!("{}/delete", to(&anns)), &[]).await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(ann.get("/ui/team").await.status, StatusCode::FORBIDDEN, "who is no member sees nothing");
    let logged = app.database.texts(LOGGED).await;
    assert_eq!(
        logged,
        ["member.update user_", "member.update user_", "member.delete user_"],
        "and who did it"
    );
    let roles = "SELECT concat_ws(' ', details -> 'before' ->> 'role', '->', details -> 'after' ->> 'role')
        FROM audit_log WHERE action LIKE 'member.%' ORDER BY id";
    assert_eq!(
        app.database.texts(roles).await,
        ["admin -> owner", "owner -> viewer", "viewer ->"],
        "and what was before and after"
    );
    app.stop().await;
}
