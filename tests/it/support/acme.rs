//! A certificate authority on a loopback port, as RFC 8555 has it on the wire: directory, nonces, signed requests, orders,
//! challenges by HTTP, certificates.
//!
//! It holds its clients to the rules: a nonce is good once, every request is signed by the account's key for the URL it
//! comes to, and a certificate is given only when the answer to the challenge was found where the test says that the
//! name leads.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

/// A running authority.
pub struct Authority {
    base: String,
    shared: Arc<Shared>,
    /// Whoever trusts it adds this to his roots.
    pub root: CertificateDer<'static>,
}

struct Shared {
    base: String,
    issuer: Issuer<'static, KeyPair>,
    state: Mutex<Books>,
}

/// What it has noted.
#[derive(Default)]
struct Books {
    nonces: HashSet<String>,
    issued_nonces: usize,
    /// Public keys by account URL.
    accounts: HashMap<String, Value>,
    orders: Vec<Order>,
    places: HashMap<String, SocketAddr>,
}

struct Order {
    name: String,
    status: &'static str,
    token: String,
    error: Option<Value>,
    chain: Option<String>,
    account: String,
}

impl Authority {
    /// Knows nobody yet.
    pub async fn start() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test's authority");
        let root = params.self_signed(&key).expect("a certificate").der().clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let issuer = Issuer::new(params, key);
        let shared = Arc::new(Shared { base: base.clone(), issuer, state: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Authority { base, shared, root }
    }

    /// Its directory.
    pub fn directory(&self) -> String {
        format!("{}/directory", self.base)
    }

    /// Where port 80 of a name leads. A name without such a place is not found.
    pub fn leads(&self, name: &str, place: SocketAddr) {
        self.shared.books().places.insert(name.to_owned(), place);
    }

    /// The names of all orders, in order, each with its status.
    pub fn orders(&self) -> Vec<(String, &'static str)> {
        self.shared.books().orders.iter().map(|order| (order.name.clone(), order.status)).collect()
    }

    /// How many accounts there are.
    pub fn accounts(&self) -> usize {
        self.shared.books().accounts.len()
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.state.lock().expect("nobody panics with it")
    }

    fn nonce(&self) -> String {
        let mut books = self.books();
        books.issued_nonces += 1;
        let nonce = format!("nonce-{}", books.issued_nonces);
        books.nonces.insert(nonce.clone());
        nonce
    }
}

/// What a client is told when it breaks a rule.
struct Problem(StatusCode, &'static str, String);

impl Problem {
    fn malformed(detail: impl Into<String>) -> Problem {
        Problem(StatusCode::BAD_REQUEST, "malformed", detail.into())
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, body: Bytes) -> Response {
    let mut response = match routed(&shared, uri.path(), &body).await {
        Ok(response) => response,
        Err(Problem(status, kind, detail)) => {
            let problem = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
            (status, axum::Json(problem)).into_response()
        }
    };
    let nonce = shared.nonce().parse().expect("ASCII");
    response.headers_mut().insert("replay-nonce", nonce);
    response
}

async fn routed(shared: &Shared, path: &str, body: &[u8]) -> Result<Response, Problem> {
    let url = |path: &str| format!("{}{path}", shared.base);
    match path {
        "/directory" => {
            let directory = json!({
                "newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/order"),
            });
            return Ok(axum::Json(directory).into_response());
        }
        "/nonce" => return Ok(StatusCode::OK.into_response()),
        _ => {}
    }
    let request = verified(shared, path, body)?;
    let index = || path.rsplit('/').next().and_then(|text| text.parse::<usize>().ok()).unwrap_or(usize::MAX);
    match path.rsplit_once('/').map_or(path, |(front, _)| if front.is_empty() { path } else { front }) {
        "/account" => {
            if request.payload["termsOfServiceAgreed"] != true {
                return Err(Problem::malformed("the terms are not agreed to"));
            }
            Ok(created(&request.account, json!({ "status": "valid" })))
        }
        "/order" if path == "/order" => Ok(ordered(shared, &request)),
        "/order" => Ok(axum::Json(shared.order(index())?).into_response()),
        "/authorization" => Ok(axum::Json(shared.authorization(index())?).into_response()),
        "/challenge" => {
            look(shared, index(), &request).await?;
            let shown = shared.authorization(index())?["challenges"][0].clone();
            Ok(axum::Json(shown).into_response())
        }
        "/finalize" => {
            finalize(shared, index(), &request)?;
            Ok(axum::Json(shared.order(index())?).into_response())
        }
        "/certificate" => {
            let books = shared.books();
            let chain = books.orders.get(index()).and_then(|order| order.chain.clone());
            Ok(chain.ok_or_else(|| Problem::malformed("there is no certificate"))?.into_response())
        }
        _ => Err(Problem(StatusCode::NOT_FOUND, "malformed", "there is nothing here".to_owned())),
    }
}

/// A request whose signature was checked.
struct Request {
    account: String,
    key: Value,
    payload: Value,
}

/// RFC 8555 §6.2 to §6.5.
fn verified(shared: &Shared, path: &str, body: &[u8]) -> Result<Request, Problem> {
    let jws: Value = serde_json::from_slice(body).map_err(|_| Problem::malformed("no JWS"))?;
    let part = |name: &str| jws[name].as_str().unwrap_or_default().to_owned();
    let octets = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Problem::malformed("no base 64"));
    let protected: Value =
        serde_json::from_slice(&octets(&part("protected"))?).map_err(|_| Problem::malformed("no header"))?;
    let nonce = protected["nonce"].as_str().unwrap_or_default();
    if !shared.books().nonces.remove(nonce) {
        return Err(Problem(StatusCode::BAD_REQUEST, "badNonce", "the nonce is not good".to_owned()));
    }
    if protected["url"] != format!("{}{path}", shared.base) {
        return Err(Problem::malformed("it was signed for another URL"));
    }
    let (account, key) = match &protected["kid"] {
        Value::String(account) => {
            let key = shared.books().accounts.get(account).cloned();
            (account.clone(), key.ok_or_else(|| Problem::malformed("there is no such account"))?)
        }
        _ => {
            let key = protected["jwk"].clone();
            let account = format!("{}/accounts/{}", shared.base, thumbprint(&key));
            shared.books().accounts.insert(account.clone(), key.clone());
            (account, key)
        }
    };
    let coordinate = |name: &str| octets(key[name].as_str().unwrap_or_default());
    let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
    let signed = format!("{}.{}", part("protected"), part("payload"));
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &octets(&part("signature"))?)
        .map_err(|_| Problem(StatusCode::UNAUTHORIZED, "unauthorized", "the signature is bad".to_owned()))?;
    let payload = octets(&part("payload"))?;
    // POST-as-GET has none.
    let payload =
        if payload.is_empty() { Value::Null } else { serde_json::from_slice(&payload).unwrap_or_default() };
    Ok(Request { account, key, payload })
}

/// RFC 7638.
fn thumbprint(key: &Value) -> String {
    let member = |name: &str| key[name].as_str().unwrap_or_default();
    let text = format!(
        r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
        member("crv"),
        member("kty"),
        member("x"),
        member("y")
    );
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

fn created(location: &str, body: Value) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("location", location.parse().expect("ASCII"));
    (StatusCode::CREATED, headers, axum::Json(body)).into_response()
}

fn ordered(shared: &Shared, request: &Request) -> Response {
    let name = request.payload["identifiers"][0]["value"].as_str().unwrap_or_default().to_owned();
    let index = {
        let mut books = shared.books();
        let token = format!("token-{}-{}", books.orders.len(), "x".repeat(30));
        let account = request.account.clone();
        books.orders.push(Order { name, status: "pending", token, error: None, chain: None, account });
        books.orders.len() - 1
    };
    let shown = shared.order(index).unwrap_or_default();
    created(&format!("{}/order/{index}", shared.base), shown)
}

impl Shared {
    fn order(&self, index: usize) -> Result<Value, Problem> {
        let books = self.books();
        let order = books.orders.get(index).ok_or_else(|| Problem::malformed("there is no such order"))?;
        let url = |what: &str| format!("{}/{what}/{index}", self.base);
        Ok(json!({
            "status": order.status,
            "identifiers": [{ "type": "dns", "value": order.name }],
            "authorizations": [url("authorization")],
            "finalize": url("finalize"),
            "certificate": order.chain.as_ref().map(|_| url("certificate")),
            "error": order.error,
        }))
    }

    fn authorization(&self, index: usize) -> Result<Value, Problem> {
        let books = self.books();
        let order = books.orders.get(index).ok_or_else(|| Problem::malformed("there is no such order"))?;
        let status = match order.status {
            "ready" | "valid" => "valid",
            other => other,
        };
        Ok(json!({
            "identifier": { "type": "dns", "value": order.name },
            "status": status,
            "challenges": [{
                "type": "http-01",
                "url": format!("{}/challenge/{index}", self.base),
                "token": order.token,
                "status": status,
                "error": order.error,
            }],
        }))
    }
}

/// RFC 8555 §8.3: fetches the answer from where the name leads.
async fn look(shared: &Shared, index: usize, request: &Request) -> Result<(), Problem> {
    // Who starts a postroad knows only then where it listens.
    for _ in 0..30 {
        let name = shared.books().orders.get(index).map(|order| order.name.clone());
        if name.is_none_or(|name| shared.books().places.contains_key(&name)) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let (token, place, name) = {
        let books = shared.books();
        let order = books.orders.get(index).ok_or_else(|| Problem::malformed("there is no such order"))?;
        if order.account != request.account {
            return Err(Problem::malformed("it is another account's"));
        }
        (order.token.clone(), books.places.get(&order.name).copied(), order.name.clone())
    };
    let found = match place {
        None => Err(format!("{name} leads nowhere")),
        Some(place) => {
            let url = format!("http://{place}/.well-known/acme-challenge/{token}");
            match reqwest::get(url).await {
                Ok(answer) => answer.text().await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        }
    };
    let expected = format!("{token}.{}", thumbprint(&request.key));
    let mut books = shared.books();
    let order = &mut books.orders[index];
    match found {
        Ok(text) if text == expected => order.status = "ready",
        wrong => {
            let detail = wrong.map_or_else(|error| error, |text| format!("the answer was {text:?}"));
            order.error =
                Some(json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": detail }));
            order.status = "invalid";
        }
    }
    Ok(())
}

fn finalize(shared: &Shared, index: usize, request: &Request) -> Result<(), Problem> {
    let mut books = shared.books();
    let order = books.orders.get_mut(index).ok_or_else(|| Problem::malformed("there is no such order"))?;
    if order.status != "ready" {
        return Err(Problem(StatusCode::FORBIDDEN, "orderNotReady", "the order is not ready".to_owned()));
    }
    let csr = URL_SAFE_NO_PAD.decode(request.payload["csr"].as_str().unwrap_or_default());
    let csr = csr.map_err(|_| Problem::malformed("no base 64"))?;
    let mut csr = CertificateSigningRequestParams::from_der(&csr.into())
        .map_err(|error| Problem(StatusCode::BAD_REQUEST, "badCSR", error.to_string()))?;
    csr.params.not_before = date_time_ymd(2026, 1, 1);
    csr.params.not_after = date_time_ymd(2036, 1, 1);
    let certificate = csr.signed_by(&shared.issuer).map_err(|error| Problem::malformed(error.to_string()))?;
    order.chain = Some(certificate.pem());
    order.status = "valid";
    Ok(())
}
