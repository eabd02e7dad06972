//! `POST /v1/messages/{id}/resend`: the same content to the same recipients, as a new message.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;

use crate::domain::id::MessageId;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::submission::resend::{self, Resent};

use super::show::AcceptedView;

/// Sends a message again, with a new id, Message-ID and date.
pub async fn resend(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<AcceptedView>), Problem> {
    let id: MessageId = extract::id(&id, "message")?;
    match resend::resend(&app.accept, &principal.caller(), id).await? {
        Resent::NotFound => Err(Problem::not_found("message")),
        Resent::NoContent => {
            Err(Problem::new(Kind::Conflict, "the content of this message is no longer stored"))
        }
        Resent::Answer(mut answer) => {
            let accepted = answer.items.pop().ok_or_else(|| Problem::new(Kind::Internal, "no answer"))??;
            Ok((StatusCode::ACCEPTED, Json(accepted.into())))
        }
    }
}
