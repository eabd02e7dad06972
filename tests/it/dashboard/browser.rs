//! A real browser at the dashboard: headless Chromium, driven by chromedriver over WebDriver (W3C), which is HTTP and
//! JSON. Whatever it says on its console, and whatever it asks anybody else for, is seen.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::person::{ADMIN, PASSWORD};

/// How WebDriver marks a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How long anything on a page may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A browser of its own, with a profile of its own.
pub struct Browser {
    http: reqwest::Client,
    /// Where its session is.
    session: String,
    site: String,
    strangers: Arc<Mutex<Vec<String>>>,
    _driver: Child,
    _profile: TempDir,
}

/// Something axe found.
#[derive(Debug)]
#[expect(dead_code, reason = "it is printed when a test fails")]
pub struct Barrier {
    rule: String,
    impact: String,
    places: Vec<String>,
}

impl Browser {
    /// Opens a browser for the postroad at `site`.
    pub async fn open(site: &str) -> Browser {
        let profile = tempfile::tempdir().expect("a directory");
        let (strangers, proxy) = watch_strangers().await;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver, which scripts/install-test-tools.sh installs");
        let driver_url = format!("http://127.0.0.1:{}", port(&mut driver).await);
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--force-color-profile=srgb",
            "--window-size=1360,900",
            &format!("--proxy-server={proxy}"),
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "unhandledPromptBehavior": "ignore",
        });
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = json!({ "capabilities": { "alwaysMatch": wanted } });
        let answer =
            http.post(format!("{driver_url}/session")).json(&request).send().await.expect("answered");
        let answer: Value = answer.json().await.expect("JSON");
        let id = answer["value"]["sessionId"].as_str();
        let id = id.unwrap_or_else(|| panic!("scripts/install-test-tools.sh installs a browser: {answer:#}"));
        let session = format!("{driver_url}/session/{id}");
        Browser { http, session, site: site.to_owned(), strangers, _driver: driver, _profile: profile }
    }

    /// A command of WebDriver's, and its value.
    async fn command(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.session));
        if method == Method::POST {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("answered");
        let status = answer.status();
        let answer: Value = answer.json().await.expect("JSON");
        if status.is_success() {
            Ok(answer["value"].clone())
        } else {
            Err(answer["value"]["message"].to_string())
        }
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        self.command(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.command(Method::POST, path, body).await
    }

    /// Opens a page.
    pub async fn goto(&self, path: &str) {
        self.post("/url", json!({ "url": format!("{}{path}", self.site) })).await.expect("a page");
    }

    /// The path and query of the page that is shown.
    pub async fn path(&self) -> String {
        let url = self.get("/url").await.expect("a page");
        url.as_str().expect("a URL").trim_start_matches(self.site.as_str()).to_owned()
    }

    /// Signs the first person in, by the form.
    pub async fn sign_in(&self) {
        self.goto("/login").await;
        self.fill("#email", ADMIN).await;
        self.fill("#password", PASSWORD).await;
        self.click("form button.primary").await;
        self.wait_for("#content h1").await;
    }

    /// Types into a field, in place of what it held.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.wait_for(css).await;
        self.post(&format!("/element/{field}/clear"), json!({}))
            .await
            .unwrap_or_else(|error| panic!("{css}: {error}"));
        let keys = json!({ "text": text });
        self.post(&format!("/element/{field}/value"), keys)
            .await
            .unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Clicks.
    pub async fn click(&self, css: &str) {
        let element = self.wait_for(css).await;
        let clicked = self.post(&format!("/element/{element}/click"), json!({})).await;
        clicked.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Presses a key wherever the focus is.
    pub async fn press(&self, key: &str) {
        let element = self.get("/element/active").await.expect("an element");
        let id = element[ELEMENT].as_str().expect("an element");
        self.post(&format!("/element/{id}/value"), json!({ "text": key })).await.expect("pressed");
    }

    /// Waits for an element; gives its reference.
    pub async fn wait_for(&self, css: &str) -> String {
        let began = std::time::Instant::now();
        loop {
            let found = self.post("/element", json!({ "using": "css selector", "value": css })).await;
            if let Some(id) = found.ok().as_ref().and_then(|found| found[ELEMENT].as_str()) {
                return id.to_owned();
            }
            let waited = began.elapsed();
            assert!(waited < PATIENCE, "no {css} on {}:\n{}", self.path().await, self.source().await);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The text of an element.
    pub async fn text(&self, css: &str) -> String {
        let element = self.wait_for(css).await;
        let text = self.get(&format!("/element/{element}/text")).await.expect("text");
        text.as_str().expect("text").to_owned()
    }

    /// Waits until the text of an element is as `wanted`; gives it.
    pub async fn text_when(&self, css: &str, wanted: impl Fn(&str) -> bool) -> String {
        let began = std::time::Instant::now();
        loop {
            let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
            let text = self.run(script, json!(css)).await;
            let text = text.as_str().unwrap_or_default();
            if wanted(text) {
                return text.to_owned();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "waited in vain for {css}: {text:?} on {}",
                self.path().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The page as it stands.
    pub async fn source(&self) -> String {
        let source = self.get("/source").await.unwrap_or_default();
        source.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script of the test's with one argument.
    pub async fn run(&self, script: &str, argument: Value) -> Value {
        let body = json!({ "script": script, "args": [argument] });
        let short: String = script.chars().take(200).collect();
        self.post("/execute/sync", body).await.unwrap_or_else(|error| panic!("{short}: {error}"))
    }

    /// Plugs in an authenticator that knows its owner (WebDriver's extension for Web Authentication). Gives its id.
    pub async fn plug_in_authenticator(&self) -> String {
        let wanted = json!({ "protocol": "ctap2_1", "transport": "internal", "hasResidentKey": true,
                             "hasUserVerification": true, "isUserVerified": true });
        let id = self.post("/webauthn/authenticator", wanted).await.expect("an authenticator");
        id.as_str().expect("an id").to_owned()
    }

    /// Whether an authenticator recognises its owner from now on.
    pub async fn set_recognised(&self, authenticator: &str, is_recognised: bool) {
        let path = format!("/webauthn/authenticator/{authenticator}/uv");
        self.post(&path, json!({ "isUserVerified": is_recognised })).await.expect("set");
    }

    /// Chooses a file for a field.
    pub async fn choose_file(&self, css: &str, path: &std::path::Path) {
        let field = self.wait_for(css).await;
        let keys = json!({ "text": path.display().to_string() });
        self.post(&format!("/element/{field}/value"), keys)
            .await
            .unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// The window's width and height.
    pub async fn resize(&self, width: u32, height: u32) {
        self.post("/window/rect", json!({ "width": width, "height": height })).await.expect("resized");
    }

    /// A picture of what the window shows.
    pub async fn picture(&self) -> Vec<u8> {
        let picture = self.get("/screenshot").await.expect("a picture");
        STANDARD.decode(picture.as_str().expect("base 64")).expect("base 64")
    }

    /// The text of a dialog that a script opened, if one is open.
    pub async fn dialog(&self) -> Option<String> {
        let text = self.get("/alert/text").await.ok()?;
        text.as_str().map(str::to_owned)
    }

    /// What the browser has warned of since it was asked last.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await.expect("a log");
        let entries = log.as_array().expect("entries");
        let counts = |entry: &&Value| entry["level"] != "INFO";
        entries
            .iter()
            .filter(counts)
            .map(|entry| format!("{}: {}", entry["level"], entry["message"]))
            .collect()
    }

    /// Whom but postroad it has asked for anything, but for what the browser asks of itself.
    pub fn strangers(&self) -> Vec<String> {
        let strangers = self.strangers.lock().expect("not poisoned");
        strangers.iter().filter(|asked| !asked.contains(ITS_SEARCH)).cloned().collect()
    }

    /// What keeps people out of the page that is shown: axe-core's findings that are serious or worse.
    pub async fn barriers(&self) -> Vec<Barrier> {
        let axe = std::fs::read_to_string("target/test-tools/node_modules/axe-core/axe.min.js");
        let axe = axe.expect("axe-core, which scripts/install-test-tools.sh installs");
        self.run(&format!("{axe}; return null;"), Value::Null).await;
        let script = "const done = arguments[arguments.length - 1];
                      axe.run(document, { iframes: false, resultTypes: ['violations'] })
                         .then((found) => done(found.violations), (error) => done(String(error)));";
        let found =
            self.post("/execute/async", json!({ "script": script, "args": [] })).await.expect("axe ran");
        let found = found.as_array().unwrap_or_else(|| panic!("axe failed: {found}"));
        let serious =
            found.iter().filter(|one| matches!(one["impact"].as_str(), Some("serious" | "critical")));
        let place = |node: &Value| format!("{}: {}", node["html"], node["failureSummary"]);
        let barrier = |one: &Value| Barrier {
            rule: one["id"].to_string(),
            impact: one["impact"].to_string(),
            places: one["nodes"].as_array().into_iter().flatten().take(3).map(place).collect(),
        };
        serious.map(barrier).collect()
    }

    /// Closes it.
    pub async fn close(self) {
        self.command(Method::DELETE, "", Value::Null).await.expect("closed");
    }
}

/// Where Debian's Chromium looks for its search engine when it starts, whatever it shows.
const ITS_SEARCH: &str = "start.duckduckgo.com:443";

/// The port that chromedriver says it listens on.
async fn port(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    let port = async {
        while let Some(line) = lines.next_line().await.expect("a line") {
            if let Some((_, rest)) = line.split_once("started successfully on port ") {
                return rest.trim_end_matches('.').parse().expect("a port");
            }
        }
        panic!("chromedriver did not start");
    };
    let port = tokio::time::timeout(PATIENCE, port).await.expect("chromedriver starts");
    // Read on, so that it can write on.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    port
}

/// A proxy for everything but loopback, which writes down what it is asked for and gives nothing.
async fn watch_strangers() -> (Arc<Mutex<Vec<String>>>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let mut octets = [0; 1024];
                let read = stream.read(&mut octets).await.unwrap_or_default();
                let line =
                    String::from_utf8_lossy(&octets[..read]).lines().next().unwrap_or_default().to_owned();
                // What the browser itself asks its maker for is not the page's doing.
                let own = ["google.com", "googleapis.com", "gstatic.com", "gvt1.com"];
                // Nor is a connection that it opens ahead of time and asks nothing on.
                if !line.is_empty() && !own.iter().any(|name| line.contains(name)) {
                    noted.lock().expect("not poisoned").push(line);
                }
                // The asker may be gone.
                let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
            });
        }
    });
    (asked, address)
}
