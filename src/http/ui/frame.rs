//! What surrounds a page: who looks at it, where it stands in the navigation, and what has just been done.
//!
//! Every page takes a [`Page`], and everything that changes something takes a [`Posted`]. That its form came from a page
//! of this session is checked before (`session`).

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::Actor;
use crate::domain::id::TenantId;
use crate::domain::user::Act;
use crate::http::App;
use crate::http::error::Problem;
use crate::submission::Caller;

use super::assets::{self, Paths};
use super::form::Form;
use super::page::{Refusal, page, page_with};
use super::session::SignedIn;
use super::show::Tone;

/// A page that somebody looks at.
#[derive(Debug, Clone)]
pub struct Page {
    /// Who.
    pub who: SignedIn,
    done: Option<&'static Notice>,
}

impl FromRequestParts<App> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Page, Response> {
        let who = SignedIn::from_request_parts(parts, app).await?;
        who.require(Act::See).map_err(IntoResponse::into_response)?;
        let query = parts.uri.query().unwrap_or_default();
        let done = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "done");
        let done = done.and_then(|(_, code)| NOTICES.iter().find(|notice| notice.code == code));
        Ok(Page { who, done })
    }
}

impl Page {
    /// Whose mail it is about.
    pub fn tenant(&self) -> TenantId {
        self.who.tenant
    }

    /// As the audit log names whoever looks at it.
    pub fn actor(&self) -> Actor {
        self.who.actor()
    }

    /// As accept knows him.
    pub fn caller(&self) -> Caller {
        self.who.caller()
    }

    /// Whether he may do something.
    pub fn may(&self, act: Act) -> bool {
        self.who.may(act)
    }

    /// Lets him go on if he may do something.
    ///
    /// # Errors
    /// He may not.
    pub fn require(&self, act: Act) -> Result<(), Failed> {
        self.who.require(act).map_err(Failed)
    }

    /// What surrounds a page of this title in this section.
    pub fn frame(&self, title: impl Into<String>, section: &'static str) -> Frame {
        let tenants = self.who.tenants.iter().map(|(id, name)| TenantEntry {
            id: id.to_string(),
            name: name.clone(),
            current: *id == self.who.tenant,
        });
        Frame {
            title: title.into(),
            section,
            email: self.who.email.clone(),
            name: self.who.name.clone(),
            tenant_name: self.who.tenant_name.clone(),
            tenants: tenants.collect(),
            csrf: self.who.csrf.clone(),
            search: String::new(),
            notice: self.done,
            assets: assets::paths(),
            acts: Act::ALL.into_iter().filter(|act| self.may(*act)).collect(),
        }
    }
}

/// A form that somebody sent from one of our pages.
#[derive(Debug)]
pub struct Posted {
    /// Who, and from where.
    pub page: Page,
    /// What.
    pub form: Form,
}

impl FromRequest<App> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Posted, Response> {
        let (mut parts, body) = request.into_parts();
        let page = Page::from_request_parts(&mut parts, app).await?;
        let form = Form::from_request(Request::from_parts(parts, body), app).await;
        let form = form.map_err(|problem| Failed::from(problem).into_response())?;
        Ok(Posted { page, form })
    }
}

impl Posted {
    /// Lets the sender go on if he may do something.
    ///
    /// # Errors
    /// He may not.
    pub fn require(&self, act: Act) -> Result<(), Failed> {
        self.page.require(act)
    }
}

/// What every page's template shows around it.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The page's title.
    pub title: String,
    /// Where it stands in the navigation.
    pub section: &'static str,
    /// Who looks at it.
    pub email: String,
    /// What she is called.
    pub name: String,
    /// Whose mail it is about.
    pub tenant_name: String,
    /// Of which tenants she is a member.
    pub tenants: Vec<TenantEntry>,
    /// Proves that a form is of this session.
    pub csrf: String,
    /// What is being searched for.
    pub search: String,
    /// What has just been done.
    pub notice: Option<&'static Notice>,
    /// Where the files are.
    pub assets: &'static Paths,
    acts: Vec<Act>,
}

/// A tenant to switch to.
#[derive(Debug, Clone)]
pub struct TenantEntry {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// It is the one that is shown.
    pub current: bool,
}

/// A part of the navigation.
#[derive(Debug)]
pub struct Group {
    /// What it is called; empty: nothing.
    pub name: &'static str,
    /// Its pages.
    pub entries: Vec<Entry>,
}

/// A page in the navigation.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Where it stands.
    pub section: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// Where it is.
    pub path: &'static str,
    /// Its picture.
    pub icon: &'static str,
    act: Act,
}

const fn entry(section: &'static str, label: &'static str, path: &'static str, act: Act) -> Entry {
    Entry { section, label, path, icon: section, act }
}

const MENU: [(&str, &[Entry]); 4] = [
    (
        "",
        &[
            entry("overview", "Overview", "/ui/", Act::See),
            entry("messages", "Messages", "/ui/messages", Act::See),
            entry("stats", "Statistics", "/ui/stats", Act::See),
            entry("reputation", "Reputation", "/ui/reputation", Act::See),
            entry("inbound", "Inbound", "/ui/inbound", Act::See),
        ],
    ),
    (
        "Send",
        &[
            entry("domains", "Domains", "/ui/domains", Act::See),
            entry("keys", "API keys & SMTP", "/ui/keys", Act::See),
            entry("templates", "Templates", "/ui/templates", Act::See),
            entry("streams", "Streams", "/ui/streams", Act::See),
            entry("suppressions", "Suppressions", "/ui/suppressions", Act::See),
            entry("webhooks", "Webhooks", "/ui/webhooks", Act::See),
        ],
    ),
    (
        "Account",
        &[
            entry("team", "Team", "/ui/team", Act::See),
            entry("audit", "Audit log", "/ui/audit", Act::Audit),
            entry("settings", "Settings", "/ui/settings", Act::See),
        ],
    ),
    (
        "Installation",
        &[
            entry("tenants", "Tenants", "/ui/operator/tenants", Act::Operate),
            entry("queue", "Queue", "/ui/operator/queue", Act::Operate),
            entry("ips", "IPs & warm-up", "/ui/operator/ips", Act::Operate),
            entry("reputations", "Reputation", "/ui/operator/reputation", Act::Operate),
            entry("nodes", "Nodes", "/ui/operator/nodes", Act::Operate),
        ],
    ),
];

impl Frame {
    /// The navigation, as far as it leads where one may go.
    pub fn menu(&self) -> Vec<Group> {
        let groups = MENU.into_iter().map(|(name, entries)| Group {
            name,
            entries: entries.iter().filter(|entry| self.may(entry.act)).copied().collect(),
        });
        groups.filter(|group| !group.entries.is_empty()).collect()
    }

    /// What she is called.
    pub fn name_or_email(&self) -> &str {
        if self.name.is_empty() { &self.email } else { &self.name }
    }

    /// Whether mail may be sent.
    pub fn sends(&self) -> bool {
        self.may(Act::Send)
    }

    /// Whether settings may be changed.
    pub fn manages(&self) -> bool {
        self.may(Act::Manage)
    }

    /// Whether keys may be made.
    pub fn makes_keys(&self) -> bool {
        self.may(Act::Keys)
    }

    fn may(&self, act: Act) -> bool {
        self.acts.contains(&act)
    }
}

/// What has just been done, in a sentence.
#[derive(Debug)]
pub struct Notice {
    code: &'static str,
    /// How good it is.
    pub tone: Tone,
    /// What is said.
    pub text: &'static str,
}

const fn good(code: &'static str, text: &'static str) -> Notice {
    Notice { code, tone: Tone::Good, text }
}

const fn bad(code: &'static str, text: &'static str) -> Notice {
    Notice { code, tone: Tone::Bad, text }
}

/// A page that changed something leads to one that says so, by a code that stands in its address; nothing that
/// somebody else could write into an address is shown.
const NOTICES: [Notice; 29] = [
    good("sent", "The mail is on its way."),
    good("canceled", "Canceled. What was already on the wire ends as it ends."),
    bad("too-late", "Nothing was left to cancel: every delivery of this message has ended."),
    bad("no-content", "The content of this message is no longer stored, so it cannot be sent again."),
    good("suppressed", "The address is suppressed: nothing is sent to it any more."),
    good("unsuppressed", "The address is off the list, and can be mailed again."),
    good("saved", "Saved."),
    good("password", "Your password is changed, and every other browser is signed out."),
    good("passkey", "Your passkey is added. You are asked for it after your password."),
    good("ended", "Signed out there."),
    good("invited", "Invited: the mail is on its way."),
    good("deleted", "Deleted."),
    good("revoked", "The key is revoked. It stops working within a second."),
    good("verified", "All required records are published as they should be: the domain is verified."),
    bad(
        "unverified",
        "Looked up just now: some required records are not as they should be. Each says what to do.",
    ),
    good("paused", "Paused."),
    good("resumed", "It goes on."),
    good("published", "Published: mail that is sent from now on uses this version."),
    good("tested", "The test mail is on its way."),
    good("posted", "Posted; the log below tells what came of it."),
    bad("post-failed", "The test was posted and not accepted; the log below tells why."),
    good("queued", "Queued to be posted again."),
    good("keys-made", "The next keys are made: publish their records, and verify the domain."),
    good("suspended", "The tenant is suspended: nothing is accepted from it, and what is queued is held."),
    good("reinstated", "The tenant may send again."),
    good("retried", "What waited for its next try is due now; what is held or scheduled waits on."),
    good("held", "Held: mail to these destinations is accepted and waits, whoever sends it."),
    good("purged", "Canceled. What was already on the wire ends as it ends, and is not tried again."),
    good("hastened", "What waited for this destination is due now."),
];

/// Why there is no page: [`Refusal`], and whatever the API would answer.
#[derive(Debug)]
pub struct Failed(Refusal);

impl<E: Into<Problem>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed(error.into().into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// A page as it is sent.
///
/// # Errors
/// It cannot be written: a bug of ours.
pub fn shown(template: &impl askama::Template) -> Result<Response, Failed> {
    Ok(page(template))
}

/// A page with a form that was refused: 422, and what was typed stays.
///
/// # Errors
/// As [`shown`].
pub fn refused(template: &impl askama::Template) -> Result<Response, Failed> {
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, template))
}

/// On to a page that says what was done.
pub fn done(path: &str, code: &'static str) -> Response {
    let join = if path.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{path}{join}done={code}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_be_done_has_a_code_of_its_own() {
        let mut codes: Vec<&str> = NOTICES.iter().map(|notice| notice.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), NOTICES.len());
    }
}
