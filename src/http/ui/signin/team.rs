//! `/ui/team`: a tenant's people, and who is invited.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::account::users::invitations::{self, InviteError, Inviter};
use crate::account::users::members::{self, Decider, MemberError};
use crate::domain::id::{InvitationId, UserId};
use crate::domain::user::{Act, Login, Role};
use crate::http::App;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::http::ui::form::Form;
use crate::http::ui::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use crate::http::ui::show::{self, At};
use crate::store::invitations::{self as rows, Invitation};
use crate::store::users::Member;

#[derive(Template)]
#[template(path = "ui/signin/team.html")]
struct Team {
    frame: Frame,
    form: Form,
    members: Vec<Row>,
    invited: Vec<Invited>,
    /// What she may make others, with what it means.
    roles: Vec<(&'static str, &'static str)>,
    meanings: Vec<(&'static str, &'static str)>,
}

struct Row {
    id: String,
    name: String,
    email: String,
    role: &'static str,
    since: At,
    seen: Option<At>,
    has_second_factor: bool,
    is_self: bool,
    may_change: bool,
}

struct Invited {
    id: String,
    email: String,
    role: &'static str,
    until: At,
    may_change: bool,
}

async fn index(app: &App, page: &Page, form: Form) -> Result<Team, Failed> {
    let who = &page.who;
    let members = members::list(&app.database, who.tenant).await?;
    let invited = if who.may(Act::People) {
        let mut connection = app.database.serve().acquire().await?;
        rows::open(&mut connection, who.tenant, app.clock.now()).await?
    } else {
        Vec::new()
    };
    let gives = Role::ALL.into_iter().rev().filter(|role| who.role.may_give(*role));
    Ok(Team {
        frame: page.frame("Team", "team"),
        form,
        members: members.into_iter().map(|member| row(member, page)).collect(),
        invited: invited.into_iter().map(|it| self::invited(it, who.role)).collect(),
        roles: gives.map(|role| (role.as_str(), role.as_str())).collect(),
        meanings: Role::ALL.map(|role| (role.as_str(), role.meaning())).to_vec(),
    })
}

fn row(member: Member, page: &Page) -> Row {
    Row {
        id: member.user.id.to_string(),
        name: member.user.name,
        email: member.user.email.as_str().to_owned(),
        role: member.role.as_str(),
        since: show::ago(member.since),
        seen: member.seen_at.map(show::ago),
        has_second_factor: member.has_second_factor,
        is_self: member.user.id == page.who.user,
        may_change: page.who.role.may_give(member.role),
    }
}

fn invited(invitation: Invitation, own: Role) -> Invited {
    Invited {
        id: invitation.id.to_string(),
        email: invitation.email.as_str().to_owned(),
        role: invitation.role.as_str(),
        until: show::ago(invitation.expires_at),
        may_change: own.may_give(invitation.role),
    }
}

/// `GET /ui/team`.
pub async fn show(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    shown(&index(&app, &page, Form::default().with("role", "developer")).await?)
}

/// `POST /ui/team/invitations`.
pub async fn invite(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::People)?;
    let Posted { page, form } = posted;
    let who = &page.who;
    let (email, role) = match (Login::parse(form.text("email")), form.text("role").parse::<Role>()) {
        (Ok(email), Ok(role)) => (email, role),
        (email, role) => {
            let form = match email {
                Err(error) => form.wrong("email", error.to_string()),
                Ok(_) => form,
            };
            let form = match role {
                Err(error) => form.wrong("role", error.to_string()),
                Ok(_) => form,
            };
            return refused(&index(&app, &page, form).await?);
        }
    };
    let name = if who.name.is_empty() { who.email.clone() } else { format!("{} ({})", who.name, who.email) };
    let inviter = Inviter { actor: page.actor(), name, role: who.role };
    let (tenant, now) = (who.tenant, app.clock.now());
    let form =
        match invitations::invite(&app.database, &app.letters, &inviter, tenant, (email, role), now).await {
            Ok(_) => return Ok(done("/ui/team", "invited")),
            Err(InviteError::Store(error)) => return Err(error.into()),
            Err(error @ InviteError::NotYours) => form.wrong("role", error.to_string()),
            Err(error @ InviteError::MemberAlready) => form.wrong("email", error.to_string()),
            Err(error) => form.wrong("email", format!("The invitation could not be sent: {error}")),
        };
    refused(&index(&app, &page, form).await?)
}

/// `POST /ui/team/invitations/{id}/delete`.
pub async fn take_back(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::People)?;
    let page = posted.page;
    let id: InvitationId = id.parse().map_err(|_| Problem::not_found("invitation"))?;
    let place = (page.who.tenant, page.who.role);
    if !invitations::take_back(&app.database, &page.actor(), place, id, app.clock.now()).await? {
        return Err(Problem::not_found("invitation").into());
    }
    Ok(done("/ui/team", "deleted"))
}

/// `POST /ui/team/members/{id}`: makes a member something else.
pub async fn set_role(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::People)?;
    let Posted { page, form } = posted;
    let id: UserId = id.parse().map_err(|_| Problem::not_found("member"))?;
    let role: Role = form.text("role").parse().map_err(|_| Problem::not_found("role"))?;
    members::set_role(&app.database, &decider(&page), id, role, app.clock.now()).await.map_err(problem)?;
    Ok(done("/ui/team", "saved"))
}

/// `POST /ui/team/members/{id}/delete`: removes a member; anybody may leave.
pub async fn remove(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    let page = posted.page;
    if id != page.who.user.to_string() {
        page.require(Act::People)?;
    }
    let id: UserId = id.parse().map_err(|_| Problem::not_found("member"))?;
    members::remove(&app.database, &decider(&page), id, app.clock.now()).await.map_err(problem)?;
    Ok(done(if id == page.who.user { "/ui/" } else { "/ui/team" }, "deleted"))
}

fn decider(page: &Page) -> Decider {
    Decider { actor: page.actor(), user: page.who.user, tenant: page.who.tenant }
}

fn problem(error: MemberError) -> Problem {
    match error {
        MemberError::NotFound => Problem::not_found("member"),
        MemberError::NotYours => Problem::new(Kind::Forbidden, error.to_string()),
        MemberError::LastOwner => Problem::new(Kind::Conflict, error.to_string()),
        MemberError::Store(error) => error.into(),
    }
}
