//! `GET /v1/reputation`: how a tenant's senders stand, where its domains are listed, and, for operators, what the
//! world's DNS says of the addresses that mail leaves from.

use axum::Json;
use axum::extract::{Extension, State};
use serde_json::{Value, json};

use crate::domain::key::Scope;
use crate::domain::reputation::{Reputation, WINDOW};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::store::reputation::{self, Standings};

use super::wire::moment;

/// Senders that are shown.
const MOST: i64 = 1000;

fn sender(of: &Reputation) -> Value {
    json!({
        "subject": of.subject.kind.as_str(),
        "name": of.subject.name,
        "standing": of.standing.as_str(),
        "delivered": of.figures.delivered,
        "bounced": of.figures.bounced,
        "complained": of.figures.complained,
        "bounce_rate": of.figures.bounce_rate(),
        "complaint_rate": of.figures.complaint_rate(),
        "counted_from": of.counted_from.map(moment),
        "pause": of.pause.map(|pause| pause.to_string()),
        "changed_at": moment(of.changed_at),
        "looked_at": moment(of.looked_at),
    })
}

fn standing(of: &Standings) -> Value {
    json!({
        "name": of.name,
        "checked_at": moment(of.checked_at),
        "fcrdns": of.findings["fcrdns"],
        "zones": of.findings["zones"],
    })
}

/// All of it.
pub async fn read(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let tenant = principal.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let senders = reputation::of_tenant(&mut connection, tenant, MOST).await?;
    let domains = reputation::standings_of_domains(&mut connection, tenant).await?;
    let ips = match principal.scopes().has(Scope::Operate) {
        true => Some(reputation::standings_of_ips(&mut connection).await?),
        false => None,
    };
    Ok(Json(json!({
        "window_days": WINDOW.whole_days(),
        "senders": senders.iter().map(sender).collect::<Vec<_>>(),
        "domains": domains.iter().map(standing).collect::<Vec<_>>(),
        "ips": ips.map(|ips| ips.iter().map(standing).collect::<Vec<_>>()),
    })))
}
