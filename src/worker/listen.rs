//! Notifications: mail that another process put into the queue as due, and mail that was taken back. They only
//! make things faster; what they tell is also found without them.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::delivery::fence::Cancels;
use crate::store::{Database, StoreError};

const RETRY: Duration = Duration::from_secs(1);

/// Listens until `stop`; a broken connection is opened again.
pub async fn run(
    database: Database,
    wake: std::sync::Arc<Notify>,
    cancels: Cancels,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = listen(&database, &wake, &cancels) => ended,
        };
        if let Err(error) = ended {
            tracing::warn!(error = %error, "no notifications; polling goes on");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen(database: &Database, wake: &Notify, cancels: &Cancels) -> Result<(), StoreError> {
    let mut listener = database.listener().await?;
    listener.listen_all(["postroad_due", "postroad_cancel"]).await?;
    // Whatever came while nobody listened.
    wake.notify_one();
    loop {
        // `None`: the connection was lost; another is opened, and what came meanwhile is looked for.
        match PgListener::try_recv(&mut listener).await? {
            Some(note) if note.channel() == "postroad_cancel" => {
                if let Ok(message) = note.payload().parse() {
                    cancels.note(message);
                }
            }
            _ => wake.notify_one(),
        }
    }
}
