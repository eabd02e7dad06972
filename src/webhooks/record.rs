//! What came of calls, written in batches: the calls, the log, and how webhooks fare. One that has failed for
//! five days, or says that it is gone, is disabled, and its tenant told.

use std::collections::HashMap;

use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use crate::domain::account_notice::{Kind, NewNotice};
use crate::domain::id::WebhookId;
use crate::domain::webhook::PATIENCE;
use crate::store::account_notices;
use crate::store::audit::{self, Entry};
use crate::store::calls::{self, CallResult};
use crate::store::posts::{self, Post};
use crate::store::revisions::{self, Revised};
use crate::store::webhooks::{self as store, Disabled};
use crate::store::{Database, PgConnection, StoreError};

use super::Webhooks;

/// What came of a request, or of not making it.
#[derive(Debug)]
pub struct Finished {
    /// What follows for its calls.
    pub calls: Vec<CallResult>,
    /// For the log.
    pub post: Option<Post>,
    /// How the webhook fares.
    pub health: Option<(WebhookId, Health)>,
}

/// How a webhook fares, by its last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It took the request.
    Well,
    /// It did not.
    Failing,
    /// It wants no more.
    Gone,
}

/// Requests written down at once.
const BATCH: usize = 500;
/// A writing that fails is tried again so often; what is not written comes again when its lease ends.
const TRIES: u32 = 60;
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

impl Webhooks {
    pub(super) fn tell(&self, finished: Finished) {
        // Without the writer the process is going down, and the calls come again.
        let _ = self.results.send(finished);
    }
}

/// Writes results until nobody has any more.
pub struct Writer {
    database: Database,
    received: mpsc::UnboundedReceiver<Finished>,
}

impl Writer {
    pub(super) fn new(database: Database, received: mpsc::UnboundedReceiver<Finished>) -> Writer {
        Writer { database, received }
    }

    /// Writes.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while self.received.recv_many(&mut batch, BATCH).await > 0 {
            self.write(&batch).await;
            batch.clear();
        }
    }

    async fn write(&self, batch: &[Finished]) {
        for left in (0..TRIES).rev() {
            match write(&self.database, batch).await {
                Ok(()) => return,
                Err(error) if error.is_passing() && left > 0 => {
                    tracing::warn!(error = %error, "what came of webhooks is written later");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::error!(error = %error, calls = batch.len(), "what came of webhooks is not written; they are posted again");
                    return;
                }
            }
        }
    }
}

async fn write(database: &Database, batch: &[Finished]) -> Result<(), StoreError> {
    let results: Vec<CallResult> = batch.iter().flat_map(|finished| finished.calls.iter().copied()).collect();
    let posts: Vec<Post> = batch.iter().filter_map(|finished| finished.post.clone()).collect();
    let last: HashMap<WebhookId, Health> = batch.iter().filter_map(|finished| finished.health).collect();
    let now = posts.iter().map(|post| post.id.born()).max();
    let mut transaction = database.serve().begin().await?;
    calls::finish(&mut transaction, &results).await?;
    posts::append(&mut transaction, &posts).await?;
    if let Some(now) = now {
        note(&mut transaction, &last, now).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn note(
    connection: &mut PgConnection,
    last: &HashMap<WebhookId, Health>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let of = |wanted: Health| -> Vec<uuid::Uuid> {
        last.iter().filter(|(_, health)| **health == wanted).map(|(id, _)| id.uuid()).collect()
    };
    let (well, failing, gone) = (of(Health::Well), of(Health::Failing), of(Health::Gone));
    store::note_health(connection, &well, &failing, now).await?;
    if failing.is_empty() && gone.is_empty() {
        return Ok(());
    }
    for disabled in store::disable(connection, &gone, &failing, now - PATIENCE, now).await? {
        tell_of(connection, &disabled, now).await?;
    }
    Ok(())
}

async fn tell_of(
    connection: &mut PgConnection,
    disabled: &Disabled,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = disabled.id.to_string();
    let details = audit::changed(
        json!({ "url": disabled.url, "enabled": true }),
        json!({ "url": disabled.url, "enabled": false, "because": disabled.because }),
    );
    tracing::warn!(webhook.id = target, because = disabled.because, "a webhook is disabled");
    let entry = Entry { actor: "postroad", ip: None, action: "webhook.disable", target: &target, details };
    audit::append(connection, disabled.tenant, entry, now).await?;
    let data = json!({ "webhook_id": target, "url": disabled.url, "because": disabled.because });
    let message = match disabled.because.as_str() {
        "gone" => {
            format!("The webhook {} says that it is gone: nothing is posted to it any more.", disabled.url)
        }
        _ => format!(
            "The webhook {} has failed for five days: nothing is posted to it any more.",
            disabled.url
        ),
    };
    let notice = NewNotice { kind: Kind::WebhookDisabled, subject: &target, message: &message, data };
    account_notices::raise(connection, disabled.tenant, &notice, now).await?;
    revisions::raise(connection, Revised::Webhooks).await
}
