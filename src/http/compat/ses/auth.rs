//! Who signed a request: its body is read first, since it is signed too.

use std::pin::Pin;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use crate::http::App;
use crate::http::auth::{self, Demand, Principal, client_ip};
use crate::http::compat::door::Written;
use crate::http::error::{Kind, Problem};
use crate::http::extract::HeldBody;

use super::sigv4::{Claim, Signable, Unsigned};
use super::{errors, xml};

/// Signatures are for `ses`; some clients of v2 name it by its endpoint.
const SERVICES: [&str; 2] = ["ses", "email"];

/// Why a request is not let in.
enum Refused {
    Unsigned(Unsigned),
    Problem(Problem),
}

impl From<Unsigned> for Refused {
    fn from(unsigned: Unsigned) -> Refused {
        Refused::Unsigned(unsigned)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused::Problem(problem)
    }
}

/// Lets a request pass that is signed with a key that may do what the route does.
pub fn admit(
    app: App,
    demand: Demand,
    request: Request,
    next: Next,
) -> Pin<Box<dyn Future<Output = Response> + Send>> {
    Box::pin(async move {
        // The older API has one path, and its own words.
        let is_query = request.uri().path() == "/";
        match enter(&app, demand, request, next).await {
            Ok(response) => response,
            Err(Refused::Unsigned(unsigned)) if is_query => xml::unsigned(&unsigned),
            Err(Refused::Unsigned(unsigned)) => errors::unsigned(&unsigned),
            Err(Refused::Problem(problem)) if is_query => xml::refuse(&problem),
            Err(Refused::Problem(problem)) => errors::refuse(&problem),
        }
    })
}

async fn enter(app: &App, demand: Demand, request: Request, next: Next) -> Result<Response, Refused> {
    let claim = Claim::read(request.headers())?;
    let ip = client_ip(&request, &app.trusted_proxies);
    let (principal, secret) = auth::signer(app, claim.access_key_id.clone(), ip).await?;
    let (request, held) = verify(app, &claim, secret.reveal(), request).await?;
    let response = pass(app, demand, principal, request, next).await?;
    drop(held);
    Ok(response)
}

/// Reads the body and gives it back, once the signature is found to be good.
async fn verify(
    app: &App,
    claim: &Claim,
    secret: &str,
    request: Request,
) -> Result<(Request, HeldBody), Refused> {
    let (parts, body) = request.into_parts();
    let held = app.budget.read(&parts.headers, body, app.max_batch_bytes()).await?;
    let uri = parts.extensions.get::<Written>().map_or(&parts.uri, |written| &written.0);
    let signable = Signable { method: &parts.method, uri, headers: &parts.headers, body: &held.bytes };
    claim.verify(signable, secret, &SERVICES, app.clock.now())?;
    let body = Body::from(held.bytes.clone());
    Ok((Request::from_parts(parts, body), held))
}

async fn pass(
    app: &App,
    demand: Demand,
    principal: Principal,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let mut response = auth::enter(app, demand, principal, request, next).await?;
    // What was refused behind the guard is said in the words of whichever API it was.
    match response.extensions_mut().remove::<Problem>() {
        Some(problem) if problem.kind() != Kind::RateLimited => Err(problem.into()),
        Some(problem) => {
            response.extensions_mut().insert(problem);
            Ok(response)
        }
        None => Ok(response),
    }
}
