//! Proving a domain: what was found in DNS is judged, and what follows is written in one transaction: which keys
//! sign, where the domain stands, who holds its name, and what its owners are told.

use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::account::Actor;
use crate::domain::account_notice::{Kind, NewNotice};
use crate::domain::id::{DomainId, TenantId};
use crate::domain::identity::judge::{Finding, RecordStatus};
use crate::domain::identity::records::{Need, Purpose, Record};
use crate::domain::identity::schedule::{OVERLAP, next_check};
use crate::domain::identity::settle::{Before, Settled, settle};
use crate::domain::identity::{DomainStatus, KeyState};
use crate::store::domain_keys::{self, StoredKey};
use crate::store::domains::{self, StoredDomain};
use crate::store::{PgConnection, StoreError, account_notices, audit};

use super::lookup::look_up;
use super::{DomainError, DomainView, Domains, audited, facts, not_looked_up, records, shown};

/// Why records are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its owner asks: if the domain proves to be his, he gets it, whoever has it.
    Asked,
    /// It is time. A domain that another tenant holds stays there, or two whose records are both published would
    /// take it from each other for ever.
    Routine,
}

/// What a look-up came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Where the domain stood.
    pub before: DomainStatus,
    /// Where it stands.
    pub after: DomainStatus,
}

/// While keys wait to be published, their records are looked for so often.
const KEYS_WAIT: Duration = Duration::minutes(15);

impl Domains {
    /// Looks all records of a domain up now, and draws the conclusions.
    ///
    /// # Errors
    /// [`DomainError::NotFound`], also if it was deleted meanwhile.
    pub async fn verify(
        &self,
        actor: &Actor,
        (tenant, id): (TenantId, DomainId),
        proof: Proof,
        now: OffsetDateTime,
    ) -> Result<Verified, DomainError> {
        let DomainView { domain, keys, .. } = self.find(tenant, id).await?;
        let looked = look_up(&self.dns, records(&domain, &keys, &self.places), &self.places).await;
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let of_name = domains::lock_name(&mut transaction, &domain.name).await?;
        let (own, others): (Vec<_>, Vec<_>) =
            of_name.into_iter().partition(|domain| domain.tenant == tenant && domain.id == id);
        let domain = own.into_iter().next().ok_or(DomainError::NotFound)?;
        let keys = domain_keys::of_domains(&mut transaction, tenant, &[id]).await?;
        let conclusion = Conclusion {
            before: domain.status,
            holder: others.into_iter().find(|other| other.status.is_held()),
            looked: compared(records(&domain, &keys, &self.places), looked),
            domain,
            keys,
            actor,
            now,
        };
        let verified = conclusion.write(&mut transaction, proof, self.grace).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        self.known().await;
        Ok(verified)
    }
}

/// What was found for the records as they are wanted now: keys may have changed since they were looked up.
fn compared(wanted: Vec<Record>, looked: Vec<(Record, Finding)>) -> Vec<(Record, Finding)> {
    let found = |record: &Record| {
        let same = |other: &Record| {
            other.kind == record.kind && other.name == record.name && other.value == record.value
        };
        looked.iter().find(|(other, _)| same(other)).map_or_else(not_looked_up, |(_, found)| found.clone())
    };
    wanted.into_iter().map(|record| (record.clone(), found(&record))).collect()
}

struct Conclusion<'a> {
    before: DomainStatus,
    domain: StoredDomain,
    keys: Vec<StoredKey>,
    /// Another tenant's domain of this name that is held.
    holder: Option<StoredDomain>,
    looked: Vec<(Record, Finding)>,
    actor: &'a Actor,
    now: OffsetDateTime,
}

impl Conclusion<'_> {
    async fn write(
        mut self,
        connection: &mut PgConnection,
        proof: Proof,
        grace: Duration,
    ) -> Result<Verified, StoreError> {
        let before = Before { status: self.before, failing_since: self.domain.failing_since };
        let mut settled = settle(before, &facts(&self.keys), &self.looked, grace, self.now);
        if let Some(holder) = self.holder.take() {
            match (settled.status.is_held(), proof) {
                (true, Proof::Asked) => self.take_from(connection, holder).await?,
                (true, Proof::Routine) => {
                    settled.status = DomainStatus::Pending;
                    settled.promoted.clear();
                }
                (false, _) => {}
            }
        }
        let keys_changed = self.write_keys(connection, &settled).await?;
        self.write_domain(connection, &settled, keys_changed).await?;
        self.tell(connection).await?;
        Ok(Verified { before: self.before, after: self.domain.status })
    }

    /// The later proof counts: a domain changes hands with its DNS. Both are told.
    async fn take_from(
        &self,
        connection: &mut PgConnection,
        mut holder: StoredDomain,
    ) -> Result<(), StoreError> {
        let before = shown(&holder);
        holder.status = DomainStatus::Pending;
        holder.failing_since = None;
        holder.check_due_at = None;
        domains::update(connection, &holder).await?;
        let place = (holder.tenant, holder.id);
        let message = format!(
            "Somebody else has proved to rule over {}: it is not yours any more. To get it back, publish your records and verify it.",
            holder.name
        );
        domains::note(connection, place, "moved_away", &message, self.now).await?;
        self.raise(connection, &holder, Kind::DomainMoved, &message).await?;
        let actor = Actor::postroad();
        let change = audit::changed(before, shown(&holder));
        audited(connection, &actor, &holder, "domain.moved_away", change, self.now).await?;
        let message = format!("{} was another tenant's until now.", self.domain.name);
        let place = (self.domain.tenant, self.domain.id);
        domains::note(connection, place, "moved_here", &message, self.now).await?;
        let change = audit::made(json!({ "name": self.domain.name }));
        audited(connection, self.actor, &self.domain, "domain.moved_here", change, self.now).await
    }

    /// Which keys sign, which are published, and which are no longer needed. Says whether anything changed.
    async fn write_keys(
        &mut self,
        connection: &mut PgConnection,
        settled: &Settled,
    ) -> Result<Changed, StoreError> {
        let mut changed = Changed::No;
        let promoted: Vec<_> = settled.promoted.iter().map(|at| self.keys[*at].facts.algorithm).collect();
        let (tenant, place) = (self.domain.tenant, (self.domain.tenant, self.domain.id));
        // First those that leave their state, so that no two of an algorithm are ever in one.
        for at in (0..self.keys.len()).rev() {
            let key = &mut self.keys[at];
            let is_over = key.retired_at.is_some_and(|retired| self.now - retired >= OVERLAP);
            if is_over {
                domain_keys::delete(connection, tenant, key.domain, key.id).await?;
                let message =
                    format!("The key {} is not needed any more: its record can go.", key.facts.selector);
                domains::note(connection, place, "key_deleted", &message, self.now).await?;
                changed = Changed::Yes;
                continue;
            }
            let published = settled.published.contains(&at);
            let retires = key.facts.state == KeyState::Active && promoted.contains(&key.facts.algorithm);
            if retires {
                key.facts.state = KeyState::Retiring;
                key.retired_at = Some(self.now);
            }
            if retires || published != key.published {
                key.published = published;
                domain_keys::update(connection, tenant, key).await?;
                changed = Changed::Yes;
            }
        }
        for at in &settled.promoted {
            let key = &mut self.keys[*at];
            key.facts.state = KeyState::Active;
            key.active_at = Some(self.now);
            domain_keys::update(connection, tenant, key).await?;
            let message = format!("The key {} signs from now on.", key.facts.selector);
            domains::note(connection, place, "key_active", &message, self.now).await?;
            changed = Changed::Yes;
        }
        Ok(changed)
    }

    async fn write_domain(
        &mut self,
        connection: &mut PgConnection,
        settled: &Settled,
        keys: Changed,
    ) -> Result<(), StoreError> {
        let now = self.now;
        let domain = &mut self.domain;
        let tracks = |found: &Finding| found.status == RecordStatus::Ok;
        let tracking = self.looked.iter().find(|(record, _)| record.purpose == Purpose::Tracking);
        let tracked = tracking.is_some_and(|(record, _)| {
            domain.checks.of(record.kind.as_str(), &record.name, &record.value).is_some_and(tracks)
        });
        let is_same = domain.status == settled.status
            && domain.returns == settled.returns
            && tracked == tracking.is_some_and(|(_, found)| tracks(found));
        if settled.status.is_held() && !self.before.is_held() {
            domain.verified_at = Some(now);
        }
        domain.status = settled.status;
        domain.failing_since = settled.failing_since;
        domain.returns = settled.returns;
        domain.checked_at = Some(now);
        domain.checks = domains::Checks::default();
        for (record, found) in &self.looked {
            domain.checks.note(record.kind.as_str(), &record.name, &record.value, found.clone());
        }
        let due = next_check(domain.status, domain.created_at, domain.failing_since, now);
        let waits = self.keys.iter().any(|key| key.facts.state == KeyState::Next);
        domain.check_due_at = match due {
            Some(due) if waits => Some(due.min(now + KEYS_WAIT)),
            due => due,
        };
        if is_same && keys == Changed::No {
            domains::update_looked(connection, domain).await
        } else {
            domains::update(connection, domain).await.map(drop)
        }
    }

    /// Tells the owner, and the audit log, if the domain stands elsewhere than before.
    async fn tell(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        use DomainStatus::{Failing, Pending, Verified};
        let name = &self.domain.name;
        let (kind, message) = match (self.before, self.domain.status) {
            (before, after) if before == after => return Ok(()),
            (Failing, Verified) => ("recovered", format!("{name} is in order again.")),
            (_, Verified) => ("verified", format!("{name} is verified: mail can be sent as it.")),
            (_, Failing) => {
                ("failing", format!("{name} needs care, or it cannot be sent as any more. {}", self.wrong()))
            }
            (_, Pending) => (
                "lapsed",
                format!("{name} is not verified any more: no key of it is published. {}", self.wrong()),
            ),
        };
        let place = (self.domain.tenant, self.domain.id);
        domains::note(connection, place, kind, &message, self.now).await?;
        let notice = match self.domain.status {
            Failing => Some(Kind::DomainFailing),
            Pending => Some(Kind::DomainLapsed),
            Verified => None,
        };
        if let Some(notice) = notice {
            self.raise(connection, &self.domain, notice, &message).await?;
        }
        let mut before = shown(&self.domain);
        before["status"] = self.before.as_str().into();
        let details = audit::changed(before, shown(&self.domain));
        audited(connection, self.actor, &self.domain, "domain.status", details, self.now).await
    }

    async fn raise(
        &self,
        connection: &mut PgConnection,
        domain: &StoredDomain,
        kind: Kind,
        message: &str,
    ) -> Result<(), StoreError> {
        let subject = domain.id.to_string();
        let data = json!({ "domain_id": subject, "name": domain.name, "status": domain.status.as_str() });
        let notice = NewNotice { kind, subject: &subject, message, data };
        account_notices::raise(connection, domain.tenant, &notice, self.now).await.map(drop)
    }

    fn wrong(&self) -> String {
        let required = self.looked.iter().filter(|(record, _)| record.need == Need::Required);
        required.filter_map(|(_, found)| found.advice.clone()).collect::<Vec<_>>().join(" ")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    Yes,
    No,
}
