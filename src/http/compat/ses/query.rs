//! The older API: `POST /` with a form, of which `Action` says what is wanted
//! (docs.aws.amazon.com/ses/latest/APIReference). Lists are written `Destination.ToAddresses.member.1=…`.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use crate::domain::submission::Submission;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::Problem;

use super::xml::Element;
use super::{account, message, older, xml};

/// A form, by its fields' names.
pub(super) type Form = BTreeMap<String, String>;

/// Does what the form asks for.
pub async fn act(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let held = app.budget.read(&headers, body, app.max_batch_bytes()).await?;
    let form: Form = url::form_urlencoded::parse(&held.bytes).into_owned().collect();
    match form.get("Action").map(String::as_str) {
        Some("SendEmail") => send(&app, &principal, "SendEmail", simple(&form)).await,
        Some("SendRawEmail") => send(&app, &principal, "SendRawEmail", raw(&form)).await,
        Some("SendTemplatedEmail") => send(&app, &principal, "SendTemplatedEmail", templated(&form)).await,
        Some("GetSendQuota") => quota(&app, &principal).await,
        Some("GetAccountSendingEnabled") => {
            Ok(xml::answer("GetAccountSendingEnabled", &[Element::Text("Enabled", "true".to_owned())]))
        }
        Some("ListIdentities") => identities(&app, &principal).await,
        Some(action) => {
            if let Some(answer) = older::act(&app, &principal, action, &form).await? {
                return Ok(answer);
            }
            let message = format!("The action {action} is not valid for this web service.");
            Ok(xml::error(400, "InvalidAction", &message))
        }
        None => {
            Ok(xml::error(400, "MissingAction", "The request is missing an action or a required parameter."))
        }
    }
}

/// Every action that sends is one of v2 in other letters.
async fn send(app: &App, principal: &Principal, action: &str, request: Value) -> Result<Response, Problem> {
    let mail: Submission = message::mail(request).map_err(Problem::invalid)?;
    let accepted = parts::accept(app, principal, vec![mail], None).await?;
    let id = accepted.first().map(|mail| mail.id.to_string()).unwrap_or_default();
    Ok(xml::answer(action, &[Element::Text("MessageId", id)]))
}

/// The members of a list, in their order.
pub(super) fn members(form: &Form, name: &str) -> Vec<String> {
    let prefix = format!("{name}.member.");
    let mut found: Vec<(u32, String)> = form
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.parse().ok()?, value.clone())))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, value)| value).collect()
}

fn common(form: &Form) -> Value {
    json!({
        "FromEmailAddress": form.get("Source"),
        "Destination": {
            "ToAddresses": members(form, "Destination.ToAddresses"),
            "CcAddresses": members(form, "Destination.CcAddresses"),
            "BccAddresses": members(form, "Destination.BccAddresses"),
        },
        "ReplyToAddresses": members(form, "ReplyToAddresses"),
        "EmailTags": pairs(form, "Tags"),
    })
}

/// `Tags.member.1.Name=…&Tags.member.1.Value=…`.
pub(super) fn pairs(form: &Form, list: &str) -> Vec<Value> {
    let prefix = format!("{list}.member.");
    let names = form.iter().filter_map(|(key, name)| {
        let index = key.strip_prefix(&prefix)?.strip_suffix(".Name")?;
        Some(json!({ "Name": name, "Value": form.get(&format!("{prefix}{index}.Value"))? }))
    });
    names.collect()
}

fn simple(form: &Form) -> Value {
    let data = |name: &str| form.get(&format!("Message.{name}.Data")).map(|data| json!({ "Data": data }));
    let mut request = common(form);
    request["Content"] = json!({ "Simple": {
        "Subject": data("Subject"),
        "Body": { "Text": data("Body.Text"), "Html": data("Body.Html") },
    } });
    request
}

fn raw(form: &Form) -> Value {
    let mut request = common(form);
    request["Destination"] = json!({ "ToAddresses": members(form, "Destinations") });
    request["Content"] = json!({ "Raw": { "Data": form.get("RawMessage.Data") } });
    request
}

fn templated(form: &Form) -> Value {
    let mut request = common(form);
    request["Content"] = json!({ "Template": {
        "TemplateName": form.get("Template"),
        "TemplateArn": form.get("TemplateArn"),
        "TemplateData": form.get("TemplateData"),
    } });
    request
}

async fn quota(app: &App, principal: &Principal) -> Result<Response, Problem> {
    let quota = account::quota(app, principal).await?;
    let number = |name, number: f64| Element::Text(name, format!("{number:.1}"));
    let result = [
        number("Max24HourSend", quota.most),
        number("MaxSendRate", quota.rate),
        number("SentLast24Hours", quota.sent),
    ];
    Ok(xml::answer("GetSendQuota", &result))
}

async fn identities(app: &App, principal: &Principal) -> Result<Response, Problem> {
    let all = app.domains.list(principal.tenant(), None, 1000).await?;
    let names = all.into_iter().map(|view| Element::Text("member", view.domain.name.to_string()));
    Ok(xml::answer("ListIdentities", &[Element::Parent("Identities", names.collect())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_what_v2_asks_for() {
        let body = "Action=SendEmail&Source=a%40b.example&Destination.ToAddresses.member.2=y%40c.example\
            &Destination.ToAddresses.member.1=x%40c.example&Message.Subject.Data=Hi&Message.Body.Text.Data=T\
            &Tags.member.1.Name=n&Tags.member.1.Value=v";
        let form: Form = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let request = simple(&form);
        assert_eq!(request["FromEmailAddress"], "a@b.example");
        assert_eq!(request["Destination"]["ToAddresses"], json!(["x@c.example", "y@c.example"]));
        assert_eq!(request["EmailTags"], json!([{ "Name": "n", "Value": "v" }]));
        let simple = &request["Content"]["Simple"];
        assert_eq!(simple["Subject"]["Data"], "Hi");
        assert_eq!(simple["Body"], json!({ "Text": { "Data": "T" }, "Html": null }));
    }
}
