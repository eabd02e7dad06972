//! Somebody at a browser, as far as HTTP goes: keeps cookies, follows nothing by itself, and fills in forms as they are
//! on the page. What runs scripts is in `browser`.

use std::collections::BTreeMap;

use regex::Regex;
use reqwest::{Method, StatusCode, header};

use crate::support::app::TestApp;
use crate::support::client::PATIENCE;

/// The password of everybody in these tests.
pub const PASSWORD: &str = "correct horse battery";
/// The first person, from the settings.
pub const ADMIN: &str = "ann@acme.example";

/// A page as it came.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: header::HeaderMap,
    /// Its text.
    pub text: String,
}

/// Somebody at a browser.
#[derive(Debug, Clone)]
pub struct Person {
    url: String,
    http: reqwest::Client,
    /// Her cookies.
    pub cookies: BTreeMap<String, String>,
}

impl TestApp {
    /// A postroad whose first person is [`ADMIN`].
    pub async fn with_dashboard() -> TestApp {
        TestApp::builder().dashboard().start().await
    }

    /// A browser nobody is signed in at.
    pub fn person(&self) -> Person {
        Person::at(self.client.url())
    }

    /// The first person, signed in.
    pub async fn admin(&self) -> Person {
        let mut person = self.person();
        person.sign_in(ADMIN, PASSWORD).await;
        person
    }
}

impl crate::support::app::Builder {
    /// With [`ADMIN`] as its first person.
    pub fn dashboard(self) -> Self {
        self.set("POSTROAD_ADMIN_EMAIL", ADMIN).set("POSTROAD_ADMIN_PASSWORD", PASSWORD)
    }
}

impl Person {
    /// A browser nobody is signed in at.
    pub fn at(url: &str) -> Person {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Person { url: url.to_owned(), http, cookies: BTreeMap::new() }
    }

    /// A request with her cookies.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.http.request(method, format!("{}{path}", self.url)).header(header::COOKIE, cookies.join("; "))
    }

    /// Sends a request and keeps what cookies come back.
    pub async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let response = request.send().await.expect("answered");
        let (status, headers) = (response.status(), response.headers().clone());
        for cookie in headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().expect("ASCII");
            let (name, value) =
                cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Page { status, headers, text: response.text().await.expect("text") }
    }

    /// GET.
    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// POST of a form, with the token of the form at `page`.
    pub async fn post_from(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Page {
        let shown = self.get(page).await;
        assert_eq!(shown.status, StatusCode::OK, "{page}: {}", shown.text);
        let csrf = shown.csrf();
        self.post(action, &csrf, fields).await
    }

    /// POST of a form with this token.
    pub async fn post(&mut self, action: &str, csrf: &str, fields: &[(&str, &str)]) -> Page {
        let mut all = vec![("csrf", csrf)];
        all.extend_from_slice(fields);
        let origin = self.url.clone();
        let request = self.request(Method::POST, action).header("origin", origin).form(&all);
        self.send(request).await
    }

    /// Tries to sign in.
    pub async fn try_sign_in(&mut self, email: &str, password: &str) -> Page {
        self.post_from("/login", "/login", &[("email", email), ("password", password)]).await
    }

    /// Signs in.
    pub async fn sign_in(&mut self, email: &str, password: &str) {
        let page = self.try_sign_in(email, password).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/ui/"), "{}", page.text);
    }

    /// Whether she sees the dashboard.
    pub async fn is_in(&mut self) -> bool {
        self.get("/ui/").await.status == StatusCode::OK
    }
}

impl Page {
    /// Where it leads; empty: nowhere.
    pub fn location(&self) -> &str {
        self.header("location")
    }

    /// A header; empty: none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// The token of its forms.
    pub fn csrf(&self) -> String {
        self.field("csrf")
    }

    /// The value of its first input of this name.
    pub fn field(&self, name: &str) -> String {
        self.find(&format!(r#"<input[^>]*name="{name}"[^>]*value="([^"]*)""#))
    }

    /// What a pattern's first group matches.
    pub fn find(&self, pattern: &str) -> String {
        let found = Regex::new(pattern).expect("a pattern");
        let found = found.captures(&self.text).unwrap_or_else(|| panic!("no {pattern} in {}", self.text));
        found[1].to_owned()
    }
}
