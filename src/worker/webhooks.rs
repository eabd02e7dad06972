//! Webhooks: reads events, and starts couriers for what is due. It sleeps while nobody has a webhook.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::StoreError;
use crate::webhooks::Webhooks;

const INTERVAL: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_secs(1);

/// Posts until `stop`, and then waits for what is under way.
pub async fn run(webhooks: Arc<Webhooks>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = webhooks.some() => {}
        }
        let wait = match tick(&webhooks).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => INTERVAL,
            Err(error) => {
                tracing::warn!(error = %error, "could not read events for webhooks");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    webhooks.drain().await;
}

/// Dispatches a page of events and serves what is due. True: there may be more events.
///
/// # Errors
/// See [`StoreError`]; nothing is lost.
pub async fn tick(webhooks: &Arc<Webhooks>) -> Result<bool, StoreError> {
    let more = webhooks.dispatch().await?;
    webhooks.serve_due().await?;
    Ok(more)
}
