//! Bounces that come by mail, after the peer had taken the mail: they move a delivery from delivered to bounced,
//! once, and suppress its address by the same table as a refusal on the spot.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::classify::classify_notice;
use crate::domain::delivery::Ending;
use crate::domain::event::EventType;
use crate::domain::id::DeliveryId;
use crate::domain::outcome::{BounceClass, Hardness, Ruling, Step, Suppress};
use crate::mail::returned::{Action, Notice, Stage};
use crate::store::feedback::{self, LateBounce, Reason, Subject};
use crate::store::{PgConnection, StoreError};

/// What a notice brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The delivery is bounced now.
    Bounced,
    /// Nothing: it was no failure, or told before, or about a mail whose history is gone.
    Nothing,
    /// The delivery has no end yet: the notice was faster than our own record. It must come again.
    TooEarly,
}

/// Applies a notice that came to a delivery's return path.
///
/// # Errors
/// See [`StoreError`].
pub async fn apply(
    connection: &mut PgConnection,
    delivery: DeliveryId,
    notices: &[Notice],
    now: OffsetDateTime,
) -> Result<Effect, StoreError> {
    let Some(subject) = feedback::lock(connection, delivery).await? else { return Ok(Effect::Nothing) };
    let Some(notice) = failure_of(notices, &subject.recipient) else { return Ok(Effect::Nothing) };
    match feedback::ended(connection, &subject).await? {
        None => return Ok(Effect::TooEarly),
        Some(Ending::Delivered) => {}
        // Bounced before, or ended by us: the first end stands.
        Some(_) => return Ok(Effect::Nothing),
    }
    let Ruling::Bounce { class, hardness, suppress } = classify_notice(step(notice.stage), &notice.reply)
    else {
        // `classify_notice` gives nothing else for a reply that refuses; a quoted 2yz refuses nothing.
        return Ok(Effect::Nothing);
    };
    if !feedback::bounce(connection, &subject, LateBounce { class, hardness, at: now }).await? {
        return Ok(Effect::Nothing);
    }
    feedback::tell(connection, &subject, EventType::Bounced, &event(notice, class, hardness), now).await?;
    suppress_by(connection, &subject, class, suppress, now).await?;
    Ok(Effect::Bounced)
}

/// The failure that is about this recipient: under his own name, else under another, to which his host sends on.
fn failure_of<'a>(notices: &'a [Notice], recipient: &str) -> Option<&'a Notice> {
    let is_his = |notice: &&Notice| {
        notice.recipient.as_deref().is_some_and(|named| named.eq_ignore_ascii_case(recipient))
    };
    match notices.iter().find(is_his) {
        Some(his) => Some(his).filter(|notice| notice.action == Action::Failed),
        None => notices.iter().find(|notice| notice.action == Action::Failed),
    }
}

fn step(stage: Stage) -> Step {
    match stage {
        Stage::Sender => Step::Mail,
        Stage::Recipient => Step::Rcpt,
        Stage::Content => Step::Body,
    }
}

fn event(notice: &Notice, class: BounceClass, hardness: Hardness) -> Value {
    json!({
        "class": class.as_str(),
        "hard": hardness == Hardness::Hard,
        "late": true,
        "smtp": {
            "step": step(notice.stage).as_str(),
            "code": notice.reply.code,
            "enhanced": notice.reply.enhanced.map(|status| status.to_string()),
            "text": notice.reply.text,
            "host": notice.host,
            "ip": null,
            "tls": null,
        },
    })
}

async fn suppress_by(
    connection: &mut PgConnection,
    subject: &Subject,
    class: BounceClass,
    suppress: Suppress,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let address = subject.recipient.to_ascii_lowercase();
    let due = match suppress {
        Suppress::Never => false,
        Suppress::Now => true,
        // This one is among those that are counted.
        Suppress::After(times) => {
            feedback::bounces_of_late(connection, subject, &address, class, now).await? >= i64::from(times)
        }
    };
    if due {
        feedback::suppress(connection, subject, &address, "", Reason::Bounce, now).await?;
    }
    Ok(())
}
