//! Assembly of streams: what accept knows of them, and how recipients leave them.

use crate::config::Config;
use crate::delivery::Leave;
use crate::domain::unsubscribe::Unsubscribes;
use crate::domain::unsubscribe_link::UnsubscribeLinks;
use crate::seal::MasterKey;

use super::Building;

/// The links by which recipients leave.
pub(super) fn links(config: &Config, master: &MasterKey) -> UnsubscribeLinks {
    UnsubscribeLinks::new(master, &config.base_url())
}

/// What tells recipients how to leave: by link, and by mail where mail is taken in.
pub(super) fn leave(config: &Config, master: &MasterKey) -> Leave {
    let takes_mail = config.mx_addr.is_some();
    let addresses = takes_mail.then(|| Unsubscribes::new(master, &config.bounce_domain));
    Leave { links: links(config, master), addresses }
}

impl Building {
    /// Takes over tenants' streams when they change.
    pub(super) fn follow_streams(&self) -> impl Future<Output = ()> + use<> {
        let (mut known, stop) = (self.known.clone(), self.stop_loops.clone());
        let (streams, database) = (self.streams.clone(), self.opened.database.clone());
        let mut seen = known.borrow().revisions.streams;
        async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = known.changed() => if changed.is_err() { return },
                }
                let now = known.borrow_and_update().revisions.streams;
                if now == seen {
                    continue;
                }
                match streams.reload(&database).await {
                    Ok(()) => seen = now,
                    Err(error) => {
                        tracing::warn!(error = %error, "could not read the streams that have changed")
                    }
                }
            }
        }
    }
}
