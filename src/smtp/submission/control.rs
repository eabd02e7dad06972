//! The control fields of a submitted mail: what a JSON request says in fields of its own. `X-Postroad-…` are ours;
//! those of providers are read by `domain/wishes`, and ours win over them.
//!
//! Invariant: a field that is not understood refuses the mail, since a misspelt `Send-At` must not send at once.

use std::fmt::Display;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::handling::Tracking;
use crate::domain::submission::{
    MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE, MAX_TAG_LEN, MAX_TAGS, Options, StreamName, Watch,
    is_metadata_key, is_metadata_value, is_tag,
};
use crate::domain::wishes;
use crate::mail::{Mailbox, control};
use crate::smtp::reply::Reply;
use crate::submission::IdempotencyKey;

/// What the author asks of us.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// How the mail is treated.
    pub options: Options,
    /// Its Idempotency-Key.
    pub key: Option<IdempotencyKey>,
    /// Who gets a copy besides the envelope's recipients.
    pub copies: Vec<Mailbox>,
}

impl Control {
    /// Reads all control fields of a message.
    ///
    /// # Errors
    /// The reply that names everything that is wrong.
    pub(super) fn of(message: &[u8]) -> Result<Control, Reply> {
        let mut control = Control::read(control::fields(message))?;
        let foreign = control::foreign(message);
        if foreign.is_empty() {
            return Ok(control);
        }
        let mut wishes = wishes::read(&foreign).map_err(|wrong| refused(&wrong))?;
        if let Some(text) = wishes.key.take().filter(|_| control.key.is_none()) {
            let key = IdempotencyKey::parse(&text);
            control.key = Some(key.map_err(|error| refused(&[format!("Resend-Idempotency-Key: {error}")]))?);
        }
        control.copies = std::mem::take(&mut wishes.copies);
        wishes.under(&mut control.options);
        Ok(control)
    }

    /// Reads the fields: names as they stand after `X-Postroad-`, and values.
    ///
    /// # Errors
    /// The reply that names everything that is wrong.
    pub(super) fn read(fields: Vec<(String, String)>) -> Result<Control, Reply> {
        let mut reading = Reading::default();
        for (name, value) in fields {
            reading.field(&name, value);
        }
        if reading.wrong.is_empty() {
            return Ok(reading.control);
        }
        Err(refused(&reading.wrong))
    }
}

fn refused(wrong: &[String]) -> Reply {
    Reply::new(550, 6, 0, "Bad control field").saying(wrong.join("; "))
}

#[derive(Default)]
struct Reading {
    control: Control,
    /// Names that may come once and have come, in lower case.
    seen: Vec<&'static str>,
    wrong: Vec<String>,
}

impl Reading {
    fn field(&mut self, name: &str, value: String) {
        const METADATA: &str = "metadata-";
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "tag" => self.tag(name, value),
            "stream" => {
                if let Some(stream) = self.once("stream", name, StreamName::parse(&value)) {
                    self.control.options.stream = stream;
                }
            }
            "send-at" => {
                let moment = OffsetDateTime::parse(&value, &Rfc3339)
                    .map_err(|_| "a moment as RFC 3339 has it is needed, such as 2026-11-24T10:00:00Z");
                self.control.options.send_at = self.once("send-at", name, moment);
            }
            "idempotency-key" => {
                self.control.key = self.once("idempotency-key", name, IdempotencyKey::parse(&value));
            }
            "track" => {
                if let Some(tracking) = self.once("track", name, tracking(&value)) {
                    self.control.options.handling.tracking = tracking;
                    self.control.options.watch = Watch::AsSaid;
                }
            }
            // Both have only ASCII before this place.
            _ if lower.starts_with(METADATA) => self.metadata(name, &name[METADATA.len()..], value),
            _ => self.refuse(name, "there is no such control field"),
        }
    }

    fn tag(&mut self, name: &str, value: String) {
        let tags = &mut self.control.options.tags;
        if tags.contains(&value) {
            return;
        }
        if !is_tag(&value) {
            return self.refuse(name, format!("a tag has 1 to {MAX_TAG_LEN} characters"));
        }
        if tags.len() == MAX_TAGS {
            return self.refuse(name, format!("a mail has at most {MAX_TAGS} tags"));
        }
        tags.push(value);
    }

    fn metadata(&mut self, name: &str, key: &str, value: String) {
        let metadata = &mut self.control.options.metadata;
        let trouble = if !is_metadata_key(key) {
            format!("a key of metadata has 1 to {MAX_METADATA_KEY} characters")
        } else if !is_metadata_value(&value) {
            format!("a value of metadata has at most {MAX_METADATA_VALUE} characters")
        } else if metadata.len() == MAX_METADATA {
            format!("a mail has at most {MAX_METADATA} entries of metadata")
        } else if metadata.keys().any(|known| known.eq_ignore_ascii_case(key)) {
            "it is there twice".to_owned()
        } else {
            metadata.insert(key.to_owned(), value);
            return;
        };
        self.refuse(name, trouble);
    }

    /// The value of a field that may come once; `None`: it is wrong, and that is noted.
    fn once<T, E: Display>(&mut self, field: &'static str, name: &str, value: Result<T, E>) -> Option<T> {
        if self.seen.contains(&field) {
            self.refuse(name, "it is there twice");
            return None;
        }
        self.seen.push(field);
        value.map_err(|error| self.refuse(name, error)).ok()
    }

    fn refuse(&mut self, name: &str, trouble: impl Display) {
        self.wrong.push(format!("X-Postroad-{name}: {trouble}"));
    }
}

/// `none`, or a list of what is watched: `opens`, `clicks`.
fn tracking(value: &str) -> Result<Tracking, &'static str> {
    if value.eq_ignore_ascii_case("none") {
        return Ok(Tracking::default());
    }
    let mut tracking = Tracking::default();
    for word in value.split(',') {
        match word.trim().to_ascii_lowercase().as_str() {
            "opens" => tracking.opens = true,
            "clicks" => tracking.clicks = true,
            _ => return Err("opens, clicks or none is needed"),
        }
    }
    Ok(tracking)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<Control, Reply> {
        Control::read(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn each_field_is_read_whatever_its_case() {
        let control = read(&[
            ("Tag", "welcome"),
            ("TAG", "second"),
            ("tag", "welcome"),
            ("Metadata-Order", "7"),
            ("metadata-Gruß", "ü"),
            ("Stream", "broadcast"),
            ("send-at", "2026-11-24T10:00:00+01:00"),
            ("Idempotency-Key", "abc"),
            ("Track", "none"),
        ])
        .expect("good");
        let options = control.options;
        assert_eq!(options.tags, ["welcome", "second"]);
        let metadata: Vec<_> =
            options.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(metadata, [("Gruß", "ü"), ("Order", "7")]);
        assert_eq!(options.stream.as_str(), "broadcast");
        assert_eq!(options.send_at, Some(datetime!(2026-11-24 9:00 UTC)));
        assert_eq!(options.handling.tracking, Tracking::default());
        assert_eq!(control.key.as_ref().map(IdempotencyKey::as_str), Some("abc"));
        let watched = read(&[("Track", "Opens, clicks")]).expect("good").options.handling.tracking;
        assert_eq!(watched, Tracking { opens: true, clicks: true });
        assert!(read(&[]).is_ok());
    }

    #[test]
    fn every_bad_field_is_named() {
        let long = "x".repeat(2000);
        let cases = [
            ("Sendat", "2026-11-24T10:00:00Z"),
            ("Send-At", "tomorrow"),
            ("Stream", "Broad cast"),
            ("Tag", ""),
            ("Tag", &long),
            ("Metadata-", "x"),
            ("Metadata-Long", &long),
            ("Idempotency-Key", "ü"),
            ("Track", "everything"),
            ("Track", "opens, none"),
            ("", ""),
        ];
        for (name, value) in cases {
            let refused = read(&[(name, value)]).expect_err(name);
            let expected = format!("X-Postroad-{name}: ");
            assert_eq!(refused.code(), 550, "{name}");
            assert!(format!("{refused:?}").contains(&expected), "{refused:?}");
        }
        let all = format!("{:?}", read(&cases).expect_err("all of them"));
        assert!(all.contains("X-Postroad-Sendat: ") && all.contains("X-Postroad-Track: "), "{all}");
        for once in ["Stream", "Send-At", "Idempotency-Key", "Track", "Metadata-a"] {
            let value = match once {
                "Send-At" => "2026-11-24T10:00:00Z",
                _ => "none",
            };
            assert!(read(&[(once, value), (&once.to_lowercase(), value)]).is_err(), "{once} twice");
        }
    }
}
