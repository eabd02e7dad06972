//! The guard of reputation: looks at the rates of all senders, warns their owners, and holds broadcast mail before
//! receivers do worse. What it holds is let go on by hand: its pause is deleted, and what was counted before counts no
//! more.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::domain::account_notice::{Kind, NewNotice};
use crate::domain::id::{PauseId, TenantId};
use crate::domain::pause::{Held, Kinds, Pause};
use crate::domain::reputation::{
    Figures, Reputation, Standing, Subject, SubjectKind, Thresholds, WINDOW, judge,
};
use crate::domain::stream::{BROADCAST, StreamKind};
use crate::store::audit::{self, Entry};
use crate::store::{
    Database, PgConnection, StoreError, account_notices, domains, pauses, reputation, streams,
};

use super::Actor;

/// The name under which values beyond a day's most are counted: nobody in particular.
const OTHERS: &str = "(other)";

/// What a look found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Senders whose owners are warned.
    pub warned: usize,
    /// Senders whose broadcast mail is held.
    pub held: usize,
    /// Senders that stand otherwise than before.
    pub changed: usize,
}

/// Looks at all senders of all tenants.
///
/// # Errors
/// See [`StoreError`]: each sender is dealt with in a transaction of its own; those that are left come at the next look.
pub async fn look(
    database: &Database,
    thresholds: &Thresholds,
    now: OffsetDateTime,
) -> Result<Looked, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let mut figures = reputation::figures(&mut connection, now - WINDOW).await?;
    let known = reputation::of_all_tenants(&mut connection).await?;
    let pauses: HashSet<PauseId> =
        pauses::of_all_tenants(&mut connection).await?.into_iter().map(|pause| pause.id).collect();
    let described = streams::of_all_tenants(&mut connection).await?;
    let kinds: HashMap<(TenantId, String), StreamKind> = described
        .into_iter()
        .map(|stream| ((stream.tenant, stream.name.as_str().to_owned()), stream.kind))
        .collect();
    drop(connection);
    let mut all: Vec<Reputation> = known;
    for reputation in &mut all {
        reputation.figures = figures.remove(&reputation.subject).unwrap_or_default();
    }
    let new = figures.into_iter().filter(|(subject, _)| subject.name != OTHERS);
    all.extend(new.map(|(subject, figures)| unknown(subject, figures, now)));
    let mut looked = Looked::default();
    for before in all {
        let is_bulk = may_be_held(&kinds, &before.subject);
        let after = Look { before, pauses: &pauses, is_bulk, now }.conclude(database, thresholds).await?;
        looked.changed += usize::from(after.changed_at == now);
        looked.warned += usize::from(after.standing == Standing::Warned);
        looked.held += usize::from(after.standing == Standing::Held);
    }
    Ok(looked)
}

fn unknown(subject: Subject, figures: Figures, now: OffsetDateTime) -> Reputation {
    let changed_at = now - Duration::MICROSECOND;
    let (standing, counted_from, pause) = (Standing::Good, None, None);
    Reputation { subject, standing, figures, counted_from, pause, changed_at, looked_at: now }
}

/// A domain's broadcast mail can be held whatever else it sends; a stream only if it is one of that kind.
fn may_be_held(kinds: &HashMap<(TenantId, String), StreamKind>, subject: &Subject) -> bool {
    match subject.kind {
        SubjectKind::Domain => true,
        SubjectKind::Stream => match kinds.get(&(subject.tenant, subject.name.clone())) {
            Some(kind) => *kind == StreamKind::Broadcast,
            None => subject.name == BROADCAST,
        },
    }
}

struct Look<'a> {
    before: Reputation,
    pauses: &'a HashSet<PauseId>,
    is_bulk: bool,
    now: OffsetDateTime,
}

impl Look<'_> {
    async fn conclude(self, database: &Database, thresholds: &Thresholds) -> Result<Reputation, StoreError> {
        let (verdict, why) = judge(self.before.figures, thresholds);
        let released = self.before.pause.is_some_and(|pause| !self.pauses.contains(&pause));
        let mut after = Reputation { looked_at: self.now, ..self.before.clone() };
        let mut transaction = database.serve().begin().await?;
        if released {
            after.standing = Standing::Good;
            after.pause = None;
            after.counted_from = Some(next_hour(self.now));
            self.tell(&mut transaction, &mut after, "released", "is let go on by hand").await?;
        } else {
            match (self.before.standing, verdict) {
                (Standing::Held, _) | (Standing::Good, Standing::Good) => {}
                (_, Standing::Held) if self.is_bulk => {
                    after.pause = Some(self.hold(&mut transaction, &why).await?);
                    after.standing = Standing::Held;
                    let words = format!("sends no broadcast mail until its pause is deleted: {why}");
                    self.tell(&mut transaction, &mut after, "held", &words).await?;
                }
                (Standing::Good, _) => {
                    after.standing = Standing::Warned;
                    let words = format!("needs care, or its broadcast mail will be held: {why}");
                    self.tell(&mut transaction, &mut after, "warned", &words).await?;
                }
                (Standing::Warned, Standing::Good) => {
                    after.standing = Standing::Good;
                    self.tell(&mut transaction, &mut after, "recovered", "is in order again").await?;
                }
                (Standing::Warned, _) => {}
            }
        }
        reputation::put(&mut transaction, &after).await?;
        transaction.commit().await?;
        Ok(after)
    }

    async fn hold(&self, connection: &mut PgConnection, why: &str) -> Result<PauseId, StoreError> {
        let subject = &self.before.subject;
        let (stream, sender) = match subject.kind {
            SubjectKind::Stream => (Some(subject.name.clone()), None),
            SubjectKind::Domain => (None, Some(subject.name.clone())),
        };
        let held =
            Held::Mail { tenant: subject.tenant, stream, domain: None, sender, kinds: Kinds::Broadcast };
        let reason = format!("{} {}: {why}", subject.kind.as_str(), subject.name);
        let pause = Pause { id: PauseId::new(self.now), held, reason, created_at: self.now };
        super::pauses::write(connection, &Actor::postroad(), subject.tenant, &pause, self.now).await?;
        Ok(pause.id)
    }

    /// Tells the owner: in the log, in the domain's history, and, if it is to be acted on, by a notice.
    async fn tell(
        &self,
        connection: &mut PgConnection,
        after: &mut Reputation,
        what: &'static str,
        words: &str,
    ) -> Result<(), StoreError> {
        after.changed_at = self.now;
        let Subject { tenant, kind, name } = &after.subject;
        let (action, note, notice) = match what {
            "held" => ("reputation.held", "reputation_held", Some(Kind::ReputationHeld)),
            "warned" => ("reputation.warned", "reputation_warned", Some(Kind::ReputationWarned)),
            "released" => ("reputation.released", "reputation_released", None),
            _ => ("reputation.recovered", "reputation_recovered", None),
        };
        let Figures { delivered, bounced, complained } = after.figures;
        let message = format!("{name} {words}.");
        let data = json!({
            "subject": kind.as_str(), "name": name, "delivered": delivered, "bounced": bounced,
            "complained": complained, "message": message,
        });
        let entry =
            Entry { actor: "postroad", ip: None, action, target: name, details: audit::made(data.clone()) };
        audit::append(connection, *tenant, entry, self.now).await?;
        tracing::warn!(tenant.id = %tenant, subject = kind.as_str(), standing = what, "a sender's reputation");
        if *kind == SubjectKind::Domain
            && let Some(domain) = domains::id_of_name(connection, *tenant, name).await?
        {
            domains::note(connection, (*tenant, domain), note, &message, self.now).await?;
        }
        if let Some(kind) = notice {
            let notice = NewNotice { kind, subject: name, message: &message, data };
            account_notices::raise(connection, *tenant, &notice, self.now).await?;
        }
        Ok(())
    }
}

/// Counters are by the hour: what was counted in the one that runs would count again.
fn next_hour(now: OffsetDateTime) -> OffsetDateTime {
    let seconds = now.unix_timestamp().rem_euclid(3600);
    let start = now - Duration::seconds(seconds) - Duration::nanoseconds(now.nanosecond().into());
    start + Duration::HOUR
}
