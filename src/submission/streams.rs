//! Streams in memory: what a mail's stream, and its tenant, ask of it. Read anew when a tenant changes something.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::delivery::Priority;
use crate::domain::handling::{Tracking, Transport, Unsubscribe};
use crate::domain::id::TenantId;
use crate::domain::identity::senders::SenderDomain;
use crate::domain::stream::{BROADCAST, Stream, StreamKind};
use crate::domain::submission::{Options, TRANSACTIONAL, Watch};
use crate::store::{Database, StoreError, streams, tenants};

use super::Violation;

/// All tenants' streams. Clones agree.
#[derive(Debug, Clone, Default)]
pub struct Streams(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    described: HashMap<TenantId, HashMap<String, Stream>>,
    strict: HashSet<TenantId>,
    /// Whose mail goes over verified TLS, or not at all.
    guarded: HashSet<TenantId>,
}

impl Streams {
    /// Reads all anew.
    ///
    /// # Errors
    /// See [`StoreError`]; what was known stays.
    pub async fn reload(&self, database: &Database) -> Result<(), StoreError> {
        let mut connection = database.serve().acquire().await?;
        let all = streams::of_all_tenants(&mut connection).await?;
        let strict = streams::strict_tenants(&mut connection).await?;
        let guarded = tenants::that_require_tls(&mut connection).await?;
        let mut known = Known { strict: strict.into_iter().collect(), guarded, ..Known::default() };
        for stream in all {
            let of_tenant = known.described.entry(stream.tenant).or_default();
            of_tenant.insert(stream.name.as_str().to_owned(), stream);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// How the way of a tenant's mail is protected, whatever the mail says.
    pub(super) fn transport_of(&self, tenant: TenantId) -> Transport {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Transport::required(known.guarded.contains(&tenant))
    }

    /// Gives a mail what its stream has for mail that asks for nothing else.
    ///
    /// # Errors
    /// The tenant refuses streams it has not described, and this is one.
    pub(super) fn apply(&self, tenant: TenantId, options: &mut Options) -> Result<(), Violation> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let name = options.stream.as_str();
        let described = known.described.get(&tenant).and_then(|streams| streams.get(name));
        let kind = match described {
            Some(stream) => stream.kind,
            None if name == BROADCAST => StreamKind::Broadcast,
            None if name != TRANSACTIONAL && known.strict.contains(&tenant) => {
                let message =
                    format!("there is no stream {name}, and this tenant refuses others than its own");
                return Err(Violation::new("/stream", "unknown_stream", message));
            }
            None => StreamKind::Transactional,
        };
        if let Some(stream) = described {
            if options.priority == Priority::Normal {
                options.priority = stream.priority;
            }
            if is_open(options) && stream.decides_tracking() {
                options.handling.tracking = stream.tracking;
                options.watch = Watch::AsSaid;
            }
        }
        options.handling.unsubscribe = match kind {
            StreamKind::Broadcast => Unsubscribe::OneClick,
            StreamKind::Transactional => Unsubscribe::None,
        };
        Ok(())
    }
}

/// Whether nobody has said yet what is watched.
fn is_open(options: &Options) -> bool {
    options.watch == Watch::ByDefault && options.handling.tracking == Tracking::default()
}

/// What is watched of a mail of this sender domain, where neither the mail nor its stream says.
pub(super) fn watch_by_domain(sender: &SenderDomain, options: &mut Options) {
    if is_open(options) {
        options.handling.tracking = sender.tracking;
    }
}
