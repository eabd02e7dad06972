//! `/.well-known/acme-challenge/`: what a certificate authority looks for (RFC 8555 §8.3). Open to all, and answered by
//! every node, since the answers are in the database.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::store::certificates;

use super::App;
use super::error::Problem;
use super::extract::Path;

/// Tokens are base 64 for URLs (§8.1); none is so long.
const MAX_TOKEN: usize = 256;

/// The answer to a challenge.
pub async fn answer(State(app): State<App>, Path(token): Path<String>) -> Result<Response, Problem> {
    let is_token =
        token.len() <= MAX_TOKEN && token.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
    if !is_token {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    let mut connection = app.database.serve().acquire().await?;
    Ok(match certificates::challenge(&mut connection, &token).await? {
        Some(answer) => ([(header::CONTENT_TYPE, "application/octet-stream")], answer).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}
