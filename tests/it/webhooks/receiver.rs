//! A real HTTP server that webhooks are posted to: it answers as it is told and remembers what came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::support::client::PATIENCE;

/// One request that came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
    /// When it had come whole.
    pub at: Instant,
}

impl Received {
    /// A header, which must be there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}"));
        value.to_str().expect("ASCII")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// What the request is about: type and message.
    pub fn about(&self) -> (String, String) {
        let body = self.json();
        let text =
            |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("/type"), text("/data/message_id"))
    }
}

type Behaviour = Box<dyn Fn(&Received, usize) -> Reply + Send>;

/// How a request is answered.
pub enum Reply {
    /// With this status, these headers, at once.
    Status(u16, Vec<(&'static str, String)>),
    /// With 200, after a while.
    Slowly(Duration),
    /// Never.
    Never,
    /// With 200 and a body that does not end.
    Endless,
}

/// The usual answer.
pub fn ok() -> Reply {
    Reply::Status(200, Vec::new())
}

/// A running receiver.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    received: Vec<Received>,
    behaviour: Behaviour,
}

impl Receiver {
    /// One that says 200.
    pub async fn start() -> Receiver {
        Receiver::with(|_, _| ok()).await
    }

    /// One that answers each request by what it is, and how many came before it.
    pub async fn with(behaviour: impl Fn(&Received, usize) -> Reply + Send + 'static) -> Receiver {
        let state = Arc::new(Mutex::new(State { received: Vec::new(), behaviour: Box::new(behaviour) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::clone(&state);
        let app =
            axum::Router::new().fallback(move |uri: axum::http::Uri, headers: HeaderMap, body: Bytes| {
                answer(Arc::clone(&shared), uri.path().to_owned(), headers, body)
            });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Receiver { address, state }
    }

    /// From now on.
    pub fn behave(&self, behaviour: impl Fn(&Received, usize) -> Reply + Send + 'static) {
        self.state.lock().expect("whole").behaviour = Box::new(behaviour);
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that came.
    pub fn received(&self) -> Vec<Received> {
        self.state.lock().expect("whole").received.clone()
    }

    /// Everything that came, once it is as `wanted`.
    pub async fn until(&self, wanted: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let began = Instant::now();
        loop {
            let received = self.received();
            if wanted(&received) {
                return received;
            }
            let told: Vec<_> = received.iter().map(Received::about).collect();
            assert!(began.elapsed() < PATIENCE, "waited in vain: {} came: {told:?}", received.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything that came, once there are so many.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.until(|received| received.len() >= count).await
    }
}

async fn answer(state: Arc<Mutex<State>>, path: String, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    let request = Received { path, headers, body, at: Instant::now() };
    let reply = {
        let mut state = state.lock().expect("whole");
        let reply = (state.behaviour)(&request, state.received.len());
        state.received.push(request);
        reply
    };
    match reply {
        Reply::Status(status, headers) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let mut response = (status, "as you wish").into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().expect("a value"));
            }
            response
        }
        Reply::Slowly(time) => {
            tokio::time::sleep(time).await;
            "at last".into_response()
        }
        Reply::Never => std::future::pending().await,
        Reply::Endless => {
            let endless = futures_util::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 8192]))
            });
            Body::from_stream(endless).into_response()
        }
    }
}
