//! Mail from our own users (RFC 6409): the password is an API key, and what is sent becomes a
//! [`Submission`](crate::domain::submission::Submission) like any other.
//!
//! Not the protocol, which is the engine's. Invariants: 250 is said only after the mail is committed, and what may
//! be sent by HTTP with a key may be sent here with it, and nothing else.

mod control;
mod guard;
mod refusals;
mod trace;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::account::credentials::{Keys, NotAdmitted};
use crate::account::keys;
use crate::account::rates::Rates;
use crate::domain::access_key::{AccessKeyId, is_password};
use crate::domain::handling::{Particulars, SubmittedEnvelope};
use crate::domain::key::{KeyName, KeySecret, Scope};
use crate::domain::submission::{self as canonical, Content, Options, Recipients};
use crate::mail::{EmailAddress, Mailbox};
use crate::seal::Subkey;
use crate::store::keys::Credential;
use crate::submission::{Accept, Answer, By, Caller, Request, Unit};

use super::mailroom::{
    Entry, Login, MailParams, Mailroom, Means, RcptParams, ReceivedEnvelope, SessionInfo, Verdict,
};
use super::path::{ForwardPath, ReversePath};
use super::reply::{self, Reply};

use control::Control;
use guard::Guard;

/// How long the answer to a bad login takes at least, so that it tells nothing by when it comes.
const LEAST_PAUSE: Duration = Duration::from_millis(200);

/// A [`Mailroom`] for those who have a key.
pub struct Submission {
    accept: Accept,
    keys: Arc<Keys>,
    rates: Arc<Rates>,
    guard: Arc<Guard>,
    seal: Subkey,
    hostname: String,
}

/// Bad logins, counted over all submission doors of a process. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct BadLogins(Arc<Guard>);

impl Submission {
    /// Accepts what is sent with keys that `keys` knows, as often as `rates` has it.
    pub fn new(
        accept: Accept,
        keys: Arc<Keys>,
        rates: Arc<Rates>,
        BadLogins(guard): BadLogins,
        seal: Subkey,
        hostname: String,
    ) -> Self {
        Self { accept, keys, rates, guard, seal, hostname }
    }

    fn now(&self) -> OffsetDateTime {
        self.accept.clock.now()
    }

    /// A key that signs, where the user is its public half: the password is the other, or made of it.
    async fn signs(
        &self,
        user: &str,
        password: &KeySecret,
        peer: IpAddr,
    ) -> Result<Option<(KeyName, Arc<Credential>)>, Reply> {
        let Ok(id) = AccessKeyId::parse(user) else { return Ok(None) };
        let by = KeyName::Signing(id);
        let credential = match self.keys.admit(&by, peer, self.now()).await {
            Ok(credential) => credential,
            Err(NotAdmitted::Store(_)) => return Err(refusals::LOGIN_UNKNOWN),
            Err(_) => return Ok(None),
        };
        let secret = keys::open_secret(&self.seal, &credential);
        let is_his = secret.is_some_and(|secret| is_password(&secret, password.reveal()));
        let may_send = credential.key.scopes.has(Scope::Send);
        Ok((is_his && may_send).then_some((by, credential)))
    }

    /// Whether who logged in may still send, and now.
    async fn may_send(&self, session: &SessionInfo) -> Result<(), Reply> {
        let login = session.login.as_ref().ok_or(reply::AUTH_FIRST)?;
        // A session can be long, and a key revoked meanwhile.
        let (peer, now) = (session.peer.ip(), self.now());
        let admitted = match &login.by {
            Means::Key(name) => self.keys.admit(name, peer, now).await,
            Means::Address => self.keys.admit_at_address(peer, now).await,
        };
        let credential = admitted.map_err(|error| match error {
            NotAdmitted::Store(_) => refusals::DATABASE_AWAY,
            refused => Reply::new(530, 7, 0, "Authentication required").saying(refused.to_string()),
        })?;
        let key = &credential.key;
        match self.rates.check(key.id, key.limits.rate_per_second) {
            Ok(_) => Ok(()),
            Err(exhausted) => Err(refusals::too_often(exhausted)),
        }
    }

    async fn submit(
        &self,
        session: &SessionInfo,
        envelope: ReceivedEnvelope,
        text: Bytes,
    ) -> Result<Reply, Reply> {
        let login = session.login.as_ref().ok_or(reply::AUTH_FIRST)?;
        let key = &login.credential.key;
        let caller =
            Caller { tenant: key.tenant, by: By::Key(key.id), mode: key.mode, limits: key.limits.clone() };
        let Control { mut options, key, copies } = Control::of(&text)?;
        options.handling.envelope = Some(submitted(&envelope));
        options.trace = Some(trace::received(&self.hostname, session, &envelope.params, self.now()));
        let mut item = self.canonical(envelope, text, options)?;
        item.recipients.to.extend(copies);
        let request = Request { items: vec![Ok(item)], key, unit: Unit::Each };
        let Answer { mut items, .. } =
            self.accept.accept(&caller, request).await.map_err(refusals::unanswered)?;
        match items.pop() {
            Some(Ok(accepted)) => Ok(reply::OK.saying(format!("Ok: queued as {}", accepted.id))),
            Some(Err(rejected)) => Err(refusals::rejected(&rejected)),
            None => Err(refusals::DATABASE_AWAY),
        }
    }

    fn canonical(
        &self,
        envelope: ReceivedEnvelope,
        raw: Bytes,
        options: Options,
    ) -> Result<canonical::Submission, Reply> {
        let mut recipients = Recipients::default();
        for (path, params) in envelope.recipients.iter().zip(envelope.recipient_params) {
            let address = self.recipient(path)?;
            if let Some(own) = particulars(params) {
                recipients.particulars.entry(address.key()).or_insert(own);
            }
            recipients.to.push(Mailbox { name: None, address });
        }
        let from = sender(&envelope.return_path)?.map(|address| Mailbox { name: None, address });
        Ok(canonical::Submission {
            from,
            reply_to: Vec::new(),
            recipients,
            content: Content::Raw(raw),
            options,
        })
    }

    fn recipient(&self, path: &ForwardPath) -> Result<EmailAddress, Reply> {
        let text = match path {
            ForwardPath::Mailbox(mailbox) => mailbox.as_str().to_owned(),
            // RFC 5321 §4.5.1: whoever runs this host.
            ForwardPath::Postmaster => format!("postmaster@{}", self.hostname),
        };
        EmailAddress::parse(&text)
            .map_err(|error| Reply::new(550, 1, 3, "Bad recipient").saying(format!("Bad recipient: {error}")))
    }
}

fn granted(by: KeyName, credential: Arc<Credential>) -> Entry {
    metrics::counter!("postroad_smtp_logins_total", "result" => "good").increment(1);
    Entry::Granted(Login { by: Means::Key(by), credential })
}

/// MAIL FROM as an address; `None`: it was null.
fn sender(path: &ReversePath) -> Result<Option<EmailAddress>, Reply> {
    match path {
        ReversePath::Null => Ok(None),
        ReversePath::Mailbox(mailbox) => EmailAddress::parse(mailbox.as_str())
            .map(Some)
            .map_err(|error| Reply::new(550, 1, 7, "Bad sender").saying(format!("Bad sender: {error}"))),
    }
}

fn submitted(envelope: &ReceivedEnvelope) -> SubmittedEnvelope {
    SubmittedEnvelope {
        sender: match &envelope.return_path {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox.as_str().to_owned()),
        },
        ret: envelope.params.ret,
        envid: envelope.params.envid.as_deref().map(str::to_owned),
    }
}

/// What was said about one recipient; `None`: nothing.
fn particulars(params: RcptParams) -> Option<Particulars> {
    let RcptParams { notify, orcpt } = params;
    let said = notify.is_some() || orcpt.is_some();
    said.then(|| Particulars { notify, orcpt: orcpt.map(String::from), ..Particulars::default() })
}

impl Mailroom for Submission {
    fn welcome(&self, peer: IpAddr) -> Verdict {
        if self.guard.turns_away(peer, Instant::now()) {
            return Verdict::Refuse(refusals::TOO_MANY_LOGINS);
        }
        Verdict::Accept
    }

    async fn auth(&self, session: &SessionInfo, user: &str, secret: KeySecret) -> Entry {
        let (begun, peer, hash) = (Instant::now(), session.peer.ip(), secret.hash());
        if self.guard.passes_over(peer, hash, begun) || self.guard.is_worn_out(hash, begun) {
            return Entry::Refused(refusals::TOO_MANY_LOGINS);
        }
        let by = KeyName::Shown(hash);
        match self.keys.admit(&by, peer, self.now()).await {
            Ok(credential) if credential.key.scopes.has(Scope::Send) => {
                self.guard.succeeded(peer, hash, begun);
                return granted(by, credential);
            }
            Err(NotAdmitted::Store(_)) => return Entry::Refused(refusals::LOGIN_UNKNOWN),
            Err(NotAdmitted::Unknown) => match self.signs(user, &secret, peer).await {
                Ok(Some((by, credential))) => {
                    self.guard.succeeded(peer, hash, begun);
                    return granted(by, credential);
                }
                Ok(None) => {}
                Err(reply) => return Entry::Refused(reply),
            },
            // Whatever is wrong with the key, whoever does not have it learns nothing.
            Ok(_) | Err(_) => {}
        }
        metrics::counter!("postroad_smtp_logins_total", "result" => "bad").increment(1);
        let pause = self.guard.failed(peer, hash, begun).max(LEAST_PAUSE);
        tokio::time::sleep_until(begun + pause).await;
        if self.guard.is_suspect(peer, Instant::now()) {
            return Entry::Refused(refusals::TOO_MANY_LOGINS);
        }
        Entry::Refused(refusals::BAD_LOGIN)
    }

    async fn at_address(&self, peer: IpAddr) -> Option<Login> {
        let credential = self.keys.admit_at_address(peer, self.now()).await.ok()?;
        let may_send = credential.key.scopes.has(Scope::Send);
        may_send.then_some(Login { by: Means::Address, credential })
    }

    async fn mail(&self, session: &SessionInfo, from: &ReversePath, _: &MailParams) -> Verdict {
        match self.may_send(session).await.and_then(|()| sender(from)) {
            Ok(_) => Verdict::Accept,
            Err(reply) => Verdict::Refuse(reply),
        }
    }

    async fn rcpt(&self, _: &SessionInfo, _: &ReversePath, to: &ForwardPath) -> Verdict {
        match self.recipient(to) {
            Ok(_) => Verdict::Accept,
            Err(reply) => Verdict::Refuse(reply),
        }
    }

    async fn data(&self, session: &SessionInfo, envelope: ReceivedEnvelope, text: Bytes) -> Reply {
        self.submit(session, envelope, text).await.unwrap_or_else(|refused| refused)
    }
}
