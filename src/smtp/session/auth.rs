//! Logging in (RFC 4954): PLAIN (RFC 4616) and LOGIN, under TLS only, once, and never in the middle of a mail.
//!
//! The exchange alone: whether a login is good is the [`Mailroom`]'s question. Invariant: no password is asked for,
//! or looked at, on a connection that is not encrypted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Session};
use crate::domain::key::KeySecret;
use crate::smtp::mailroom::{Entry, Hello, Mailroom};
use crate::smtp::reply::{self, Reply};
use crate::smtp::settings::Door;

/// What a client shows: a name, which is a claim, and a secret.
type Shown = (String, KeySecret);

impl<M, S> Session<'_, M, S>
where
    M: Mailroom,
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) async fn auth(&mut self, mechanism: &str, initial: Option<String>) -> Result<(), End> {
        if let Some(reply) = self.no_login_now() {
            return self.refuse(reply);
        }
        let shown = match mechanism {
            "PLAIN" => self.plain(initial).await?,
            "LOGIN" => self.login(initial).await?,
            _ => Err(reply::UNKNOWN_MECHANISM),
        };
        match shown {
            Err(reply) => self.refuse(reply),
            Ok((user, secret)) => match self.mailroom.auth(&self.info, &user, secret).await {
                Entry::Refused(reply) => self.refuse(reply),
                Entry::Granted(login) => {
                    self.info.login = Some(login);
                    self.say(&reply::LOGGED_IN)
                }
            },
        }
    }

    fn no_login_now(&self) -> Option<Reply> {
        if self.settings.door == Door::Transfer {
            Some(reply::NOT_IMPLEMENTED)
        } else if self.info.tls.is_none() {
            Some(reply::AUTH_NEEDS_TLS)
        } else if self.info.hello == Hello::None {
            Some(reply::HELLO_FIRST)
        } else if self.info.login.is_some() {
            Some(reply::ALREADY_LOGGED_IN)
        } else {
            // RFC 4954 §4: not during a mail transaction.
            self.transaction.is_some().then_some(reply::AUTH_IN_TRANSACTION)
        }
    }

    /// RFC 4616 §2: on whose behalf, who, and the password, with NULs between them. For whom one acts is no matter
    /// here: a key acts for its tenant.
    async fn plain(&mut self, initial: Option<String>) -> Result<Result<Shown, Reply>, End> {
        let response = match initial {
            // RFC 4954 §4: an empty initial response is written so.
            Some(initial) if initial == "=" => Ok(String::new()),
            Some(initial) => decode(&initial),
            None => self.answer_to(&reply::ASK_RESPONSE).await?,
        };
        Ok(response.and_then(|text| match text.split('\0').collect::<Vec<_>>().as_slice() {
            [_, user, secret] if !secret.is_empty() => Ok(((*user).to_owned(), KeySecret::given(secret))),
            _ => Err(reply::BAD_BASE64),
        }))
    }

    async fn login(&mut self, initial: Option<String>) -> Result<Result<Shown, Reply>, End> {
        let user = match initial {
            Some(initial) if initial == "=" => Ok(String::new()),
            Some(initial) => decode(&initial),
            None => self.answer_to(&reply::ASK_USER).await?,
        };
        let user = match user {
            Ok(user) => user,
            Err(reply) => return Ok(Err(reply)),
        };
        let secret = self.answer_to(&reply::ASK_PASSWORD).await?;
        Ok(secret.map(|secret| (user, KeySecret::given(&secret))))
    }

    /// Asks, and reads a line that is an answer and no command, whatever it looks like.
    async fn answer_to(&mut self, question: &Reply) -> Result<Result<String, Reply>, End> {
        self.wire.push(question);
        let answer = self.next_line(|line| {
            let line = line.strip_suffix(b"\r\n").ok_or(reply::BAD_LINE_END)?;
            std::str::from_utf8(line).map(str::to_owned).map_err(|_| reply::BAD_BASE64)
        });
        Ok(match answer.await? {
            // RFC 4954 §4: the client gives it up.
            Ok(answer) if answer == "*" => Err(reply::AUTH_CANCELED),
            Ok(answer) => decode(&answer),
            Err(reply) => Err(reply),
        })
    }
}

fn decode(text: &str) -> Result<String, Reply> {
    let decoded = STANDARD.decode(text).map_err(|_| reply::BAD_BASE64)?;
    String::from_utf8(decoded).map_err(|_| reply::BAD_BASE64)
}
