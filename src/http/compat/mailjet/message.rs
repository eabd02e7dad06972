//! From the JSON of `/v3.1/send` to submissions: one for each of `Messages`, each with its own fate.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::delivery::Priority;
use crate::domain::handling::{Handling, Tracking};
use crate::domain::submission::{Content, Options, Parts, Recipients, Sending, Submission};
use crate::http::api::variables;
use crate::http::compat::dialect::{self, Twig};
use crate::http::compat::reading::{self, BoxNames, FileNames};
use crate::http::fields::Fields;
use crate::mail::Mailbox;
use crate::mail::headers::Header;
use crate::render::Gaps;
use crate::submission::{Rejected, Violation};

const NAMES: BoxNames = BoxNames { email: "Email", name: "Name" };
const FILE: FileNames =
    FileNames { name: "Filename", kind: "ContentType", id: "ContentID", content: "Base64Content" };
/// Messages in one call, and recipients of one of them.
const MAX_MESSAGES: usize = 50;
const MAX_RECIPIENTS: usize = 50;
const ADDRESSES: [&str; 6] = ["From", "Sender", "To", "Cc", "Bcc", "ReplyTo"];

/// What a call asks for.
pub struct Call {
    /// The mails, in order, or why one cannot be.
    pub mails: Vec<Result<Submission, Rejected>>,
    /// What the answer says again: the CustomID of each.
    pub custom_ids: Vec<String>,
}

/// Reads a request.
pub fn call(value: Value) -> Result<Call, Vec<Violation>> {
    let mut fields = Fields::of(value, "").map_err(|violation| vec![violation])?;
    let sandbox = fields.flag("SandboxMode") == Some(true);
    let globals = match fields.take("Globals") {
        Some(Value::Object(globals)) => globals,
        _ => Map::new(),
    };
    fields.flag("AdvanceErrorHandling");
    let list = fields.list("Messages", MAX_MESSAGES).unwrap_or_default();
    if list.is_empty() && !fields.is_wrong("Messages") {
        fields.wrong("Messages", "required", "it is needed");
    }
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let (mut mails, mut custom_ids) = (Vec::new(), Vec::new());
    for value in list {
        let value = over(value, &globals);
        custom_ids.push(value.get("CustomID").and_then(Value::as_str).unwrap_or_default().to_owned());
        mails.push(mail(value, sandbox));
    }
    Ok(Call { mails, custom_ids })
}

/// A message, with what all have in common where it says nothing itself.
fn over(value: Value, globals: &Map<String, Value>) -> Value {
    let Value::Object(mut members) = value else { return value };
    for (name, common) in globals {
        match (members.get_mut(name), common) {
            (None, _) => {
                members.insert(name.clone(), common.clone());
            }
            // Variables are joined, and the message's own win.
            (Some(Value::Object(own)), Value::Object(common)) if name == "Variables" => {
                for (key, value) in common {
                    own.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            _ => {}
        }
    }
    Value::Object(members)
}

fn mail(value: Value, sandbox: bool) -> Result<Submission, Rejected> {
    let given: Map<String, Value> =
        ADDRESSES.iter().filter_map(|name| Some(((*name).to_owned(), value.get(*name)?.clone()))).collect();
    let refused = |wrong: Vec<Violation>| Rejected::invalid(named(wrong, &Value::Object(given)));
    let mut fields = match Fields::of(value, "") {
        Ok(fields) => fields,
        Err(violation) => return Err(Rejected::invalid(vec![violation])),
    };
    let from = reading::needed(&mut fields, "From", NAMES);
    let sender = reading::one(&mut fields, "Sender", NAMES);
    let [to, cc, bcc] = ["To", "Cc", "Bcc"].map(|name| recipients(&mut fields, name));
    if to.is_empty() && cc.is_empty() && bcc.is_empty() && !fields.is_wrong("To") {
        fields.wrong("To", "required", "it is needed");
    }
    let reply_to = reading::one(&mut fields, "ReplyTo", NAMES).into_iter().collect();
    let mut options = options(&mut fields);
    if sandbox {
        options.sending = Sending::Sandbox;
    }
    let mut parts = parts(&mut fields);
    if let Some(sender) = sender {
        match Header::new("Sender", &sender.to_string()) {
            Ok(header) => parts.headers.others.push(header),
            Err(error) => fields.wrong("Sender", "invalid_header", error.to_string()),
        }
    }
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(refused(wrong));
    }
    let recipients = Recipients { to, cc, bcc, ..Recipients::default() };
    Ok(Submission { from, reply_to, recipients, content: Content::Parts(parts), options })
}

fn recipients(fields: &mut Fields, name: &str) -> Vec<Mailbox> {
    let all = reading::many(fields, name, NAMES);
    if all.len() > MAX_RECIPIENTS {
        fields.wrong(name, "too_many", format!("at most {MAX_RECIPIENTS} are allowed"));
    }
    all
}

/// Of an address that is none, clients are shown it as they gave it.
fn named(wrong: Vec<Violation>, given: &Value) -> Vec<Violation> {
    let one = |violation: Violation| match given.pointer(&violation.pointer) {
        Some(Value::String(address)) if violation.code == "invalid_address" => {
            Violation { message: address.clone(), ..violation }
        }
        _ => violation,
    };
    wrong.into_iter().map(one).collect()
}

fn options(fields: &mut Fields) -> Options {
    let mut metadata = BTreeMap::new();
    for name in ["CustomID", "EventPayload"] {
        if let Some(value) = fields.text(name).filter(|value| !value.is_empty()) {
            reading::note(fields, name, &mut metadata, name.to_owned(), value);
        }
    }
    let tags = fields.text("CustomCampaign").into_iter().chain(fields.text("MonitoringCategory"));
    let tags: Vec<String> = tags.filter(|tag| crate::domain::submission::is_tag(tag)).collect();
    fields.flag("DeduplicateCampaign");
    let priority = match fields.number("Priority", 0..=3) {
        Some(0 | 1) => Priority::Low,
        Some(3) => Priority::High,
        _ => Priority::Normal,
    };
    let mut switch = |name: &str| match fields.text(name).as_deref() {
        None | Some("account_default" | "disabled") => false,
        Some("enabled") => true,
        Some(_) => {
            fields.wrong(name, "invalid_value", "account_default, disabled or enabled is needed");
            false
        }
    };
    let tracking = Tracking { opens: switch("TrackOpens"), clicks: switch("TrackClicks") };
    Options {
        metadata,
        tags,
        priority,
        handling: Handling { tracking, ..Handling::default() },
        ..Options::default()
    }
}

fn parts(fields: &mut Fields) -> Parts {
    let mut attachments = reading::files(fields, "Attachments", FileNames { id: "", ..FILE });
    attachments.extend(reading::files(fields, "InlinedAttachments", FILE));
    let mut parts = Parts {
        subject: reading::subject(fields, "Subject").unwrap_or_default(),
        text: fields.text("TextPart").filter(|text| !text.is_empty()),
        html: fields.text("HTMLPart").filter(|html| !html.is_empty()),
        headers: reading::headers(fields, "Headers", |_| false).0,
        attachments,
        rendering: None,
    };
    let variables = variables::take(fields, "Variables");
    let renders = fields.flag("TemplateLanguage") == Some(true);
    // Where faults of a template are to be told, and whether mail with them is sent all the same: such mail is refused.
    fields.take("TemplateErrorReporting");
    fields.flag("TemplateErrorDeliver");
    reading::refuse(fields, "URLTags", "URLTags are not available");
    if let Some(name) = reading::template(fields, "TemplateID") {
        // A template brings its own subject and contents.
        parts = Parts { subject: String::new(), text: None, html: None, ..parts };
        parts.rendering = Some(reading::of_template(name, variables.unwrap_or_default(), Gaps::Refused));
        return parts;
    }
    if parts.text.is_none() && parts.html.is_none() && !fields.is_wrong("TemplateID") {
        fields.wrong("HTMLPart", "required", "it is needed");
    }
    if renders {
        let translated = reading::translate(
            &mut parts,
            |text| dialect::twig(text, Twig::Mailjet),
            variables.unwrap_or_default(),
        );
        if let Err(violation) = translated {
            fields.wrong_at(violation);
        }
    }
    parts
}
