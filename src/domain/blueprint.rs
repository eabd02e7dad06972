//! What mails of many recipients are composed of, where each gets one of its own: stored once, composed again for
//! every recipient and every attempt.
//!
//! Invariant: a recipient's mail is a pure function of the blueprint, the delivery's id and its particulars, so that a
//! second copy is byte-identical. Date and ids are stored or derived, never taken from a clock or from chance.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::mail::compose::{self, ComposeError, Draft};
use crate::mail::headers::HeaderError;
use crate::mail::{Attachment, Header, Mailbox};
use crate::render::tokens::Tokens;
use crate::render::{self, Compiled, Fault, Filled, Gaps, Rendered, Source};

use super::handling::{OwnMail, Particulars};
use super::id::{DeliveryId, MessageId};

/// What all these mails have in common.
#[derive(Debug)]
pub struct Blueprint {
    /// The author.
    pub from: Mailbox,
    /// Where answers go.
    pub reply_to: Vec<Mailbox>,
    /// What they say.
    pub wording: Wording,
    /// Further header fields.
    pub headers: Vec<Header>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// What the Date field says.
    pub date: OffsetDateTime,
}

/// What mails of a blueprint say.
#[derive(Debug)]
pub enum Wording {
    /// The same to all.
    Verbatim(Rendered),
    /// To each with its own values in place of tokens, in header fields too.
    Tokens(Box<Marked>),
    /// To each with its own variables.
    Template(Box<Template>),
}

/// Contents with tokens in them, and the values that all recipients have in common.
#[derive(Debug)]
pub struct Marked {
    /// With the tokens.
    pub contents: Rendered,
    /// Below each recipient's own.
    pub variables: Map<String, Value>,
}

impl Marked {
    /// With a recipient's own values.
    pub fn tokens(&self, own: &Map<String, Value>) -> Tokens {
        Tokens::new(&render::over(&self.variables, own))
    }
}

/// A source and the variables that all recipients have in common.
#[derive(Debug)]
pub struct Template {
    /// What is rendered.
    pub source: Source,
    /// Below each recipient's own.
    pub variables: Map<String, Value>,
    /// What becomes of a variable that is missing.
    pub gaps: Gaps,
    compiled: OnceLock<Result<Compiled, Vec<Fault>>>,
}

impl Template {
    /// Of a source; it is compiled when it is needed first.
    pub fn new(source: Source, variables: Map<String, Value>, gaps: Gaps) -> Template {
        Template { source, variables, gaps, compiled: OnceLock::new() }
    }

    /// The source, understood.
    ///
    /// # Errors
    /// As [`Compiled::new`].
    pub fn compiled(&self) -> Result<&Compiled, Vec<Fault>> {
        self.compiled.get_or_init(|| Compiled::new(&self.source)).as_ref().map_err(Clone::clone)
    }

    /// With a recipient's own variables in it.
    ///
    /// # Errors
    /// As [`Compiled::fill_with`].
    pub fn fill(&self, own: &Map<String, Value>) -> Result<Filled, Vec<Fault>> {
        self.compiled()?.fill_with(&render::over(&self.variables, own), self.gaps)
    }
}

/// Why a recipient's mail cannot be composed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlueprintError {
    /// Its contents cannot be rendered.
    #[error("{}", .0.iter().map(Fault::sentence).collect::<Vec<_>>().join("; "))]
    Render(Vec<Fault>),
    /// It cannot be written.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// A header field cannot be as its tokens make it.
    #[error("the header {0} cannot be filled in: {1}")]
    Header(String, HeaderError),
    /// The delivery does not say whose mail it is.
    #[error("the delivery does not say whose mail it is")]
    NotPersonal,
}

impl Blueprint {
    /// A recipient's own mail: the RFC 5322 form.
    ///
    /// # Errors
    /// See [`BlueprintError`]; none, for what was accepted.
    pub fn compose(
        &self,
        delivery: DeliveryId,
        particulars: &Particulars,
    ) -> Result<Vec<u8>, BlueprintError> {
        let own = particulars.own.as_ref().ok_or(BlueprintError::NotPersonal)?;
        match &self.wording {
            Wording::Verbatim(contents) => self.write(delivery.message(), own, contents),
            Wording::Tokens(marked) => {
                let tokens = marked.tokens(&particulars.variables);
                self.write_with(delivery.message(), own, &tokens.fill_all(&marked.contents), &tokens)
            }
            Wording::Template(template) => {
                let filled = template.fill(&particulars.variables).map_err(BlueprintError::Render)?;
                let contents = filled.finish().map_err(|fault| BlueprintError::Render(vec![fault]))?;
                self.write(delivery.message(), own, &contents)
            }
        }
    }

    /// Writes a recipient's mail with these contents.
    ///
    /// # Errors
    /// See [`BlueprintError`].
    pub fn write(
        &self,
        message: MessageId,
        own: &OwnMail,
        contents: &Rendered,
    ) -> Result<Vec<u8>, BlueprintError> {
        self.write_fields(message, own, contents, &self.headers)
    }

    /// The same, with values in the header fields.
    ///
    /// # Errors
    /// See [`BlueprintError`].
    pub fn write_with(
        &self,
        message: MessageId,
        own: &OwnMail,
        contents: &Rendered,
        tokens: &Tokens,
    ) -> Result<Vec<u8>, BlueprintError> {
        self.write_fields(message, own, contents, &self.headers_with(tokens)?)
    }

    /// The further header fields with values in them; one that becomes empty is left out.
    ///
    /// # Errors
    /// A field cannot be as its tokens make it.
    pub fn headers_with(&self, tokens: &Tokens) -> Result<Vec<Header>, BlueprintError> {
        let fill = |header: &Header| match tokens.fill(header.value()) {
            Cow::Borrowed(_) => Some(Ok(header.clone())),
            Cow::Owned(value) if value.trim().is_empty() => None,
            Cow::Owned(value) => Some(
                Header::new(header.name(), &value)
                    .map_err(|error| BlueprintError::Header(header.name().to_owned(), error)),
            ),
        };
        self.headers.iter().filter_map(fill).collect()
    }

    fn write_fields(
        &self,
        message: MessageId,
        own: &OwnMail,
        contents: &Rendered,
        headers: &[Header],
    ) -> Result<Vec<u8>, BlueprintError> {
        let mail = message.delivery(own.ordinal);
        let message_id = own_message_id(mail, self.from.address.domain());
        let draft = Draft {
            from: &self.from,
            reply_to: &self.reply_to,
            to: std::slice::from_ref(&own.to),
            cc: &own.cc,
            subject: &contents.subject,
            text: contents.text.as_deref(),
            html: contents.html.as_deref(),
            amp: contents.amp.as_deref(),
            attachments: &self.attachments,
            headers,
            message_id: &message_id,
            date: self.date,
            boundary_seed: mail.uuid().as_u128(),
        };
        Ok(compose::compose(&draft)?)
    }
}

/// The Message-ID of the mail whose addressee's delivery this is, without its angle brackets.
pub fn own_message_id(mail: DeliveryId, domain: &str) -> String {
    format!("{}@{domain}", mail.uuid().simple())
}
