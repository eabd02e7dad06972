//! Of the older API what is around the send: templates, identities, figures
//! (docs.aws.amazon.com/ses/latest/APIReference). Each action is one of v2 in other letters.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use time::Duration;

use crate::domain::stats::{Counter, Dimension, Grain};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::reporting::figures::{self, Question};

use super::query::{Form, members};
use super::xml::{self, Element};
use super::{bulk, identities, templates};

/// How far back "GetSendStatistics" looks.
const STATISTICS: Duration = Duration::days(14);

/// Does what the form asks for; `None`: it is none of these.
pub async fn act(
    app: &App,
    principal: &Principal,
    action: &str,
    form: &Form,
) -> Result<Option<Response>, Problem> {
    let asking = Asking { app, principal, form };
    let result = match action {
        "SendBulkTemplatedEmail" => asking.bulk().await?,
        "CreateTemplate" => asking.create_template().await?,
        "UpdateTemplate" => asking.update_template().await?,
        "GetTemplate" => asking.template().await?,
        "DeleteTemplate" => asking.delete_template().await?,
        "ListTemplates" => asking.templates().await?,
        "TestRenderTemplate" => asking.render().await?,
        "VerifyDomainIdentity" | "VerifyDomainDkim" => asking.verify(action).await?,
        "GetIdentityVerificationAttributes" => asking.verifications().await?,
        "GetIdentityDkimAttributes" => asking.dkim().await?,
        "DeleteIdentity" => asking.delete_identity().await?,
        "GetSendStatistics" => asking.statistics().await?,
        _ => return Ok(None),
    };
    Ok(Some(xml::answer(action, &result)))
}

/// Who asks for what.
struct Asking<'a> {
    app: &'a App,
    principal: &'a Principal,
    form: &'a Form,
}

type Answer = Result<Vec<Element>, Problem>;

impl Asking<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.form.get(name).map(String::as_str)
    }

    fn state(&self) -> (State<App>, Extension<Principal>) {
        (State(self.app.clone()), Extension(self.principal.clone()))
    }

    async fn bulk(&self) -> Answer {
        let data = |name: &str| self.text(name).filter(|text| !text.is_empty());
        let entries: Vec<Value> = (1..=super::message::MAX_RECIPIENTS + 1)
            .map(|index| format!("Destinations.member.{index}"))
            .take_while(|place| self.form.keys().any(|key| key.starts_with(&format!("{place}."))))
            .map(|place| {
                let list = |name: &str| members(self.form, &format!("{place}.Destination.{name}"));
                let own = data(&format!("{place}.ReplacementTemplateData"));
                json!({
                    "Destination": {
                        "ToAddresses": list("ToAddresses"),
                        "CcAddresses": list("CcAddresses"),
                        "BccAddresses": list("BccAddresses"),
                    },
                    "ReplacementTags": super::query::pairs(self.form, &format!("{place}.ReplacementTags")),
                    "ReplacementEmailContent": { "ReplacementTemplate": { "ReplacementTemplateData": own } },
                })
            })
            .collect();
        let request = json!({
            "FromEmailAddress": self.text("Source"),
            "ReplyToAddresses": members(self.form, "ReplyToAddresses"),
            "DefaultEmailTags": super::query::pairs(self.form, "DefaultTags"),
            "DefaultContent": { "Template": {
                "TemplateName": self.text("Template"),
                "TemplateArn": self.text("TemplateArn"),
                "TemplateData": data("DefaultTemplateData"),
            } },
            "BulkEmailEntries": entries,
        });
        let results = bulk::results(self.app, self.principal, request).await?;
        let shown = results.iter().map(|result| {
            let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut told = vec![Element::Text("Status", older_status(&text("Status")).to_owned())];
            for name in ["Error", "MessageId"] {
                if result.get(name).is_some() {
                    told.push(Element::Text(name, text(name)));
                }
            }
            Element::Parent("member", told)
        });
        Ok(vec![Element::Parent("Status", shown.collect())])
    }

    /// `Template.SubjectPart` and the others, as v2 has them.
    fn template_body(&self) -> (String, Body) {
        let name = self.text("Template.TemplateName").unwrap_or_default().to_owned();
        let body = json!({
            "TemplateName": name,
            "TemplateContent": {
                "Subject": self.text("Template.SubjectPart"),
                "Text": self.text("Template.TextPart"),
                "Html": self.text("Template.HtmlPart"),
            },
        });
        (name, Body::from(body.to_string()))
    }

    fn template_name(&self) -> Path<String> {
        Path(self.text("TemplateName").unwrap_or_default().to_owned())
    }

    async fn create_template(&self) -> Answer {
        let ((state, principal), (_, body)) = (self.state(), self.template_body());
        let Json(_) = templates::create(state, principal, HeaderMap::new(), body).await?;
        Ok(Vec::new())
    }

    async fn update_template(&self) -> Answer {
        let ((state, principal), (name, body)) = (self.state(), self.template_body());
        let Json(_) = templates::update(state, principal, Path(name), HeaderMap::new(), body).await?;
        Ok(Vec::new())
    }

    async fn template(&self) -> Answer {
        let (state, principal) = self.state();
        let Json(found) = templates::one(state, principal, self.template_name()).await?;
        let text = |pointer: &str| found.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let parts = [
            ("TemplateName", "/TemplateName"),
            ("SubjectPart", "/TemplateContent/Subject"),
            ("TextPart", "/TemplateContent/Text"),
            ("HtmlPart", "/TemplateContent/Html"),
        ];
        let parts = parts.into_iter().filter_map(|(name, pointer)| Some(Element::Text(name, text(pointer)?)));
        Ok(vec![Element::Parent("Template", parts.collect())])
    }

    async fn delete_template(&self) -> Answer {
        let (state, principal) = self.state();
        gone(templates::delete(state, principal, self.template_name()).await)
    }

    async fn templates(&self) -> Answer {
        let (state, principal) = self.state();
        let asked = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("PageSize", self.text("MaxItems").unwrap_or_default())
            .append_pair("NextToken", self.text("NextToken").unwrap_or_default())
            .finish();
        let Json(found) = templates::list(state, principal, RawQuery(Some(asked))).await?;
        let listed = found["TemplatesMetadata"].as_array().into_iter().flatten().map(|one| {
            let at = one["CreatedTimestamp"].as_i64().unwrap_or_default();
            Element::Parent(
                "member",
                vec![
                    Element::Text("Name", one["TemplateName"].as_str().unwrap_or_default().to_owned()),
                    Element::Text("CreatedTimestamp", in_seconds(at)),
                ],
            )
        });
        let mut shown = vec![Element::Parent("TemplatesMetadata", listed.collect())];
        if let Some(next) = found["NextToken"].as_str() {
            shown.push(Element::Text("NextToken", next.to_owned()));
        }
        Ok(shown)
    }

    async fn render(&self) -> Answer {
        let (state, principal) = self.state();
        let body = Body::from(json!({ "TemplateData": self.text("TemplateData") }).to_string());
        let Json(found) =
            templates::render(state, principal, self.template_name(), HeaderMap::new(), body).await?;
        let rendered = found["RenderedTemplate"].as_str().unwrap_or_default().to_owned();
        Ok(vec![Element::Text("RenderedTemplate", rendered)])
    }

    /// Makes the domain unless it is there; tokens are selectors, as in v2.
    async fn verify(&self, action: &str) -> Answer {
        let domain = self.text("Domain").unwrap_or_default();
        let view = identities::made(self.app, self.principal, domain).await?;
        let tokens = view.keys.iter().map(|key| key.facts.selector.clone());
        Ok(match action {
            "VerifyDomainDkim" => {
                let tokens = tokens.map(|token| Element::Text("member", token));
                vec![Element::Parent("DkimTokens", tokens.collect())]
            }
            _ => vec![Element::Text("VerificationToken", tokens.collect::<Vec<_>>().join(" "))],
        })
    }

    async fn attributes(
        &self,
        name: &'static str,
        show: impl Fn(&crate::account::domains::DomainView) -> Vec<Element>,
    ) -> Answer {
        let mut entries = Vec::new();
        for identity in members(self.form, "Identities") {
            // Of others nothing is said.
            let Ok(view) = identities::find(self.app, self.principal.tenant(), &identity).await else {
                continue;
            };
            entries.push(Element::Parent(
                "entry",
                vec![Element::Text("key", identity), Element::Parent("value", show(&view))],
            ));
        }
        Ok(vec![Element::Parent(name, entries)])
    }

    async fn verifications(&self) -> Answer {
        let show = |view: &crate::account::domains::DomainView| {
            vec![Element::Text("VerificationStatus", older_word(identities::status(view)).to_owned())]
        };
        self.attributes("VerificationAttributes", show).await
    }

    async fn dkim(&self) -> Answer {
        let show = |view: &crate::account::domains::DomainView| {
            let tokens = view.keys.iter().map(|key| Element::Text("member", key.facts.selector.clone()));
            vec![
                Element::Text("DkimEnabled", "true".to_owned()),
                Element::Text("DkimVerificationStatus", older_word(identities::status(view)).to_owned()),
                Element::Parent("DkimTokens", tokens.collect()),
            ]
        };
        self.attributes("DkimAttributes", show).await
    }

    async fn delete_identity(&self) -> Answer {
        let (state, principal) = self.state();
        let identity = Path(self.text("Identity").unwrap_or_default().to_owned());
        gone(identities::delete(state, principal, identity).await)
    }

    async fn statistics(&self) -> Answer {
        let now = self.app.clock.now();
        let question = Question {
            from: now - STATISTICS,
            to: now,
            grain: Grain::Hour,
            dimension: Dimension::All,
            values: Vec::new(),
            limit: 1,
        };
        let tenant = self.principal.tenant();
        let figures = figures::answer(&self.app.database, tenant, &question, now).await?;
        let points = figures.rows.iter().map(|(at, _, cell)| {
            let count = |name, counter| Element::Text(name, cell.counts.get(counter).to_string());
            Element::Parent(
                "member",
                vec![
                    Element::Text("Timestamp", in_seconds(at.unix_timestamp())),
                    count("DeliveryAttempts", Counter::Accepted),
                    count("Bounces", Counter::Bounced),
                    count("Complaints", Counter::Complained),
                    count("Rejects", Counter::Suppressed),
                ],
            )
        });
        Ok(vec![Element::Parent("SendDataPoints", points.collect())])
    }
}

/// There, what is not there is deleted, too.
fn gone(deleted: Result<Json<Value>, Problem>) -> Answer {
    match deleted {
        Err(problem) if problem.kind() != Kind::NotFound => Err(problem),
        _ => Ok(Vec::new()),
    }
}

/// `2026-11-24T10:00:00Z`.
fn in_seconds(at: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(at).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

fn older_word(status: &str) -> &'static str {
    match status {
        "SUCCESS" => "Success",
        "TEMPORARY_FAILURE" => "TemporaryFailure",
        _ => "Pending",
    }
}

/// "BulkEmailDestinationStatus".
fn older_status(status: &str) -> &'static str {
    match status {
        "SUCCESS" => "Success",
        "MESSAGE_REJECTED" => "MessageRejected",
        "MAIL_FROM_DOMAIN_NOT_VERIFIED" => "MailFromDomainNotVerified",
        "TEMPLATE_NOT_FOUND" => "TemplateDoesNotExist",
        "ACCOUNT_SENDING_PAUSED" => "AccountSendingPaused",
        "INVALID_PARAMETER" => "InvalidParameterValue",
        _ => "Failed",
    }
}
