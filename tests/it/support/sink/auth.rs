//! AUTH as a sink speaks it: PLAIN (RFC 4616), LOGIN, XOAUTH2 (Google's "XOAUTH2 mechanism").

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::log::Credentials;
use super::script::Step;
use super::session::{Gone, Session};

/// The error that Google's server sends before it says 535; the client must answer it with an empty line.
const XOAUTH2_ERROR: &str = r#"{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}"#;

pub(super) async fn exchange(session: &mut Session, argument: &str) -> Result<(), Gone> {
    let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
    let mechanism = mechanism.to_ascii_uppercase();
    let accounts = session.shared().plan().accounts.clone();
    let Some(accounts) = accounts.filter(|accounts| accounts.mechanisms.contains(&mechanism)) else {
        return session.answer(Step::Auth, &[], "504 5.5.4 no such mechanism").await.map(|_| ());
    };
    let Some((user, secret)) = credentials(session, &mechanism, initial).await? else {
        return session.say(b"501 5.5.2 cancelled or malformed\r\n").await;
    };
    let right = user == accounts.user && secret == accounts.secret;
    let said = Credentials { mechanism: mechanism.clone(), user, secret };
    session.shared().write(|log| log.credentials.push(said));
    if !right && mechanism == "XOAUTH2" {
        challenge(session, XOAUTH2_ERROR).await?;
    }
    let usual = if right { "235 2.7.0 welcome" } else { "535 5.7.8 wrong" };
    if session.answer(Step::Auth, &[], usual).await? == 235 {
        session.user = Some(accounts.user);
    }
    Ok(())
}

/// User and secret; `None` if the client gave up or made no sense.
async fn credentials(
    session: &mut Session,
    mechanism: &str,
    initial: &str,
) -> Result<Option<(String, String)>, Gone> {
    let first = match (initial, mechanism) {
        ("", "LOGIN") => challenge(session, "Username:").await?,
        ("", _) => challenge(session, "").await?,
        // RFC 4954 §4: `=` is an empty initial response.
        ("=", _) => Some(String::new()),
        (initial, _) => decoded(initial),
    };
    let Some(first) = first else { return Ok(None) };
    match mechanism {
        "PLAIN" => Ok(plain(&first)),
        "LOGIN" => Ok(challenge(session, "Password:").await?.map(|secret| (first, secret))),
        _ => Ok(bearer(&first)),
    }
}

async fn challenge(session: &mut Session, text: &str) -> Result<Option<String>, Gone> {
    session.say(format!("334 {}\r\n", BASE64_STANDARD.encode(text)).as_bytes()).await?;
    Ok(decoded(&session.line().await?))
}

fn decoded(base64: &str) -> Option<String> {
    BASE64_STANDARD.decode(base64).ok().and_then(|octets| String::from_utf8(octets).ok())
}

/// `[authzid] NUL user NUL password`
fn plain(message: &str) -> Option<(String, String)> {
    let (_, rest) = message.split_once('\0')?;
    rest.split_once('\0').map(|(user, secret)| (user.to_owned(), secret.to_owned()))
}

/// `user=… ^A auth=Bearer … ^A ^A`
fn bearer(message: &str) -> Option<(String, String)> {
    let (user, rest) = message.strip_prefix("user=")?.split_once('\u{1}')?;
    let token = rest.strip_prefix("auth=Bearer ")?.strip_suffix("\u{1}\u{1}")?;
    Some((user.to_owned(), token.to_owned()))
}
