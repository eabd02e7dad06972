//! `/ui/operator/…`: the installation: its tenants and its nodes. For those who run it; crosses tenants.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::account::tenants::{self as operation, Changes, Standing};
use crate::domain::id::TenantId;
use crate::domain::tenant::TenantName;
use crate::domain::user::Act;
use crate::http::App;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::store::nodes::{self, NodeRow};
use crate::store::tenants;

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::show::{self, At, Badge, Tone};

const TENANTS: i64 = 1000;
const NODES: i64 = 50;

#[derive(Template)]
#[template(path = "ui/tenants.html")]
struct Tenants {
    frame: Frame,
    form: Form,
    rows: Vec<TenantRow>,
}

struct TenantRow {
    id: String,
    name: String,
    badge: Badge,
    is_suspended: bool,
    created: At,
}

async fn tenant_rows(app: &App) -> Result<Vec<TenantRow>, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = tenants::list(&mut connection, None, TENANTS).await?;
    let row = |tenant: &crate::domain::tenant::Tenant| TenantRow {
        id: tenant.id.to_string(),
        name: tenant.name.as_str().to_owned(),
        badge: match tenant.suspended_at {
            Some(_) => Badge("suspended", Tone::Bad),
            None => Badge("active", Tone::Good),
        },
        is_suspended: tenant.suspended_at.is_some(),
        created: show::ago(tenant.created_at),
    };
    Ok(rows.iter().map(row).collect())
}

/// The page of tenants.
pub async fn list_tenants(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    page.require(Act::Operate)?;
    let (frame, form) = (page.frame("Tenants", "tenants"), Form::default());
    shown(&Tenants { frame, form, rows: tenant_rows(&app).await? })
}

/// Makes a tenant.
pub async fn create_tenant(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let made =
        match TenantName::parse(form.text("name")) {
            Ok(name) => operation::create(&app.database, &page.actor(), name, app.clock.now()).await.map_err(
                |error| match error {
                    operation::TenantError::NameTaken => {
                        Problem::field("/name", "taken", "another tenant has this name")
                    }
                    other => other.into(),
                },
            ),
            Err(error) => Err(Problem::field("/name", "invalid_name", error.to_string())),
        };
    match made {
        Ok(_) => Ok(done("/ui/operator/tenants", "saved")),
        Err(problem) => {
            let (frame, form) = (page.frame("Tenants", "tenants"), form.refused(&problem));
            refused(&Tenants { frame, form, rows: tenant_rows(&app).await? })
        }
    }
}

/// Suspends a tenant, or lets it send again.
pub async fn suspend(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let id: TenantId = extract::id(&id, "tenant")?;
    let (standing, code) = if posted.form.on("reinstate") {
        (Standing::Active, "reinstated")
    } else {
        (Standing::Suspended, "suspended")
    };
    let changes = Changes { standing: Some(standing), ..Changes::default() };
    operation::update(&app.database, &posted.page.actor(), id, changes, app.clock.now()).await?;
    Ok(done("/ui/operator/tenants", code))
}

#[derive(Template)]
#[template(path = "ui/nodes.html")]
struct Nodes {
    frame: Frame,
    rows: Vec<Node>,
}

struct Node {
    number: i32,
    host: String,
    version: String,
    roles: String,
    badge: Badge,
    started: At,
    alive_until: At,
    held: String,
}

fn node(row: &NodeRow, now: time::OffsetDateTime) -> Node {
    let badge = match row.rescued_at {
        Some(_) => Badge("ended", Tone::Plain),
        None if row.alive_until < now => Badge("silent", Tone::Bad),
        None => Badge("alive", Tone::Good),
    };
    Node {
        number: row.incarnation,
        host: row.hostname.clone(),
        version: row.version.clone(),
        roles: row.roles.join(", "),
        badge,
        started: show::ago(row.started_at),
        alive_until: show::ago(row.alive_until),
        held: show::count(row.held),
    }
}

/// The page of nodes.
pub async fn list_nodes(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    page.require(Act::Operate)?;
    let now = app.clock.now();
    let mut connection = app.database.serve().acquire().await?;
    let rows = nodes::list(&mut connection, NODES).await?;
    let frame = page.frame("Nodes", "nodes");
    shown(&Nodes { frame, rows: rows.iter().map(|row| node(row, now)).collect() })
}
