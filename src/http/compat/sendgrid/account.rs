//! What a key may do: `GET /v3/scopes`.

use axum::Json;
use axum::extract::Extension;
use serde_json::{Value, json};

use crate::domain::key::Scope;
use crate::http::auth::Principal;

/// docs.sendgrid.com/api-reference/api-key-permissions: the permissions in SendGrid's words that ours stand for.
pub async fn scopes(Extension(principal): Extension<Principal>) -> Json<Value> {
    let words = |scope: Scope| -> &[&str] {
        match scope {
            Scope::Send => &["mail.send", "mail.batch.create"],
            Scope::Read => &["messages.read", "stats.read", "stats.global.read", "templates.read"],
            Scope::Manage => &[
                "suppression.read",
                "suppression.create",
                "suppression.delete",
                "asm.suppressions.global.create",
                "asm.suppressions.global.delete",
                "asm.suppressions.global.read",
                "templates.create",
                "templates.update",
                "templates.delete",
                "whitelabel.read",
                "whitelabel.create",
                "whitelabel.update",
                "whitelabel.delete",
            ],
            Scope::Operate => &[],
        }
    };
    let scopes: Vec<&str> = principal.scopes().iter().flat_map(words).copied().collect();
    Json(json!({ "scopes": scopes }))
}
