//! What makes two requests the same: SHA-256 over the canonical submission, and whether the key that brings it is a
//! test key: what was only checked does not stand for what is to be sent.
//!
//! For raw MIME only over envelope
//! and author, because clients write a new Date, Message-ID and boundaries when they try again.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Map, Value};

use crate::domain::handling::{Handling, Transport};
use crate::domain::key::KeyMode;
use crate::domain::submission::{Content, Parts, Personal, Rendering, Submission, Words};
use crate::mail::Mailbox;
use crate::render::Gaps;

use super::Rejected;

/// The fingerprint of a call.
pub fn of(mode: KeyMode, items: &[Result<Submission, Rejected>]) -> [u8; 32] {
    let mut canon = Canon(Context::new(&SHA256));
    canon.text(match mode {
        KeyMode::Live => "live",
        KeyMode::Test => "test",
    });
    canon.count(items.len());
    for item in items {
        match item {
            Ok(submission) => canon.submission(submission),
            Err(rejected) => canon.text(&rejected.to_json().to_string()),
        }
    }
    let mut fingerprint = [0u8; 32];
    fingerprint.copy_from_slice(canon.0.finish().as_ref());
    fingerprint
}

/// Feeds fields to the hash, each with its length, so that no two submissions run together alike.
struct Canon(Context);

impl Canon {
    fn submission(&mut self, submission: &Submission) {
        self.mailboxes(submission.from.as_slice());
        self.mailboxes(&submission.reply_to);
        self.mailboxes(&submission.recipients.to);
        self.mailboxes(&submission.recipients.cc);
        self.mailboxes(&submission.recipients.bcc);
        self.personal(&submission.recipients.personal);
        match &submission.content {
            Content::Parts(parts) => self.parts(parts),
            Content::Raw(_) => self.text("raw"),
        }
        self.options(submission);
    }

    fn options(&mut self, submission: &Submission) {
        let options = &submission.options;
        self.text(options.stream.as_str());
        self.text(options.priority.as_str());
        self.texts(&options.tags);
        self.entries(&options.metadata);
        self.text(&options.send_at.map(|at| at.unix_timestamp_nanos().to_string()).unwrap_or_default());
        self.text(&options.ttl.whole_seconds().to_string());
        self.text(if options.sending == crate::domain::submission::Sending::Sandbox {
            "sandbox"
        } else {
            ""
        });
        // Neither the envelope nor how notices are wanted: clients make a new ENVID for each try. How recipients may
        // leave is the stream's affair, which is in the fingerprint; how it is stored is ours.
        let Handling { tracking, transport, .. } = &options.handling;
        self.count(usize::from(tracking.opens) + 2 * usize::from(tracking.clicks));
        self.count(usize::from(*transport == Transport::RequireTls));
    }

    fn parts(&mut self, parts: &Parts) {
        self.text(&parts.subject);
        self.optional(parts.text.as_deref());
        self.optional(parts.html.as_deref());
        self.optional(parts.headers.message_id.as_deref());
        self.text(&parts.headers.date.map(|date| date.unix_timestamp().to_string()).unwrap_or_default());
        self.count(parts.headers.others.len());
        for header in &parts.headers.others {
            self.text(header.name());
            self.text(header.value());
        }
        self.count(parts.attachments.len());
        for attachment in &parts.attachments {
            self.text(attachment.filename());
            self.text(attachment.media_type());
            self.optional(attachment.content_id());
            self.octets(attachment.content());
        }
        self.rendering(parts.rendering.as_deref());
    }

    fn rendering(&mut self, rendering: Option<&Rendering>) {
        let Some(Rendering { of, variables, gaps }) = rendering else { return self.count(0) };
        self.count(if *gaps == Gaps::Refused { 1 } else { 2 });
        match of {
            Words::Inline => self.text("inline"),
            Words::Tokens => self.text("tokens"),
            // A template is known by its name, whatever it is published as meanwhile.
            Words::Template(selection) => self.text(&format!("template {selection:?}")),
            Words::Stored(source) => self.text(&format!("stored {source:?}")),
        }
        self.variables(variables);
    }

    fn variables(&mut self, variables: &Map<String, Value>) {
        self.count(variables.len());
        for (name, value) in variables {
            self.text(name);
            self.text(&value.to_string());
        }
    }

    fn personal(&mut self, personal: &[Personal]) {
        self.count(personal.len());
        for own in personal {
            self.mailboxes(std::slice::from_ref(&own.to));
            self.mailboxes(&own.cc);
            self.mailboxes(&own.bcc);
            self.variables(&own.variables);
            self.entries(&own.metadata);
        }
    }

    fn entries(&mut self, entries: &BTreeMap<String, String>) {
        self.count(entries.len());
        for (key, value) in entries {
            self.text(key);
            self.text(value);
        }
    }

    fn mailboxes(&mut self, mailboxes: &[Mailbox]) {
        self.count(mailboxes.len());
        for mailbox in mailboxes {
            self.optional(mailbox.name.as_deref());
            self.text(mailbox.address.as_str());
        }
    }

    fn texts(&mut self, texts: &[String]) {
        self.count(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    fn optional(&mut self, text: Option<&str>) {
        self.count(usize::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn text(&mut self, text: &str) {
        self.octets(text.as_bytes());
    }

    fn octets(&mut self, octets: &[u8]) {
        self.count(octets.len());
        self.0.update(octets);
    }

    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::submission::{Options, Recipients};
    use bytes::Bytes;

    fn submission(subject: &str, to: &str) -> Submission {
        let mailbox = |text: &str| Mailbox::parse(text).expect("a mailbox");
        Submission {
            from: Some(mailbox("a@acme.example")),
            reply_to: Vec::new(),
            recipients: Recipients { to: vec![mailbox(to)], ..Recipients::default() },
            content: Content::Parts(Parts {
                subject: subject.to_owned(),
                text: Some("x".into()),
                ..Parts::default()
            }),
            options: Options::default(),
        }
    }

    fn fingerprint(submission: Submission) -> [u8; 32] {
        of(KeyMode::Live, &[Ok(submission)])
    }

    #[test]
    fn equal_submissions_are_equal_and_others_are_not() {
        let same = fingerprint(submission("s", "b@example.net"));
        assert_eq!(same, fingerprint(submission("s", "b@example.net")));
        assert_ne!(same, fingerprint(submission("t", "b@example.net")));
        assert_ne!(same, fingerprint(submission("s", "c@example.net")));
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let mut one = submission("s", "b@example.net");
        let mut other = one.clone();
        one.options.tags = vec!["ab".into(), "c".into()];
        other.options.tags = vec!["a".into(), "bc".into()];
        assert_ne!(fingerprint(one), fingerprint(other));
    }

    #[test]
    fn raw_mail_is_known_by_its_envelope() {
        let raw = |content: &'static str| Submission {
            content: Content::Raw(Bytes::from_static(content.as_bytes())),
            ..submission("", "b@example.net")
        };
        assert_eq!(fingerprint(raw("Date: today")), fingerprint(raw("Date: tomorrow")));
    }
}
