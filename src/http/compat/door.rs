//! What all providers' doors share: how a request finds its provider, is admitted by the same check as at `/v1`, and
//! how what is refused is said in the provider's own words. Not what any of them says: see [`Manner`].
//!
//! A door is mounted at the root of the host, and below `/compat/<provider>/`. At the root some paths belong to two
//! providers: then the one whose way of showing a key the request has is meant.
//!
//! Invariant: no handler runs before the key was admitted with the scope that its route demands.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::handler::Handler;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, Uri, header, request};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, any, on, post};
use tower::ServiceExt;

use crate::domain::key::{KeySecret, Scope};
use crate::http::App;
use crate::http::auth::{self, ClientAddr, Demand, Patience};
use crate::http::error::{Kind, Problem};

/// How a provider's clients speak, and want to be spoken to.
#[derive(Debug)]
pub struct Manner {
    /// As in `/compat/<provider>/`.
    pub provider: &'static str,
    /// The key that a request shows, in the places where this provider's clients put it.
    pub credential: fn(&request::Parts) -> Option<KeySecret>,
    /// Whether a path at the root can be this provider's, where its form alone does not tell.
    pub owns: fn(&str) -> bool,
    /// A refusal, in this provider's words.
    pub refuse: fn(&Problem) -> Response,
}

/// Owns every path of its form.
pub fn every_path(_path: &str) -> bool {
    true
}

/// One route of a door.
#[derive(Debug, Clone)]
pub struct Route {
    /// Whose.
    pub provider: &'static str,
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// What its caller must be allowed to.
    pub scope: Scope,
    /// Where it is.
    pub place: Place,
}

/// Where a route is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the root of the host, and below `/compat/<provider>/`.
    Both,
    /// Below `/compat/<provider>/` alone: at the root its path is this house's own.
    BelowItsName,
}

type Mount = Box<dyn FnOnce(&App) -> MethodRouter<App>>;

/// How a door lets requests pass that show no key.
pub type Admit = fn(App, Demand, Request, Next) -> Pin<Box<dyn Future<Output = Response> + Send>>;

/// The target of a request as its client wrote it: what it signed.
#[derive(Debug, Clone)]
pub struct Written(pub Uri);

/// The routes of one provider.
pub struct Door {
    manner: &'static Manner,
    admit: Option<Admit>,
    place: Place,
    routes: Vec<(Route, Mount)>,
}

impl Door {
    /// Without routes yet.
    pub fn new(manner: &'static Manner) -> Door {
        Door { manner, admit: None, place: Place::Both, routes: Vec::new() }
    }

    /// Routes that follow are guarded so: by what is no key in a header.
    #[must_use]
    pub fn admitting(self, admit: Admit) -> Door {
        Door { admit: Some(admit), ..self }
    }

    /// Routes that follow are below the provider's name alone.
    #[must_use]
    pub fn below_its_name(self) -> Door {
        Door { place: Place::BelowItsName, ..self }
    }

    /// POST of mail: an upload may take its time.
    pub fn send<H: Handler<T, App>, T: 'static>(self, path: &'static str, handler: H) -> Door {
        self.route((Method::POST, MethodFilter::POST), path, (Scope::Send, Patience::Upload), handler)
    }

    /// GET.
    pub fn get<H: Handler<T, App>, T: 'static>(self, path: &'static str, scope: Scope, handler: H) -> Door {
        self.route((Method::GET, MethodFilter::GET), path, (scope, Patience::Short), handler)
    }

    /// POST of anything else.
    pub fn post<H: Handler<T, App>, T: 'static>(self, path: &'static str, scope: Scope, handler: H) -> Door {
        self.route((Method::POST, MethodFilter::POST), path, (scope, Patience::Short), handler)
    }

    /// PUT.
    pub fn put<H: Handler<T, App>, T: 'static>(self, path: &'static str, scope: Scope, handler: H) -> Door {
        self.route((Method::PUT, MethodFilter::PUT), path, (scope, Patience::Short), handler)
    }

    /// PATCH.
    pub fn patch<H: Handler<T, App>, T: 'static>(self, path: &'static str, scope: Scope, handler: H) -> Door {
        self.route((Method::PATCH, MethodFilter::PATCH), path, (scope, Patience::Short), handler)
    }

    /// DELETE.
    pub fn delete<H: Handler<T, App>, T: 'static>(
        self,
        path: &'static str,
        scope: Scope,
        handler: H,
    ) -> Door {
        self.route((Method::DELETE, MethodFilter::DELETE), path, (scope, Patience::Short), handler)
    }

    fn route<H: Handler<T, App>, T: 'static>(
        mut self,
        (method, filter): (Method, MethodFilter),
        path: &'static str,
        (scope, patience): (Scope, Patience),
        handler: H,
    ) -> Door {
        let (manner, admit, place) = (self.manner, self.admit, self.place);
        let demand = Demand { scope, patience };
        let mount: Mount = Box::new(move |app| {
            on(filter, handler).route_layer(from_fn_with_state((app.clone(), manner, admit, demand), guard))
        });
        self.routes.push((Route { provider: manner.provider, method, path, scope, place }, mount));
        self
    }

    /// What it has.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(|(route, _)| route)
    }

    fn open(self, app: &App) -> Arc<Open> {
        let manner = self.manner;
        let router = self
            .routes
            .into_iter()
            .fold(Router::new(), |router, (route, mount)| router.route(route.path, mount(app)));
        let router = router
            .fallback(nothing_here)
            .method_not_allowed_fallback(not_with_this_method)
            .layer(from_fn_with_state(manner, in_its_words))
            .with_state(app.clone());
        Arc::new(Open { manner, router })
    }
}

/// A door that answers.
struct Open {
    manner: &'static Manner,
    router: Router,
}

/// Mounts doors at the root and below `/compat/`.
pub fn mount(app: &App, doors: Vec<Door>) -> Router<App> {
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, door) in doors.iter().enumerate() {
        for route in door.routes().filter(|route| route.place == Place::Both) {
            let doors = shapes.entry(shape(route.path)).or_default();
            if !doors.contains(&index) {
                doors.push(index);
            }
        }
    }
    let open: Vec<Arc<Open>> = doors.into_iter().map(|door| door.open(app)).collect();
    let mut router = Router::new();
    for (shape, indices) in shapes {
        let candidates: Arc<[Arc<Open>]> =
            indices.into_iter().map(|index| Arc::clone(&open[index])).collect();
        let answer = move |request: Request| at_the_root(Arc::clone(&candidates), request);
        router = if shape == "/" {
            // The rest of this path is the dashboard's.
            router.route(&shape, post(answer))
        } else {
            router.route(&format!("{shape}/"), any(answer.clone())).route(&shape, any(answer))
        };
    }
    let below: Arc<[Arc<Open>]> = open.into();
    let named = move |Path(path): Path<Vec<(String, String)>>, request: Request| {
        let provider = path.into_iter().next().map(|(_, provider)| provider).unwrap_or_default();
        below_its_name(Arc::clone(&below), provider, request)
    };
    router
        .route("/compat/{provider}", any(named.clone()))
        .route("/compat/{provider}/", any(named.clone()))
        .route("/compat/{provider}/{*rest}", any(named))
}

/// A path with the names of its parameters left out: two that have the same are one to a router.
fn shape(path: &str) -> String {
    let segments = path.split('/').enumerate();
    let plain = segments.map(|(index, segment)| match segment.starts_with('{') {
        true => format!("{{p{index}}}"),
        false => segment.to_owned(),
    });
    plain.collect::<Vec<_>>().join("/")
}

async fn at_the_root(candidates: Arc<[Arc<Open>]>, request: Request) -> Response {
    let path = without_slash(request.uri().path()).to_owned();
    let (parts, body) = request.into_parts();
    let owners: Vec<&Arc<Open>> = candidates.iter().filter(|door| (door.manner.owns)(&path)).collect();
    let shown = owners.iter().find(|door| (door.manner.credential)(&parts).is_some());
    let Some(door) = shown.or(owners.first()) else { return nothing_here().await.into_response() };
    door.answer(&path, Request::from_parts(parts, body)).await
}

async fn below_its_name(doors: Arc<[Arc<Open>]>, provider: String, request: Request) -> Response {
    let Some(door) = doors.iter().find(|door| door.manner.provider == provider) else {
        return nothing_here().await.into_response();
    };
    let path = request.uri().path().strip_prefix("/compat/").and_then(|rest| rest.strip_prefix(&provider));
    let path = without_slash(path.unwrap_or_default()).to_owned();
    door.answer(&path, request).await
}

/// Clients append slashes, and follow no redirects of a POST.
fn without_slash(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

impl Open {
    async fn answer(&self, path: &str, request: Request) -> Response {
        let Some(uri) = at(path, request.uri()) else { return nothing_here().await.into_response() };
        let (parts, body) = request.into_parts();
        // A request of its own: what the outer router noted of its path is not this one's.
        let mut inner = Request::new(body);
        *inner.method_mut() = parts.method;
        inner.extensions_mut().insert(Written(parts.uri));
        *inner.uri_mut() = uri;
        *inner.headers_mut() = parts.headers;
        *inner.version_mut() = parts.version;
        if let Some(client) = parts.extensions.get::<ClientAddr>() {
            inner.extensions_mut().insert(*client);
        }
        let Ok(response) = self.router.clone().oneshot(inner).await;
        response
    }
}

fn at(path: &str, uri: &Uri) -> Option<Uri> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path_and_query: PathAndQuery = format!("{path}{query}").parse().ok()?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).ok()
}

async fn guard(
    State((app, manner, admit, demand)): State<(App, &'static Manner, Option<Admit>, Demand)>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(admit) = admit {
        return Ok(admit(app, demand, request, next).await);
    }
    let (parts, body) = request.into_parts();
    let secret = (manner.credential)(&parts);
    auth::pass(&app, demand, secret, Request::from_parts(parts, body), next).await
}

/// Says a refusal of ours as the provider would, and when to come again.
async fn in_its_words(State(manner): State<&'static Manner>, request: Request, next: Next) -> Response {
    let mut ours = next.run(request).await;
    let Some(problem) = ours.extensions_mut().remove::<Problem>() else { return ours };
    let mut said = (manner.refuse)(&problem);
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        if let Some(value) = ours.headers_mut().remove(name) {
            said.headers_mut().insert(header::HeaderName::from_static(name), value);
        }
    }
    said
}

async fn nothing_here() -> Problem {
    Problem::new(Kind::NotFound, "there is nothing at this path")
}

async fn not_with_this_method() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "this path exists, but not with this method")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_whatever_its_parameters_are_called() {
        assert_eq!(shape("/v3/{domain}/messages"), shape("/v3/{name}/messages"));
        assert_ne!(shape("/v3/{domain}/messages"), shape("/v3/{domain}/events"));
        assert_eq!(shape("/"), "/");
    }

    #[test]
    fn trailing_slashes_are_none_of_the_path() {
        for (given, path) in [("/email/", "/email"), ("/email", "/email"), ("//", "/"), ("", "/")] {
            assert_eq!(without_slash(given), path);
        }
    }

    #[test]
    fn a_path_is_moved_and_its_query_stays() {
        let uri: Uri = "/compat/x/a%2Fb?q=1&r=%20".parse().expect("a URI");
        assert_eq!(at("/a%2Fb", &uri).map(|uri| uri.to_string()).as_deref(), Some("/a%2Fb?q=1&r=%20"));
    }
}
