//! AUTH towards a relay (RFC 4954): PLAIN, LOGIN, XOAUTH2. Never over a connection in clear.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::outcome::{BounceClass, Step};
use crate::mail::reply::SmtpReply;
use crate::seal::Secret;

use super::{Connection, Failure, Trouble};

/// What we show.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// User name and password.
    Password {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// User name and a bearer token.
    Bearer {
        /// User name.
        username: String,
        /// Access token.
        token: Secret,
    },
}

/// Shows the peer who we are.
///
/// # Errors
/// It refused, offers nothing we speak, or the connection is in clear.
pub(super) async fn authenticate(
    connection: &mut Connection,
    credentials: &Credentials,
) -> Result<(), Failure> {
    if connection.tls.is_none() {
        // Fault T4.
        return Err(unmet("credentials are never sent over a connection without TLS"));
    }
    let offers = connection.offers;
    match credentials {
        Credentials::Password { username, password } if offers.auth_plain => {
            // RFC 4616: authorization identity (none), user, password.
            let response = format!("\0{username}\0{}", password.reveal());
            say(connection, &format!("AUTH PLAIN {}", STANDARD.encode(response))).await.map(drop)
        }
        Credentials::Password { username, password } if offers.auth_login => {
            let mut reply = say(connection, "AUTH LOGIN").await?;
            for answer in [username.as_str(), password.reveal()] {
                expect_challenge(&reply)?;
                reply = say(connection, &STANDARD.encode(answer)).await?;
            }
            Ok(())
        }
        Credentials::Bearer { username, token } if offers.auth_xoauth2 => {
            let response = format!("user={username}\x01auth=Bearer {}\x01\x01", token.reveal());
            let reply = say(connection, &format!("AUTH XOAUTH2 {}", STANDARD.encode(response))).await?;
            if reply.code == 334 {
                // The challenge holds the error; an empty answer fetches the refusal proper.
                return say(connection, "").await.map(drop);
            }
            Ok(())
        }
        _ => Err(unmet("the relay offers no AUTH mechanism for these credentials")),
    }
}

async fn say(connection: &mut Connection, line: &str) -> Result<SmtpReply, Failure> {
    connection.command(Step::Auth, connection.deadlines.command, Line(line)).await
}

fn expect_challenge(reply: &SmtpReply) -> Result<(), Failure> {
    if reply.code == 334 {
        return Ok(());
    }
    Err(Failure { step: Step::Auth, trouble: Trouble::Refused(reply.clone()) })
}

fn unmet(text: &str) -> Failure {
    Failure {
        step: Step::Auth,
        trouble: Trouble::Unmet { class: BounceClass::RelayDenied, status: None, text: text.to_owned() },
    }
}

struct Line<'a>(&'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\r\n", self.0)
    }
}
