//! Signing in by an OpenID provider, which is here: it keeps to the protocol, checks what it is given, and says of
//! people what a test wants it to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::extract::{RawForm, State};
use axum::http::{HeaderMap, StatusCode as Status};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::BASE64URL_NOPAD as B64;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

use crate::support::app::{Builder, TestApp};

use super::person::{ADMIN, Page, Person};

const CLIENT: &str = "postroad at acme";
const SECRET: &str = "s:e&c=ret";

/// A provider of one client.
#[derive(Clone)]
struct Provider(Arc<Inner>);

struct Inner {
    url: String,
    pkcs8: Vec<u8>,
    public: Vec<u8>,
    /// What each code stands for: the challenge, and the claims.
    codes: Mutex<HashMap<String, (String, Value)>>,
}

impl Provider {
    async fn start() -> Provider {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.expect("a key").as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).expect("a key");
        let public = pair.public_key().as_ref().to_vec();
        let provider = Provider(Arc::new(Inner { url, pkcs8, public, codes: Mutex::default() }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        provider
    }

    fn app(&self) -> Builder {
        TestApp::builder()
            .dashboard()
            .set("POSTROAD_OIDC_ISSUER", &self.0.url)
            .set("POSTROAD_OIDC_CLIENT_ID", CLIENT)
            .set("POSTROAD_OIDC_CLIENT_SECRET", SECRET)
    }

    /// She signs in here: what the redirect to us then says. `claims` are laid over the usual ones.
    fn admit(&self, asked: &Url, now: i64, claims: Value) -> String {
        let asked: HashMap<String, String> = asked.query_pairs().into_owned().collect();
        assert_eq!((asked["response_type"].as_str(), asked["client_id"].as_str()), ("code", CLIENT));
        assert_eq!(
            (asked["scope"].as_str(), asked["code_challenge_method"].as_str()),
            ("openid email profile", "S256")
        );
        let mut all = json!({
            "iss": self.0.url, "aud": CLIENT, "sub": "42", "nonce": asked["nonce"], "iat": now, "exp": now + 300,
            "email": ADMIN, "email_verified": true, "name": "Ann",
        });
        all.as_object_mut().expect("claims").extend(claims.as_object().expect("claims").clone());
        let code = format!("code-{}", self.0.codes.lock().expect("unpoisoned").len());
        self.0.codes.lock().expect("unpoisoned").insert(code.clone(), (asked["code_challenge"].clone(), all));
        let back = Url::parse(&asked["redirect_uri"]).expect("a URL");
        format!("{}?code={code}&state={}", back.path(), asked["state"])
    }
}

async fn discovery(State(provider): State<Provider>) -> Json<Value> {
    let url = &provider.0.url;
    Json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    let public = &provider.0.public;
    let (x, y) = (B64.encode(&public[1..33]), B64.encode(&public[33..]));
    Json(json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "x": x, "y": y }] }))
}

async fn token(State(provider): State<Provider>, headers: HeaderMap, RawForm(form): RawForm) -> Response {
    let refused = |error: &str| (Status::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let form: HashMap<String, String> = url::form_urlencoded::parse(&form).into_owned().collect();
    // RFC 6749 §2.3.1: form-encoded, then joined.
    let expected = data_encoding::BASE64.encode(b"postroad+at+acme:s%3Ae%26c%3Dret");
    if headers["authorization"] != format!("Basic {expected}") {
        return refused("invalid_client");
    }
    let Some((challenge, claims)) = provider.0.codes.lock().expect("unpoisoned").remove(&form["code"]) else {
        return refused("invalid_grant");
    };
    let proof = B64.encode(digest::digest(&digest::SHA256, form["code_verifier"].as_bytes()).as_ref());
    if form["grant_type"] != "authorization_code" || proof != challenge {
        return refused("invalid_grant");
    }
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
    let key = EncodingKey::from_ec_der(&provider.0.pkcs8);
    let token = jsonwebtoken::encode(&header, &claims, &key).expect("signed");
    Json(json!({ "access_token": "unused", "token_type": "Bearer", "id_token": token })).into_response()
}

/// Away to the provider: what it is asked.
async fn away(person: &mut Person, next: &str) -> Url {
    let page = person.get(&format!("/ui/oidc/start?next={next}")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    Url::parse(page.location()).expect("a URL")
}

fn now(app: &TestApp) -> i64 {
    app.server().clock().now().unix_timestamp()
}

async fn comes_back(provider: &Provider, app: &TestApp, person: &mut Person, claims: Value) -> Page {
    let asked = away(person, "/ui/messages").await;
    let back = provider.admit(&asked, now(app), claims);
    person.get(&back).await
}

#[tokio::test]
async fn whom_the_provider_knows_is_in_without_a_password() {
    let provider = Provider::start().await;
    let app = provider.app().start().await;
    let mut ann = app.person();
    let login = ann.get("/login?next=/ui/messages").await;
    assert!(login.text.contains("Sign in with 127.0.0.1"), "{}", login.text);
    let page = comes_back(&provider, &app, &mut ann, json!({})).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/ui/messages"), "{}", page.text);
    assert!(ann.is_in().await);
    // From now on she is known by her subject, whatever her address there becomes.
    let mut again = app.person();
    let page = comes_back(&provider, &app, &mut again, json!({ "email": "ann@new.example" })).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    let logged = app.database.texts("SELECT method || ' ' || outcome FROM sign_ins").await;
    assert_eq!(logged, ["oidc signed_in", "oidc signed_in"]);
    app.stop().await;
}

#[tokio::test]
async fn nobody_gets_in_by_an_address_alone() {
    let provider = Provider::start().await;
    let app = provider.app().start().await;
    let mut eve = app.person();
    for claims in [
        json!({ "sub": "1", "email_verified": false }),
        json!({ "sub": "1", "email": "eve@elsewhere.example" }),
        json!({ "sub": "1", "email": null }),
    ] {
        let page = comes_back(&provider, &app, &mut eve, claims).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text);
    }
    for claims in [
        json!({ "aud": "other" }),
        json!({ "iss": "https://evil.example" }),
        json!({ "nonce": "old" }),
        json!({ "exp": 1 }),
    ] {
        let page = comes_back(&provider, &app, &mut eve, claims).await;
        assert_eq!(page.status, StatusCode::BAD_GATEWAY, "{}", page.text);
    }
    assert!(!eve.is_in().await);
    app.stop().await;
}

#[tokio::test]
async fn who_comes_back_with_anothers_sign_in_is_not_let_in() {
    let provider = Provider::start().await;
    let app = provider.app().start().await;
    let (mut ann, mut eve) = (app.person(), app.person());
    let asked = away(&mut ann, "/ui/").await;
    let back = provider.admit(&asked, now(&app), json!({}));
    assert_eq!(eve.get(&back).await.status, StatusCode::BAD_REQUEST, "she was never away");
    away(&mut eve, "/ui/").await;
    assert_eq!(eve.get(&back).await.status, StatusCode::BAD_REQUEST, "another's state");
    assert_eq!(ann.get(&format!("{back}&iss=https://evil.example")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ann.get(&back).await.status, StatusCode::SEE_OTHER);
    let mut late = app.person();
    away(&mut late, "/ui/").await;
    let denied = late.cookies["postroad-away"].clone();
    let state = {
        let asked = away(&mut late, "/ui/").await;
        asked.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned()
    };
    let page = late.get(&format!("/ui/oidc/callback?error=access_denied&state={state}")).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text);
    late.cookies.insert("postroad-away".to_owned(), format!("{denied}A"));
    assert_eq!(late.get(&back).await.status, StatusCode::BAD_REQUEST, "what was changed does not open");
    app.stop().await;
}

#[tokio::test]
async fn who_is_invited_joins_by_the_provider() {
    let provider = Provider::start().await;
    let app = provider.app().start().await;
    let mut admin = app.admin().await;
    let fields = [("email", "bob@example.net"), ("role", "viewer")];
    let page = admin.post_from("/ui/team", "/ui/team/invitations", &fields).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    let mut bob = app.person();
    let claims = json!({ "sub": "bob", "email": "Bob@example.net", "name": "Bob" });
    let page = comes_back(&provider, &app, &mut bob, claims).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    assert!(bob.is_in().await);
    let role = app.database.texts("SELECT m.role FROM memberships m JOIN users u ON u.id = m.user_id WHERE u.email = 'bob@example.net'").await;
    assert_eq!(role, ["viewer"]);
    app.stop().await;
}
